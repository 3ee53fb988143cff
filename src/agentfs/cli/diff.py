"""`agentfs diff`: what changed between two versions."""

from typing import TYPE_CHECKING

import click

from agentfs.cli.homes import opened
from agentfs.cli.options import ExampleCommand, json_option, settings_options, space_option
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import table
from agentfs.cli.wording import path_text

if TYPE_CHECKING:
    from agentfs.history.differences import Difference
    from agentfs.sdk.comparing import Compared, Pair

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command(
    cls=ExampleCommand,
    examples="agentfs diff notes.md\nagentfs diff notes.md v3\nagentfs diff notes.md v3 v5\n"
    "agentfs diff notes.md yesterday --stat\nagentfs diff projects @1200 @1234",
)
@click.argument("path")
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option("--stat", is_flag=True, help="Only how many lines were added and removed.")
@space_option
@settings_options
@json_option
def diff(*, path: str, a: str | None, b: str | None, stat: bool, as_json: bool, **options: str | None) -> None:
    """Show what changed in a file from A to B, as a unified diff.

    A and B are a version (v3), a commit (@1234), a time (2026-11-21T10:00, 2h, yesterday) or a snapshot. Without B it
    is what is here now, without A the version before that. Of a directory, every file in it.
    """
    from agentfs.history.differences import difference  # noqa: PLC0415 - help must not wait for it

    with opened(options, fresh=True) as home:
        both = home.compare(path, a, b)
    found = [(pair, difference(pair.old or b"", pair.new or b"")) for pair in both.pairs]
    found = [(pair, it) for pair, it in found if not it.is_equal or pair.old is None or pair.new is None]
    if as_json:
        print_json({"old": both.old, "new": both.new, "files": [_fields(pair, it) for pair, it in found]})
    elif not stat:
        for pair, it in found:
            _print(pair, it, both)
    elif found:
        click.echo(table([(path_text(pair.path), _stat(pair, it)) for pair, it in found]))


def _fields(pair: "Pair", it: "Difference") -> dict[str, object]:
    return {
        "path": path_text(pair.path),
        "what": "created" if pair.old is None else "deleted" if pair.new is None else "changed",
        "binary": it.binary,
        "added": it.added,
        "removed": it.removed,
        "lines": list(it.lines),
    }


def _stat(pair: "Pair", it: "Difference") -> str:
    if it.binary:
        return f"binary, {len(pair.old or b'')} to {len(pair.new or b'')} bytes"
    return f"+{it.added} -{it.removed}"


def _print(pair: "Pair", it: "Difference", both: "Compared") -> None:
    name = path_text(pair.path)
    if it.binary:
        click.echo(f"{name}: binary, {len(pair.old or b'')} bytes before, {len(pair.new or b'')} after")
        return
    click.secho(f"--- {name}\t{both.old}" if pair.old is not None else "--- /dev/null", bold=True)
    click.secho(f"+++ {name}\t{both.new}" if pair.new is not None else "+++ /dev/null", bold=True)
    for line in it.lines:
        click.secho(line, fg=_COLOURS.get(line[0]))
