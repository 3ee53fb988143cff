"""Markdown with YAML frontmatter: its keys one by one, the rest as text."""

import re
from typing import TYPE_CHECKING

from agentfs.merge.forms import Form

if TYPE_CHECKING:
    from agentfs.merge.structured import Format
    from agentfs.merge.text import MergedText

_FRONT = re.compile(r"(\ufeff?---[ \t]*\r?\n)(.*?\n)??(---[ \t]*(?:\r?\n|\Z))", re.DOTALL)

_KEPT = "line 2: one changed the frontmatter, the other emptied it; it was kept"


def divided(text: str) -> tuple[str, str, str, str]:
    """The opening line, the YAML, the closing line, and the rest; three empty ones without frontmatter."""
    found = _FRONT.match(text)
    if found is None:
        return "", "", "", text
    return found[1], found[2] or "", found[3], text[found.end() :]


def merge_fronted(
    base: str | None, earlier: str, later: str, format_: "Format", *, marked: bool = False
) -> "MergedText | None":
    """None: the two cannot be one file. `marked`: as `merge_text`, in the rest."""
    from agentfs.merge.structured import merge_structured  # noqa: PLC0415 - who divides a text merges nothing
    from agentfs.merge.text import MergedText, merge_text  # noqa: PLC0415

    old, one, other = divided(base or ""), divided(earlier), divided(later)
    bare = None if bool(one[0]) == bool(other[0]) or not old[0] else earlier if other[0] else later
    if bare is not None:  # one took the block away: as if it were empty, so that the other's keys stay inside one
        rest = bare.removeprefix("\ufeff")
        one = one if one[0] else (other[0], "", other[2], rest)
        other = other if other[0] else (one[0], "", one[2], rest)
    if not one[0] or not other[0]:
        return merge_text(base, earlier, later, Form.PROSE, marked=marked)
    opening, _, closing, _ = other if (one[0], one[2]) == (old[0], old[2]) else one
    if one[1] == other[1] or other[1] == old[1]:
        front = MergedText(one[1], ())
    elif one[1] == old[1]:
        front = MergedText(other[1], ())
    else:
        found = merge_structured(old[1] if old[0] else None, one[1], other[1], format_, first_line=2)
        if found is None and one[1].strip() and other[1].strip():
            return None
        front = found or MergedText(one[1] if one[1].strip() else other[1], (_KEPT,))
    head = opening + front.text + closing
    if bare is not None and not front.text.strip():
        head = "\ufeff" if bare.startswith("\ufeff") else ""
    body = merge_text(
        old[3] if base is not None else None,
        one[3],
        other[3],
        Form.PROSE,
        first_line=head.count("\n") + 1,
        marked=marked,
    )
    return None if body is None else MergedText(head + body.text, front.clashes + body.clashes)
