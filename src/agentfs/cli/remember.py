"""`agentfs remember` and `forget`: writing memories, and deleting them."""

import click

from agentfs.cli.homes import opened, push
from agentfs.cli.options import (
    ExampleCommand,
    Number,
    json_option,
    settings_options,
    space_option,
    timeout_option,
    words,
)
from agentfs.cli.output import as_json as print_json
from agentfs.cli.standard_input import read_standard_input
from agentfs.cli.wording import path_text
from agentfs.errors import InvalidArgument, IsADirectory


@click.command(
    cls=ExampleCommand,
    examples='agentfs remember "Deploys go out on Tuesdays."\n'
    'agentfs remember "Prefers short answers." --type preference --importance 0.9 --tag style\n'
    'git log -1 | agentfs remember - --title "Last commit" --ttl 7d\n'
    'agentfs remember "The staging key rotates monthly." --space team --json',
)
@click.argument("text", nargs=-1)
@click.option("--title", default="", metavar="TEXT", help="What it is called.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag, or several with commas; repeatable.")
@click.option("--importance", type=Number(0, 1), metavar="0..1", help="How much it counts.")
@click.option("--ttl", metavar="TIME", help="How long it lives (7d, 12h), or until which date.")
@click.option("--type", "kind", default="", metavar="WORD", help="note, decision, preference, instruction, log, …")
@click.option("--pinned", is_flag=True, help="A standing instruction.")
@click.option("--path", metavar="PATH", help="The file to write; by default memories/<month>/<first words>.md.")
@click.option("--no-sync", is_flag=True, help="Do not wait for the store; a later command or mount pushes it.")
@timeout_option("the push")
@click.option("--space", "into", metavar="NAME", help="Into this attached space, instead of the home.")
@settings_options
@json_option
def remember(
    *,
    text: tuple[str, ...],
    title: str,
    tags: tuple[str, ...],
    importance: float | None,
    ttl: str | None,
    kind: str,
    pinned: bool,
    path: str | None,
    no_sync: bool,
    into: str | None,
    as_json: bool,
    **options: str | None,
) -> None:
    """Write a memory, from TEXT or standard input (-): a Markdown file with its facts as frontmatter.

    Returns when it is in the store. It is found by `recall` at once, on this machine; with --ttl it is deleted
    everywhere when its time is over.
    """
    if not text:
        raise click.UsageError("there is no text: give it, or - for standard input")
    body = _standard_input() if text == ("-",) else " ".join(text)
    if ttl is not None and not ttl.strip():
        raise click.UsageError("--ttl is empty: write 7d, 12h or a date, or leave it out")
    with opened(options, fresh=False, push=not no_sync) as home:
        made = home.remember(
            body,
            title=title,
            importance=importance,
            tags=words(tags),
            ttl=ttl,
            type=kind,
            pinned=pinned or None,
            space=into,
            path=path,
        )
        synced = push(home, wait=not no_sync)
    if as_json:
        print_json({"path": path_text(made.path), "size_bytes": made.size_bytes, "synced": synced})
    else:
        click.echo(path_text(made.path))


def _standard_input() -> str:
    data = read_standard_input()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgument(
            "standard input is not UTF-8: a memory is text (agentfs put stores any bytes)"
        ) from None


@click.command(
    cls=ExampleCommand,
    examples="agentfs forget memories/2026-11/deploys-go-out-on-tuesdays.md\n"
    "agentfs forget memories/2026-11/old.md --dry-run\nagentfs forget a.md b.md --json",
)
@click.argument("paths", nargs=-1, required=True)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@click.option("--no-sync", is_flag=True, help="Do not wait for the store; a later command or mount pushes it.")
@timeout_option("the push")
@space_option
@settings_options
@json_option
def forget(*, paths: tuple[str, ...], dry_run: bool, no_sync: bool, as_json: bool, **options: str | None) -> None:
    """Delete memories: their files go, here and on every machine, and they are found no more.

    The history keeps them for as long as the retention policy says: `agentfs history PATH` shows the versions,
    `agentfs restore PATH --at …` brings one back.
    """
    synced = False
    with opened(options, fresh=True, push=not (no_sync or dry_run)) as home:
        for path in paths:  # all or none, as far as that can be told before
            if home.stat(path, follow=False).is_directory:
                raise IsADirectory(
                    f"{path or '/'} is a directory: forget takes files (agentfs rm -r deletes directories)"
                )
        if not dry_run:
            for path in paths:
                home.forget(path)
            synced = push(home, wait=not no_sync)
    shown = [path_text(path) for path in paths]
    if as_json:
        print_json(
            {"forgotten": [] if dry_run else shown, "would_forget": shown if dry_run else [], "synced": synced}
        )
        return
    for path in shown:
        click.echo(f"would forget {path}" if dry_run else f"forgot {path}; its history stays: agentfs history {path}")
