"""What becomes of one line that both sides changed: by its parts, which are larger than words."""

import re
from collections.abc import Callable, Sequence

_LEAD = re.compile(r"(\s*)((?:[-*+]|\d{1,9}[.)])[ \t]+)?(\[[ xX~/-]\][ \t]+)?")
"""Indentation, list mark, checkbox."""
_TEXT, _TRAILING = -2, -1
"""Where these parts are, from the end."""

_SENTENCE = re.compile(
    r"""(?: [.!?…]{1,9} ["'”’»)\]*_]{0,9} (?=\s)     # the end of a sentence, and a space
          | [。！？；｡]{1,9} [”’」』）】》]{0,9}       # these need no space
        ) \s*""",
    re.VERBOSE,
)
_ABBREVIATIONS = frozenset(
    """e.g. i.e. cf. vs. etc. approx. no. nr. vol. fig. sec. ch. p. pp. ed. eds. al. mr. mrs. ms. dr. prof. st. jr.
    sr. inc. ltd. co. corp. dept. est. jan. feb. mar. apr. jun. jul. aug. sep. sept. oct. nov. dec.
    z.b. d.h. bzw. usw. ca. u.a. s. abb.""".split()  # noqa: SIM905 - a list of words reads better as words
)
_INITIAL = re.compile(r"(?:^|[\s(])(?:[A-Za-z]\.|\d{1,3}\.)$")
_CODE_SPAN = re.compile(r"(`{1,9})(?!`).{0,400}?(?<!`)\1(?!`)|\]\([^()\n]{0,400}\)|<[^<>\n]{0,400}>")
"""Code, a link's target, a tag. Bounded, so that no line takes long."""
_TAIL = 40
"""Characters that are looked at before a full stop."""
_WIDE_FROM = 0x2E80
"""Chinese, Japanese and Korean text begins here: no space between sentences."""

_CELL_BORDER = re.compile(r"(?<!\\)\|")

SentenceMerge = Callable[[Sequence[str], Sequence[str], Sequence[str]], list[str] | None]


def three_way(base: str, earlier: str, later: str) -> str | None:
    """The side that changed it; None if both did, differently."""
    if earlier in (later, base):
        return later
    return earlier if later == base else None


def merge_line(base: str, earlier: str, later: str, *, prose: bool, sentences: SentenceMerge) -> str | None:
    """One line with both changes, or None if both changed the same part of it to different ones."""
    if prose and _is_row(base) and _is_row(earlier) and _is_row(later):
        return _merge_row(base, earlier, later)
    versions_of_parts = list(zip(_parts(base, prose), _parts(earlier, prose), _parts(later, prose), strict=True))
    merged = []
    for at, versions in enumerate(versions_of_parts, start=-len(versions_of_parts)):
        part = three_way(*versions)
        if part is None and at == _TRAILING:
            part = min(versions[1:])
        if part is None and prose and at == _TEXT:
            old, one, other = (split_sentences(version) for version in versions)
            units = sentences(old, one, other)
            part = None if units is None else join_sentences(units)
        if part is None:
            return None
        merged.append(part)
    return "".join(merged)


def _parts(line: str, prose: bool) -> tuple[str, ...]:
    """Indentation, in prose also list mark and checkbox, the text, the spaces behind it."""
    bare = line.rstrip()
    found = _LEAD.match(bare)
    assert found is not None, "every part may be empty"
    lead = [part or "" for part in found.groups()] if prose else [found[1]]
    return (*lead, bare[sum(map(len, lead)) :], line[len(bare) :])


def _is_row(line: str) -> bool:
    bare = line.strip()
    return len(bare) > 2 and bare[0] == bare[-1] == "|"


def _merge_row(base: str, earlier: str, later: str) -> str | None:
    """A table's row, by cells. How wide a cell is does not matter."""
    rows = [_CELL_BORDER.split(row) for row in (base, earlier, later)]
    if len({len(row) for row in rows}) != 1:
        return None
    merged = []
    for old, one, other in zip(*rows, strict=True):
        cell = three_way(old, one, other)
        if cell is None:
            bare = three_way(old.strip(), one.strip(), other.strip())
            if bare is None:
                return None
            cell = other if other.strip() == bare else one
        merged.append(cell)
    return "|".join(merged)


def split_sentences(text: str) -> list[str]:
    """The sentences of one line, each with the spaces behind it. `"".join` gives the text again.

    Not divided: abbreviations, initials and numbers with a full stop, code spans, links' targets.
    """
    shielded = [found.span() for found in _CODE_SPAN.finditer(text)][::-1]
    sentences = []
    start = 0
    for found in _SENTENCE.finditer(text):
        stop, end = found.span()
        while shielded and shielded[-1][1] <= stop:
            shielded.pop()
        inside = bool(shielded) and shielded[-1][0] <= stop
        if end < len(text) and not inside and not _goes_on(text[max(start, stop - _TAIL) : end].rstrip(), text[end]):
            sentences.append(text[start:end])
            start = end
    if start < len(text):
        sentences.append(text[start:])
    return sentences


def _goes_on(tail: str, following: str) -> bool:
    """The stop at the end of `tail` does not end a sentence."""
    if not tail.endswith("."):
        return False
    last_word = tail.rsplit(None, 1)[-1]
    return (
        following.islower()
        or _INITIAL.search(tail) is not None
        or last_word.lstrip("(\"'“").lower() in _ABBREVIATIONS
    )


def join_sentences(sentences: Sequence[str]) -> str:
    """One line of these sentences. A space is put behind one that was the last of its line and is not any more."""
    parts = []
    for at, sentence in enumerate(sentences):
        parts.append(sentence)
        last = at + 1 == len(sentences)
        if not last and sentence and not sentence[-1].isspace() and ord(sentence[-1]) < _WIDE_FROM:
            parts.append(" ")
    return "".join(parts).rstrip()
