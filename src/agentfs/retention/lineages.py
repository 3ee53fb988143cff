"""The history of files by name, along the log: what the policy may keep of it when its commits go.

A lineage belongs to a name. Whatever takes the name continues it (editors write a temporary file and rename it over
the old one); a file that is moved takes its lineage along. Of names that are gone at the horizon nothing is kept.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from agentfs.format.pack import Evidence, Lineage, State
from agentfs.format.snapshot import inode_record
from agentfs.format.snapshot_rows import SnapshotRows
from agentfs.model.records import ROOT_ID, Commit, ConflictId, InodeId, InodeRecord, Kind

Place: TypeAlias = tuple[InodeId, bytes]


@dataclass(slots=True)
class HistoryWalk:
    """Follows the log from one tree on: `apply` the commits in order."""

    versions: int | None = None
    """How many states of a file are wanted; None: all. With 0 only conflicts are followed."""
    files: dict[InodeId, InodeRecord] = field(default_factory=dict)
    names: dict[Place, InodeId] = field(default_factory=dict)
    """Of everything; directories matter to nobody here."""
    places: dict[InodeId, set[Place]] = field(default_factory=lambda: defaultdict(set))
    lineages: dict[Place, list[State]] = field(default_factory=dict)
    left: dict[Place, list[State]] = field(default_factory=dict)
    """Of names that are gone: they may come again."""
    evidence: dict[ConflictId, Evidence] = field(default_factory=dict)
    resolved: set[ConflictId] = field(default_factory=set)

    @classmethod
    def after(cls, tree: SnapshotRows | None, versions: int | None) -> "HistoryWalk":
        """Begin with a tree; None: the empty one."""
        walk = cls(versions)
        if versions == 0:
            return walk
        for row in tree.inodes if tree is not None else ():
            if row[1] == Kind.FILE:
                walk.files[row[0]] = inode_record(row)
        for parent, name, child in tree.links if tree is not None else ():
            walk._name((parent, name), child)
        return walk

    def know(self, lineages: Iterable[Lineage], evidence: Iterable[Evidence]) -> None:
        """What earlier collections kept, a lineage perhaps in several parts; the tree that the walk begins with is
        the one at their horizon."""
        for it in lineages:
            known = self.lineages.setdefault((it.parent, it.name), [])
            seen = {(state.sequence, state.inode) for state in known}
            known += [state for state in it.states if (state.sequence, state.inode) not in seen]
            known.sort(key=lambda state: state.sequence)
        for one in evidence:
            self.evidence[ConflictId(one.sequence, one.place)] = one

    def known(self) -> tuple[set[Lineage], set[Evidence]]:
        """All of it."""
        return {Lineage(*place, tuple(it)) for place, it in self.lineages.items()}, set(self.evidence.values())

    def apply(self, commit: Commit) -> None:
        self._conflicts(commit)
        if self.versions == 0:
            return
        changed = self._records(commit)
        lost = self._unlinks(commit)
        for link in commit.links:
            place = (link.parent, link.name)
            before = self.names.get(place)
            if before == link.child:
                continue
            if before is not None:
                self._unname(place, before)
            self._name(place, link.child)
            if link.child in self.files:
                self._continue(place, link.child, lost)
                changed.add(link.child)
        for place in lost:
            if place not in self.names and place in self.lineages:
                self.left[place] = self.lineages.pop(place)
        for inode in changed:
            for place in self.places.get(inode, ()):
                self._state(commit, place, self.files[inode])

    def _records(self, commit: Commit) -> set[InodeId]:
        changed = set()
        for record in commit.inodes:
            if record.kind is not Kind.FILE:
                continue
            known = self.files.get(record.id)
            self.files[record.id] = record
            if known is None or _digest(known) != _digest(record):
                changed.add(record.id)
        return changed

    def _unlinks(self, commit: Commit) -> dict[Place, InodeId]:
        lost = {}
        for unlink in commit.unlinks:
            place = (unlink.parent, unlink.name)
            inode = self.names.get(place)
            if inode is not None:
                self._unname(place, inode)
                lost[place] = inode
        return lost

    def _name(self, place: Place, inode: InodeId) -> None:
        self.names[place] = inode
        self.places[inode].add(place)

    def _unname(self, place: Place, inode: InodeId) -> None:
        del self.names[place]
        self.places[inode].discard(place)

    def _continue(self, place: Place, inode: InodeId, lost: dict[Place, InodeId]) -> None:
        """Which history a name goes on with that `inode` came to."""
        if place in self.lineages:
            return
        came_from = next((it for it, was in lost.items() if was == inode and it in self.lineages), None)
        if came_from is not None:
            self.lineages[place] = list(self.lineages[came_from])
        elif place in self.left:
            self.lineages[place] = self.left.pop(place)

    def _state(self, commit: Commit, place: Place, record: InodeRecord) -> None:
        states = self.lineages.setdefault(place, [])
        assert record.content is not None
        if states and states[-1].content.digest == record.content.digest:
            return
        states.append(
            State(
                sequence=commit.sequence,
                time_ns=commit.time_ns,
                author=commit.author,
                parent=place[0],
                name=place[1],
                inode=record.id,
                mode=record.mode,
                mtime_ns=record.mtime_ns,
                content=record.content,
            )
        )
        if self.versions is not None:
            del states[: -self.versions]

    def _conflicts(self, commit: Commit) -> None:
        self.resolved.update(commit.resolved)
        sides = {it.conflict: it for it in commit.sides}
        for at, it in enumerate(commit.conflicts):
            side = sides.get(at)
            self.evidence[ConflictId(commit.sequence, at)] = Evidence(
                sequence=commit.sequence,
                place=at,
                kind=it.kind,
                parent=it.parent,
                name=it.name,
                kept_as=it.kept_as,
                detail=it.detail,
                time_ns=commit.time_ns,
                author=commit.author,
                met=side.met if side is not None else 0,
                base=side.base if side is not None else None,
                earlier=side.earlier if side is not None else None,
                later=side.later if side is not None else None,
            )

    # ---- what is kept ----

    def wanted_lineages(self, tree: SnapshotRows | None, versions_of: Callable[[bytes], int | None]) -> list[Lineage]:
        """Of every file of `tree`, the one that the walk came to: as many states of it as `versions_of` its path says
        (None: all)."""
        if tree is None or self.versions == 0:
            return []
        above = {child: (parent, name) for parent, name, child in tree.links}
        found = []
        for parent, name in sorted({(parent, name) for parent, name, _ in tree.links} & self.lineages.keys()):
            wanted = versions_of(_path(above, parent, name))
            states = self.lineages[parent, name]
            if wanted != 0:
                found.append(Lineage(parent, name, tuple(states if wanted is None else states[-wanted:])))
        return found

    def wanted_evidence(self) -> list[Evidence]:
        """Conflicts that nobody settled."""
        return [self.evidence[it] for it in sorted(self.evidence, key=_order) if it not in self.resolved]


def _path(above: Mapping[InodeId, Place], parent: InodeId, name: bytes) -> bytes:
    """From the root. A directory has one name."""
    parts = [name]
    while parent != ROOT_ID:
        parent, part = above[parent]
        parts.append(part)
    return b"/".join(reversed(parts))


def _digest(record: InodeRecord) -> bytes:
    return record.content.digest if record.content is not None else b""


def _order(conflict: ConflictId) -> tuple[int, int]:
    return conflict.sequence, conflict.index
