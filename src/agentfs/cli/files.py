"""`agentfs ls`, `cat`, `put` and `rm`: files of a home without a mount, through the SDK."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from agentfs.cli.options import ExampleCommand, agent_of, json_option, settings_of, settings_options, timeout_option
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import iso, local_time, table, warn
from agentfs.errors import InvalidArgument, NotADirectory, StoreUnavailable, SyncTimedOut
from agentfs.model.names import shown

if TYPE_CHECKING:
    from agentfs.sdk.home import Home
    from agentfs.sdk.values import Entry

_TYPES = {
    "file": stat.S_IFREG,
    "directory": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
    "device": stat.S_IFCHR,
}
_PIECE_BYTES = 1 << 20


@contextmanager
def _opened(options: dict[str, str | None], *, fresh: bool, push: bool = True) -> "Iterator[Home]":
    """The home, with what other machines did in it where the store answers."""
    from agentfs.sdk.home import Home  # noqa: PLC0415 - help and usage errors must not wait for it

    settings = settings_of(options)
    home = Home.open(agent_of(settings), settings=settings, session_kind="cli")
    try:
        if fresh and not home.is_fresh:
            try:
                home.pull()
            except StoreUnavailable as error:
                warn(f"the store cannot be reached, this machine's copy is used: {error}")
        yield home
    finally:
        home.close(push=push)


def _push(home: "Home", *, wait: bool) -> bool:
    """Push what was just changed. Whether it is in the store."""
    if not wait:
        return False
    try:
        home.sync()
    except StoreUnavailable as error:
        raise SyncTimedOut(f"the change is safe on this machine but not yet in the store: {error}") from error
    return True


def _text(path: str) -> str:
    return shown(os.fsencode(path))


@click.command(
    cls=ExampleCommand,
    examples="agentfs ls\nagentfs ls -l notes\nagentfs ls -r --json --agent-id myagent",
)
@click.argument("path", default="")
@click.option("-l", "long", is_flag=True, help="Mode, links, owner, size and time too.")
@click.option("-r", "--recursive", is_flag=True, help="Everything below, with paths.")
@settings_options
@json_option
def ls(*, path: str, long: bool, recursive: bool, as_json: bool, **options: str | None) -> None:
    """List files of a home, without a mount.

    Names that are not UTF-8 are shown with \\xNN escapes.
    """
    with _opened(options, fresh=True) as home:
        try:
            entries = home.walk(path) if recursive else home.list(path)
        except NotADirectory:
            entries = [home.stat(path)]
    if as_json:
        print_json({"entries": [_fields(entry) for entry in entries]})
        return
    if long:
        rows = [_long(entry, recursive) for entry in entries]
        text = table(rows, right=frozenset({1, 3}))
    else:
        text = "\n".join(_name(entry, recursive) for entry in entries)
    if text:
        click.echo(text)


def _name(entry: "Entry", full: bool) -> str:
    return _text(entry.path if full else entry.name) + ("/" if entry.is_directory else "")


def _long(entry: "Entry", full: bool) -> tuple[str, ...]:
    mode = stat.filemode(_TYPES[entry.kind] | entry.mode)
    owner = f"{entry.uid}:{entry.gid}"
    return mode, str(entry.links), owner, str(entry.size_bytes), local_time(entry.modified_ns), _name(entry, full)


def _fields(entry: "Entry") -> dict[str, object]:
    return {
        "path": _text(entry.path),
        "kind": entry.kind,
        "size_bytes": entry.size_bytes,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "modified": iso(entry.modified_ns),
        "modified_ns": entry.modified_ns,
        "created_ns": entry.created_ns,
    }


@click.command(
    cls=ExampleCommand, examples="agentfs cat notes.md\nagentfs cat logs/a.log logs/b.log -a myagent > both.log"
)
@click.argument("paths", nargs=-1, required=True)
@settings_options
def cat(*, paths: tuple[str, ...], **options: str | None) -> None:
    """Write a file's bytes to standard output, exactly."""
    with _opened(options, fresh=True) as home:
        output = sys.stdout.buffer
        for path in paths:
            with home.open_file(path, "rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    output.write(piece)
        output.flush()


@click.command(
    cls=ExampleCommand,
    examples="agentfs put report.pdf reports/2026.pdf\necho 'likes tea' | agentfs put - profile.md\n"
    "agentfs put -r ./notes notes --agent-id myagent",
)
@click.argument("source")
@click.argument("target", required=False)
@click.option("-r", "--recursive", is_flag=True, help="Store a directory with all in it.")
@click.option("--append", "appending", is_flag=True, help="Add to the end of the file instead of replacing it.")
@click.option("--no-sync", is_flag=True, help="Do not wait for the store; a later command or mount pushes it.")
@timeout_option("the push")
@settings_options
@json_option
def put(
    *,
    source: str,
    target: str | None,
    recursive: bool,
    appending: bool,
    no_sync: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Store a file, or standard input (-), in a home. Returns when it is in the store.

    Without TARGET the name of SOURCE is used. Missing directories are made.
    """
    if source == "-" and target is None:
        raise click.UsageError("a target path is needed for standard input")
    name = target if target is not None else os.path.basename(os.path.abspath(source))
    with _opened(options, fresh=False, push=not no_sync) as home:
        if source != "-" and os.path.isdir(source):
            if not recursive:
                raise InvalidArgument(f"{source} is a directory: add -r")
            stored = _put_directory(home, source, name)
        else:
            if name.endswith("/"):
                name += os.path.basename(source)
            stored = [_put_file(home, source, name, appending=appending)]
        synced = _push(home, wait=not no_sync)
    if as_json:
        print_json({"stored": [_text(path) for path in stored], "synced": synced})


def _put_file(home: "Home", source: str, target: str, *, appending: bool) -> str:
    try:
        if source == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(source, "rb") as file:
                data = file.read()
    except OSError as error:
        raise InvalidArgument(f"{source}: {error.strerror}") from None
    if appending:
        home.append(target, data)
    else:
        home.write(target, data)
    return target


def _put_directory(home: "Home", source: str, target: str) -> list[str]:
    stored = []
    for directory, subdirectories, names in os.walk(source):
        subdirectories.sort()
        below = os.path.relpath(directory, source)
        there = target if below == "." else f"{target}/{below}"
        home.mkdir(there)
        stored += [
            _put_file(home, os.path.join(directory, name), f"{there}/{name}", appending=False)
            for name in sorted(names)
            if os.path.isfile(os.path.join(directory, name))
        ]
    return stored


@click.command(cls=ExampleCommand, examples="agentfs rm old.md\nagentfs rm -r drafts --agent-id myagent")
@click.argument("paths", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Delete directories with all in them.")
@click.option("-f", "--force", is_flag=True, help="What is not there is no error.")
@click.option("--no-sync", is_flag=True, help="Do not wait for the store; a later command or mount pushes it.")
@timeout_option("the push")
@settings_options
@json_option
def rm(
    *,
    paths: tuple[str, ...],
    recursive: bool,
    force: bool,
    no_sync: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Delete files of a home. Returns when the deletion is in the store."""
    with _opened(options, fresh=True, push=not no_sync) as home:
        for path in paths:
            if not recursive and home.exists(path) and home.stat(path, follow=False).is_directory:
                raise InvalidArgument(f"{path} is a directory: add -r")
            home.delete(path, recursive=recursive, missing_ok=force)
        synced = _push(home, wait=not no_sync)
    if as_json:
        print_json({"deleted": list(paths), "synced": synced})
