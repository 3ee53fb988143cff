"""What a collection did, or would do."""

from dataclasses import dataclass


@dataclass(slots=True)
class CollectionReport:
    """Counts and bytes of one volume. With `dry_run` they say what would be done."""

    volume: str
    policy: str
    dry_run: bool = False
    now_s: float = 0.0
    """The store's time."""
    head: int = 0
    """The last entry of the log."""
    horizon: int = 0
    """Up to it commits are stubs."""
    announced: int = 0
    """The number of the collection; 0: nothing new was announced."""
    commits: int = 0
    """Commits that became stubs …"""
    commit_bytes: int = 0
    """… and what they took, as far as it is known."""
    snapshots: int = 0
    snapshot_bytes: int = 0
    indexes: int = 0
    index_bytes: int = 0
    """Of search and recall, that hold texts of what was collected."""
    packs: int = 0
    pack_bytes: int = 0
    """Packs that were replaced by others, or in which nothing was kept."""
    chunks: int = 0
    chunk_bytes: int = 0
    packed: int = 0
    """Contents that were moved into packs …"""
    packed_bytes: int = 0
    versions: int = 0
    """States of files of which the history is kept although their commits are gone."""
    pins: int = 0
    requests: int = 0
    why_not: str = ""
    """Why no commit was collected; empty when some were, or will be."""
    overtaken: bool = False
    """Another collector was faster: call again."""

    @property
    def freed_bytes(self) -> int:
        """Bytes that went, less those that came in packs."""
        gone = self.commit_bytes + self.snapshot_bytes + self.index_bytes + self.pack_bytes + self.chunk_bytes
        return max(0, gone - self.packed_bytes)
