"""Telling the engine that a volume is being looked at: it then asks the log once a second instead of every fifteen.

The kernel answers `stat` and cached reads by itself, but every `open(2)` and `opendir(3)` passes here.
"""

from collections.abc import Callable

from agentfs.tree.tree import Tree
from agentfs.tree.values import Handle


def touch_on_use(tree: Tree, touch: Callable[[], None]) -> None:
    """Call `touch`, which must not wait, at each opening of a file or directory of `tree`."""
    open_file, open_directory = tree.open, tree.open_directory

    def opening_file(
        ino: int, flags: int, *, direct: bool = False, reader: int = 0, following: bool = False
    ) -> Handle:
        """See `Tree.open`."""
        touch()
        return open_file(ino, flags, direct=direct, reader=reader, following=following)

    def opening_directory(ino: int) -> int:
        """See `Tree.open_directory`."""
        touch()
        return open_directory(ino)

    tree.open = opening_file
    tree.open_directory = opening_directory
