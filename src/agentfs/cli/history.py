"""`agentfs history`, `show`, `restore` and `log`: what was in a home, through the SDK."""

import base64
import sys
from typing import TYPE_CHECKING

import click

from agentfs.cli.homes import opened, push
from agentfs.cli.options import ExampleCommand, json_option, settings_options, space_option, timeout_option
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import iso, local_time, table, warn
from agentfs.cli.wording import change_text, commit_text, event_text, path_text
from agentfs.config.values import about_size
from agentfs.errors import InvalidArgument

if TYPE_CHECKING:
    from agentfs.sdk.past import Event, LoggedCommit, Was

AT_HELP = "A version (v3), a commit (@1234), a time (2026-11-21T10:00, 2h, yesterday) or a snapshot."
_PIECE_BYTES = 1 << 20
_PATHS_SHORT = 3
_PATHS_LONG = 1000


def warn_behind(behind: int) -> None:
    """Say what is missing while the store is away."""
    if behind:
        warn(f"the store cannot be reached: the newest {behind} commits are missing here")


@click.command(
    cls=ExampleCommand,
    examples="agentfs history notes.md\nagentfs history notes.md --limit 5 --json\n"
    "agentfs history scripts/run.sh --attributes",
)
@click.argument("path")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the newest N lines.")
@click.option("--attributes", is_flag=True, help="Also changes of mode, owner and times alone.")
@space_option
@settings_options
@json_option
def history(*, path: str, limit: int | None, attributes: bool, as_json: bool, **options: str | None) -> None:
    """Show every version of a file and what became of it, the newest first.

    Renames are followed back; an editor that replaces the file makes a version like any other. The numbers (v3) and
    the commits (@1234) are what `show`, `diff` and `restore` take.
    """
    with opened(options, fresh=True) as home:
        found = home.history(path, attributes=attributes)
    events = found.events[:limit]
    versions = max((event.version or 0 for event in found.events), default=0)
    if as_json:
        print_json(
            {
                "path": path_text(path),
                "versions": versions,
                "events": [_event_fields(event) for event in events],
                "pending": found.pending,
                "behind": found.behind,
            }
        )
        return
    warn_behind(found.behind)
    if found.pending:
        click.echo("changed here since; that is not in the log yet (agentfs sync)")
    rows = [
        (
            f"v{event.version}" if event.version is not None else "-",
            f"@{event.sequence}",
            local_time(event.time_ns),
            event.author or "-",
            about_size(event.size_bytes) if event.what != "deleted" else "-",
            event_text(event),
        )
        for event in events
    ]
    if rows:
        click.echo(table(rows, right=frozenset({4})))


def _event_fields(event: "Event") -> dict[str, object]:
    return {
        "version": event.version,
        "sequence": event.sequence,
        "time": iso(event.time_ns),
        "time_ns": event.time_ns,
        "author": event.author,
        "cause": event.cause,
        "what": event.what,
        "path": path_text(event.path),
        "other": None if event.other is None else path_text(event.other),
        "kind": event.kind,
        "mode": f"{event.mode:04o}",
        "size_bytes": event.size_bytes,
        "digest": event.digest,
        "conflict": event.conflict,
        "content_changed": event.content_changed,
        "beginning": event.beginning,
    }


@click.command(
    cls=ExampleCommand,
    examples="agentfs show notes.md --at v3\nagentfs show notes.md --at yesterday > notes.old.md\n"
    "agentfs show projects --at 2026-11-21T10:00",
)
@click.argument("path")
@click.option("--at", required=True, metavar="MOMENT", help=AT_HELP)
@space_option
@settings_options
@json_option
def show(*, path: str, at: str, as_json: bool, **options: str | None) -> None:
    """Write a file's bytes as they were to standard output, exactly; of a directory, list what was in it.

    With --json the facts, and the bytes as `text` where they are UTF-8, else as `base64`.
    """
    with opened(options, fresh=True) as home:
        was = home.was(path, at)
        if was.kind == "directory":
            rows = home.list_at(path, at)
            if as_json:
                print_json({**was_fields(was), "entries": [was_fields(row) for row in rows]})
            else:
                for row in rows:
                    click.echo(was_name(row))
            return
        if was.kind == "symlink":
            if as_json:
                print_json(was_fields(was))
            else:
                click.echo(was.target)
            return
        with home.open_version(path, at) as file:
            if as_json:
                print_json({**was_fields(was), **_bytes_fields(file.read())})
                return
            while piece := file.read(_PIECE_BYTES):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


def was_fields(was: "Was") -> dict[str, object]:
    """A file or directory of the past, for `--json`."""
    return {
        "path": path_text(was.path),
        "kind": was.kind,
        "size_bytes": was.size_bytes,
        "mode": f"{was.mode:04o}",
        "modified": iso(was.modified_ns),
        "modified_ns": was.modified_ns,
        "digest": was.digest,
        "target": path_text(was.target),
        "sequence": was.sequence,
    }


def _bytes_fields(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def was_name(row: "Was", *, full: bool = False) -> str:
    """As `agentfs ls` shows names."""
    name = row.path if full else row.path.rpartition("/")[2]
    return path_text(name) + ("/" if row.kind == "directory" else "")


@click.command(
    cls=ExampleCommand,
    examples="agentfs restore notes.md --at v3\nagentfs restore projects --at yesterday\n"
    "agentfs restore projects --at @1234 --exact\nagentfs restore gone.md --at 2d --to rescued.md\n"
    "agentfs restore code.md --at v1 --keep",
)
@click.argument("path")
@click.option("--at", required=True, metavar="MOMENT", help=AT_HELP)
@click.option("--to", metavar="PATH", help="Write it there and leave PATH as it is.")
@click.option("--exact", is_flag=True, help="In a directory, delete what came since.")
@click.option("--keep", is_flag=True, help="Take away the end of what has expired meanwhile, so that it stays.")
@click.option("--no-sync", is_flag=True, help="Do not wait for the store; a later command or mount pushes it.")
@timeout_option("the push")
@space_option
@settings_options
@json_option
def restore(
    *,
    path: str,
    at: str,
    to: str | None,
    exact: bool,
    keep: bool,
    no_sync: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Make a file or a directory what it was, deleted ones too: bytes, mode and extended attributes.

    It is a new commit: nothing of the history is lost, and restoring can be undone in the same way. A file whose
    `expires` has passed is deleted again after that commit, unless --keep takes it away.
    """
    with opened(options, fresh=True, push=not no_sync) as home:
        done = home.restore(path, at, to=to, exact=exact, keep=keep)
        synced = push(home, wait=not no_sync)
    if as_json:
        changes = [{"path": path_text(it.path), "what": it.what, "ended": iso(it.ended_ns)} for it in done]
        print_json({"restored": changes, "synced": synced})
        return
    for it in done:
        click.echo(f"{it.what} {path_text(it.path)}")
    if not done:
        click.echo("nothing to do: it is so already")
    for it in done:
        if it.ended_ns is not None:
            warn(
                f"{path_text(it.path)} ended on {local_time(it.ended_ns)}, and is deleted again after its commit: "
                "restore it with --keep, and it stays"
            )


@click.command(
    cls=ExampleCommand,
    examples="agentfs log\nagentfs log --path notes.md --limit 20\nagentfs log --since yesterday -v\n"
    "agentfs log --author researcher --json",
)
@click.option("--path", "path", default="", metavar="PATH", help="Only what changed PATH, or something below it.")
@click.option("--limit", type=click.IntRange(1), default=50, metavar="N", help="At most N commits (50).")
@click.option("--since", metavar="MOMENT", help="Not before this time (2026-11-21, 2h) or commit (@1234).")
@click.option("--author", metavar="ID", help="Only of this agent.")
@click.option("--before", type=click.IntRange(1), metavar="SEQUENCE", help="Go on below this commit.")
@click.option("-v", "--verbose", is_flag=True, help="Every path, and what happened to it.")
@space_option
@settings_options
@json_option
def log(
    *,
    path: str,
    limit: int,
    since: str | None,
    author: str | None,
    before: int | None,
    verbose: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """List the commits of a home, the newest first."""
    if author == "":
        raise InvalidArgument("an author is the id of an agent")
    paths = _PATHS_LONG if verbose or as_json else _PATHS_SHORT
    with opened(options, fresh=True) as home:
        commits = list(home.log(path, limit=limit, before=before, since=since, author=author, paths=paths))
    if as_json:
        print_json({"commits": [_commit_fields(commit) for commit in commits]})
        return
    for commit in commits:
        start = f"@{commit.sequence}  {local_time(commit.time_ns)}  {commit.author or '-'}"
        click.echo(f"{start}  {commit_text(commit, paths=not verbose)}")
        if verbose:
            for change in commit.changes:
                click.echo(f"    {change_text(change)}")
            more = sum(commit.counts.values()) - len(commit.changes)
            if more > 0:
                click.echo(f"    and {more} more")


def _commit_fields(commit: "LoggedCommit") -> dict[str, object]:
    return {
        "sequence": commit.sequence,
        "time": iso(commit.time_ns),
        "time_ns": commit.time_ns,
        "author": commit.author,
        "replica": commit.replica,
        "cause": commit.cause,
        "digest": commit.digest,
        "counts": commit.counts,
        "changes": [
            {
                "what": it.what,
                "path": path_text(it.path),
                "other": None if it.other is None else path_text(it.other),
                "kind": it.kind,
                "size_bytes": it.size_bytes,
            }
            for it in commit.changes
        ],
        "conflicts": commit.conflicts,
        "resolved": commit.resolved,
        "collected": commit.collected,
    }
