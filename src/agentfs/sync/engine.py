"""The engine of one volume on one machine: it pushes what is pending, pulls what others committed, fetches bytes.

`tick` does what `plan` says and tells when to call again; `run` is the loop around it. Everything but `hydrate`,
`wake` and `touch` takes its turn under one lock, so any thread may call it; the engine's loop is one of them. No lock
of the replica is held across a call to the store.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, HistoryBroken, NewerFormat, NoSpace, StoreError, SyncTimedOut, Unavailable
from agentfs.format.layout import VolumeKind
from agentfs.format.origins import parse_origins
from agentfs.log.log import Log
from agentfs.replica.bulk import has_pending
from agentfs.replica.replica import Replica
from agentfs.replica.resolutions import read_resolved
from agentfs.stores.counted import CountedStore
from agentfs.stores.protocol import Store
from agentfs.sync.converge import Converge
from agentfs.sync.databases import Databases
from agentfs.sync.ground import EngineGround, Failpoint, Observer, no_failpoint
from agentfs.sync.hydration import Hydration
from agentfs.sync.leases import Leases
from agentfs.sync.lock_steps import LockSteps
from agentfs.sync.open_files import OpenFiles
from agentfs.sync.options import EngineOptions
from agentfs.sync.plan import Plan, PlanState, Step, after_poll, is_due, plan
from agentfs.sync.pull import Pull
from agentfs.sync.push import Push, Pushed
from agentfs.sync.status import EngineStatus
from agentfs.sync.upkeep import Upkeep

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

_RETRY_FIRST_S = 0.5
_STUCK_S = 1.0
_AHEAD_LOOK_S = 0.1
"""Between two looks whether something goes before what is fetched ahead."""
_CLEAN_LOOK_S = 0.05
_SECOND_NS = 1_000_000_000

Chore = Callable[[EngineGround], None]
"""Work for quiet moments, in the engine's turn: called with every housekeeping while the store answers. Decides
itself whether anything is due, and does a little at a time. Raises `AgentFSError` as the other steps do."""

Progress = Callable[[int, int], None]
"""Called with the inodes and names that are still local."""


class Engine:
    """See the module. Use `close` when done."""

    def __init__(
        self,
        replica: Replica,
        store: Store,
        *,
        volume_kind: VolumeKind,
        volume_id: str,
        author: str,
        clock: Clock,
        entropy: Callable[[int], bytes] = os.urandom,
        options: EngineOptions | None = None,
        mountpoint: Callable[[], str | None] | None = None,
        failpoint: Failpoint = no_failpoint,
        met: bool = False,
        observers: Sequence[Observer] = (),
        chores: Sequence[Chore] = (),
        may_fetch_ahead: Callable[[], bool] = lambda: True,
    ) -> None:
        """`met`: the store was just seen to hold what the replica has (`Pull.meet`). `observers` hear of every
        commit, `chores` are done when there is time. `may_fetch_ahead`: whether nothing else goes first; it is asked
        again soon, and must not wait."""
        self.options = options or EngineOptions()
        self._store = CountedStore(store)
        self._ground = EngineGround(
            replica=replica,
            store=self._store,
            log=Log(self._store, volume_kind, volume_id, origins=parse_origins(replica.state("origins"))),
            clock=clock,
            options=self.options,
            author=author,
            entropy=entropy,
            mountpoint=mountpoint or (lambda: None),
            failpoint=failpoint,
            observers=tuple(observers),
        )
        self._chores = tuple(chores)
        self._may_fetch_ahead = may_fetch_ahead
        self._replica = replica
        self._clock = clock
        self._hydration = Hydration(self._ground)
        self._converge = Converge(self._ground, self._hydration)
        self._pull = Pull(self._ground, self._hydration, self._converge.recent, met=met)
        self._open_files = OpenFiles(self._ground)
        self._databases = Databases(self._ground)
        self._leases = Leases(self._ground)
        self._push = Push(
            self._ground, self._hydration, self._pull, self._open_files, self._databases, self._converge, self._leases
        )
        self.locks = LockSteps(
            self._ground, self._leases, push=lambda: self._push_once(force=False), pull=self._pull_step
        )
        self._upkeep = Upkeep(self._ground, self._hydration)
        self._turn = threading.RLock()
        self._wake = threading.Event()
        self._touched = False
        self.busy = False
        """Something is being pushed or pulled: who works in the background makes room."""
        self._end_seen: tuple[float, int] | None = None
        self._journal_seen = replica.journal_end()
        self._failures = 0
        self._stuck_s = _STUCK_S
        self._state = PlanState(
            pending=has_pending(replica), unsettled=self._pull.unsettled(), prefetch=self.options.prefetch
        )
        now = clock.monotonic()
        self._state.first_change_at = self._state.last_change_at = self._state.active_at = now
        self._state.housekeeping_at = now + self.options.housekeeping_s
        self._late_look_at = now + self.options.housekeeping_s  # first let it push what an earlier one left

    # ---- starting ----

    def bootstrap(self) -> None:
        """Bring the replica to the end of the log: a new one from the newest snapshot, then the tail. What is pending
        stays on top. Raises `StoreError` (the replica is then usable as it is), `FormatError`."""
        with self._turn:
            replica = self._replica
            self._pull.meet()
            if int(replica.state("head_sequence")) == 0 and not self._pull.unsettled():
                snapshot = self._ground.log.newest_snapshot().snapshot
                if snapshot is not None:
                    self._pull.restart_from(snapshot)
                    replica.set_state("snapshot_sequence", snapshot.sequence)
            self._pull_step()

    # ---- the loop ----

    def tick(self) -> float:
        """Do what is due. Returns the seconds until the next call, if nothing wakes the engine before. Does not raise
        for what the store or the log did: `status` tells."""
        with self._turn:
            self._look()
            now = self._clock.monotonic()
            self._warn_late(now)
            if now >= self._state.retry_at and self._converge.is_due():
                self._guarded(self._converge_step)
            if now >= self._state.retry_at and self._leases.due():
                self._guarded(self._push_step)
            for step in self._plan(now).steps:
                if not self._attempt(step):
                    break
            return min(self._plan(self._clock.monotonic()).wait_s, self._leases.next_look_s())

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set (call `wake` after setting it); then snapshot if it is worth it."""
        while not stop.is_set():
            seconds = self.tick()
            self._clock.wait(self._wake, seconds)
            self._wake.clear()
        with self._turn:
            if self._upkeep.commits_since_snapshot() >= self.options.snapshot_on_stop:
                self._guarded(lambda: self._upkeep.snapshot(at_least=self.options.snapshot_on_stop))

    def wake(self) -> None:
        """Something changed here, or `stop` was set. From any thread."""
        self._wake.set()

    def touch(self) -> None:
        """Somebody looks at the volume and wants to see news soon. From any thread."""
        self._touched = True
        self._wake.set()

    def _look(self) -> None:
        """Find out what changed on this machine."""
        state, now = self._state, self._clock.monotonic()
        if self._touched:
            self._touched = False
            state.active_at = now
        changed = self._open_files.look()
        changed = self._databases.look() or changed
        end = self._replica.journal_end()
        if end != self._journal_seen:
            with self._replica.lock:
                row = self._replica.connection.one(
                    "SELECT 1 FROM journal WHERE id>? AND session!=0 LIMIT 1", (self._journal_seen,)
                )
            changed = changed or row is not None
            self._journal_seen = end
        if changed:
            was_pending, state.pending = state.pending, has_pending(self._replica)
            if state.pending and not was_pending:
                state.first_change_at = now
            state.last_change_at = state.active_at = now
            state.stuck_until = 0.0
            self._stuck_s = _STUCK_S

    def _plan(self, now: float) -> Plan:
        state, contention = self._state, self._ground.contention
        contention.waiting = is_due(state, now, self.options)
        state.turn_at, state.look_at = contention.put_at(now), contention.look_at(now)
        return plan(state, now, self.options)

    def _warn_late(self, now: float) -> None:
        """Say it when the oldest change has waited for the store for longer than the limit: nobody else would."""
        if now < self._late_look_at:
            return
        self._late_look_at = now + self.options.housekeeping_s
        facts = self._replica.pending()
        if facts.oldest_at_ns is None:
            return
        age_s = (self._clock.wall_ns() - facts.oldest_at_ns) / _SECOND_NS
        if age_s > self.options.pending_limit_s:
            self._late_look_at = now + max(self.options.pending_limit_s, self.options.housekeeping_s)
            error = self._replica.state("last_error") if self._failures else "no error is known"
            _LOG.warning(
                "%d changes (%d bytes) are only on this machine, the oldest for %.0f s: %s",
                facts.inodes + facts.dentries,
                facts.size_bytes,
                age_s,
                next(iter(self._trouble()), error),
            )

    @property
    def end_unseen_s(self) -> float:
        """Seconds since the end of the log was looked at, by the clock of this machine that says more: one of them
        stands still while the machine sleeps."""
        if self._end_seen is None:
            return float("inf")
        monotonic, wall_ns = self._end_seen
        return max(self._clock.monotonic() - monotonic, abs(self._clock.wall_ns() - wall_ns) / _SECOND_NS)

    # ---- steps ----

    def _attempt(self, step: Step) -> bool:
        """Returns False when the other steps should wait."""
        do = {
            Step.PULL: lambda: self._pull_step(until_our_turn=self._ground.contention.waiting),
            Step.PUSH: self._push_step,
            Step.SNAPSHOT: self._snapshot_step,
            Step.PREFETCH: self._prefetch_step,
            Step.HOUSEKEEPING: self._housekeeping_step,
        }
        return self._guarded(do[step])

    def _guarded(self, do: Callable[[], object]) -> bool:
        try:
            do()
        except (HistoryBroken, NewerFormat) as error:
            self._state.broken = True
            self._remember(error)
            return False
        except AgentFSError as error:
            self._failed(error)
            return False
        return True

    def _pull_step(self, *, until_our_turn: bool = False) -> int:
        self.busy = True
        try:
            return self._pulled(until_our_turn=until_our_turn)
        finally:
            self.busy = False

    def _pulled(self, *, until_our_turn: bool) -> int:
        state = self._state
        self._databases.look()  # what only a `-wal` holds is a change of ours, before another version comes
        self._pull.meet()
        met = self._ground.contention.met(self._clock.monotonic())
        asked = self._clock.monotonic(), self._clock.wall_ns()
        taken = self._pull.pull(until_our_turn=until_our_turn and met)
        if not (until_our_turn and met):
            self._end_seen = asked
        if taken or self._converge.is_due():
            self._converge.run()
        self._worked()
        after_poll(state, self._clock.monotonic(), self.options, news=taken > 0)
        state.unsettled = self._pull.unsettled()
        if taken:
            state.pending = has_pending(self._replica)
            state.more = state.more or (state.pending and not met)
            state.prefetch = self.options.prefetch
            state.snapshot_due = self._upkeep.commits_since_snapshot() >= self.options.snapshot_every
        return taken

    def _converge_step(self) -> None:
        self._converge.run()
        self._state.pending = has_pending(self._replica)

    def _push_step(self) -> Pushed:
        return self._push_once(force=False)

    def _push_once(self, *, force: bool) -> Pushed:
        state = self._state
        self.busy = True
        try:
            self._pull.meet()
            pushed = self._push.push(force=force)
        except StoreError:
            state.unsettled = self._pull.unsettled()
            raise
        finally:
            self.busy = False
        now = self._clock.monotonic()
        state.unsettled = self._pull.unsettled()
        state.pending = has_pending(self._replica)
        state.more = pushed.rest
        if pushed.committed:
            self._worked()
            state.active_at = now
            state.first_change_at = state.last_change_at = now
            state.snapshot_due = self._upkeep.commits_since_snapshot() >= self.options.snapshot_every
        elif not pushed.rest:
            state.stuck_until = now + self._stuck_s
            self._stuck_s = min(2 * self._stuck_s, 5 * _STUCK_S)
        return pushed

    def _snapshot_step(self) -> None:
        self._state.snapshot_due = False
        self._upkeep.snapshot(at_least=self.options.snapshot_every)
        self._worked()

    def _prefetch_step(self) -> None:
        if self._may_fetch_ahead():
            self._state.prefetch = self._upkeep.fetch_ahead()
        else:
            self._state.prefetch_at = self._clock.monotonic() + _AHEAD_LOOK_S

    def _housekeeping_step(self) -> None:
        self._state.housekeeping_at = self._clock.monotonic() + self.options.housekeeping_s
        self._upkeep.evict()
        self._upkeep.trim()
        self._converge.tidy()
        for chore in self._chores:
            if not self._state.broken and self._clock.monotonic() >= self._state.retry_at:
                chore(self._ground)

    # ---- the store's health ----

    def _worked(self) -> None:
        self._failures = 0
        self._state.retry_at = float("-inf")
        now_ns = self._clock.wall_ns()
        last = self._replica.state("last_contact_ns")
        if not isinstance(last, int) or abs(now_ns - last) >= _SECOND_NS or not self._replica.state("online"):
            self._remember_state({"last_contact_ns": now_ns, "online": 1})

    def _failed(self, error: AgentFSError) -> None:
        self._failures += 1
        self._remember(error)
        longest = min(self.options.retry_max_s, _RETRY_FIRST_S * 2 ** min(self._failures - 1, 10))
        jitter = int.from_bytes(self._ground.entropy(2), "big") / 65536
        self._state.retry_at = self._clock.monotonic() + longest * (0.5 + jitter / 2)
        if isinstance(error, StoreError | Unavailable):
            self._remember_state({"online": 0})

    def _remember(self, error: AgentFSError) -> None:
        self._remember_state({"last_error": f"{error.code}: {error}", "last_error_ns": self._clock.wall_ns()})

    def _remember_state(self, facts: dict[str, int | str]) -> None:
        with self._replica.transaction(session=0) as tx:
            tx.sql.executemany("INSERT OR REPLACE INTO state VALUES(?,?)", facts.items())

    # ---- asked for ----

    @property
    def ground(self) -> EngineGround:
        """What it works with, for the parts that work beside it."""
        return self._ground

    def in_turn(self, do: Callable[[EngineGround], T]) -> T:
        """Call `do` while nothing is pushed or pulled. From any thread; keep it short, the loop waits."""
        with self._turn:
            return do(self._ground)

    def pull_now(self) -> int:
        """Take in what the log has now. Returns the number of commits. Raises `StoreError`, `FormatError`."""
        with self._turn:
            return self._pull_step()

    def push_until_clean(self, deadline: float, progress: Progress | None = None) -> None:
        """On return everything that was pending when it was called is remotely durable.

        `deadline` is a time of the clock's `monotonic`; after it raises `SyncTimedOut`, which says what is still
        local and why. Also raises `HistoryBroken`. Files open for writing are committed as they are.
        """
        with self._turn:
            self._open_files.bring_back()
        inodes, names = self._pending_now()
        trouble, pause_s = "they are being written", 0.0
        while True:
            with self._turn:
                try:
                    if self._state.unsettled:
                        self._pull_step()
                    pause_s = self._until_our_turn()
                    again = False
                    if not pause_s:
                        pushed = self._push_once(force=True)
                        inodes -= pushed.inodes
                        names -= pushed.names
                        again = pushed.committed or pushed.rest
                except (HistoryBroken, NewerFormat) as error:
                    self._state.broken = True
                    self._remember(error)
                    raise
                except AgentFSError as error:
                    self._failed(error)
                    again, trouble = False, str(error)
            now_inodes, now_names = self._pending_now()
            inodes &= now_inodes
            names &= now_names
            if progress is not None:
                progress(len(inodes), len(names))
            if not inodes and not names and not self._state.unsettled:
                return
            if self._clock.monotonic() >= deadline:
                trouble = next(iter(self._trouble()), trouble)
                raise SyncTimedOut(
                    f"{len(inodes)} files and {len(names)} names are not yet remote ({trouble}); they are safe here"
                )
            if not again:
                retry = max(self._state.retry_at - self._clock.monotonic(), pause_s or _CLEAN_LOOK_S)
                self._clock.wait(threading.Event(), min(retry, max(0.0, deadline - self._clock.monotonic())))

    def _until_our_turn(self) -> float:
        """Look at the log if it is time to, because others write. Returns the seconds until it is time again; 0 when
        something of ours may be put."""
        contention, now = self._ground.contention, self._clock.monotonic()
        contention.waiting = True
        if contention.look_at(now) <= now:
            self._pull_step(until_our_turn=True)
            now = self._clock.monotonic()
        put_at = contention.put_at(now)
        return max(min(put_at, contention.look_at(now)) - now, 0.001) if put_at > now else 0.0

    def _pending_now(self) -> tuple[set[int], set[tuple[int, bytes]]]:
        with self._replica.lock:
            sql = self._replica.connection
            inodes = {row[0] for row in sql.rows("SELECT ino FROM inode WHERE pending != 0 AND nlink > 0")}
            names = {(row[0], row[1]) for row in sql.rows("SELECT parent, name FROM dentry WHERE pending != 0")}
            # Resolutions wait like names do: of a directory that no replica has.
            names |= {(-it.sequence, b"%d" % it.index) for it in read_resolved(sql)}
        return inodes, names

    def hydrate(self, ino: int) -> None:
        """Block until the bytes of `ino` are here. From any thread, several at once. On a full disk clean bytes make
        room for it. Raises `Unavailable`, `Corrupt`, `NotFound`, `NoSpace`."""
        try:
            self._hydration.hydrate(ino)
        except NoSpace:
            # The disk is smaller than the cache may be. Whoever waits goes before what can be fetched again.
            if not self._upkeep.evict(cache_bytes=self._upkeep.resident_bytes() // 2):
                raise
            self._hydration.hydrate(ino)

    def evict(self, *, cache_bytes: int | None = None) -> int:
        """Drop clean bytes beyond the cache's size (or `cache_bytes`). Returns how many."""
        with self._turn:
            return self._upkeep.evict(cache_bytes=cache_bytes)

    def snapshot(self, *, at_least: int = 1) -> bool:
        """Put a snapshot if `at_least` commits came since the newest one."""
        with self._turn:
            return self._upkeep.snapshot(at_least=at_least)

    def _trouble(self) -> tuple[str, ...]:
        """Why files wait that could be committed otherwise."""
        return (*self._push.trouble.values(), *self._converge.trouble.values())

    def status(self) -> EngineStatus:
        replica = self._replica
        pending = replica.pending()
        now_ns = self._clock.wall_ns()
        oldest = pending.oldest_at_ns
        return EngineStatus(
            head_sequence=int(replica.state("head_sequence")),
            head_digest=bytes(replica.state("head_digest")),
            pending_inodes=pending.inodes,
            pending_names=pending.dentries,
            pending_bytes=pending.size_bytes,
            oldest_pending_age_s=None if oldest is None else max(0.0, (now_ns - oldest) / _SECOND_NS),
            online=bool(replica.state("online")),
            broken=self._state.broken,
            failing=self._failures > 0,
            copied_ns=replica.state("copied_ns"),
            last_contact_ns=replica.state("last_contact_ns"),
            last_error=replica.state("last_error"),
            last_error_ns=replica.state("last_error_ns"),
            waiting_files=self._trouble(),
            requests=self._store.counts.requests,
            conflicts=self._pull.conflicts,
            commits_since_snapshot=self._upkeep.commits_since_snapshot(),
        )

    def close(self) -> None:
        """End the transfers. The replica stays open."""
        self._ground.close()
