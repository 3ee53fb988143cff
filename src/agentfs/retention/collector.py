"""One collection of a volume, from the look at what there is to the last delete (docs/format.md, F-117).

How it could lose data, and what prevents it:

- *It sleeps in the middle, for days.* What it then takes away was announced, and nobody relies on such a name again:
  packs have new names, chunks get new names (F-122), log names stay taken, and nobody wants snapshots below the
  horizon but pins, which it knows.
- *Another collects at the same time.* Announcements have numbers that are won once: whoever comes second knows what
  the first announced, and relies on none of it.
- *Somebody commits meanwhile.* Chunks that nothing referred to may have got a reference. The barrier, an entry of the
  log after the announcement, makes every commit come before it (then it is read) or after it (then its writer knew).
- *Somebody pins meanwhile.* Pins are listed after the announcement; who pins looks at announcements after its put.
- *A crash.* Everything before the announcement only adds. After it every step may be repeated by anyone.
- *Something cannot be read.* Nothing is announced, and nothing taken away, unless all that is kept was seen.
"""

from collections.abc import Callable, Generator, Iterator

from agentfs.clock import Clock, hybrid_time_ns
from agentfs.errors import Corrupt, ObjectNotFound
from agentfs.format import layout
from agentfs.format.collection import Announcement
from agentfs.format.commit import EncodedCommit, decode_commit, encode_commit
from agentfs.log.announcements import Announcements
from agentfs.log.contents import PackIndex
from agentfs.log.log import Appended, Log
from agentfs.model.lifecycle import NO_RULES, Rules
from agentfs.model.records import Commit
from agentfs.model.retention import Policy
from agentfs.retention.ages import store_now
from agentfs.retention.options import CollectorOptions
from agentfs.retention.packing import Packing
from agentfs.retention.report import CollectionReport
from agentfs.retention.survey import Overtaken, Survey
from agentfs.retention.sweep import Sweep, index_entries, listed
from agentfs.stores.counted import CountedStore
from agentfs.stores.protocol import Store

BARRIER_REPLICA = "clean-up"
"""What barriers bear instead of a replica's id: no replica wrote them."""
_BARRIER_TRIES_MAX = 64


def no_failpoint(_name: str) -> None:
    pass


class Collector:
    """Of one volume, for one run at a time. Needs no replica: all that it knows it reads from the store."""

    def __init__(
        self,
        store: Store,
        volume: str,
        *,
        clock: Clock,
        entropy: Callable[[int], bytes],
        author: str,
        policy: Policy,
        rules: Rules = NO_RULES,
        options: CollectorOptions | None = None,
        failpoint: Callable[[str], None] = no_failpoint,
    ) -> None:
        """`policy` is the one that counts (`retention.policies`); `rules` say of some files how many versions are
        kept, instead of as many as it says. `entropy`: n → n random bytes. `failpoint` is called between any two
        steps whose order matters."""
        self._store = CountedStore(store)
        self._log = Log(self._store, *layout.parse_volume_name(volume))
        self._announcements = Announcements(self._store, volume)
        self._clock = clock
        self._entropy = entropy
        self._author = author
        self._policy = policy
        self._rules = rules
        self._options = options or CollectorOptions()
        self._failpoint = failpoint
        self._known = 0
        """The newest announcement that this run knows of."""
        self.report = CollectionReport(volume, policy.text)

    def run(self, *, dry_run: bool = False) -> Iterator[None]:
        """Collect; `report` tells what came of it. Yields after every few requests, and may be left there for as long
        as one likes, or for ever. With `dry_run` nothing changes but the object that tells the store's time.

        Raises `ClocksDisagree`, `Corrupt`, `NewerFormat`, `HistoryBroken`, `VolumeDeleted`, `StoreError`: before
        anything was taken away, or between two steps that may be repeated."""
        self.report = CollectionReport(self._log.volume, self._policy.text, dry_run)
        before = self._store.counts.requests
        self._known = self._announcements.newest_number()
        try:
            yield from self._run(dry_run)
        except Overtaken:
            self.report.overtaken = True
        except (Corrupt, ObjectNotFound):
            # What another collector has taken away meanwhile is not damage.
            if self._announcements.newest_number() == self._known:
                raise
            self.report.overtaken = True
        finally:
            self.report.requests = self._store.counts.requests - before

    def _run(self, dry_run: bool) -> Iterator[None]:
        report, options = self.report, self._options
        origin = self._log.origin()
        self._log.origins = origin.origins if origin is not None else ()
        index = PackIndex(self._store, self._log.volume)
        survey = Survey(self._store, self._log, index, self._policy, self._rules, options, report, self._store_time)
        worth_it = yield from survey.look()
        self._known = survey.announced.newest
        report.horizon = survey.horizon
        if not worth_it:
            return
        yield from survey.read()
        yield from survey.choose()
        report.head = survey.end
        if dry_run:
            yield from self._foretell(survey)
            return
        packing = Packing(self._store, self._log, index, self._entropy, options.pack_bytes, survey.recent)
        yield from self._pack(survey, packing, survey.to_pack)
        if survey.rows_change:
            yield from packing.rows(survey.lineages, survey.evidence)
        self._failpoint("collect.packed")
        if not self._announce(survey):
            raise Overtaken
        yield
        self._failpoint("collect.announced")
        fenced = yield from self._barrier(survey)
        pinned = yield from self._mark_again(survey, packing)
        self._failpoint("collect.marked")
        yield from self._sweep(survey, pinned, chunks=fenced)

    def _store_time(self) -> float:
        tolerance_s = self._options.clock_tolerance_s
        return store_now(self._store, self._log.prefix, self._clock, tolerance_s=tolerance_s)

    def _pack(self, survey: Survey, packing: Packing, wanted: set[bytes]) -> Iterator[None]:
        yield from packing.pack(survey.kept, wanted)
        survey.packed |= wanted
        self.report.packed, self.report.packed_bytes = packing.contents, packing.content_bytes

    # ---- announcing ----

    def _announce(self, survey: Survey) -> bool:
        """Tell what may go from now on. Whether it is ours to go on: another's announcement may have come first."""
        announced = survey.announced
        if survey.horizon == announced.horizon and not survey.name_packs and not survey.name_chunks:
            return True
        announcement = Announcement(
            volume=self._log.volume,
            number=announced.newest + 1,
            horizon=survey.horizon,
            time_ns=self._clock.wall_ns(),
            author=self._author,
            policy=self._policy.text,
            blobs=tuple(sorted(survey.name_chunks)),
            packs=tuple(sorted(survey.name_packs)),
        )
        if not self._announcements.put(announcement):
            return False
        announced.newest = self._known = self.report.announced = announcement.number
        announced.horizon = announcement.horizon
        announced.blobs |= survey.name_chunks
        announced.packs |= survey.name_packs
        return True

    def _barrier(self, survey: Survey) -> Generator[None, None, bool]:
        """Append the entry that every later commit's writer has read, where chunks may go. Whether they may."""
        going = survey.announced.blobs & survey.chunks.keys()
        if all(it.digest in survey.kept.chunks for it in going):
            return False
        for _ in range(_BARRIER_TRIES_MAX):
            encoded = self._barrier_commit(survey)
            result = self._log.append(survey.end + 1, encoded.data, encoded.digest)
            if isinstance(result, Appended):
                survey.take(encoded.commit, encoded.digest)
                self._failpoint("collect.barrier")
                yield
                return True
            if result.data is None:
                raise Overtaken
            commit, digest = decode_commit(result.data, volume=self._log.volume, sequence=result.sequence)
            survey.take(commit, digest)
            survey.kept.add_commit(commit)
            yield
        return False

    def _barrier_commit(self, survey: Survey) -> EncodedCommit:
        return encode_commit(
            Commit(
                volume=self._log.volume,
                sequence=survey.end + 1,
                commit_id=self._entropy(16),
                parent=survey.end_digest,
                time_ns=hybrid_time_ns(self._clock.wall_ns(), survey.end_time_ns),
                author=self._author,
                replica=BARRIER_REPLICA,
                collection=survey.announced.newest,
            ),
            {},
        )

    def _mark_again(self, survey: Survey, packing: Packing) -> Generator[None, None, set[int]]:
        """What came until the announcement was seen by everybody is kept, too. Returns the pinned sequences."""
        yield from survey.read_on()
        pinned = yield from survey.read_pins()
        more = survey.kept.inline.keys() - survey.packed
        if more:
            yield from self._pack(survey, packing, set(more))
        return pinned

    # ---- taking away ----

    def _sweep(self, survey: Survey, pinned: set[int], *, chunks: bool) -> Iterator[None]:
        announced, options = survey.announced, self._options
        sweep = Sweep(self._store, self._log, options.parallel, self._failpoint, self.report)
        yield from sweep.commits(survey.first_commit, announced.horizon, survey.stubs, survey.sizes)
        yield from sweep.snapshots(announced.horizon, pinned)
        yield from sweep.indexes(announced.horizon)
        yield from sweep.packs(announced.packs)
        if chunks:
            yield from sweep.chunks(survey.chunks, announced.blobs, survey.kept.chunks)
        before = self.report.now_s - options.announcements_kept_s
        yield from sweep.announcements(self._announcements, announced, before=before)

    def _foretell(self, survey: Survey) -> Iterator[None]:
        """What `_sweep` would take away."""
        report = self.report
        going = range(max(survey.first_commit, survey.floor + 1), survey.horizon + 1)
        report.commits = len(going)
        report.commit_bytes = sum(survey.sizes[it] for it in going)
        pinned = yield from survey.read_pins()
        for entry in listed(self._store, layout.snapshot_prefix(self._log.prefix)):
            sequence = layout.parse_snapshot_name(self._log.prefix, entry.name)
            if sequence < survey.horizon and sequence not in pinned:
                report.snapshots += 1
                report.snapshot_bytes += entry.size_bytes
        yield
        indexes = index_entries(self._store, self._log, survey.horizon)
        report.indexes, report.index_bytes = len(indexes), sum(it.size_bytes for it in indexes)
        yield
        for it in survey.index.packs.values():
            if it.digest in survey.announced.packs | survey.name_packs:
                report.packs += 1
                report.pack_bytes += it.size_bytes
        for blob in (survey.announced.blobs | survey.name_chunks) & survey.chunks.keys():
            if blob.digest not in survey.kept.chunks:
                report.chunks += 1
                report.chunk_bytes += survey.chunks[blob]
        report.packed = len(survey.to_pack)
        report.packed_bytes = sum(survey.kept.inline[it][0].size_bytes for it in survey.to_pack)
