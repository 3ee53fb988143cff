"""`agentfs sync`."""

import click

from agentfs.cli.options import (
    ExampleCommand,
    agent_of,
    json_option,
    settings_of,
    settings_options,
    space_option,
    timeout_option,
)
from agentfs.cli.output import Progress
from agentfs.cli.output import as_json as print_json
from agentfs.volume.status import Pending


@click.command(
    cls=ExampleCommand,
    examples="agentfs sync --agent-id myagent\nagentfs sync --timeout 5m\nagentfs sync --space team\n"
    "agentfs sync --json",
)
@timeout_option("the store")
@space_option
@settings_options
@json_option
def sync(*, space: str | None, as_json: bool, **options: str | None) -> None:
    """Return when every change made so far is in the store, and what others did is here.

    Of a home its attached spaces too, those that this machine has a copy of.

    When time is up, exit code 6 says that some changes are only on this machine; they are safe here and are
    pushed later.
    """
    from agentfs.sdk.home import Home  # noqa: PLC0415 - help and usage errors must not wait for it

    settings = settings_of(options)
    with (
        Home.open(agent_of(settings), space=space, settings=settings, session_kind="cli") as home,
        Progress("pushing") as progress,
    ):
        done = home.sync_all(progress=lambda left: progress.left(left.changes, left.size_bytes))
    heads = [(status.volume, status.head_sequence) for status in done]
    if as_json:
        print_json(
            {
                "synced": True,
                "head_sequence": heads[0][1],
                "pending": 0,
                "spaces": [{"volume": volume, "head_sequence": head} for volume, head in heads[1:]],
            }
        )


def pending_fields(pending: Pending, now_ns: int) -> dict[str, object]:
    """The stable keys under which every command shows what is pending."""
    oldest = pending.oldest_at_ns
    return {
        "changes": pending.changes,
        "size_bytes": pending.size_bytes,
        "oldest_seconds": None if oldest is None else round(max(0, now_ns - oldest) / 1e9, 1),
        "paths": list(pending.paths),
    }
