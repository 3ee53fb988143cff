"""The log of one volume on a store: append, read, catch up, snapshots, collection.

No state but where the volume is: safe from any thread, and of no use to remember anything with. What happened is
decided in `log.settlement`; here are only the requests, as few as possible: an append without contention is one
put, a look for news is one get.

The log of a fork begins in the volumes that it comes from (docs/format.md, F-101): `name` and `volume_at` say where
an entry is, `origins` must be known for that.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from agentfs.errors import (
    Collected,
    Corrupt,
    HistoryBroken,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreError,
    VolumeDeleted,
)
from agentfs.format import layout
from agentfs.format.commit import decode_commit
from agentfs.format.framing import PREAMBLE_BYTES, ObjectKind, peek, verify
from agentfs.format.limits import DIGEST_BYTES, SEQUENCE_FIRST
from agentfs.format.origins import Origins
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

    def __init__(self, store: Store, kind: layout.VolumeKind, volume_id: str, *, origins: Origins = ()) -> None:
        self._store = store
        self.volume = layout.volume_name(kind, volume_id)
        self.prefix = layout.volume_prefix(kind, volume_id)
        self.origins = origins
        """Of a fork. Set once they are known (`origin`, `newest_snapshot`); entries before the fork need them."""
        self._chunks_at = 0
        """In which of the places of `chunk` the last chunk was."""
        self._beginning: Stub | None = None
        """The origin entry, once it was seen in the place of entry 1."""

    @property
    def first_own(self) -> int:
        """The first entry under the volume's own prefix: 1, or the one after the fork."""
        return self.origins[0].sequence + 1 if self.origins else SEQUENCE_FIRST

    def volume_at(self, sequence: int) -> str:
        """The volume that entry `sequence` names: this one, or one that it comes from."""
        found = self.volume
        for origin in self.origins:
            if sequence > origin.sequence:
                break
            found = origin.volume
        return found

    def name(self, sequence: int) -> str:
        """The object of entry `sequence`."""
        if sequence >= self.first_own:
            return layout.log_name(self.prefix, sequence)
        return layout.log_name(layout.prefix_of(self.volume_at(sequence)), sequence)

    def chunk(self, digest: bytes) -> bytes:
        """The chunk with this digest, not verified: of the volume itself, or of what it comes from (F-105). One get
        where the last one was found in the same place; more for one that was put beside a collection (F-122). Raises
        `ObjectNotFound`, `StoreError`."""
        prefixes = (self.prefix, *(layout.prefix_of(origin.volume) for origin in self.origins))
        first = self._chunks_at
        order = sorted(range(len(prefixes)), key=lambda at: at != first)
        for at in order:
            try:
                data = self._store.get(layout.blob_name(prefixes[at], digest)).data
            except ObjectNotFound:
                continue
            self._chunks_at = at
            return data
        for prefix in prefixes:
            for entry in self._store.list(f"{layout.blob_name(prefix, digest)}-"):
                with contextlib.suppress(ObjectNotFound):
                    return self._store.get(entry.name).data
        raise ObjectNotFound(f"{layout.blob_name(self.prefix, digest)} is not in the store")

    def origin(self) -> Stub | None:
        """The origin entry, if the volume is a fork: also of one that has ended (`Stub.ended`). One small get, two
        for a fork. Raises `Corrupt`, `NewerFormat`, `StoreError`."""
        name = layout.log_name(self.prefix, SEQUENCE_FIRST)
        try:
            if peek(self._store.get(name, start=0, length=PREAMBLE_BYTES).data)[0] is not ObjectKind.STUB:
                return None
            data = self._store.get(name).data
        except ObjectNotFound:
            return None
        if verify(data)[0] is not ObjectKind.STUB:
            return None
        stub = decode_stub(data, volume=self.volume, sequence=SEQUENCE_FIRST)
        return stub if stub.origins else None

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
        """As `read`, but a stub is an answer too. One get. Raises `VolumeDeleted` where the volume has ended."""
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
        stub = decode_stub(data, volume=self.volume_at(sequence), sequence=sequence)
        if stub.ended:
            raise VolumeDeleted(f"{stub.volume} was deleted: what this machine has of it stays here, unmount it")
        if stub.origins:
            self._beginning = stub
        return Entry(stub.commit_digest, None, stub)

    def stored_ns(self, sequence: int) -> int | None:
        """When the store got the commit that stands at `sequence`, by its own clock. None: there is none, or not any
        more. One get. Raises `StoreError`."""
        try:
            found = self._store.get(self.name(sequence))
            kind, _ = verify(found.data)
        except (ObjectNotFound, Corrupt):
            return None
        return int(found.modified_at * 1e9) if kind is ObjectKind.COMMIT else None

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
        self._must_be_own(sequence)
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

    def _must_be_own(self, sequence: int) -> None:
        if sequence < self.first_own:
            raise ValueError(f"entry {sequence} belongs to {self.volume_at(sequence)}, not to {self.volume}")

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
        return SnapshotSearch(self._origin_snapshot(), tuple(damaged))

    def _origin_snapshot(self) -> SnapshotRows | None:
        """A fork without a snapshot of its own begins with its parent's (F-104)."""
        origins = self._beginning.origins if self._beginning is not None else self.origins
        if not origins:
            return None
        parent = origins[0]
        found = self._snapshot_in(parent.volume, parent.sequence)
        if found is None or (self._beginning is not None and self._beginning.commit_digest != found.commit_digest):
            raise Corrupt(
                f"the snapshot that {self.volume} begins with, of {parent.volume} at {parent.sequence}, is missing "
                "or another one: run agentfs fsck"
            )
        return replace(found, volume=self.volume, origins=origins)

    def snapshot_at(self, sequence: int) -> SnapshotRows | None:
        """The snapshot at exactly `sequence`; None when there is none. One get, two where a fork begins. Below that
        it names the volume that the fork comes from. Raises `Corrupt`, `NewerFormat`, `StoreError`."""
        found = self._snapshot_in(self.volume, sequence) if sequence >= self.first_own - 1 else None
        for at, origin in enumerate(self.origins):
            if found is not None or sequence > origin.sequence:
                break
            found = self._snapshot_in(origin.volume, sequence)
            if found is not None and at == 0 and sequence == origin.sequence:
                found = replace(found, volume=self.volume, origins=self.origins)
        return found

    def _snapshot_in(self, volume: str, sequence: int) -> SnapshotRows | None:
        name = layout.snapshot_name(layout.prefix_of(volume), sequence)
        try:
            data = self._store.get(name).data
        except ObjectNotFound:
            return None
        rows = decode_snapshot_rows(data, volume=volume)
        if rows.sequence != sequence:
            raise Corrupt(f"{name} is a snapshot of sequence {rows.sequence}")
        return rows

    def oldest_snapshot(self, since: int) -> SnapshotRows | None:
        """The oldest snapshot that is whole and not before entry `since`: where a reader of all entries goes on
        behind collected ones. None when there is none. One list for a thousand snapshots, one get. Raises
        `NewerFormat`, `StoreError`."""
        places = {origin.sequence for origin in self.origins if origin.sequence >= since}
        last, after = layout.snapshot_name(self.prefix, since), ""
        while found := self._store.list(layout.snapshot_prefix(self.prefix), after=after):
            places.update(layout.parse_snapshot_name(self.prefix, it.name) for it in found if it.name <= last)
            after = found[-1].name
            if after > last:
                break
        for sequence in sorted(places):
            with contextlib.suppress(Corrupt):
                rows = self.snapshot_at(sequence)
                if rows is not None:
                    return rows
        return None

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

    def collect(self, sequence: int, *, snapshot: int) -> tuple[Stub, bool]:
        """Replace commit `sequence` by its stub; the name stays taken for ever. Returns the stub, and whether it was
        put now. One get, one put; may be repeated, and by several machines at once: what stood at a place never
        changes, so every stub of it tells the same digest.

        The caller has done what F-57 asks (`retention.collector` does): *read* the snapshot at `snapshot`, not before
        `sequence`, back from the store, and put what is kept of the commit into packs. Raises `HistoryBroken` if
        nothing stands at `sequence`, `ValueError` if the snapshot is too old.
        """
        if snapshot < sequence:
            raise ValueError(f"a snapshot at {snapshot} does not hold commit {sequence}")
        self._must_be_own(sequence)
        entry = self.entry(sequence)
        if entry is None:
            raise HistoryBroken(f"log entry {sequence} of {self.volume} is missing")
        if entry.stub is not None:
            return entry.stub, False
        assert entry.data is not None
        commit, digest = decode_commit(entry.data, volume=self.volume, sequence=sequence)
        stub = stub_of(commit, digest, snapshot=snapshot, packed=True)
        self.put_stub(stub)
        return stub, True

    def put_stub(self, stub: Stub) -> None:
        """As `collect`, for a commit that the caller has read from the log itself: one put. Not in a fork, of which
        the entries may have been replaced when it was deleted (F-106)."""
        self._store.put(self.name(stub.sequence), encode_stub(stub))


def _collected(stub: Stub) -> Collected:
    return Collected(
        f"log entry {stub.sequence} of {stub.volume} was collected; start from the snapshot at {stub.snapshot}",
        sequence=stub.sequence,
        commit_digest=stub.commit_digest,
        snapshot=stub.snapshot,
    )
