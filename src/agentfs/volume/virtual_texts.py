"""What the words of search and recall say, as text: Markdown that is plain lines as well, or YAML. Pure."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentfs.config.values import about_size
from agentfs.history.rendering import time_text
from agentfs.memory import moments
from agentfs.memory.results import Found, Topic
from agentfs.model.names import shown

_KEYS = ("title", "type", "tags", "importance", "pinned", "expires", "created", "links")
_DATES = ("expires", "created")
_SECOND_NS = 10**9
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))

_SNIPPET_CHARACTERS = 240
_PATHS_SHOWN = 3

RECALL_USAGE = """\
# Ask

- `cat ':recall?query=green+tea'`: the passages that serve the question best, below this directory
- beside it, each behind `&`: `max_tokens=2000`, `strategy=balanced` (or recency, importance, relevance), `tags=a,b`,
  `since=2h`, `path=projects`
- a question that is too long for a name is written: `exec 3<>:recall; echo "a long question" >&3; cat <&3`
"""
SEARCH_USAGE = """\
# Search

- `cat ':search?q=green+tea'`: what the query finds below this directory, the best first
- beside it, each behind `&`: `limit=20`, `tags=a,b`, `since=2h`, `path=projects`, `strategy=recency`
- a query that is too long for a name is written: `exec 3<>:search; echo "a long query" >&3; cat <&3`
"""


def found_text(found: Sequence[Found], what: str, *, behind: int = 0) -> str:
    """Ranked, each with its place, date, score and a snippet. `what`: "found for …"."""
    lines = [f"# {len(found)} {what}", ""]
    for rank, it in enumerate(found, 1):
        parts = [_place(it), _day(it.date_ns), f"{it.score:.3f}", " ".join(f"#{tag}" for tag in it.tags)]
        lines.append(f"{rank}. " + " · ".join(part for part in parts if part))
        lines.append(f"   {one_line(it.text, _SNIPPET_CHARACTERS)}")
    if not found:
        lines.append("Nothing.")
    if behind:
        files = "1 changed file is" if behind == 1 else f"{behind} changed files are"
        lines += ["", f"{files} not indexed yet: ask again in a moment."]
    return "\n".join(lines) + "\n"


def timeline_text(found: Sequence[Found]) -> str:
    """In the order of time, a line each."""
    lines = [f"- {_day(it.date_ns)} · {_place(it)} · {one_line(it.text, _SNIPPET_CHARACTERS)}" for it in found]
    return "\n".join(lines or ["Nothing."]) + "\n"


def topics_text(topics: Sequence[Topic]) -> str:
    """A line each: how many files, what they say, and the newest of them."""
    lines = []
    for it in topics:
        paths = ", ".join(shown(os.fsencode(path)) for path in it.paths[:_PATHS_SHOWN])
        more = ", …" if it.documents > _PATHS_SHOWN else ""
        parts = [it.name, f"{it.documents} file{'' if it.documents == 1 else 's'}", ", ".join(it.words), paths + more]
        lines.append("- " + " · ".join(part for part in parts if part))
    return "\n".join(lines or ["Nothing."]) + "\n"


def _place(it: Found) -> str:
    lines = f"{it.first_line}" if it.last_line == it.first_line else f"{it.first_line}-{it.last_line}"
    return f"{shown(os.fsencode(it.path))}:{lines}"


def tag_counts_text(tags: Iterable[tuple[str, int]]) -> str:
    """How many files have each tag, the most frequent first."""
    return "".join(f"{count}\t{tag}\n" for tag, count in tags)


def stats_text(answer: Mapping[str, Any]) -> str:
    """`key: value` lines."""
    lines = []
    for key, value in answer.items():
        if key == "unread":
            lines.append(f"unread: {answer['unread_help'] or 'none'}\n")
        elif key == "unread_help":
            continue
        elif key.endswith("_bytes"):
            lines.append(f"{key.removesuffix('_bytes')}: {about_size(value)}\n")
        elif key.endswith("_ns"):
            lines.append(f"{key.removesuffix('_ns')}: {'none' if value is None else moments.written(value)}\n")
        else:
            lines.append(f"{key}: {'none' if value in (None, '') else value}\n")
    return "".join(lines)


def one_line(text: str, characters: int = 120) -> str:
    """In one line, and not longer than that."""
    words = " ".join(text.split())
    words = "".join(it if it.isprintable() else "�" for it in words)
    return words if len(words) <= characters else words[: characters - 1] + "…"


def _day(ns: int) -> str:
    return time_text(ns).partition(" ")[0]


def meta_text(answer: Mapping[str, Any]) -> str:
    """Facts as YAML, which can be written back; what cannot be written stands in comments."""
    facts = answer["facts"]
    about = [answer["kind"] or "no text", f"{answer['size_bytes']} bytes"]
    if answer["passages"]:
        about.append(f"{answer['passages']} passage{'' if answer['passages'] == 1 else 's'}")
    lines = [f"# {json.dumps(answer['path'], ensure_ascii=False)}: {', '.join(about)}"]
    version = f", sha256 {answer['version']}" if answer["version"] else ""
    lines.append(f"# changed {moments.written(answer['mtime_ns'])}{version}")
    for key in _KEYS:
        value = facts[key]
        if value not in (None, "", [], False):
            lines.append(f"{key}: {value if key in _DATES else json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def tags_text(answer: Mapping[str, Any]) -> str:
    """One a line."""
    return "".join(f"{tag}\n" for tag in answer["facts"]["tags"])


def ttl_text(answer: Mapping[str, Any], *, now_ns: int) -> str:
    expires = answer["facts"]["expires"]
    found = None if expires is None else moments.moment(expires)
    if found is None:
        return "none\n"
    return f"{expires} ({_left(found.ns - now_ns)})\n"


def links_text(answer: Mapping[str, Any], *, path: bytes) -> str:
    """Both ways, one link a line."""
    lines = [f"# Links of {shown(path)}", ""]
    for link in answer["out"]:
        target = one_line(link["target"], _SNIPPET_CHARACTERS)
        place = shown(os.fsencode(link["path"]))
        lines.append(f"- to {place}" + (f" ({target})" if place != target else "") if place else f"- to {target}")
    lines += [f"- from {shown(os.fsencode(it))}" for it in answer["back"]]
    if len(lines) == 2:
        lines.append("None.")
    return "\n".join(lines) + "\n"


def changes_text(answer: Mapping[str, Any], *, path: bytes, since: str) -> str:
    """The newest first, a line for each commit."""
    lines = [f"# What changed in {shown(path) or '/'} since {since}", ""]
    waiting = answer["waiting"]
    lines += [f"- not in the store yet · {shown(os.fsencode(it))}" for it in waiting]
    lines += [commit_line(commit) for commit in answer["commits"]]
    if answer["behind"]:
        lines.append(f"- The store cannot be reached: the last {answer['behind']} commits are not known here.")
    if answer["more"]:
        lines.append("- … earlier ones are left out: ask for a shorter time")
    if len(lines) == 2:
        lines.append("Nothing.")
    return "\n".join(lines) + "\n"


def commit_line(commit: Mapping[str, Any]) -> str:
    """`- @12 · 2026-11-21 10:00 · alice · changed notes.md, created b.md and 3 more`."""
    changes = [f"{it['what']} {shown(os.fsencode(it['path']))}" for it in commit["changes"]]
    left = sum(commit["counts"].values()) - len(changes)
    more = f" and {left} more" if left > 0 else ""
    parts = [f"@{commit['sequence']}", time_text(commit["time_ns"]), commit["author"], ", ".join(changes) + more]
    return "- " + " · ".join(part for part in parts if part)


def _left(ns: int) -> str:
    """`in 6d 23h`, of which the two largest units are enough."""
    if ns <= 0:
        return "expired"
    rest = ns // _SECOND_NS
    parts: list[str] = []
    for seconds, unit in _UNITS:
        count, rest = divmod(rest, seconds)
        if count and len(parts) < 2:
            parts.append(f"{count}{unit}")
    return "in " + (" ".join(parts) or "less than 1s")
