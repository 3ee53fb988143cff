"""`agentfs mount`."""

import json
import os
import subprocess
import sys

import click

from agentfs.cli import exits
from agentfs.cli.options import ExampleCommand, agent_of, json_option, settings_of, settings_options
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import warn
from agentfs.clock import SystemClock
from agentfs.config.settings import Settings
from agentfs.errors import AgentFSError, MountFailed
from agentfs.volume.engine_plan import settings_message
from agentfs.volume.logs import private_file
from agentfs.volume.messages import Gone, Message, decode, error_of
from agentfs.volume.mounts import mount_file


@click.command(
    cls=ExampleCommand,
    examples="agentfs mount ~/memory --agent-id myagent\n"
    "agentfs mount /mnt/agent-memory -a myagent --store s3://bucket/agents --durability remote\n"
    "agentfs mount ~/memory -a myagent --foreground",
)
@click.argument("mountpoint")
@click.option("--foreground", "-f", is_flag=True, help="Stay in this terminal; Ctrl-C unmounts.")
@click.option("--offline", is_flag=True, help="Start without the store: empty if need be, merged later.")
@click.option("--read-only", is_flag=True, default=None, help="Nothing can be written through this mount.")
@click.option("--allow-other", is_flag=True, default=None, help="Other users of this machine may look in.")
@click.option("--durability", metavar="local|remote", help="What fsync waits for: this disk, or the store.")
@click.option("--cache-size", metavar="SIZE", help="Disk space for contents that are also in the store (10GiB).")
@click.option("--passthrough", metavar="auto|off", help="Let the kernel read and write local files directly.")
@click.option("--owner", metavar="preserve|me", help="Whose the files seem to be.")
@settings_options
@json_option
def mount(*, mountpoint: str, foreground: bool, offline: bool, as_json: bool, **options: str | bool | None) -> None:
    """Mount an agent's home on a directory.

    Returns once the directory answers; a background process serves it until `agentfs unmount`. When the store is
    away, a home that this machine has a copy of is mounted all the same.
    """
    settings = settings_of(dict(options))
    agent_id = agent_of(settings)
    from agentfs.fuse.device import resolve  # noqa: PLC0415 - help and usage errors must not wait for it

    path = os.fsdecode(resolve(mountpoint))
    _check_fuse()
    if foreground:
        _foreground(settings, agent_id, path, offline)
        return
    request = {
        "settings": settings_message(settings),
        "agent_id": agent_id,
        "mountpoint": path,
        "offline": offline,
    }
    pid, report = _start(request, settings, path)
    _look(path)
    if report.get("problem"):
        warn(f"working from this machine's copy: {report['problem']}")
    _warn_of_budgets(settings, agent_id)
    if as_json:
        print_json(
            {
                "mounted": True,
                "mountpoint": path,
                "agent_id": agent_id,
                "pid": pid,
                "online": not report.get("problem"),
            }
        )


def _warn_of_budgets(settings: Settings, agent_id: str) -> None:
    """Say it when a budget is near or over; whatever goes wrong with that is no trouble of the mount."""
    if not settings.budget_month and not settings.budget_requests_per_day:
        return
    from agentfs.volume.usage import judge_home  # noqa: PLC0415 - only where there are budgets

    try:
        for state in judge_home(settings, agent_id, SystemClock().wall_ns()):
            if state.level != "ok":
                warn(f"budget: {state.text}")
    except AgentFSError as error:
        warn(f"budgets cannot be judged: {error}")


def _check_fuse() -> None:
    from agentfs.fuse.mount import fuse_available  # noqa: PLC0415

    facts = fuse_available()
    if not facts.usable:
        raise MountFailed(facts.problem or "FUSE cannot be used here: see agentfs doctor")


def _start(request: Message, settings: Settings, path: str) -> tuple[int, Message]:
    """Start the daemon and wait for its one line. It lives on when this process and its terminal are gone."""
    log_path = mount_file(settings.state_dir, path, "log")
    with open(private_file(log_path), "ab") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-P", "-m", "agentfs.cli.daemon"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    assert daemon.stdin is not None and daemon.stdout is not None
    try:
        daemon.stdin.write(json.dumps(request).encode() + b"\n")
        daemon.stdin.close()
        line = daemon.stdout.readline()
        report = decode(line)
    except KeyboardInterrupt:
        daemon.terminate()
        daemon.wait()
        raise
    except (Gone, OSError):
        code = daemon.wait()
        raise MountFailed(f"the mount's process ended with code {code} while starting: see {log_path}") from None
    if "error" in report:
        daemon.wait()
        raise error_of(report["error"])
    return daemon.pid, report


def _look(path: str) -> None:
    """Ask the mounted directory itself, from this other process, before saying that it is there."""
    try:
        os.statvfs(path)
    except OSError as error:
        raise MountFailed(f"{path} was mounted but does not answer ({error.strerror}): see agentfs status") from None


def _foreground(settings: Settings, agent_id: str, path: str, offline: bool) -> None:
    from agentfs.cli.daemon import Daemon, MountPlan  # noqa: PLC0415 - imports what a mount needs
    from agentfs.volume.logs import log_to_stderr  # noqa: PLC0415

    log_to_stderr(settings.log_level)

    def report(message: Message) -> None:
        if "error" in message:
            warn(str(message["error"]["message"]))
        else:
            click.echo(f"mounted {agent_id} at {path}; Ctrl-C unmounts", err=True)

    left = Daemon(MountPlan(settings, agent_id, path, offline), report=report).run()
    if left.changes:
        sys.exit(exits.STILL_LOCAL)
