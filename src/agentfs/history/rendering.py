"""Histories and conflicts as text that people and agents read: Markdown that is plain lines as well. Pure."""

from collections.abc import Sequence
from datetime import datetime, tzinfo

from agentfs.config.values import about_size
from agentfs.history.conflicts import ConflictLine
from agentfs.history.events import PathEvent
from agentfs.history.names import PathNames
from agentfs.model.names import shown

LINES_MAX = 2000
"""Of events in one text: the newest."""


def path_text(path: PathNames) -> str:
    """A path for a person."""
    return shown(b"/".join(path)) or "/"


def history_text(path: PathNames, events: Sequence[PathEvent], *, zone: tzinfo | None = None, note: str = "") -> str:
    """What `notes.md:history` says: the newest first, one line each. `events` are in their order, oldest first."""
    name = path_text(path)
    versions = max((event.version or 0 for event in events), default=0)
    lines = [f"# History of {name}: {versions} version{'' if versions == 1 else 's'}", ""]
    if note:
        lines += [note, ""]
    lines += [event_line(event, zone=zone) for event in reversed(events[-LINES_MAX:])]
    if len(events) > LINES_MAX:
        lines.append(f"- … {len(events) - LINES_MAX} older lines: agentfs history {name}")
    if not events:
        lines.append("Nothing of it is in the log yet.")
    return "\n".join(lines) + "\n"


def event_line(event: PathEvent, *, zone: tzinfo | None = None) -> str:
    """`- v3 · 2026-11-21 10:00 · alice · changed · 4.1 KiB · @1234`."""
    parts = [
        f"v{event.version}" if event.version is not None else "--",
        time_text(event.time_ns, zone),
        event.author or "(collected)",
        what_text(event) + (f" ({event.cause})" if event.cause else ""),
        about_size(event.size_bytes) if event.what != "deleted" else "",
        f"@{event.sequence}",
    ]
    return "- " + " · ".join(part for part in parts if part)


def what_text(event: PathEvent) -> str:
    """What happened, in a few words."""
    if event.beginning:
        return f"{event.what if event.author else 'as it was'}; what came before is gone"
    if event.what == "renamed" and event.other is not None:
        changed = " and changed" if event.content_changed else ""
        return f"renamed from {path_text(event.other)}{changed}"
    if event.what == "deleted" and event.other is not None:
        return f"moved to {path_text(event.other)}"
    if event.conflict is not None and event.what != "merged":
        return f"{event.what} (conflict {event.conflict.sequence}.{event.conflict.index})"
    if event.conflict is not None:
        return f"merged (conflict {event.conflict.sequence}.{event.conflict.index})"
    return event.what


def conflicts_text(lines: Sequence[ConflictLine], *, path: PathNames = (), zone: tzinfo | None = None) -> str:
    """What `:conflicts` says: open conflicts, a section each, with the commands that help."""
    where = f" at {path_text(path)}" if path else ""
    if not lines:
        return f"# No open conflicts{where}\n"
    text = [f"# {len(lines)} open conflict{'' if len(lines) == 1 else 's'}{where}", ""]
    for line in lines:
        text += [f"## {path_text(line.path)} ({line.id})", "", *_conflict_facts(line, zone), ""]
    return "\n".join(text).rstrip("\n") + "\n"


def _conflict_facts(line: ConflictLine, zone: tzinfo | None) -> list[str]:
    facts = [f"- {line.kind}: {line.detail}" if line.detail else f"- {line.kind}"]
    facts.append(f"- {time_text(line.time_ns, zone)}, {authors_text(line)}")
    if line.copy is not None:
        facts.append(f"- kept beside it: {path_text(line.copy)}")
    if line.sides:
        facts.append(f"- to see a side: agentfs conflicts show {line.id} --side {'|'.join(line.sides)}")
    if line.sequence is not None:
        facts.append(f"- when it is settled: agentfs resolve {line.id}")
    return facts


def authors_text(line: ConflictLine) -> str:
    """`alice (commit 12), then bob (commit 13)`."""
    later = f"{line.later_author} ({'not in a commit yet' if line.sequence is None else f'commit {line.sequence}'})"
    if not line.earlier_author:
        return later
    return f"{line.earlier_author} (commit {line.met}), then {later}"


def time_text(time_ns: int, zone: tzinfo | None = None) -> str:
    """To the minute, in `zone` (None: this machine's)."""
    try:
        return datetime.fromtimestamp(time_ns // 10**9, zone).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return f"@{time_ns // 10**9}"
