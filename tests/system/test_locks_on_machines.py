"""Locks across machines on real mounts, over a real S3 server: nobody's increment is lost, and who slept through a
take-over cannot write."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machines import Fleet, Machine, until

from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.servers import S3Server

SETTINGS = {"AGENTFS_SHARED_LOCKS": "state/*.json,*.lock,counter*", "AGENTFS_LOCK_TTL": "3s"}
SLOW = {**SETTINGS, "AGENTFS_LOCK_TTL": "60s"}

_FLOCK = """
import errno, fcntl, os, sys
path, count, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def lock(fd, on):
    if how == "flock":
        fcntl.flock(fd, fcntl.LOCK_EX if on else fcntl.LOCK_UN)
    else:
        fcntl.lockf(fd, fcntl.LOCK_EX if on else fcntl.LOCK_UN)
def opened():
    return os.open(path, os.O_RDWR | os.O_CREAT if how == "flock" else os.O_RDWR)
kept = opened() if how == "flock" else -1
for _ in range(count):
    while True:
        fd = kept if kept >= 0 else opened()
        try:
            lock(fd, True)
            break
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        os.close(fd)  # all made the file at once, and one still writes it: what the error says is done
        kept = opened() if how == "flock" else -1
    number = int(os.pread(fd, 100, 0) or b"0")
    os.pwrite(fd, b"%d" % (number + 1), 0)
    lock(fd, False)
    if kept < 0:
        os.close(fd)
"""
"""One increment after the other: through one descriptor that stays open (flock), or one for each (fcntl)."""

_HOLD = """
import errno, fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.readline()
os.pwrite(fd, b"late", 0)
said = []
for what in (lambda: os.fsync(fd), lambda: fcntl.flock(fd, fcntl.LOCK_UN), lambda: os.close(fd)):
    try:
        what()
        said.append("ok")
    except OSError as error:
        said.append(errno.errorcode[error.errno])
print(*said, flush=True)
"""


def _machines(
    fleet: Fleet, server: S3Server, bucket: str, count: int, settings: dict[str, str] = SLOW
) -> list[Machine]:
    made = [fleet.machine(server, bucket) for _ in range(count)]
    for it in made:
        it.mount(**settings)
    return made


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Runs a Python program beside a mount; it is ended, and its pipes closed, with the test."""
    made: list[subprocess.Popen[bytes]] = []

    def run(program: str, *arguments: str | bytes) -> subprocess.Popen[bytes]:
        made.append(
            subprocess.Popen(
                [sys.executable, "-c", program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return made[-1]

    yield run
    for child in made:
        child.kill()
        child.communicate(timeout=30)


def _line(child: subprocess.Popen[bytes]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().decode().strip()


def _seen(machine: Machine, name: str, data: bytes) -> None:
    until(lambda: machine.read(name) == data, f"{name} is seen")


@pytest.mark.parametrize("how", ["flock", pytest.param("fcntl", marks=pytest.mark.slow)])
def test_no_increment_is_lost(
    machines: Fleet, start: Start, ministack_server: S3Server, bucket: str, how: str
) -> None:
    three = _machines(machines, ministack_server, bucket, 3)
    if how == "fcntl":  # else all make the file at the same time
        three[0].write("counter", "0")
        three[0].sync()
        for it in three:
            _seen(it, "counter", b"0")
    each = 8
    children = [start(_FLOCK, it.path("counter"), str(each), how) for it in (*three, three[0])]
    for child in children:
        _, said = child.communicate(timeout=120)
        assert child.returncode == 0, (said, three[0].logs(), three[1].logs(), three[2].logs())
    for it in three:
        _seen(it, "counter", b"%d" % (each * len(children)))
        assert sorted(os.listdir(it.mountpoint)) == ["counter"]
        it.unmount()
    three[0].fsck()


def test_a_paused_machine_cannot_write_after_the_take_over(
    machines: Fleet, start: Start, ministack_server: S3Server, bucket: str
) -> None:
    one, other = _machines(machines, ministack_server, bucket, 2, SETTINGS)
    os.mkdir(one.path("state"))
    one.write("state/x.json", "0000")
    one.sync()
    _seen(other, "state/x.json", b"0000")
    holder = start(_HOLD, one.path("state/x.json"))
    assert _line(holder) == "locked"  # that others are refused is tested with locks that slow machines renew in time
    asleep = [pid for pid, kind in one.processes().items() if kind in ("mount", "engine")]
    assert len(asleep) == 2
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    try:
        taken = start(_HOLD, other.path("state/x.json"))
        assert _line(taken) == "locked"
        taken.stdin.write(b"\n")
        taken.stdin.flush()
        assert _line(taken) == "ok ok ok"
        assert other.read("state/x.json") == b"late"
        other.write("state/x.json", "theirs")
        other.sync()
    finally:
        for pid in asleep:
            os.kill(pid, signal.SIGCONT)
    holder.stdin.write(b"\n")
    holder.stdin.flush()
    said = _line(holder)
    assert "EIO" in said, (said, one.logs())
    one.sync()
    _seen(one, "state/x.json", b"theirs")
    for it in (one, other):
        until(lambda it=it: len(os.listdir(it.path("state"))) == 2, "the conflict copy is everywhere")
        (copy,) = [name for name in os.listdir(it.path("state")) if b".conflict-" in name]
        assert it.read(b"state/" + copy) == b"late"
        assert it.read("state/x.json") == b"theirs"
        it.unmount()
        it.fsck()


def _refused(machine: Machine, name: str) -> bool:
    program = (
        "import fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\n"
        "try: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, machine.path(name)], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, (done.stderr, machine.logs())
    return done.stdout == b"refused\n"


def test_whoever_is_killed_gives_its_lock_back(
    machines: Fleet, start: Start, ministack_server: S3Server, bucket: str
) -> None:
    one, other = _machines(machines, ministack_server, bucket, 2)
    one.write("a.lock", "")
    one.sync()
    _seen(other, "a.lock", b"")
    holder = start(_HOLD, one.path("a.lock"))
    assert _line(holder) == "locked"
    assert _refused(other, "a.lock")
    waits = start(_HOLD, other.path("a.lock"))
    time.sleep(0.5)
    holder.kill()
    assert _line(waits) == "locked"
    waits.send_signal(signal.SIGTERM)
    waits.wait(60)
    until(lambda: not _refused(one, "a.lock"), "the lock is free")
    for it in (one, other):
        it.unmount()


def test_a_waiting_program_can_be_interrupted(
    machines: Fleet, start: Start, ministack_server: S3Server, bucket: str
) -> None:
    one, other = _machines(machines, ministack_server, bucket, 2)
    one.write("a.lock", "")
    one.sync()
    _seen(other, "a.lock", b"")
    holder = start(_HOLD, one.path("a.lock"))
    assert _line(holder) == "locked"
    program = (
        "import fcntl, os, signal, sys\n"
        "def out(*_): raise TimeoutError\n"
        "signal.signal(signal.SIGALRM, out)\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\nsignal.setitimer(signal.ITIMER_REAL, 1.0)\n"
        "try: fcntl.flock(fd, fcntl.LOCK_EX)\nexcept TimeoutError: print('interrupted')"
    )
    for it in (one, other):
        done = subprocess.run(
            [sys.executable, "-c", program, it.path("a.lock")], capture_output=True, timeout=20, check=False
        )
        assert done.stdout == b"interrupted\n", done.stderr
    holder.stdin.write(b"\n")
    holder.stdin.flush()
    assert _line(holder) == "ok ok ok"
    assert not _refused(other, "a.lock")
    for it in (one, other):
        it.unmount()


def test_offline_no_lock_across_machines_is_granted(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    """ENOLCK, with the reason in the log. Other files' locks work as ever, and so does all when it is back."""
    one = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    one.mount(**SLOW)
    one.write("a.lock", "")
    one.write("plain", "")
    one.sync()
    program = (
        "import errno, fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\n"
        "try: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB); print('locked')\n"
        "except OSError as error: print(errno.errorcode[error.errno])"
    )

    def said(name: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-c", program, one.path(name)], capture_output=True, timeout=60, check=True
        ).stdout

    assert said("a.lock") == b"locked\n"
    until(lambda: not json.loads(one.run("locks", "--json").stdout)["locks"], "it is given back")
    fault_proxy.go_down()
    assert said("plain") == b"locked\n"
    assert said("a.lock") == b"ENOLCK\n"
    assert "cannot be had now" in one.logs()
    fault_proxy.come_up()
    until(lambda: said("a.lock") == b"locked\n", "the lock can be had again")
    one.kill("engine")
    until(lambda: said("a.lock") == b"locked\n", "a new engine takes the lock")
    one.unmount()


@pytest.mark.slow
def test_the_command_line(
    machines: Fleet, start: Start, ministack_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    one, other = _machines(machines, ministack_server, bucket, 2)
    one.write("notes.md", "0")
    one.sync()
    _seen(other, "notes.md", b"0")
    script = tmp_path / "work"
    script.write_text('#!/bin/sh\nread n < "$1"; sleep 0.2; echo $((n + 1)) > "$1"; exit "${2:-0}"\n')
    script.chmod(0o755)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "agentfs.cli.main", "lock", "notes.md", "--", str(script), it.path("notes.md")],
            env=it.variables(**SLOW),
        )
        for it in (one, other, one)
    ]
    assert [it.wait(120) for it in running] == [0, 0, 0]
    for it in (one, other):
        _seen(it, "notes.md", b"3\n")
    assert one.run("lock", "notes.md", "--", "sh", "-c", "exit 7", ok=False).returncode == 7
    holder = start(_HOLD, one.path("notes.md"))
    assert _line(holder) == "locked"  # not a pattern: a lock of this machine
    assert json.loads(other.run("locks", "--json").stdout)["locks"] == []
    long = subprocess.Popen(
        [sys.executable, "-m", "agentfs.cli.main", "lock", str(one.mountpoint / "notes.md"), "--", "sleep", "30"],
        env=one.variables(**SLOW),
    )
    one.children.append(long)
    until(lambda: json.loads(other.run("locks", "--json").stdout)["locks"], "the lock is seen elsewhere")
    (facts,) = json.loads(other.run("locks", "--json").stdout)["locks"]
    assert facts["path"] == "notes.md"
    assert facts["holder"].startswith("myagent@")
    assert not facts["here"]
    held = other.run("lock", "notes.md", "--timeout", "0", "--", "true", ok=False)
    assert held.returncode != 0
    assert "locked by" in held.stderr
    assert other.run("unlock", "notes.md", ok=False).returncode != 0
    other.run("unlock", "notes.md", "--force")
    assert other.run("lock", "notes.md", "--timeout", "0", "--", "true").returncode == 0
    long.send_signal(signal.SIGTERM)
    assert long.wait(30) not in (0, None)
    holder.kill()
    for it in (one, other):
        it.unmount()
        it.fsck()


def test_locks_of_one_machine_are_as_on_any_file_system(
    machines: Fleet, ministack_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    """Of files that ask for nothing, on a mount that does the locks itself."""
    (one,) = _machines(machines, ministack_server, bucket, 1)
    program = Path(__file__).with_name("local_locks.py")
    expected = subprocess.run(
        [sys.executable, program, tmp_path], capture_output=True, timeout=60, check=True, text=True
    ).stdout
    assert expected.count("\n") > 30
    os.mkdir(one.path("plain"))
    found = subprocess.run(
        [sys.executable, program, one.path("plain")], capture_output=True, timeout=60, check=False, text=True
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == expected
    one.unmount()
    one.fsck()
