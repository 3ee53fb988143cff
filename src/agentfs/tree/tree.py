"""The tree: the POSIX-like operations on one replica, composed of their topics. Faces call these and nothing below.

All operations are synchronous, thread-safe, and raise only `agentfs.errors`. A change of names or attributes survives
`kill -9` when its method returns; what is written survives it after `flush`, and a power cut after `fsync`.
Permissions are the face's affair (the kernel checks them on a mount).
"""

from agentfs.clock import Clock
from agentfs.errors import Unavailable
from agentfs.replica.journal import JournalRow
from agentfs.replica.replica import Replica
from agentfs.tree.attributes import AttributeOperations
from agentfs.tree.bytes_io import BytesIO
from agentfs.tree.directories import Directories
from agentfs.tree.entries import Entries
from agentfs.tree.ground import Ground
from agentfs.tree.hydration import Hydrator
from agentfs.tree.open_files import OpenFiles
from agentfs.tree.options import TreeOptions
from agentfs.tree.renames import Renames
from agentfs.tree.whole_files import WholeFiles
from agentfs.tree.xattrs import ExtendedAttributes


class Tree:
    """One per process and replica. The methods are those of the topics, bound here without a call in between."""

    def __init__(
        self,
        replica: Replica,
        *,
        session: int | None = None,
        clock: Clock | None = None,
        hydrator: Hydrator | None = None,
        options: TreeOptions | None = None,
    ) -> None:
        """`session` and `clock` default to the replica's. Without a `hydrator`, bytes that are not here are
        `Unavailable`."""
        self._replica = replica
        self._hydrator = hydrator
        ground = Ground(
            replica,
            session=replica.session if session is None else session,
            clock=clock or replica.clock,
            options=options or TreeOptions(),
        )
        self._ground = ground
        entries, renames, files = Entries(ground), Renames(ground), OpenFiles(ground)
        bytes_io, directories, xattrs = BytesIO(ground, files), Directories(ground), ExtendedAttributes(ground)
        attributes = AttributeOperations(ground, bytes_io)
        whole = WholeFiles(ground, xattrs)
        self._files = files

        self.lookup = entries.lookup
        self.readlink = entries.readlink
        self.mkdir = entries.mkdir
        self.mknod = entries.mknod
        self.symlink = entries.symlink
        self.link = entries.link
        self.unlink = entries.unlink
        self.rmdir = entries.rmdir
        self.rename = renames.rename
        self.make_file = whole.make_file

        self.attributes = attributes.attributes
        self.set_attributes = attributes.set_attributes
        self.statistics = attributes.statistics

        self.create = files.create
        self.open = files.open
        self.flush = files.flush
        self.fsync = files.fsync
        self.release = files.release
        self.let_go = files.let_go

        self.read = bytes_io.read
        self.write = bytes_io.write
        self.fallocate = bytes_io.fallocate
        self.seek = bytes_io.seek
        self.copy_range = bytes_io.copy_range

        self.open_directory = directories.open_directory
        self.read_directory = directories.read_directory
        self.read_directory_plus = directories.read_directory_plus
        self.release_directory = directories.release_directory
        self.fsync_directory = directories.fsync_directory

        self.get_xattr = xattrs.get_xattr
        self.set_xattr = xattrs.set_xattr
        self.list_xattrs = xattrs.list_xattrs
        self.remove_xattr = xattrs.remove_xattr

        self.forget = ground.forget

    def hydrate(self, ino: int) -> None:
        """Fetch the bytes of `ino`; blocks. Raises `Unavailable` when that cannot be done now."""
        if self._hydrator is None:
            raise Unavailable("the bytes are not on this machine, and nothing here can fetch them")
        self._hydrator.hydrate(ino)

    def changes_since(self, journal_id: int, limit: int) -> list[JournalRow]:
        """Changes after journal row `journal_id` that this process did not make (the engine's pulls, other
        processes), at most `limit`, oldest first: what a face must drop from its caches."""
        return self._replica.journal_after_by_others(journal_id, session=self._ground.session, limit=limit)

    def close(self) -> None:
        """Release what is open. The replica stays open: whoever opened it closes it."""
        self._files.close()
