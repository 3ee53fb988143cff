"""The two edits of the memory tool, on text. Pure; what is not edited stays byte for byte.

Texts were decoded with `surrogateescape`, so bytes that are not UTF-8 survive an edit of the rest. The messages are
those of the documentation of Anthropic's memory tool, which models have learned.
"""

from agentfs.mcp.pages import numbered
from agentfs.mcp.refusals import Refused

_AROUND = 2
"""Lines of context on either side of a change, in the answer to it."""


def replaced(path: str, text: str, old: str, new: str) -> tuple[str, str]:
    """`text` with `new` in place of `old`, which must occur once, and the lines around it. Raises `Refused`."""
    if not old:
        raise Refused("Error: Parameter `old_str` must not be empty: use insert, or create another file.")
    if old not in text and "\r\n" in text:  # models see and write line feeds
        old, new = _with_returns(old), _with_returns(new)
    count = text.count(old)
    if count == 0:
        raise Refused(f"No replacement was performed, old_str `{old}` did not appear verbatim in {path}.")
    if count > 1:
        lines = ", ".join(map(str, _lines_of(text, old)))
        raise Refused(
            f"No replacement was performed. Multiple occurrences of old_str `{old}` in lines: {lines}. Please ensure "
            "it is unique"
        )
    position = text.index(old)
    after = text[:position] + new + text[position + len(old) :]
    first = text.count("\n", 0, position)
    return after, _around(after, first, first + new.count("\n"))


def inserted(text: str, insert_line: int, insert_text: str) -> str:
    """`text` with `insert_text` as lines of its own behind line `insert_line` (0: at the beginning); a last line
    without an end gets one. Raises `Refused`."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if not 0 <= insert_line <= len(lines):
        raise Refused(
            f"Error: Invalid `insert_line` parameter: {insert_line}. It should be within the range of lines of the "
            f"file: [0, {len(lines)}]"
        )
    returns = "\r\n" in text
    added = insert_text.removesuffix("\n").removesuffix("\r")
    if returns:
        added = _with_returns(added) + "\r"
        if insert_line == len(lines) and lines and not lines[-1].endswith("\r"):
            lines[-1] += "\r"
    return "\n".join([*lines[:insert_line], added, *lines[insert_line:], ""])


def _with_returns(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _lines_of(text: str, wanted: str) -> list[int]:
    """The line that each occurrence begins in, overlapping ones too."""
    found, position, line, counted = [], text.find(wanted), 1, 0
    while position >= 0:
        line, counted = line + text.count("\n", counted, position), position
        found.append(line)
        position = text.find(wanted, position + 1)
    return found


def _around(text: str, first: int, last: int) -> str:
    """The lines from `first` to `last` (from 0) with some around them, numbered."""
    lines = text.split("\n")
    begin, end = max(0, first - _AROUND), min(len(lines), last + _AROUND + 1)
    return "\n".join(numbered(lines[begin:end], begin + 1))
