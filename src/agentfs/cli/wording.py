"""How the commands of the history say things in a line."""

import os
from typing import TYPE_CHECKING

from agentfs.config.values import about_size
from agentfs.model.names import shown

if TYPE_CHECKING:
    from agentfs.sdk.past import Changed, Event, LoggedCommit, MetConflict

_ORDER = ("created", "changed", "renamed", "attributes", "deleted")


def path_text(path: str) -> str:
    """A path as the SDK gives it, for a person or for JSON: what is not UTF-8 as `\\xNN`."""
    return shown(os.fsencode(path))


def event_text(event: "Event") -> str:
    """What happened to a path."""
    return _what(event) + (f" ({event.cause})" if event.cause else "")


def _what(event: "Event") -> str:
    conflict = f" (conflict {event.conflict})" if event.conflict else ""
    if event.beginning:
        return f"{event.what if event.author else 'as it was'}; what came before is gone"
    if event.what == "renamed":
        return f"renamed from {path_text(event.other or '')}{' and changed' if event.content_changed else ''}"
    if event.what == "deleted" and event.other is not None:
        return f"moved to {path_text(event.other)}"
    return event.what + conflict


def change_text(change: "Changed") -> str:
    """What a commit did to one path."""
    size = f" ({about_size(change.size_bytes)})" if change.kind == "file" and change.what != "deleted" else ""
    mark = "/" if change.kind == "directory" else ""
    if change.what == "renamed":
        return f"renamed {path_text(change.other or '')} to {path_text(change.path)}{mark}"
    return f"{change.what} {path_text(change.path)}{mark}{size}"


def commit_text(commit: "LoggedCommit", *, paths: bool) -> str:
    """What a commit did, in short: counts, and with `paths` some names."""
    if commit.collected:
        first = commit.collected
        return f"commits {first} to {commit.sequence} were collected" if first < commit.sequence else "as it was here"
    parts = [f"{commit.counts[what]} {what}" for what in _ORDER if what in commit.counts]
    if commit.conflicts:
        parts.append(f"{commit.conflicts} conflict{'s' if commit.conflicts > 1 else ''}")
    if commit.resolved:
        parts.append(f"{commit.resolved} resolved")
    text = ", ".join(parts) or "nothing that has a name"
    if commit.cause:
        text += f" ({commit.cause})"
    if paths and commit.changes:
        names = ", ".join(path_text(change.path) for change in commit.changes)
        more = ", …" if sum(commit.counts.values()) > len(commit.changes) else ""
        text += f": {names}{more}"
    return text


def authors_text(conflict: "MetConflict") -> str:
    """Who met."""
    place = f"commit {conflict.sequence}" if conflict.sequence is not None else "not in a commit yet"
    later = f"{conflict.later_author} ({place})"
    if not conflict.earlier_author:
        return later
    return f"{conflict.earlier_author} (commit {conflict.met}), then {later}"
