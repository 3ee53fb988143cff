"""The merge of two versions of one file: pure bytes in, pure bytes out (DESIGN, section 6; docs/merging.md)."""

from dataclasses import dataclass

from agentfs.merge.forms import Form, form_of, may_have_frontmatter
from agentfs.merge.text import MergedText, merge_text

MERGE_BYTES_MAX = 8 * 1024 * 1024
"""Each side. A larger file is not merged: its two versions are kept as two files. A merge of this size, with one edit
on each side, takes 0.2 s of CPU and 70 MiB of memory (docs/decisions/0051); notes are a thousand times smaller."""


@dataclass(frozen=True, slots=True)
class Merged:
    data: bytes
    clashes: tuple[str, ...]
    """What both changed, one line each for a person, e.g. `line 12: both changed it; both versions were kept`."""


def may_merge(name: bytes, size_bytes: int) -> bool:
    """A cheap look without bytes: False if `merge_contents` would return None for this size or kind of name."""
    return size_bytes <= MERGE_BYTES_MAX and form_of(name) is not Form.BINARY


def merge_contents(
    name: bytes, base: bytes | None, earlier: bytes, later: bytes, *, marked: bool = False
) -> Merged | None:
    """One content with the changes of both sides, or None if they cannot be merged (the caller keeps two files).

    `earlier` is what the log has, `later` what comes on top of it, `base` what both came from (None: not known).
    `marked`: what both changed stands between conflict markers, as git writes them, in plain text and Markdown; else
    both versions stand there without. Deterministic; raises for no bytes.
    """
    if later in (earlier, base):
        return Merged(earlier, ())
    if earlier == base:
        return Merged(later, ())
    base_text, earlier_text, later_text = (_text(name, side) for side in (base or b"", earlier, later))
    if base_text is None or earlier_text is None or later_text is None:
        return None
    merged = _merge_texts(name, base_text if base is not None else None, earlier_text, later_text, marked=marked)
    return None if merged is None else Merged(merged.text.encode(), merged.clashes)


def _text(name: bytes, data: bytes) -> str | None:
    if not may_merge(name, len(data)) or b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _merge_texts(name: bytes, base: str | None, earlier: str, later: str, *, marked: bool) -> MergedText | None:
    """The libraries of the structured forms are imported when such a file is merged, not before."""
    form = form_of(name)
    if form in (Form.JSON, Form.TOML, Form.YAML):
        from agentfs.merge.formats import format_of  # noqa: PLC0415
        from agentfs.merge.structured import merge_structured  # noqa: PLC0415

        return merge_structured(base, earlier, later, format_of(form))
    if may_have_frontmatter(name) and any(it.lstrip("\ufeff").startswith("---") for it in (earlier, later)):
        from agentfs.merge.formats import format_of  # noqa: PLC0415
        from agentfs.merge.frontmatter import merge_fronted  # noqa: PLC0415

        return merge_fronted(base, earlier, later, format_of(Form.YAML), marked=marked)
    marked = marked and form in (Form.PLAIN, Form.PROSE)
    merged = merge_text(base, earlier, later, Form.PLAIN if form is Form.STRICT else form, marked=marked)
    return None if merged is None or (form is Form.STRICT and merged.clashes) else merged
