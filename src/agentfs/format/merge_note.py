"""The note that a fork was merged (docs/format.md, F-107): a small JSON object, for people and tools."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from agentfs.errors import Corrupt
from agentfs.format.fields import integer, required, text
from agentfs.format.limits import SEQUENCE_FIRST, SEQUENCE_MAX

_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class MergeNote:
    """A fork, as it was after entry `sequence`, is part of another volume."""

    sequence: int
    into: str
    """The other volume's name."""
    into_sequence: int
    """Where its log ended, with the merge in it."""
    author: str
    time: str
    """`2026-01-31T12:00:00Z`, by the clock of the machine that merged."""


def new_merge_note(*, sequence: int, into: str, into_sequence: int, author: str, time_ns: int) -> MergeNote:
    """`time_ns`: nanoseconds since 1970."""
    time = datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return MergeNote(sequence, into, into_sequence, author, time)


def encode_merge_note(note: MergeNote) -> bytes:
    """Deterministic."""
    fields = {
        "agentfs": "merge",
        "into": note.into,
        "into_sequence": note.into_sequence,
        "author": note.author,
        "time": note.time,
    }
    return json.dumps(fields, indent=2).encode() + b"\n"


def decode_merge_note(data: bytes, *, sequence: int) -> MergeNote:
    """The note at `sequence` (its name tells). Raises `Corrupt`."""
    try:
        fields = json.loads(data.decode("utf-8")) if len(data) <= _BYTES_MAX else None
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"the note of the merge at {sequence} is not JSON") from error
    if type(fields) is not dict or fields.get("agentfs") != "merge":
        raise Corrupt(f"the note of the merge at {sequence} is not one")
    return MergeNote(
        sequence=sequence,
        into=text(required(fields, "into"), "'into'", bytes_max=256),
        into_sequence=integer(
            required(fields, "into_sequence"), "'into_sequence'", low=SEQUENCE_FIRST, high=SEQUENCE_MAX
        ),
        author=text(required(fields, "author"), "'author'", bytes_max=256),
        time=text(required(fields, "time"), "'time'", bytes_max=64),
    )
