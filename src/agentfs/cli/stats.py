"""`agentfs stats` and `reindex`: the index on this machine."""

from typing import Any

import click

from agentfs.cli.asking import WAIT_SECONDS, memories, progress
from agentfs.cli.options import ExampleCommand, json_option, settings_options, space_option
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import iso, local_time, table
from agentfs.config.values import about_size

_KEYS = (
    "documents",
    "passages",
    "tokens",
    "counter",
    "size_bytes",
    "embedder",
    "vectors",
    "vectorless",
    "behind",
    "away",
    "unread",
    "unread_help",
    "carried",
    "carried_at",
    "carried_problem",
)


@click.command(cls=ExampleCommand, examples="agentfs stats\nagentfs stats --space team --json")
@space_option
@settings_options
@json_option
def stats(*, as_json: bool, **options: str | None) -> None:
    """Show what this machine's index of a home holds, and how far it is."""
    from agentfs.volume.asking import ask_one  # noqa: PLC0415 - help and usage errors must not wait for it
    from agentfs.volume.memory_words import STATS  # noqa: PLC0415

    with memories(options, fresh=False) as them, progress() as tell:
        found = ask_one(them[0], STATS, progress=tell, wait=WAIT_SECONDS)
    _print(found, as_json=as_json)


@click.command(cls=ExampleCommand, examples="agentfs reindex\nagentfs reindex --space team --json")
@space_option
@settings_options
@json_option
def reindex(*, as_json: bool, **options: str | None) -> None:
    """Drop this machine's index of a home and make it anew, from the files.

    Nothing is lost by it. It is never needed; it is there for the day when you think that it is.
    """
    from agentfs.volume.asking import ask_one  # noqa: PLC0415 - as above
    from agentfs.volume.memory_words import REINDEX  # noqa: PLC0415

    with memories(options, fresh=False) as them, progress() as tell:
        found = ask_one(them[0], REINDEX, progress=tell)
    _print(found, as_json=as_json)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    expiry = found["next_expiry_ns"]
    if as_json:
        print_json({key: found[key] for key in _KEYS} | {"next_expiry": iso(expiry), "problem": found["problem"]})
        return
    rows = [
        ("documents", str(found["documents"])),
        ("passages", f"{found['passages']} ({found['tokens']} tokens, as {found['counter']} counts)"),
        ("vectors", f"{found['vectors']} ({found['embedder'] or 'no embedder'})"),
        ("on disk", about_size(found["size_bytes"])),
        ("next to expire", local_time(expiry) if expiry is not None else "nothing"),
    ]
    if found["behind"]:
        rows.append(("not indexed yet", f"{found['behind']} files"))
    if found["vectorless"]:
        rows.append(("without a vector", f"{found['vectorless']} passages"))
    if found["unread"]:
        rows.append(("not read", found["unread_help"]))
    if found["carried"]:
        rows.append(("carried here", f"{found['carried']} documents, as another machine made them"))
    if found["carried_at"]:
        rows.append(("put for others", f"as of entry {found['carried_at']}"))
    if found["carried_problem"]:
        rows.append(("not carried", found["carried_problem"]))
    if found["problem"]:
        rows.append(("problem", found["problem"]))
    click.echo(table(rows))
