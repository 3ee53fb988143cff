"""`agentfs config`: settings, their sources, and editing the file."""

import os

import click

from agentfs.cli.options import ExampleCommand, json_option, settings_of, settings_options
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import table
from agentfs.config.settings import BY_NAME, SETTINGS, Settings, default_config_path
from agentfs.errors import ConfigInvalid
from agentfs.model.names import check_id


class ConfigGroup(click.Group):
    """`agentfs config` alone shows everything; its help ends with examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        with formatter.section("Examples"):
            for line in (
                "agentfs config",
                "agentfs config --agent-id myagent --json",
                "agentfs config set cache_size 20GiB",
                "agentfs config set store s3://bucket/agents --agent-id myagent",
                "agentfs config unset cache_size",
            ):
                formatter.write_text(line)


@click.group(name="config", cls=ConfigGroup, invoke_without_command=True)
@settings_options
@json_option
@click.pass_context
def config_group(ctx: click.Context, /, *, as_json: bool, **options: str | None) -> None:
    """Show every setting and where it comes from; `set`, `get`, `unset` edit the file.

    Credentials are no settings: they come from the environment (AWS_*, GOOGLE_*, AZURE_*) and are never shown.
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = settings_of(dict(options))
    if as_json:
        print_json(
            {
                "path": settings.config_path,
                "settings": {
                    setting.name: {
                        "value": setting.show(settings.value(setting.name)),
                        "origin": settings.origins[setting.name],
                    }
                    for setting in SETTINGS
                },
            }
        )
        return
    rows = [
        (setting.name, setting.show(settings.value(setting.name)) or "-", settings.origins[setting.name])
        for setting in SETTINGS
    ]
    click.echo(table([("setting", "value", "from"), *rows]))
    there = "" if os.path.exists(settings.config_path) else " (does not exist)"
    click.echo(f"\nfile: {settings.config_path}{there}")


_scope = click.option("--agent-id", "-a", metavar="ID", default="", help="Only for this agent.")
_file = click.option("--config", "config_path", metavar="FILE", help="The file to edit.")


def _path(config_path: str | None) -> str:
    return config_path or os.environ.get("AGENTFS_CONFIG") or default_config_path(os.environ)


@config_group.command(
    "set",
    cls=ExampleCommand,
    examples="agentfs config set durability remote\nagentfs config set cache_size 5GiB -a myagent",
)
@click.argument("name")
@click.argument("value")
@_scope
@_file
@json_option
def set_(*, name: str, value: str, agent_id: str, config_path: str | None, as_json: bool) -> None:
    """Write a setting to the file; comments in it are kept."""
    from agentfs.config.file import set_value  # noqa: PLC0415 - tomlkit costs 60 ms and only edits need it

    path = _path(config_path)
    written = set_value(path, name, value, agent=check_id(agent_id) if agent_id else "")
    shown = BY_NAME[name].show(written)
    if as_json:
        print_json({"path": path, "name": name, "value": shown})
    else:
        click.echo(f"{name} = {shown} in {path}")


@config_group.command("unset", cls=ExampleCommand, examples="agentfs config unset durability")
@click.argument("name")
@_scope
@_file
@json_option
def unset(*, name: str, agent_id: str, config_path: str | None, as_json: bool) -> None:
    """Take a setting out of the file."""
    from agentfs.config.file import unset_value  # noqa: PLC0415 - as above

    path = _path(config_path)
    removed = unset_value(path, name, agent=check_id(agent_id) if agent_id else "")
    if as_json:
        print_json({"path": path, "name": name, "removed": removed})
    else:
        click.echo(f"{name} {'removed from' if removed else 'was not in'} {path}")


@config_group.command(
    "get", cls=ExampleCommand, examples="agentfs config get store\nagentfs config get store -a myagent"
)
@click.argument("name")
@settings_options
@json_option
def get(*, name: str, as_json: bool, **options: str | None) -> None:
    """Print one setting's value, wherever it comes from."""
    settings: Settings = settings_of(dict(options))
    if name not in BY_NAME:
        raise ConfigInvalid(f"unknown setting {name!r}: agentfs config lists them all")
    shown = BY_NAME[name].show(settings.value(name))
    if as_json:
        print_json({"name": name, "value": shown, "origin": settings.origins[name]})
    else:
        click.echo(shown)


@config_group.command("path", cls=ExampleCommand, examples="agentfs config path\ncat $(agentfs config path)")
@_file
@json_option
def path(*, config_path: str | None, as_json: bool) -> None:
    """Print which file is read."""
    where = _path(config_path)
    if as_json:
        print_json({"path": where, "exists": os.path.exists(where)})
    else:
        click.echo(where)
