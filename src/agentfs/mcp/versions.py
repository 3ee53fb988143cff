"""What a file was: its versions, and one of them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from agentfs.errors import NotFound
from agentfs.mcp.commands import TEXT_BYTES_MAX, decoded, shown
from agentfs.mcp.pages import listed, page, size
from agentfs.mcp.paths import Root
from agentfs.mcp.refusals import Refused, refusing
from agentfs.sdk.past import Event


def history(root: Root, path: str, limit: int) -> str:
    """The newest `limit` versions of a file or directory, and what became of it."""
    inside = root.inside(path)
    with refusing():
        try:
            found = root.home.history(inside)
        except NotFound:
            if not root.home.exists(inside):
                raise Refused(f"Error: The path {path} does not exist, and never did") from None
            return f"{path} is new: it has no history yet. Its first version is saved within seconds."
    lines = [_line(root, event) for event in found.events[:limit]]
    if found.pending:
        lines.insert(0, "(newest)\tnot saved as a version yet: within seconds")
    if len(found.events) > limit:
        lines += ["", f"[{len(found.events) - limit:,} older ones are not shown: ask with a higher limit.]"]
    if found.behind:
        lines += ["", f"[The store cannot be reached: the newest {found.behind} commits are missing here.]"]
    return listed(f"Here's the history of {path}, the newest first:", lines, hint="Ask with a lower limit.")


def version(root: Root, path: str, at: str, view_range: Sequence[int] | None) -> str:
    """A file as it was, with line numbers."""
    inside = root.inside(path)
    with refusing():
        was = root.home.was(inside, at)
        if was.kind != "file":
            raise Refused(f"Error: {path} was a {was.kind} then: only versions of files can be shown")
        if was.size_bytes > TEXT_BYTES_MAX:
            raise Refused(f"Error: {path} was too large to show ({size(was.size_bytes)})")
        text = shown(decoded(path, root.home.bytes_of(was)))
    title = f"Here's the content of {path} as it was at {at}, with line numbers:"
    return page(path, text, view_range, title=title)


def _line(root: Root, event: Event) -> str:
    number = f"v{event.version}" if event.version is not None else "-"
    when = datetime.fromtimestamp(event.time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    what = event.what
    if event.what == "renamed" and event.other is not None:
        what = f"renamed from {_elsewhere(root, event.other)}"
    elif event.what == "deleted" and event.other is not None:
        what = f"deleted (it lives on as {_elsewhere(root, event.other)})"
    length = size(event.size_bytes) if event.kind == "file" and event.version is not None else "-"
    return f"{number}\t{when}\t{length}\t{what}, by {event.author}"


def _elsewhere(root: Root, path: str) -> str:
    return root.outside(path) if root.holds(path) else "somewhere else"
