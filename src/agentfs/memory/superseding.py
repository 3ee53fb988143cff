"""Which notes are superseded by newer ones: because one of the two says so, or because the newer one has it all."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agentfs.memory.notes import Names, Note, series, texts
from agentfs.memory.sameness import compared, sentences

_SERIES_MIN = 4
"""So many notes with one title are a series, not versions of one."""
_NOTE = r"\b:?\s*(\[\[[^\]\n]{1,200}\]\]|`[^`\n]{1,200}`|[^\s`]{1,200}\.(?:md|txt))"
_SAYS_NEWER = re.compile(r"(?im)(?:\b(?:supersedes|obsoletes)|(?:^[\s>*_+-]*|\bthis(?: \w+)? )replaces)" + _NOTE)
_SAYS_OLDER = re.compile(r"(?i)\b(?:superseded|replaced|obsoleted) by" + _NOTE)
_SAYS_EARLIER = re.compile(
    r"(?i)\b(?:supersedes|obsoletes|replaces)\s+(?:(?:the|this|our|my|your|all|any|an?)\s+){0,2}"
    r"(?:old|older|earlier|previous|prior|former|original)\b[^.\n]{0,60}"
)
_DENIES = re.compile(r"(?i)(?:\bnot|\bnever|\bno longer|n't)\b[^.\n]*\Z")
_DENIAL = 40
"""Characters before it that are looked at."""
_LABEL = re.compile(r"[\s>*_+-]*([^\W\d_][^:*_\n]{0,40}?)\s*(?::[*_]*|[*_]+:)\s+\S")
"""`Budget: 3000`, `- **Budget:** 3000`."""
_SHARE_MIN = 0.5


def superseded(notes: Sequence[Note], names: Names) -> Iterator[tuple[Note, Note, str]]:
    """The older note, the newer one, and why, each older one once. No note supersedes one that supersedes it."""
    done: dict[str, str] = {}
    for older, newer, why in (*_said(notes, names), *_said_of_title(notes), *_covered(notes)):
        if (
            older.path in done
            or older.path == newer.path
            or older.facts.pinned
            or _leads(done, newer.path, older.path)
        ):
            continue
        done[older.path] = newer.path
        yield older, newer, why


def _leads(done: dict[str, str], start: str, end: str) -> bool:
    while start != end and start in done:
        start = done[start]
    return start == end


def _said(notes: Sequence[Note], names: Names) -> Iterator[tuple[Note, Note, str]]:
    for note in notes:
        for key in ("supersedes", "replaces"):
            for link in texts(note.keys.get(key)):
                if (other := names.meant(link, note)) is not None:
                    yield other, note, f"{note.path} says in its frontmatter that it {key} this"
        for link in texts(note.keys.get("superseded_by")):
            if (other := names.meant(link, note)) is not None:
                yield note, other, f"it says in its frontmatter that {other.path} supersedes it"
        for found in _said_in(note.text, _SAYS_NEWER):
            if (other := names.meant(found[1], note)) is not None:
                yield other, note, f"{note.path} says: “{found[0].strip()}”"
        for found in _said_in(note.text, _SAYS_OLDER):
            if (other := names.meant(found[1], note)) is not None:
                yield note, other, f"it says: “{found[0]}”"


def _said_in(text: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """Where a text says so, and does not deny it."""
    return (found for found in pattern.finditer(text) if not _DENIES.search(text[: found.start()][-_DENIAL:]))


def _title(note: Note) -> str:
    return " ".join((note.facts.title or note.stem).casefold().split())


def _said_of_title(notes: Sequence[Note]) -> Iterator[tuple[Note, Note, str]]:
    """Notes that say that they supersede an earlier one, without its name: the last one before with their title."""
    titled: dict[tuple[str, str], list[Note]] = defaultdict(list)
    for note in notes:
        titled[_title(note), note.facts.type].append(note)
    for group in titled.values():
        by_time = sorted(group, key=lambda note: (note.modified_ns, note.path)) if len(group) > 1 else []
        for older, newer in itertools.pairwise(by_time):
            said = next(_said_in(newer.text, _SAYS_EARLIER), None)
            if said is not None and newer.modified_ns > older.modified_ns:
                yield older, newer, f"{newer.path} has the same title, is newer, and says: “{said[0].strip()}”"


def _covered(notes: Sequence[Note]) -> Iterator[tuple[Note, Note, str]]:
    """Notes with one title, of which a newer one has every sentence or key fact of the older."""
    titled: dict[tuple[str, str, tuple[str, ...]], list[Note]] = defaultdict(list)
    for note in notes:
        titled[_title(note), note.facts.type, series(note.path)].append(note)
    for group in titled.values():
        if 1 < len(group) < _SERIES_MIN and group[0].facts.type not in ("log", "conversation"):
            newest_last = sorted(group, key=lambda note: (note.modified_ns, note.path))
            for at, older in enumerate(newest_last):
                for newer in reversed(newest_last[at + 1 :]):
                    why = _why(older, newer) if newer.modified_ns > older.modified_ns else None
                    if why is not None:
                        yield older, newer, why
                        break


def _why(older: Note, newer: Note) -> str | None:
    old, new = _points(older), _points(newer)
    said, labels = {point.says for point in new}, {point.label for point in new if point.label}
    kept = [point for point in old if point.says in said]
    updated = [point for point in old if point.says not in said and point.label in labels]
    if not kept or len(kept) + len(updated) < len(old) or len(kept) < _SHARE_MIN * len(old):
        return None
    if updated:
        return f"{newer.path} has the same title, is newer, and says all {len(old)} points of this again or anew"
    return f"{newer.path} has the same title, is newer, and says all {len(old)} sentences of this"


class _Point(NamedTuple):
    """A sentence, as it is compared, or a line `label: value`."""

    says: str
    label: str


def _points(note: Note) -> list[_Point]:
    """What a note says, but for its headings."""
    found = []
    for line in note.text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        label = _LABEL.match(line)
        if label:
            found.append(_Point(compared(line), label[1].casefold()))
        else:
            found += [_Point(sentence, "") for sentence in sentences(line)]
    return found
