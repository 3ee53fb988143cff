"""`agentfs fork`: new homes that begin as another one was, merged back or thrown away."""

import shlex
import sys
from typing import TYPE_CHECKING

import click

from agentfs.cli.options import (
    ExampleCommand,
    agent_of,
    json_option,
    settings_of,
    settings_options,
    timeout_option,
)
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import iso, local_time, table
from agentfs.clock import SystemClock
from agentfs.config.settings import Settings, redacted
from agentfs.format.layout import parse_volume_name, volume_name
from agentfs.model.names import check_id

if TYPE_CHECKING:
    from agentfs.format.merge_note import MergeNote
    from agentfs.volume.fork import Fork
    from agentfs.volume.fork_end import Doomed


class ForkGroup(click.Group):
    """`agentfs fork HOME NEW` is short for `agentfs fork create HOME NEW`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["create", *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click gives it
        return ["HOME NEW [OPTIONS]", "| COMMAND"]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        with formatter.section("Examples"):
            for line in (
                "agentfs fork myagent experiment",
                "agentfs mount ~/experiment --agent-id experiment",
                "agentfs fork list",
                "agentfs fork merge experiment",
                "agentfs fork delete experiment",
            ):
                formatter.write_text(line)


@click.group("fork", cls=ForkGroup)
def fork() -> None:
    """Make a new home that begins as HOME is: a sandbox for an experiment.

    Nothing is copied, whatever the size of HOME; both go on by themselves. The new home is merged back
    or thrown away. Spaces that are attached to HOME are attached to the new home, too: they are shared,
    not forked.
    """


@fork.command(
    cls=ExampleCommand,
    examples="agentfs fork myagent experiment\n"
    "agentfs fork myagent experiment --snapshot before-cleanup --note 'other headings'\n"
    "agentfs fork myagent yesterday --at 1234 --json",
)
@click.argument("home")
@click.argument("new")
@click.option("--snapshot", metavar="NAME", help="Begin as HOME was at this snapshot.")
@click.option("--at", type=int, metavar="SEQUENCE", help="Begin as HOME was right after this entry of its log.")
@click.option("--note", default="", metavar="TEXT", help="A line for people.")
@timeout_option("the store")
@settings_options
@json_option
def create(
    *,
    home: str,
    new: str,
    snapshot: str | None,
    at: int | None,
    note: str,
    as_json: bool,
    **options: str | None,
) -> None:
    """Make the home NEW out of HOME as it is now, or was.

    What is pending in HOME on this machine is pushed first. A command that was interrupted is finished by
    repeating it.
    """
    from agentfs.volume.fork import Wish, fork_home  # noqa: PLC0415 - help and usage errors must not wait for it

    settings, author = _settings(options, check_id(home))
    wish = Wish(check_id(new), snapshot=snapshot, at=at, author=author, note=note)
    made = fork_home(settings, home, wish)
    if as_json:
        print_json({"fork": _fields(made)})
        return
    _, parent = parse_volume_name(made.parent)
    click.echo(f"{made.agent_id}: a fork of {parent} as it was after entry {made.sequence} of its log")
    there = settings_of({**options, "agent_id": new}).store
    store = "" if there == settings.store else f" --store {shlex.quote(redacted(settings.store))}"
    click.echo(f"next    agentfs mount DIRECTORY --agent-id {made.agent_id}{store}")


@fork.command("list", cls=ExampleCommand, examples="agentfs fork list\nagentfs fork list myagent --json")
@click.argument("home", required=False)
@settings_options
@json_option
def list_(*, home: str | None, as_json: bool, **options: str | None) -> None:
    """Show the forks of a home, and which were merged."""
    from agentfs.volume.fork import forks_of  # noqa: PLC0415 - as above
    from agentfs.volume.opening import opened_store  # noqa: PLC0415
    from agentfs.volume.snapshots import check_store  # noqa: PLC0415

    home = check_id(home) if home else agent_of(settings_of(dict(options)))
    settings, _ = _settings(options, home)
    parent = volume_name("home", home)
    store = opened_store(settings, clock=SystemClock())
    check_store(store)
    found = forks_of(store, parent)
    if as_json:
        print_json({"home": parse_volume_name(parent)[1], "forks": [_fields(it) for it in found]})
        return
    rows = [("fork", "entry", "made", "by", "state", "note")]
    rows += [
        (it.agent_id, str(it.sequence), local_time(it.created_ns), it.author, _state(it), it.note) for it in found
    ]
    click.echo(table(rows, right=frozenset({1})) if found else f"{parse_volume_name(parent)[1]} has no forks")


@fork.command(
    cls=ExampleCommand,
    examples="agentfs fork merge experiment\nagentfs fork merge experiment --into myagent --timeout 10m --json",
)
@click.argument("new")
@click.option("--into", metavar="HOME", help="Where to: the home it comes from (default), or that one's parent, …")
@timeout_option("the merge; a merge that takes longer goes on when the command is repeated")
@settings_options
@json_option
def merge(*, new: str, into: str | None, as_json: bool, **options: str | None) -> None:
    """Merge the fork NEW into the home that it comes from.

    As if a machine that was offline since the fork began came back: both sides' changes live, and what
    cannot be put together is kept and reported (agentfs conflicts). A fork is merged once.
    """
    from agentfs.volume.fork_merge import merge_fork  # noqa: PLC0415 - as above

    settings, author = _settings(options, check_id(new))
    merged = merge_fork(settings, new, into=into and check_id(into), author="" if author == new else author)
    target = parse_volume_name(merged.into)[1]
    if as_json:
        print_json(
            {
                "merged": merged.fork_id,
                "into": target,
                "fork_sequence": merged.fork_sequence,
                "into_sequence": merged.into_sequence,
                "changes": merged.changes,
                "conflicts": merged.conflicts,
                "before": merged.before,
            }
        )
    elif merged.before:
        click.echo(f"{merged.fork_id} was merged into {target} before, and nothing has come since")
    else:
        met = f"; {merged.conflicts} conflicts: agentfs conflicts -a {target}" if merged.conflicts else ""
        click.echo(f"{merged.fork_id}: {merged.changes} changes are part of {target} now{met}")


@fork.command(
    cls=ExampleCommand, examples="agentfs fork delete experiment\nagentfs fork delete experiment --yes --json"
)
@click.argument("new")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--of", "parent", metavar="HOME", help="Of which home: for a fork whose making was interrupted.")
@settings_options
@json_option
def delete(*, new: str, yes: bool, parent: str | None, as_json: bool, **options: str | None) -> None:
    """Delete the fork NEW with all that is in it; the home that it comes from is not touched.

    It must not be mounted here, and have no forks itself. Its name cannot be used again.
    """
    from agentfs.volume.fork_end import delete_fork, doomed  # noqa: PLC0415 - as above

    settings, _ = _settings(options, check_id(new))
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise click.UsageError(f"this deletes all of {new}: add --yes")
        if parent is None:
            click.echo(_warning(doomed(settings, new)))
        click.confirm(f"delete {new}?", abort=True)
    delete_fork(settings, new, parent_id=parent and check_id(parent))
    if as_json:
        print_json({"deleted": new})


def _warning(found: "Doomed") -> str:
    facts = [f"its log ends at entry {found.sequence}; {found.unmerged} entries were never merged"]
    if found.pending.changes:
        facts.append(f"{found.pending.changes} changes are on this machine only, and go with it")
    if found.ended:
        facts = ["its deletion was begun before and is finished now"]
    return f"{found.fork_id}: {'; '.join(facts)}"


def _settings(options: dict[str, str | None], whose: str) -> tuple[Settings, str]:
    """The settings of the home `whose`, which may have a store of its own, and who gives the command: --agent-id and
    its like, else the home's own agent."""
    author = settings_of(dict(options)).agent_id or whose
    return settings_of({**options, "agent_id": whose}), author


def _state(found: "Fork") -> str:
    if not found.merges:
        return found.state
    note = found.merges[-1]
    return f"{found.state}, merged into {parse_volume_name(note.into)[1]} after its entry {note.sequence}"


def _fields(found: "Fork") -> dict[str, object]:
    return {
        "agent_id": found.agent_id,
        "parent": parse_volume_name(found.parent)[1],
        "sequence": found.sequence,
        "created": iso(found.created_ns),
        "author": found.author,
        "note": found.note,
        "state": found.state,
        "merges": [_merge(note) for note in found.merges],
    }


def _merge(note: "MergeNote") -> dict[str, object]:
    return {
        "into": parse_volume_name(note.into)[1],
        "sequence": note.sequence,
        "into_sequence": note.into_sequence,
        "author": note.author,
        "time": note.time,
    }
