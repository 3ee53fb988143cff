"""What an import asks of the log: the tree at its end, and what was before (docs/view.md, V-81 ff.)."""

from typing import Protocol

from agentfs.model.records import Content, InodeId, InodeRecord


class LogTree(Protocol):
    """A volume's tree right after entry `sequence`, and its history. Nothing that is pending on a machine is in it.

    Any method may raise `StoreError`; the import is then tried again as a whole.
    """

    @property
    def volume(self) -> str:
        """Its name in the log: `home-ada`."""
        ...

    @property
    def sequence(self) -> int:
        """The entry after which this is the tree."""
        ...

    @property
    def digest(self) -> bytes:
        """Of that entry: the next commit's parent."""
        ...

    @property
    def time_ns(self) -> int:
        """Hybrid-logical time of that entry."""
        ...

    def child(self, parent: InodeId, name: bytes) -> InodeId | None:
        """What the name means; None: nothing."""
        ...

    def record(self, inode: InodeId) -> InodeRecord | None:
        """The whole state of an inode, of one that was removed its last; None: the log has none such."""
        ...

    def place(self, inode: InodeId) -> tuple[InodeId, bytes] | None:
        """A directory and a name that mean the file, the same on every machine; None: it is not in the tree."""
        ...

    def is_locked(self, inode: InodeId) -> bool:
        """Whether somebody holds the file's lock: only its holder may change it (docs/format.md, F-93)."""
        ...

    def content_at(self, inode: InodeId, sequence: int) -> Content | None:
        """The content that the file had right after that entry; None: it was not there then, or nobody knows."""
        ...

    def newest_before(self, inode: InodeId, time_ns: int) -> Content | None:
        """The content that the file had at that time of the log; None: it did not exist yet, or nobody knows."""
        ...

    def digests_since(self, inode: InodeId, time_ns: int) -> frozenset[bytes]:
        """The SHA-256 of every content that the file had at that time of the log or later."""
        ...

    def was_at(self, inode: InodeId, sequence: int, path: bytes) -> bool:
        """Whether the file had that path right after that entry, or later: a version is shown at all its names."""
        ...

    def removed_at_ns(self, path: bytes) -> int | None:
        """When the path ceased to mean anything, by the clock that dates objects; None: it never did, or it does."""
        ...

    def came_back_ns(self, path: bytes) -> int | None:
        """The time of the commit from which on the path means what it does, where it had meant something before and
        nothing in between; None: it was never gone, or is."""
        ...

    def last_file(self, path: bytes) -> InodeId | None:
        """The file that the path meant last, or means; None: it never meant one, or nobody knows."""
        ...

    def last_directory(self, path: bytes) -> InodeRecord | None:
        """The directory that the path meant last; None: it never meant one, or nobody knows."""
        ...

    def collected_ns(self, sequence: int) -> int | None:
        """The commit was collected: the time of the entry that stands for it. None: the log has it, or never did."""
        ...

    def was_put(self, name: str, digest: bytes) -> bool:
        """Whether a commit took in an object of that name with exactly these bytes."""
        ...

    def was_imported(self, name: str, digest: bytes, modified_s: int) -> bool:
        """Whether a commit took in exactly this object: its name below the view's prefix, its bytes, its time."""
        ...

    def bytes_of(self, content: Content) -> bytes | None:
        """All of it, verified; None: it was collected."""
        ...
