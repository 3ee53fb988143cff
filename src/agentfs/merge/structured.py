"""Files with keys: the merged values decide, and the source of both sides is put together to say them."""

from collections.abc import Callable
from dataclasses import dataclass

from agentfs.merge.forms import Form
from agentfs.merge.text import MergedText, merge_text
from agentfs.merge.values import ABSENT, Unusual, Value, merge_values

STRUCTURED_BYTES_MAX = 1024 * 1024
"""Characters of one side. Larger files are merged as text, and only if that leaves them valid."""


@dataclass(frozen=True, slots=True)
class Format:
    parse: Callable[[str], Value]
    """Raises Unusual."""
    write: Callable[[Value, str, str], str]
    """Raises Unusual."""
    valid: Callable[[str], bool]
    comment: str | None
    """What a comment begins with."""


def merge_structured(
    base: str | None, earlier: str, later: str, format_: Format, *, first_line: int = 1
) -> MergedText | None:
    """Both sides' changes by key; as text where the format cannot be read. None: one file of both would be broken, or
    say something else than both."""
    as_text = merge_text(base, earlier, later, Form.PLAIN, first_line=first_line)
    if max(len(earlier), len(later), len(base or "")) <= STRUCTURED_BYTES_MAX:
        try:
            return _by_key(base, earlier, later, format_, as_text)
        except (Unusual, RecursionError):
            pass
    if as_text is None or not (format_.valid(earlier) and format_.valid(later)):
        return as_text
    return as_text if not as_text.clashes and format_.valid(as_text.text) else None


def _by_key(
    base: str | None, earlier: str, later: str, format_: Format, as_text: MergedText | None
) -> MergedText | None:
    """Raises Unusual if one of them cannot be read."""
    one, other = format_.parse(earlier), format_.parse(later)
    value, clashes = merge_values(_base_value(base, format_), one, other)
    source = _source(value, (base or "", earlier, later), format_, as_text)
    return None if source is None else MergedText(source, tuple(clashes))


def _source(value: Value, versions: tuple[str, str, str], format_: Format, as_text: MergedText | None) -> str | None:
    """The source of a merged value. The merge of text is taken where it says the same: it keeps everything that
    values do not show."""
    if as_text is not None and _says(as_text.text, value, format_):
        return as_text.text
    base, earlier, later = versions
    try:
        written = format_.write(value, earlier, later)
    except Unusual:
        return None
    if not _says(written, value, format_) or _lost_comments(base, earlier, later, written, format_.comment):
        return None
    return written


def _base_value(base: str | None, format_: Format) -> Value:
    try:
        return ABSENT if base is None else format_.parse(base)
    except Unusual:
        return ABSENT


def _says(text: str, value: Value, format_: Format) -> bool:
    try:
        return format_.parse(text) == value
    except Unusual:
        return False


def _lost_comments(base: str, earlier: str, later: str, written: str, comment: str | None) -> bool:
    """A comment that a side has and nobody removed is not in the result."""
    if comment is None:
        return False
    old, one, other, new = (
        {line.strip() for line in text.split("\n") if line.lstrip().startswith(comment)}
        for text in (base, earlier, later, written)
    )
    return not (((one | other) - old) | (one & other)) <= new
