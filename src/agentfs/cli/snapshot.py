"""`agentfs snapshot`: names for states of a home or a space, which retention never collects."""

from typing import TYPE_CHECKING

import click

from agentfs.cli.homes import opened
from agentfs.cli.options import (
    ExampleCommand,
    agent_of,
    json_option,
    settings_of,
    settings_options,
    space_option,
    timeout_option,
)
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import iso, local_time, table
from agentfs.clock import SystemClock
from agentfs.format.layout import volume_name

if TYPE_CHECKING:
    from agentfs.stores.protocol import Store
    from agentfs.volume.snapshots import NamedSnapshot


class SnapshotGroup(click.Group):
    """Its help ends with examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        with formatter.section("Examples"):
            for line in (
                "agentfs snapshot create before-cleanup --note 'all drafts still there'",
                "agentfs snapshot list",
                "agentfs show notes.md --at before-cleanup",
                "agentfs fork myagent experiment --snapshot before-cleanup",
                "agentfs snapshot delete before-cleanup",
            ):
                formatter.write_text(line)


@click.group("snapshot", cls=SnapshotGroup)
def snapshot() -> None:
    """Name the state of a home, so that it is kept for as long as the name is.

    A snapshot copies nothing. It is found by its name wherever the history takes --at.
    """


@snapshot.command(
    cls=ExampleCommand,
    examples="agentfs snapshot create before-cleanup\n"
    "agentfs snapshot create handed-over --note 'first version' --agent-id myagent\n"
    "agentfs snapshot create agreed --space team",
)
@click.argument("name")
@click.option("--note", default="", metavar="TEXT", help="A line for people.")
@space_option
@timeout_option("the store")
@settings_options
@json_option
def create(*, name: str, note: str, as_json: bool, **options: str | None) -> None:
    """Name the state as it is now. What is pending on this machine is pushed first."""
    with opened(options, fresh=False) as home:
        found = home.snapshot(name, note=note)
    if as_json:
        print_json({"snapshot": _fields(found)})
        return
    click.echo(f"{found.name}: {found.volume} as it is after entry {found.sequence} of its log")


@snapshot.command(
    "list", cls=ExampleCommand, examples="agentfs snapshot list\nagentfs snapshot list --json --space team"
)
@space_option
@settings_options
@json_option
def list_(*, as_json: bool, **options: str | None) -> None:
    """Show the snapshots of a home, the oldest state first."""
    from agentfs.volume.snapshots import listed  # noqa: PLC0415 - help and usage errors must not wait for it

    store, volume = _store(options)
    found = listed(store, volume)
    if as_json:
        print_json({"volume": volume, "snapshots": [_fields(it) for it in found]})
        return
    rows = [("snapshot", "entry", "made", "by", "note")]
    rows += [
        (
            it.name + ("" if it.complete else " (interrupted: repeat create, or delete it)"),
            str(it.sequence),
            local_time(it.created_ns),
            it.author,
            it.note,
        )
        for it in found
    ]
    click.echo(table(rows, right=frozenset({1})) if found else f"{volume} has no snapshots yet")


@snapshot.command(cls=ExampleCommand, examples="agentfs snapshot delete before-cleanup -a myagent")
@click.argument("name")
@space_option
@settings_options
@json_option
def delete(*, name: str, as_json: bool, **options: str | None) -> None:
    """Take a name away. Its state may be collected from now on, if the retention policy says so."""
    from agentfs.volume.snapshots import delete as delete_snapshot  # noqa: PLC0415 - as above

    store, volume = _store(options)
    found = delete_snapshot(store, volume, name)
    if as_json:
        print_json({"deleted": _fields(found)})


def _store(options: dict[str, str | None]) -> "tuple[Store, str]":
    """The store, and the name of the volume that was asked for."""
    from agentfs.volume.opening import opened_store  # noqa: PLC0415 - as above
    from agentfs.volume.snapshots import check_store  # noqa: PLC0415

    space = options.pop("space", None)
    settings = settings_of(options)
    store = opened_store(settings, clock=SystemClock())
    volume = volume_name("space", space) if space else volume_name("home", agent_of(settings))
    check_store(store)
    return store, volume


def _fields(found: "NamedSnapshot") -> dict[str, object]:
    return {
        "name": found.name,
        "volume": found.volume,
        "sequence": found.sequence,
        "created": iso(found.created_ns),
        "author": found.author,
        "note": found.note,
        "complete": found.complete,
    }
