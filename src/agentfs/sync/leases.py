"""Locks across machines, as far as commits are concerned: what the next one takes, uses and gives back, and which
changes it must not carry because another machine holds the lock (docs/locks.md).

All of it in the engine's turn. Nothing here decides by time whether something may be committed: tokens do
(`merge.fencing`). Time only says when to renew, and when to take over from a holder that gives no sign of life.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from agentfs.format.limits import HOLDER_CHARACTERS_MAX
from agentfs.merge.fencing import may_take_over
from agentfs.model.records import Fence, InodeId, Lock, LockState
from agentfs.replica.locks import Lease, LockedFile, LockUse, file_of, leases, lock_table, lock_uses
from agentfs.replica.pending import PendingState
from agentfs.replica.sessions import is_alive, lock_path
from agentfs.replica.transaction import PENDING_CONTENT, InodeRow
from agentfs.sync.ground import EngineGround

_LOOK_S = 1.0
"""Between looks at who uses a lease, while there is one."""
_RENEW_AT = 3
"""Renewed after this fraction of the lock's seconds: two may be lost."""


@dataclass(frozen=True, slots=True)
class LockPlan:
    """What the locks mean for the next commit."""

    waiting: Mapping[int, str] = field(default_factory=dict)
    """Files that another machine has locked → what to say about it. Their changed bytes wait."""
    fenced: frozenset[int] = frozenset()
    """Inodes whose names in the log must not be taken away or replaced."""
    now: frozenset[int] = frozenset()
    """Files whose bytes are committed as they are, also while they are open for writing."""
    held: tuple[Lease, ...] = ()
    """Every commit carries their fences: that is their use."""
    wanted: Mapping[int, int] = field(default_factory=dict)
    """Files to be locked (seconds), or whose lock is to be given back (0)."""
    table: Mapping[InodeId, LockState] = field(default_factory=dict)
    targets: Mapping[int, "Target"] = field(default_factory=dict)
    """What the wanted files are in the log and here, where they are in the log."""
    holder: str = ""
    renew: bool = False

    def rows(
        self, inodes: Iterable[int], pending: Mapping[int, InodeRow], id_of: Callable[[int], InodeId]
    ) -> tuple[tuple[Lock, ...], tuple[Fence, ...], tuple[LockedFile, ...]]:
        """The locks and fences of a commit that carries `inodes`, and which file each new lock is for. A file
        whose changed bytes are not in it is neither locked nor given back by it: whoever has the lock next must see
        them."""
        carried = set(inodes)
        locks: list[Lock] = []
        files: list[LockedFile] = []
        tokens = {lease.id: lease.token for lease in self.held}
        for ino, seconds in self.wanted.items():
            if not self._is_ready(ino, carried, pending):
                continue
            target = self.targets.get(ino)
            inode = target.id if target is not None else id_of(ino)
            if inode in self.table:
                tokens[inode] = self.table[inode].token
            elif not seconds:
                continue
            locks.append(Lock(inode, self.holder, seconds))
            if seconds:
                times = (target.mtime_ns, target.ctime_ns) if target is not None else (0, 0)
                files.append(LockedFile(inode, ino, *times))
        return tuple(locks), tuple(Fence(*it) for it in sorted(tokens.items())), tuple(files)

    def _is_ready(self, ino: int, carried: set[int], pending: Mapping[int, InodeRow]) -> bool:
        target = self.targets.get(ino)
        file = ino if target is None else target.ino
        if file in carried:
            return True
        row = pending.get(file)
        return target is not None and (row is None or not row.pending & PENDING_CONTENT or not row.nlink)

    def is_worth_a_commit(self, pending: Mapping[int, InodeRow]) -> bool:
        """Whether a commit that changes nothing is to be made for the locks alone."""
        return (self.renew and bool(self.held)) or any(self._is_ready(ino, set(), pending) for ino in self.wanted)


@dataclass(frozen=True, slots=True)
class Target:
    """A file that is to be locked, or whose lock is to be given back."""

    id: InodeId
    ino: int
    """What it is here now."""
    mtime_ns: int
    """Its times as they are here: the log's where nothing is pending. What the commit carries has its own."""
    ctime_ns: int


_NOTHING = LockPlan()


@dataclass(slots=True)
class _Seen:
    token: int
    at: float


class Leases:
    """What this machine's engine wants of locks, and what it has seen of others'."""

    def __init__(self, ground: EngineGround) -> None:
        self._ground = ground
        self.wanted: dict[int, int] = {}
        """Files to be locked, with the seconds; 0: to be given back. The next commit does what it can of it."""
        self._over: dict[int, int] = {}
        """Files whose lock is taken or ended although another machine holds it → the token that it must have."""
        self._seen: dict[InodeId, _Seen] = {}
        self._started_at = ground.clock.monotonic()
        self._look_at = float("-inf")
        self._renew = False

    @property
    def holder(self) -> str:
        """How this machine signs its locks."""
        text = f"{self._ground.author}@{os.uname().nodename}"
        return "".join(it for it in text if it.isascii() and it.isprintable())[:HOLDER_CHARACTERS_MAX]

    # ---- what the next commit does ----

    def plan(self, state: PendingState) -> LockPlan:
        """For a commit of `state`."""
        sql, lock = self._ground.replica.connection, self._ground.replica.lock
        with lock:
            table = lock_table(sql)
            if not table and not self.wanted:
                return _NOTHING
            ours = leases(sql)
            others = {ino: inode for inode in table if inode not in ours and (ino := file_of(sql, inode)) is not None}
        self.observe()
        ended = self._ended(state, others, table)
        wanted = dict.fromkeys(ended, 0) | self.wanted
        with lock:
            targets = self._targets(ours, wanted)
        waiting = {
            ino: f"{table[inode].holder} has locked it"
            for ino, inode in others.items()
            if self._over.get(ino) != table[inode].token and ino not in ended
        }
        allowed = {
            ino: seconds
            for ino, seconds in wanted.items()
            if ino not in waiting and (seconds or (ino in targets and targets[ino].id in table))
        }
        return LockPlan(
            waiting=waiting,
            fenced=_fenced(state, frozenset(waiting)),
            now=frozenset(targets[ino].ino if ino in targets else ino for ino in allowed if ino not in ended),
            held=tuple(ours.values()),
            wanted=allowed,
            table=table,
            targets=targets,
            holder=self.holder,
            renew=self._renew,
        )

    def _ended(
        self, state: PendingState, others: Mapping[int, InodeId], table: Mapping[InodeId, LockState]
    ) -> frozenset[int]:
        """Files that were changed here without the lock, and whose holder gives no sign of life: nobody else may be
        there to take it over. The change ends the lock."""
        bases = {name.base for name in state.names}
        return frozenset(
            ino
            for ino, inode in others.items()
            if ino not in self.wanted
            and (ino in bases or (ino in state.inodes and state.inodes[ino].pending & PENDING_CONTENT))
            and self.is_expired(inode, table[inode])
        )

    def _targets(self, ours: Mapping[InodeId, Lease], wanted: Iterable[int]) -> dict[int, Target]:
        sql, found = self._ground.replica.connection, {}
        taken = {lease.ino: lease.id for lease in ours.values()}
        for ino in wanted:
            where, key = ("id", taken[ino]) if ino in taken else ("ino", ino)
            row = sql.one(f"SELECT id, ino, mtime_ns, ctime_ns FROM inode WHERE {where}=? AND id IS NOT NULL", (key,))
            if row is not None:
                found[ino] = Target(*row)
        return found

    def committed(self) -> None:
        """A commit with the last plan's rows stands in the log."""
        self._renew = False
        self.observe()

    # ---- time ----

    def observe(self) -> None:
        """Remember since when each lock has the token that it has, by this machine's clock."""
        now = self._ground.clock.monotonic()
        with self._ground.replica.lock:
            table = lock_table(self._ground.replica.connection)
        for gone in self._seen.keys() - table.keys():
            del self._seen[gone]
        for inode, lock in table.items():
            seen = self._seen.get(inode)
            if seen is None or seen.token != lock.token:
                self._seen[inode] = _Seen(lock.token, now)

    def unchanged_s(self, inode: InodeId) -> float:
        """How long ago this engine saw the lock taken or used."""
        seen = self._seen.get(inode)
        return 0.0 if seen is None else self._ground.clock.monotonic() - seen.at

    def is_expired(self, inode: InodeId, lock: LockState) -> bool:
        return may_take_over(lock, self.unchanged_s(inode))

    def due(self) -> bool:
        """Whether something must be committed for the locks of this machine: one is to be renewed, or given back.
        Looks once a second, and only while there is a lease."""
        now = self._ground.clock.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + _LOOK_S
        replica = self._ground.replica
        with replica.lock:
            if replica.connection.one("SELECT 1 FROM lease LIMIT 1") is None:
                self.wanted.clear()
                return False
        self.observe()
        self._drop_dead_uses()
        with replica.lock:
            ours, uses = leases(replica.connection), lock_uses(replica.connection)
            table = lock_table(replica.connection)
        self.wanted.clear()  # what was wanted for a moment was wanted in this turn
        for inode, lease in ours.items():
            if lease.ino not in uses:
                self.wanted[lease.ino] = 0
            else:
                since = self.unchanged_s(inode)
                young = self._seen[inode].at > self._started_at
                self._renew = self._renew or not young or since * _RENEW_AT >= table[inode].seconds
        return self._renew or bool(self.wanted)

    def next_look_s(self) -> float:
        """Seconds until `due` looks again."""
        return max(0.0, self._look_at - self._ground.clock.monotonic())

    def _drop_dead_uses(self) -> None:
        replica = self._ground.replica
        with replica.lock:
            rows = replica.connection.rows(
                "SELECT u.ino, s.id, s.pid, s.started FROM lock_use u LEFT JOIN session s ON s.id=u.session"
            )
        dead = [
            ino
            for ino, session, pid, started in rows
            if session is None or not is_alive(pid, started, lock=lock_path(replica.directory, session))
        ]
        if dead:
            with replica.transaction(session=0) as tx:
                tx.sql.executemany("DELETE FROM lock_use WHERE ino=?", [(ino,) for ino in dead])

    # ---- wishes ----

    def want(self, ino: int, seconds: int, *, over: LockState | None = None) -> None:
        """Let the next commit lock `ino` for `seconds`, or give its lock back (0). `over`: although another machine
        holds it, if this is still so."""
        self.wanted[ino] = seconds
        if over is not None:
            self._over[ino] = over.token

    def renew(self) -> None:
        """Let the next commit be a sign of life, also when nothing else is in it."""
        self._renew = True

    def forget(self, ino: int) -> None:
        """The wish was granted, or is no more."""
        self.wanted.pop(ino, None)
        self._over.pop(ino, None)

    def use(self, use: LockUse) -> None:
        """Remember who uses the lease of a file."""
        with self._ground.replica.transaction(session=0) as tx:
            tx.sql.execute(
                "INSERT OR REPLACE INTO lock_use VALUES(?,?,?,?)", (use.ino, use.session, use.number, use.seconds)
            )

    def unuse(self, use: LockUse) -> None:
        """The user has no need of it any more."""
        with self._ground.replica.transaction(session=0) as tx:
            tx.sql.execute(
                "DELETE FROM lock_use WHERE ino=? AND session=? AND number=?", (use.ino, use.session, use.number)
            )


def _fenced(state: PendingState, waiting: frozenset[int]) -> frozenset[int]:
    """The locked files among what is pending, and the directories that would take them out of the log with them."""
    found = set(waiting)
    for name in state.names:
        if name.base in waiting and name.ino is None:
            directory = name.parent
            while directory in state.homes:
                found.add(directory)
                directory = state.homes[directory][0]
    return frozenset(found)
