"""`agentfs import`: files and other tools' memories into a home."""

from typing import TYPE_CHECKING, Any

import click

from agentfs.cli.homes import opened, push
from agentfs.cli.options import ExampleCommand, json_option, settings_options, space_option, timeout_option
from agentfs.cli.output import Progress, warn
from agentfs.cli.output import as_json as print_json
from agentfs.cli.standard_input import standard_input
from agentfs.cli.wording import path_text

if TYPE_CHECKING:
    from agentfs.sdk.sources import Kind

_LEFT_OUT_SHOWN = 5
_WORDS = {"added": "add", "beside": "add beside", "there": "there already"}


@click.command(
    "import",
    cls=ExampleCommand,
    examples="agentfs import ~/vault --dry-run\nagentfs import ~/notes --into notes\n"
    "agentfs import everything.jsonl\n"
    "agentfs export --documents -a ann | agentfs import - -a bob\n"
    "agentfs import memory.jsonl --from graph\n"
    "agentfs import claude-memory.txt --into memories/claude --space team",
)
@click.argument("source")
@click.option("--into", metavar="DIR", help="The directory that it goes to (default: by what it is).")
@click.option("--from", "kind", type=click.Choice(["folder", "obsidian", "jsonl", "graph", "mem0", "list"]),
              help="What the source is (default: found out).")  # fmt: skip
@click.option("--attachments/--no-attachments", default=None,
              help="Also files of a folder that are no text (default: of an Obsidian vault).")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option("--no-sync", is_flag=True, help="Do not wait for the store; a later command or mount pushes it.")
@timeout_option("the push")
@space_option
@settings_options
@json_option
def import_(
    *,
    source: str,
    into: str | None,
    kind: "Kind | None",
    attachments: bool | None,
    dry_run: bool,
    no_sync: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring in a folder of Markdown, an Obsidian vault, a file of JSON lines, or another tool's memories.

    SOURCE is a directory or a file, or - for standard input (a file of that name is ./-).

    Files are taken byte for byte, with their times; what was no file becomes a note each. Nothing is ever
    overwritten: an equal file is left alone, another one goes beside it, so importing twice adds nothing.
    graph is the memory.jsonl of the MCP memory server, mem0 its export, list a text of lines `[date] - memory`.
    """
    given = standard_input() if source == "-" else source
    with (
        opened(options, fresh=True, push=not dry_run and not no_sync) as home,
        Progress("importing", what="files") as progress,
    ):
        done = home.import_memories(
            given,
            into=into,
            kind=kind,
            attachments=attachments,
            dry_run=dry_run,
            told=progress.left,
        )
        synced = False if dry_run else push(home, wait=not no_sync)
    counts = {what: sum(file.what == what for file in done.files) for what in _WORDS}
    if as_json:
        files = [
            {"path": path_text(file.path), "what": file.what, "source": path_text(file.source), "digest": file.digest}
            for file in done.files
        ]
        left_out = [path_text(name) for name in done.left_out]
        print_json(
            {"kind": done.kind, "into": done.into, "dry_run": dry_run, **counts, "files": files,
             "left_out": left_out, "synced": synced}
        )  # fmt: skip
        return
    for file in done.files if dry_run else ():
        click.echo(f"{_WORDS[file.what]} {path_text(file.path)}")
    would = "would be " if dry_run else ""
    added, there = counts["added"] + counts["beside"], counts["there"]
    noun, were = "file" if added == 1 else "files", "was" if there == 1 else "were"
    click.echo(f"{added} {noun} {would}added, {there} {were} there already")
    if done.left_out:
        some = ", ".join(path_text(name) for name in done.left_out[:_LEFT_OUT_SHOWN])
        more = len(done.left_out) - _LEFT_OUT_SHOWN
        warn(f"not imported: {some}{f', and {more} more' if more > 0 else ''}")
