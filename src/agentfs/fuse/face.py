"""The face: which part answers which request."""

from dataclasses import replace

from agentfs.clock import Clock
from agentfs.errors import NotFound, NotResident, Unavailable
from agentfs.fuse import wire
from agentfs.fuse.attributes import AttributeRequests
from agentfs.fuse.context import Context
from agentfs.fuse.directories import Directories
from agentfs.fuse.entries import Entries
from agentfs.fuse.files import Files
from agentfs.fuse.locks import Locks
from agentfs.fuse.nodes import Nodes
from agentfs.fuse.notify import Notifier
from agentfs.fuse.open_files import OpenFiles
from agentfs.fuse.operations import Operations
from agentfs.fuse.options import FuseOptions
from agentfs.fuse.passthrough import Backings
from agentfs.fuse.points import HoldBack, Points
from agentfs.fuse.read_only import unchanging
from agentfs.fuse.replies import Replies
from agentfs.fuse.session import Handler, Request
from agentfs.fuse.virtual import VirtualNames
from agentfs.tree.values import Attributes

_HYDRATIONS_MAX = 3
"""Bytes that were fetched can be evicted before the second try; more often than this is a fault."""


class Face:
    """Translates one part's requests to `tree`. It holds no rules: only what the kernel was told."""

    def __init__(
        self,
        tree: Operations,
        options: FuseOptions,
        *,
        clock: Clock,
        backings: Backings,
        notifier: Notifier,
        part: int = 0,
        read_only: bool = False,
        hold_back: HoldBack | None = None,
        locks: Locks | None = None,
        virtual: VirtualNames | None = None,
    ) -> None:
        self._tree = tree
        self._read_only = read_only
        self.files = OpenFiles(tree, backings, flush_readers=locks is not None)
        self._locks = locks
        self.nodes = Nodes(self._forgotten)
        self.points = Points(tree, hold_back)
        context = Context(
            tree=tree,
            options=options,
            clock=clock,
            replies=Replies(options, part=part),
            nodes=self.nodes,
            files=self.files,
            points=self.points,
            part=part,
            locks=locks,
            virtual=virtual,
        )
        self._passing = Replies(replace(options, entry_seconds=0, attribute_seconds=0), part=part)
        self._replies = context.replies
        self._entries = Entries(context)
        self._attributes = AttributeRequests(context)
        self._files = Files(context, notifier)
        self.directories = Directories(context)

    def table(self) -> dict[int, Handler]:
        table = {
            **self._entries.table(),
            **self._attributes.table(),
            **self._files.table(),
            **self.directories.table(),
            **(self._locks.table() if self._locks is not None else {}),
        }
        return unchanging(table) if self._read_only else table

    def root_entry(self) -> bytes:
        """The kernel's entry of the root, counted as a reference to it."""
        packed = self._replies.entry(self._tree.attributes(wire.ROOT_NODE))
        self.nodes.refer(wire.ROOT_NODE)
        return packed

    def passing_entry(self, attributes: Attributes) -> bytes:
        """The kernel's entry of an inode that a name of another part leads to just now: the kernel is to ask again at
        each use. Counted as a reference."""
        self.nodes.refer(attributes.ino)
        return self._passing.entry(attributes)

    def ino_of(self, directory: int, name: bytes) -> int:
        """What the tree has at a name; 0 for nothing."""
        try:
            return self._tree.lookup(directory, name).ino
        except NotFound:
            return 0

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

    def end(self) -> None:
        """The conversation is over: release what is open."""
        self.files.release_all()
        if self._locks is not None:
            self._locks.end()

    def unanswered(self, opcode: int, body: bytes) -> None:
        if opcode == wire.OPENDIR:
            self.directories.unanswered(body)
        else:
            self._files.unanswered(opcode, body)

    def _forgotten(self, ino: int) -> None:
        self.files.forgotten(ino)
        self.directories.forgotten(ino)
        self._tree.forget(ino)
