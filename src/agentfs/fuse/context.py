"""What the parts of the face share."""

from dataclasses import dataclass

from agentfs.clock import Clock
from agentfs.errors import Unavailable
from agentfs.fuse.nodes import Nodes
from agentfs.fuse.open_files import OpenFiles
from agentfs.fuse.operations import Operations
from agentfs.fuse.options import FuseOptions
from agentfs.fuse.replies import Replies
from agentfs.fuse.session import Handler, Request, Waits
from agentfs.fuse.wire import BODY
from agentfs.tree.hydration import NotResident

_HYDRATIONS_MAX = 3
"""Bytes that were fetched can be evicted before the second try; more often than this is a fault."""


@dataclass(frozen=True, slots=True)
class Context:
    tree: Operations
    options: FuseOptions
    clock: Clock
    replies: Replies
    nodes: Nodes
    files: OpenFiles

    def hydrated(self, handler: Handler, error: NotResident) -> Waits:
        """To raise when `handler` found bytes missing: fetches them where waiting is allowed and handles again."""
        ino = error.ino

        def again(request: Request) -> bytes | int | None:
            for _ in range(_HYDRATIONS_MAX):
                self.tree.hydrate(ino)
                try:
                    return handler(request)
                except Waits:
                    continue
            raise Unavailable(f"the bytes of inode {ino} were evicted as fast as they were fetched")

        return Waits(again)


def one_name(request: Request, offset: int = 0) -> bytes:
    """The single name that ends a request whose fixed part is `offset` bytes long."""
    return bytes(request.data[BODY + offset : request.length - 1])


def two_names(request: Request, offset: int = 0) -> tuple[bytes, bytes]:
    first, _, second = bytes(request.data[BODY + offset : request.length - 1]).partition(b"\0")
    return first, second
