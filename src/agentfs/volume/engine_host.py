"""The engine at work in this process: holds the engine lock, runs the loop in a thread, answers on the socket.

The same in a mount's engine process and in a program that uses the SDK. The engine has a connection of its own to the
replica, so that its transactions and those of the process meet only in SQLite.
"""

import logging
import os
import threading
from collections.abc import Callable

from agentfs.clock import Clock
from agentfs.errors import (
    AgentFSError,
    BucketNotFound,
    Corrupt,
    HistoryBroken,
    StoreDenied,
    StoreUnavailable,
)
from agentfs.replica.backing import make_directory
from agentfs.replica.lock_file import LockFile
from agentfs.replica.replica import Replica
from agentfs.replica.sessions import is_alive, lock_path
from agentfs.stores.protocol import Store
from agentfs.stores.retrying import RetryPolicy
from agentfs.sync.engine import Engine
from agentfs.sync.options import EngineOptions
from agentfs.volume.engine_desk import Announcer, EngineDesk
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.first_commit import SpaceStore
from agentfs.volume.gate import pass_gate
from agentfs.volume.listener import Listener
from agentfs.volume.opening import QUICK, opened_store
from agentfs.volume.services import EngineServices, engine_services

_LOG = logging.getLogger(__name__)

_END_SECONDS_MAX = 5.0
_ANSWERED_SECONDS_MAX = 2.0
_FIRST_CONTACT = RetryPolicy(tries_max=3, budget_seconds=10.0)
"""For a home that this machine has no copy of: an answer within some ten seconds, even if it is no."""


class EngineHost:
    """Made by `claim`; ends with `close`, or by itself when the engine fails in a way that nobody foresaw."""

    def __init__(
        self,
        lock: LockFile,
        replica: Replica,
        engine: Engine,
        services: EngineServices,
        *,
        clock: Clock,
        stop: threading.Event,
        problem: str,
        away: bool = False,
    ) -> None:
        self.problem = problem
        self.is_away = away
        """That the store was not reached is the problem."""
        """Why the store could not be reached at the start; empty when it was."""
        self.alive = True
        self.announcer = Announcer()
        self.on_end: list[Callable[[], None]] = []
        self._lock = lock
        self._replica = replica
        self._engine = engine
        self._services = services
        self._clock = clock
        self._stop = stop
        self._closing = threading.Lock()
        self._ended = False
        """The loop has ended."""
        self._left = False
        """`close` gave up waiting: the loop's thread releases what it works with."""
        self.desk = EngineDesk(engine, self.announcer, services, clock=clock, on_stop=self._say_end)
        replica.changed.append(self.announcer.announce)
        self._listener = Listener(os.path.join(replica.directory, "engine.sock"), self.desk, page=self.desk.page)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()
        for start in services.starters:
            start(engine)

    @classmethod
    def claim(
        cls, plan: EnginePlan, *, clock: Clock, on_end: Callable[[], None] | None = None
    ) -> "EngineHost | None":
        """Take the lock and start the engine: on return the replica has been brought to the end of the log, or
        `problem` says why not. None when another process holds the lock.

        Raises what opening the store and the replica raises; `StoreUnavailable` only when this replica never reached
        the store and the plan does not say `offline`.
        """
        make_directory(plan.directory)
        lock = LockFile.acquire(os.path.join(plan.directory, "engine.lock"))
        if lock is None:
            return None
        replica = None
        try:
            replica = Replica.open(
                plan.directory,
                volume_kind=plan.kind,
                volume_id=plan.volume_id,
                session_kind="engine",
                clock=clock,
            )
            host = cls._started(plan, lock, replica, clock)
        except BaseException:
            if replica is not None:
                replica.close()
            lock.release()
            raise
        if on_end is not None:
            host.on_end.append(on_end)
        return host

    @classmethod
    def _started(cls, plan: EnginePlan, lock: LockFile, replica: Replica, clock: Clock) -> "EngineHost":
        settings = plan.settings
        known = replica.state("last_contact_ns") is not None
        untouched = int(replica.state("head_sequence")) == 0
        hurried = opened_store(settings, clock=clock, retry=QUICK if known else _FIRST_CONTACT)
        problem, met, away = "", False, False
        stop = threading.Event()
        store = opened_store(settings, clock=clock, stop=stop)
        if plan.kind == "space" and untouched:
            store = SpaceStore(store, plan.volume_id)
        quick = hurried if known else opened_store(settings, clock=clock, retry=QUICK)
        services = engine_services(plan, replica, store, clock, hurried=quick)
        options = EngineOptions(
            cache_bytes=settings.cache_size_bytes,
            prefetch=plan.prefetch,
            pending_limit_s=settings.pending_limit_seconds,
            conflict_markers=settings.conflict_markers,
        )
        try:
            pass_gate(
                hurried,
                store_url=settings.store,
                state_dir=settings.state_dir,
                clock=clock,
                may_create=plan.kind == "home" and untouched,
            )
            # The first look goes through the store that gives up early; the loop's has the long patience.
            first = _engine(plan, replica, hurried, clock, options, services=services)
            try:
                first.bootstrap()
                met = True
            finally:
                first.close()
        except (Corrupt, HistoryBroken, StoreDenied, BucketNotFound) as error:
            # What this machine has is whole, and may be all there is (a key was revoked, a bucket is gone, the log
            # is damaged): it stays readable and writable, and the status is loud.
            if not known:
                raise
            problem = str(error)
        except StoreUnavailable as error:
            if not known and not plan.offline:
                raise StoreUnavailable(
                    f"{error}; this machine has no copy of {plan.volume_id} yet: try again, or start empty and merge "
                    "later with --offline"
                ) from error
            problem, away = str(error), True
            replica.set_state("online", 0)
        engine = _engine(plan, replica, store, clock, options, services=services, met=met)
        return cls(lock, replica, engine, services, clock=clock, stop=stop, problem=problem, away=away)

    def wake(self) -> None:
        """Something changed in this process, and may go on changing for some moments. Never waits."""
        self.desk.changed()

    def touch(self) -> None:
        """Somebody in this process reads and wants news soon. Never waits."""
        self._engine.touch()

    def _run(self) -> None:
        try:
            self._engine.run(self._stop)
        except Exception:  # noqa: BLE001 - a bug must not leave a lock that nobody works under
            _LOG.exception("the engine failed")
            self.close()
            self._say_end()
        with self._closing:
            self._ended = True
            left = self._left
        if left:  # `close` did not wait for us
            self._release()

    def _say_end(self) -> None:
        for callback in self.on_end:
            callback()

    def close(self) -> None:
        """Finish what is being done, put a snapshot if one is due, let the lock go. Pushes nothing by itself.
        Repeating it is harmless."""
        with self._closing:
            if not self.alive:
                return
            self.alive = False
        self._stop.set()
        self._engine.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(_END_SECONDS_MAX)
        self.desk.close()
        self._listener.drain(_ANSWERED_SECONDS_MAX)
        self._listener.close()
        with self._closing:
            self._left = not self._ended and threading.current_thread() is not self._thread
        if self._left:
            # It waits for a store that does not answer. The lock stays with it until it ends, or the process does.
            _LOG.warning("the engine does not end: a request to the store is still running")
            return
        self._release()

    def _release(self) -> None:
        for close in self._services.closers:
            close()
        self._engine.close()
        try:
            self._replica.close()
        except AgentFSError:
            _LOG.exception("the engine's replica was not closed cleanly")
        self._lock.release()


def _engine(
    plan: EnginePlan,
    replica: Replica,
    store: Store,
    clock: Clock,
    options: EngineOptions,
    *,
    services: EngineServices | None = None,
    met: bool = False,
) -> Engine:
    services = services or EngineServices()
    return Engine(
        replica,
        store,
        volume_kind=plan.kind,
        volume_id=plan.volume_id,
        author=plan.agent,
        clock=clock,
        options=options,
        mountpoint=lambda: mountpoint_of(replica),
        met=met,
        observers=services.observers,
        chores=services.chores,
        may_fetch_ahead=services.may_fetch_ahead,
    )


def mountpoint_of(replica: Replica) -> str | None:
    """Where a living process of this machine has the replica mounted."""
    with replica.lock:
        rows = replica.connection.rows(
            "SELECT id, pid, started, mountpoint FROM session WHERE mountpoint IS NOT NULL"
        )
    return next(
        (
            os.fsdecode(place)
            for number, pid, started, place in rows
            if is_alive(pid, started, lock=lock_path(replica.directory, number))
        ),
        None,
    )
