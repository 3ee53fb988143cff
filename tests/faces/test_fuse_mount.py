"""Mounting and unmounting, waiting, remote changes, faults, and how many requests things cost."""

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import Mounted, is_mounted, mounted, needs_mount, open_directory, refused, until

from agentfs.errors import MountFailed, NotMounted
from agentfs.fuse import device
from agentfs.fuse.mount import fuse_available

pytestmark = [pytest.mark.mount, needs_mount]


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_directory() as path:
        (path / "back").mkdir()
        (path / "mnt").mkdir()
        yield path


@pytest.fixture
def scripted(directory: Path) -> Iterator[Mounted]:
    with mounted(
        "scripted.py",
        str(directory / "back"),
        mountpoint=directory / "mnt",
        log=directory / "log",
        quiet=False,
    ) as running:
        yield running


def loopback(directory: Path, *arguments: str, quiet: bool = True):
    return mounted(
        "loopback.py",
        *arguments,
        str(directory / "back"),
        mountpoint=directory / "mnt",
        log=directory / "log",
        quiet=quiet,
    )


# ---- mounting ----


def test_mountinfo_says_who_we_are(directory: Path) -> None:
    with loopback(directory) as running:
        facts = device.mounted_at(os.fsencode(running.path))
        assert facts is not None
        assert (facts.file_system, facts.source) == ("fuse.agentfs", b"agentfs")
    assert not is_mounted(directory / "mnt")


def test_mountpoint_with_odd_characters(directory: Path) -> None:
    odd = directory / "a b\\c\td"
    odd.mkdir()
    with mounted("loopback.py", str(directory / "back"), mountpoint=odd, log=directory / "log") as running:
        (running.path / "f").write_text("x")
    assert (directory / "back" / "f").read_text() == "x"


def test_missing_mountpoint(directory: Path) -> None:
    with pytest.raises(MountFailed, match="does not exist: create it with `mkdir -p"):
        device.prepare_mountpoint(str(directory / "nope"))


def test_mountpoint_is_a_file(directory: Path) -> None:
    (directory / "f").touch()
    with pytest.raises(MountFailed, match="not a directory"):
        device.prepare_mountpoint(str(directory / "f"))


def test_mounting_twice_is_refused(directory: Path) -> None:
    with loopback(directory) as running, pytest.raises(MountFailed, match="already an AgentFS mount"):
        device.prepare_mountpoint(str(running.path))


def test_mounting_over_files_warns(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    (directory / "mnt" / "hidden").touch()
    device.prepare_mountpoint(str(directory / "mnt"))
    assert "is not empty" in caplog.text


def test_mountpoint_through_a_symbolic_link(directory: Path) -> None:
    os.symlink(directory / "mnt", directory / "link")
    assert device.prepare_mountpoint(str(directory / "link")) == os.fsencode(directory / "mnt")


def test_unmounting_what_is_not_mounted(directory: Path) -> None:
    with pytest.raises(NotMounted):
        device.unmount(os.fsencode(directory / "mnt"))


def test_busy_unmount_is_refused_and_lazy_is_not(directory: Path) -> None:
    with loopback(directory) as running:
        with open(running.path / "f", "w") as file:
            with pytest.raises(MountFailed, match="in use"):
                device.unmount(os.fsencode(running.path))
            assert is_mounted(running.path)
            device.unmount(os.fsencode(running.path), lazy=True)
            assert not is_mounted(running.path)
            file.write("still")
            file.flush()
        assert running.process.wait(30) == 0


def test_stale_mount_is_cleared_and_mounted_over(directory: Path) -> None:
    with loopback(directory, quiet=False) as running:
        (running.path / "f").write_text("survives")
        assert not device.is_stale(os.fsencode(running.path))
        running.process.kill()
        running.process.wait(30)
        assert is_mounted(running.path)
        assert device.is_stale(os.fsencode(running.path))
        with mounted(
            "loopback.py",
            str(directory / "back"),
            mountpoint=directory / "mnt",
            log=directory / "log2",
            quiet=False,
        ) as again:
            assert (again.path / "f").read_text() == "survives"
            assert "whose process has died" in again.said()
            mounts_here = [m for m in device.mounts() if m.mountpoint == os.fsencode(again.path)]
            assert len(mounts_here) == 1


def test_unprivileged_through_the_helper(directory: Path) -> None:
    if shutil.which("fusermount3") is None:
        pytest.skip("fusermount3 is not installed")
    if not os.stat(device.DEVICE).st_mode & stat.S_IWOTH:
        in_a_namespace_with_an_open_device(directory)
        return
    os.chown(directory / "back", 65534, 65534)
    os.chown(directory / "mnt", 65534, 65534)
    code = f"""
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
base = {str(directory)!r} + "/mnt/"
with open(base + "f", "w") as file: file.write("mine")
assert open(base + "f").read() == "mine"
assert os.stat(base + "f").st_uid == 65534
os.rename(base + "f", base + "g")
assert os.listdir(base) == ["g"]
"""
    with loopback(directory, "--uid", "65534") as running:
        subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
        with refused(errno.EACCES):
            os.stat(running.path / "g")  # not even root: that needs allow_other
    assert (directory / "back" / "g").read_text() == "mine"


def in_a_namespace_with_an_open_device(directory: Path) -> None:
    """Run the test that calls this again where everybody may open /dev/fuse, as on most machines."""
    node = directory / "fuse"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(10, 229))
    node.chmod(0o666)
    name = f"{__file__}::test_unprivileged_through_the_helper"
    script = 'mount --bind "$1" /dev/fuse && exec "$2" -m pytest -q -p no:cacheprovider "$3"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", node, sys.executable, name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_read_only(directory: Path) -> None:
    (directory / "back" / "f").write_text("x")
    with loopback(directory, "--read-only") as running:
        assert (running.path / "f").read_text() == "x"
        with refused(errno.EROFS):
            (running.path / "f").write_text("y")


def test_owner_me(directory: Path) -> None:
    (directory / "back" / "f").touch()
    os.chown(directory / "back" / "f", 1234, 1234)
    with loopback(directory, "--owner", "me") as running:
        path = running.path / "f"
        assert (os.stat(path).st_uid, os.stat(path).st_gid) == (0, 0)
        os.chown(path, 0, 0)
        with refused(errno.EPERM):
            os.chown(path, 1, 1)
    assert os.stat(directory / "back" / "f").st_uid == 1234


def test_facts() -> None:
    facts = fuse_available()
    assert facts.usable
    assert facts.problem is None
    assert facts.kernel > (3, 0)


# ---- waiting ----


def test_cold_file_waits_and_others_do_not(scripted: Mounted, directory: Path) -> None:
    (directory / "back" / "cold").write_text("fetched")
    (directory / "back" / "warm").write_text("here")
    assert scripted.ask("cold cold") == "ok"
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((scripted.path / "cold").read_text()))
    reader.start()
    until(lambda: scripted.ask("waiting") == "1", "the open waits")
    assert (scripted.path / "warm").read_text() == "here"
    assert (scripted.path / "cold").stat().st_size == 7
    assert got == []
    scripted.ask("warm")
    reader.join(60)
    assert got == ["fetched"]


def test_cold_file_comes_while_others_write(scripted: Mounted, directory: Path) -> None:
    for name in ("cold", "other"):
        (directory / "back" / name).write_text("fetched")
    scripted.ask("cold cold")
    scripted.ask("busy other")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((scripted.path / "cold").read_text()))
    reader.start()
    until(lambda: scripted.ask("waiting") == "1", "the open waits")
    scripted.ask("warm")
    reader.join(60)
    assert got == ["fetched"], "it waits for its bytes, and then until the kernel knows what others wrote"
    assert (scripted.path / "other").read_text() == "changed meanwhile"


def test_cold_file_that_cannot_be_had(scripted: Mounted, directory: Path) -> None:
    (directory / "back" / "cold").write_text("x")
    scripted.ask("cold cold")
    failed: list[int] = []

    def read() -> None:
        try:
            (scripted.path / "cold").read_text()
        except OSError as error:
            failed.append(error.errno)

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: scripted.ask("waiting") == "1", "the open waits")
    scripted.ask("unreachable")
    reader.join(60)
    assert failed == [errno.EIO]


def test_truncating_a_cold_file_needs_no_bytes(scripted: Mounted, directory: Path) -> None:
    (directory / "back" / "cold").write_text("old")
    scripted.ask("cold cold")
    (scripted.path / "cold").write_text("new")
    assert (directory / "back" / "cold").read_text() == "new"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_interrupted_open_returns_at_once(scripted: Mounted, directory: Path, number: int) -> None:
    (directory / "back" / "cold").write_text("x")
    scripted.ask("cold cold")
    child = subprocess.Popen(["cat", scripted.path / "cold"])
    until(lambda: scripted.ask("waiting") == "1", "the open waits")
    child.send_signal(number)
    assert child.wait(30) == -number
    assert scripted.ask("waiting") == "1"  # the thread still waits; its caller does not
    scripted.ask("warm")
    until(lambda: scripted.ask("waiting") == "0", "the thread ends")
    assert (scripted.path / "cold").read_text() == "x"


def test_interrupted_fsync_keeps_its_file_open_until_done(scripted: Mounted) -> None:
    scripted.ask("hang")
    code = "import os,sys; fd=os.open(sys.argv[1],os.O_CREAT|os.O_WRONLY); os.write(fd,b'x'); os.fsync(fd)"
    child = subprocess.Popen([sys.executable, "-c", code, scripted.path / "f"], stderr=subprocess.DEVNULL)
    until(lambda: scripted.ask("waiting") == "1", "fsync waits")
    child.kill()
    child.wait(30)
    (scripted.path / "g").write_text("others go on")
    scripted.ask("warm")
    until(lambda: scripted.ask("waiting") == "0", "fsync ends")
    assert (scripted.path / "f").read_text() == "x"
    assert scripted.said() == ""


def test_signal_with_a_handler_does_not_end_an_fsync(scripted: Mounted) -> None:
    """As on a local disk. Through ctypes: Python's own os.fsync would try again."""
    scripted.ask("hang")
    code = """if True:
        import ctypes, os, signal, sys
        signal.signal(signal.SIGUSR1, lambda *_: None)
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
        sys.exit(0 if libc.fsync(fd) == 0 else ctypes.get_errno())"""
    child = subprocess.Popen([sys.executable, "-c", code, scripted.path / "f"])
    until(lambda: scripted.ask("waiting") == "1", "fsync waits")
    child.send_signal(signal.SIGUSR1)
    (scripted.path / "g").write_text("the signal has been heard when this was answered")
    assert child.poll() is None
    scripted.ask("warm")
    assert child.wait(30) == 0


def test_more_cold_opens_than_threads(scripted: Mounted, directory: Path) -> None:
    for number in range(40):
        (directory / "back" / f"c{number}").write_text(str(number))
        scripted.ask(f"cold c{number}")
    got: list[str] = []
    readers = [
        threading.Thread(target=lambda n=n: got.append((scripted.path / f"c{n}").read_text())) for n in range(40)
    ]
    for reader in readers:
        reader.start()
    until(lambda: scripted.ask("waiting") == "16", "the pool is full")
    scripted.ask("warm")
    for reader in readers:
        reader.join(60)
    assert sorted(got, key=int) == [str(n) for n in range(40)]


def test_unmount_while_something_waits(scripted: Mounted, directory: Path) -> None:
    (directory / "back" / "cold").write_text("x")
    scripted.ask("cold cold")
    child = subprocess.Popen(["cat", scripted.path / "cold"], stderr=subprocess.DEVNULL)
    until(lambda: scripted.ask("waiting") == "1", "the open waits")
    child.kill()
    child.wait(30)
    device.unmount(os.fsencode(scripted.path))
    assert scripted.process.wait(30) == 0


# ---- changes from elsewhere ----


def test_remote_changes_show(scripted: Mounted) -> None:
    path = scripted.path
    assert os.listdir(path) == []
    assert not (path / "new").exists()  # now the kernel remembers that
    scripted.ask("remote new first text")
    until((path / "new").exists, "the new file shows")
    assert (path / "new").read_text() == "first text"
    until(lambda: os.listdir(path) == ["new"], "it is listed")
    for number in range(20):
        text = "x" * number + "rewritten"
        scripted.ask(f"remote new {text}")
        until(lambda text=text: os.stat(path / "new").st_size == len(text), "the new size shows")
        assert (path / "new").read_text() == text
    with open(path / "new") as file:
        scripted.ask("remote new while open")
        until(lambda: os.fstat(file.fileno()).st_size == 10, "the new size shows on a handle")
        assert file.read() == "while open"
    scripted.ask("remove new")
    until(lambda: not (path / "new").exists(), "the removal shows")
    until(lambda: os.listdir(path) == [], "it is listed no more")


def test_a_listing_shows_remote_names_that_nobody_looked_up(scripted: Mounted) -> None:
    assert os.listdir(scripted.path) == []
    assert os.listdir(scripted.path) == []
    scripted.ask("remote a x")
    until(lambda: os.listdir(scripted.path) == ["a"], "the new name is listed")


def test_an_open_before_the_notification_is_never_cut_at_the_old_size(scripted: Mounted) -> None:
    """Another process changes a file and nothing wakes the mount; the kernel still believes in the old size."""
    path = scripted.path
    for number in range(20):
        scripted.ask(f"remote f{number} short")
        until((path / f"f{number}").exists, "the file shows")
        assert (path / f"f{number}").stat().st_size == 5
        if number % 2:
            assert (path / f"f{number}").read_text() == "short"
        scripted.ask(f"silent f{number} a much longer text")
        assert (path / f"f{number}").read_text() == "a much longer text"


def test_remote_change_of_mapped_and_locked_files_does_not_deadlock(scripted: Mounted) -> None:
    """Invalidations wait for the kernel's locks; requests must go on meanwhile."""
    (scripted.path / "busy").write_bytes(bytes(1 << 20))
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                (scripted.path / "busy").read_bytes()
                (scripted.path / "mine").write_text("x")
                os.listdir(scripted.path)
                os.unlink(scripted.path / "mine")
        except BaseException as error:
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    for number in range(300):
        scripted.ask(f"remote busy {number}")
        scripted.ask(f"remote other{number % 7} {number}")
    stop.set()
    worker.join(60)
    assert not worker.is_alive()
    assert failures == []
    until(lambda: (scripted.path / "busy").read_text() == "299", "the last change shows")


# ---- faults ----


def test_a_fault_of_ours_is_logged_and_the_mount_lives(scripted: Mounted) -> None:
    scripted.ask("break")
    with refused(errno.EIO):
        os.stat(scripted.path / "anything")
    (scripted.path / "f").write_text("still alive")
    assert "a fault that the test asked for" in scripted.said()
    assert "Traceback" in scripted.said()


# ---- what things cost ----


def counts(running: Mounted) -> dict[str, int]:
    return json.loads(running.ask("counts"))


def cost(running: Mounted, work) -> dict[str, int]:
    """The requests that `work` causes, RELEASE and FORGET aside (the kernel sends those when it likes)."""
    before = counts(running)
    work()
    after = counts(running)
    late = ("RELEASE", "RELEASEDIR", "FORGET", "BATCH_FORGET", "INTERRUPT")
    return {
        name: number - before.get(name, 0)
        for name, number in after.items()
        if number != before.get(name, 0) and name not in late
    }


def test_warm_reads_ask_nothing(scripted: Mounted) -> None:
    path = scripted.path / "f"
    path.write_bytes(b"x" * 5000)
    (scripted.path / "d").mkdir()
    path.read_bytes()
    os.stat(path)
    for _ in range(3):  # reading a directory moves its access time, which is asked for once more
        os.listdir(scripted.path)
    assert cost(scripted, lambda: [os.stat(path) for _ in range(10)]) == {}
    assert cost(scripted, lambda: [os.path.exists(scripted.path / "nope") for _ in range(10)]) == {"LOOKUP": 1}
    assert cost(scripted, lambda: [os.listdir(scripted.path) for _ in range(3)]) == {"OPENDIR": 3}

    def read() -> None:
        fd = os.open(path, os.O_RDONLY)
        assert len(os.read(fd, 4096)) == 4096
        os.close(fd)

    assert cost(scripted, read) == {"OPEN": 1}


def test_create_write_close(scripted: Mounted) -> None:
    (scripted.path / "first").write_text("x")
    os.stat(scripted.path)

    def create() -> None:
        fd = os.open(scripted.path / "new", os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, b"x" * 1024)
        os.close(fd)

    spent = cost(scripted, create)
    assert spent.pop("WRITE", 0) in (0, 1)  # none with passthrough
    assert spent == {"LOOKUP": 1, "CREATE": 1, "GETXATTR": 1, "FLUSH": 1}


def test_listing_a_thousand_with_attributes(scripted: Mounted, directory: Path) -> None:
    for number in range(1000):
        (directory / "back" / f"file{number:04}").touch()

    def scan() -> None:
        with os.scandir(scripted.path) as entries:
            assert sum(stat.S_ISREG(entry.stat().st_mode) for entry in entries) == 1000

    spent = cost(scripted, scan)
    assert spent["READDIRPLUS"] + spent.get("READDIR", 0) <= 10
    assert spent.get("LOOKUP", 0) + spent.get("GETATTR", 0) <= 2
    scan()
    assert cost(scripted, scan) == {"OPENDIR": 1}
