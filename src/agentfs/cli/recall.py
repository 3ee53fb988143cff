"""`agentfs recall`, `search` and `tags`: what is remembered."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentfs.cli.asking import WAIT_SECONDS, memories, progress, question
from agentfs.cli.options import ExampleCommand, json_option, settings_options, space_option
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import iso, local_time, table, warn
from agentfs.model.names import shown

if TYPE_CHECKING:
    from agentfs.memory.results import Found

_F = TypeVar("_F", bound=Callable[..., Any])
_STRATEGIES = ("balanced", "recency", "importance", "relevance")
_SNIPPET_CHARACTERS = 300


def _filters(function: _F) -> _F:
    """--tag, --path, --since, --strategy, --wait."""
    for option in (
        click.option("--wait", type=click.FloatRange(0), default=WAIT_SECONDS, metavar="SECONDS",
                     help="How long to wait for files that are not indexed yet (60)."),
        click.option("--strategy", type=click.Choice(_STRATEGIES), default="balanced",
                     help="What counts beside the words: see docs/memory.md."),
        click.option("--since", metavar="TIME", help="Only what is dated since then (2026-11-21, 2h, yesterday)."),
        click.option("--path", default="", metavar="PATH", help="Only PATH, or what is below it."),
        click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only documents with this tag; repeatable."),
    ):  # fmt: skip
        function = option(function)
    return function


def warn_left(behind: int) -> None:
    """Say what could not be looked at."""
    if behind:
        warn(f"{behind} files are not indexed yet: agentfs status tells how far it is")


@click.command(
    cls=ExampleCommand,
    examples='agentfs recall "what did we decide about retries?"\n'
    'agentfs recall "NVDA risk" --max-tokens 500 --tag work\n'
    'agentfs recall "open questions" --strategy recency --since 2w --path projects/alpha --json\n'
    'agentfs recall "who owns the build" --explain',
)
@click.argument("query", nargs=-1, required=True)
@click.option("--max-tokens", type=click.IntRange(1, 200_000), default=2000, metavar="N",
              help="What the answer may cost (2000).")  # fmt: skip
@_filters
@click.option("--explain", is_flag=True, help="What each passage's score is made of.")
@space_option
@settings_options
@json_option
def recall(
    *,
    query: tuple[str, ...],
    max_tokens: int,
    tags: tuple[str, ...],
    path: str,
    since: str | None,
    strategy: str,
    wait: float,
    explain: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Print the passages that serve a question best and fit into a number of tokens.

    Passages are verbatim, each with its file and lines. When nothing that is remembered is about the question, the
    answer says so. Attached spaces are asked, too.
    """
    from agentfs.volume import asking  # noqa: PLC0415 - help and usage errors must not wait for it

    asked = question(
        " ".join(query), tags=tags, path=path, since=since, strategy=strategy, max_tokens=max_tokens
    )  # fmt: skip
    with memories(options) as them, progress() as tell:
        found = asking.recall(them, asked, wait=wait, progress=tell)
    if as_json:
        print_json(
            {
                "relevant": found.relevant,
                "text": found.text,
                "tokens": found.tokens,
                "max_tokens": max_tokens,
                "counter": found.counter,
                "passages": [_fields(it) for it in found.found],
                "scanned": found.scanned,
                "behind": found.behind,
            }
        )
        return
    if found.text:
        click.echo(found.text)
    elif found.relevant:
        warn(f"something answers, but not within {max_tokens} tokens")
    if explain:
        _explain(list(found.found))
        click.echo(f"\n{found.tokens} of {max_tokens} tokens ({found.counter}); {found.scanned} passages looked at")
    warn_left(found.behind)


@click.command(
    cls=ExampleCommand,
    examples='agentfs search "blue-green deployment"\nagentfs search NVDA --limit 5 --tag risk\n'
    "agentfs search 東京 --path diary --json",
)
@click.argument("query", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=10, metavar="N", help="At most N passages (10).")
@_filters
@click.option("--explain", is_flag=True, help="What each passage's score is made of.")
@space_option
@settings_options
@json_option
def search(
    *,
    query: tuple[str, ...],
    limit: int,
    tags: tuple[str, ...],
    path: str,
    since: str | None,
    strategy: str,
    wait: float,
    explain: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """List the passages that match best: file and lines, score, date, and the text."""
    from agentfs.volume import asking  # noqa: PLC0415 - as above

    asked = question(" ".join(query), tags=tags, path=path, since=since, strategy=strategy, limit=limit)
    with memories(options) as them, progress() as tell:
        found, behind = asking.search(them, asked, wait=wait, progress=tell)
    if as_json:
        print_json({"passages": [_fields(it) for it in found], "behind": behind})
        return
    for it in found:
        text = " ".join(it.text.split())
        click.echo(f"{_place(it)}  {it.score:.3f}  {local_time(it.date_ns)}")
        click.echo(f"    {text if len(text) <= _SNIPPET_CHARACTERS else text[:_SNIPPET_CHARACTERS] + ' …'}")
    if not found:
        click.echo("nothing matches")
    elif explain:
        _explain(list(found))
    warn_left(behind)


@click.command(cls=ExampleCommand, examples="agentfs tags\nagentfs tags --path projects --json")
@click.option("--path", default="", metavar="PATH", help="Only PATH, or what is below it.")
@space_option
@settings_options
@json_option
def tags(*, path: str, as_json: bool, **options: str | None) -> None:
    """List the tags of all documents, the most frequent first."""
    from agentfs.volume import asking  # noqa: PLC0415 - as above

    with memories(options) as them:
        found = asking.tags(them, question("", tags=(), path=path, since=None))
    if as_json:
        print_json({"tags": [{"tag": tag, "documents": documents} for tag, documents in found]})
    elif found:
        click.echo(table([(str(documents), tag) for tag, documents in found], right=frozenset({0})))


def _place(it: "Found") -> str:
    return f"{shown(it.path.encode('utf-8', 'surrogateescape'))}:{it.first_line}-{it.last_line}"


def _explain(found: "list[Found]") -> None:
    click.echo("")
    for it in found:
        parts = "  ".join(f"{name} {value:+.3f}" for name, value in it.parts.items())
        click.echo(f"{_place(it)}  {it.score:.3f} = {parts}")


def _fields(it: "Found") -> dict[str, object]:
    return {
        "path": shown(it.path.encode("utf-8", "surrogateescape")),
        "first_line": it.first_line,
        "last_line": it.last_line,
        "text": it.text,
        "date": iso(it.date_ns),
        "date_ns": it.date_ns,
        "score": it.score,
        "parts": dict(it.parts),
        "title": it.title,
        "tags": list(it.tags),
        "tokens": it.tokens,
        "version": it.version,
    }
