"""The log of one volume on a store: append, read, catch up, snapshots, collection.

No state but where the volume is: safe from any thread, and of no use to remember anything with. What happened is
decided in `log.settlement`; here are only the requests, as few as possible: an append without contention is one
put, a look for news is one get.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agentfs.errors import (
    Collected,
    Corrupt,
    HistoryBroken,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreError,
)
from agentfs.format import layout
from agentfs.format.commit import decode_commit
from agentfs.format.framing import ObjectKind, verify
from agentfs.format.limits import DIGEST_BYTES
from agentfs.format.snapshot import decode_snapshot_rows
from agentfs.format.snapshot_rows import SnapshotRows
from agentfs.format.stub import Stub, decode_stub, encode_stub, stub_of
from agentfs.log.settlement import Append, Next, PutReply, Verdict, after_put, after_read
from agentfs.stores.protocol import Store

_SMALL_BYTES = 64 * 1024
"""A stub is never larger; what is larger is a commit, and ends with its digest."""
WINDOW_MAX = 16
"""Entries fetched at once when catching up."""
SNAPSHOTS_TRIED_MAX = 8


@dataclass(frozen=True, slots=True)
class Appended:
    """The commit stands in the log at `sequence`, for ever."""

    sequence: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """Another's commit stands at `sequence`: what was put can never be committed there."""

    sequence: int
    digest: bytes
    """The winner's."""
    data: bytes | None
    """The winner's bytes, verified; `None` if it was collected since: start from the newest snapshot."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at a place of the log."""

    digest: bytes
    """The commit's, also where only its stub is left."""
    data: bytes | None
    """The commit's bytes; `None` once collected."""
    stub: Stub | None


@dataclass(frozen=True, slots=True)
class SnapshotSearch:
    """What `newest_snapshot` found."""

    snapshot: SnapshotRows | None
    damaged: tuple[str, ...]
    """One line for each newer snapshot that was damaged and passed over: report them."""


class Log:
    """One volume's log, snapshots and stubs over `store`."""

    def __init__(self, store: Store, kind: layout.VolumeKind, volume_id: str) -> None:
        self._store = store
        self.volume = layout.volume_name(kind, volume_id)
        self.prefix = layout.volume_prefix(kind, volume_id)

    def name(self, sequence: int) -> str:
        """The object of entry `sequence`."""
        return layout.log_name(self.prefix, sequence)

    def read(self, sequence: int) -> bytes | None:
        """The bytes of commit `sequence`, or `None` if the log ends before it. One get.

        Verified but for what the header says (`decode_commit` does the rest). Raises `Collected`, `Corrupt`,
        `NewerFormat`, `StoreError`.
        """
        entry = self.entry(sequence)
        if entry is None:
            return None
        if entry.stub is not None:
            raise _collected(entry.stub)
        return entry.data

    def entry(self, sequence: int) -> Entry | None:
        """As `read`, but a stub is an answer too. One get."""
        try:
            data = self._store.get(self.name(sequence)).data
        except ObjectNotFound:
            return None
        try:
            kind, digest = verify(data)
        except Corrupt as error:
            raise Corrupt(f"log entry {sequence} of {self.volume} is damaged and was not used: {error}") from error
        if kind is ObjectKind.COMMIT:
            return Entry(digest, data, None)
        stub = decode_stub(data, volume=self.volume, sequence=sequence)
        return Entry(stub.commit_digest, None, stub)

    def digest_at(self, sequence: int) -> bytes | None:
        """The digest of the commit that stands, or stood before it was collected, at `sequence`; `None` if nothing
        ever did. Two small gets: a large commit's bytes are not verified. Raises as `entry`."""
        name = self.name(sequence)
        try:
            size_bytes = self._store.get(name, start=0, length=1).size_bytes
            if size_bytes > _SMALL_BYTES:
                return self._store.get(name, start=size_bytes - DIGEST_BYTES, length=DIGEST_BYTES).data
        except ObjectNotFound:
            return None
        entry = self.entry(sequence)
        return entry.digest if entry is not None else None

    def append(self, sequence: int, data: bytes, digest: bytes) -> Appended | Lost:
        """Put a commit at `sequence`, and find out what stands there. Without contention, one put.

        The caller has persisted `digest` and what the commit captures before (`log.settlement`), and holds entry
        `sequence - 1`. Any doubt is settled by reading the place; while nothing stands there the same bytes are
        tried again, `PUTS_MAX` times in all. Raises `OutcomeUnknown` when the doubt remains, and `StoreError`
        or `Corrupt` when the place cannot be read: in all these cases the put may still take effect,
        now or later, so the prepared row must be kept until an entry has been seen at `sequence`.
        """
        state: Append | Verdict = Append(digest)
        entry: Entry | None = None
        while isinstance(state, Append):
            if state.next is Next.PUT:
                state = after_put(state, self._put_once(sequence, data))
            else:
                entry = self._read_back(sequence)
                state = after_read(state, entry.digest if entry else None)
        if state is Verdict.OURS:
            return Appended(sequence, digest)
        if state is Verdict.THEIRS and entry is not None:
            return Lost(sequence, entry.digest, entry.data)
        raise OutcomeUnknown(f"whether commit {sequence} of {self.volume} was stored is not known yet")

    def _put_once(self, sequence: int, data: bytes) -> PutReply:
        try:
            self._store.put(self.name(sequence), data, create_only=True)
        except ObjectExists:
            return PutReply.EXISTS
        except OutcomeUnknown:
            return PutReply.UNKNOWN
        return PutReply.DONE

    def _read_back(self, sequence: int) -> Entry | None:
        try:
            return self.entry(sequence)
        except StoreError as error:
            raise OutcomeUnknown(
                f"whether commit {sequence} of {self.volume} was stored is not known yet: {error}"
            ) from error

    def read_window(self, first: int, count: int = WINDOW_MAX) -> list[bytes]:
        """The commits from `first` on, up to `count` (at most `WINDOW_MAX`), fetched in parallel.

        Without gaps: it ends before the first place that is empty, collected or unreadable. Raises, as
        `read` does, only if that is `first` itself. Empty means that the log ends before `first`.
        """
        count = max(1, min(count, WINDOW_MAX))
        with ThreadPoolExecutor(count, "agentfs-window") as pool:
            futures = [pool.submit(self.read, first + index) for index in range(count)]
        found: list[bytes] = []
        for future in futures:
            error = future.exception()
            if error is not None and not found:
                raise error
            data = None if error is not None else future.result()
            if data is None:
                break
            found.append(data)
        return found

    # ---- snapshots ------------------------------------------------------------------------------------------

    def newest_snapshot(self) -> SnapshotSearch:
        """The newest snapshot that is whole: one list and one get.

        A damaged one is passed over for the next older, and reported. Raises `NewerFormat`, `StoreError`, and
        `Corrupt` when several in a row are damaged (`SNAPSHOTS_TRIED_MAX`).
        """
        damaged: list[str] = []
        for name in self._snapshot_names():
            try:
                sequence = layout.parse_snapshot_name(self.prefix, name)
                rows = decode_snapshot_rows(self._store.get(name).data, volume=self.volume)
                if rows.sequence != sequence:
                    raise Corrupt(f"it is of sequence {rows.sequence}")
            except (Corrupt, ObjectNotFound) as error:
                damaged.append(f"{name}: {error}")
                if len(damaged) == SNAPSHOTS_TRIED_MAX:
                    raise Corrupt(f"the newest {len(damaged)} snapshots of {self.volume} are damaged") from error
                continue
            return SnapshotSearch(rows, tuple(damaged))
        return SnapshotSearch(None, tuple(damaged))

    def _snapshot_names(self) -> Iterator[str]:
        """Newest first, one list request for each."""
        after = ""
        while found := self._store.list(layout.snapshot_prefix(self.prefix), after=after, limit=1):
            after = found[0].name
            yield after

    def put_snapshot(self, data: bytes) -> int:
        """Store a snapshot and return its sequence. It is decoded and checked whole before. May be repeated: two
        machines that snapshot one sequence store the same tree."""
        rows = decode_snapshot_rows(data, volume=self.volume)
        self._store.put(layout.snapshot_name(self.prefix, rows.sequence), data)
        return rows.sequence

    # ---- collection -----------------------------------------------------------------------------------------

    def collect(self, sequence: int, *, snapshot: int) -> Stub:
        """Replace commit `sequence` by its stub; the name stays taken for ever. One get, one put; may be repeated,
        and by several machines at once: what stood at a place never changes, so every stub of it tells the same
        digest.

        The caller has *read* the snapshot at `snapshot` (not before `sequence`) back from the store, knows that
        no retained inode has its content inside this commit (F-57), and has waited out the grace period.
        Raises `HistoryBroken` if nothing stands at `sequence`, `ValueError` if the snapshot is too old.
        """
        if snapshot < sequence:
            raise ValueError(f"a snapshot at {snapshot} does not hold commit {sequence}")
        entry = self.entry(sequence)
        if entry is None:
            raise HistoryBroken(f"log entry {sequence} of {self.volume} is missing")
        if entry.stub is not None:
            return entry.stub
        assert entry.data is not None
        commit, digest = decode_commit(entry.data, volume=self.volume, sequence=sequence)
        stub = stub_of(commit, digest, snapshot=snapshot)
        self._store.put(self.name(sequence), encode_stub(stub))
        return stub


def _collected(stub: Stub) -> Collected:
    return Collected(
        f"log entry {stub.sequence} of {stub.volume} was collected; start from the snapshot at {stub.snapshot}",
        sequence=stub.sequence,
        commit_digest=stub.commit_digest,
        snapshot=stub.snapshot,
    )
