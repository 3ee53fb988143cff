"""`agentfs ls`, `cat`, `put` and `rm`: files of a home without a mount, through the SDK."""

import os
import stat
import sys
from typing import TYPE_CHECKING

import click

from agentfs.cli.history import was_fields, was_name
from agentfs.cli.homes import opened, push
from agentfs.cli.options import ExampleCommand, json_option, settings_options, space_option, timeout_option
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import iso, local_time, table
from agentfs.cli.standard_input import read_standard_input
from agentfs.errors import InvalidArgument, NotADirectory
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


def _text(path: str) -> str:
    return shown(os.fsencode(path))


@click.command(
    cls=ExampleCommand,
    examples="agentfs ls\nagentfs ls -l notes\nagentfs ls -r --json --agent-id myagent\n"
    "agentfs ls notes --at yesterday",
)
@click.argument("path", default="")
@click.option("-l", "long", is_flag=True, help="Mode, links, owner, size and time too.")
@click.option("-r", "--recursive", is_flag=True, help="Everything below, with paths.")
@click.option("--at", metavar="MOMENT", help="As it was: @1234, 2026-11-21T10:00, 2h, yesterday, a snapshot.")
@space_option
@settings_options
@json_option
def ls(*, path: str, long: bool, recursive: bool, at: str | None, as_json: bool, **options: str | None) -> None:
    """List files of a home, without a mount.

    Names that are not UTF-8 are shown with \\xNN escapes.
    """
    with opened(options, fresh=True) as home:
        if at is not None:
            _ls_at(home, path, at, long=long, recursive=recursive, as_json=as_json)
            return
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


def _ls_at(home: "Home", path: str, at: str, *, long: bool, recursive: bool, as_json: bool) -> None:
    """As `ls`, of the past."""
    rows = home.list_at(path, at, recursive=recursive)
    if as_json:
        print_json({"entries": [was_fields(row) for row in rows]})
        return
    lines = [
        (
            stat.filemode(_TYPES[row.kind] | row.mode),
            str(row.size_bytes),
            local_time(row.modified_ns),
            was_name(row, full=recursive),
        )
        for row in rows
    ]
    text = table(lines, right=frozenset({1})) if long else "\n".join(line[3] for line in lines)
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
@space_option
@settings_options
def cat(*, paths: tuple[str, ...], **options: str | None) -> None:
    """Write a file's bytes to standard output, exactly."""
    with opened(options, fresh=True) as home:
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
@space_option
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
    with opened(options, fresh=False, push=not no_sync) as home:
        if source != "-" and os.path.isdir(source):
            if not recursive:
                raise InvalidArgument(f"{source} is a directory: add -r")
            stored = _put_directory(home, source, name)
        else:
            if name.endswith("/"):
                name += os.path.basename(source)
            stored = [_put_file(home, source, name, appending=appending)]
        synced = push(home, wait=not no_sync)
    if as_json:
        print_json({"stored": [_text(path) for path in stored], "synced": synced})


def _put_file(home: "Home", source: str, target: str, *, appending: bool) -> str:
    try:
        if source == "-":
            data = read_standard_input()
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
@space_option
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
    with opened(options, fresh=True, push=not no_sync) as home:
        for path in paths:
            if not recursive and home.exists(path) and home.stat(path, follow=False).is_directory:
                raise InvalidArgument(f"{path} is a directory: add -r")
            home.delete(path, recursive=recursive, missing_ok=force)
        synced = push(home, wait=not no_sync)
    if as_json:
        print_json({"deleted": list(paths), "synced": synced})
