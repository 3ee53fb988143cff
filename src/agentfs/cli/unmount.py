"""`agentfs unmount`."""

import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from agentfs.cli import exits
from agentfs.cli.options import ExampleCommand, json_option, settings_of, settings_options, timeout_option
from agentfs.cli.output import Progress, warn
from agentfs.cli.output import as_json as print_json
from agentfs.cli.sync import pending_fields
from agentfs.clock import Clock, SystemClock
from agentfs.config.settings import Settings, load
from agentfs.errors import AgentFSError, MountFailed, NotMounted, SyncTimedOut
from agentfs.replica.sessions import is_alive
from agentfs.volume.messages import Gone, Message, connect, error_of
from agentfs.volume.mounts import MountRecord, mount_file, read_moved, read_record, remove_record
from agentfs.volume.status import Pending, peek_pending, together

if TYPE_CHECKING:
    from agentfs.volume.volume import Volume

_GONE_SECONDS_MAX = 20.0
_SLACK_SECONDS = 60.0


@click.command(
    cls=ExampleCommand,
    examples="agentfs unmount ~/memory\nagentfs unmount ~/memory --timeout 5m\nagentfs unmount ~/memory --force",
)
@click.argument("mountpoint")
@click.option("--force", is_flag=True, help="Detach it even while programs use it.")
@timeout_option("the last push")
@settings_options
@json_option
def unmount(*, mountpoint: str, force: bool, as_json: bool, **options: str | None) -> None:
    """Push what is pending, unmount, leave no process.

    Works also when the mount's process is dead. When time is up it is unmounted all the same, and exit code 6 says
    what is still only on this machine: it is safe here and is pushed by the next mount or `agentfs sync`.
    """
    from agentfs.fuse.device import resolve  # noqa: PLC0415 - help and usage errors must not wait for it

    settings = settings_of(options)
    clock = SystemClock()
    path = os.fsdecode(resolve(mountpoint))
    record = read_record(settings.state_dir, path) or _moved(settings, path)
    with Progress("pushing") as progress:
        left = _ask(settings, record, force, progress) if record is not None and record.alive else None
        if left is None:
            left = _without_daemon(settings, path, record, force, progress)
    if record is not None and record.alive:
        _await_end(record, clock)
    if as_json:
        print_json({"unmounted": True, "mountpoint": path, "pending": pending_fields(left, clock.wall_ns())})
    if left.changes:
        if not as_json:
            replica = record.replica if record is not None else settings.state_dir
            warn(
                f"unmounted; {left.changes} changes are not yet in the store ({', '.join(left.paths[:5])}): they are "
                f"safe in {replica} and are pushed by the next mount or agentfs sync"
            )
        sys.exit(exits.STILL_LOCAL)


def _moved(settings: Settings, path: str) -> MountRecord | None:
    """Of a mount that came to this place because a directory above it was moved."""
    from agentfs.fuse import device  # noqa: PLC0415

    facts = device.mounted_at(os.fsencode(path))
    if facts is None or facts.file_system != device.FILE_SYSTEM_TYPE:
        return None
    record = read_moved(settings.state_dir, facts.device)
    living = record is not None and record.alive
    return record if living or device.is_stale(os.fsencode(path)) else None  # else the number is another mount's now


def _ask(settings: Settings, record: MountRecord, force: bool, progress: Progress) -> Pending | None:
    """Let the mount's process do it. None when it does not answer."""
    seconds, path = settings.timeout_seconds, record.mountpoint
    try:
        with connect(mount_file(settings.state_dir, path, "sock")) as connection:
            connection.send({"id": 1, "do": "unmount", "seconds": seconds, "lazy": force})
            while True:
                answer: Message = connection.receive(timeout_seconds=seconds + _SLACK_SECONDS)
                if "error" in answer:
                    raise error_of(answer["error"])
                if "result" in answer:
                    return Pending.of_message(answer["result"]["left"])
                left = Pending.of_message(answer["progress"])
                progress.left(left.changes, left.size_bytes)
    except TimeoutError:
        raise SyncTimedOut(f"{path}: the mount's process does not answer: try --force") from None
    except Gone:
        return None


def _without_daemon(
    settings: Settings, path: str, record: MountRecord | None, force: bool, progress: Progress
) -> Pending:
    """The process is dead: take the directory away and push what it left."""
    from agentfs.fuse import device  # noqa: PLC0415

    facts = device.mounted_at(os.fsencode(path))
    if facts is None or facts.file_system != device.FILE_SYSTEM_TYPE:
        if record is None:
            raise NotMounted(f"{path} is not an AgentFS mount")
    else:
        if record is None and not device.is_stale(os.fsencode(path)) and not force:
            raise MountFailed(
                f"{path} was mounted with another state directory than {settings.state_dir}: give that one with "
                "--state-dir"
            )
        device.unmount(os.fsencode(path), lazy=True)
    if record is None:
        return Pending(0, 0, None)
    remove_record(settings.state_dir, record.mountpoint)
    return _push(settings, record, progress)


def _push(settings: Settings, record: MountRecord, progress: Progress) -> Pending:
    from agentfs.volume.spaces import is_here, open_space, peek_attachments, space_directory  # noqa: PLC0415
    from agentfs.volume.volume import Volume  # noqa: PLC0415

    flags = {"agent_id": record.agent_id, "store": record.store, "state_dir": settings.state_dir}
    settings, agent = load({**flags, "timeout": settings.timeout_seconds}), record.agent_id

    def pushed(directory: str, open_volume: "Callable[[], Volume]") -> Pending:
        try:
            if not peek_pending(directory).changes:
                return Pending(0, 0, None)
            return open_volume().close(progress=lambda left: progress.left(left.changes, left.size_bytes))
        except AgentFSError as error:
            warn(f"what the dead mount left could not be pushed now: {error}")
            return peek_pending(directory)

    home = pushed(record.replica, lambda: Volume.open(settings, agent, session_kind="cli"))
    spaces = {
        found.place: pushed(
            space_directory(settings, found.space, agent),
            functools.partial(open_space, settings, found.space, agent=agent, session_kind="cli"),
        )
        for found in peek_attachments(record.replica)
        if is_here(settings, found.space, agent)
    }
    return together(home, spaces)


def _await_end(record: MountRecord, clock: Clock) -> None:
    """The process says when it has pushed; it is gone a moment later."""
    import threading  # noqa: PLC0415

    deadline = clock.monotonic() + _GONE_SECONDS_MAX
    never = threading.Event()
    while is_alive(record.pid, record.started) and clock.monotonic() < deadline:
        clock.wait(never, 0.01)
