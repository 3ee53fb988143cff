"""What is kept (docs/format.md, F-118): contents inside commits that may become stubs, and chunks."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from agentfs.format.commit import split_digests
from agentfs.format.snapshot_rows import PLACE_CHUNKED, PLACE_INLINE, SnapshotRows
from agentfs.model.records import ChunkedContent, Commit, Content, InlineContent

_PLACES_MAX = 4
"""Of one content that are remembered: it may be read from any."""


@dataclass(slots=True)
class Kept:
    """A growing set of contents."""

    first: int
    """Commits below are another volume's (a fork's parent keeps them) …"""
    horizon: int
    """… and those above stay as they are."""
    inline: dict[bytes, list[InlineContent]] = field(default_factory=dict)
    """By digest: where they were put, in commits from `first` to `horizon`. None is empty."""
    needed: set[bytes] = field(default_factory=set)
    """Of `inline`: what a tree refers to. Were it missing, something would be damaged."""
    chunks: set[bytes] = field(default_factory=set)
    """Digests."""

    def add(self, content: Content | None, *, needed: bool) -> None:
        if isinstance(content, InlineContent):
            if content.size_bytes and self.first <= content.sequence <= self.horizon:
                places = self.inline.setdefault(content.digest, [])
                if content not in places and len(places) < _PLACES_MAX:
                    places.append(content)
                if needed:
                    self.needed.add(content.digest)
        elif content is not None:
            self.chunks.update(content.chunks)

    def add_all(self, contents: Iterable[Content | None], *, needed: bool) -> None:
        for content in contents:
            self.add(content, needed=needed)

    def add_tree(self, tree: SnapshotRows, *, needed: bool = True) -> None:
        """Every content that a tree refers to."""
        for row in tree.inodes:
            place, size, digest, at, offset, chunks = row[11:]
            if place == PLACE_INLINE:
                self.add(InlineContent(size, digest, at, offset), needed=needed)
            elif place == PLACE_CHUNKED:
                self.add(ChunkedContent(size, digest, split_digests(chunks)), needed=needed)

    def add_commit(self, commit: Commit) -> None:
        """What a commit above the horizon refers to. What met in a conflict is kept where it is still there."""
        for record in commit.inodes:
            self.add(record.content, needed=True)
        for side in commit.sides:
            self.add_all((side.base, side.earlier, side.later), needed=False)
