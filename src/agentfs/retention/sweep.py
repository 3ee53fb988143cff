"""Taking away what was announced to go (docs/format.md, F-117 (6)). Every step may be repeated, by several at once,
and after any pause: what is taken away is never relied upon again, whoever does it and when."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from agentfs.errors import Corrupt
from agentfs.format import layout
from agentfs.format.collection import BlobId
from agentfs.format.framing import PREAMBLE_BYTES, ObjectKind, peek
from agentfs.format.stub import Stub
from agentfs.log.announcements import Announcements
from agentfs.log.log import Log
from agentfs.retention.batches import in_batches
from agentfs.retention.report import CollectionReport
from agentfs.stores.protocol import Entry, Store

_PAGE = 1000


@dataclass(slots=True)
class Announced:
    """All that was announced so far."""

    newest: int = 0
    horizon: int = 0
    blobs: set[BlobId] = field(default_factory=set)
    packs: set[bytes] = field(default_factory=set)
    each: dict[int, tuple[float, frozenset[BlobId], frozenset[bytes]]] = field(default_factory=dict)
    """Number → when it was put, and what it names."""


def read_announced(announcements: Announcements) -> Announced:
    """One list, and one get for each. Raises `Corrupt`, `NewerFormat`, `StoreError`: without knowing all of them
    nothing may be decided."""
    found = Announced()
    for number, entry in announcements.numbers():
        one = announcements.read(number)
        found.newest = max(found.newest, number)
        found.horizon = max(found.horizon, one.horizon)
        found.blobs.update(one.blobs)
        found.packs.update(one.packs)
        found.each[number] = (entry.modified_at, frozenset(one.blobs), frozenset(one.packs))
    return found


def listed(store: Store, prefix: str) -> Iterator[Entry]:
    """All objects below a prefix, a list for each thousand."""
    after = ""
    while True:
        page = store.list(prefix, after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].name


def is_stub(store: Store, log: Log, sequence: int) -> bool:
    """One small get."""
    return peek(store.get(log.name(sequence), start=0, length=PREAMBLE_BYTES).data)[0] is ObjectKind.STUB


def end_of_stubs(store: Store, log: Log, first: int, last: int) -> int:
    """The first place from `first` to `last` where a commit stands; `last` + 1: none. Stubs are put in ascending
    order, `BATCH_MAX` at once: a search by halves finds where they end, give or take so many."""
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        if is_stub(store, log, middle):
            low = middle + 1
        else:
            high = middle
    return low


@dataclass(slots=True)
class Sweep:
    """One run. Yields after each batch of requests."""

    store: Store
    log: Log
    parallel: int
    failpoint: Callable[[str], None]
    report: CollectionReport

    def commits(self, first: int, horizon: int, stubs: dict[int, Stub], sizes: dict[int, int]) -> Iterator[None]:
        """Commits from `first` to `horizon` become stubs, in order: what stands at a place is known for ever, so a
        late repetition changes nothing. `stubs` are those of commits that were read."""

        def collect(sequence: int) -> bool:
            if sequence not in stubs or self.log.origins:
                return self.log.collect(sequence, snapshot=horizon)[1]
            self.log.put_stub(stubs[sequence])
            return True

        for sequences, done in in_batches(collect, range(first, horizon + 1), self.parallel):
            for sequence, did in zip(sequences, done, strict=True):
                self.report.commits += did
                self.report.commit_bytes += sizes.get(sequence, 0) if did else 0
            self.failpoint("collect.stubbed")
            yield

    def snapshots(self, horizon: int, pinned: set[int]) -> Iterator[None]:
        """Snapshots below the horizon go, but for those that pins keep."""
        going = []
        for entry in listed(self.store, layout.snapshot_prefix(self.log.prefix)):
            sequence = layout.parse_snapshot_name(self.log.prefix, entry.name)
            if sequence < horizon and sequence not in pinned:
                going.append(entry)
        yield
        for some, _ in in_batches(lambda it: self.store.delete(it.name), going, self.parallel):
            self.report.snapshots += len(some)
            self.report.snapshot_bytes += sum(it.size_bytes for it in some)
            self.failpoint("collect.snapshot")
            yield

    def indexes(self, horizon: int) -> Iterator[None]:
        """Carried indexes below the horizon go: they hold texts that the volume keeps no more (F-142). Nobody needs
        them."""
        going = index_entries(self.store, self.log, horizon)
        yield
        for some, _ in in_batches(lambda it: self.store.delete(it.name), going, self.parallel):
            self.report.indexes += len(some)
            self.report.index_bytes += sum(it.size_bytes for it in some)
            self.failpoint("collect.index")
            yield

    def packs(self, named: set[bytes]) -> Iterator[None]:
        """Packs that were announced to go."""
        going = [it for it in listed(self.store, layout.pack_prefix(self.log.prefix)) if self._pack(it) in named]
        yield
        for some, _ in in_batches(lambda it: self.store.delete(it.name), going, self.parallel):
            self.report.packs += len(some)
            self.report.pack_bytes += sum(it.size_bytes for it in some)
            self.failpoint("collect.pack")
            yield

    def chunks(self, standing: dict[BlobId, int], named: set[BlobId], kept: set[bytes]) -> Iterator[None]:
        """Of the chunks that were announced to go, those that nothing refers to."""
        going = sorted(it for it in standing if it in named and it.digest not in kept)

        def delete(blob: BlobId) -> None:
            self.store.delete(layout.blob_name(self.log.prefix, blob.digest, blob.suffix))

        for some, _ in in_batches(delete, going, self.parallel):
            self.report.chunks += len(some)
            self.report.chunk_bytes += sum(standing[it] for it in some)
            self.failpoint("collect.chunk")
            yield

    def announcements(self, announcements: Announcements, announced: Announced, *, before: float) -> Iterator[None]:
        """Announcements that are old, of which nothing is left, and that are not the newest (F-121)."""
        blobs = {it for it, _ in chunk_entries(self.store, self.log)}
        packs = {self._pack(it) for it in listed(self.store, layout.pack_prefix(self.log.prefix))}
        for number, (at, its_blobs, its_packs) in sorted(announced.each.items()):
            if number == announced.newest or at > before or its_blobs & blobs or its_packs & packs:
                continue
            announcements.drop(number)
            yield

    def _pack(self, entry: Entry) -> bytes:
        try:
            return layout.parse_pack_name(self.log.prefix, entry.name)
        except Corrupt:
            return b""


def index_entries(store: Store, log: Log, horizon: int) -> list[Entry]:
    """Carried indexes of a sequence below the horizon. What has another name is left alone."""
    found = []
    for entry in listed(store, layout.index_prefix(log.prefix)):
        try:
            sequence, _ = layout.parse_index_name(log.prefix, entry.name)
        except Corrupt:
            continue
        if sequence < horizon:
            found.append(entry)
    return found


def chunk_entries(store: Store, log: Log) -> Iterator[tuple[BlobId, Entry]]:
    """All chunks of the volume. What has no chunk's name is passed over: fsck reports it."""
    for entry in listed(store, layout.blob_prefix(log.prefix)):
        try:
            digest, suffix = layout.parse_blob_name(log.prefix, entry.name)
        except Corrupt:
            continue
        yield BlobId(digest, suffix), entry
