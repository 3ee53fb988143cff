"""`agentfs retention` and `agentfs clean`: what is kept of the history, and the removal of the rest."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from agentfs.cli.options import ExampleCommand, agent_of, json_option, settings_of, settings_options, space_option
from agentfs.cli.output import Progress, iso, local_time
from agentfs.cli.output import as_json as print_json
from agentfs.clock import SystemClock
from agentfs.config.values import about_size
from agentfs.model.retention import parse_policy

if TYPE_CHECKING:
    from agentfs.retention.report import CollectionReport
    from agentfs.volume.retention import Cleaning


@click.command(
    cls=ExampleCommand,
    examples="agentfs retention\nagentfs retention 30d\nagentfs retention '10 versions' --space team\n"
    "agentfs retention '30d 10 versions' --json\nagentfs retention all",
)
@click.argument("policy", required=False)
@space_option
@settings_options
@json_option
def retention(*, policy: str | None, space: str | None, as_json: bool, **options: str | None) -> None:
    """Show or set what a volume keeps of its history.

    POLICY is `all` (the default), `30d` (every state of the last 30 days), `10 versions` (the last ten contents of
    every file), or both. It is stored with the volume and counts for every machine. What is there now, named
    snapshots and forks are kept under any policy; the rest goes with the next clean-up.
    """
    if policy is not None:
        try:
            wanted = parse_policy(policy)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="POLICY") from None
    cleaning = _cleaning(space, options)
    if policy is not None:
        cleaning.set_policy(wanted)
    found, record = cleaning.policy()
    if as_json:
        print_json(
            {
                "volume": cleaning.volume,
                "retention": found.text,
                "set_by": record.author if record is not None else None,
                "set_at": iso(record.time_ns) if record is not None else None,
            }
        )
        return
    by = f" (set by {record.author}, {local_time(record.time_ns)})" if record is not None else " (the default)"
    click.echo(f"{cleaning.volume} keeps {found.text}{by}")


@click.command(
    cls=ExampleCommand,
    examples="agentfs clean --dry-run\nagentfs clean --agent-id myagent\nagentfs clean --space team --json",
)
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@space_option
@settings_options
@json_option
def clean(*, dry_run: bool, space: str | None, as_json: bool, **options: str | None) -> None:
    """Remove from the store what the retention policy does not keep.

    Safe at any time, beside mounts, beside other clean-ups, and when it is interrupted: run it again. A mount does
    the same in quiet moments.
    """
    cleaning = _cleaning(space, options)
    with Progress("cleaning") as progress:
        report = cleaning.clean(
            dry_run=dry_run,
            progress=lambda it: progress.left(max(0, it.head - it.commits), it.commit_bytes),
        )
    if as_json:
        print_json({**asdict(report), "freed_bytes": report.freed_bytes})
    else:
        _say(report)


def _cleaning(space: str | None, options: dict[str, str | None]) -> "Cleaning":
    from agentfs.volume.retention import Cleaning  # noqa: PLC0415 - help and usage errors must not wait for it
    from agentfs.volume.spaces import check_space  # noqa: PLC0415

    settings = settings_of(options)
    agent_id = agent_of(settings)
    if space is not None:
        check_space(settings, space)
        return Cleaning(settings, space, kind="space", author=agent_id, clock=SystemClock())
    return Cleaning(settings, agent_id, author=agent_id, clock=SystemClock())


def _say(report: "CollectionReport") -> None:
    verb = "would remove" if report.dry_run else "removed"
    click.echo(f"{report.volume} keeps {report.policy}")
    parts = [
        f"{count} {what} ({about_size(size)})"
        for count, what, size in (
            (report.commits, "commits", report.commit_bytes),
            (report.snapshots, "snapshots", report.snapshot_bytes),
            (report.indexes, "indexes", report.index_bytes),
            (report.packs, "packs", report.pack_bytes),
            (report.chunks, "chunks", report.chunk_bytes),
        )
        if count
    ]
    click.echo(f"{verb} {', '.join(parts)}" if parts else f"nothing to remove: {report.why_not or 'all is done'}")
    if report.packed:
        moved = "would move" if report.dry_run else "moved"
        click.echo(f"{moved} {report.packed} contents that are kept ({about_size(report.packed_bytes)}) into packs")
    if parts:
        frees = "would free" if report.dry_run else "freed"
        click.echo(f"{frees} {about_size(report.freed_bytes)}, with {report.requests} requests")
