"""`agentfs lock`, `locks` and `unlock`: locks that hold across machines, from a shell."""

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from agentfs.cli.homes import opened
from agentfs.cli.options import ExampleCommand, json_option, settings_options, space_option
from agentfs.cli.output import age, table, warn
from agentfs.cli.output import as_json as print_json
from agentfs.config.settings import load
from agentfs.config.values import seconds as parse_seconds
from agentfs.errors import InvalidArgument, LockHeld, LockLost, SyncTimedOut
from agentfs.model.names import shown
from agentfs.volume.mounts import records

if TYPE_CHECKING:
    from agentfs.sdk.locking import HeldLock

_CANNOT_RUN = 127


@click.command(
    cls=ExampleCommand,
    examples="agentfs lock state/x.json -- ./update.sh\n"
    "agentfs lock ~/memory/plan.md --timeout 10s -- sh -c 'echo done >> ~/memory/plan.md'\n"
    "agentfs lock jobs.lock --space team --timeout 0 -- ./only-one-of-us.sh",
)
@click.argument("path")
@click.option(
    "--timeout", "wait", metavar="TIME", help="How long to wait for who has it (default: for ever; 0: try)."
)
@click.option("--ttl", metavar="TIME", help="After how long without a sign of life others may take it over (30s).")
@space_option
@settings_options
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def lock(*, path: str, wait: str | None, ttl: str | None, command: tuple[str, ...], **options: str | None) -> None:
    """Run a command while no other machine can change a file.

    Takes the file's lock across machines (an empty file is made where there is none), brings the newest version
    here, runs the command, stores what it changed of the file, and gives the lock back. The exit code is the
    command's; when another machine took the lock over meanwhile this says so and ends with 1: what was changed is
    kept as a conflict copy. The environment variable AGENTFS_LOCK_TOKEN tells the command the lock's fencing token.

    PATH is a path of the home, or of a file on a mount of it.
    """
    if not command:
        raise click.UsageError("no command was given: agentfs lock PATH -- COMMAND")
    path = _in_home(path, options)
    with opened(options, fresh=False, push=False) as home:
        try:
            with home.lock(path, timeout=_duration(wait, "--timeout"), ttl=_duration(ttl, "--ttl")) as held:
                code = _run(command, held)
        except LockHeld as error:
            raise LockHeld(f"{error}: wait longer (--timeout), or see agentfs locks") from error
        except LockLost as error:
            raise LockLost(f"{shown(os.fsencode(path))}: {error}") from error
        except SyncTimedOut as error:
            raise SyncTimedOut(
                f"the command ended, but the store does not answer: what it changed is safe on this machine, and the "
                f"lock is given back with it ({error})"
            ) from error
    sys.exit(code)


def _run(command: tuple[str, ...], held: "HeldLock") -> int:
    """Run it to its end; signals that would end us end it first, so that the lock is given back after it."""
    environment = {**os.environ, "AGENTFS_LOCK_TOKEN": str(held.token)}
    try:
        child = subprocess.Popen(command, env=environment)
    except OSError as error:
        warn(f"{command[0]}: {error.strerror}")
        return _CANNOT_RUN
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda it, _frame: child.send_signal(it))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the command, too
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _duration(value: str | None, option: str) -> float | None:
    if value is None:
        return None
    try:
        return float(parse_seconds(value))
    except ValueError as error:
        raise InvalidArgument(f"{option} {value}: {error}") from None


def _in_home(path: str, options: dict[str, str | None]) -> str:
    """The path in the home. One of a file on a mount of this machine says by itself whose home it is."""
    if options.get("space"):
        return path
    whole = os.path.abspath(path)
    settings = load({name: value for name, value in options.items() if name not in ("config_path", "space")})
    for record in records(settings.state_dir):
        if record.alive and whole.startswith(record.mountpoint + "/"):
            options["agent_id"] = options.get("agent_id") or record.agent_id
            return whole[len(record.mountpoint) + 1 :]
    return path


@click.command(cls=ExampleCommand, examples="agentfs locks\nagentfs locks --space team --json")
@space_option
@settings_options
@json_option
def locks(*, as_json: bool, **options: str | None) -> None:
    """List the locks across machines that are in force: who has them, and since when nothing was heard."""
    with opened(options, fresh=True, push=False) as home:
        found = home.locks()
    if as_json:
        print_json(
            {
                "locks": [
                    {
                        "path": it.path,
                        "holder": it.holder,
                        "token": it.token,
                        "unchanged_seconds": round(it.unchanged_s, 3),
                        "ttl_seconds": it.seconds,
                        "here": it.here,
                    }
                    for it in found
                ]
            }
        )
        return
    if not found:
        click.echo("no file is locked across machines")
        return
    rows = [("file", "holder", "token", "last sign of life", "taken over after")]
    rows += [
        (
            it.path or "(no name here)",
            it.holder + (" (this machine)" if it.here else ""),
            str(it.token),
            f"at least {age(it.unchanged_s)} ago",
            f"{it.seconds} s",
        )
        for it in found
    ]
    click.echo(table(rows))


@click.command(cls=ExampleCommand, examples="agentfs unlock state/x.json --force")
@click.argument("path")
@click.option(
    "--force", is_flag=True, help="Also when its holder is alive: what it changes from now on is kept aside."
)
@space_option
@settings_options
@json_option
def unlock(*, path: str, force: bool, as_json: bool, **options: str | None) -> None:
    """End the lock of a file, whoever has it.

    A lock ends by itself with the program that took it, and is taken over when its machine gives no sign of life.
    This is for a holder that lives and does not let go: it has lost the lock then, and cannot write the file any
    more.
    """
    path = _in_home(path, options)
    name = shown(os.fsencode(path))
    with opened(options, fresh=True, push=False) as home:
        if not force:
            held = next((it.holder for it in home.locks() if it.path == name), None)
            if held is not None:
                raise LockHeld(
                    f"{name} is locked by {held}: --force ends that, and keeps aside what it still changes"
                )
        holder = home.break_lock(path) if force else None
    if as_json:
        print_json({"path": name, "holder": holder})
    else:
        click.echo(f"{name} was locked by {holder}; it is free" if holder else f"{name} is not locked")
