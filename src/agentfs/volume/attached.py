"""Which spaces are attached to a home, read from its replica (docs/spaces.md). For those who need nothing else."""

import os
from dataclasses import dataclass

from agentfs.errors import AgentIdInvalid
from agentfs.model.names import check_id, shown
from agentfs.model.records import Kind
from agentfs.replica.database import Connection
from agentfs.volume.status import reading

DIRECTORY = b"spaces"
"""Of a home's root: where spaces are attached."""
TARGET = b"agentfs:space/"
_ROOT = 1
_LINKS = (
    "SELECT d.name, i.target FROM dentry d JOIN inode i ON i.ino=d.ino "
    f"WHERE d.parent=(SELECT ino FROM dentry WHERE parent={_ROOT} AND name=?) AND i.kind={int(Kind.SYMLINK)} "
    "ORDER BY d.name"
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A space at a name of a home's directory `spaces`."""

    name: bytes
    space: str

    @property
    def place(self) -> str:
        """Its path in the home, for people."""
        return shown(DIRECTORY + b"/" + self.name)


def space_of(target: bytes) -> str | None:
    """The space that a symbolic link in `spaces` attaches; None when it is an ordinary link."""
    if not target.startswith(TARGET):
        return None
    try:
        return check_id(target[len(TARGET) :].decode("ascii", "replace"), what="space name")
    except AgentIdInvalid:
        return None


def peek_attachments(directory: str) -> list[Attachment]:
    """What is attached to a home, from its replica and without joining it."""
    with reading(os.path.join(directory, "replica.db")) as connection:
        return attachments_in(connection)


def attachments_in(connection: Connection) -> list[Attachment]:
    """By name."""
    return [
        Attachment(bytes(name), space)
        for name, target in connection.rows(_LINKS, (DIRECTORY,))
        if (space := space_of(bytes(target))) is not None
    ]
