"""Making packs: contents that are kept leave commits and packs that go, and are read back before anything relies on
them (docs/format.md, F-117 (1))."""

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from agentfs.errors import Corrupt, ObjectNotFound
from agentfs.format import layout
from agentfs.format.commit import inline_bytes
from agentfs.format.framing import ObjectKind, verify
from agentfs.format.limits import DIGEST_BYTES, PACK_CONTENTS_MAX, PACK_ROWS_MAX
from agentfs.format.pack import Evidence, Lineage, Pack, State, decode_pack, encode_pack
from agentfs.log.contents import PackIndex
from agentfs.log.log import Log
from agentfs.model.records import ChunkedContent, Content, InlineContent
from agentfs.retention.kept import Kept
from agentfs.stores.protocol import Store

_ROW_BYTES = 300
_ROW_BYTES_MAX = 16 * 1024 * 1024
"""Of the rows of one pack; a single one may have half a header of chunks more."""


@dataclass(slots=True)
class Packing:
    """Of one collection."""

    store: Store
    log: Log
    index: PackIndex
    entropy: Callable[[int], bytes]
    pack_bytes: int
    recent: dict[int, bytes]
    """Commits that were read a moment ago."""
    put: list[bytes] = field(default_factory=list)
    """Digests of the packs that were put."""
    contents: int = 0
    content_bytes: int = 0
    missing: set[bytes] = field(default_factory=set)
    """Contents that are nowhere, and that nothing needs."""
    _bodies: dict[bytes, bytes] = field(default_factory=dict)
    _size: int = 0
    _first: int = 0
    _last: int = 0

    def pack(self, kept: Kept, wanted: set[bytes]) -> Iterator[None]:
        """Put the contents `wanted` (of `kept`) into packs. Yields after each request or two. Raises `Corrupt` when
        one that is needed is nowhere."""
        left = set(wanted)
        yield from self._from_packs(kept, left)
        by_commit: dict[int, dict[bytes, InlineContent]] = defaultdict(dict)
        for digest in sorted(left):
            for place in kept.inline[digest]:
                by_commit[place.sequence][digest] = place
        for sequence in sorted(by_commit):
            inside_commit = {it: place for it, place in by_commit[sequence].items() if it in left}
            if inside_commit:
                found = self._from_commit(sequence, inside_commit)
                yield
                for digest, data in found.items():
                    left.discard(digest)
                    yield from self._add(digest, data, sequence)
        if left:  # another collector may have packed them, and replaced their commits
            self.index.refresh()
            yield
            yield from self._from_packs(kept, left)
        yield from self._seal()
        lost = left & kept.needed
        if lost:
            raise Corrupt(
                f"{len(lost)} contents of {self.log.volume} that are in use are neither in their commits nor in "
                f"packs ({min(lost).hex()}): run agentfs fsck; nothing more was collected"
            )
        self.missing |= left

    def rows(self, lineages: list[Lineage], evidence: list[Evidence]) -> Iterator[None]:
        """Put what is kept of history into packs of its own, but for contents that turned out to be gone. Yields
        after each."""
        lineages = [it for it in map(self._without_missing, lineages) if it.states]
        evidence = [self._sides_there(it) for it in evidence]
        rows = [Lineage(it.parent, it.name, (state,)) for it in lineages for state in it.states]
        for some in _portions([*rows, *evidence]):
            sequences = [it.sequence if isinstance(it, Evidence) else it.states[0].sequence for it in some]
            pack = Pack(
                volume=self.log.volume,
                pack_id=self.entropy(16),
                first=min(sequences),
                last=max(sequences),
                lineages=_united(it for it in some if isinstance(it, Lineage)),
                evidence=tuple(it for it in some if isinstance(it, Evidence)),
            )
            self._store_pack(pack, [])
            yield

    def _without_missing(self, it: Lineage) -> Lineage:
        return replace(it, states=tuple(state for state in it.states if not self._is_missing(state.content)))

    def _sides_there(self, it: Evidence) -> Evidence:
        base, earlier, later = (None if self._is_missing(side) else side for side in (it.base, it.earlier, it.later))
        return replace(it, base=base, earlier=earlier, later=later)

    def _is_missing(self, content: Content | None) -> bool:
        return isinstance(content, InlineContent) and content.digest in self.missing

    def _from_packs(self, kept: Kept, left: set[bytes]) -> Iterator[None]:
        """Add what is in packs, and take it from `left`."""
        for _, it in sorted(self.index.packs.items()):
            inside = sorted(left & it.places.keys())
            if not inside:
                continue
            try:
                found = self.index.whole(it)
            except (ObjectNotFound, Corrupt):
                found = {}  # each may still be in its commit
            yield
            for digest in inside:
                if digest in found:
                    left.discard(digest)
                    yield from self._add(digest, found[digest], kept.inline[digest][0].sequence)

    def _from_commit(self, sequence: int, wanted: dict[bytes, InlineContent]) -> dict[bytes, bytes]:
        """What is still there of contents that were put in commit `sequence`. One get at most."""
        try:
            data = self.recent.get(sequence) or self.store.get(self.log.name(sequence)).data
            if verify(data)[0] is not ObjectKind.COMMIT:
                return {}
        except (ObjectNotFound, Corrupt):
            return {}
        found = {}
        for digest, place in wanted.items():
            with contextlib.suppress(Corrupt):
                found[digest] = inline_bytes(data, place)
        return found

    def _add(self, digest: bytes, data: bytes, sequence: int) -> Iterator[None]:
        if hashlib.sha256(data).digest() != digest:
            raise Corrupt(f"a content of {self.log.volume} changed while it was packed")
        if self._size + len(data) > self.pack_bytes or len(self._bodies) == PACK_CONTENTS_MAX:
            yield from self._seal()
        self._first = min(self._first or sequence, sequence)
        self._last = max(self._last, sequence)
        self._bodies[digest] = data
        self._size += len(data)

    def _seal(self) -> Iterator[None]:
        if not self._bodies:
            return
        pack = Pack(
            volume=self.log.volume,
            pack_id=self.entropy(16),
            first=self._first,
            last=self._last,
            contents=tuple((digest, len(data)) for digest, data in self._bodies.items()),
        )
        bodies = list(self._bodies.values())
        self.contents += len(bodies)
        self.content_bytes += self._size
        self._bodies, self._size, self._first, self._last = {}, 0, 0, 0
        self._store_pack(pack, bodies)
        yield

    def _store_pack(self, pack: Pack, bodies: list[bytes]) -> None:
        """Put, and read back whole. Raises `Corrupt` when the store did not keep it."""
        data, digest = encode_pack(pack, bodies)
        name = layout.pack_name(self.log.prefix, digest)
        self.store.put(name, data)
        found = self.store.get(name).data
        decode_pack(found, volume=self.log.volume)
        if found != data:
            raise Corrupt(f"{name} is not what was put there")
        self.put.append(digest)


def _portions(rows: list[Lineage | Evidence]) -> Iterator[list[Lineage | Evidence]]:
    """Cut rows so that each portion fits a header."""
    portion: list[Lineage | Evidence] = []
    size = 0
    for row in rows:
        if portion and (len(portion) == PACK_ROWS_MAX or size > _ROW_BYTES_MAX):
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += _row_bytes(row)
    if portion:
        yield portion


def _row_bytes(row: Lineage | Evidence) -> int:
    """About how long a row is."""
    if isinstance(row, Evidence):
        contents: tuple[Content | None, ...] = (row.base, row.earlier, row.later)
        more = len(row.detail.encode()) + len(row.kept_as)
    else:
        contents, more = (row.states[0].content,), 0
    chunks = sum(len(it.chunks) for it in contents if isinstance(it, ChunkedContent))
    return _ROW_BYTES + 2 * len(row.name) + more + chunks * DIGEST_BYTES


def _united(rows: Iterable[Lineage]) -> tuple[Lineage, ...]:
    """One lineage for each name."""
    found: dict[tuple[int, bytes], list[State]] = {}
    for row in rows:
        found.setdefault((row.parent, row.name), []).extend(row.states)
    return tuple(Lineage(*place, tuple(states)) for place, states in found.items())
