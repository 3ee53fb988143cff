"""Packs: small contents of collected commits, regrouped, and what is kept of history (docs/format.md, F-125 ff.).

A content is found by its digest. The header tells where each is, so that one is one ranged get.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentfs.errors import Corrupt
from agentfs.format.commit import checked_content, content_row, read_content
from agentfs.format.fields import integer, octets, required, row, rows, text
from agentfs.format.framing import (
    COLLECTION_FEATURE,
    PREAMBLE_BYTES,
    ObjectKind,
    open_frame,
    peek,
    seal,
    unverified_header,
)
from agentfs.format.limits import (
    COMMIT_ID_BYTES,
    COMMIT_LINKS_MAX,
    CONFLICT_DETAIL_BYTES_MAX,
    DIGEST_BYTES,
    INTEGER_MAX,
    INTEGER_MIN,
    PACK_BYTES_MAX,
    PACK_CONTENTS_MAX,
    PACK_ROWS_MAX,
    SEQUENCE_MAX,
)
from agentfs.format.validation import check_content, check_head_digest, need
from agentfs.model.records import INLINE_BYTES_MAX, NAME_BYTES_MAX, Content, InlineContent, InodeId

_SIZE_BYTES = 4
_ENTRY_BYTES = DIGEST_BYTES + _SIZE_BYTES


@dataclass(frozen=True, slots=True)
class State:
    """What a file was right after a collected commit."""

    sequence: int
    time_ns: int
    author: str
    parent: InodeId
    name: bytes
    """Where it was then."""
    inode: InodeId
    mode: int
    mtime_ns: int
    content: Content


@dataclass(frozen=True, slots=True)
class Lineage:
    """What is kept of the history of the file that had this name right after the horizon."""

    parent: InodeId
    name: bytes
    states: tuple[State, ...]
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A conflict of a collected commit that nobody had settled, and what met there."""

    sequence: int
    place: int
    kind: str
    parent: InodeId
    name: bytes
    kept_as: bytes
    detail: str
    time_ns: int
    author: str
    met: int
    base: Content | None
    earlier: Content | None
    later: Content | None


@dataclass(frozen=True, slots=True)
class Pack:
    """What stands in a pack, but for the bytes."""

    volume: str
    pack_id: bytes
    first: int
    last: int
    """The least and the greatest sequence of the commits from which something is here."""
    contents: tuple[tuple[bytes, int], ...] = ()
    """Digest and size of each, in the order of the body."""
    lineages: tuple[Lineage, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def places(self, body_start: int) -> dict[bytes, tuple[int, int]]:
        """Digest → offset in the object, and size."""
        found = {}
        offset = body_start
        for digest, size_bytes in self.contents:
            found[digest] = (offset, size_bytes)
            offset += size_bytes
        return found


def encode_pack(pack: Pack, bodies: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The object and its digest. `bodies` are the contents' bytes, in the order of `pack.contents`. Raises
    `ValueError` and `Corrupt` when something is not legal or not what it should be."""
    _check(pack)
    need(len(bodies) == len(pack.contents), "the contents and their bytes do not belong together")
    for (digest, size_bytes), body in zip(pack.contents, bodies, strict=True):
        checked_content(body, InlineContent(size_bytes, digest, pack.first, 0))
    header = {
        "volume": pack.volume,
        "id": pack.pack_id,
        "first": pack.first,
        "last": pack.last,
        "contents": b"".join(digest + size.to_bytes(_SIZE_BYTES, "big") for digest, size in pack.contents),
        "versions": [[it.parent, it.name, [_state_row(state) for state in it.states]] for it in pack.lineages],
        "evidence": [_evidence_row(it) for it in pack.evidence],
        "requires": [COLLECTION_FEATURE],
    }
    return seal(ObjectKind.PACK, header, bodies)


def decode_pack(data: bytes, *, volume: str) -> tuple[Pack, dict[bytes, bytes]]:
    """The pack in `data` and its contents by digest. Everything is verified. Raises `Corrupt`, `NewerFormat`."""
    try:
        frame = open_frame(data, kind=ObjectKind.PACK)
        pack = _pack(frame.header)
        need(pack.volume == volume, f"it belongs to {pack.volume}")
        end = frame.body_start + sum(size for _, size in pack.contents)
        need(end == frame.body_end, "its contents do not fill the body")
        bodies = {}
        for digest, (offset, size) in pack.places(frame.body_start).items():
            bodies[digest] = checked_content(data[offset : offset + size], InlineContent(size, digest, 1, 0))
    except (Corrupt, ValueError) as error:
        raise Corrupt(f"a pack of {volume} is damaged and was not used: {error}") from error
    return pack, bodies


def index_bytes(head: bytes) -> int:
    """How many bytes of a pack must be got to know its header, by its first `PREAMBLE_BYTES`. Raises `Corrupt`,
    `NewerFormat`."""
    kind, header_bytes = peek(head)
    if kind is not ObjectKind.PACK:
        raise Corrupt(f"it is a {kind.name.lower()}, not a pack")
    return PREAMBLE_BYTES + header_bytes


def decode_index(head: bytes, *, volume: str) -> tuple[Pack, int]:
    """What stands in a pack according to its first `index_bytes`, and where the body starts. *Not verified*: whoever
    uses a place must check the digest of what it finds there (F-126). Raises `Corrupt`, `NewerFormat`."""
    try:
        start = index_bytes(head)
        pack = _pack(unverified_header(head))
        need(pack.volume == volume, f"it belongs to {pack.volume}")
    except (Corrupt, ValueError) as error:
        raise Corrupt(f"a pack of {volume} is damaged and was not used: {error}") from error
    return pack, start


# ---- rows -------------------------------------------------------------------------------------------------------


def _state_row(state: State) -> list[object]:
    return [
        state.sequence,
        state.time_ns,
        state.author,
        state.parent,
        state.name,
        state.inode,
        state.mode,
        state.mtime_ns,
        content_row(state.content),
    ]


def _evidence_row(it: Evidence) -> list[object]:
    head = [it.sequence, it.place, it.kind, it.parent, it.name, it.kept_as, it.detail, it.time_ns, it.author, it.met]
    return [*head, *(content_row(side) for side in (it.base, it.earlier, it.later))]


def _pack(header: Mapping[str, object]) -> Pack:
    joined = octets(required(header, "contents"), "'contents'", high=PACK_CONTENTS_MAX * _ENTRY_BYTES)
    need(len(joined) % _ENTRY_BYTES == 0, "'contents' ends inside an entry")
    pack = Pack(
        volume=text(required(header, "volume"), "'volume'", bytes_max=256),
        pack_id=octets(required(header, "id"), "'id'", low=COMMIT_ID_BYTES, high=COMMIT_ID_BYTES),
        first=integer(required(header, "first"), "'first'", low=1, high=SEQUENCE_MAX),
        last=integer(required(header, "last"), "'last'", low=1, high=SEQUENCE_MAX),
        contents=tuple(
            (joined[at : at + DIGEST_BYTES], int.from_bytes(joined[at + DIGEST_BYTES : at + _ENTRY_BYTES], "big"))
            for at in range(0, len(joined), _ENTRY_BYTES)
        ),
        lineages=tuple(map(_lineage, rows(required(header, "versions"), "'versions'", count_max=PACK_ROWS_MAX))),
        evidence=tuple(map(_evidence, rows(required(header, "evidence"), "'evidence'", count_max=PACK_ROWS_MAX))),
    )
    _check(pack)
    return pack


def _lineage(value: object) -> Lineage:
    parent, name, states = row(value, "'versions'", width=3)
    return Lineage(
        _number(parent, "a parent"),
        _name(name),
        tuple(map(_state, rows(states, "a file's states", count_max=COMMIT_LINKS_MAX))),
    )


def _state(value: object) -> State:
    sequence, time_ns, author, parent, name, inode, mode, mtime, content = row(value, "'versions'", width=9)
    at = integer(sequence, "a state's sequence", low=1, high=SEQUENCE_MAX)
    found = read_content(content, at + 1)
    need(found is not None, "a state without a content")
    assert found is not None
    return State(
        sequence=at,
        time_ns=_number(time_ns, "a time"),
        author=text(author, "an author", bytes_max=256),
        parent=_number(parent, "a parent"),
        name=_name(name),
        inode=_number(inode, "an inode"),
        mode=integer(mode, "a mode", low=0, high=0o7777),
        mtime_ns=integer(mtime, "a time", low=INTEGER_MIN, high=INTEGER_MAX),
        content=found,
    )


def _evidence(value: object) -> Evidence:
    fields = row(value, "'evidence'", width=13)
    at = integer(fields[0], "a conflict's sequence", low=1, high=SEQUENCE_MAX)
    base, earlier, later = (read_content(it, at) for it in fields[10:])
    return Evidence(
        sequence=at,
        place=_number(fields[1], "a conflict's place"),
        kind=text(fields[2], "a conflict's kind", bytes_max=64),
        parent=_number(fields[3], "a parent"),
        name=_name(fields[4]),
        kept_as=octets(fields[5], "a name", high=NAME_BYTES_MAX),
        detail=text(fields[6], "a conflict's detail", bytes_max=CONFLICT_DETAIL_BYTES_MAX),
        time_ns=_number(fields[7], "a time"),
        author=text(fields[8], "an author", bytes_max=256),
        met=integer(fields[9], "a sequence", low=0, high=at),
        base=base,
        earlier=earlier,
        later=later,
    )


def _number(value: object, what: str) -> int:
    return integer(value, what, low=0, high=INTEGER_MAX)


def _name(value: object) -> bytes:
    return octets(value, "a name", low=1, high=NAME_BYTES_MAX)


def _check(pack: Pack) -> None:
    check_head_digest(pack.volume, pack.first, bytes(DIGEST_BYTES), 0)
    need(pack.first <= pack.last <= SEQUENCE_MAX, f"it is of entries {pack.first} to {pack.last}")
    need(len(pack.pack_id) == COMMIT_ID_BYTES, f"the id is not {COMMIT_ID_BYTES} bytes long")
    need(len(pack.contents) <= PACK_CONTENTS_MAX, f"there are more than {PACK_CONTENTS_MAX} contents")
    need(len({digest for digest, _ in pack.contents}) == len(pack.contents), "a content stands twice")
    for digest, size_bytes in pack.contents:
        need(len(digest) == DIGEST_BYTES, "a digest is of the wrong length")
        need(1 <= size_bytes <= INLINE_BYTES_MAX, f"a content of {size_bytes} bytes")
    need(sum(size for _, size in pack.contents) <= PACK_BYTES_MAX, "the contents are too long")
    for count in (len(pack.lineages), len(pack.evidence), sum(len(it.states) for it in pack.lineages)):
        need(count <= PACK_ROWS_MAX, f"there are more than {PACK_ROWS_MAX} rows")
    _check_contents(state.content for it in pack.lineages for state in it.states)
    _check_contents(side for it in pack.evidence for side in (it.base, it.earlier, it.later))


def _check_contents(contents: Iterable[Content | None]) -> None:
    for content in contents:
        if content is not None:
            check_content(content, SEQUENCE_MAX)
