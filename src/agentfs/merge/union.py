"""Two insertions at one place: one that holds every unit of both, in the order of both, as a reader would want it.

What is equal stands once; what is not stands in blocks, earlier's first. Blocks are what the text shows as such:
sections under a heading, paragraphs, list items, fenced code. Two blocks share lines only where they are versions of
one another: two entries made from one template must not melt into each other.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from agentfs.merge.differences import Budget, common

Block = TypeVar("Block")

_HEADING = re.compile(r"(#{1,6})\s")
_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)])\s")
_FENCE = re.compile(r"\s*(```+|~~~+)")


def union_records(earlier: Sequence[str], later: Sequence[str], budget: Budget) -> list[str]:
    """Lines that stand for themselves."""
    return _woven(earlier, later, common(earlier, later, budget))


def union_rewritten(earlier: Sequence[str], later: Sequence[str], budget: Budget) -> list[str]:
    """Two new versions of the same removed lines: what they share, in between both versions of what they do not."""
    pairs = common(earlier, later, budget)
    strong = [(i, j) for i, j in pairs if _says_something(earlier[i])]
    known = set(strong)
    found = set(strong)
    for step in (1, -1):
        for i, j in sorted(known)[::step]:
            x, y = i + step, j + step
            while (
                0 <= x < len(earlier)
                and 0 <= y < len(later)
                and earlier[x] == later[y]
                and not _says_something(earlier[x])
            ):
                found.add((x, y))
                x, y = x + step, y + step
    return _woven(earlier, later, _rising(sorted(found)))


def union_plain(earlier: Sequence[str], later: Sequence[str], follows_text: bool, budget: Budget) -> list[str]:
    """Text without known blocks: what is between blank lines stays together."""
    return _union_chunks(earlier, later, follows_text=follows_text, prose=False, budget=budget)


def union_prose(earlier: Sequence[str], later: Sequence[str], follows_text: bool, budget: Budget) -> list[str]:
    level = min((found for lines in (earlier, later) for found in _levels(lines) if found), default=0)
    if not level:
        return _union_chunks(earlier, later, follows_text=follows_text, prose=True, budget=budget)
    (lead, sections), (other_lead, other_sections) = (_sections(lines, level) for lines in (earlier, later))

    def merged(one: Sequence[str], other: Sequence[str]) -> list[str]:
        blanks, more = _blanks(one), _blanks(other)
        body = union_prose(one[blanks + 1 :], other[more + 1 :], False, budget)
        return [*[""] * max(blanks, more), one[blanks], *body]

    out = union_prose(lead, other_lead, follows_text, budget) if lead or other_lead else []
    titles, other_titles = (
        [section[_blanks(section)].strip() for section in group] for group in (sections, other_sections)
    )
    pairs = common(titles, other_titles, budget)
    for section in _woven_blocks(sections, other_sections, pairs, merged):
        _put(out, section)
    return out


class _Chunk(NamedTuple):
    blanks: int
    """Blank lines before it."""
    lines: list[str]


def _union_chunks(
    earlier: Sequence[str], later: Sequence[str], *, follows_text: bool, prose: bool, budget: Budget
) -> list[str]:
    """Paragraphs, lists, code: blocks between blank lines."""
    (chunks, tail), (other_chunks, other_tail) = (_chunks(lines, prose) for lines in (earlier, later))
    out: list[str] = []
    if follows_text:
        out += _heads(chunks, other_chunks, prose, budget)
    elif chunks and other_chunks:
        joined = _joined(chunks[0].lines, other_chunks[0].lines, prose, budget)
        if joined is not None:
            out += [""] * max(chunks.pop(0).blanks, other_chunks.pop(0).blanks) + joined

    def merged(one: _Chunk, other: _Chunk) -> _Chunk:
        return _Chunk(max(one.blanks, other.blanks), one.lines)

    keys, other_keys = ([tuple(chunk.lines) for chunk in group] for group in (chunks, other_chunks))
    for chunk in _woven_blocks(chunks, other_chunks, common(keys, other_keys, budget), merged):
        _put(out, [""] * chunk.blanks + chunk.lines, max(tail, other_tail, int(prose)))
    return out + [""] * max(tail, other_tail)


def _heads(chunks: list[_Chunk], others: list[_Chunk], prose: bool, budget: Budget) -> list[str]:
    """What goes on with the text before: it comes first, whoever wrote it. Taken from both."""
    one = chunks.pop(0).lines if _goes_on(chunks) else []
    other = others.pop(0).lines if _goes_on(others) else []
    if not one or not other:
        return one or other
    joined = _joined(one, other, prose, budget)
    return [*one, *other] if joined is None else joined


def _goes_on(chunks: Sequence[_Chunk]) -> bool:
    return bool(chunks) and not chunks[0].blanks and not _FENCE.match(chunks[0].lines[0])


def _joined(one: Sequence[str], other: Sequence[str], prose: bool, budget: Budget) -> list[str] | None:
    """Two blocks that begin with the same lines, or two lists, or two tables, as one; None: they are two blocks."""
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same] and not _FENCE.match(one[same]):
        same += 1
    rest, other_rest = one[same:], other[same:]
    items, others = (_items(lines) if prose else None for lines in (rest, other_rest))
    if items is None or others is None:
        return [*one, *other_rest] if same else None
    pairs = common([tuple(item) for item in items], [tuple(item) for item in others], budget)
    woven = _woven_blocks(items, others, pairs, lambda item, _: item)
    return [*one[:same], *(line for item in woven for line in item)]


def _items(lines: Sequence[str]) -> list[list[str]] | None:
    """List items with what is indented below them, or a table's rows; None for anything else."""
    items: list[list[str]] = []
    for line in lines:
        if _ITEM.match(line) or line.startswith("|"):
            items.append([line])
        elif items and line[:1] in (" ", "\t"):
            items[-1].append(line)
        else:
            return None
    return items


def _chunks(lines: Sequence[str], prose: bool) -> tuple[list[_Chunk], int]:
    """Blocks between blank lines, and how many blank lines are at the end. A fence is one block with all in it."""
    chunks: list[_Chunk] = []
    blanks = 0
    fence = ""
    inside = False
    for line in lines:
        found = _FENCE.match(line) if prose else None
        if fence:
            chunks[-1].lines.append(line)
            if found and found[1].startswith(fence):
                fence, inside = "", False
            continue
        if not line.strip():
            blanks += 1
            inside = False
            continue
        if found:
            fence, inside = found[1], False
        if not inside:
            chunks.append(_Chunk(blanks, []))
            blanks = 0
        inside = True
        chunks[-1].lines.append(line)
    return chunks, blanks


def _levels(lines: Sequence[str]) -> list[int]:
    """For each line the level of its heading, or 0. None inside fences."""
    levels = []
    fence = ""
    for line in lines:
        found = _FENCE.match(line)
        heading = None if fence else _HEADING.match(line)
        levels.append(len(heading[1]) if heading else 0)
        if found and not fence:
            fence = found[1]
        elif found and found[1].startswith(fence):
            fence = ""
    return levels


def _sections(lines: Sequence[str], level: int) -> tuple[list[str], list[list[str]]]:
    """What is before the first heading of this level, and the sections, each with the blank lines before it."""
    sections: list[list[str]] = [[]]
    for line, found in zip(lines, _levels(lines), strict=True):
        if found == level:
            blank: list[str] = []
            while sections[-1] and not sections[-1][-1].strip():
                blank.append(sections[-1].pop())
            sections.append(blank)
        sections[-1].append(line)
    return sections[0], sections[1:]


def _blanks(lines: Sequence[str]) -> int:
    count = 0
    while count < len(lines) and not lines[count].strip():
        count += 1
    return count


def _put(out: list[str], block: Sequence[str], blanks: int = 1) -> None:
    """A block that brings no blank line of its own gets some."""
    if out and out[-1].strip() and block and block[0].strip():
        out += [""] * blanks
    out += block


def _says_something(line: str) -> bool:
    return any(character.isalnum() for character in line) and not _FENCE.match(line)


def _rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for i, j in pairs:
        if not found or (i > found[-1][0] and j > found[-1][1]):
            found.append((i, j))
    return found


def _woven(earlier: Sequence[str], later: Sequence[str], pairs: Sequence[tuple[int, int]]) -> list[str]:
    return _woven_blocks(earlier, later, pairs, lambda line, _: line)


def _woven_blocks(
    earlier: Sequence[Block],
    later: Sequence[Block],
    pairs: Sequence[tuple[int, int]],
    merged: Callable[[Block, Block], Block],
) -> list[Block]:
    """All blocks of both: between two pairs first earlier's, then later's; each pair is one."""
    out: list[Block] = []
    i = j = 0
    for x, y in pairs:
        out += [*earlier[i:x], *later[j:y], merged(earlier[x], later[y])]
        i, j = x + 1, y + 1
    return [*out, *earlier[i:], *later[j:]]
