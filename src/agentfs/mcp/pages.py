"""Text as a model reads it: numbered lines, and no more of them than an answer may hold.

Clients warn of results of more than 10,000 tokens and refuse more than 25,000, by a count that only they know. A page
is 40,000 bytes of UTF-8 at most, which is 10,000 tokens of English, and 20,000 tokens as the counter of this project
counts, which is what bounds numbers, base64 and other scripts. No text has more tokens than bytes: what is short is
not counted.
"""

from collections.abc import Sequence

from agentfs.mcp.refusals import Refused
from agentfs.memory.tokens import default_counter

ANSWER_BYTES = 40_000
ANSWER_TOKENS = 20_000
_ANSWER_TOKENS_MAX = 24_000
"""Of an answer as a whole: a page, and the words around it."""
_TOKEN_BYTES_MAX = 16
"""No text of use has so many bytes for each token."""
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
    wanted = numbered(lines[first - 1 : last], first)
    count = _fitting(wanted)
    rest: list[str] = []
    if count == 0:
        rest = _part(lines, first, last)
    elif count < len(wanted):
        on = first + count
        rest = ["", f"[Lines {first}-{on - 1} of {len(lines)}. To read on: view_range [{on}, {last}]]"]
    return "\n".join([title or f"Here's the content of {path} with line numbers:", *wanted[:count], *rest])


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


def _fitting(lines: Sequence[str]) -> int:
    """How many of the lines, from the first, an answer holds."""
    size_bytes = count = 0
    for line in lines:
        more = len(line.encode("utf-8", "replace")) + 1
        if size_bytes + more > ANSWER_BYTES:
            break
        size_bytes, count = size_bytes + more, count + 1
    if size_bytes <= ANSWER_TOKENS:
        return count
    tokens = 0
    for number, cost in enumerate(default_counter().counts(lines[:count])):
        tokens += cost + 1
        if tokens > ANSWER_TOKENS:
            return number
    return count


def _part(lines: Sequence[str], number: int, last: int) -> list[str]:
    """The beginning of line `number`, which is longer than a page."""
    line = lines[number - 1]
    part = line.encode("utf-8", "replace")[:ANSWER_TOKENS].decode("utf-8", "ignore")
    on = f" To read on: view_range [{number + 1}, {last}]" if number < last else ""
    note = f"[Line {number} has {len(line):,} characters, of which the first {len(part):,} are shown.{on}]"
    return [*numbered([part], number), "", note]


def listed(title: str, lines: Sequence[str], *, hint: str) -> str:
    """A title and as many lines as an answer holds; `hint` says what to do about the rest."""
    count = _fitting(lines)
    rest = [] if count == len(lines) else ["", f"[{len(lines) - count:,} more are not shown. {hint}]"]
    return "\n".join([title, *lines[:count], *rest])


def capped(text: str) -> str:
    """`text`, or as much of it as an answer holds whatever it is."""
    data = text.encode("utf-8", "replace")
    if len(data) <= _ANSWER_TOKENS_MAX:
        return data.decode()
    if len(data) <= _ANSWER_TOKENS_MAX * _TOKEN_BYTES_MAX and default_counter().count(text) <= _ANSWER_TOKENS_MAX:
        return data.decode()
    part = data[:ANSWER_TOKENS].decode("utf-8", "ignore")
    return f"{part}\n\n[The rest, {size(len(data) - ANSWER_TOKENS)}, is more than one answer holds.]"


def size(count: int) -> str:
    """Bytes for people: `512B`, `1.5K`, `2M`."""
    unit = min(max(count.bit_length() - 1, 0) // 10, len(_SIZES) - 1)
    value = count / (1 << 10 * unit)
    return f"{int(value)}{_SIZES[unit]}" if value == int(value) else f"{value:.1f}{_SIZES[unit]}"
