"""Names in a part that lead into another one: attach points.

The tree may have something at such a name (a space's symbolic link) or nothing; the kernel is shown a directory.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from agentfs.errors import Attached, NotFound, Unavailable
from agentfs.fuse.operations import Operations
from agentfs.model.records import Kind
from agentfs.tree.values import Attributes

HoldBack = Callable[[int, Attributes], bool]
"""(directory, a symbolic link in it) → whether it is a point that will be shown soon, never a link. Must not wait."""
_OPENING_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Point:
    """What a name leads to."""

    ino: int
    """What programs see as its number in a listing."""
    entry: Callable[[], bytes] | None
    """The kernel's entry of the part's root, counted as a reference; None: it cannot be opened."""
    problem: str = ""
    """Why it cannot."""

    def enter(self) -> bytes:
        """Raises `Unavailable`: never an empty directory, which a backup would take for a deletion."""
        if self.entry is None:
            raise Unavailable(self.problem)
        return self.entry()


class Points:
    """The points in the directories of one part. The reader thread looks, another one changes: a directory's names
    are replaced whole, never changed in place."""

    def __init__(self, tree: Operations, hold_back: HoldBack | None = None) -> None:
        self._tree = tree
        self._hold_back = hold_back
        self._changed = threading.Condition()
        self.below: dict[int, dict[bytes, Point]] = {}
        """Directory → name → point."""

    def awaited(self, directory: int, name: bytes) -> Point:
        """The point at a name that is held back, as soon as somebody shows it. Waits; raises `Unavailable` when it
        takes too long."""
        with self._changed:
            self._changed.wait_for(lambda: name in self.below.get(directory, ()), _OPENING_SECONDS_MAX)
            point = self.below.get(directory, {}).get(name)
        if point is None:
            raise Unavailable("this space is being opened: try again in a moment")
        return point

    def put(self, directory: int, name: bytes, point: Point) -> None:
        with self._changed:
            self.below[directory] = {**self.below.get(directory, {}), name: point}
            self._changed.notify_all()

    def take(self, directory: int, name: bytes) -> None:
        left = {known: point for known, point in self.below.get(directory, {}).items() if known != name}
        if left:
            self.below[directory] = left
        else:
            self.below.pop(directory, None)

    def held_back(self, directory: int, attributes: Attributes) -> bool:
        """Whether a symbolic link may not be shown: it is an attach point that nobody has opened yet."""
        if self._hold_back is None or attributes.kind is not Kind.SYMLINK:
            return False
        return self._hold_back(directory, attributes)

    def protect(self, directory: int, name: bytes) -> None:
        """Raise `Attached` when the name is a point, or a directory that has points."""
        if not self.below:
            return
        if name in self.below.get(directory, ()):
            raise Attached("a space is attached there: agentfs space detach takes it away")
        try:
            found = self._tree.lookup(directory, name)
        except NotFound:
            return
        if found.ino in self.below:
            raise Attached("spaces are attached in that directory: detach them first")
