"""What there is, what of it is kept, and what may go: everything that is known before anything is announced."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from agentfs.errors import Corrupt, HistoryBroken, ObjectNotFound
from agentfs.format import layout
from agentfs.format.collection import BlobId
from agentfs.format.commit import decode_commit
from agentfs.format.limits import ANNOUNCED_MAX, NO_PARENT
from agentfs.format.pack import Evidence, Lineage
from agentfs.format.pin import Pin
from agentfs.format.snapshot_rows import SnapshotRows
from agentfs.format.stub import Stub, stub_of
from agentfs.log.announcements import Announcements
from agentfs.log.contents import IndexedPack, PackIndex
from agentfs.log.log import Log
from agentfs.log.pins import Pins
from agentfs.model.lifecycle import Rules
from agentfs.model.records import Commit
from agentfs.model.retention import Policy
from agentfs.retention.ages import LogObject, log_objects, settled_until
from agentfs.retention.batches import BATCH_MAX, in_batches
from agentfs.retention.kept import Kept
from agentfs.retention.lineages import HistoryWalk
from agentfs.retention.options import CollectorOptions
from agentfs.retention.report import CollectionReport
from agentfs.retention.sweep import Announced, chunk_entries, end_of_stubs, listed, read_announced
from agentfs.stores.protocol import Store

_RECENT_BYTES_MAX = 32 * 1024 * 1024


class Overtaken(Exception):
    """Another collector is further: what was read belongs together no more."""


@dataclass(slots=True)
class Survey:
    """Of one run. Its methods are called in order; they yield after every few requests."""

    store: Store
    log: Log
    index: PackIndex
    policy: Policy
    rules: Rules
    """How many versions of some files are kept, whatever the policy says."""
    options: CollectorOptions
    report: CollectionReport
    store_time: Callable[[], float]
    """The store's time now; two requests."""
    announced: Announced = field(default_factory=Announced)
    floor: int = 0
    """Commits up to it were announced before, or are not this volume's."""
    horizon: int = 0
    kept: Kept = field(default_factory=lambda: Kept(1, 0))
    end: int = 0
    """The last entry that was read, its digest and its time."""
    end_digest: bytes = NO_PARENT
    end_time_ns: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    """Of log entries above `floor`."""
    first_commit: int = 1
    """No commit stands below it."""
    stubs: dict[int, Stub] = field(default_factory=dict)
    """What to put in the place of the commits that were read, up to the horizon."""
    recent: dict[int, bytes] = field(default_factory=dict)
    """Commits that were read, as many as memory may hold: what is kept of them need not be read again."""
    chunks: dict[BlobId, int] = field(default_factory=dict)
    """Names of chunks that stand, with their sizes."""
    lineages: list[Lineage] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    rows_change: bool = False
    """What is kept of history is not what the packs have."""
    name_packs: set[bytes] = field(default_factory=set)
    name_chunks: set[BlobId] = field(default_factory=set)
    to_pack: set[bytes] = field(default_factory=set)
    packed: set[bytes] = field(default_factory=set)
    """Digests of contents that are in packs that may be relied upon."""
    _recent_bytes: int = 0
    _tree: SnapshotRows | None = None
    _walk: HistoryWalk = field(default_factory=HistoryWalk)
    _old_chunks: set[BlobId] = field(default_factory=set)
    _row_packs: list[IndexedPack] = field(default_factory=list)
    _known_rows: tuple[set[Lineage], set[Evidence]] = field(default_factory=lambda: (set(), set()))

    # ---- what may go ----

    def look(self) -> Generator[None, None, bool]:
        """How far the horizon may move, and what stands. Returns whether there is anything to do."""
        log, report = self.log, self.report
        self.announced = read_announced(Announcements(self.store, log.volume))
        yield
        self.floor = max(self.announced.horizon, log.first_own - 1)
        self.horizon = self.announced.horizon
        entries: list[LogObject] = []
        for page in log_objects(self.store, log, self.floor):
            entries += page
            yield
        self.sizes = {it.sequence: it.size_bytes for it in entries}
        report.now_s = self.store_time()  # after the listing: nothing in it is younger
        yield
        until = settled_until(
            entries,
            now=report.now_s,
            days=self.policy.days,
            whole_s=self.options.whole_s,
            tolerance_s=self.options.clock_tolerance_s,
        )
        report.head = entries[-1].sequence if entries else self.floor
        if self.policy.everything:
            report.why_not = "everything is kept"
        elif until == 0:
            report.why_not = "all commits are younger than what the policy keeps"
        else:
            yield from self._move(until, report.head)
        stubs_end = self.floor + 1
        if self.announced.horizon >= log.first_own:
            stubs_end = end_of_stubs(self.store, log, log.first_own, self.announced.horizon)
            yield
        self.first_commit = max(log.first_own, stubs_end - BATCH_MAX)
        yield from self._list_chunks()
        self.index.refresh()
        yield
        return stubs_end <= self.announced.horizon or self._is_worth_it()

    def _move(self, until: int, head: int) -> Iterator[None]:
        """To the newest snapshot that is not above `until`."""
        snapshots = []
        for entry in listed(self.store, layout.snapshot_prefix(self.log.prefix)):
            sequence = layout.parse_snapshot_name(self.log.prefix, entry.name)
            if self.floor < sequence <= until:
                snapshots.append(sequence)
        yield
        self.report.why_not = "no snapshot is old enough"
        for sequence in sorted(snapshots, reverse=True):
            count = sequence - self.floor
            if count < self.options.commits_min or count < self.options.tail_share * (head - sequence):
                self.report.why_not = f"only {count} commits may go: not yet worth it"
                return
            try:
                self._tree = self.log.snapshot_at(sequence)
            except Corrupt:
                continue
            finally:
                yield
            if self._tree is not None:
                self.horizon = sequence
                self.report.why_not = ""
                return

    def _list_chunks(self) -> Iterator[None]:
        before = self.report.now_s - self.options.chunk_grace_s
        for blob, entry in chunk_entries(self.store, self.log):
            if blob.suffix > self.announced.newest:
                continue  # came beside an announcement that we do not know of: we are overtaken
            self.chunks[blob] = entry.size_bytes
            if entry.modified_at <= before:
                self._old_chunks.add(blob)
        yield

    def _is_worth_it(self) -> bool:
        if self.horizon > self.announced.horizon:
            return True
        if any(it.digest in self.announced.packs for it in self.index.packs.values()):
            return True
        going = self._old_chunks - self.announced.blobs if self.options.chunks_alone else set()
        return bool(going or self.announced.blobs & self.chunks.keys())

    # ---- what is kept ----

    def read(self) -> Iterator[None]:
        """Read the trees, the commits and the pins that say what is kept. Raises `Overtaken`, `Corrupt`,
        `HistoryBroken`."""
        base = None
        if self.floor > 0:
            base = self.log.snapshot_at(self.floor)
            yield
            if base is None:
                raise Corrupt(f"the snapshot of {self.log.volume} at {self.floor} is missing: run agentfs fsck")
            self.end_digest, self.end_time_ns = base.commit_digest, base.time_ns
        self.end = self.floor
        self.kept = Kept(self.log.first_own, self.horizon)
        self._walk = HistoryWalk.after(base, None if self.policy.everything else self._versions_max())
        yield from self._known_history()
        while self.end < self.horizon:
            for commit in (yield from self._commits(min(self.options.parallel, self.horizon - self.end), going=True)):
                self._walk.apply(commit)
        tree = self._tree = self._tree or base
        if tree is not None:
            if self.horizon > self.floor and tree.commit_digest != self.end_digest:
                raise Corrupt(f"the snapshot of {self.log.volume} at {self.horizon} was made after another commit")
            self.kept.add_tree(tree)
        yield from self.read_on()
        self._choose_history()
        yield from self.read_pins()

    def read_on(self) -> Iterator[None]:
        """Read the log to its end: what its commits refer to is kept."""
        while True:
            commits = yield from self._commits(self.options.parallel)
            for commit in commits:
                self.kept.add_commit(commit)
                self._walk.resolved.update(commit.resolved)
            if len(commits) < self.options.parallel:
                return

    def take(self, commit: Commit, digest: bytes) -> None:
        """A commit that came meanwhile."""
        if commit.sequence != self.end + 1 or commit.parent != self.end_digest:
            raise HistoryBroken(
                f"log entry {commit.sequence} of {self.log.volume} does not continue the one before it"
            )
        self.end, self.end_digest, self.end_time_ns = commit.sequence, digest, commit.time_ns

    def _commits(self, count: int, *, going: bool = False) -> Generator[None, None, list[Commit]]:
        """The next `count` commits; fewer at the end of the log. `going`: they will become stubs."""
        found = []
        sequences = range(self.end + 1, self.end + 1 + count)
        for some, entries in in_batches(self.log.entry, sequences, self.options.parallel):
            for sequence, entry in zip(some, entries, strict=True):
                if entry is None:
                    break
                if entry.data is None:
                    raise Overtaken
                commit, digest = decode_commit(entry.data, volume=self.log.volume, sequence=sequence)
                self.take(commit, digest)
                self.sizes[sequence] = len(entry.data)
                if going:
                    self.stubs[sequence] = stub_of(commit, digest, snapshot=self.horizon, packed=True)
                    self._recent_bytes += len(entry.data)
                    if self._recent_bytes <= _RECENT_BYTES_MAX:
                        self.recent[sequence] = entry.data
                found.append(commit)
            yield
            if len(found) < len(some):
                break
        return found

    def read_pins(self) -> Generator[None, None, set[int]]:
        """Keep what pins keep. Returns their sequences."""
        pins = Pins(self.store, self.log.volume).list()
        yield
        self.report.pins = len(pins)
        by_sequence: dict[int, list[Pin]] = {}
        for pin in pins:
            by_sequence.setdefault(pin.sequence, []).append(pin)
        for sequence, some in sorted(by_sequence.items()):
            if sequence < self.horizon:
                yield from self._read_pinned(sequence, [pin for pin in some if pin.held])
        return set(by_sequence)

    def _read_pinned(self, sequence: int, held: list[Pin]) -> Iterator[None]:
        tree = None
        try:
            tree = self.log.snapshot_at(sequence)
        except Corrupt:
            if held:
                raise
        yield
        if tree is not None:
            self.kept.add_tree(tree, needed=bool(held))
        elif held and set(held) & set(Pins(self.store, self.log.volume).list()):  # it was not deleted meanwhile
            raise Corrupt(
                f"the snapshot of {self.log.volume} at {sequence}, pinned as {held[0].name}, is missing: run agentfs "
                "fsck; nothing more was collected"
            )

    # ---- history ----

    def _known_history(self) -> Iterator[None]:
        """What earlier collections kept of it. Packs of somebody who never announced them are none of them."""
        lineages: set[Lineage] = set()
        evidence: set[Evidence] = set()
        for it in self.index.packs.values():
            if it.digest in self.announced.packs or not (it.pack.lineages or it.pack.evidence):
                continue
            self._row_packs.append(it)
            if it.pack.last > self.floor:
                continue
            pack, _ = self.index.verified(it)
            yield
            lineages.update(pack.lineages)
            evidence.update(pack.evidence)
        self._walk.know(lineages, evidence)
        self._known_rows = self._walk.known()

    def _versions_max(self) -> int:
        return max([self.policy.versions, *(it.versions or 0 for it in self.rules.rules)])

    def _versions_of(self, path: bytes) -> int | None:
        """How many versions are kept of the file that was at `path` at the horizon; None: all."""
        if self.policy.everything:
            return None
        wanted = self.rules.versions_of(path)
        return self.policy.versions if wanted is None else wanted

    def _choose_history(self) -> None:
        self.lineages = self._walk.wanted_lineages(self._tree, self._versions_of)
        self.evidence = self._walk.wanted_evidence()
        self.report.versions = sum(len(it.states) for it in self.lineages)
        self.kept.add_all((state.content for it in self.lineages for state in it.states), needed=False)
        for one in self.evidence:
            self.kept.add_all((one.base, one.earlier, one.later), needed=False)
        foreign = any(it.pack.last > self.floor for it in self._row_packs)
        self.rows_change = foreign or self._known_rows != (set(self.lineages), set(self.evidence))

    # ---- packs and chunks ----

    def choose(self) -> Iterator[None]:
        """Which packs and chunks to announce, and what to put into packs before."""
        relied = {name: it for name, it in self.index.packs.items() if it.digest not in self.announced.packs}
        yield from self._drop_damaged(relied)
        if self.rows_change:
            self.name_packs = {it.digest for it in self._row_packs}
        self._name_content_packs(relied)
        self.packed = set()
        for it in relied.values():
            if it.digest not in self.name_packs:
                self.packed |= it.places.keys()
        self.to_pack = self.kept.inline.keys() - self.packed
        going = sorted(it for it in self._old_chunks - self.announced.blobs if it.digest not in self.kept.chunks)
        self.name_chunks = set(going[:ANNOUNCED_MAX])

    def _drop_damaged(self, relied: dict[str, IndexedPack]) -> Iterator[None]:
        """Nobody may have looked at a pack that was never announced beside: it must be whole before a commit goes for
        which it stands in."""
        fresh = {
            digest
            for digest, places in self.kept.inline.items()
            if any(it.sequence >= self.first_commit for it in places)
        }
        for name, it in list(relied.items()):
            if fresh.isdisjoint(it.places):
                continue
            try:
                self.index.whole(it)
            except (Corrupt, ObjectNotFound):
                del relied[name]
            yield

    def _name_content_packs(self, relied: dict[str, IndexedPack]) -> None:
        """Those of which too little is still kept, and small ones if there are many."""
        left = set(self.kept.inline)
        small = []
        for it in sorted(relied.values(), key=lambda it: (-it.size_bytes, it.name)):
            if not it.places:
                continue
            live = left & it.places.keys()
            left -= live
            total = sum(size for _, size in it.places.values())
            live_bytes = sum(it.places[digest][1] for digest in live)
            if live_bytes < self.options.pack_live_share * total:
                self.name_packs.add(it.digest)
            elif total < self.options.pack_bytes // 4:
                small.append(it)
        if len(small) > self.options.packs_small_max:
            self.name_packs.update(it.digest for it in small)
