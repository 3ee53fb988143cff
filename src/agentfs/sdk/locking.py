"""Locks across machines from Python: `with home.lock("state/x.json"): …`."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from agentfs.errors import AgentFSError, InvalidArgument, LockHeld, LockLost, NotFound, Replaced
from agentfs.model.names import shown
from agentfs.model.records import LOCK_SECONDS_MAX, Kind
from agentfs.sdk.errors import translated
from agentfs.sdk.paths import Path, Place, resolve
from agentfs.sdk.volumes import Volumes
from agentfs.tree.values import Caller
from agentfs.volume.locks import Grant, SharedLocks

_LOG = logging.getLogger(__name__)

_FOREVER_SECONDS = 1e9
_TRIES_MAX = 8


@dataclass(frozen=True, slots=True)
class LockInForce:
    """A lock that some machine has."""

    path: str | None
    """From the root of its volume; None: the file has no name on this machine."""
    holder: str
    token: int
    """Grows with every use: what a fenced resource outside may compare."""
    unchanged_s: float
    """How long this machine has seen no sign of life of its holder."""
    seconds: int
    """After so long others may take it over."""
    here: bool
    """This machine has it."""


class HeldLock:
    """A lock that this process has."""

    def __init__(self, locks: SharedLocks, grant: Grant) -> None:
        self._locks = locks
        self._grant = grant

    @property
    def token(self) -> int:
        """Of the commit that took it: a number that no later holder has a smaller one than."""
        return self._grant.token

    def is_lost(self) -> bool:
        """Whether another machine took it over, as far as this one knows: look before something that cannot be taken
        back."""
        with translated():
            return self._locks.is_lost(self._grant)


@contextmanager
def locked(volumes: Volumes, path: Path, *, timeout: float | None, ttl: float | None) -> Iterator[HeldLock]:
    """See `Home.lock`."""
    with translated():
        locks, grant = _acquired(volumes, path, timeout, ttl)
    failed = True
    try:
        yield HeldLock(locks, grant)
        failed = False
    finally:
        try:
            with translated():
                locks.release(grant)
        except AgentFSError as error:
            if not failed:
                raise
            _LOG.warning("the lock of %s: %s", shown(os.fsencode(path)), error)  # the first error is the one to raise


def _acquired(volumes: Volumes, path: Path, timeout: float | None, ttl: float | None) -> tuple[SharedLocks, Grant]:
    if ttl is not None and not 1 <= ttl <= LOCK_SECONDS_MAX:
        raise InvalidArgument(f"a lock's ttl is 1 to {LOCK_SECONDS_MAX} seconds, not {ttl:g}")
    clock = volumes.home.clock
    deadline = clock.monotonic() + (_FOREVER_SECONDS if timeout is None else max(0.0, timeout))
    name = shown(os.fsencode(path))
    for _ in range(_TRIES_MAX):
        place = resolve(volumes, path)
        ino = _file(place, name)
        locks = SharedLocks(place.volume)
        try:
            left = max(0.0, deadline - clock.monotonic())
            grant = locks.acquire(ino, wait_seconds=left, seconds=None if ttl is None else int(ttl))
        except LockHeld as error:
            raise LockHeld(f"{name}: {error}") from error
        except Replaced:
            continue  # another machine's file took the name meanwhile: that is the one to lock
        if place.tree.lookup(place.parent, place.name).ino == ino:
            return locks, grant
        _give_up(locks, grant)
    raise Replaced(f"{name} is replaced as fast as it can be locked: lock a file beside it that stays")


def _file(place: Place, name: str) -> int:
    """The file to lock; an empty one is made where there is none."""
    if place.attributes is None:
        attributes, handle = place.tree.create(place.parent, place.name, 0o644, Caller.process(), os.O_WRONLY)
        place.tree.release(handle)
        return attributes.ino
    if place.attributes.kind is not Kind.FILE:
        raise InvalidArgument(f"{name or '/'} is not a regular file: only files are locked")
    return place.attributes.ino


def _give_up(locks: SharedLocks, grant: Grant) -> None:
    with suppress(LockLost):
        locks.release(grant)


def locks_in_force(volumes: Volumes) -> list[LockInForce]:
    """Of the home's own volume, or of the space that was opened."""
    with translated():
        rows = SharedLocks(volumes.home).listed()
    return [
        LockInForce(
            row["path"], row["holder"], row["token"], float(row["unchanged_s"]), row["seconds"], bool(row["here"])
        )
        for row in rows
    ]


def break_lock(volumes: Volumes, path: Path) -> str | None:
    """See `Home.break_lock`."""
    with translated():
        place = resolve(volumes, path)
        if place.attributes is None:
            raise NotFound(f"{shown(os.fsencode(path))}: no such file")
        return SharedLocks(place.volume).break_lock(place.attributes.ino)
