"""Locks across machines, for mounts, the SDK and commands: how a process asks the engine for one (`lock_answers`).

Several programs of one machine get a lock one after the other, as several machines do: a mount, a command and a
program with the SDK are three. What the programs on one mount do among themselves is the mount's (`fuse.locks`).
"""

import itertools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentfs.errors import AgentFSError, LockHeld, NoLock, StoreError, SyncTimedOut, Unavailable
from agentfs.model.ignore import IgnorePatterns
from agentfs.replica.locks import LockUse
from agentfs.volume.messages import Message

if TYPE_CHECKING:
    from agentfs.volume.volume import Volume

_LOG = logging.getLogger(__name__)

_SLICE_SECONDS = 2.0
"""Who waits asks anew after this: so nobody is granted a lock who has gone."""
_NUMBERS = itertools.count(1)
"""Of the users of locks in this process."""
_STORE_SECONDS = 60.0
"""For the requests to the store that taking or giving back a lock takes."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A lock that this process has."""

    use: LockUse
    token: int
    epoch: int


class SharedLocks:
    """Locks of one volume, for this process. Safe from any thread."""

    def __init__(self, volume: "Volume") -> None:
        self._volume = volume
        patterns = [pattern.encode() for pattern in volume.settings.shared_locks]
        self._patterns = IgnorePatterns(patterns)
        self.is_idle = not patterns
        """No file asks for locks across machines."""
        self.seconds = max(1, int(volume.settings.lock_ttl_seconds))
        """How long others wait for a sign of life, where nothing else is said."""

    def matches(self, ino: int) -> bool:
        """Whether the locks of a file hold across machines."""
        if self.is_idle:
            return False
        path = self._volume.replica.path_of(ino)
        return path is not None and self._patterns.matches_path(path, directory=False)

    def matches_new(self, parent: int, name: bytes) -> bool:
        """As `matches`, of a file that is about to be made."""
        if self.is_idle:
            return False
        above = self._volume.replica.path_of(parent)
        return above is not None and self._patterns.matches_path(
            b"/".join(filter(None, (above, name))), directory=False
        )

    def acquire(
        self, ino: int, *, wait_seconds: float, seconds: int | None = None, number: int | None = None
    ) -> Grant:
        """Take the lock of a file. On return this machine has applied every commit before, the file's bytes are here,
        and no other machine can change it until `release`, unless it takes the lock over.

        `seconds`: how long without a sign of life until others may do so. `number`: of a user who asks again for the
        same. Raises `LockHeld` (not free within `wait_seconds`), `NoLock` (the store is away, among others),
        `Replaced`.
        """
        clock = self._volume.clock
        deadline = clock.monotonic() + wait_seconds
        use = LockUse(
            ino,
            self._volume.replica.session,
            next(_NUMBERS) if number is None else number,
            seconds or self.seconds,
        )
        while True:
            self._volume.tree.let_go(ino)
            left = deadline - clock.monotonic()
            try:
                answer = self._ask("lock", use, wait=max(0.0, min(left, _SLICE_SECONDS)))
            except LockHeld:
                if clock.monotonic() >= deadline:
                    raise
            except (StoreError, Unavailable, SyncTimedOut) as error:
                self._forget(use)
                raise NoLock(f"a lock across machines cannot be had now: {error}") from error
            else:
                return Grant(use, int(answer["token"]), int(answer["epoch"]))

    def release(self, grant: Grant) -> None:
        """Give a lock back. On return the file's changes are in the store, and whoever has the lock next sees them.

        Raises `LockLost` (another machine had taken it over: what was changed here was kept aside), `StoreError` and
        `SyncTimedOut`: the changes are safe on this machine, and the engine goes on trying.
        """
        self._volume.tree.let_go(grant.use.ino)
        self._ask("unlock", grant.use, epoch=grant.epoch)

    def is_lost(self, grant: Grant) -> bool:
        """Whether another machine has taken the lock over, as far as this one knows."""
        replica = self._volume.replica
        with replica.lock:
            row = replica.connection.one(
                "SELECT 1 FROM lost_lease WHERE ino=? AND epoch=?", (grant.use.ino, grant.epoch)
            )
        return row is not None

    def break_lock(self, ino: int) -> str | None:
        """End the lock of a file, whoever holds it. Returns who did; None when nobody. Raises `StoreError` and
        `NoLock`."""
        answer = self._volume.link.request("break-lock", ino=ino, timeout_seconds=_STORE_SECONDS)
        return answer.get("holder")

    def listed(self) -> list[dict[str, Any]]:
        """The locks in force, as this machine knows them."""
        answer = self._volume.link.request("locks", timeout_seconds=_STORE_SECONDS)
        found: list[dict[str, Any]] = answer["locks"]
        return found

    def _ask(self, word: str, use: LockUse, **more: Any) -> Message:
        return self._volume.link.request(
            word,
            timeout_seconds=_STORE_SECONDS + float(more.get("wait") or 0),
            ino=use.ino,
            session=use.session,
            number=use.number,
            seconds=use.seconds,
            **more,
        )

    def _forget(self, use: LockUse) -> None:
        """It may have been granted, and the answer lost: without a user the engine gives it back."""
        try:
            with self._volume.replica.transaction() as tx:
                tx.sql.execute(
                    "DELETE FROM lock_use WHERE ino=? AND session=? AND number=?", (use.ino, use.session, use.number)
                )
        except AgentFSError as error:
            _LOG.warning("the lock of inode %d may stay with this process until it ends: %s", use.ino, error)
