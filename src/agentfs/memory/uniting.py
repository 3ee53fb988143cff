"""One note of several: their text without doubles, and their facts."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentfs.memory.documents import document
from agentfs.memory.facts import Facts, facts_of, front, with_facts
from agentfs.memory.moments import written
from agentfs.memory.sameness import sentences
from agentfs.merge.contents import Merged, merge_contents
from agentfs.merge.forms import may_have_frontmatter
from agentfs.merge.yaml_keys import said

_FENCE = re.compile(r"\s*(```+|~~~+)")


@dataclass(frozen=True, slots=True)
class Part:
    """One of the notes."""

    data: bytes
    modified_ns: int
    """What a `ttl` counts from."""
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class United:
    data: bytes
    facts: Mapping[str, object]
    """What the bytes cannot hold: for xattrs. None takes one away."""


def united(name: bytes, parts: Sequence[Part]) -> United | None:
    """A note that says all that `parts` say: the first as it is, with what only the others say where merging puts it,
    all their tags and keys, the greatest importance and the latest end. `name` is the first one's. None: they cannot
    be merged.
    """
    base = os.path.basename(name)
    first, *others = parts
    head, text = _divided(base, first.data)
    for other in others:
        other_head, other_text = _divided(base, other.data)
        keys = merge_contents(base, None, other_head, head) if head else Merged(other_head, ())
        body = merge_contents(base, None, text, _unsaid(other_text, text))
        if keys is None or body is None:
            return None
        head, text = keys.data, body.data
    changes = _changes([_facts(name, part) for part in parts], [_outer(base, part) for part in parts])
    known = said(front(base, head.decode("utf-8", "surrogateescape"))[0], changes.keys())
    inner = {key: value for key, value in changes.items() if value is not None or key in known}
    held = with_facts(name, head + text, inner) if inner else head + text
    if held is None:
        return United(head + text, changes)
    # An attribute would win over what the file says now.
    return United(held, dict.fromkeys(changes) if may_have_frontmatter(base) else {})


def with_text(name: bytes, data: bytes, text: str) -> bytes:
    """A note with another text behind its frontmatter."""
    return _divided(os.path.basename(name), data)[0] + text.encode("utf-8", "surrogateescape")


def _divided(base: bytes, data: bytes) -> tuple[bytes, bytes]:
    """The frontmatter with its lines, and the rest."""
    text = data.decode("utf-8", "surrogateescape")
    _, body = front(base, text)
    return text[:body].encode("utf-8", "surrogateescape"), text[body:].encode("utf-8", "surrogateescape")


def _unsaid(other: bytes, text: bytes) -> bytes:
    """`other` without the lines of which every sentence stands in `text`, but for headings, and for what stands under
    a heading that `text` does not have: it is said of something else there. Nothing where only headings are left.
    Fenced code goes, or stays, as a whole."""
    known = frozenset(sentences(text.decode("utf-8", "replace")))
    kept = []
    is_new = is_elsewhere = False
    for block in _blocks(other.decode("utf-8", "surrogateescape")):
        says = sentences(block.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        is_heading = block.lstrip().startswith("#")
        if is_heading:
            is_elsewhere = not known.issuperset(says)
        if is_heading or is_elsewhere or not says or not known.issuperset(says):
            kept.append(block)
            is_new |= bool(says) and (is_elsewhere or not known.issuperset(says))
    return "".join(kept).encode("utf-8", "surrogateescape") if is_new else b""


def _blocks(text: str) -> list[str]:
    """The lines of a text, those of one fenced code together."""
    found: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            found[-1] += line
            if mark and mark[1].startswith(fence):
                fence = ""
        else:
            found.append(line)
            fence = mark[1] if mark else ""
    return found


def _facts(name: bytes, part: Part) -> Facts:
    found = document(name, part.data, part.xattrs, mtime_ns=part.modified_ns)
    return Facts() if found is None else found.facts


def _outer(base: bytes, part: Part) -> Facts:
    """What its attributes alone say."""
    return facts_of(base, "", part.xattrs, mtime_ns=part.modified_ns)


def _changes(facts: Sequence[Facts], outer: Sequence[Facts]) -> dict[str, object]:
    """What the first one must say besides, so that nothing of the others is lost, and nothing ends early: without an
    end where any has none. `outer`: what attributes say; the frontmatters are merged already."""
    first, *others = facts
    changes: dict[str, object] = {}
    weights = [one.importance for one in facts if one.importance is not None]
    if weights and max(weights) != first.importance:
        changes["importance"] = max(weights)
    ends = [one.expires_ns for one in facts]
    known = [end for end in ends if end is not None]
    if known and len(known) < len(ends):
        changes.update({"expires": None, "ttl": None})
    elif known and max(known) != min(known):
        changes["expires"] = written(max(known))
    begun = [one.created_ns for one in facts if one.created_ns is not None]
    if begun and min(begun) != first.created_ns:
        changes["created"] = written(min(begun))
    if any(one.pinned for one in others) and not first.pinned:
        changes["pinned"] = True
    types = [one.type for one in outer if one.type]
    if types and not first.type:
        changes["type"] = types[0]
    if any(one.tags for one in outer[1:]):
        changes["tags"] = list(dict.fromkeys(tag for one in facts for tag in one.tags))
    return changes
