"""`.agentfs/spaces/<id>.json`: what says that a shared space exists (F-14).

Written once, create-only, by whoever makes the space. The listing of these objects is the list of a store's spaces.
"""

import json
from dataclasses import dataclass

from agentfs.errors import AgentIdInvalid, Corrupt, NewerFormat
from agentfs.format.fields import integer, required, text
from agentfs.format.framing import FORMAT_VERSION, check_features
from agentfs.format.store_file import TIME, shown_time
from agentfs.model.names import check_id

SPACE_FILE_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class SpaceFile:
    """Facts about a space."""

    format_version: int
    space: str
    created: str
    """When, for people: `2026-01-31T12:00:00Z`, by the clock of the machine that created it."""
    author: str
    """The agent who made it."""
    requires: tuple[str, ...] = ()
    """Features without which the space must not be opened."""


def new_space_file(space: str, author: str, created_ns: int) -> SpaceFile:
    """For a space that is created at `created_ns` (nanoseconds since 1970). Raises `AgentIdInvalid`."""
    return SpaceFile(FORMAT_VERSION, check_id(space, what="space name"), shown_time(created_ns), check_id(author))


def encode_space_file(file: SpaceFile) -> bytes:
    """JSON for people and programs, one line per fact. Deterministic."""
    fields = {
        "agentfs": "space",
        "format": file.format_version,
        "space": file.space,
        "created": file.created,
        "author": file.author,
        "requires": list(file.requires),
    }
    return json.dumps(fields, indent=2).encode() + b"\n"


def decode_space_file(data: bytes, *, space: str) -> SpaceFile:
    """The file of `space`. Raises `NewerFormat` if this version must not touch the space, `Corrupt` if it is not that
    space's file."""
    try:
        return _space_file(data, space)
    except NewerFormat as error:
        raise NewerFormat(f"the space {space} cannot be opened: {error}") from error
    except Corrupt as error:
        raise Corrupt(f"the file of the space {space} is damaged: {error}") from error


def _space_file(data: bytes, space: str) -> SpaceFile:
    if len(data) > SPACE_FILE_BYTES_MAX:
        raise Corrupt(f"it is longer than {SPACE_FILE_BYTES_MAX} bytes")
    try:
        header = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Corrupt("it is not JSON") from error
    if type(header) is not dict or header.get("agentfs") != "space":
        raise Corrupt("it is not the file of an AgentFS space")
    version = integer(required(header, "format"), "'format'", low=1, high=1 << 31)
    if version > FORMAT_VERSION:
        raise NewerFormat(
            f"it has format version {version}; this AgentFS reads up to {FORMAT_VERSION}: upgrade AgentFS"
        )
    requires = header.get("requires", [])
    check_features(requires)
    created = text(required(header, "created"), "'created'", bytes_max=64)
    if not TIME.match(created):
        raise Corrupt("'created' is not a time")
    author = text(required(header, "author"), "'author'", bytes_max=127)
    try:
        check_id(author)
    except AgentIdInvalid as error:
        raise Corrupt(f"'author': {error}") from error
    if required(header, "space") != space:
        raise Corrupt("it is another space's")
    return SpaceFile(version, space, created, author, tuple(requires))
