"""A volume's lifecycle rules as somebody set them (docs/format.md, F-128): a numbered chain beside the log, each link
put create-only and never changed."""

from dataclasses import dataclass

from agentfs.errors import AgentFSError, Corrupt
from agentfs.format.fields import integer, required, text
from agentfs.format.framing import ObjectKind, open_frame, seal
from agentfs.format.layout import parse_volume_name
from agentfs.format.limits import INTEGER_MAX, SEQUENCE_MAX
from agentfs.format.validation import need
from agentfs.model.lifecycle import TEXT_BYTES_MAX, parse_rules
from agentfs.model.names import check_id


@dataclass(frozen=True, slots=True)
class LifecycleRecord:
    """The rules with this number. The newest count."""

    volume: str
    number: int
    text: str
    """TOML, as it was written (`model.lifecycle`)."""
    author: str
    time_ns: int
    """For people."""


def encode_lifecycle(record: LifecycleRecord) -> bytes:
    """Raises `ValueError` if it is not legal. Deterministic."""
    _check(record)
    header = {
        "volume": record.volume,
        "number": record.number,
        "time": record.time_ns,
        "author": record.author,
        "text": record.text,
        "requires": [],
    }
    data, _ = seal(ObjectKind.LIFECYCLE, header)
    return data


def decode_lifecycle(data: bytes, *, volume: str, number: int) -> LifecycleRecord:
    """The rules with this number of `volume`. Nobody may act by rules that it does not understand: raises `Corrupt`
    for them as for damage, and `NewerFormat`."""
    try:
        frame = open_frame(data, kind=ObjectKind.LIFECYCLE)
        need(frame.body_start == frame.body_end, "it has no body")
        header = frame.header
        found = LifecycleRecord(
            volume=text(required(header, "volume"), "'volume'", bytes_max=256),
            number=integer(required(header, "number"), "'number'", low=1, high=SEQUENCE_MAX),
            text=text(required(header, "text"), "'text'", bytes_max=TEXT_BYTES_MAX),
            author=text(required(header, "author"), "'author'", bytes_max=256),
            time_ns=integer(required(header, "time"), "'time'", low=0, high=INTEGER_MAX),
        )
        _check(found)
        need(found.volume == volume, f"it belongs to {found.volume}")
        need(found.number == number, f"it is number {found.number}")
    except (Corrupt, ValueError) as error:
        raise Corrupt(
            f"lifecycle rules {number} of {volume} are damaged, or of a later AgentFS, and were not used: {error}"
        ) from error
    return found


def _check(record: LifecycleRecord) -> None:
    try:
        parse_volume_name(record.volume)
        check_id(record.author, what="author")
    except AgentFSError as error:
        raise ValueError(str(error)) from error
    need(1 <= record.number <= SEQUENCE_MAX, f"the number is {record.number}")
    need(0 <= record.time_ns <= INTEGER_MAX, f"the time is {record.time_ns}")
    parse_rules(record.text)
