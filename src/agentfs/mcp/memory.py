"""`remember`, `recall` and `search`, in the words of a model."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agentfs.mcp.arguments import Recall, Remember, Search
from agentfs.mcp.pages import listed
from agentfs.mcp.paths import Root
from agentfs.mcp.refusals import one_line, refusing
from agentfs.memory.packing import fused
from agentfs.memory.recalling import Found, Recalled

META = "agentfs/passages"
"""The key in a result's `_meta` under which programs find where the passages are from. Models do not see it."""
_SNIPPET_LETTERS = 300
_TRIES_MAX = 3
_PATH_TOKENS = 6
"""What `/memories/` before a path costs at most, and a little more."""


def remember(root: Root, given: Remember) -> str:
    """A file of its own, where all faces put memories."""
    with refusing():
        given.text.encode()
        entry = root.home.remember(
            given.text,
            title=given.title,
            importance=given.importance,
            tags=given.tags,
            ttl=given.ttl or None,
            type=given.type,
            space=given.space or None,
        )
    return f"Remembered, in {root.outside(entry.path)}"


def recall(root: Root, given: Recall) -> tuple[str, dict[str, Any]]:
    """The passages that serve the question best, within the budget, with the paths that a model can view."""
    budget = given.max_tokens
    for _ in range(_TRIES_MAX):
        recalled = _recalled(root, given, budget)
        needs = recalled.needs and recalled.needs + _PATH_TOKENS
        part = replace(recalled, found=_seen(root, recalled.found), needs=needs)
        seen = fused([part], max_tokens=given.max_tokens)
        if len(seen.found) == len(recalled.found):
            break
        # These paths are longer than those of the home, and something no longer fits: so much less is asked for.
        budget -= _PATH_TOKENS * len({it.path for it in recalled.found})
    return seen.text, _meta(seen.found) | {"agentfs/tokens": seen.tokens, "agentfs/behind": seen.behind}


def _recalled(root: Root, given: Recall, budget: int) -> Recalled:
    with refusing():
        return root.home.recall(
            given.query,
            max_tokens=max(1, budget),
            strategy=given.strategy,
            tags=given.tags,
            path=_scope(root, given.path),
            since=given.since or None,
        )


def search(root: Root, given: Search) -> tuple[str, dict[str, Any]]:
    """A ranked list of places, with some text of each."""
    with refusing():
        places = root.home.search(
            given.query,
            limit=given.limit,
            tags=given.tags,
            path=_scope(root, given.path),
            since=given.since or None,
        )
    if not places:
        return f"Nothing was found for: {one_line(given.query)}", {}
    found = _seen(root, places)
    lines = [f"{it.path}:{it.first_line}-{it.last_line} ({_day(it)})\n    {_snippet(it.text)}" for it in found]
    title = f"Here are the places that match best, the best first, for: {one_line(given.query)}"
    return listed(title, lines, hint="Ask with a lower limit."), _meta(found)


def _scope(root: Root, path: str) -> str:
    return root.inside(path) if path else root.directory


def _seen(root: Root, found: Sequence[Found]) -> tuple[Found, ...]:
    return tuple(replace(it, path=root.outside(it.path)) for it in found)


def _snippet(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _SNIPPET_LETTERS else text[:_SNIPPET_LETTERS].rsplit(" ", 1)[0] + " …"


def _day(found: Found) -> str:
    return datetime.fromtimestamp(found.date_ns / 1e9, UTC).strftime("%Y-%m-%d")


def _meta(found: Sequence[Found]) -> dict[str, Any]:
    return {
        META: [
            {
                "path": it.path,
                "first_line": it.first_line,
                "last_line": it.last_line,
                "date": _day(it),
                "score": round(it.score, 4),
                "version": it.version,
            }
            for it in found
        ]
    }
