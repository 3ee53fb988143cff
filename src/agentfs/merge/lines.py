"""What becomes of one line that both sides changed: by its parts, which are larger than words."""

import re
from collections.abc import Callable, Sequence

_PARTS = re.compile(r"(\s*)((?:[-*+]|\d{1,9}[.)])[ \t]+)?(\[[ xX~/-]\][ \t]+)?(.*?)(\s*)", re.DOTALL)
"""Indentation, list mark, checkbox, text, trailing spaces."""
_INDENTED = re.compile(r"(\s*)(.*?)(\s*)", re.DOTALL)

_TEXT, _TRAILING = -2, -1
"""Where these parts are, from the end."""

_SENTENCE = re.compile(
    r"""(?: [.!?…]+ ["'”’»)\]*_]* (?=\s)        # the end of a sentence, and a space
          | [。！？；｡]+ [”’」』）】》]*          # these need no space
        ) \s*""",
    re.VERBOSE,
)
_ABBREVIATIONS = frozenset(
    """e.g. i.e. cf. vs. etc. approx. no. nr. vol. fig. sec. ch. p. pp. ed. eds. al. mr. mrs. ms. dr. prof. st. jr.
    sr. inc. ltd. co. corp. dept. est. jan. feb. mar. apr. jun. jul. aug. sep. sept. oct. nov. dec.
    z.b. d.h. bzw. usw. ca. u.a. s. abb.""".split()  # noqa: SIM905 - a list of words reads better as words
)
_INITIAL = re.compile(r"(?:^|[\s(])(?:[A-Za-z]\.|\d{1,3}\.)$")
_CODE_SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)|\]\([^)\n]*\)|<[^>\n]*>")
_WIDE_FROM = 0x2E80
"""Chinese, Japanese and Korean text begins here: no space between sentences."""
_LAST_WORD = re.compile(r"\S+$")

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
    pattern = _PARTS if prose else _INDENTED
    versions_of_parts = list(
        zip(_parts(pattern, base), _parts(pattern, earlier), _parts(pattern, later), strict=True)
    )
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


def _parts(pattern: re.Pattern[str], line: str) -> tuple[str, ...]:
    found = pattern.fullmatch(line)
    assert found is not None, "the pattern takes every line"
    return tuple(part or "" for part in found.groups())


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
    shielded = [found.span() for found in _CODE_SPAN.finditer(text)]
    sentences = []
    start = 0
    for found in _SENTENCE.finditer(text):
        end = found.end()
        if end < len(text) and not _goes_on(text, start, found.start(), end, shielded):
            sentences.append(text[start:end])
            start = end
    if start < len(text):
        sentences.append(text[start:])
    return sentences


def _goes_on(text: str, start: int, stop: int, end: int, shielded: Sequence[tuple[int, int]]) -> bool:
    """The stop at `stop` does not end the sentence that began at `start`."""
    if any(low <= stop < high for low, high in shielded):
        return True
    sentence = text[start:end].rstrip()
    if not sentence.endswith("."):
        return False
    last_word = _LAST_WORD.search(sentence)
    return (
        text[end].islower()
        or _INITIAL.search(sentence) is not None
        or (last_word is not None and last_word[0].lstrip("(\"'“").lower() in _ABBREVIATIONS)
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
