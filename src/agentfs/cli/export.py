"""`agentfs export`: a home as JSON lines."""

import sys
from typing import TYPE_CHECKING, Any

import click

from agentfs.cli.homes import opened
from agentfs.cli.options import ExampleCommand, json_option, settings_options, space_option, words
from agentfs.cli.output import Progress
from agentfs.cli.output import as_json as print_json
from agentfs.config.values import about_size

if TYPE_CHECKING:
    from agentfs.memory.interchange import Format


@click.command(
    cls=ExampleCommand,
    examples="agentfs export --to passages.jsonl\nagentfs export notes --format text --tag published > train.jsonl\n"
    "agentfs export --documents --to everything.jsonl     # agentfs import makes the same files of it\n"
    "agentfs export --since 2026-11-01 --to new.jsonl --json",
)
@click.argument("path", default="")
@click.option("--to", metavar="FILE", default="-", help="Where to write; - is standard output, and the default.")
@click.option("--format", "format_", type=click.Choice(["passages", "documents", "text"]), default="passages",
              help="Passages with metadata (the default), whole files, or texts alone (for training).")  # fmt: skip
@click.option("--documents", is_flag=True, help="The same as --format documents.")
@click.option("--since", metavar="MOMENT", help="Only what changed since (2026-11-21, 2h, @1234).")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only documents with this tag; repeat for more.")
@space_option
@settings_options
@json_option
def export(
    *,
    path: str,
    to: str,
    format_: "Format",
    documents: bool,
    since: str | None,
    tags: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Write what is at or below PATH as JSON lines: to move it out, or to train on it.

    A FILE appears when it is complete, never half. Expired notes are left out, and so are attached spaces: name one
    as PATH, or with --space. With --json a summary is printed, which needs --to.
    """
    if as_json and to == "-":
        raise click.UsageError("--json prints a summary: say with --to where the lines go")
    if documents:
        format_ = "documents"
    with opened(options, fresh=True) as home, Progress("exporting", what="files") as progress:
        target = sys.stdout.buffer if to == "-" else to
        done = home.export_memories(target, path, format=format_, since=since, tags=words(tags), told=progress.left)
    if as_json:
        print_json(
            {"to": to, "format": format_, "files": done.files, "rows": done.rows, "size_bytes": done.size_bytes}
        )
    elif to != "-":
        click.echo(f"{done.rows} rows of {done.files} files, {about_size(done.size_bytes)}")
