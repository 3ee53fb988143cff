"""Pins: small objects that keep the tree after one entry, for a named snapshot or a fork (docs/format.md, F-110 ff.).

How one is put so that no collection overlooks it is in `log.pins`.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from agentfs.errors import AgentFSError, Corrupt
from agentfs.format.fields import integer, octets, required, text
from agentfs.format.framing import ObjectKind, open_frame, seal
from agentfs.format.limits import COMMIT_ID_BYTES, DIGEST_BYTES, INTEGER_MAX, PIN_NOTE_BYTES_MAX, SEQUENCE_MAX
from agentfs.format.validation import check_head_digest, need
from agentfs.model.names import check_id

PinKind: TypeAlias = Literal["snapshot", "fork"]
PIN_KINDS: Final = get_args(PinKind)


@dataclass(frozen=True, slots=True)
class Pin:
    """The tree of `volume` right after entry `sequence` is kept for as long as this stands."""

    volume: str
    pin_id: bytes
    """16 random bytes: tells two pins of one name apart."""
    kind: PinKind
    name: str
    """An id (F-11). Of a fork: the fork's volume name."""
    sequence: int
    digest: bytes
    """Of entry `sequence`."""
    time_ns: int
    """When it was made, for people."""
    author: str
    note: str = ""
    held: bool = False
    """It was made sure that no collection overlooked it: it may be relied upon."""


def encode_pin(pin: Pin) -> bytes:
    """Raises `ValueError` if `pin` is not legal. Deterministic."""
    _check(pin)
    header = {
        "volume": pin.volume,
        "id": pin.pin_id,
        "kind": pin.kind,
        "name": pin.name,
        "sequence": pin.sequence,
        "digest": pin.digest,
        "time": pin.time_ns,
        "author": pin.author,
        "note": pin.note,
        "held": int(pin.held),
        "requires": [],
    }
    data, _ = seal(ObjectKind.PIN, header)
    return data


def decode_pin(data: bytes, *, volume: str, kind: PinKind, name: str) -> Pin:
    """The pin in `data`, which must be the pin `name` of that kind in `volume`. Raises `Corrupt`, `NewerFormat`."""
    try:
        frame = open_frame(data, kind=ObjectKind.PIN)
        header = frame.header
        pin = Pin(
            volume=text(required(header, "volume"), "'volume'", bytes_max=256),
            pin_id=octets(required(header, "id"), "'id'", high=COMMIT_ID_BYTES),
            kind=_kind(text(required(header, "kind"), "'kind'", bytes_max=64)),
            name=text(required(header, "name"), "'name'", bytes_max=256),
            sequence=integer(required(header, "sequence"), "'sequence'", low=1, high=SEQUENCE_MAX),
            digest=octets(required(header, "digest"), "'digest'", high=DIGEST_BYTES),
            time_ns=integer(required(header, "time"), "'time'", low=0, high=INTEGER_MAX),
            author=text(required(header, "author"), "'author'", bytes_max=256),
            note=text(required(header, "note"), "'note'", bytes_max=PIN_NOTE_BYTES_MAX),
            held=bool(integer(required(header, "held"), "'held'", low=0, high=1)),
        )
        _check(pin)
        need(frame.body_start == frame.body_end, "a pin has no body")
        need(pin.volume == volume, f"it belongs to {pin.volume}")
        need((pin.kind, pin.name) == (kind, name), f"it is the {pin.kind} {pin.name}")
    except (Corrupt, ValueError) as error:
        raise Corrupt(f"the pin of {kind} {name} in {volume} is damaged and was not used: {error}") from error
    return pin


def _kind(value: str) -> PinKind:
    if value == "snapshot":
        return "snapshot"
    if value == "fork":
        return "fork"
    raise Corrupt(f"it is of unknown kind {value!a}")


def _check(pin: Pin) -> None:
    check_head_digest(pin.volume, pin.sequence, pin.digest, pin.time_ns)
    need(len(pin.pin_id) == COMMIT_ID_BYTES, f"the id is not {COMMIT_ID_BYTES} bytes long")
    need(pin.kind in PIN_KINDS, f"it is of unknown kind {pin.kind}")
    need(len(pin.note.encode()) <= PIN_NOTE_BYTES_MAX, "the note is too long")
    for value, what in ((pin.name, "pin name"), (pin.author, "author")):
        try:
            check_id(value, what=what)
        except AgentFSError as error:
            raise ValueError(str(error)) from error
