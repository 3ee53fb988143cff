"""`agentfs space`: shared spaces of a store, and which of them are attached to a home."""

import os
from typing import TYPE_CHECKING

import click

from agentfs.cli.homes import push
from agentfs.cli.options import ExampleCommand, agent_of, json_option, settings_of, settings_options, timeout_option
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import iso, local_time, table, warn
from agentfs.clock import SystemClock
from agentfs.config.settings import Settings, redacted
from agentfs.errors import StoreUnavailable
from agentfs.model.names import shown
from agentfs.volume.mounts import records

if TYPE_CHECKING:
    from agentfs.volume.spaces import Attachment

_SHOWN_SECONDS_MAX = 30.0
_LOOK_SECONDS = 0.05


_no_sync = click.option(
    "--no-sync", is_flag=True, help="Do not wait for the store; a later command or mount pushes it."
)


class SpaceGroup(click.Group):
    """Its help ends with examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        with formatter.section("Examples"):
            for line in (
                "agentfs space create team",
                "agentfs space attach team --agent-id myagent",
                "agentfs space list",
                "agentfs ls spaces/team",
                "agentfs space detach team",
            ):
                formatter.write_text(line)


@click.group("space", cls=SpaceGroup)
def space() -> None:
    """Make shared spaces and attach them to homes.

    A space is a directory that many agents share. Attached to a home as NAME it is the directory spaces/NAME of that
    home, on every machine that mounts it.
    """


@space.command(
    cls=ExampleCommand, examples="agentfs space create team\nagentfs space create team --attach -a myagent"
)
@click.argument("name")
@click.option("--attach", "attaching", is_flag=True, help="Attach it to the agent's home, too.")
@timeout_option("the push")
@settings_options
@json_option
def create(*, name: str, attaching: bool, as_json: bool, **options: str | None) -> None:
    """Make a space in the store. Its name cannot be changed later."""
    from agentfs.volume.spaces import create_space  # noqa: PLC0415 - help and usage errors must not wait for it

    settings = settings_of(options)
    create_space(settings, name, agent=agent_of(settings))
    place = _attach(settings, name, None, wait=True)[0].place if attaching else None
    if as_json:
        print_json({"created": name, "place": place})


@space.command("list", cls=ExampleCommand, examples="agentfs space list\nagentfs space list --json -a myagent")
@settings_options
@json_option
def list_(*, as_json: bool, **options: str | None) -> None:
    """Show the spaces of the store, and where they are attached to this agent's home.

    One request to the store. When it cannot be reached, the spaces that are attached are shown.
    """
    from agentfs.volume.spaces import list_spaces  # noqa: PLC0415 - as above

    settings = settings_of(options)
    places = _places(settings)
    created: dict[str, int | None] = dict.fromkeys(places)
    problem = ""
    try:
        created |= {found.space: found.created_at_ns for found in list_spaces(settings)}
    except StoreUnavailable as error:
        problem = str(error)
        if not as_json:
            warn(f"the store cannot be reached, only what is attached is shown: {error}")
    if as_json:
        print_json(
            {
                "spaces": [
                    {"space": name, "created": iso(at_ns), "attached": places.get(name, [])}
                    for name, at_ns in sorted(created.items())
                ],
                "online": not problem,
            }
        )
        return
    rows = [("space", "created", "attached as")]
    rows += [
        (name, local_time(at_ns) if at_ns is not None else "?", ", ".join(places.get(name, [])))
        for name, at_ns in sorted(created.items())
    ]
    click.echo(table(rows) if created else "this store has no spaces yet: agentfs space create NAME")


def _places(settings: Settings) -> dict[str, list[str]]:
    """Space → where it is attached to the home of the agent, as this machine's copy of it has it."""
    from agentfs.errors import AgentFSError  # noqa: PLC0415 - as above
    from agentfs.volume.places import replica_directory  # noqa: PLC0415
    from agentfs.volume.spaces import peek_attachments  # noqa: PLC0415

    found: dict[str, list[str]] = {}
    try:
        directory = replica_directory(settings.state_dir, "home", agent_of(settings), settings.store)
        for attachment in peek_attachments(directory):
            found.setdefault(attachment.space, []).append(attachment.place)
    except AgentFSError:  # no agent was named, or it has no copy here: then nothing is attached here
        pass
    return found


@space.command(
    cls=ExampleCommand,
    examples="agentfs space attach team --agent-id myagent\nagentfs space attach team --as work",
)
@click.argument("name")
@click.option("--as", "as_name", metavar="NAME", help="Show it under another name: spaces/NAME.")
@_no_sync
@timeout_option("the push")
@settings_options
@json_option
def attach(*, name: str, as_name: str | None, no_sync: bool, as_json: bool, **options: str | None) -> None:
    """Attach a space to a home: it is the directory spaces/NAME there, on every machine that mounts the home.

    A mount shows it at once. Repeating it is harmless.
    """
    settings = settings_of(options)
    attachment, synced = _attach(settings, name, as_name, wait=not no_sync)
    if as_json:
        print_json({"attached": name, "place": attachment.place, "synced": synced})


def _attach(settings: Settings, name: str, as_name: str | None, *, wait: bool) -> "tuple[Attachment, bool]":
    from agentfs.sdk.home import Home  # noqa: PLC0415 - as above

    with Home.open(agent_of(settings), settings=settings, session_kind="cli") as home:
        made = home.attach_space(name, at=as_name)
        synced = push(home, wait=wait)
    _await_shown(settings, made.name)
    return made, synced


def _await_shown(settings: Settings, name: bytes) -> None:
    """Where the home is mounted here, the directory can be entered when this returns; a warning says why not."""
    import threading  # noqa: PLC0415

    clock = SystemClock()
    deadline = clock.monotonic() + _SHOWN_SECONDS_MAX
    for record in records(settings.state_dir):
        if not record.alive or record.agent_id != agent_of(settings) or record.store != redacted(settings.store):
            continue
        path = os.path.join(os.fsencode(record.mountpoint), b"spaces", name)
        while not os.path.isdir(path):
            if clock.monotonic() > deadline:
                warn(f"{shown(path)} cannot be entered yet: see agentfs status {record.mountpoint}")
                break
            clock.wait(threading.Event(), _LOOK_SECONDS)


@space.command(cls=ExampleCommand, examples="agentfs space detach team --agent-id myagent\nagentfs space detach work")
@click.argument("name")
@click.option("--force", is_flag=True, help="Also when changes of the space are only on this machine.")
@_no_sync
@timeout_option("the push")
@settings_options
@json_option
def detach(*, name: str, force: bool, no_sync: bool, as_json: bool, **options: str | None) -> None:
    """Take a space out of a home, on every machine. NAME is the space's, or the one that it is attached as.

    What is in the space stays in the space. Files of it that are open can be used until they are closed.
    """
    from agentfs.sdk.home import Home  # noqa: PLC0415 - as above

    settings = settings_of(options)
    with Home.open(agent_of(settings), settings=settings, session_kind="cli") as home:
        gone = home.detach_space(name, force=force)
        synced = push(home, wait=not no_sync)
    if as_json:
        print_json({"detached": gone.space, "place": gone.place, "synced": synced})
