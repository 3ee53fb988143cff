"""Options that many commands share, and the settings that come out of them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from agentfs.config.settings import Settings, load, redacted
from agentfs.errors import AgentIdInvalid
from agentfs.model.names import check_id

_F = TypeVar("_F", bound=Callable[..., Any])

space_option = click.option("--space", metavar="NAME", help="A shared space, instead of the agent's home.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document with stable keys.")


def settings_options(function: _F) -> _F:
    """--agent-id, --store, --state-dir, --config."""
    for option in (
        click.option("--config", "config_path", metavar="FILE", help="Configuration file to read."),
        click.option("--state-dir", metavar="DIR", help="Where this machine keeps replicas, logs and sockets."),
        click.option("--store", metavar="URL", help="Where homes are kept (s3://…, gs://…, az://…, a directory)."),
        click.option("--agent-id", "-a", metavar="ID", help="Whose home it is."),
    ):
        function = option(function)
    return function


def timeout_option(what: str) -> Callable[[_F], _F]:
    return click.option("--timeout", metavar="TIME", help=f"How long to wait for {what} (30s, 5m; default 60s).")


def settings_of(options: dict[str, Any]) -> Settings:
    """The settings of this run; `options` are the command's, by name. Raises `ConfigInvalid`."""
    config_path = options.pop("config_path", None)
    return load(options, config_path=config_path)


def agent_of(settings: Settings) -> str:
    """The agent that was named; else the only one whose home, in this store, is mounted here. Raises `AgentIdInvalid`
    when there is none, several are, or the name is not allowed."""
    if not settings.agent_id:
        from agentfs.volume.mounts import records  # noqa: PLC0415 - who says whose home it is does not wait for it

        mounted = {
            record.agent_id
            for record in records(settings.state_dir)
            if record.alive and record.store == redacted(settings.store)
        }
        if len(mounted) == 1:
            return mounted.pop()
        raise AgentIdInvalid(
            "no agent id was given: use --agent-id, set AGENTFS_AGENT_ID, or write it with "
            "`agentfs config set agent_id <id>`"
        )
    return check_id(settings.agent_id)


def words(options: Sequence[str]) -> tuple[str, ...]:
    """What an option that is given several times says, each perhaps several words with commas."""
    return tuple(word.strip() for option in options for word in option.split(",") if word.strip())


class Number(click.FloatRange):
    """A range that refuses what is no number, too: nan is not outside of any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is no number.", param, ctx)
        return found


_SENTENCE_MAX = 500


class ExampleCommand(click.Command):
    """A command whose help ends with examples, kept line by line."""

    def __init__(self, *arguments: Any, examples: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = [line.strip() for line in examples.strip().splitlines()]

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 - click gives it
        """The whole first sentence, in as many lines as it takes: click would cut it."""
        return super().get_short_help_str(limit=_SENTENCE_MAX)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")  # a command to copy: never wrapped
