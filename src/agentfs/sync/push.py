"""Committing what is pending: one put for a burst of small files."""

import hashlib
from dataclasses import dataclass, field, replace

from agentfs.clock import hybrid_time_ns
from agentfs.errors import AgentFSError, Corrupt, NoSpace, ObjectNotFound, ReplicaDamaged, Unavailable
from agentfs.log.log import Appended, Entry
from agentfs.model.names import shown
from agentfs.model.records import CHUNK_BYTES, COMMIT_BYTES_MAX, INLINE_BYTES_MAX, Kind
from agentfs.replica.apply import drop_stale
from agentfs.replica.forks import Forked, read_forks
from agentfs.replica.gone import give_up
from agentfs.replica.pending import PendingState, leaving_absent, pending_state, still_the_same, write_prepared
from agentfs.replica.settle import settle_commit
from agentfs.replica.transaction import ContentRow, InodeRow
from agentfs.sync.batch import Batch, choose, ended
from agentfs.sync.capture import Draft, pack_capture
from agentfs.sync.contents import Taken, Torn, Wanted, take, wanted_contents
from agentfs.sync.converge import Converge
from agentfs.sync.databases import Databases
from agentfs.sync.ground import EngineGround
from agentfs.sync.hydration import Hydration
from agentfs.sync.leases import Leases, LockPlan
from agentfs.sync.open_files import OpenFiles
from agentfs.sync.pull import Pull
from agentfs.sync.transfers import Later, Transfers

_ROUNDS_MAX = 5
_LOOKS_MIN = 3
ENDED = "expired"
"""What a commit says that deletes files whose time was over."""
_ABSENT_MAX = 256
"""Files fetched for one commit because the log lost them and we keep them."""


@dataclass(frozen=True, slots=True)
class Pushed:
    committed: bool
    """A commit of ours was appended."""
    rest: bool
    """More is waiting, and can be committed at once."""
    inodes: frozenset[int] = frozenset()
    """Whose changes the commit carries: all that was pending of them when `push` was called."""
    names: frozenset[tuple[int, bytes]] = frozenset()


@dataclass(slots=True)
class Push:
    ground: EngineGround
    hydration: Hydration
    pulling: Pull
    open_files: OpenFiles
    databases: Databases
    converge: Converge
    leases: Leases
    trouble: dict[int, str] = field(default_factory=dict)
    """Files that could not be read for a commit: why."""
    _forks: dict[int, Forked] = field(default_factory=dict)
    _locks: LockPlan = field(default_factory=LockPlan)
    _held_back: set[int] = field(default_factory=set)
    _gone: dict[int, int] = field(default_factory=dict)
    """Files whose bytes were collected: how often they were looked for."""
    transfers: Transfers = field(init=False)
    _started_at: float = 0.0

    def __post_init__(self) -> None:
        ground = self.ground
        self.transfers = Transfers(ground.clock, ground.options, ground.are_stored, ground.forget_stored)

    def push(self, *, force: bool = False) -> Pushed:
        """Append one commit of what is pending, and settle it. `force`: also files that are open for writing, as they
        are. What another commit was faster than is rebased: call again.

        On return with `committed` it is remotely durable. Raises `StoreError`; then it may or may not stand in the
        log: `Pull.pull` finds out.
        """
        self._started_at = self.ground.clock.monotonic()
        self.transfers.begin()
        self.converge.run()
        state = pending_state(self.ground.replica)
        self._forks = {it.row.ino: it for it in read_forks(self.ground.replica)}
        self._locks = self.leases.plan(state)
        self._say_what_waits(state)
        locked = (row.ino for row in state.inodes.values() if row.id in self._locks.table)
        over = ended(state, apart=self._locks.fenced.union(locked))
        if over is not None and not (self._forks or self._locks.wanted or self._locks.renew):  # these are waited for
            return self._commit(replace(state, conflicts=(), resolved=()), over, {}, LockPlan(), cause=ENDED)
        wanted = wanted_contents(
            self.ground.replica,
            state,
            forked=frozenset(self._forks),
            may_take=lambda ino: force or ino in self._locks.now or self._may_take_open(state, ino),
        )
        absent = (*wanted.absent, *leaving_absent(self.ground.replica, state, limit=_ABSENT_MAX))
        if absent and self._fetch_absent(absent):
            return Pushed(committed=False, rest=True)
        if not force:
            wanted = replace(wanted, held=wanted.held | self._just_vacated(state))
        chosen = self._choose(state, wanted, force=force)
        if chosen is None:
            return Pushed(committed=False, rest=bool(self.transfers.later))
        batch, taken = chosen
        pushed = self._commit(state, batch, taken, self._locks)
        if pushed.committed:
            self.leases.committed()
        return pushed

    def _may_take_open(self, state: PendingState, ino: int) -> bool:
        """Not a file that was emptied and not written since: a program is about to save, and others should not see
        (nor merge with) what is in between."""
        if self.databases.is_capturable(ino):
            return True
        known, facts = state.contents.get(ino), self.ground.replica.files.stat(ino)
        emptied = known is not None and known.size_bytes > 0 and facts is not None and facts.st_size == 0
        return self.open_files.is_quiet(ino) and not emptied

    def _just_vacated(self, state: PendingState) -> frozenset[int]:
        """Files that lost their name here a moment ago, with nothing at it yet: most likely a program is saving, and
        a new file comes. Others should not see the gap."""
        now_ns, hold_ns = self.ground.clock.wall_ns(), int(self.ground.options.vacated_hold_s * 1e9)
        return frozenset(
            name.base
            for name in state.names
            if name.ino is None
            and name.base is not None
            and 0 <= now_ns - name.at_ns < hold_ns
            and state.inodes[name.base].kind is Kind.FILE
        )

    def _say_what_waits(self, state: PendingState) -> None:
        """Changes that another machine's lock keeps here."""
        bases = {name.base for name in state.names}
        waiting = {
            ino: f"{shown(self.ground.replica.path_of(ino) or b'a file')}: {text}"
            for ino, text in self._locks.waiting.items()
            if ino in bases or (ino in state.inodes and state.inodes[ino].pending)
        }
        for ino in self._held_back - waiting.keys():
            self.trouble.pop(ino, None)
        self.trouble.update(waiting)
        self._held_back = set(waiting)

    def _fetch_absent(self, absent: tuple[int, ...]) -> bool:
        """Whether it is worth to look anew at what is pending."""
        again = False
        for ino in absent[:_ABSENT_MAX]:
            try:
                self.hydration.hydrate(ino)
                again = True
            except AgentFSError as error:
                self.trouble[ino] = str(error)
                again = self._given_up(ino, error) or again
            else:
                self._gone.pop(ino, None)
        return again

    def _given_up(self, ino: int, error: AgentFSError) -> bool:
        """Looked for more than once: packs may have been written anew while they were read."""
        if not isinstance(error.__cause__, ObjectNotFound):
            return False
        self._gone[ino] = self._gone.get(ino, 0) + 1
        if self._gone[ino] < _LOOKS_MIN or not give_up(self.ground.replica, ino, agent=self.ground.author):
            return False
        del self._gone[ino], self.trouble[ino]
        return True

    # ---- choosing ----

    def _choose(self, state: PendingState, wanted: Wanted, *, force: bool) -> tuple[Batch, dict[int, Taken]] | None:
        """A batch whose contents are read and were stable; None when there is nothing to commit now."""
        held, unchanged = set(wanted.held), set(wanted.unchanged) | self._locks.waiting.keys()
        taken: dict[int, Taken] = {}
        for _ in range(_ROUNDS_MAX):
            inline = {ino: size if size <= INLINE_BYTES_MAX else 0 for ino, size in wanted.size_bytes.items()}
            batch = choose(
                state,
                inline_bytes=inline,
                header_bytes=_header_bytes(state, wanted),
                held=frozenset(held),
                unchanged=frozenset(unchanged),
                fenced=self._locks.fenced,
                bytes_max=self.ground.contention.bytes_max,
            )
            if not batch.names and not batch.inodes:
                worth = bool(state.resolved) or self._locks.is_worth_a_commit(state.inodes)
                return (batch, {}) if worth else None
            too_much = sum(inline.get(ino, 0) for ino in batch.inodes) > COMMIT_BYTES_MAX
            missed = set()
            for ino in sorted(batch.inodes, key=lambda ino: wanted.size_bytes.get(ino, 0)):
                if ino in wanted.size_bytes and ino not in taken:
                    found = self._take(state, state.inodes[ino], inline_max=0 if too_much else INLINE_BYTES_MAX)
                    if found is None:
                        missed.add(ino)
                    else:
                        taken[ino] = found
            missed |= self._torn(state, batch, taken, force=force)
            if not missed:
                return batch, {ino: taken[ino] for ino in batch.inodes if ino in taken}
            for ino in missed:
                taken.pop(ino, None)
                (held if state.inodes[ino].id is None else unchanged).add(ino)
        return None

    def _torn(self, state: PendingState, batch: Batch, taken: dict[int, Taken], *, force: bool) -> set[int]:
        # A database that was copied under its own locks is whole, whatever was written since: under load something
        # always was. It stays pending.
        captured = {
            ino: taken[ino].content_change for ino in batch.inodes if ino in taken and ino not in self.databases.live
        }
        allowed = frozenset(
            ino
            for ino in captured
            if force or ino in self._locks.now or (ino in state.write_open and self.open_files.is_quiet(ino))
        )
        return still_the_same(self.ground.replica, captured, open_allowed=allowed)

    def _take(self, state: PendingState, row: InodeRow, *, inline_max: int) -> Taken | None:
        known = self._chunks_in_log(row, state.contents.get(row.ino))
        ground = self.ground
        try:
            if row.ino in self._forks:
                return self.converge.capture(self._forks[row.ino], put_all=ground.put_all, inline_max=inline_max)
            taken = self.databases.take(row, known=known)
            if taken is None:
                taken = take(
                    ground.replica,
                    row,
                    is_open=row.ino in state.write_open,
                    known=known,
                    put_all=ground.put_all,
                    transfers=self.transfers,
                    inline_max=inline_max,
                )
        except Later:
            self.transfers.later.add(row.ino)
            return None
        except (Torn, FileNotFoundError):
            return None
        except (
            Unavailable,
            NoSpace,
            ObjectNotFound,
            Corrupt,
            OSError,
        ) as error:  # OSError: no room for the copy of a database, an unreadable disk
            self.trouble[row.ino] = str(error)
            return None
        self.trouble.pop(row.ino, None)
        return taken

    def _chunks_in_log(self, row: InodeRow, known: ContentRow | None) -> bytes:
        """The chunks of a content, joined, if the log refers to them at the head. Of a file that is not in the log
        any more `known` only tells where its bytes were: they may be collected at any time."""
        if known is None or not known.chunks:
            return b""
        if row.id is None:
            with self.ground.replica.lock:
                other = self.ground.replica.connection.one(
                    "SELECT 1 FROM content c JOIN inode i USING(ino) WHERE c.digest=? AND i.id IS NOT NULL LIMIT 1",
                    (known.digest,),
                )
            if other is None:
                return b""
        return known.chunks

    # ---- committing ----

    def _commit(
        self, state: PendingState, batch: Batch, taken: dict[int, Taken], locks: LockPlan, *, cause: str = ""
    ) -> Pushed:
        ground = self.ground
        replica = ground.replica
        try:
            encoded, captured = Draft(state, batch, taken, locks).build(
                volume=ground.log.volume,
                commit_id=ground.entropy(16),
                time_ns=hybrid_time_ns(ground.clock.wall_ns(), state.head_time_ns),
                author=ground.author,
                replica=str(replica.state("replica_id")),
                cause=cause,
            )
        except ValueError as error:  # the format's limits; the parts that let it in are to refuse it
            raise ReplicaDamaged(f"what is pending cannot be committed: {error}") from error
        ground.failpoint("push.captured")
        write_prepared(replica, encoded.digest, captured.sequence, pack_capture(captured))
        replica.sync()  # F-42: after a power cut, too, what is found in the log must be known for ours
        ground.failpoint("push.prepared")
        result = ground.log.append(captured.sequence, encoded.data, encoded.digest)
        ground.failpoint("push.appended")
        now, lost = ground.clock.monotonic(), not isinstance(result, Appended)
        ground.contention.put(now - self._started_at, now, len(encoded.data), lost=lost)
        if not isinstance(result, Appended):
            self.pulling.receive(captured.sequence, Entry(result.digest, result.data, None))
            return Pushed(committed=False, rest=True)
        orphans = settle_commit(replica, captured, encoded.digest, parent=state.head_digest)
        ground.failpoint("push.settled")
        ground.observed(encoded.commit, encoded.digest)
        drop_stale(replica, (), orphans)
        for one in taken.values():
            if isinstance(one.content, bytes):
                self.converge.recent.add(hashlib.sha256(one.content).digest(), one.content)
        self.transfers.committed(taken)
        self.databases.captured(taken)
        self.open_files.taken(taken)
        return Pushed(
            committed=True,
            rest=batch.rest or bool(self.transfers.later),
            inodes=frozenset(batch.inodes),
            names=frozenset((it.parent, it.name) for it in batch.names),
        )


def _header_bytes(state: PendingState, wanted: Wanted) -> dict[int, int]:
    """What the records of unusual inodes take in a commit's header: those with extended attributes or many chunks."""
    found = {ino: sum(len(name) + len(value) for name, value in pairs) for ino, pairs in state.xattrs.items()}
    for ino, size in wanted.size_bytes.items():
        if size > INLINE_BYTES_MAX:
            found[ino] = found.get(ino, 0) + (size // CHUNK_BYTES + 1) * 32
    for ino, content in state.contents.items():
        if content.chunks is not None and ino not in wanted.size_bytes:
            found[ino] = found.get(ino, 0) + len(content.chunks)
    return found
