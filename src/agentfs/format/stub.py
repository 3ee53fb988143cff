"""Stubs: what stands at a log name once its commit was collected (docs/format.md, F-54 ff.).

A log name, once taken, is never free again: collection overwrites, it never deletes. A writer that comes back and
finds a stub still learns from `commit_digest` whether the commit that stood there was its own.
"""

from dataclasses import dataclass

from agentfs.errors import Corrupt
from agentfs.format.fields import integer, octets, required, rows, text
from agentfs.format.framing import COLLECTION_FEATURE, ObjectKind, open_frame, seal
from agentfs.format.limits import COMMIT_ID_BYTES, DIGEST_BYTES, FEATURES_MAX, INTEGER_MAX, NO_PARENT, SEQUENCE_MAX
from agentfs.format.origins import Origins, check_origins, features, origin_fields, read_origins
from agentfs.format.validation import check_head, check_head_digest, need
from agentfs.model.records import Commit


@dataclass(frozen=True, slots=True)
class Stub:
    """What is kept of a collected commit."""

    volume: str
    sequence: int
    commit_id: bytes
    commit_digest: bytes
    """The digest of the commit that stood here."""
    parent: bytes
    """Its parent's digest: the chain can be followed across stubs."""
    time_ns: int
    """Its hybrid-logical time."""
    snapshot: int
    """A snapshot at this sequence, not before the commit, was on the store when the commit was collected."""
    origins: Origins = ()
    """Of a fork: this is its origin entry (F-102), or an end entry."""
    ended: bool = False
    """The volume was deleted: nothing is written to it any more (F-106)."""
    packed: bool = False
    """What is kept of the commit's contents is in packs (F-123)."""


def stub_of(commit: Commit, digest: bytes, *, snapshot: int, packed: bool = False) -> Stub:
    """What to keep of `commit`, whose digest is `digest`, once a snapshot at `snapshot` is on the store."""
    return Stub(
        volume=commit.volume,
        sequence=commit.sequence,
        commit_id=commit.commit_id,
        commit_digest=digest,
        parent=commit.parent,
        time_ns=commit.time_ns,
        snapshot=snapshot,
        packed=packed,
    )


def encode_stub(stub: Stub) -> bytes:
    """Raises `ValueError` if `stub` is not legal. Deterministic."""
    _check(stub)
    header = {
        "volume": stub.volume,
        "sequence": stub.sequence,
        "id": stub.commit_id,
        "digest": stub.commit_digest,
        "parent": stub.parent,
        "time": stub.time_ns,
        "snapshot": stub.snapshot,
        "requires": [*features(stub.origins), *([COLLECTION_FEATURE] if stub.packed else [])],
        **origin_fields(stub.origins),
        **({"ended": 1} if stub.ended else {}),
    }
    data, _ = seal(ObjectKind.STUB, header)
    return data


def decode_stub(data: bytes, *, volume: str, sequence: int) -> Stub:
    """The stub in `data`, which must be entry `sequence` of the log of `volume`. Raises `Corrupt`, `NewerFormat`."""
    try:
        frame = open_frame(data, kind=ObjectKind.STUB)
        header = frame.header
        stub = Stub(
            volume=text(required(header, "volume"), "'volume'", bytes_max=256),
            sequence=integer(required(header, "sequence"), "'sequence'", low=1, high=SEQUENCE_MAX),
            commit_id=octets(required(header, "id"), "'id'", high=COMMIT_ID_BYTES),
            commit_digest=octets(required(header, "digest"), "'digest'", high=DIGEST_BYTES),
            parent=octets(required(header, "parent"), "'parent'", high=DIGEST_BYTES),
            time_ns=integer(required(header, "time"), "'time'", low=0, high=INTEGER_MAX),
            snapshot=integer(required(header, "snapshot"), "'snapshot'", low=1, high=SEQUENCE_MAX),
            origins=read_origins(header.get("origins", [])),
            ended=integer(header.get("ended", 0), "'ended'", low=0, high=1) == 1,
            packed=COLLECTION_FEATURE in rows(header.get("requires", []), "'requires'", count_max=FEATURES_MAX),
        )
        _check(stub)
        need(frame.body_start == frame.body_end, "a stub has no body")
        need(stub.volume == volume, f"it belongs to {stub.volume}")
        need(stub.sequence == sequence, f"it belongs at {stub.sequence}")
    except (Corrupt, ValueError) as error:
        raise Corrupt(f"the stub at {sequence} of {volume} is damaged and was not used: {error}") from error
    return stub


def origin_entry(volume: str, origins: Origins, *, fork_id: bytes, digest: bytes, time_ns: int) -> Stub:
    """What makes `volume` a fork (F-102). `digest` and `time_ns` are those of the entry it begins after."""
    return Stub(volume, 1, fork_id, digest, NO_PARENT, time_ns, origins[0].sequence, origins)


def end_entry(volume: str, origins: Origins, *, sequence: int, time_ns: int) -> Stub:
    """What ends a fork, and what its entries are replaced by then (F-106)."""
    return Stub(volume, sequence, bytes(COMMIT_ID_BYTES), NO_PARENT, NO_PARENT, time_ns, sequence, origins, True)


def _check(stub: Stub) -> None:
    check_origins(stub.origins, stub.volume)
    if stub.ended:
        check_head_digest(stub.volume, stub.sequence, stub.parent, stub.time_ns)
        need(bool(stub.origins), "what is no fork has ended")
    else:
        check_head(stub.volume, stub.sequence, stub.parent, stub.time_ns)
        if stub.origins:
            origin = stub.sequence == 1 and stub.snapshot == stub.origins[0].sequence
            need(origin, "it has origins and is no origin entry")
    need(len(stub.commit_id) == COMMIT_ID_BYTES, f"the commit id is not {COMMIT_ID_BYTES} bytes long")
    need(len(stub.commit_digest) == DIGEST_BYTES, f"the commit's digest is not {DIGEST_BYTES} bytes long")
    need(stub.sequence <= stub.snapshot <= SEQUENCE_MAX, "its snapshot is older than the commit was")
