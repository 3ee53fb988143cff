"""`agentfs doctor`: what this machine and this store can and cannot do."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import click

from agentfs.cli import exits
from agentfs.cli.options import ExampleCommand, json_option, settings_of, settings_options
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import table
from agentfs.clock import Clock, SystemClock
from agentfs.config.settings import Settings, redacted
from agentfs.config.values import about_size
from agentfs.errors import AgentFSError
from agentfs.stores.protocol import Store

_FREE_BYTES_MIN = 1 << 30
_SKEW_SECONDS_MAX = 30.0
_SQLITE_MIN = (3, 51, 3)
_CREDENTIALS = {
    "s3": (
        ("AWS_ACCESS_KEY_ID", "environment AWS_ACCESS_KEY_ID"),
        ("AWS_PROFILE", "environment AWS_PROFILE"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "environment AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "the container's role"),
    ),
    "gs": (("GOOGLE_APPLICATION_CREDENTIALS", "environment GOOGLE_APPLICATION_CREDENTIALS"),),
    "az": (
        ("AZURE_STORAGE_ACCOUNT_KEY", "environment AZURE_STORAGE_ACCOUNT_KEY"),
        ("AZURE_CLIENT_ID", "environment AZURE_CLIENT_ID"),
        ("AZURE_STORAGE_SAS_TOKEN", "environment AZURE_STORAGE_SAS_TOKEN"),
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    status: Literal["ok", "note", "warning", "problem"]
    detail: str
    fix: str = ""


@click.command(
    cls=ExampleCommand, examples="agentfs doctor\nagentfs doctor --store s3://bucket/agents\nagentfs doctor --json"
)
@click.option("--no-store", is_flag=True, help="Do not ask the store anything.")
@settings_options
@json_option
def doctor(*, no_store: bool, as_json: bool, **options: str | None) -> None:
    """Say what this machine and this store can and cannot do.

    The store is probed with real racing puts of small objects, which are removed again. Exit code 1 when something
    keeps AgentFS from working here.
    """
    settings = settings_of(options)
    findings = [*_machine(), *_fuse(), *_state(settings), *_mounts(settings)]
    findings += [*_credentials(settings)] if no_store else [*_credentials(settings), *_store(settings)]
    healthy = not any(found.status == "problem" for found in findings)
    if as_json:
        print_json({"healthy": healthy, "checks": [asdict(found) for found in findings]})
    else:
        click.echo(table([(found.status, found.name, found.detail) for found in findings]))
        for found in findings:
            if found.fix:
                click.echo(f"\n{found.name}: {found.fix}")
    if not healthy:
        sys.exit(exits.FAILED)


def _machine() -> Iterator[Finding]:
    from agentfs.cli.version import agentfs_version, library_versions  # noqa: PLC0415

    yield Finding("agentfs", "ok", agentfs_version())
    yield Finding("python", "ok", platform.python_version())
    apsw = library_versions()["apsw"]
    if apsw is None:
        yield Finding("sqlite", "problem", "apsw is not installed", "pip install agentfs-home")
        return
    # apsw's version is that of the SQLite it carries, and one number more.
    sqlite = tuple(int(part) for part in apsw.split(".")[:3])
    shown = f"{'.'.join(map(str, sqlite))} (apsw {apsw})"
    if sqlite < _SQLITE_MIN:
        yield Finding("sqlite", "problem", f"{shown} can damage databases", "pip install --upgrade apsw")
    else:
        yield Finding("sqlite", "ok", shown)


def _fuse() -> Iterator[Finding]:
    from agentfs.fuse.mount import fuse_available  # noqa: PLC0415

    facts = fuse_available()
    yield Finding("kernel", "ok", f"{platform.system()} {platform.release()}")
    if facts.usable:
        how = "as root" if facts.root else f"through {facts.helper}"
        yield Finding("fuse", "ok", f"mounts can be made {how}")
    else:
        yield Finding("fuse", "problem", "no mount can be made here", facts.problem or "")
    helper_status: Literal["ok", "note"] = "ok" if facts.helper else "note"
    yield Finding("fusermount3", helper_status, facts.helper or "not installed (needed by users other than root)")
    if facts.passthrough:
        yield Finding("passthrough", "ok", "open files are read and written by the kernel directly")
    else:
        yield Finding("passthrough", "note", "not here (Linux 6.9 and CAP_SYS_ADMIN); everything works without it")


def _state(settings: Settings) -> Iterator[Finding]:
    directory = settings.state_dir
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    if os.access(directory, os.W_OK):
        yield Finding("state directory", "ok", settings.state_dir)
    else:
        yield Finding(
            "state directory", "problem", f"{settings.state_dir} cannot be written", "give another with --state-dir"
        )
    free = shutil.disk_usage(directory).free
    detail = f"{about_size(free)} free, the cache may take {about_size(settings.cache_size_bytes)}"
    if free < _FREE_BYTES_MIN:
        yield Finding("disk", "warning", detail, "free some space: a full disk refuses writes")
    else:
        yield Finding("disk", "ok" if free > settings.cache_size_bytes else "note", detail)
    first, ours = shutil.which("agentfs"), os.path.realpath(sys.argv[0])
    if first and os.path.basename(ours) == "agentfs" and os.path.realpath(first) != ours:
        yield Finding(
            "PATH", "warning", f"{first} comes first, this is {ours}", "call it by its path, or change PATH"
        )


def _mounts(settings: Settings) -> Iterator[Finding]:
    from agentfs.fuse import device  # noqa: PLC0415
    from agentfs.volume.mounts import ask_spaces, records  # noqa: PLC0415

    stale = [
        os.fsdecode(facts.mountpoint)
        for facts in device.mounts()
        if facts.file_system == device.FILE_SYSTEM_TYPE and device.is_stale(facts.mountpoint)
    ]
    dead = [record.mountpoint for record in records(settings.state_dir) if not record.alive]
    for path in sorted({*stale, *dead}):
        yield Finding(
            "mount", "warning", f"{path}: its process has died", f"agentfs unmount {path}, or mount it again"
        )
    for record in records(settings.state_dir):
        for fact in ask_spaces(settings.state_dir, record):
            if fact["problem"]:
                place = f"{record.mountpoint}/{fact['place']}"
                yield Finding(
                    "space",
                    "warning",
                    f"{place} cannot be entered: {fact['problem']}",
                    f"make the space {fact['space']}, or take it away with agentfs space detach {fact['space']}"
                    if "there is no space" in str(fact["problem"])
                    else "it is tried again by itself",
                )


def _credentials(settings: Settings) -> Iterator[Finding]:
    scheme = settings.store.partition("://")[0] if "://" in settings.store else "file"
    if scheme not in _CREDENTIALS:
        return
    found = next((text for name, text in _CREDENTIALS[scheme] if os.environ.get(name)), None)
    home = os.environ.get("HOME", "")
    if found is None and scheme == "s3" and os.path.exists(os.path.join(home, ".aws", "credentials")):
        found = "~/.aws/credentials"
    yield Finding(
        "credentials", "ok" if found else "note", found or "none in the environment; asking the machine's role"
    )


def _store(settings: Settings) -> Iterator[Finding]:
    from agentfs.volume.gate import probed  # noqa: PLC0415
    from agentfs.volume.opening import QUICK, opened_store  # noqa: PLC0415

    clock = SystemClock()
    try:
        store = opened_store(settings, clock=clock, retry=QUICK)
        started = clock.monotonic()
        report = probed(store, store_url=settings.store, state_dir=settings.state_dir, clock=clock)
        took = clock.monotonic() - started
        yield from _skew(store, clock)
    except AgentFSError as error:
        yield Finding("store", "problem", f"{redacted(settings.store)}: {error}", "see docs/stores.md")
        return
    for check in report.checks:
        if not check.passed:
            yield Finding(
                "store", "problem", f"{check.name}: {check.detail}", "use a store that keeps two writers apart"
            )
    if report.safe:
        yield Finding("store", "ok", f"{store.url}: all {len(report.checks)} checks passed in {took:.1f} s")


def _skew(store: Store, clock: Clock) -> Iterator[Finding]:
    """The store's clock against ours: by both memories end, and else nothing depends on it but what people read."""
    name = f".agentfs/probe/clock-{os.getpid()}-{clock.wall_ns()}"
    store.put(name, b"what time is it?\n")
    try:
        theirs = store.get(name).modified_at
    finally:
        store.delete(name)
    seconds = clock.wall_ns() / 1e9 - theirs
    if abs(seconds) > _SKEW_SECONDS_MAX:
        way = "ahead of" if seconds > 0 else "behind"
        yield Finding("clock", "warning", f"{abs(seconds):.0f} s {way} the store's", "set this machine's clock (NTP)")
    else:
        yield Finding("clock", "ok", "agrees with the store's")
