"""`agentfs status`."""

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from agentfs.cli.exits import STILL_LOCAL
from agentfs.cli.options import ExampleCommand, json_option, settings_of, settings_options
from agentfs.cli.output import age, iso, table, warn
from agentfs.cli.output import as_json as print_json
from agentfs.cli.sync import pending_fields
from agentfs.clock import SystemClock
from agentfs.config.settings import Settings
from agentfs.config.values import about_size
from agentfs.errors import AgentFSError, NotMounted
from agentfs.volume.messages import Message
from agentfs.volume.mounts import MountRecord, ask_spaces, records
from agentfs.volume.places import is_replica_of
from agentfs.volume.status import Status, peek

if TYPE_CHECKING:
    from agentfs.usage.budgets import BudgetState

_WAITING_SHOWN = 5


@click.command(cls=ExampleCommand, examples="agentfs status\nagentfs status ~/memory\nagentfs status --json")
@click.argument("mountpoint", required=False)
@settings_options
@json_option
def status(*, mountpoint: str | None, as_json: bool, **options: str | None) -> None:
    """Show what is mounted, what is pending and how old it is.

    Looks only at this machine; the state of the store is what the engine last saw. Exit code 6 says that a change
    has waited for the store for longer than the setting pending_limit.
    """
    settings = settings_of(options)
    mounts = records(settings.state_dir)
    if mountpoint is not None:
        from agentfs.fuse.device import resolve  # noqa: PLC0415 - only where a path was given

        path = os.fsdecode(resolve(mountpoint))
        mounts = [record for record in mounts if record.mountpoint == path]
        if not mounts:
            raise NotMounted(f"{path} is not a mount of this state directory ({settings.state_dir})")
    now_ns = SystemClock().wall_ns()
    budgets = _Budgets(settings, now_ns)
    spaces = {record.mountpoint: ask_spaces(settings.state_dir, record) for record in mounts}
    volumes, damaged = _volumes(settings, _replicas(mounts, spaces) if mountpoint else None)
    if as_json:
        print_json(
            {
                "mounts": [_mount_fields(record, spaces[record.mountpoint]) for record in mounts],
                "volumes": [
                    _volume_fields(found, now_ns, settings)
                    | {"budgets": [asdict(state) for state in budgets.of(found)]}
                    for found in volumes
                ],
                "damaged": damaged,
            }
        )
    else:
        _print(mounts, volumes, damaged, now_ns, settings, budgets=budgets)
        _print_trouble(spaces)
    if any(_is_late(found, now_ns, settings) for found in volumes):
        sys.exit(STILL_LOCAL)


class _Budgets:
    """The budgets of volumes. What cannot be read is said once: it must not hide the rest."""

    def __init__(self, settings: Settings, now_ns: int) -> None:
        self._settings = settings
        self._now_ns = now_ns
        self._told = False

    def of(self, found: Status) -> "list[BudgetState]":
        if not self._settings.budget_month and not self._settings.budget_requests_per_day:
            return []
        from agentfs.volume.usage import budget_states  # noqa: PLC0415 - many ask for the status of nothing

        try:
            return budget_states(self._settings, found.directory, found.volume, self._now_ns)
        except AgentFSError as error:
            if not self._told:
                self._told = True
                warn(f"budgets cannot be judged: {error}")
            return []


def _replicas(mounts: list[MountRecord], spaces: dict[str, list[Message]]) -> list[str]:
    """Of the homes that are mounted, and of their spaces as far as they are here."""
    found = [record.replica for record in mounts]
    found += [fact["directory"] for record in mounts for fact in spaces[record.mountpoint]]
    return [directory for directory in found if os.path.isdir(directory)]


def _volumes(settings: Settings, only: list[str] | None) -> tuple[list[Status], list[dict[str, str]]]:
    """The replicas of this machine (of one agent, when one was named), and those that cannot be read."""
    root = os.path.join(settings.state_dir, "volumes")
    try:
        names = sorted(os.listdir(root))
    except (FileNotFoundError, NotADirectoryError):
        names = []
    if settings.origins["agent_id"] == "flag --agent-id":
        names = [name for name in names if is_replica_of(name, settings.agent_id)]
    directories = [os.path.join(root, name) for name in names] if only is None else only
    found, damaged = [], []
    for directory in directories:
        try:
            found.append(peek(directory))
        except AgentFSError as error:
            damaged.append({"directory": directory, "code": error.code, "message": str(error)})
    return found, damaged


def _mount_fields(record: MountRecord, spaces: list[Message]) -> dict[str, object]:
    return {
        "mountpoint": record.mountpoint.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        "agent_id": record.agent_id,
        "store": record.store,
        "pid": record.pid,
        "alive": record.alive,
        "mounted": iso(record.mounted_at_ns),
        "spaces": [{key: fact[key] for key in ("space", "place", "problem")} for fact in spaces],
    }


def _is_late(found: Status, now_ns: int, settings: Settings) -> bool:
    """Whether the oldest change has waited for the store for longer than the limit."""
    oldest = found.pending.oldest_at_ns
    return (
        bool(found.pending.changes) and oldest is not None and now_ns - oldest > settings.pending_limit_seconds * 1e9
    )


def _volume_fields(found: Status, now_ns: int, settings: Settings) -> dict[str, object]:
    engine = found.engine
    return {
        "volume": found.volume,
        "agent_id": found.author or found.volume.removeprefix("home-"),
        "directory": found.directory,
        "head_sequence": found.head_sequence,
        "pending": pending_fields(found.pending, now_ns),
        "late": _is_late(found, now_ns, settings),
        "conflicts": found.conflicts,
        "lock_breaches": found.lock_breaches,
        "copied": iso(found.copied_at_ns),
        "cached_bytes": found.cached_bytes,
        "online": found.online,
        "problem": engine.problem if engine else "",
        "engine_pid": engine.pid if engine else None,
        "engine": engine.more if engine else None,
        "sessions": list(found.sessions),
    }


def _print(
    mounts: list[MountRecord],
    volumes: list[Status],
    damaged: list[dict[str, str]],
    now_ns: int,
    settings: Settings,
    *,
    budgets: "_Budgets",
) -> None:
    if not mounts and not volumes and not damaged:
        click.echo("nothing is mounted and this machine holds no home yet: agentfs mount DIR --agent-id ID")
        return
    if mounts:
        rows = [("mount", "agent", "store", "process")]
        rows += [
            (r.mountpoint, r.agent_id, r.store, str(r.pid) if r.alive else f"{r.pid} DEAD: mount it again")
            for r in mounts
        ]
        click.echo(table(rows) + "\n")
    for found in volumes:
        whose = f" of {found.author}" if found.author else ""
        if sum((it.volume, it.author) == (found.volume, found.author) for it in volumes) > 1:
            whose += f" in {found.directory}"  # the same id in two stores is two homes
        click.echo(f"{found.volume}{whose}: {_state(found)}, entry {found.head_sequence} of the log")
        click.echo(f"  {_pending(found, now_ns, settings)}")
        click.echo(f"  {about_size(found.cached_bytes)} of contents on this machine")
        if (index := _index(found)) is not None:
            click.echo(f"  {index}")
        if (view := _view(found)) is not None:
            click.echo(f"  {view}")
        for text in (found.engine.more.get("waiting_files") or ())[:_WAITING_SHOWN] if found.engine else ():
            click.echo(f"  waits: {text}")
        if found.lock_breaches:
            click.echo(f"  {found.lock_breaches} commits of a faulty writer broke a lock: see agentfs fsck")
        for state in budgets.of(found):
            if state.level in ("near", "over"):
                click.echo(f"  budget: {'OVER' if state.level == 'over' else 'near it'}, {state.text}")
        if found.conflicts:
            click.echo(f"  {found.conflicts} conflicts were kept aside: look for names with .conflict-")
        if found.copied_at_ns is not None:
            click.echo(f"  restored from a backup or cloned: noticed {iso(found.copied_at_ns)}, it has a new id")
    for line in damaged:
        click.echo(f"{line['directory']}: {line['message']}")


def _print_trouble(spaces: dict[str, list[Message]]) -> None:
    for mountpoint, facts in spaces.items():
        for fact in facts:
            if fact["problem"]:
                click.echo(f"{mountpoint}/{fact['place']}: CANNOT BE ENTERED ({fact['problem']})")


def _state(found: Status) -> str:
    if found.engine is None:
        return "no engine is running"
    if found.engine.online:
        return f"TROUBLE ({found.engine.problem})" if found.engine.problem else "online"
    return f"OFFLINE ({found.engine.problem})"


def _index(found: Status) -> str | None:
    """How far search and recall are; None where that is not known."""
    facts = found.engine.more.get("memory") if found.engine is not None else None
    if not facts or facts["state"] == "waiting":
        return f"index: TROUBLE ({facts['problem']})" if facts and facts.get("problem") else None
    if facts["state"] == "off":
        return "index: off, nothing can be recalled and nothing expires here"
    documents = facts.get("documents", 0)
    text = "index: 1 document" if documents == 1 else f"index: {documents} documents"
    if facts["behind"]:
        text += f", {facts['behind']} files to go"
    if facts["away"]:
        text += f" ({facts['away']} of them cannot be fetched now)"
    if facts.get("vectorless"):
        text += f", {facts['vectorless']} passages without a vector yet"
    return f"{text}, TROUBLE ({facts['problem']})" if facts["problem"] else text


def _view(found: Status) -> str | None:
    """What the view lacks; None where all is well, another machine writes it, or nobody does."""
    facts = found.engine.more.get("view") if found.engine is not None else None
    if not facts or facts["state"] == "off":
        return None
    parts = [f"{facts['due']} files to write"] if facts.get("due") else []
    parts += [f"{facts['stuck']} cannot be written"] if facts.get("stuck") else []
    parts += [f"{facts['held']} left alone, because another tool changed them"] if facts.get("held") else []
    parts += [f"TROUBLE ({facts['problem']})"] if facts["problem"] else []
    return f"view: {', '.join(parts)}: agentfs view tells more" if parts else None


def _pending(found: Status, now_ns: int, settings: Settings) -> str:
    pending = found.pending
    if not pending.changes or pending.oldest_at_ns is None:
        return "everything is in the store"
    seconds = (now_ns - pending.oldest_at_ns) / 1e9
    loud = "NOT IN THE STORE FOR " if _is_late(found, now_ns, settings) else "oldest "
    return f"{pending.changes} changes pending ({about_size(pending.size_bytes)}), {loud}{age(seconds)}"
