"""Opening a file whose bytes may still be in the store."""

from agentfs.errors import Unavailable
from agentfs.tree.hydration import NotResident
from agentfs.tree.tree import Tree
from agentfs.tree.values import Handle

_TRIES_MAX = 8


def open_resident(tree: Tree, ino: int, flags: int, *, direct: bool = False) -> Handle:
    """`Tree.open`, with the bytes fetched first where they are not here. Waits for the store then.

    A file that another machine changes all the time may change again between fetch and open; after some tries
    it is `Unavailable`. Raises what `Tree.open` and `Tree.hydrate` raise.
    """
    for _ in range(_TRIES_MAX):
        try:
            return tree.open(ino, flags, direct=direct)
        except NotResident:
            tree.hydrate(ino)
    raise Unavailable("the file changes faster than it can be fetched: try again")
