"""`Volume`: one open volume on this machine: a replica, its tree, and a way to its engine.

Threads of a process with an open volume: the callers', the attendant (hears of others' changes, keeps an engine
alive), and with `engine="thread"` the engine's. With `engine="process"` (mounts) the process runs none of the
engine's work: the interpreter's lock belongs to the answers.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeAlias

from agentfs.clock import Clock, SystemClock
from agentfs.config.settings import Settings
from agentfs.config.values import about_size
from agentfs.errors import AgentFSError, StoreError, SyncTimedOut, Unavailable
from agentfs.format.layout import VolumeKind
from agentfs.model.ignore import DEFAULT_PATTERNS, IgnorePatterns
from agentfs.replica.lock_file import is_locked
from agentfs.replica.replica import Replica
from agentfs.tree.options import TreeOptions
from agentfs.tree.tree import Tree
from agentfs.volume.durable_tree import wait_for_store
from agentfs.volume.engine_link import EngineLink
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.messages import Message
from agentfs.volume.places import replica_directory
from agentfs.volume.status import Pending, Status, SyncResult, peek, peek_pending
from agentfs.volume.use import touch_on_use

if TYPE_CHECKING:
    from agentfs.volume.engine_host import EngineHost
    from agentfs.volume.engine_process import EngineProcess

_LOG = logging.getLogger(__name__)

EngineMode: TypeAlias = Literal["thread", "process", "none"]
ProgressCallback: TypeAlias = Callable[[Pending], None]

_SLACK_SECONDS = 5.0
"""An answer that the engine gives in time may take this much longer to arrive."""
_HYDRATE_SECONDS = 120.0
_OFFLINE_PUSH_SECONDS = 1.0
_SHOWN_PATHS = 5


class LinkHydrator:
    """Fetches bytes through whoever is the engine (tree.hydration.Hydrator)."""

    def __init__(self, link: EngineLink) -> None:
        self._link = link

    def hydrate(self, ino: int) -> None:
        """See `Hydrator.hydrate`."""
        try:
            self._link.request("hydrate", ino=ino, timeout_seconds=_HYDRATE_SECONDS)
        except (StoreError, SyncTimedOut) as error:
            raise Unavailable(f"the bytes are not on this machine and cannot be fetched now: {error}") from error


class Volume:
    """Open with `Volume.open`; close with `close`, or use as a context manager. Safe from any thread."""

    def __init__(
        self,
        *,
        settings: Settings,
        kind: VolumeKind,
        volume_id: str,
        agent: str,
        replica: Replica,
        tree: Tree,
        link: EngineLink,
        process: "EngineProcess | None",
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.volume_id = volume_id
        self.kind: VolumeKind = kind
        self.agent = agent
        """On whose behalf it is open: a home's own agent."""
        self.replica = replica
        self.tree = tree
        self.link = link
        self.clock = clock
        self._process = process
        self.closed = False
        self._gave_up = False
        self._listeners: list[Callable[[], None]] = []
        self._attended = False

    @classmethod
    def open(
        cls,
        settings: Settings,
        volume_id: str,
        *,
        session_kind: str,
        kind: VolumeKind = "home",
        author: str | None = None,
        engine: EngineMode = "thread",
        mountpoint: bytes | None = None,
        offline: bool = False,
        clock: Clock | None = None,
    ) -> "Volume":
        """Open a volume; it is made on the store and on this machine where it does not exist.

        `author`: the agent who works on a space (`spaces.open_space` is the way to open one).

        When the store is away, a volume that this machine has a copy of opens all the same (`problem` says so); any
        other raises `StoreUnavailable`, unless `offline`. `engine="none"` never asks the store for anything.
        Raises `AgentIdInvalid`, `StoreURLInvalid`, `StoreDenied`, `BucketNotFound`, `StoreUnsafe`, `Corrupt`,
        `NewerFormat`, `ReplicaDamaged`.
        """
        clock = clock or SystemClock()
        directory = replica_directory(settings.state_dir, kind, volume_id, settings.store, author=author)
        with contextlib.ExitStack() as undo:
            replica = Replica.open(
                directory, volume_kind=kind, volume_id=volume_id, session_kind=session_kind, clock=clock,
                mountpoint=mountpoint,
            )  # fmt: skip
            undo.callback(replica.close)
            _remember(replica, author)
            plan = EnginePlan(
                settings, kind, volume_id, directory, offline, prefetch=session_kind != "cli", author=author or ""
            )
            process = None
            if engine == "process":
                from agentfs.volume.engine_process import EngineProcess, engine_log_path  # noqa: PLC0415 - mounts only

                process = EngineProcess(plan, log_path=engine_log_path(directory), clock=clock)
                undo.callback(process.stop)
            link = EngineLink(directory, start=_starter(engine, plan, process, clock), clock=clock)
            undo.callback(link.close)
            if engine != "none":
                link.ensure()
            tree = Tree(
                replica,
                session=replica.session,
                clock=clock,
                hydrator=LinkHydrator(link),
                options=TreeOptions(ignore=_patterns(settings), agent=plan.agent),
            )
            volume = cls(
                settings=settings,
                kind=kind,
                volume_id=volume_id,
                agent=plan.agent,
                replica=replica,
                tree=tree,
                link=link,
                process=process,
                clock=clock,
            )
            if settings.durability == "remote":
                wait_for_store(tree, volume.push_now)
            if engine != "none":
                replica.changed.append(link.poke)
                touch_on_use(tree, link.touch)
            undo.pop_all()
        return volume

    def __enter__(self) -> "Volume":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def directory(self) -> str:
        """The replica's."""
        return self.replica.directory

    @property
    def problem(self) -> str:
        """Why the store was not reached when this was opened; empty when it was, or when another process's engine
        serves."""
        if self._process is not None:
            return self._process.problem
        host = self.link.host
        return host.problem if host is not None else ""

    @property
    def is_fresh(self) -> bool:
        """Whether opening it has just brought this machine to the end of the log."""
        host = self.link.host
        return host is not None and not host.problem

    # ---- the store ----

    def sync(self, *, timeout_seconds: float | None = None, progress: ProgressCallback | None = None) -> SyncResult:
        """Return when everything changed before the call is in the store. Raises `SyncTimedOut` (what is left is safe
        here) and `StoreDenied`."""
        seconds = self.settings.timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            result = self.link.request(
                "sync",
                timeout_seconds=seconds + _SLACK_SECONDS,
                seconds=seconds,
                progress=None if progress is None else lambda facts: progress(Pending.of_message(facts)),
            )
        except (SyncTimedOut, StoreError) as error:
            self._gave_up = True
            left = peek_pending(self.directory)
            if isinstance(error, SyncTimedOut):
                raise SyncTimedOut(still_local(left, self.directory, seconds)) from error
            raise
        return SyncResult(int(result.get("head_sequence", 0)))

    def push_now(self) -> None:
        """As `sync`: files that are open for writing are pushed as they are now. For a remote-durable fsync."""
        seconds = self.settings.timeout_seconds
        self.link.request("sync", timeout_seconds=seconds + _SLACK_SECONDS, seconds=seconds)

    def pull(self, *, timeout_seconds: float | None = None) -> None:
        """Return when what was in the store before the call is visible here. Raises `StoreUnavailable`, and
        `SyncTimedOut` when that takes longer (by default the setting)."""
        seconds = self.settings.timeout_seconds if timeout_seconds is None else timeout_seconds
        self.link.request("pull", timeout_seconds=seconds)

    def away(self) -> str:
        """Why the store is not reached just now, as the engine knows it, whosever it is; empty when it is. Asks
        nothing of the store."""
        host = self.link.host
        if host is not None:
            return host.problem if host.is_away else ""
        try:
            facts = self.link.request("status", timeout_seconds=_SLACK_SECONDS)
        except SyncTimedOut:
            return ""  # it is busy, and knows no more than we do
        return "" if facts["online"] else str(facts["problem"]) or "the store did not answer"

    def status(self) -> Status:
        return peek(self.directory)

    # ---- news ----

    def on_news(self, listener: Callable[[], None], *, own_changes: bool = True) -> None:
        """Call `listener`, from any thread, whenever the journal may have grown. It must not wait.

        Without `own_changes` only what others changed is news (the engine, other processes): a mount has told the
        kernel of its own in its replies, and waking a second thread after each doubled the time of a create.
        """
        self._listeners.append(listener)
        if own_changes:
            self.replica.changed.append(listener)
        if not self._attended:
            self._attended = True
            self.link.attend(self._hear)

    def _hear(self) -> None:
        for listener in self._listeners:
            listener()

    # ---- the end ----

    def close(
        self, *, push: bool = True, timeout_seconds: float | None = None, progress: ProgressCallback | None = None
    ) -> Pending:
        """Push what is pending, stop this process's engine and leave. Returns what is still only on this machine.

        Waits for the push at most `timeout_seconds` (by default the setting; hardly at all when the store is known to
        be away), and not at all without `push`. Repeating it is harmless."""
        if self.closed:
            return Pending(0, 0, None)
        self.closed = True
        try:
            self.tree.close()
            if push:
                self._last_push(timeout_seconds, progress)
        finally:
            if self.link.poke in self.replica.changed:
                self.replica.changed.remove(self.link.poke)
            self.link.close()
            if self._process is not None:
                self._process.stop()
            left = self._left()
            self.replica.close()
        return left

    def _last_push(self, timeout_seconds: float | None, progress: ProgressCallback | None) -> None:
        facts = self.replica.pending()
        if self._gave_up or not (facts.inodes or facts.dentries) or self.link.poke not in self.replica.changed:
            return
        if timeout_seconds is None and self.problem:
            timeout_seconds = _OFFLINE_PUSH_SECONDS
        try:
            self.sync(timeout_seconds=timeout_seconds, progress=progress)
        except AgentFSError as error:
            _LOG.warning("%s", error)

    def _left(self) -> Pending:
        try:
            return peek_pending(self.directory)
        except AgentFSError:  # counting must not keep anybody from leaving
            _LOG.exception("cannot count what is pending")
            return Pending(0, 0, None)


def _starter(
    engine: EngineMode, plan: EnginePlan, process: "EngineProcess | None", clock: Clock
) -> "Callable[[], EngineHost | None]":
    def start() -> "EngineHost | None":
        if engine == "none":
            raise Unavailable("this volume was opened without an engine")
        if process is not None:
            process.start()
            return None
        if is_locked(os.path.join(plan.directory, "engine.lock")):
            return None
        # Loaded only where it runs: the engine brings the store's client, which neither a mount's process needs nor a
        # command beside one.
        from agentfs.volume.engine_host import EngineHost  # noqa: PLC0415

        return EngineHost.claim(plan, clock=clock)

    return start


def _remember(replica: Replica, author: str | None) -> None:
    """Whose copy it is: for `status`, which has only the replica."""
    if author and replica.state("author") != author:
        replica.set_state("author", author)


def _patterns(settings: Settings) -> IgnorePatterns:
    return IgnorePatterns(DEFAULT_PATTERNS + tuple(pattern.encode() for pattern in settings.ignore))


def still_local(left: Pending, directory: str, seconds: float) -> str:
    """One line that says exactly what is not in the store yet, and that it is safe."""
    names = ", ".join(left.paths[:_SHOWN_PATHS])
    more = ", …" if len(left.paths) > _SHOWN_PATHS else ""
    return (
        f"{left.changes} changes ({about_size(left.size_bytes)}) are not in the store after {seconds:g} s"
        f"{f' ({names}{more})' if names else ''}: they are safe in {directory} and are pushed by the next mount or "
        "agentfs sync"
    )


def message_of(left: Pending) -> Message:
    return left.as_message()
