"""`agentfs recall`, `search`, `related`, `timeline`, `topics` and `tags`: what is remembered."""

from collections.abc import Callable, Sequence
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
        files = "1 file is" if behind == 1 else f"{behind} files are"
        warn(f"{files} not indexed yet: agentfs status tells how far it is")


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
                "needs": found.needs,
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
        warn(
            f"something answers, but not within {max_tokens} tokens: the best passage needs {found.needs}; "
            f"ask with --max-tokens {found.needs}"
        )
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
        _print_one(it, score=True)
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


@click.command(
    cls=ExampleCommand, examples="agentfs related notes/nvda.md\nagentfs related notes/nvda.md --limit 3 --json"
)
@click.argument("path")
@click.option("--limit", type=click.IntRange(1, 1000), default=10, metavar="N", help="At most N documents (10).")
@space_option
@settings_options
@json_option
def related(*, path: str, limit: int, as_json: bool, **options: str | None) -> None:
    """List documents like PATH, and those that it links to or that link to it."""
    from agentfs.volume import asking  # noqa: PLC0415 - as above

    with memories(options) as them:
        found = asking.related(them, question("", tags=(), path=path, since=None, limit=limit))
    _print(found, as_json=as_json, nothing="nothing is related to it, or it is no document")


@click.command(
    cls=ExampleCommand,
    examples='agentfs timeline\nagentfs timeline "the outage" --since 2w\nagentfs timeline --tag decision --json',
)
@click.argument("query", nargs=-1)
@click.option("--limit", type=click.IntRange(1, 1000), default=30, metavar="N", help="At most N passages (30).")
@click.option("--since", metavar="TIME", help="Only what is dated since then (2026-11-21, 2h, yesterday).")
@click.option("--path", default="", metavar="PATH", help="Only PATH, or what is below it.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only documents with this tag; repeatable.")
@space_option
@settings_options
@json_option
def timeline(
    *,
    query: tuple[str, ...],
    limit: int,
    since: str | None,
    path: str,
    tags: tuple[str, ...],
    as_json: bool,
    **options: str | None,
) -> None:
    """List what came when, the earliest first: what serves QUERY, or without one the newest documents."""
    from agentfs.volume import asking  # noqa: PLC0415 - as above

    with memories(options) as them:
        found = asking.timeline(them, question(" ".join(query), tags=tags, path=path, since=since, limit=limit))
    _print(found, as_json=as_json, nothing="nothing matches")


@click.command(cls=ExampleCommand, examples="agentfs topics\nagentfs topics --path projects --limit 5 --json")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, metavar="N", help="At most N topics (20).")
@click.option("--path", default="", metavar="PATH", help="Only PATH, or what is below it.")
@space_option
@settings_options
@json_option
def topics(*, limit: int, path: str, as_json: bool, **options: str | None) -> None:
    """List what the documents are about, the largest topic first."""
    from agentfs.volume import asking  # noqa: PLC0415 - as above

    with memories(options) as them:
        found = asking.topics(them, question("", tags=(), path=path, since=None, limit=limit))
    if as_json:
        print_json(
            {
                "topics": [
                    {
                        "name": it.name,
                        "words": list(it.words),
                        "documents": it.documents,
                        "newest": iso(it.newest_ns),
                        "paths": [shown(path.encode("utf-8", "surrogateescape")) for path in it.paths],
                    }
                    for it in found
                ]
            }
        )
    elif found:
        click.echo(table([(str(it.documents), it.name, ", ".join(it.words)) for it in found], right=frozenset({0})))


def _print(found: "Sequence[Found]", *, as_json: bool, nothing: str) -> None:
    if as_json:
        print_json({"passages": [_fields(it) for it in found]})
        return
    for it in found:
        _print_one(it)
    if not found:
        click.echo(nothing)


def _print_one(it: "Found", *, score: bool = False) -> None:
    """Where, when, and the text in one line."""
    text = " ".join(it.text.split())
    click.echo(f"{_place(it)}  {f'{it.score:.3f}  ' if score else ''}{local_time(it.date_ns)}")
    click.echo(f"    {text if len(text) <= _SNIPPET_CHARACTERS else text[:_SNIPPET_CHARACTERS] + ' …'}")


def _place(it: "Found") -> str:
    last = f"-{it.last_line}" if it.last_line != it.first_line else ""
    return f"{shown(it.path.encode('utf-8', 'surrogateescape'))}:{it.first_line}{last}"


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
