"""Announcements of what may go, and retention policies (docs/format.md, F-115 ff.): numbered chains beside the log,
each link put create-only and never changed."""

from dataclasses import dataclass

from agentfs.errors import AgentFSError, Corrupt
from agentfs.format.fields import integer, octets, required, text
from agentfs.format.framing import COLLECTION_FEATURE, Frame, ObjectKind, open_frame, seal
from agentfs.format.layout import parse_volume_name
from agentfs.format.limits import (
    ANNOUNCED_MAX,
    DIGEST_BYTES,
    INTEGER_MAX,
    SEQUENCE_MAX,
)
from agentfs.format.validation import need
from agentfs.model.names import check_id
from agentfs.model.retention import parse_policy

_SUFFIX_BYTES = 8
_BLOB_BYTES = DIGEST_BYTES + _SUFFIX_BYTES
_POLICY_BYTES_MAX = 256


@dataclass(frozen=True, slots=True, order=True)
class BlobId:
    """One name of a chunk: its digest, and the suffix (0: none) that it was put under (F-122)."""

    digest: bytes
    suffix: int = 0


@dataclass(frozen=True, slots=True)
class Announcement:
    """Collection `number`: what may go from now on, for ever."""

    volume: str
    number: int
    horizon: int
    """Commits up to it may become stubs, and snapshots below it go; 0: none."""
    time_ns: int
    author: str
    policy: str
    """As it counted, for people."""
    blobs: tuple[BlobId, ...] = ()
    packs: tuple[bytes, ...] = ()
    """Digests of packs."""


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """What the volume keeps, as somebody set it."""

    volume: str
    number: int
    policy: str
    """See `model.retention.parse_policy`."""
    author: str
    time_ns: int


def encode_announcement(announcement: Announcement) -> bytes:
    """Raises `ValueError` if it is not legal. Deterministic."""
    _check_announcement(announcement)
    header = {
        **_head(announcement),
        "horizon": announcement.horizon,
        "policy": announcement.policy,
        "blobs": b"".join(it.digest + it.suffix.to_bytes(_SUFFIX_BYTES, "big") for it in announcement.blobs),
        "packs": b"".join(announcement.packs),
        "requires": [COLLECTION_FEATURE],
    }
    data, _ = seal(ObjectKind.ANNOUNCEMENT, header)
    return data


def decode_announcement(data: bytes, *, volume: str, number: int) -> Announcement:
    """Announcement `number` of `volume`. Raises `Corrupt`, `NewerFormat`."""
    try:
        frame = _bodiless(data, ObjectKind.ANNOUNCEMENT)
        header = frame.header
        found = Announcement(
            volume=text(required(header, "volume"), "'volume'", bytes_max=256),
            number=integer(required(header, "number"), "'number'", low=1, high=SEQUENCE_MAX),
            horizon=integer(required(header, "horizon"), "'horizon'", low=0, high=SEQUENCE_MAX),
            time_ns=integer(required(header, "time"), "'time'", low=0, high=INTEGER_MAX),
            author=text(required(header, "author"), "'author'", bytes_max=256),
            policy=text(required(header, "policy"), "'policy'", bytes_max=_POLICY_BYTES_MAX),
            blobs=tuple(map(_blob, _parts(required(header, "blobs"), "'blobs'", _BLOB_BYTES))),
            packs=tuple(_parts(required(header, "packs"), "'packs'", DIGEST_BYTES)),
        )
        _check_announcement(found)
        _check_place(found.volume, found.number, volume, number)
    except (Corrupt, ValueError) as error:
        raise Corrupt(f"announcement {number} of {volume} is damaged and was not used: {error}") from error
    return found


def encode_policy(record: PolicyRecord) -> bytes:
    """Raises `ValueError` if it is not legal. Deterministic."""
    _check_policy(record)
    data, _ = seal(ObjectKind.POLICY, {**_head(record), "policy": record.policy, "requires": []})
    return data


def decode_policy(data: bytes, *, volume: str, number: int) -> PolicyRecord:
    """Policy `number` of `volume`. Raises `Corrupt`, `NewerFormat`."""
    try:
        header = _bodiless(data, ObjectKind.POLICY).header
        found = PolicyRecord(
            volume=text(required(header, "volume"), "'volume'", bytes_max=256),
            number=integer(required(header, "number"), "'number'", low=1, high=SEQUENCE_MAX),
            policy=text(required(header, "policy"), "'policy'", bytes_max=_POLICY_BYTES_MAX),
            author=text(required(header, "author"), "'author'", bytes_max=256),
            time_ns=integer(required(header, "time"), "'time'", low=0, high=INTEGER_MAX),
        )
        _check_policy(found)
        _check_place(found.volume, found.number, volume, number)
    except (Corrupt, ValueError) as error:
        raise Corrupt(f"retention policy {number} of {volume} is damaged and was not used: {error}") from error
    return found


def _head(record: Announcement | PolicyRecord) -> dict[str, object]:
    return {
        "volume": record.volume,
        "number": record.number,
        "time": record.time_ns,
        "author": record.author,
    }


def _bodiless(data: bytes, kind: ObjectKind) -> Frame:
    frame = open_frame(data, kind=kind)
    need(frame.body_start == frame.body_end, "it has no body")
    return frame


def _parts(value: object, what: str, width: int) -> list[bytes]:
    joined = octets(value, what, high=ANNOUNCED_MAX * width)
    need(len(joined) % width == 0, f"{what} ends inside an entry")
    return [joined[at : at + width] for at in range(0, len(joined), width)]


def _blob(entry: bytes) -> BlobId:
    return BlobId(entry[:DIGEST_BYTES], int.from_bytes(entry[DIGEST_BYTES:], "big"))


def _check_place(volume: str, number: int, wanted_volume: str, wanted_number: int) -> None:
    need(volume == wanted_volume, f"it belongs to {volume}")
    need(number == wanted_number, f"it is number {number}")


def _check_announcement(announcement: Announcement) -> None:
    _check_head(announcement.volume, announcement.number, announcement.time_ns, announcement.author)
    need(0 <= announcement.horizon <= SEQUENCE_MAX, f"the horizon is {announcement.horizon}")
    _policy(announcement.policy)
    need(len(announcement.blobs) <= ANNOUNCED_MAX, f"more than {ANNOUNCED_MAX} blobs are announced")
    need(len(announcement.packs) <= ANNOUNCED_MAX, f"more than {ANNOUNCED_MAX} packs are announced")
    for digest in (*(it.digest for it in announcement.blobs), *announcement.packs):
        need(len(digest) == DIGEST_BYTES, "a digest is of the wrong length")
    need(all(0 <= it.suffix < announcement.number for it in announcement.blobs), "a chunk's suffix is too high")
    need(list(announcement.blobs) == sorted(set(announcement.blobs)), "the blobs are not sorted, once each")
    need(list(announcement.packs) == sorted(set(announcement.packs)), "the packs are not sorted, once each")


def _check_policy(record: PolicyRecord) -> None:
    _check_head(record.volume, record.number, record.time_ns, record.author)
    _policy(record.policy)


def _check_head(volume: str, number: int, time_ns: int, author: str) -> None:
    try:
        parse_volume_name(volume)
        check_id(author, what="author")
    except AgentFSError as error:
        raise ValueError(str(error)) from error
    need(1 <= number <= SEQUENCE_MAX, f"the number is {number}")
    need(0 <= time_ns <= INTEGER_MAX, f"the time is {time_ns}")


def _policy(value: str) -> None:
    need(parse_policy(value).text == value, f"{value!a} is not how a policy is written")
