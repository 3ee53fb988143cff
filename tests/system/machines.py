"""Machines for system tests: a state directory, a mountpoint and the `agentfs` command, on this one computer.

Nothing here may hang a test run or outlive it: every command has a time limit, a watchdog kills the processes of a
mount that is older than `patience_seconds` (operations on it then fail with ENOTCONN), and `Machine.destroy` kills
by process id whatever still has the machine's state directory in its environment.
"""

import contextlib
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentfs.errors import AgentFSError
from agentfs.fuse import device
from agentfs.testing.servers import S3Server

MOUNT_SECONDS_MAX = 240.0
COMMAND_SECONDS_MAX = 60.0


def can_mount() -> bool:
    return os.geteuid() == 0 and os.access(device.DEVICE, os.R_OK | os.W_OK)


def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for something that another process does; fail after a limit."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except FileNotFoundError:
            pass
        assert time.monotonic() < deadline, f"never within {seconds:g} s: {what}"
        time.sleep(0.01)


@dataclass
class Machine:
    """One computer as far as AgentFS can tell."""

    root: Path
    store: str
    environment: Mapping[str, str]
    agent: str = "myagent"
    patience_seconds: float = MOUNT_SECONDS_MAX
    index: bool = False
    """Whether its engines index for search and recall: half a second of processor for each that lives for one."""
    view: bool = False
    """Whether its engines write the view: requests that most tests do not count."""
    state: Path = field(init=False)
    mountpoint: Path = field(init=False)
    gave_up: str = ""
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Programs that use the mount: ended with the machine."""
    _watchdog: threading.Timer | None = None

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True)
        self.state = self.root / "state"
        self.mountpoint = self.root / "mnt"
        self.mountpoint.mkdir()
        (self.root / "config.toml").touch()

    # ---- commands ----

    def variables(self, **more: str) -> dict[str, str]:
        bare = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {
            **bare,
            "HOME": str(self.root),
            "PYTHONPATH": os.pathsep.join(
                (str(Path(__file__).with_name("traces")), os.environ.get("PYTHONPATH", ""))
            ),
            "AGENTFS_STATE_DIR": str(self.state),
            "AGENTFS_STORE": self.store,
            "AGENTFS_CONFIG": str(self.root / "config.toml"),
            "AGENTFS_AGENT_ID": self.agent,
            "AGENTFS_INDEX": "on" if self.index else "off",
            "AGENTFS_VIEW": "on" if self.view else "off",
            **self.environment,
            **more,
        }

    def run(
        self, *arguments: str, ok: bool = True, seconds: float = COMMAND_SECONDS_MAX, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """`agentfs …`. With `ok` any exit code but 0 fails the test. Output goes through files: a daemon that keeps
        a pipe open must not keep us."""
        command = [sys.executable, "-P", "-m", "agentfs.cli.main", *arguments]
        place = self.root / "output"
        place.mkdir(exist_ok=True)
        stem = f"{arguments[0]}-{time.monotonic_ns()}"
        with open(place / f"{stem}.out", "wb") as out, open(place / f"{stem}.err", "wb") as err:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.variables(**variables)
            )
            try:
                code = child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                self._give_up()
                raise AssertionError(
                    f"agentfs {' '.join(arguments)} took more than {seconds:g} s\n{self.logs()}"
                ) from None
        done = subprocess.CompletedProcess(
            command, code, (place / f"{stem}.out").read_text(), (place / f"{stem}.err").read_text()
        )
        assert not ok or code == 0, (
            f"agentfs {' '.join(arguments)}: {code}\n{done.stderr}{done.stdout}\n{self.holders()}\n{self.logs()}"
        )
        return done

    def mount(self, *options: str, ok: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        self._watch()
        return self.run("mount", str(self.mountpoint), *options, ok=ok, **variables)

    def unmount(
        self, *options: str, ok: bool = True, seconds: float = COMMAND_SECONDS_MAX
    ) -> subprocess.CompletedProcess[str]:
        done = self.run("unmount", str(self.mountpoint), *options, ok=ok, seconds=seconds)
        if self._watchdog is not None:
            self._watchdog.cancel()
        return done

    def sync(self, *options: str, ok: bool = True, seconds: float = 90.0) -> subprocess.CompletedProcess[str]:
        return self.run("sync", "--timeout", "60s", *options, ok=ok, seconds=seconds)

    def status(self) -> dict:
        return json.loads(self.run("status", "--json").stdout)

    def volume(self) -> dict:
        """The facts of the one volume of this machine."""
        (volume,) = self.status()["volumes"]
        return volume

    def pending(self) -> int:
        return self.volume()["pending"]["changes"]

    def fsck(self, *options: str) -> None:
        """Fails the test unless everything is clean, notes included."""
        done = self.run("fsck", "--json", *options, ok=False, seconds=120)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"fsck: {done.returncode} {done.stdout}{done.stderr}") from None
        assert done.returncode == 0 and report.get("clean"), f"fsck: {done.stdout}{done.stderr}\n{self.logs()}"
        bad = [finding for finding in report["findings"] if finding["severity"] != "note"]
        assert not bad, f"fsck: {bad}"

    # ---- processes ----

    def processes(self) -> dict[int, str]:
        """Every process of this machine, by id: `mount`, `engine` or its command line."""
        mark = f"AGENTFS_STATE_DIR={self.state}".encode()
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                if mark not in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    continue
                line = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state == "Z":
                continue
            names = {"agentfs.cli.daemon": "mount", "agentfs.volume.engine_main": "engine"}
            found[int(entry)] = next((name for module, name in names.items() if module in line), line)
        return found

    def kill(self, *kinds: str) -> list[int]:
        """`kill -9` the machine's processes of these kinds. Returns whom."""
        found = [pid for pid, kind in self.processes().items() if kind in kinds]
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found

    def kill_all(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _give_up(self) -> None:
        """A mount lives too long: perhaps something hangs. Let every process say where it is, then end it."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR2)
        time.sleep(0.5)
        self.gave_up = self.logs(20_000)
        print(self.gave_up, file=sys.stderr)
        self.crash()

    def crash(self) -> None:
        """Power off, as far as processes go: all die at once, the directory is gone."""
        self.kill_all()
        self.detach()

    def detach(self) -> None:
        with contextlib.suppress(AgentFSError):
            device.unmount(os.fsencode(self.mountpoint), lazy=True)

    def holders(self) -> list[str]:
        """Processes of this computer that use the mount: for the message of a test that fails."""
        found = []
        place = str(self.mountpoint)
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if os.readlink(link).startswith(place):
                    found.append(
                        f"{link} {os.readlink(link)} {Path(link).parents[1].joinpath('cmdline').read_bytes()!r}"
                    )
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if os.readlink(link).startswith(place):
                    found.append(f"{link}")
        return found

    def is_mounted(self) -> bool:
        return device.mounted_at(os.fsencode(self.mountpoint)) is not None

    def _watch(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = threading.Timer(self.patience_seconds, self._give_up)
        self._watchdog.daemon = True
        self._watchdog.start()

    def destroy(self) -> list[str]:
        """Leave nothing. Returns what should not have been there any more."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        for child in self.children:
            if child.poll() is None:
                child.kill()
        left = [f"{pid} {line}" for pid, line in self.processes().items()]
        mounted = self.is_mounted()
        if mounted:
            left.append(f"mount {self.mountpoint}")
        if left:
            self.crash()
            until(lambda: not self.processes(), "killed processes end", 30)
        for child in self.children:
            child.wait(30)
        return left

    # ---- looking ----

    def logs(self, characters: int = 3000) -> str:
        """The ends of the daemons' logs."""
        found = [*self.state.glob("mounts/*.log"), *self.state.glob("volumes/*/*.log")]
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-characters:]}" for path in found)

    def commits(self, count: int) -> None:
        """Make that many commits, through the SDK beside the mount: a file and a sync each."""
        program = (
            "import sys\nfrom agentfs.sdk.home import Home\nwith Home.open() as home:\n"
            "    for number in range(int(sys.argv[1])): home.write(f'commit-{number}', b'x' * number); home.sync()"
        )
        command = [sys.executable, "-P", "-c", program, str(count)]
        subprocess.run(command, env=self.variables(), timeout=COMMAND_SECONDS_MAX, check=True)

    def replica(self) -> Path:
        (found,) = (self.state / "volumes").iterdir()
        return found

    def path(self, name: str | bytes = "") -> bytes:
        return os.path.join(os.fsencode(self.mountpoint), os.fsencode(name)) if name else os.fsencode(self.mountpoint)

    def write(self, name: str | bytes, data: bytes | str) -> None:
        with open(self.path(name), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)

    def read(self, name: str | bytes) -> bytes:
        with open(self.path(name), "rb") as file:
            return file.read()


# ---- trees ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What must be equal on every machine."""

    kind: int
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    size: int
    digest: str
    xattrs: tuple[tuple[str, bytes], ...]
    links: tuple[bytes, ...]
    """All names of the inode."""


def tree(top: Path | bytes, *, times: bool = True) -> dict[bytes, Facts]:
    """Everything below `top`, by path. Walks with descriptors: paths may be longer than the kernel takes."""
    found: dict[bytes, tuple[os.stat_result, str, tuple[tuple[str, bytes], ...]]] = {}
    names: dict[int, list[bytes]] = {}
    stack = [(b"", os.open(top, os.O_RDONLY | os.O_DIRECTORY))]
    try:
        while stack:
            path, fd = stack.pop()
            try:
                for name in os.listdir(fd):
                    raw = os.fsencode(name)
                    place = path + b"/" + raw if path else raw
                    info = os.stat(raw, dir_fd=fd, follow_symlinks=False)
                    found[place] = (info, *_content(raw, fd, info))
                    names.setdefault(info.st_ino, []).append(place)
                    if stat.S_ISDIR(info.st_mode):
                        inner = os.open(raw, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                        stack.append((place, inner))
            finally:
                os.close(fd)
    finally:
        for _, fd in stack:  # something another machine took away meanwhile ended the walk
            os.close(fd)
    return {
        place: Facts(
            kind=stat.S_IFMT(info.st_mode),
            mode=stat.S_IMODE(info.st_mode),
            owner=(info.st_uid, info.st_gid),
            mtime_ns=info.st_mtime_ns if times and not stat.S_ISDIR(info.st_mode) else 0,
            size=0 if stat.S_ISDIR(info.st_mode) else info.st_size,
            digest=digest,
            xattrs=xattrs,
            links=tuple(sorted(names[info.st_ino])),
        )
        for place, (info, digest, xattrs) in sorted(found.items())
    }


def _content(name: bytes, at: int, info: os.stat_result) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    if stat.S_ISLNK(info.st_mode):
        return repr(os.readlink(name, dir_fd=at)), ()
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
        return "", ()
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=at)
    try:
        xattrs = tuple(sorted((key, os.getxattr(fd, key)) for key in os.listxattr(fd)))
        if stat.S_ISDIR(info.st_mode):
            return "", xattrs
        with open(fd, "rb", closefd=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), xattrs
    finally:
        os.close(fd)


def difference(left: dict[bytes, Facts], right: dict[bytes, Facts]) -> str:
    """The first few places where two trees differ; empty when they are equal."""
    lines = []
    for place in sorted(left.keys() | right.keys()):
        one, other = left.get(place), right.get(place)
        if one != other:
            lines.append(f"{place!r}:\n    {one}\n    {other}")
    return "\n".join(lines[:6] + ([f"… {len(lines)} in all"] if len(lines) > 6 else []))


def until_equal(left: Machine, right: Machine, seconds: float = 60.0, *, times: bool = True) -> None:
    """Wait until both mounts show the same tree."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = difference(tree(left.path(), times=times), tree(right.path(), times=times))
        except FileNotFoundError as error:
            found = repr(error)
        if not found:
            return
        assert time.monotonic() < deadline, (
            f"still different after {seconds:g} s:\n{found}\n{left.logs()}\n{right.logs()}"
        )
        time.sleep(0.05)


# ---- making --------------------------------------------------------------------------------------------------------


class Fleet:
    """Makes machines and ends them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: list[Machine] = []
        self.expect_left = False
        """A test that ends with dead mounts says so."""
        self.index = False
        """Whether the machines that are made from now on index."""
        self.view = False
        """Whether they write the view."""

    def machine(self, server: S3Server, bucket: str, *, endpoint: str | None = None, **options: str) -> Machine:
        """A new machine on `bucket`, through the proxy at `endpoint` where one is given."""
        seen = server.at(endpoint) if endpoint else server
        return self.on(seen.url(bucket, "root"), environment=server.environment(), **options)

    def on(self, store: str, *, environment: Mapping[str, str] | None = None, **options: str) -> Machine:
        place = self.root / f"m{len(self.made)}"
        made = Machine(place, store, environment or {}, index=self.index, view=self.view, **options)
        self.made.append(made)
        return made

    def end(self) -> list[str]:
        left = []
        for machine in self.made:
            left += machine.destroy()
        return left


@contextlib.contextmanager
def fleet(root: Path) -> Iterator[Fleet]:
    """At the end every machine is gone; with a test that succeeded, one that was not unmounted fails it."""
    made = Fleet(root)
    try:
        yield made
    except BaseException:
        made.end()
        raise
    for machine in made.made:
        if machine.is_mounted():
            machine.unmount("--force", "--timeout", "2s", ok=False)
    left = made.end()
    assert not left, f"left behind: {left}"
