"""What the parts of the face share."""

from dataclasses import dataclass

from agentfs.clock import Clock
from agentfs.errors import OtherVolume
from agentfs.fuse.locks import Locks
from agentfs.fuse.nodes import Nodes
from agentfs.fuse.open_files import OpenFiles
from agentfs.fuse.operations import Operations
from agentfs.fuse.options import FuseOptions
from agentfs.fuse.points import Points
from agentfs.fuse.replies import Replies
from agentfs.fuse.session import Request
from agentfs.fuse.virtual import VirtualNames
from agentfs.fuse.wire import BODY, INO_MAX, PART_SHIFT


@dataclass(frozen=True, slots=True)
class Context:
    tree: Operations
    options: FuseOptions
    clock: Clock
    replies: Replies
    nodes: Nodes
    files: OpenFiles
    points: Points
    part: int
    """The number of the part that this is."""
    locks: Locks | None = None
    """None: the kernel does them."""
    virtual: VirtualNames | None = None
    """What names that the tree does not have may mean."""

    def own(self, node: int) -> int:
        """The inode of a second node that a request names. Raises `OtherVolume` when it is another part's."""
        if node >> PART_SHIFT != self.part:
            raise OtherVolume("that leads from one volume into another: copy instead")
        return node & INO_MAX


def one_name(request: Request, offset: int = 0) -> bytes:
    """The single name that ends a request whose fixed part is `offset` bytes long."""
    return bytes(request.data[BODY + offset : request.length - 1])


def two_names(request: Request, offset: int = 0) -> tuple[bytes, bytes]:
    first, _, second = bytes(request.data[BODY + offset : request.length - 1]).partition(b"\0")
    return first, second
