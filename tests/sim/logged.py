"""The log's tree, kept beside the engines out of the commits as they reach the store: what names mean, which bytes
files have, when that changed."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from agentfs.model.records import ROOT_ID, Commit, InodeId, Kind

Place = tuple[InodeId, bytes]


@dataclass(slots=True)
class Logged:
    names: dict[Place, InodeId] = field(default_factory=dict)
    kinds: dict[InodeId, Kind] = field(default_factory=dict)
    digests: dict[InodeId, bytes] = field(default_factory=dict)
    """Of the bytes of files."""
    brought: dict[tuple[InodeId, bytes], set[int]] = field(default_factory=lambda: defaultdict(set))
    """Which commits say that a file has these bytes."""
    authors: dict[int, str] = field(default_factory=dict)
    mtimes: dict[InodeId, int] = field(default_factory=dict)
    changed: dict[InodeId, int] = field(default_factory=dict)
    """Bytes or attributes, by the time of the commit."""
    named: dict[Place, int] = field(default_factory=dict)
    created: dict[InodeId, int] = field(default_factory=dict)
    had: set[bytes] = field(default_factory=set)
    """Every path that was ever a file's."""
    _places: dict[InodeId, set[Place]] = field(default_factory=lambda: defaultdict(set))

    def apply(self, commit: Commit) -> None:
        at = commit.time_ns
        self.authors[commit.sequence] = commit.author
        for record in commit.inodes:
            self.kinds[record.id] = record.kind
            self.created.setdefault(record.id, at)
            self.changed[record.id] = at
            self.mtimes[record.id] = record.mtime_ns
            if record.content is not None:
                self.brought[record.id, record.content.digest].add(commit.sequence)
                self.digests[record.id] = record.content.digest
        for it in commit.unlinks:
            self._unlink((it.parent, it.name))
        for link in commit.links:
            place = (link.parent, link.name)
            self._unlink(place)
            self.names[place] = link.child
            self.named[place] = at
            self._places[link.child].add(place)
        for link in commit.links:
            path = self.path((link.parent, link.name))
            if path is not None and self.kinds.get(link.child) is Kind.FILE:
                self.had.add(path)

    def _unlink(self, place: Place) -> None:
        child = self.names.pop(place, None)
        if child is not None:
            self._places[child].discard(place)

    def above(self, place: Place) -> list[Place] | None:
        """The places that lead to this one, from the root; None: none do."""
        found = [place]
        while found[0][0] != ROOT_ID:
            places = self._places[found[0][0]]
            if not places or len(found) > 1000:
                return None
            found.insert(0, next(iter(places)))
        return found

    def path(self, place: Place) -> bytes | None:
        found = self.above(place)
        return None if found is None else b"/".join(name for _, name in found)

    def files(self) -> Iterator[tuple[bytes, InodeId]]:
        for place, child in self.names.items():
            path = self.path(place)
            if path is not None and self.kinds.get(child) is Kind.FILE:
                yield path, child

    def file_at(self, path: bytes) -> InodeId | None:
        parent, child = ROOT_ID, None
        for name in path.split(b"/"):
            child = self.names.get((parent, name))
            if child is None:
                return None
            parent = child
        return child if child is not None and self.kinds.get(child) is Kind.FILE else None

    def begun_ns(self, place: Place, *, since: str) -> int:
        """When the age of the file at a place began (docs/lifecycle.md)."""
        child = self.names[place]
        if since == "created":
            return self.created[child]
        above = self.above(place) or [place]
        return max(self.changed[child], self.mtimes[child], *(self.named[it] for it in above))
