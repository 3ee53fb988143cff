"""`--durability remote`: a tree whose fsync waits for the store."""

from collections.abc import Callable

from agentfs.tree.tree import Tree
from agentfs.tree.values import Handle


def wait_for_store(tree: Tree, push: Callable[[], None]) -> None:
    """Let `fsync` and `fsync_directory` of `tree` return only when the change survives the loss of this machine.

    `push` returns when everything pending is in the store, files that are open for writing as they are now
    included; what it raises, they raise. They wait for the network then: the face calls them where that is allowed.
    """
    fsync, fsync_directory = tree.fsync, tree.fsync_directory

    def fsync_remotely(handle: Handle, *, data_only: bool) -> None:
        """See `Tree.fsync`; then the store."""
        fsync(handle, data_only=data_only)
        push()

    def fsync_directory_remotely(ino: int) -> None:
        """See `Tree.fsync_directory`; then the store."""
        fsync_directory(ino)
        push()

    tree.fsync = fsync_remotely
    tree.fsync_directory = fsync_directory_remotely
