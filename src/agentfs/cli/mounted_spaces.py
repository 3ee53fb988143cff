"""The spaces of a mounted home: each one that is attached is opened and shown, each that is detached is let go.

What is attached is in the home's log, so news of the home (this machine's or another's) is where it changes. One
thread looks for that; each space has a thread of its own, which opens it (again and again until it can), shows it,
and at the end waits until nobody has a file open in it.
"""

import contextlib
import functools
import logging
import os
import threading
from dataclasses import dataclass, field

from agentfs.clock import Clock
from agentfs.config.settings import Settings
from agentfs.errors import AgentFSError
from agentfs.fuse.mount import FuseMount
from agentfs.fuse.parts import Parts
from agentfs.replica.replica import ROOT
from agentfs.tree.values import Attributes
from agentfs.volume.asking import Memory
from agentfs.volume.engine_link import EngineLink
from agentfs.volume.locks import SharedLocks
from agentfs.volume.messages import Message
from agentfs.volume.spaces import DIRECTORY, TARGET, Attachment, attachments, open_space, space_directory, space_of
from agentfs.volume.status import Pending, peek_pending
from agentfs.volume.virtual import VirtualNodes
from agentfs.volume.volume import Volume

_LOG = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
"""Without news the home is looked at this often: for a link that somebody made through this very mount."""
_RETRY_SECONDS_FIRST = 0.5
_RETRY_SECONDS_MAX = 15.0
_LEAVE_LOOK_SECONDS = 0.2
_CLOSE_SLACK_SECONDS = 30.0


@dataclass(slots=True)
class _Shown:
    """One attached space, from its first to its last moment here."""

    attachment: Attachment
    directory: int
    """The inode of the home's `spaces`."""
    twin: Attachment | None
    """Where the same space is attached already: a directory has one place only."""
    ended: threading.Event = field(default_factory=threading.Event)
    tried: threading.Event = field(default_factory=threading.Event)
    """It was opened, or could not be."""
    problem: str = "it is being opened"
    """Why nobody can enter it; empty when it is shown."""
    volume: Volume | None = None
    """While it is shown."""
    thread: threading.Thread | None = None
    left: Pending = field(default_factory=lambda: Pending(0, 0, None))


class MountedSpaces:
    """`start` after the mount stands, `close` after it has ended."""

    def __init__(self, settings: Settings, home: Volume, mountpoint: str, *, clock: Clock) -> None:
        self._settings = settings
        self._home = home
        self._mountpoint = mountpoint
        self._clock = clock
        self._mount: FuseMount | None = None
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._showing = threading.Lock()
        """Held while a name is shown or hidden, so that what has ended is not shown after all."""
        self._shown: dict[tuple[Attachment, int, Attachment | None], _Shown] = {}
        self._leaving: list[_Shown] = []
        self._looked_at = -1
        self._closing = False
        self._timeout_seconds: float | None = None
        self._thread = threading.Thread(target=self._run, name="spaces", daemon=True)

    def hold_back(self, directory: int, link: Attributes) -> bool:
        """See `fuse.points.HoldBack`: what attaches a space is never shown as the link that it is."""
        if link.size_bytes <= len(TARGET):
            return False
        tree = self._home.tree
        return space_of(tree.readlink(link.ino)) is not None and tree.lookup(ROOT, DIRECTORY).ino == directory

    # ---- what is attached ----

    def start(self, mount: FuseMount) -> None:
        """Show what is attached, now and from now on. Does not wait."""
        self._mount = mount
        self._home.on_news(self._news.set, own_changes=False)
        self._try_to_look()
        self._thread.start()

    def await_first(self, seconds: float) -> None:
        """Wait until each space that is attached now was opened, or could not be; at most `seconds`."""
        deadline = self._clock.monotonic() + seconds
        for shown in self._all():
            self._clock.wait(shown.tried, max(0.0, deadline - self._clock.monotonic()))

    def _run(self) -> None:
        while not self._closing:
            self._clock.wait(self._news, _LOOK_SECONDS)
            self._news.clear()
            if not self._closing:
                self._try_to_look()

    def _try_to_look(self) -> None:
        try:
            self._look()
        except AgentFSError as error:
            _LOG.warning("cannot tell which spaces are attached: %s; looking again", error)

    def _look(self) -> None:
        end = self._home.replica.journal_end()
        if end == self._looked_at:
            return
        found = attachments(self._home)
        directory = self._home.tree.lookup(ROOT, DIRECTORY).ino if found else 0
        with self._lock:
            first = {each.space: each for each in reversed(found)}
            entered = [each.attachment for each in self._shown.values() if each.twin is None]
            first |= {each.space: each for each in entered if each in found}
            wanted = {(each, directory, None if first[each.space] == each else first[each.space]) for each in found}
            over = [self._shown.pop(key) for key in self._shown.keys() - wanted]
            self._leaving = [each for each in self._leaving if each.thread is None or each.thread.is_alive()] + over
        for shown in over:
            self._hide(shown)
        with self._lock:
            for key in sorted(wanted - self._shown.keys(), key=lambda key: key[0].name):
                self._shown[key] = self._begin(_Shown(*key))
        self._looked_at = end

    def _begin(self, shown: _Shown) -> _Shown:
        def run() -> None:
            try:
                self._live(shown)
            except Exception as error:  # noqa: BLE001 - one space must not take the mount with it
                _LOG.exception("the space %s cannot be shown", shown.attachment.space)
                self._refuse(shown, f"{type(error).__name__}: see the mount's log")

        shown.thread = threading.Thread(target=run, name=f"space-{shown.attachment.space}", daemon=True)
        shown.thread.start()
        return shown

    # ---- one space, on its own thread ----

    @property
    def _parts(self) -> Parts:
        assert self._mount is not None
        return self._mount.parts

    def _live(self, shown: _Shown) -> None:
        volume = self._opened(shown)
        if volume is None:
            return
        try:
            parts, number = (
                self._parts,
                self._parts.add(
                    volume.tree,
                    journal_end=volume.replica.journal_end,
                    shared_locks=SharedLocks(volume),
                    virtual=VirtualNodes(volume),
                ),
            )
            volume.on_news(lambda: parts.wake(number), own_changes=False)
            self._show(shown, number, "")
            shown.volume = volume
            _LOG.info("the space %s is at %s", shown.attachment.space, shown.attachment.place)
            shown.ended.wait()
            shown.volume = None
            while not self._closing and not parts.remove(number):
                self._clock.wait(threading.Event(), _LEAVE_LOOK_SECONDS)
        finally:
            shown.left = volume.close(timeout_seconds=self._timeout_seconds if self._closing else None)
            _LOG.info("the space %s is closed", shown.attachment.space)

    def _opened(self, shown: _Shown) -> Volume | None:
        """The space's volume, as soon as it can be opened; None when it was detached before."""
        wait = _RETRY_SECONDS_FIRST
        attachment = shown.attachment
        if shown.twin is not None:
            self._refuse(shown, f"it is attached as {shown.twin.place} already")
            shown.ended.wait()
        while not shown.ended.is_set():
            try:
                return open_space(
                    self._settings,
                    attachment.space,
                    agent=self._home.volume_id,
                    session_kind="mount",
                    engine="process",
                    mountpoint=os.path.join(os.fsencode(self._mountpoint), DIRECTORY, attachment.name),
                    clock=self._clock,
                )
            except AgentFSError as error:
                self._refuse(shown, str(error))
                self._clock.wait(shown.ended, wait)
                wait = min(2 * wait, _RETRY_SECONDS_MAX)
        return None

    def _refuse(self, shown: _Shown, problem: str) -> None:
        if problem != shown.problem:
            attachment = shown.attachment
            _LOG.warning("the space %s at %s cannot be opened: %s", attachment.space, attachment.place, problem)
        self._show(shown, None, problem)

    def _show(self, shown: _Shown, number: int | None, problem: str) -> None:
        with self._showing:
            shown.problem = problem
            if not shown.ended.is_set():
                self._parts.show(shown.directory, shown.attachment.name, number, problem=problem)
        shown.tried.set()

    def _hide(self, shown: _Shown) -> None:
        with self._showing:
            shown.ended.set()
            self._parts.hide(shown.directory, shown.attachment.name)

    # ---- telling ----

    def _all(self) -> list[_Shown]:
        with self._lock:
            return list(self._shown.values())

    def facts(self) -> list[Message]:
        """What is attached, and why what cannot be entered cannot."""
        return [
            {
                "space": shown.attachment.space,
                "place": shown.attachment.place,
                "directory": space_directory(self._settings, shown.attachment.space, self._home.volume_id),
                "problem": shown.problem,
            }
            for shown in self._all()
        ]

    def memories(self) -> list[Memory]:
        """Those that can be asked."""
        return [
            Memory(DIRECTORY + b"/" + shown.attachment.name, functools.partial(_link_of, volume))
            for shown in self._all()
            if (volume := shown.volume) is not None
        ]

    def journal_ends(self) -> list[int]:
        """Of those that can be asked. They stay while nothing changes there."""
        found = []
        for shown in self._all():
            if (volume := shown.volume) is not None:
                with contextlib.suppress(AgentFSError):  # it is closed in this moment
                    found.append(volume.replica.journal_end())
        return found

    # ---- the end ----

    def begin_close(self, *, timeout_seconds: float | None) -> None:
        """The mount is over: push and close all spaces, each on its own thread. See `Volume.close`."""
        with self._lock:
            self._closing = True
            self._timeout_seconds = timeout_seconds
            for shown in (*self._shown.values(), *self._leaving):
                shown.ended.set()
        self._news.set()
        self._thread.join(_LOOK_SECONDS)

    def end_close(self, seconds: float) -> dict[str, Pending]:
        """Wait for that, at most `seconds` and a little. What is still only on this machine, by the space's place."""
        deadline = self._clock.monotonic() + seconds + _CLOSE_SLACK_SECONDS
        left = {}
        for shown in (*self._all(), *self._leaving):
            assert shown.thread is not None
            shown.thread.join(max(0.0, deadline - self._clock.monotonic()))
            pending = shown.left if not shown.thread.is_alive() else self._pending(shown)
            if pending.changes:
                left[shown.attachment.place] = pending
        return left

    def _pending(self, shown: _Shown) -> Pending:
        try:
            return peek_pending(space_directory(self._settings, shown.attachment.space, self._home.volume_id))
        except AgentFSError:
            return Pending(0, 0, None)


def _link_of(volume: Volume) -> EngineLink:
    return volume.link
