"""The volumes that the paths of a home lead through: its own, and those of the spaces that are attached to it."""

import contextlib
import threading

from agentfs.errors import AgentFSError, NotFound, StoreError, SyncTimedOut
from agentfs.model.records import Kind
from agentfs.tree.values import Attributes
from agentfs.volume.spaces import (
    DIRECTORY,
    Attachment,
    attach,
    attachments,
    check_space,
    detach,
    is_here,
    open_space,
    space_directory,
    space_of,
)
from agentfs.volume.status import peek_pending
from agentfs.volume.volume import EngineMode, Volume

_ROOT = 1


class Volumes:
    """Spaces are opened when a path leads into them first, and stay open until `close`. Safe from any thread."""

    def __init__(self, home: Volume, *, session_kind: str, engine: EngineMode, has_spaces: bool = True) -> None:
        """`home` may be a space, opened by itself; in a space no other is attached (`has_spaces` off)."""
        self.home = home
        self._session_kind = session_kind
        self._engine: EngineMode = engine
        self._has_spaces = has_spaces
        self._lock = threading.Lock()
        self._opened: dict[str, Volume] = {}

    def without_spaces(self) -> "Volumes":
        """The home alone: what attaches a space is shown as the link that it is."""
        return Volumes(self.home, session_kind=self._session_kind, engine=self._engine, has_spaces=False)

    # ---- paths ----

    def space_at(self, volume: Volume, directory: int, found: Attributes) -> str | None:
        """The space that is attached at an entry of a directory; None: the entry is what it seems to be."""
        if found.kind is not Kind.SYMLINK or not self._has_spaces or volume is not self.home:
            return None
        space = space_of(volume.tree.readlink(found.ino))
        return space if space is not None and directory == self._directory() else None

    def _directory(self) -> int:
        try:
            return self.home.tree.lookup(_ROOT, DIRECTORY).ino
        except NotFound:
            return 0

    def enter(self, space: str) -> Volume:
        """The space's volume. Raises what `open_space` raises."""
        with self._lock:
            volume = self._opened.get(space)
            if volume is None:
                home = self.home
                volume = self._opened[space] = open_space(
                    home.settings,
                    space,
                    agent=home.volume_id,
                    session_kind=self._session_kind,
                    engine=self._engine,
                    clock=home.clock,
                )
            return volume

    def only(self, space: str) -> "Volumes":
        """A space by itself, as if it were a home. It shares the space's volume, and is not closed."""
        return Volumes(self.enter(space), session_kind=self._session_kind, engine=self._engine, has_spaces=False)

    # ---- attaching ----

    def attached(self) -> list[Attachment]:
        """What is attached, by name."""
        return attachments(self.home) if self._has_spaces else []

    def attach(self, space: str, name: bytes | None) -> Attachment:
        """See `spaces.attach`. A space that this machine has no copy of must be on the store: raises `NotFound`."""
        home = self.home
        if not is_here(home.settings, space, home.volume_id):
            check_space(home.settings, space, clock=home.clock)
        return attach(home, space, name)

    def detach(self, which: str, *, force: bool) -> Attachment:
        """See `spaces.detach`. What is pending in the space is pushed first: raises `SyncTimedOut` when that fails,
        unless `force` (it then stays on this machine, and goes when the space is opened again)."""
        encoded = which.encode()
        found = next((each for each in self.attached() if encoded in (each.name, each.space.encode())), None)
        if found is not None and self._pending(found.space):
            try:
                self.enter(found.space).sync()
            except (SyncTimedOut, StoreError) as error:
                if not force:
                    raise SyncTimedOut(
                        f"the space {found.space} has changes that are only on this machine: {error}; --force "
                        "detaches it all the same"
                    ) from error
        gone = detach(self.home, which)
        with self._lock:
            volume = self._opened.pop(gone.space, None)
        if volume is not None:
            volume.close()
        return gone

    # ---- the store ----

    def opened(self) -> list[Volume]:
        """The spaces that are open."""
        with self._lock:
            return list(self._opened.values())

    def behind(self) -> list[Volume]:
        """The attached spaces that are open or have something pending on this machine."""
        for found in self.attached():
            if found.space not in self._opened and self._pending(found.space):
                self.enter(found.space)
        return self.opened()

    def here(self) -> list[Volume]:
        """The attached spaces that this machine has a copy of."""
        home = self.home
        for found in self.attached():
            if is_here(home.settings, found.space, home.volume_id):
                self.enter(found.space)
        return self.opened()

    def _pending(self, space: str) -> bool:
        home = self.home
        if not is_here(home.settings, space, home.volume_id):
            return False
        try:
            return bool(peek_pending(space_directory(home.settings, space, home.volume_id)).changes)
        except AgentFSError:  # just being made by another process, or damaged: opening it tells
            return True

    def close(self, *, push: bool) -> None:
        """Close all, the home last. Repeating it is harmless."""
        with self._lock:
            opened = list(self._opened.values())
            self._opened.clear()
        with contextlib.ExitStack() as closing:
            closing.callback(self.home.close, push=push)
            for volume in opened:
                closing.callback(volume.close, push=push)
