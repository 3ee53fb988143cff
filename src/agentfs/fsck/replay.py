"""The log's tree, built by applying commits one after the other: plain dictionaries, the rules of the format and
nothing clever, so that it can judge the replica's fast way of doing the same."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentfs.format.snapshot import inode_record, inode_row
from agentfs.format.snapshot_rows import InodeRow, SnapshotRows
from agentfs.merge.fencing import Breach, after_commit
from agentfs.model.names import shown
from agentfs.model.records import ROOT_ID, Commit, InodeId, InodeRecord, Kind, LockState


@dataclass(slots=True)
class LogTree:
    """The tree after some commit."""

    inodes: dict[InodeId, InodeRecord] = field(default_factory=dict)
    names: dict[InodeId, dict[bytes, InodeId]] = field(default_factory=lambda: defaultdict(dict))
    """Directory → name → inode."""
    links: Counter[InodeId] = field(default_factory=Counter)
    locks: dict[InodeId, LockState] = field(default_factory=dict)
    broken: list[Breach] = field(default_factory=list)
    """Locks that the last commit broke (F-96)."""

    @classmethod
    def of_snapshot(cls, snapshot: SnapshotRows) -> "LogTree":
        tree = cls()
        for row in snapshot.inodes:
            tree.inodes[row[0]] = inode_record(row)
        for parent, name, child in snapshot.links:
            tree._link(parent, name, child)
        tree.locks = dict(snapshot.locks)
        return tree

    def copy(self) -> "LogTree":
        names: dict[InodeId, dict[bytes, InodeId]] = defaultdict(dict)
        names.update({parent: dict(inside) for parent, inside in self.names.items()})
        return LogTree(dict(self.inodes), names, Counter(self.links), dict(self.locks))

    def apply(self, commit: Commit) -> list[str]:
        """Apply one commit (see `model.records.Commit` for the order). Returns what does not fit, a line each."""
        wrong: list[str] = []
        maybe_gone: list[InodeId] = []
        locked = self._locked()
        for record in commit.inodes:
            self.inodes[record.id] = record
            maybe_gone.append(record.id)
        for unlink in commit.unlinks:
            child = self.names.get(unlink.parent, {}).pop(unlink.name, None)
            if child is None:
                wrong.append(f"it unlinks {shown(unlink.name)} in {unlink.parent}, which is not there")
            else:
                self.links[child] -= 1
                maybe_gone.append(child)
        for link in commit.links:
            before = self.names.get(link.parent, {}).get(link.name)
            if before is not None:
                self.links[before] -= 1
                maybe_gone.append(before)
            self._link(link.parent, link.name, link.child)
            wrong += self._misfit(link.parent, link.name, link.child)
        self._collect(maybe_gone)
        self._lock(commit, locked)
        return wrong

    def _link(self, parent: InodeId, name: bytes, child: InodeId) -> None:
        self.names[parent][name] = child
        self.links[child] += 1

    def _misfit(self, parent: InodeId, name: bytes, child: InodeId) -> list[str]:
        directory = self.inodes.get(parent)
        if parent != ROOT_ID and (directory is None or directory.kind is not Kind.DIRECTORY):
            return [f"it links {shown(name)} in {parent}, which is no directory"]
        if child not in self.inodes:
            return [f"it links {shown(name)} to {child}, which does not exist"]
        return []

    def _collect(self, maybe_gone: list[InodeId]) -> None:
        while maybe_gone:
            inode = maybe_gone.pop()
            if inode == ROOT_ID or self.links[inode] > 0 or inode not in self.inodes:
                continue
            del self.inodes[inode]
            del self.links[inode]
            for child in self.names.pop(inode, {}).values():
                self.links[child] -= 1
                maybe_gone.append(child)

    def _locked(self) -> dict[InodeId, tuple[bytes, frozenset[tuple[InodeId, bytes]]]]:
        """Digest and names of the files that are locked."""
        if not self.locks:
            return {}
        places: dict[InodeId, set[tuple[InodeId, bytes]]] = {inode: set() for inode in self.locks}
        for parent, inside in self.names.items():
            for name, child in inside.items():
                if child in places:
                    places[child].add((parent, name))
        return {
            inode: (record.content.digest, frozenset(names))
            for inode, names in places.items()
            if (record := self.inodes.get(inode)) is not None and record.content is not None
        }

    def _lock(self, commit: Commit, before: Mapping[InodeId, tuple[bytes, frozenset[tuple[InodeId, bytes]]]]) -> None:
        now = self._locked()
        gone = before.keys() - now.keys()
        changed = gone | {
            inode
            for inode, (digest, names) in now.items()
            if before[inode][0] != digest or not before[inode][1] <= names
        }
        gone |= {lock.inode for lock in commit.locks if lock.inode not in self.inodes}
        self.locks, self.broken = after_commit(
            self.locks, commit.sequence, locks=commit.locks, fences=commit.fences, changed=changed, gone=gone
        )

    def rows(self) -> Mapping[InodeId, InodeRow]:
        return {inode: inode_row(record) for inode, record in self.inodes.items()}

    def differences(self, snapshot: SnapshotRows) -> list[str]:
        """What a snapshot has that this tree has not, or the other way round: some lines, empty when they agree."""
        found: list[str] = []
        theirs = {row[0]: row for row in snapshot.inodes}
        ours = self.rows()
        for inode in sorted(theirs.keys() | ours.keys()):
            if inode == ROOT_ID and inode not in ours:
                continue  # the root is there from the beginning: a log that never changed it does not say how
            if _without_own_times(theirs.get(inode)) != _without_own_times(ours.get(inode)):
                found.append(f"inode {inode} differs")
        names = {(parent, name): child for parent, inside in self.names.items() for name, child in inside.items()}
        listed = {(parent, name): child for parent, name, child in snapshot.links}
        for place in sorted(names.keys() | listed.keys()):
            if names.get(place) != listed.get(place):
                found.append(f"{shown(place[1])} in {place[0]} differs")
        locks = dict(snapshot.locks)
        found += [
            f"the lock of inode {it} differs"
            for it in locks.keys() | self.locks.keys()
            if locks.get(it) != self.locks.get(it)
        ]
        return found


def _without_own_times(row: InodeRow | None) -> tuple[object, ...] | None:
    """A row without the times that are the snapshot's maker's own (F-53): changes of names, and of names that are
    ignored there, move them without a record in the log."""
    if row is None:
        return None
    kind, mtime = row[1], row[5]
    return (*row[:5], None if kind == Kind.DIRECTORY else mtime, None, *row[7:])
