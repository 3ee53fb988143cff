"""The `agentfs:` block in a Markdown file's frontmatter: written, found, and taken out (docs/view.md, V-30 ff.)."""

import re
from dataclasses import dataclass

from agentfs.merge import yaml_source
from agentfs.merge.frontmatter import divided
from agentfs.merge.values import Leaf, Unusual
from agentfs.merge.yaml_keys import said, with_keys, written_at
from agentfs.view.facts import KEYS, ViewFacts, facts_of, is_readable, texts_of

KEY = "agentfs"
SEARCHED_BYTES = 128 * 1024
"""A frontmatter that does not end within so many bytes has no block."""
BOM = b"\xef\xbb\xbf"

_INDENT = "  "
_ENTRY = re.compile(r"(?:agentfs|\"agentfs\"|'agentfs')[ \t]*:[ \t]*(?:#[^\n]*|\r)?(\n?)")
_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
_AROUND = " \t\r\n\"'\\"
"""What may stand around a piece of a value."""
_NUMBERS = frozenset(("version", "sequence"))


def written(facts: ViewFacts, ending: str) -> str:
    """The block's lines. `ending`: how they end. Raises ValueError, as `texts_of`."""
    lines = [f"{KEY}:{ending}"]
    for key, text in texts_of(facts).items():
        value = int(text) if key in _NUMBERS else text
        lines.append(_INDENT + with_keys("", {key: value}, ending=ending))
    return "".join(lines)


@dataclass(frozen=True, slots=True)
class Found:
    """A block that is AgentFS's own, and the object without it."""

    facts: ViewFacts
    rests: tuple[bytes, ...]
    """One; or, where nothing else stood between the fences, two: without them and with them."""


def found(data: bytes) -> Found | None:
    """The block at the top of `data`. None: there is none, or it is not ours (V-33)."""
    if not data.startswith((b"---", BOM + b"---")):
        return None
    opening, yaml, closing, _ = divided(data[:SEARCHED_BYTES].decode("utf-8", "surrogateescape"))
    rest, facts = _taken_out(yaml)
    if facts is None:
        return None
    begin, end = (_bytes(lines) for lines in (opening, closing))
    after = data[len(begin) + len(_bytes(yaml)) + len(end) :]
    fenced = begin + _bytes(rest) + end + after
    return Found(facts, (fenced,) if rest else ((BOM if begin.startswith(BOM) else b"") + after, fenced))


def _taken_out(yaml: str) -> tuple[str, ViewFacts | None]:
    """The mapping without our blocks (a careless merge may have left two), and what the first one says."""
    parts, at, first = [], 0, None
    for start, end in written_at(yaml, (KEY,), column=0):
        entry = yaml[start:end]
        name = _ENTRY.match(entry)
        reduced = _reduced_block(entry) if name is not None and name[1] else _reduced_flow(entry)
        if reduced is not None:
            parts += [yaml[at:start], reduced[0]]
            at, first = end, first or reduced[1]
    return "".join(parts) + yaml[at:], first


def _reduced_block(entry: str) -> tuple[str, ViewFacts] | None:
    """What stays of an entry that is written as lines, and its facts: comments stay, and keys that are not ours (with
    them the entry's own line). None: it is not ours."""
    lines, tail = _without_tail(_LINE.findall(entry))
    inner = "".join(lines[1:])
    if inner.lstrip().startswith("{"):
        return _reduced_flow(entry)
    kept: list[str] = []
    at = 0
    for start, end in [*written_at(inner, KEYS), (len(inner), len(inner))]:
        kept += _LINE.findall(inner[at:start])
        below = _LINE.findall(inner[start:end])[1:]
        # A tool may have folded a long value. Other lines are somebody's text.
        value = "" if all(map(_is_silent, below)) else _value(inner[start:end])
        kept += [line for line in below if line.strip(_AROUND) not in value or _is_silent(line)]
        at = end
    other = not all(map(_is_silent, kept))
    texts = {key: text for key, text in said(inner, KEYS).items() if isinstance(text, str)}
    facts = facts_of(texts, whole=other)
    if facts is None:
        return None
    staying = [lines[0], *kept] if other else [line for line in kept if line.strip()]
    return "".join([*staying, *tail]), facts


def _value(entry: str) -> str:
    """The fact that an entry of the block says; "": none."""
    found = said(entry, KEYS).items()
    return next((text for key, text in found if isinstance(text, str) and is_readable(key, text)), "")


def _reduced_flow(entry: str) -> tuple[str, ViewFacts] | None:
    """The same of an entry that a tool wrote as `{…}`; it is ours only if every key is."""
    lines, tail = _without_tail(_LINE.findall(entry))
    try:
        value = yaml_source.parse("".join(lines))
    except Unusual:
        return None
    members = value.get(KEY) if isinstance(value, dict) else None
    if not isinstance(members, dict) or not members.keys() <= set(KEYS):
        return None
    facts = facts_of({key: member.text for key, member in members.items() if isinstance(member, Leaf)})
    return None if facts is None else ("".join(tail), facts)


def _without_tail(lines: list[str]) -> tuple[list[str], list[str]]:
    """The lines, and what follows the last one that says something: blank lines and comments are not the entry's."""
    stop = len(lines)
    while stop > 1 and _is_silent(lines[stop - 1]):
        stop -= 1
    return lines[:stop], lines[stop:]


def _is_silent(line: str) -> bool:
    return line.strip()[:1] in ("", "#")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
