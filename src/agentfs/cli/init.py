"""`agentfs init`."""

import os

import click

from agentfs.cli.options import ExampleCommand, json_option, settings_of, settings_options
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import warn
from agentfs.clock import SystemClock
from agentfs.config.settings import read_tables, redacted
from agentfs.model.names import check_id


@click.command(
    cls=ExampleCommand,
    examples="agentfs init --agent-id myagent\n"
    "agentfs init --agent-id myagent --store 's3://my-bucket/agents?region=eu-central-1'\n"
    "agentfs init --store /mnt/nas/agentfs",
)
@settings_options
@json_option
def init(*, as_json: bool, **options: str | None) -> None:
    """Write the configuration and make or check the store.

    An empty store is probed with racing puts: one that cannot keep two writers apart is refused. Repeating it is
    harmless. Credentials are not written anywhere: they stay in the environment or in the files of your cloud's
    tools.
    """
    from agentfs.config.file import set_value  # noqa: PLC0415 - tomlkit costs 60 ms and only edits need it
    from agentfs.volume.opening import open_checked_store  # noqa: PLC0415

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
    before = read_tables(path, must_exist=False).get("default", {}).get("store")
    for name, value in given.items():
        set_value(path, name, value)
    if "store" not in given and settings.origins["store"] == "default":
        set_value(path, "store", settings.store)
    if "store" in given and isinstance(before, str) and before != given["store"]:
        old = redacted(before)
        warn(
            f"the store of every agent without one of its own was {old} until now. Homes that are there: "
            f"--store {old!r}, or for good: agentfs config set store {old!r} --agent-id ID"
        )
    agent = settings.agent_id or "myagent"
    step = f"agentfs mount DIRECTORY{'' if settings.agent_id else f' --agent-id {agent}'}"
    if as_json:
        print_json(
            {
                "config": path,
                "store": redacted(settings.store),
                "format": facts.format_version,
                "agent_id": settings.agent_id or None,
                "next": step,
            }
        )
        return
    click.echo(f"store   {redacted(settings.store)} is ready (format {facts.format_version})")
    click.echo(f"config  {path}")
    click.echo(f"next    {step}")
