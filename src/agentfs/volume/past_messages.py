"""`PastInode` and moments as messages, for both ends of the desk. It loads nothing of the engine: the processes of
mounts and of commands use it."""

import os
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any

from agentfs.history.moments import Moment
from agentfs.history.past import PastInode, Xattrs
from agentfs.model.records import Kind
from agentfs.volume.messages import Message

PAST_FILE, PAST_TREE, PAST_DIRECTORY = "past-file", "past-tree", "past-directory"
"""The words (`volume.past`)."""


def past_message(past: PastInode) -> Message:
    found: Message = {
        "inode": past.inode, "kind": int(past.kind), "mode": past.mode, "uid": past.uid, "gid": past.gid,
        "mtime_ns": past.mtime_ns, "ctime_ns": past.ctime_ns, "birth_ns": past.birth_ns, "rdev": past.rdev,
        "size_bytes": past.size_bytes, "links": past.links,
    }  # fmt: skip
    if past.target:
        found["target"] = os.fsdecode(past.target)
    if past.xattrs:
        found["xattrs"] = xattrs_message(past.xattrs)
    return found


def moment_message(moment: Moment) -> Message:
    return {"kind": moment.kind, "number": moment.number, "text": moment.text}


def xattrs_message(xattrs: Xattrs) -> list[list[str]]:
    return [[b64encode(name).decode(), b64encode(value).decode()] for name, value in xattrs]


def xattrs_of(message: Iterable[tuple[str, str]]) -> Xattrs:
    """The reverse of `xattrs_message`."""
    return tuple((b64decode(name), b64decode(value)) for name, value in message)


def past_of(message: Message) -> PastInode:
    """The reverse of `past_message`."""
    fields: dict[str, Any] = {
        name: message[name]
        for name in ("inode", "mode", "uid", "gid", "mtime_ns", "ctime_ns", "birth_ns", "rdev", "size_bytes", "links")
    }
    return PastInode(
        **fields,
        kind=Kind(message["kind"]),
        target=os.fsencode(message.get("target", "")),
        xattrs=xattrs_of(message.get("xattrs", ())),
    )
