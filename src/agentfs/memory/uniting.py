"""One note of several: their text without doubles, and their facts."""

import os
import re
from collections.abc import Sequence

from agentfs.memory.documents import document
from agentfs.memory.facts import Facts, front, with_facts
from agentfs.memory.moments import written
from agentfs.memory.sameness import sentences
from agentfs.merge.contents import Merged, merge_contents
from agentfs.merge.yaml_keys import said

_FENCE = re.compile(r"\s*(```+|~~~+)")


def united(name: bytes, first: bytes, others: Sequence[bytes], *, mtimes_ns: Sequence[int]) -> bytes | None:
    """The bytes of a note that says all that `first` and the `others` say: the first as it is, with what only the
    others say where merging puts it, all their tags and keys, the greatest importance and the latest end.

    `name` is the first one's; `mtimes_ns` of all, in order: what a `ttl` counts from. None: they cannot be merged, or
    the file cannot hold the facts.
    """
    base = os.path.basename(name)
    head, text = _divided(base, first)
    for other in others:
        other_head, other_text = _divided(base, other)
        keys = merge_contents(base, None, other_head, head) if head else Merged(other_head, ())
        body = merge_contents(base, None, text, _unsaid(other_text, text))
        if keys is None or body is None:
            return None
        head, text = keys.data, body.data
    facts = [_facts(name, data, mtime_ns) for data, mtime_ns in zip((first, *others), mtimes_ns, strict=True)]
    changes = _changes(facts[0], facts[1:])
    known = said(front(base, head.decode("utf-8", "surrogateescape"))[0], changes.keys())
    changes = {key: value for key, value in changes.items() if value is not None or key in known}
    return with_facts(name, head + text, changes) if changes else head + text


def with_text(name: bytes, data: bytes, text: str) -> bytes:
    """A note with another text behind its frontmatter."""
    return _divided(os.path.basename(name), data)[0] + text.encode("utf-8", "surrogateescape")


def _divided(base: bytes, data: bytes) -> tuple[bytes, bytes]:
    """The frontmatter with its lines, and the rest."""
    text = data.decode("utf-8", "surrogateescape")
    _, body = front(base, text)
    return text[:body].encode("utf-8", "surrogateescape"), text[body:].encode("utf-8", "surrogateescape")


def _unsaid(other: bytes, text: bytes) -> bytes:
    """`other` without the lines of which every sentence stands in `text`, but for headings; nothing where only
    headings are left. Fenced code goes, or stays, as a whole."""
    known = frozenset(sentences(text.decode("utf-8", "replace")))
    kept = []
    is_new = False
    for block in _blocks(other.decode("utf-8", "surrogateescape")):
        says = sentences(block.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        is_heading = block.lstrip().startswith("#")
        if is_heading or not says or not known.issuperset(says):
            kept.append(block)
            is_new |= bool(says) and not known.issuperset(says)
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


def _facts(name: bytes, data: bytes, mtime_ns: int) -> Facts:
    found = document(name, data, {}, mtime_ns=mtime_ns)
    return Facts() if found is None else found.facts


def _changes(first: Facts, others: Sequence[Facts]) -> dict[str, object]:
    """What the first one must say besides, so that nothing of the others is lost. Their ends, so that nothing ends
    early: without one where any has none."""
    everything = [first, *others]
    changes: dict[str, object] = {}
    weights = [facts.importance for facts in everything if facts.importance is not None]
    if weights and max(weights) != first.importance:
        changes["importance"] = max(weights)
    ends = [facts.expires_ns for facts in everything]
    known = [end for end in ends if end is not None]
    if known and len(known) < len(ends):
        changes.update({"expires": None, "ttl": None})
    elif known and max(known) != min(known):
        changes["expires"] = written(max(known))
    begun = [facts.created_ns for facts in everything if facts.created_ns is not None]
    if begun and min(begun) != first.created_ns:
        changes["created"] = written(min(begun))
    if any(facts.pinned for facts in others) and not first.pinned:
        changes["pinned"] = True
    return changes
