"""`agentfs init`."""

import os
from collections.abc import Mapping

import click

from agentfs.cli.options import ExampleCommand, json_option, settings_of, settings_options
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import warn
from agentfs.clock import SystemClock
from agentfs.config.settings import load, read_tables, redacted
from agentfs.model.names import check_id


@click.command(
    cls=ExampleCommand,
    examples="agentfs init --agent-id myagent\n"
    "agentfs init --agent-id myagent --store 's3://my-bucket/agents?region=eu-central-1'\n"
    "agentfs init --agent-id myagent --store /mnt/nas/agentfs --default",
)
@click.option("--default", "as_default", is_flag=True, help="For every agent that has no store of its own, too.")
@settings_options
@json_option
def init(*, as_default: bool, as_json: bool, **options: str | None) -> None:
    """Write the configuration and make or check the store.

    The first store is that of every agent, and the first agent the one that commands without --agent-id are about.
    Another store for an agent is then its own, and the others keep theirs, unless --default is given. Without
    --agent-id, a store is the default.

    An empty store is probed with racing puts: one that cannot keep two writers apart is refused. Repeating it is
    harmless. Credentials are not written anywhere: they stay in the environment or in the files of your cloud's
    tools.
    """
    from agentfs.volume.opening import open_checked_store  # noqa: PLC0415 - not needed for --help

    given = {name: value for name, value in options.items() if name in ("store", "agent_id", "state_dir") and value}
    config_path = options.get("config_path")
    if config_path and not os.path.exists(config_path):
        options = {**options, "config_path": None}
        settings = settings_of(options)
    else:
        config_path = None
        settings = settings_of(options)
    path = config_path or settings.config_path
    if settings.agent_id:
        check_id(settings.agent_id)
    facts = open_checked_store(settings, clock=SystemClock())
    if "store" not in given and settings.origins["store"] == "default":
        given["store"] = settings.store
    places = _write(path, given, as_default=as_default)
    after, others = (
        load(flags, config_path=path if os.path.exists(path) else None) for flags in ({}, {"agent_id": ""})
    )
    step = "agentfs mount DIRECTORY"
    if not after.agent_id or after.agent_id != settings.agent_id:
        step += f" --agent-id {settings.agent_id or 'myagent'}"
    if as_json:
        print_json(
            {
                "config": path,
                "table": places.get("store", "default"),
                "store": redacted(settings.store),
                "format": facts.format_version,
                "agent_id": settings.agent_id or None,
                "default_store": redacted(others.store),
                "default_agent_id": after.agent_id or None,
                "next": step,
            }
        )
        return
    click.echo(f"store   {redacted(settings.store)} is ready (format {facts.format_version})")
    click.echo(f"config  {path}" + (f" [{places['store']}]" if places.get("store", "default") != "default" else ""))
    if settings.agent_id and others.store != settings.store:
        click.echo(
            f"others  keep {redacted(others.store)} (--default: this store for agents without one of their own)"
        )
    if settings.agent_id and after.agent_id not in ("", settings.agent_id):
        click.echo(f"agent   {after.agent_id} where no --agent-id is given (--default: {settings.agent_id})")
    click.echo(f"next    {step}")


def _write(path: str, given: Mapping[str, str], *, as_default: bool) -> dict[str, str]:
    """Set what was given. Returns in which table each setting is now."""
    from agentfs.config.file import set_value, unset_value  # noqa: PLC0415 - tomlkit costs 60 ms; only edits need it

    tables = read_tables(path, must_exist=False)
    default, agent = tables.get("default", {}), given.get("agent_id", "")
    own = tables.get(f"agents.{agent}", {}) if agent else {}
    places = {}
    for name, value in given.items():
        others = default.get(name, value)
        if name == "agent_id":
            if others == value or as_default:
                set_value(path, name, value)
        elif agent and not as_default and (name in own or others != value):
            set_value(path, name, value, agent=agent)
            places[name] = f"agents.{agent}"
        else:
            if name in own:
                unset_value(path, name, agent=agent)
            set_value(path, name, value)
            if name == "store" and others != value:
                _warn_of_the_others(str(others))
    return places


def _warn_of_the_others(before: str) -> None:
    old = redacted(before)
    warn(
        f"the store of every agent without one of its own was {old} until now. Homes that are there: "
        f"--store {old!r}, or for good: agentfs config set store {old!r} --agent-id ID"
    )
