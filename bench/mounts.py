"""Mounts as a user makes them, with the `agentfs` command; each with a state directory of its own ("a machine")."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_COMMAND_SECONDS_MAX = 180.0
AGENT = "bench"


class CommandError(RuntimeError):
    """An `agentfs` command failed; the message carries what it said."""


@dataclass(slots=True)
class Machine:
    """One state directory and one mountpoint. Nothing of the caller's own settings reaches it."""

    home: Path
    """Everything of it is under this directory."""
    store: str
    passthrough: str = "auto"
    secrets: Mapping[str, str] = field(default_factory=dict)

    @property
    def mountpoint(self) -> Path:
        return self.home / "mount"

    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("AGENTFS_", "AWS_", "XDG_"))
        }
        return {
            **kept,
            **self.secrets,
            "AGENTFS_STATE_DIR": str(self.home / "state"),
            "AGENTFS_CONFIG": str(self.home / "config.toml"),
            "AGENTFS_PASSTHROUGH": self.passthrough,
            "AGENTFS_AGENT_ID": AGENT,
            "AGENTFS_STORE": self.store,
        }

    def agentfs(self, *words: str) -> str:
        """Run a command and return what it printed. Raises `CommandError`."""
        program = shutil.which("agentfs", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        if program is None:
            raise CommandError("the command agentfs is not installed here: run `make bench`")
        done = subprocess.run(
            [program, *words],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS_MAX,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"agentfs {words[0]} failed ({done.returncode}): {done.stderr.strip()[-2000:]}")
        return done.stdout

    def mount(self) -> None:
        """On return the mount answers."""
        self.mountpoint.mkdir(parents=True, exist_ok=True)
        (self.home / "config.toml").touch()
        self.agentfs("mount", str(self.mountpoint), "--agent-id", AGENT, "--store", self.store)

    def sync(self) -> None:
        """On return all that was closed is in the store."""
        self.agentfs("sync", "--agent-id", AGENT)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.agentfs("status", "--json"))
        return found

    def unmount(self, *, force: bool = False) -> None:
        self.agentfs("unmount", *(["--force"] if force else []), str(self.mountpoint))

    def clear(self) -> None:
        """Whatever happened before: not mounted any more, and no process of it left."""
        if not os.path.ismount(self.mountpoint):
            return
        try:
            self.unmount(force=True)
        except (CommandError, subprocess.TimeoutExpired):
            helper = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
            subprocess.run([*helper, str(self.mountpoint)], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def mounted(machine: Machine) -> Iterator[Machine]:
    """Mounted inside, unmounted after, whatever happens."""
    try:
        machine.mount()
        yield machine
        machine.unmount()
    finally:
        machine.clear()
