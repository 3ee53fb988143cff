"""Text as a model reads it: numbered lines, and no more of them than an answer may hold.

Clients refuse results of more than 25,000 tokens and warn at 10,000; how many tokens a text has, only the model's own
tokenizer knows. So answers are bounded in bytes of UTF-8: 40,000 are some 10,000 tokens of English, 13,000 of
Chinese, and no text of use has more than one token for every two bytes.
"""

from collections.abc import Sequence

from agentfs.mcp.refusals import Refused

ANSWER_BYTES = 40_000
_ANSWER_BYTES_MAX = 48_000
"""Whatever is answered; above `ANSWER_BYTES`, which does not count the words around a page."""
LINES_MAX = 999_999
_NUMBER_WIDTH = 6
_SIZES = ("B", "K", "M", "G", "T")


def numbered(lines: Sequence[str], first: int) -> list[str]:
    """The lines as they are shown, the first of them with the number `first`."""
    return [f"{number:>{_NUMBER_WIDTH}}\t{line}" for number, line in enumerate(lines, first)]


def page(path: str, text: str, view_range: Sequence[int] | None, *, title: str | None = None) -> str:
    """A file as `view` shows it: `view_range` of its lines (from 1, both ends included, -1: to the end), and of these
    as many as an answer holds, with a word about how to read on. Raises `Refused`."""
    lines = text.split("\n")
    if len(lines) > LINES_MAX:
        raise Refused(f"File {path} exceeds maximum line limit of {LINES_MAX:,} lines.")
    first, last = _bounds(view_range, len(lines))
    shown, left = [title or f"Here's the content of {path} with line numbers:"], ANSWER_BYTES
    for number in range(first, last + 1):
        line = numbered([lines[number - 1]], number)[0]
        left -= len(line.encode("utf-8", "replace")) + 1
        if left < 0:
            return "\n".join(shown + _cut(lines, number, first, last, room=left + len(line.encode()) + 1))
        shown.append(line)
    return "\n".join(shown)


def _bounds(view_range: Sequence[int] | None, count: int) -> tuple[int, int]:
    if view_range is None:
        return 1, count
    if len(view_range) != 2:
        raise Refused("Error: Invalid `view_range` parameter: it should be a list of two integers, [first, last].")
    first, last = max(1, view_range[0]), count if view_range[1] == -1 else view_range[1]
    if first > count or last < first:
        raise Refused(
            f"Error: Invalid `view_range` parameter: {list(view_range)}. It should be within the range of lines of "
            f"the file: [1, {count}]"
        )
    return first, min(last, count)


def _cut(lines: Sequence[str], number: int, first: int, last: int, *, room: int) -> list[str]:
    """The end of a page that line `number` does not fit in any more."""
    if number > first:
        return ["", f"[Lines {first}-{number - 1} of {len(lines)}. To read on: view_range [{number}, {last}]]"]
    line = lines[number - 1]
    part = line.encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
    on = f" To read on: view_range [{number + 1}, {last}]" if number < last else ""
    note = f"[Line {number} has {len(line):,} characters, of which the first {len(part):,} are shown.{on}]"
    return [*numbered([part], number), "", note]


def listed(title: str, lines: Sequence[str], *, hint: str) -> str:
    """A title and as many lines as an answer holds; `hint` says what to do about the rest."""
    left, count = ANSWER_BYTES, 0
    for line in lines:
        left -= len(line.encode("utf-8", "replace")) + 1
        if left < 0:
            break
        count += 1
    rest = [] if count == len(lines) else ["", f"[{len(lines) - count:,} more are not shown. {hint}]"]
    return "\n".join([title, *lines[:count], *rest])


def capped(text: str) -> str:
    """`text`, or as much of it as an answer holds."""
    data = text.encode("utf-8", "replace")
    if len(data) <= _ANSWER_BYTES_MAX:
        return data.decode()
    part = data[:_ANSWER_BYTES_MAX].decode("utf-8", "ignore")
    return f"{part}\n\n[The rest, {size(len(data) - _ANSWER_BYTES_MAX)}, is more than one answer holds.]"


def size(count: int) -> str:
    """Bytes for people: `512B`, `1.5K`, `2M`."""
    unit = min(max(count.bit_length() - 1, 0) // 10, len(_SIZES) - 1)
    value = count / (1 << 10 * unit)
    return f"{int(value)}{_SIZES[unit]}" if value == int(value) else f"{value:.1f}{_SIZES[unit]}"
