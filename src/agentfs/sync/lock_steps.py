"""Taking, using and giving back a lock across machines: each one step in the engine's turn, none of which waits for
another holder (`volume.locks` does).

A lock is taken by a commit at the end of the log, so whoever has it has applied everything before: what it reads is
the newest. Giving it back is one commit with the file's changes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from agentfs.errors import LockLost, NoLock, Replaced, StoreError
from agentfs.model.records import LOCK_SECONDS_MAX, InodeId, LockState
from agentfs.replica.locks import Lease, LockUse, leases, lock_table, lock_uses
from agentfs.replica.pending import read_prepared
from agentfs.replica.transaction import InodeRow
from agentfs.sync.ground import EngineGround
from agentfs.sync.leases import Leases
from agentfs.sync.push import Pushed

_ROUNDS_MAX = 12
"""Commits of others that may come first, one after the other, before the step is given up for now."""


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody else has the lock."""

    holder: str
    is_here: bool
    """Another program of this machine."""
    token: int
    unchanged_s: float
    """How long this machine has seen no sign of life of it."""
    seconds: int


@dataclass(frozen=True, slots=True)
class Granted:
    token: int
    epoch: int
    """Tells this lease from later ones of the same file."""


class LockSteps:
    """The caller is in the engine's turn."""

    def __init__(
        self,
        ground: EngineGround,
        leases_: Leases,
        *,
        push: Callable[[], Pushed],
        pull: Callable[[], int],
    ) -> None:
        self._ground = ground
        self._leases = leases_
        self._push = push
        self._pull = pull

    # ---- taking ----

    def take(self, use: LockUse) -> Granted | Held:
        """Lock a file for `use`, or say who has it. With `Granted`, this machine has applied every commit that came
        before, and no other can change the file until the lock is given back or taken over.

        Raises `Replaced` (the file has no name any more, or is a conflict copy), `NoLock` (it can never be locked),
        `StoreError`.
        """
        if not 1 <= use.seconds <= LOCK_SECONDS_MAX:
            raise NoLock(f"a lock is taken for 1 to {LOCK_SECONDS_MAX} seconds, not {use.seconds}")
        pulled = False
        for _ in range(_ROUNDS_MAX):
            row = self._row(use.ino)
            other = self._user(use)
            if other is not None:
                return Held("another program of this machine", True, 0, 0.0, other.seconds)
            lease = self._lease(use.ino)
            if lease is not None:
                return self._again(lease, use)
            self._leases.observe()
            held = self._held(row.id)
            if held is not None and row.id is not None and not self._leases.is_expired(row.id, held):
                if pulled:
                    return Held(held.holder, False, held.token, self._leases.unchanged_s(row.id), held.seconds)
                self._pull()
                pulled = True
                continue
            if self._commit(use, over=held):
                lease = self._lease(use.ino)
                if lease is not None:
                    return self._whole(lease, use)
        return Held("nobody, but others write to this volume faster than it can be taken", False, 0, 0.0, 0)

    def _whole(self, lease: Lease, use: LockUse) -> Granted:
        """What was changed here without the lock, and met another machine's change, is merged before it is read."""
        if self._is_forked(lease.id):
            self._push()
        if self._is_forked(lease.id):
            self._leases.unuse(use)
            raise Replaced(
                "the file was changed here without the lock and is still being written: close it, try again"
            )
        return Granted(lease.token, lease.epoch)

    def _is_forked(self, inode: InodeId) -> bool:
        with self._ground.replica.lock:
            found = self._ground.replica.connection.one(
                "SELECT 1 FROM fork JOIN inode USING(ino) WHERE id=?", (inode,)
            )
        return found is not None

    def _commit(self, use: LockUse, *, over: LockState | None) -> bool:
        """Try to lock by the next commit. The use is remembered before: a lease without one is given back."""
        self._leases.use(use)
        self._leases.want(use.ino, use.seconds, over=over)
        try:
            pushed = self._push()
        finally:
            self._leases.forget(use.ino)
            if self._lease(use.ino) is None:
                self._leases.unuse(use)
        return pushed.committed

    def _again(self, lease: Lease, use: LockUse) -> Granted | Held:
        """The lock is this machine's already, and nobody here uses it. When its last sign of life is old, others may
        have taken it over; and a commit of ours that nothing was heard of may have given it back. A commit tells."""
        self._leases.use(use)
        self._leases.forget(use.ino)
        state = self._held(lease.id)
        assert state is not None
        unsettled = bool(read_prepared(self._ground.replica))
        if self._leases.unchanged_s(lease.id) < state.seconds / 2 and not unsettled:
            return Granted(lease.token, lease.epoch)
        self._leases.renew()
        try:
            self._push()
        except StoreError:
            self._leases.unuse(use)
            raise
        now = self._lease(use.ino)
        if now is None:
            return self.take(use)
        return Granted(now.token, now.epoch)

    def _row(self, ino: int) -> InodeRow:
        """Raises `Replaced`."""
        row = self._ground.replica.inode(ino)
        if row is None or not row.nlink:
            raise Replaced("the file was deleted or replaced meanwhile: open it again")
        if row.local:
            raise NoLock("the file never leaves this machine (ignore): other machines cannot have it locked")
        with self._ground.replica.lock:
            aside = self._ground.replica.connection.one(
                "SELECT 1 FROM dentry d JOIN conflict c ON c.parent=d.parent AND c.kept_as=d.name WHERE d.ino=?",
                (ino,),
            )
        if aside is not None:
            raise Replaced(
                "another machine's version took the file's name, this one is a conflict copy: open it again"
            )
        return row

    # ---- giving back ----

    def give_back(self, use: LockUse, epoch: int) -> None:
        """End a use. The file's changes and the end of the lock are one commit; on return both are remotely durable.

        Raises `LockLost` when another machine had taken the lock over, and `StoreError`: the changes are safe here,
        and the engine goes on trying to commit them with the end of the lock.
        """
        self._leases.unuse(use)
        if self._forget_loss(use.ino, epoch):
            raise LockLost(
                "another machine took the lock over before it was given back: what was changed under it was kept "
                "aside as a conflict copy"
            )
        for _ in range(_ROUNDS_MAX):
            lease = self._lease(use.ino)
            if lease is None or lease.epoch != epoch:
                break
            self._leases.want(use.ino, 0)
            if not self._push().committed and self._lease(use.ino) is not None:
                continue
        if self._forget_loss(use.ino, epoch):
            raise LockLost("another machine took the lock over: what was changed under it was kept aside")
        self._leases.forget(use.ino)

    def unchanged_s(self, inode: InodeId) -> float:
        """How long this machine has seen no sign of life of who holds a lock."""
        self._leases.observe()
        return self._leases.unchanged_s(inode)

    def _forget_loss(self, ino: int, epoch: int) -> bool:
        with self._ground.replica.transaction(session=0) as tx:
            tx.sql.execute("DELETE FROM lost_lease WHERE ino=? AND epoch=?", (ino, epoch))
            return tx.sql.changes() > 0

    def break_lock(self, ino: int) -> str | None:
        """End the lock of a file, whoever holds it. Its holder, when it wakes, has lost it. Returns who it was; None
        when it is not locked. Raises `StoreError`."""
        self._pull()
        for _ in range(_ROUNDS_MAX):
            row = self._ground.replica.inode(ino)
            held = self._held(row.id) if row is not None else None
            if held is None:
                return None
            with self._ground.replica.transaction(session=0) as tx:
                tx.sql.execute("DELETE FROM lock_use WHERE ino=?", (ino,))
            self._leases.want(ino, 0, over=held)
            try:
                if self._push().committed and (row is None or self._held(row.id) is None):
                    return held.holder
            finally:
                self._leases.forget(ino)
        raise NoLock("the lock could not be ended: too much is being written to this volume; try again")

    # ---- how things stand ----

    def _held(self, inode: InodeId | None) -> LockState | None:
        with self._ground.replica.lock:
            return lock_table(self._ground.replica.connection).get(inode or 0)

    def _lease(self, ino: int) -> Lease | None:
        with self._ground.replica.lock:
            return next((it for it in leases(self._ground.replica.connection).values() if it.ino == ino), None)

    def _user(self, use: LockUse) -> LockUse | None:
        """Who else on this machine uses the file's lock."""
        with self._ground.replica.lock:
            found = lock_uses(self._ground.replica.connection).get(use.ino)
        same = found is None or (found.session, found.number) == (use.session, use.number)
        return None if same else found
