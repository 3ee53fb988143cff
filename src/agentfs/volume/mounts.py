"""The mounts of this machine: what each one is, and how it is asked. Kept as one JSON file per mountpoint.

The file is written by the mount's process and outlives its crash: `unmount` and `mount` find from it whose mount a
dead directory was. No secrets: store URLs carry none.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass

from agentfs.replica.sessions import is_alive
from agentfs.volume.logs import private_file
from agentfs.volume.messages import Gone, Message, connect
from agentfs.volume.places import mount_key, mounts_directory

_ASK_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class MountRecord:
    mountpoint: str
    """A real path; bytes that are not UTF-8 are surrogates."""
    agent_id: str
    store: str
    replica: str
    """Directory of the replica."""
    pid: int
    started: str
    """`replica.sessions.process_stamp` of the process."""
    mounted_at_ns: int
    device: str = ""
    """`major:minor` of the mount: what it is known by when a directory above it was moved."""

    @property
    def alive(self) -> bool:
        return is_alive(self.pid, self.started)


def mount_file(state_dir: str, mountpoint: str, suffix: str) -> str:
    """The place of a mount's `json`, `sock`, `lock` or `log`."""
    return os.path.join(mounts_directory(state_dir), f"{mount_key(mountpoint)}.{suffix}")


def write_record(state_dir: str, record: MountRecord) -> None:
    path = mount_file(state_dir, record.mountpoint, "json")
    with open(private_file(f"{path}.new"), "w", encoding="utf-8") as file:
        json.dump(asdict(record), file, indent=2)
    os.rename(f"{path}.new", path)


def read_record(state_dir: str, mountpoint: str) -> MountRecord | None:
    return _read(mount_file(state_dir, mountpoint, "json"))


def read_moved(state_dir: str, device: str) -> MountRecord | None:
    """The record of a mount that stands elsewhere now: by its device number, which no other mount has meanwhile."""
    found = [record for record in records(state_dir) if record.device == device]
    return found[0] if found and (found[0].alive or len(found) == 1) else None


def remove_record(state_dir: str, mountpoint: str) -> None:
    """Forget a mount. Its log stays."""
    for suffix in ("json", "sock"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(mount_file(state_dir, mountpoint, suffix))


def ask_spaces(state_dir: str, record: MountRecord) -> list[Message]:
    """What the process of a living mount says of its spaces: `space`, `place`, `directory` (of the replica) and
    `problem` (why it cannot be entered, or empty). Nothing when it does not answer."""
    if not record.alive:
        return []
    try:
        with connect(mount_file(state_dir, record.mountpoint, "sock")) as connection:
            connection.send({"id": 1, "do": "status"})
            answer = connection.receive(timeout_seconds=_ASK_SECONDS_MAX)
    except (Gone, TimeoutError):
        return []
    facts = answer.get("result", {}).get("spaces", [])
    return facts if isinstance(facts, list) else []


def records(state_dir: str) -> list[MountRecord]:
    """All mounts that were not unmounted cleanly yet, the living first."""
    directory = mounts_directory(state_dir)
    found = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in sorted(os.listdir(directory)):
            record = _read(os.path.join(directory, name)) if name.endswith(".json") else None
            if record is not None:
                found.append(record)
    return sorted(found, key=lambda record: (not record.alive, record.mountpoint))


def _read(path: str) -> MountRecord | None:
    try:
        with open(path, encoding="utf-8") as file:
            return MountRecord(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None
