"""The face: which part answers which request."""

from agentfs.clock import Clock
from agentfs.errors import NotResident, Unavailable
from agentfs.fuse import wire
from agentfs.fuse.attributes import AttributeRequests
from agentfs.fuse.context import Context
from agentfs.fuse.directories import Directories
from agentfs.fuse.entries import Entries
from agentfs.fuse.files import Files
from agentfs.fuse.nodes import Nodes
from agentfs.fuse.notify import Notifier
from agentfs.fuse.open_files import OpenFiles
from agentfs.fuse.operations import Operations
from agentfs.fuse.options import FuseOptions
from agentfs.fuse.passthrough import Backings
from agentfs.fuse.replies import Replies
from agentfs.fuse.session import Handler, Request

_HYDRATIONS_MAX = 3
"""Bytes that were fetched can be evicted before the second try; more often than this is a fault."""


class Face:
    """Translates one mount's requests to `tree`. It holds no rules: only what the kernel was told."""

    def __init__(
        self, tree: Operations, options: FuseOptions, *, clock: Clock, backings: Backings, notifier: Notifier
    ) -> None:
        self._tree = tree
        self.files = OpenFiles(tree, backings)
        context = Context(
            tree=tree,
            options=options,
            clock=clock,
            replies=Replies(options),
            nodes=Nodes(self._forgotten),
            files=self.files,
        )
        self._entries = Entries(context)
        self._attributes = AttributeRequests(context)
        self._files = Files(context, notifier)
        self._directories = Directories(context)

    def table(self) -> dict[int, Handler]:
        return {
            **self._entries.table(),
            **self._attributes.table(),
            **self._files.table(),
            **self._directories.table(),
        }

    def retry(self, error: Exception, handler: Handler) -> Handler | None:
        """Missing bytes are fetched where waiting is allowed, and the request is handled again."""
        if not isinstance(error, NotResident):
            return None
        ino = error.ino

        def again(request: Request) -> bytes | int | None:
            for _ in range(_HYDRATIONS_MAX):
                self._tree.hydrate(ino)
                try:
                    return handler(request)
                except NotResident:
                    continue
            raise Unavailable(f"the bytes of inode {ino} were evicted as fast as they were fetched")

        return again

    def unanswered(self, opcode: int, body: bytes) -> None:
        if opcode == wire.OPENDIR:
            self._directories.unanswered(body)
        else:
            self._files.unanswered(opcode, body)

    def _forgotten(self, ino: int) -> None:
        self.files.forgotten(ino)
        self._directories.forgotten(ino)
        self._tree.forget(ino)
