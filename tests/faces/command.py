"""The `agentfs` command in tests: run as users run it, in a world of its own, leaving no mount and no process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentfs.errors import MountFailed, NotMounted
from agentfs.fuse import device
from agentfs.replica.sessions import is_alive
from agentfs.volume.mounts import records

PROGRAM = [sys.executable, "-m", "agentfs.cli.main"]
_READING = ("cat", "conflicts", "diff", "history", "log", "ls", "show")
_TOO_BUSY = "the engine did not finish 'pull' in time"


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class Machine:
    """One machine: a state directory and an environment."""

    root: Path
    store: str
    name: str = "one"
    agent: str = "me"
    extra: dict[str, str] = field(default_factory=dict)
    index: bool = False
    """Whether its engines index for search and recall: half a second of processor for each that lives for one."""
    view: bool = False
    """Whether its engines write the view: requests that nobody here asks for."""

    @property
    def state_dir(self) -> Path:
        return self.root / f"state-{self.name}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AGENTFS_", "AWS_", "XDG_"))}
        return kept | {
            "HOME": str(self.root),
            "AGENTFS_STORE": self.store,
            "AGENTFS_STATE_DIR": str(self.state_dir),
            "AGENTFS_AGENT_ID": self.agent,
            "AGENTFS_TIMEOUT": "30s",
            "AGENTFS_INDEX": "on" if self.index else "off",
            "AGENTFS_VIEW": "on" if self.view else "off",
            "LANG": "C.UTF-8",
            **self.extra,
        }

    def run(self, *arguments: str, stdin: bytes = b"", timeout: float = 90) -> Result:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            input=stdin,
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode())

    def ok(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Run what must work, without a word of warning."""
        result = self.run(*arguments, stdin=stdin)
        for _ in range(3):  # an engine of a mount that was too busy to look for news within seconds: ask it again
            if result.code == 0 and _TOO_BUSY in result.err and arguments[0] in _READING:
                result = self.run(*arguments, stdin=stdin)
        assert result.code == 0, (arguments, result)
        assert result.err == "", (arguments, result)
        return result

    def refused(self, code: int, *arguments: str, stdin: bytes = b"") -> str:
        """Run what must fail with `code` and one line; that line."""
        result = self.run(*arguments, stdin=stdin)
        assert result.code == code, (arguments, result)
        lines = result.err.splitlines()
        assert len(lines) == 1, (arguments, result)
        assert lines[0].startswith("agentfs: "), (arguments, result)
        return lines[0]

    def directory(self, name: str = "mnt") -> Path:
        """A place to mount on."""
        place = self.root / f"{name}-{self.name}"
        place.mkdir(exist_ok=True)
        return place

    def status(self) -> Any:
        return self.ok("status", "--json").json

    def mount_pid(self, place: Path) -> int:
        pid = next(mount["pid"] for mount in self.status()["mounts"] if mount["mountpoint"] == str(place))
        assert isinstance(pid, int)
        return pid

    def engine_pid(self) -> int | None:
        pid = self.status()["volumes"][0]["engine_pid"]
        assert pid is None or isinstance(pid, int)
        return pid

    def clean_up(self) -> None:
        """Whatever a test left: detach mounts, kill their processes by their ids."""
        prefix = os.fsencode(self.root)
        for facts in device.mounts():
            if facts.mountpoint.startswith(prefix) and facts.file_system == device.FILE_SYSTEM_TYPE:
                with contextlib.suppress(MountFailed, NotMounted):
                    device.unmount(facts.mountpoint, lazy=True)
        for record in records(str(self.state_dir)):
            if is_alive(record.pid, record.started):
                until(lambda record=record: not is_alive(record.pid, record.started), seconds=20, must=False)
            if is_alive(record.pid, record.started):
                os.kill(record.pid, signal.SIGKILL)
        until(lambda: not processes_of(self.root), seconds=30, must=False)


def until(condition: Any, *, seconds: float = 60.0, must: bool = True) -> bool:
    """Look until `condition()`; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            assert not must, "it did not happen in time"
            return False
        time.sleep(0.02)
    return True


def processes_of(root: Path) -> list[int]:
    """Processes of AgentFS whose environment belongs to the machines below `root`."""
    mark = f"HOME={root}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{name}/cmdline").read_bytes()
            if b"agentfs." in command and mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                found.append(int(name))
    return found


@contextlib.contextmanager
def machine(root: Path, **options: Any) -> Iterator[Machine]:
    """A machine over an embedded store below `root`, cleaned up at the end."""
    (root / "store").mkdir(exist_ok=True)
    made = Machine(root, **{"store": str(root / "store"), **options})
    try:
        yield made
    finally:
        made.clean_up()
