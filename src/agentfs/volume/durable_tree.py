"""`--durability remote`: a tree whose fsync waits for the store."""

from collections.abc import Callable

from agentfs.tree.tree import Tree
from agentfs.tree.values import Handle


class RemoteDurableTree(Tree):
    """As `Tree`, but after `fsync` a change survives the loss of this machine. The calls wait for the network: the
    face makes them where waiting is allowed."""

    push: Callable[[], None]
    """Returns when everything pending is in the store; raises what `Volume.sync` raises."""

    def fsync(self, handle: Handle, *, data_only: bool) -> None:
        """See `Tree.fsync`; then the store. Raises `SyncTimedOut` too."""
        super().fsync(handle, data_only=data_only)
        self.push()

    def fsync_directory(self, ino: int) -> None:
        """See `Tree.fsync_directory`; then the store."""
        super().fsync_directory(ino)
        self.push()
