"""Which names and ids are allowed."""

import re

from agentfs.errors import AgentIdInvalid, InvalidArgument, NameTooLong
from agentfs.model.records import NAME_BYTES_MAX

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}\Z")


def check_id(value: str, *, what: str = "agent id") -> str:
    """Return `value` if it can name a home or a space; raise `AgentIdInvalid` if not.

    1 to 127 characters: ASCII letters, digits, `.`, `_` and `-`, starting with a letter or digit, without `..`.
    The same on every store and file system, so an id is also a safe directory and object name.
    """
    if not _ID.match(value) or ".." in value:
        shown = ascii(value)
        raise AgentIdInvalid(
            f"{what} {shown} is not allowed: use 1 to 127 of the characters A-Z a-z 0-9 . _ - , "
            "starting with a letter or digit, without '..'"
        )
    return value


def check_name(name: bytes) -> bytes:
    """Return `name` if it can be a dentry; raise `InvalidArgument` or `NameTooLong` if not."""
    if len(name) > NAME_BYTES_MAX:
        raise NameTooLong(f"the name is {len(name)} bytes long; {NAME_BYTES_MAX} is the most")
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise InvalidArgument(f"{name!r} cannot be the name of a file")
    return name


def shown(name: bytes) -> str:
    """`name` for a person or for JSON: UTF-8 where it is, `\\xNN` where it is not."""
    return name.decode("utf-8", "backslashreplace")
