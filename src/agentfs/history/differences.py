"""The difference of two versions as a unified diff. Pure; the work is bounded, whatever the texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentfs.merge.differences import Budget, Hunk, differences

CONTEXT_LINES = 3
_NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one version to another."""

    lines: Sequence[str]
    """A unified diff without its two head lines; empty when they are equal or binary."""
    added: int
    removed: int
    binary: bool
    """One of them is no text: nothing is told about its lines."""

    @property
    def is_equal(self) -> bool:
        return not self.binary and not self.lines


def difference(old: bytes, new: bytes, *, context: int = CONTEXT_LINES) -> Difference:
    """From `old` to `new`, line by line, for UTF-8 text."""
    if old == new:
        return Difference((), 0, 0, False)
    before, after = _lines(old), _lines(new)
    if before is None or after is None:
        return Difference((), 0, 0, True)
    hunks = differences(before, after, Budget())
    found: list[str] = []
    for group in _groups(hunks, 2 * context):
        found += _group(group, before, after, context)
    added = sum(hunk.last - hunk.first for hunk in hunks)
    removed = sum(hunk.end - hunk.start for hunk in hunks)
    return Difference(found, added, removed, False)


def _groups(hunks: Sequence[Hunk], gap_max: int) -> Iterator[list[Hunk]]:
    """Hunks so near to each other that they are shown as one piece."""
    group: list[Hunk] = []
    for hunk in hunks:
        if group and hunk.start - group[-1].end > gap_max:
            yield group
            group = []
        group.append(hunk)
    if group:
        yield group


def _group(group: Sequence[Hunk], before: Sequence[str], after: Sequence[str], context: int) -> Iterator[str]:
    start, first = max(0, group[0].start - context), max(0, group[0].first - context)
    end, last = min(len(before), group[-1].end + context), min(len(after), group[-1].last + context)
    yield f"@@ -{_range(start, end)} +{_range(first, last)} @@"
    at = start
    for hunk in group:
        yield from _marked(" ", before[at : hunk.start])
        yield from _marked("-", before[hunk.start : hunk.end])
        yield from _marked("+", after[hunk.first : hunk.last])
        at = hunk.end
    yield from _marked(" ", before[at:end])


def _lines(data: bytes) -> list[str] | None:
    """With their newlines; None for what is no text."""
    if b"\0" in data:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    found = text.split("\n")
    last = found.pop()
    return [line + "\n" for line in found] + ([last] if last else [])


def _marked(mark: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield mark + line.removesuffix("\n")
        if not line.endswith("\n"):
            yield _NO_NEWLINE


def _range(start: int, end: int) -> str:
    """As diff writes it: lines count from 1, and an empty range stands behind a line."""
    length = end - start
    if length == 1:
        return f"{start + 1}"
    return f"{start + 1 if length else start},{length}"
