"""Two versions of a sequence of units (lines, sentences) and what both came from: one sequence with both edits."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agentfs.merge.differences import Budget, Hunk, differences
from agentfs.merge.likeness import alike_pairs, is_version
from agentfs.merge.sequence import EARLIER, LATER, SIDES, Cell, Replayed, replayed

BOTH_KEPT = "both changed it; both versions were kept"
CHANGE_KEPT = "one changed it, the other removed it; the change was kept"

CELLS_MAX = 10_000
"""Units of the base in stretches that both sides touched. Two versions that have less in common are two files: one
made of both would be read by nobody. It bounds the time too (about 40 µs for each)."""

Union = Callable[[Sequence[str], Sequence[str], bool, bool], list[str]]
"""What two insertions at one place become: earlier's units, later's, whether they follow text directly, and whether
both stand for the same removed units. Every unit of both, in the order of both."""
Finer = Callable[[str, str, str, int], "Fine | None"]
"""One unit that both changed (base's, earlier's, later's, its place in the base), or None."""


class Fine(NamedTuple):
    """One unit with both changes."""

    unit: str
    clash: str | None = None


class TooMuch(Exception):
    """The two sides have too little in common."""


class Clash(NamedTuple):
    at: int
    """Place in the merged sequence."""
    what: str


@dataclass(slots=True)
class Rules:
    """How a kind of content wants its units merged."""

    union: Union
    finer: Finer
    budget: Budget
    marked: bool = False
    """Put marks around what both changed."""


@dataclass(slots=True)
class MergedUnits:
    units: list[str] = field(default_factory=list)
    clashes: list[Clash] = field(default_factory=list)


def merge_units(base: Sequence[str], earlier: Sequence[str], later: Sequence[str], rules: Rules) -> MergedUnits:
    """Raises TooMuch."""
    return _Merge(base, (list(earlier), list(later)), rules).merged()


class _Stretch(NamedTuple):
    """A part of the base that one side changed (`cells` is empty), or that both touched."""

    start: int
    end: int
    hunk: Hunk
    side: int
    cells: list[Cell]


class _Merge:
    def __init__(self, base: Sequence[str], sides: tuple[list[str], list[str]], rules: Rules) -> None:
        self._base = base
        self._sides = sides
        self._rules = rules
        self._out = MergedUnits()
        self._cells_left = CELLS_MAX
        self._known: set[str] = set()
        """The units of the base, once they are needed."""
        self._places: list[dict[str, list[int]]] = []
        """What each side brought, and where in its own sequence."""
        self._dropped: tuple[set[int], set[int]] = (set(), set())
        """Places of what a side brought that stands elsewhere already."""

    def merged(self) -> MergedUnits:
        hunks = [differences(self._base, side, self._rules.budget) for side in self._sides]
        self._places = [_places(side, made) for side, made in zip(self._sides, hunks, strict=True)]
        stretches = list(self._stretches(hunks[EARLIER], hunks[LATER]))
        whole = self._whole(hunks)
        versions = [list(side) for side in self._sides]
        cells = [cell for stretch in stretches for cell in stretch.cells]
        self._follow_moves(cells)
        self._settle_double_moves(hunks)
        order = replayed(cells)
        at = 0
        for stretch in stretches:
            self._out.units += self._base[at : stretch.start]
            if stretch.cells:
                self._settle_stretch([(cell, next(order)) for cell in stretch.cells], stretch.end)
            else:
                self._out.units += self._brought(stretch.side, range(stretch.hunk.first, stretch.hunk.last))
            at = stretch.end
        self._out.units += self._base[at:]
        if whole is not None and self._out.units != versions[whole]:
            return MergedUnits(versions[whole])
        return self._out

    def _whole(self, hunks: list[list[Hunk]]) -> int | None:
        """The side that has all edits of the other already: as after a merge that is done once more."""
        edits = [Edits.of(self._base, side, made) for side, made in zip(self._sides, hunks, strict=True)]
        if not edits[EARLIER].resembles(edits[LATER]):
            return None
        between = differences(self._sides[LATER], self._sides[EARLIER], self._rules.budget)
        turned = [Hunk(first, last, start, end) for start, end, first, last in between]
        for blanks in (True, False):
            for side, changes in ((EARLIER, between), (LATER, turned)):
                if edits[side].has_all_of(edits[1 - side], changes, blanks=blanks):
                    return side
        return None

    def _stretches(self, earlier: list[Hunk], later: list[Hunk]) -> Iterator[_Stretch]:
        """Changes in order. What both touched (also by a common border) is one stretch, cut into cells."""
        queue = sorted([(hunk, EARLIER) for hunk in earlier] + [(hunk, LATER) for hunk in later])
        at = 0
        while at < len(queue):
            start, end = queue[at][0].start, queue[at][0].end
            stop = at + 1
            while stop < len(queue) and queue[stop][0].start <= end:
                end = max(end, queue[stop][0].end)
                stop += 1
            group = queue[at:stop]
            cells = self._cells(start, end, group) if len(group) > 1 else []
            yield _Stretch(start, end, *queue[at], cells)
            at = stop

    def _cells(self, start: int, end: int, group: list[tuple[Hunk, int]]) -> list[Cell]:
        self._cells_left -= end - start + 1
        if self._cells_left < 0:
            raise TooMuch
        cells = [Cell(unit) for unit in range(start, end)] + [Cell(None)]
        for hunk, side in group:
            old = self._base[hunk.start : hunk.end]
            new = self._sides[side][hunk.first : hunk.last]
            pairs = alike_pairs(old, new, self._rules.budget) if old and new else []
            changed = {i: j for i, j in pairs if not self._is_move(old[i], new[j], side)}
            for at in range(len(old)):
                cells[hunk.start - start + at].removed[side] = True
            at = first = 0
            for i, j in [*changed.items(), (len(old), len(new))]:
                cells[hunk.start - start + at].before[side].extend(range(hunk.first + first, hunk.first + j))
                if i < len(old):
                    cells[hunk.start - start + i].instead[side].append(hunk.first + j)
                at, first = i + 1, j + 1
        return cells

    def _is_move(self, old: str, new: str, side: int) -> bool:
        """`new` only stands where `old` stood: one of them has another place, before or after."""
        if not self._known:
            self._known.update(self._base)
        return bool(old.strip() and new.strip()) and (old in self._places[side] or new in self._known)

    def _follow_moves(self, cells: list[Cell]) -> None:
        """A unit changed by one side and moved elsewhere by the other: the change moves along."""
        changes = [
            (cell, side)
            for cell in cells
            for side in SIDES
            if cell.instead[side] and cell.removed[1 - side] and not cell.instead[1 - side]
        ]
        if not changes:
            return
        counts = Counter(self._base)
        for cell, side in changes:
            assert cell.unit is not None
            old, new = self._base[cell.unit], self._sides[side][cell.instead[side][0]]
            there = self._places[1 - side]
            if len(there.get(new, [])) == 1 and new.strip() and new not in counts:
                cell.instead[side].clear()
                cell.removed[side] = False
            elif len(there.get(old, [])) == 1 and old.strip() and counts[old] == 1:
                place = there.pop(old)
                self._sides[1 - side][place[0]] = new
                there.setdefault(new, []).extend(place)
                self._places[side][new].remove(cell.instead[side].pop())
                cell.removed[side] = False

    def _settle_double_moves(self, hunks: list[list[Hunk]]) -> None:
        """A unit that both moved to different places is where earlier has it; if one moved it and the other brought a
        new version of it elsewhere, that version stands for it."""
        removed = [{at for hunk in made for at in range(hunk.start, hunk.end)} for made in hunks]
        gone = {self._base[at] for at in removed[EARLIER] & removed[LATER] if self._base[at].strip()}
        if not gone:
            return
        counts = Counter(self._base)
        brought = self._places
        fresh = [[unit for unit in places if unit not in counts and unit.strip()] for places in brought]
        for unit in gone:
            places = [brought[side].get(unit, []) for side in SIDES]
            if counts[unit] == len(places[EARLIER]) == len(places[LATER]) == 1:
                self._dropped[LATER].add(places[LATER][0])
            for side in SIDES:
                alone = counts[unit] == len(places[side]) == 1 and not places[1 - side]
                if alone and any(is_version(unit, new, self._rules.budget) for new in fresh[1 - side]):
                    self._dropped[side].add(places[side][0])

    def _brought(self, side: int, places: Iterable[int]) -> list[str]:
        return [self._sides[side][at] for at in places if at not in self._dropped[side]]

    def _settle_stretch(self, cells: list[tuple[Cell, Replayed]], end: int) -> None:
        """Each run of cells up to a unit that is still there is settled by itself."""
        run: list[tuple[Cell, list[int], list[int]]] = []
        for cell, (before, alive, instead) in cells:
            if alive or cell.unit is None:
                after = end if cell.unit is None else cell.unit
                following = self._base[after] if after < len(self._base) else ""
                self._settle_run([*run, (Cell(None, cell.before), before, [])], following)
                run = []
            else:
                run.append((cell, before, instead))
            if alive and cell.unit is not None:
                self._out.units.append(self._base[cell.unit])

    def _settle_run(self, run: list[tuple[Cell, list[int], list[int]]], following: str) -> None:
        brought = [[at for cell, _, _ in run for at in (*cell.before[side], *cell.instead[side])] for side in SIDES]
        earlier, later = (self._brought(side, brought[side]) for side in SIDES)
        removed_by_both = any(all(cell.removed) for cell, _, _ in run)
        at = len(self._out.units)
        if not earlier or not later or is_within(earlier, later) or is_within(later, earlier):
            if bool(earlier) != bool(later):
                self._settle_alone(run, EARLIER if earlier else LATER, following)
            else:
                self._out.units += earlier if len(earlier) >= len(later) else later
            if removed_by_both and bool(earlier) != bool(later):
                self._out.clashes.append(Clash(at, CHANGE_KEPT))
            return
        for cell, before, instead in run:
            self._settle_before(cell, before, all(cell.removed) and not any(cell.instead))
            self._settle_instead(cell, instead)

    def _settle_alone(self, run: list[tuple[Cell, list[int], list[int]]], side: int, following: str) -> None:
        """What one side brought into a stretch that otherwise went. A blank line that it had between this and what is
        around it stays, although the other removed it."""
        filled = [at for at, (cell, _, _) in enumerate(run) if cell.before[side] or cell.instead[side]]
        blank = [
            cell.unit is not None and not cell.removed[side] and not self._base[cell.unit].strip()
            for cell, _, _ in run
        ]
        before, behind = any(blank[: filled[0]]), any(blank[filled[-1] :])
        brought = [
            unit for cell, _, _ in run for unit in self._brought(side, (*cell.before[side], *cell.instead[side]))
        ]
        if before and self._out.units and self._out.units[-1].strip() and brought[0].strip():
            self._out.units.append("")
        self._out.units += brought
        if behind and brought[-1].strip() and following.strip():
            self._out.units.append("")

    def _settle_before(self, cell: Cell, order: list[int], rewritten: bool) -> None:
        if len(order) < len(SIDES):
            for side in order:
                self._out.units += self._brought(side, cell.before[side])
            return
        one, other = (self._brought(side, cell.before[side]) for side in order)
        follows_text = bool(self._out.units) and bool(self._out.units[-1].strip())
        if rewritten and one != other:
            self._out.clashes.append(Clash(len(self._out.units), BOTH_KEPT))
            if self._rules.marked:
                self._out.units += _marked(one, other)
                return
        self._out.units += self._rules.union(one, other, follows_text, rewritten)

    def _settle_instead(self, cell: Cell, order: list[int]) -> None:
        versions = [self._sides[side][cell.instead[side][0]] for side in order]
        if cell.unit is None or not versions:
            return
        place = len(self._out.units)
        if len(versions) == 1 and all(cell.removed):
            self._out.clashes.append(Clash(place, CHANGE_KEPT))
        elif len(versions) > 1 and versions[0] != versions[1]:
            finer = self._rules.finer(self._base[cell.unit], versions[0], versions[1], cell.unit)
            clash = BOTH_KEPT if finer is None else finer.clash
            if clash is not None:
                self._out.clashes.append(Clash(place, clash))
            if finer is None and self._rules.marked:
                self._out.units += _marked(versions[:1], versions[1:])
                return
            versions = versions if finer is None else [finer.unit]
        self._out.units += dict.fromkeys(versions)


def _marked(earlier: Sequence[str], later: Sequence[str]) -> list[str]:
    """As git marks a conflict. A line keeps the carriage return that lines here end with."""
    end = "\r" if any(unit.endswith("\r") for unit in (*earlier, *later)) else ""
    return [f"<<<<<<< earlier{end}", *earlier, f"======={end}", *later, f">>>>>>> later{end}"]


@dataclass(frozen=True, slots=True)
class Edits:
    """What one side did to the base."""

    side: Sequence[str]
    places: list[int]
    """Of what it brought, in order."""
    removed: Counter[str]

    @classmethod
    def of(cls, base: Sequence[str], side: Sequence[str], hunks: Sequence[Hunk]) -> "Edits":
        places = [at for hunk in hunks for at in range(hunk.first, hunk.last)]
        return cls(side, places, Counter(unit for hunk in hunks for unit in base[hunk.start : hunk.end]))

    def brought(self, blanks: bool) -> list[str]:
        return [self.side[at] for at in self.places if blanks or self.side[at].strip()]

    def resembles(self, other: "Edits") -> bool:
        """Both brought or removed one and the same unit."""
        return not self.removed.keys().isdisjoint(other.removed) or not set(self.brought(False)).isdisjoint(
            other.brought(False)
        )

    def has_all_of(self, other: "Edits", changes: Sequence[Hunk], *, blanks: bool) -> bool:
        """`changes` lead from the other side to this one. Without `blanks`, blank lines do not count."""
        removed = {unit for unit in other.removed if blanks or unit.strip()}
        brought = {at for at in other.places if blanks or other.side[at].strip()}
        if not removed and not brought:
            return False
        missing = any(at in brought for change in changes for at in range(change.start, change.end))
        if not missing and not any(
            unit in removed for change in changes for unit in self.side[change.first : change.last]
        ):
            return True
        return is_within(other.brought(blanks), self.brought(blanks)) and all(
            self.removed[unit] >= other.removed[unit] for unit in removed
        )


def is_within(some: Sequence[str], all_: Sequence[str]) -> bool:
    """Every unit of `some` is in `all_`, in the same order."""
    rest = iter(all_)
    return all(unit in rest for unit in some)


def _places(side: Sequence[str], hunks: Sequence[Hunk]) -> dict[str, list[int]]:
    """What the hunks bring, and where."""
    found: dict[str, list[int]] = {}
    for hunk in hunks:
        for at in range(hunk.first, hunk.last):
            found.setdefault(side[at], []).append(at)
    return found
