"""`agentfs conflicts` and `resolve`: what met, both sides, and saying that it is settled."""

import sys
from typing import TYPE_CHECKING

import click

from agentfs.cli.homes import opened, push
from agentfs.cli.options import ExampleCommand, json_option, settings_options, space_option, timeout_option
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import iso, local_time
from agentfs.cli.wording import authors_text, path_text

if TYPE_CHECKING:
    from agentfs.sdk.past import Keep, MetConflict, Side

_EXAMPLES = (
    "agentfs conflicts",
    "agentfs conflicts notes --all --json",
    "agentfs conflicts show 345.0 --side later",
    "agentfs resolve 345.0 --keep merged",
)


class ConflictsGroup(click.Group):
    """`agentfs conflicts [PATH]` lists; its other word is `show`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next(iter(args), "")
        if first not in (*self.commands, "--help", "-h"):
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        with formatter.section("Examples"):
            for line in _EXAMPLES:
                formatter.write_text(line)


@click.group(cls=ConflictsGroup)
def conflicts() -> None:
    """List what two machines changed at the same time and could not be put together without a loss.

    `agentfs conflicts [PATH] [--all]` lists (a file that is called `show` is ./show); `agentfs conflicts show ID`
    writes the bytes of one side; `agentfs resolve` says that one is settled.
    """


@conflicts.command(
    name="list",
    cls=ExampleCommand,
    examples="agentfs conflicts\nagentfs conflicts notes --all\nagentfs conflicts --json",
)
@click.argument("path", default="")
@click.option("--all", "all_", is_flag=True, help="Those that are settled, too.")
@space_option
@settings_options
@json_option
def list_(*, path: str, all_: bool, as_json: bool, **options: str | None) -> None:
    """List conflicts at or below PATH that nobody settled yet, the newest first."""
    with opened(options, fresh=True) as home:
        found = home.conflicts(path, resolved=all_)
    if as_json:
        print_json({"conflicts": [_fields(it) for it in found]})
        return
    for it in found:
        click.echo(f"{it.id}  {path_text(it.path)}  {it.kind}{_settled(it)}")
        click.echo(f"    {local_time(it.time_ns)}  {authors_text(it)}")
        if it.detail:
            click.echo(f"    {it.detail}")
        if it.copy is not None:
            click.echo(f"    the other version: {path_text(it.copy)}")
        if it.sides:
            click.echo(f"    sides: {', '.join(it.sides)} (agentfs conflicts show {it.id} --side …)")


def _settled(it: "MetConflict") -> str:
    if it.resolved is None:
        return ""
    return f"  resolved by @{it.resolved}" if it.resolved else "  resolved here, not pushed yet"


def _fields(it: "MetConflict") -> dict[str, object]:
    return {
        "id": it.id,
        "kind": it.kind,
        "path": path_text(it.path),
        "copy": None if it.copy is None else path_text(it.copy),
        "detail": it.detail,
        "sequence": it.sequence,
        "time": iso(it.time_ns),
        "time_ns": it.time_ns,
        "earlier_author": it.earlier_author,
        "later_author": it.later_author,
        "met": it.met,
        "resolved": it.resolved,
        "sides": list(it.sides),
    }


@conflicts.command(
    cls=ExampleCommand,
    examples="agentfs conflicts show 345.0 --side earlier\nagentfs conflicts show 345.0 --side later > theirs.md",
)
@click.argument("conflict", metavar="ID")
@click.option(
    "--side",
    type=click.Choice(("base", "earlier", "later", "merged")),
    required=True,
    help="What both began from, what was first, what came later, or what became of them.",
)
@space_option
@settings_options
def show(*, conflict: str, side: "Side", **options: str | None) -> None:
    """Write the bytes of one side of a conflict to standard output, exactly."""
    with opened(options, fresh=True) as home:
        sys.stdout.buffer.write(home.read_side(conflict, side))
        sys.stdout.buffer.flush()


@click.command(
    cls=ExampleCommand,
    examples="agentfs resolve 345.0\nagentfs resolve notes.md --keep merged\nagentfs resolve 345.0 --keep later",
)
@click.argument("what", metavar="ID|PATH")
@click.option(
    "--keep",
    type=click.Choice(("earlier", "later", "merged", "both")),
    default="both",
    help="Which version stays at the path (both: leave everything as it is).",
)
@click.option("--no-sync", is_flag=True, help="Do not wait for the store; a later command or mount pushes it.")
@timeout_option("the push")
@space_option
@settings_options
@json_option
def resolve(*, what: str, keep: "Keep", no_sync: bool, as_json: bool, **options: str | None) -> None:
    """Say that a conflict, or all of a path, is settled: everybody stops seeing it.

    `--keep earlier` and `--keep later` write that version at the path and delete the conflict copy; `--keep merged`
    keeps what is at the path now and deletes the copy. The bytes of all sides stay in the history.
    """
    with opened(options, fresh=True, push=not no_sync) as home:
        done = home.resolve(what, keep=keep)
        synced = push(home, wait=not no_sync)
    if as_json:
        print_json({"resolved": list(done), "keep": keep, "synced": synced})
        return
    click.echo("\n".join(f"resolved {it}" for it in done))
