"""Where a fork comes from (docs/format.md, F-100): the parent and its entry, then the parent's own origins."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from agentfs.errors import AgentFSError, Corrupt
from agentfs.format.fields import integer, row, rows, text
from agentfs.format.layout import parse_volume_name
from agentfs.format.limits import ORIGINS_MAX, SEQUENCE_FIRST, SEQUENCE_MAX
from agentfs.format.validation import need

ORIGIN_FEATURE = "origin"
"""What objects of a fork require: who does not know it would look for contents in the wrong place."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Entries up to `sequence` are those of `volume`."""

    volume: str
    sequence: int


Origins = tuple[Origin, ...]
"""Nearest first; empty for a volume that is no fork."""


def check_origins(origins: Sequence[Origin], volume: str) -> None:
    """Raise `ValueError` unless `volume` can have these origins."""
    need(len(origins) <= ORIGINS_MAX, f"it is a fork of a fork, {len(origins)} deep; {ORIGINS_MAX} is the most")
    last = SEQUENCE_MAX
    seen = {volume}
    for origin in origins:
        try:
            parse_volume_name(origin.volume)
        except AgentFSError as error:
            raise ValueError(str(error)) from error
        need(SEQUENCE_FIRST <= origin.sequence <= last, f"an origin at {origin.sequence}")
        need(origin.volume not in seen, f"{origin.volume} comes from itself")
        seen.add(origin.volume)
        last = origin.sequence


def origin_fields(origins: Origins) -> dict[str, object]:
    """The header fields of an object that has `origins`; none without, so that other volumes keep their bytes."""
    return {"origins": [[it.volume, it.sequence] for it in origins]} if origins else {}


def features(origins: Origins) -> list[str]:
    """What an object with these origins requires."""
    return [ORIGIN_FEATURE] if origins else []


def read_origins(value: object) -> Origins:
    """The origins in a header's field. Raises `Corrupt`."""
    return tuple(_origin(it) for it in rows(value, "'origins'", count_max=ORIGINS_MAX))


def _origin(value: object) -> Origin:
    volume, sequence = row(value, "'origins'", width=2)
    return Origin(
        text(volume, "an origin's volume", bytes_max=256),
        integer(sequence, "an origin's sequence", low=SEQUENCE_FIRST, high=SEQUENCE_MAX),
    )


def origins_text(origins: Origins) -> str:
    """For a replica's `state`: the reverse of `parse_origins`."""
    return json.dumps([[it.volume, it.sequence] for it in origins])


def parse_origins(value: object) -> Origins:
    """What a replica's `state` has under `origins`; None there means no fork. Raises `Corrupt`."""
    if value is None:
        return ()
    try:
        return read_origins(json.loads(str(value)))
    except ValueError as error:
        raise Corrupt("the replica does not know any more what it is a fork of: run agentfs fsck --repair") from error
