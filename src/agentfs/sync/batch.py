"""Which pending changes go into one commit. Pure.

Changes that share an inode belong together (a rename's two names, a replaced file): a *unit* is committed whole or
not at all. Units depend on others: a name in a new directory needs that directory; a directory that leaves the log
must not take along what moves out of it. A batch is closed under dependencies, so every commit is a valid tree.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from agentfs.model.records import COMMIT_BYTES_MAX, COMMIT_INODES_MAX, Kind
from agentfs.replica.pending import PendingName, PendingState

NAMES_MAX = 90_000
"""Of names in one commit; the format allows 100,000 each of links and unlinks."""

HEADER_VARIABLE_BYTES_MAX = 4 * 1024 * 1024
"""Of extended attributes and chunk digests in one commit (one inode alone may have more): its header is read by
every replica, and the format allows 64 MiB with everything else."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What to commit now."""

    names: tuple[PendingName, ...]
    inodes: tuple[int, ...]
    """Whose records the commit carries, directories before what is in them where both are new."""
    rest: bool
    """Something is left for a next commit right after this one (what is held back does not count)."""


@dataclass(slots=True)
class _Unit:
    names: list[PendingName]
    inodes: list[int]
    inline_bytes: int = 0
    header_bytes: int = 0
    since_ns: int = 0


class _Sets:
    """Disjoint sets of inodes."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def find(self, item: int) -> int:
        parent = self._parent.setdefault(item, item)
        while parent != item:
            above = self._parent[parent]
            self._parent[item] = above
            item, parent = parent, above
        return item

    def join(self, one: int, other: int) -> None:
        self._parent[self.find(one)] = self.find(other)


def choose(
    state: PendingState,
    *,
    inline_bytes: Mapping[int, int],
    header_bytes: Mapping[int, int],
    held: frozenset[int],
    unchanged: frozenset[int],
    fenced: frozenset[int] = frozenset(),
    bytes_max: int = COMMIT_BYTES_MAX,
) -> Batch:
    """The next commit. `inline_bytes`: what each file's content would take in it; `header_bytes`: what the records of
    unusual inodes take in its header; `held`: inodes that cannot be
    committed now (their units wait, and what depends on them); `unchanged`: inodes of the log whose own changes wait
    while their names may move; `fenced`: inodes whose names in the log stay as they are (their units wait);
    `bytes_max`: of inline contents in all."""
    units, unit_of = _units(state, unchanged, held)
    for unit in units:
        unit.inline_bytes = sum(inline_bytes.get(ino, 0) for ino in unit.inodes)
        unit.header_bytes = sum(header_bytes.get(ino, 0) for ino in unit.inodes)
        unit.since_ns = min((state.inodes[ino].pending_at_ns for ino in unit.inodes), default=0)
    needs = _dependencies(state, units, unit_of)
    blocked = _blocked(units, needs, held, fenced)
    order = sorted((at for at in range(len(units)) if at not in blocked), key=lambda at: _rank(units[at]))
    chosen: set[int] = set()
    size = header = inodes = names = 0
    rest = False
    for at in order:
        more = _closure(at, needs, chosen)
        more_size = size + sum(units[it].inline_bytes for it in more)
        more_inodes = inodes + sum(len(units[it].inodes) for it in more)
        more_names = names + sum(len(units[it].names) for it in more)
        more_header = header + sum(units[it].header_bytes for it in more)
        fits = more_size <= bytes_max and more_inodes <= COMMIT_INODES_MAX and more_names <= NAMES_MAX
        fits = fits and more_header <= HEADER_VARIABLE_BYTES_MAX
        if not fits and (chosen or len(order) > 1):
            rest = True  # what it depends on may go first; then it is smaller
            continue
        chosen |= more
        size, header, inodes, names = more_size, more_header, more_inodes, more_names
    if order and not chosen:  # each is too large by itself: the files of the least are to be put as chunks
        chosen = min(
            (_closure(at, needs, chosen) for at in order), key=lambda it: sum(units[one].inline_bytes for one in it)
        )
    picked = [units[at] for at in sorted(chosen)]
    return Batch(
        names=tuple(name for unit in picked for name in unit.names),
        inodes=tuple(sorted(ino for unit in picked for ino in unit.inodes)),
        rest=rest,
    )


def ended(state: PendingState, *, apart: frozenset[int]) -> Batch | None:
    """The files whose time was over here, and the directories that they stood in: for a commit of their own, which
    says so. `apart`: inodes that must not be in it. None: there are none. What is more to them than that they are
    gone (another file has the name, somebody moved or deleted one of their names) waits for a commit like any
    other."""
    more = {ino for name in state.names if not _is_over(state, name) for ino in (name.base, name.ino)} | apart
    names = [name for name in state.names if _is_over(state, name) and name.base not in more][:COMMIT_INODES_MAX]
    if not names:
        return None
    pending = {row.ino for row in state.inodes.values() if row.pending and row.nlink and not row.local}
    directories = pending.intersection(name.parent for name in names) - apart
    rest = len(names) < len(state.names) or directories != pending
    return Batch(tuple(names), tuple(sorted(directories)), rest)


def _is_over(state: PendingState, name: PendingName) -> bool:
    """Whether a name is gone because its file's time was over, and its directory is there, here as in the log."""
    parent = state.inodes[name.parent]
    return name.ended and name.ino is None and parent.nlink > 0 and parent.id is not None


def _rank(unit: _Unit) -> tuple[bool, int]:
    return unit.inline_bytes > 0, unit.since_ns


def _units(
    state: PendingState, unchanged: frozenset[int], held: frozenset[int]
) -> tuple[list[_Unit], dict[int, int]]:
    """The units, and which one each inode belongs to."""
    sets = _Sets()
    moved_directories = [-1]  # moves of directories can only be judged together: half of a swap may be a circle
    # Where one of those is held, the directory waits for it.
    names = [name for name in state.names if name.base in held or not _implied(state, name)]
    for name in names:
        if name.ino is not None and name.base is not None:
            sets.join(name.ino, name.base)
        if name.ino is not None:
            row = state.inodes[name.ino]
            if row.kind is Kind.DIRECTORY and row.id is not None:
                sets.join(name.ino, moved_directories[0])
    groups: dict[int, _Unit] = defaultdict(lambda: _Unit([], []))
    for name in names:
        inode = name.ino if name.ino is not None else name.base
        assert inode is not None
        groups[sets.find(inode)].names.append(name)
    for row in state.inodes.values():
        if row.pending and row.nlink and not row.local and row.ino not in unchanged:
            groups[sets.find(row.ino)].inodes.append(row.ino)
    keys = list(groups)
    index = {key: at for at, key in enumerate(keys)}
    unit_of = {ino: index[sets.find(ino)] for ino in state.inodes if sets.find(ino) in index}
    return [groups[key] for key in keys], unit_of


def _implied(state: PendingState, name: PendingName) -> bool:
    """A name taken away inside a directory that leaves the log as well, of an inode that is shown nowhere."""
    if name.ino is not None or name.base is None or state.inodes[name.base].nlink > 0:
        return False
    return state.inodes[name.parent].nlink == 0


_NOWHERE = -1
"""What never goes. A directory that was moved to an ignored name is this machine's own: what another machine wrote
into it meanwhile waits there until it is moved elsewhere."""


def _dependencies(state: PendingState, units: list[_Unit], unit_of: Mapping[int, int]) -> dict[int, set[int]]:
    needs: dict[int, set[int]] = defaultdict(set)
    for at, unit in enumerate(units):
        for name in unit.names:
            parent = state.inodes[name.parent]
            if name.ino is not None and parent.id is None:
                needs[at].add(unit_of.get(name.parent, _NOWHERE))  # a new directory is pending itself
            if name.base is not None and parent.nlink == 0:  # moved out of a directory that leaves the log
                directory = name.parent
                while directory in state.homes:
                    if directory in unit_of:
                        needs[unit_of[directory]].add(at)
                    directory = state.homes[directory][0]
    return needs


def _blocked(
    units: list[_Unit], needs: Mapping[int, set[int]], held: frozenset[int], fenced: frozenset[int]
) -> set[int]:
    dependents: dict[int, set[int]] = defaultdict(set)
    for at, others in needs.items():
        for other in others:
            dependents[other].add(at)
    work = [_NOWHERE]
    work += [
        at
        for at, unit in enumerate(units)
        if not held.isdisjoint(unit.inodes) or any(name.base in held for name in unit.names)
    ]
    if fenced:
        work += [at for at, it in enumerate(units) if any(n.base in fenced and n.ino != n.base for n in it.names)]
    blocked: set[int] = set()
    while work:
        at = work.pop()
        if at not in blocked:
            blocked.add(at)
            work.extend(dependents[at])
    return blocked


def _closure(at: int, needs: Mapping[int, set[int]], chosen: set[int]) -> set[int]:
    found: set[int] = set()
    work = [at]
    while work:
        unit = work.pop()
        if unit not in chosen and unit not in found:
            found.add(unit)
            work.extend(needs.get(unit, ()))
    return found
