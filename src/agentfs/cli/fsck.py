"""`agentfs fsck`."""

import sys

import click

from agentfs.cli import exits
from agentfs.cli.options import ExampleCommand, agent_of, json_option, settings_of, settings_options, space_option
from agentfs.cli.output import Progress
from agentfs.cli.output import as_json as print_json
from agentfs.clock import SystemClock


@click.command(
    cls=ExampleCommand,
    examples="agentfs fsck --agent-id myagent\nagentfs fsck --deep\nagentfs fsck --space team\n"
    "agentfs fsck --repair --json",
)
@click.option("--deep", is_flag=True, help="Read and verify every content, in the store and on this machine.")
@click.option("--repair", is_flag=True, help="Mend what can be mended; nothing that is only here is ever dropped.")
@space_option
@settings_options
@json_option
def fsck(*, deep: bool, repair: bool, space: str | None, as_json: bool, **options: str | None) -> None:
    """Check this machine's replica and the store; repair.

    Reads the whole log. Exit code 7 when something is damaged (and was not repaired). A repair of the replica needs
    it unmounted; a damaged one is set aside, never deleted.
    """
    from agentfs.volume.checking import check_volume  # noqa: PLC0415 - help and usage errors must not wait for it
    from agentfs.volume.spaces import check_space  # noqa: PLC0415

    settings = settings_of(options)
    agent_id = agent_of(settings)
    if space is not None:
        check_space(settings, space)
    with Progress("checking") as progress:
        report = check_volume(
            settings,
            agent_id if space is None else space,
            kind="home" if space is None else "space",
            author=agent_id,
            clock=SystemClock(),
            deep=deep,
            repair=repair,
            progress=lambda _what, done, of: progress.left(of - done, 0),
        )
    if as_json:
        print_json(
            {
                "clean": not report.damaged,
                "entries": report.entries,
                "findings": [
                    {
                        "kind": finding.kind,
                        "severity": finding.severity,
                        "place": finding.place,
                        "detail": finding.detail,
                        "repaired": finding.repaired,
                    }
                    for finding in report.findings
                ],
                "actions": list(report.actions),
            }
        )
    else:
        for finding in report.findings:
            mark = "repaired" if finding.repaired else finding.severity
            click.echo(f"{mark}: {finding.kind}: {finding.place}: {finding.detail}")
        for action in report.actions:
            click.echo(action)
        verdict = "DAMAGED" if report.damaged else "clean"
        whose = f"space {space}" if space is not None else agent_id
        click.echo(f"{whose}: {report.entries} entries of the log, {len(report.findings)} findings, {verdict}")
    if report.damaged:
        sys.exit(exits.DAMAGED)
