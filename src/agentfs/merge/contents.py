"""The merge of two versions of one file: pure bytes in, pure bytes out (DESIGN, section 6; docs/merging.md)."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

MERGE_BYTES_MAX = 8 * 1024 * 1024
"""Each side. A larger file is not merged: its two versions are kept as two files."""


@dataclass(frozen=True, slots=True)
class Merged:
    data: bytes
    clashes: tuple[str, ...]
    """What both changed, one line each for a person, e.g. `line 12: both changed it; both versions were kept`."""


def may_merge(name: bytes, size_bytes: int) -> bool:
    """A cheap look without bytes: False if `merge_contents` would return None for this size or kind of name."""
    del name
    return size_bytes <= MERGE_BYTES_MAX


def merge_contents(name: bytes, base: bytes | None, earlier: bytes, later: bytes) -> Merged | None:
    """One content with the changes of both sides, or None if they cannot be merged (the caller keeps two files).

    `earlier` is what the log has, `later` what comes on top of it, `base` what both came from (None: not known).
    Deterministic; raises for no bytes.
    """
    if earlier == later or later == base:
        return Merged(earlier, ())
    if earlier == base:
        return Merged(later, ())
    base = base or b""
    for side in (base, earlier, later):
        if not may_merge(name, len(side)) or b"\0" in side:
            return None
    try:
        texts = [side.decode("utf-8") for side in (base, earlier, later)]
    except UnicodeDecodeError:
        return None
    return _merge_lines(*(text.splitlines(keepends=True) for text in texts))


def _merge_lines(base: Sequence[str], earlier: Sequence[str], later: Sequence[str]) -> Merged:
    kept_earlier, new_earlier = _changes(base, earlier)
    kept_later, new_later = _changes(base, later)
    out: list[str] = []
    clashes: list[str] = []
    for at in range(len(base) + 1):
        first, second = new_earlier.get(at, []), new_later.get(at, [])
        if first and second and first != second:
            clashes.append(f"line {len(out) + 1}: both changed it; both versions were kept")
        for line in (*first, *(second if second != first else ())):
            if out and not out[-1].endswith("\n"):
                out[-1] += "\n"
            out.append(line)
        if at < len(base) and kept_earlier[at] and kept_later[at]:
            out.append(base[at])
    return Merged("".join(out).encode(), tuple(clashes))


def _changes(base: Sequence[str], side: Sequence[str]) -> tuple[list[bool], dict[int, list[str]]]:
    """Which lines of the base the side still has, and what it inserted before which line."""
    kept = [False] * len(base)
    new: dict[int, list[str]] = {}
    for tag, start, end, from_, to in difflib.SequenceMatcher(None, base, side, autojunk=False).get_opcodes():
        if tag == "equal":
            kept[start:end] = [True] * (end - start)
        elif from_ < to:
            new[start] = list(side[from_:to])
    return kept, new
