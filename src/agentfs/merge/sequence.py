"""The order of what two sides inserted at once, by a sequence CRDT (Loro's text: Fugue's order).

One character of the CRDT's text stands for a whole unit of the base, or for all that one side put at one place, so
that nothing can ever be interleaved inside. Only the stretches that both sides touched are replayed; the rest of a
document never gets here (docs/decisions/0050).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from loro import TextDelta

EARLIER, LATER = 0, 1
SIDES = (EARLIER, LATER)
_PEERS = (1, 2)
"""The smaller number comes first where both insert at one place. Fixed: identity inside a merge is the side."""
_BASE_PEER = 3
_BATCH_MAX = 500
"""Cells in one CRDT document. Scattered edits cost more than linearly there (15,000 in one: 0.15 s; measured)."""

_FIRST = 0x100
_UNIT, _MARK, _BEFORE, _INSTEAD = 0, 1, 2, 4
"""The characters of a cell: its unit, a mark that stays, what each side put before the unit, and in its place."""
_KINDS = 6
assert _FIRST + _BATCH_MAX * _KINDS < 0xD800, "no surrogates"


@dataclass(slots=True)
class Cell:
    """One unit of the base, what both sides did to it, and what they put before it. Pairs are earlier's, later's."""

    unit: int | None
    """Its place in the base; None: the end of a stretch, which has only what is put before it."""
    before: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    """Places in the side's own sequence."""
    instead: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    """What the unit was changed to."""
    removed: list[bool] = field(default_factory=lambda: [False, False])
    """Gone on that side; true for a changed unit too."""


class Replayed(NamedTuple):
    """A cell after both edits: whose insertions come first, and whether the unit is still there."""

    before: list[int]
    alive: bool
    instead: list[int]


def replayed(cells: Sequence[Cell]) -> Iterator[Replayed]:
    """What becomes of each cell when the edits of both sides are replayed on the base."""
    for start in range(0, len(cells), _BATCH_MAX):
        yield from _batch(cells[start : start + _BATCH_MAX])


def _batch(cells: Sequence[Cell]) -> Iterator[Replayed]:
    from loro import ExportMode, LoroDoc  # noqa: PLC0415 - only a merge in which edits meet pays for it

    base = LoroDoc()  # type: ignore[no-untyped-call]
    base.peer_id = _BASE_PEER
    base.get_text("t").insert(0, "".join(_character(at, _UNIT) + _character(at, _MARK) for at in range(len(cells))))
    base.commit()
    sides = []
    for side in SIDES:
        doc = base.fork()
        doc.peer_id = _PEERS[side]
        doc.get_text("t").apply_delta(list(_edits(cells, side)))
        doc.commit()
        sides.append(doc)
    sides[EARLIER].import_(sides[LATER].export(ExportMode.Updates(base.oplog_vv)))
    return _read(sides[EARLIER].get_text("t").to_string())


def _edits(cells: Sequence[Cell], side: int) -> "Iterator[TextDelta]":
    from loro import TextDelta  # noqa: PLC0415

    for at, cell in enumerate(cells):
        if cell.before[side]:
            yield TextDelta.Insert(_character(at, _BEFORE + side), None)
        yield TextDelta.Delete(1) if cell.removed[side] else TextDelta.Retain(1, None)
        if cell.instead[side]:
            yield TextDelta.Insert(_character(at, _INSTEAD + side), None)
        yield TextDelta.Retain(1, None)


def _read(text: str) -> Iterator[Replayed]:
    cell = Replayed([], False, [])
    for character in text:
        kind = (ord(character) - _FIRST) % _KINDS
        if kind == _MARK:
            yield cell
            cell = Replayed([], False, [])
        elif kind == _UNIT:
            cell = cell._replace(alive=True)
        elif kind < _INSTEAD:
            cell.before.append(kind - _BEFORE)
        else:
            cell.instead.append(kind - _INSTEAD)


def _character(at: int, kind: int) -> str:
    return chr(_FIRST + at * _KINDS + kind)
