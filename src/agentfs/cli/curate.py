"""`agentfs curate`: what could be tidied among notes, as a plan to read; and doing it."""

import importlib
import os
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import click

from agentfs.cli.homes import opened, push
from agentfs.cli.options import ExampleCommand, Number, json_option, settings_options, space_option, timeout_option
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import warn
from agentfs.cli.standard_input import read_standard_input
from agentfs.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentfs.memory.curation import Curator, Plan, Policy
    from agentfs.sdk.curation_steps import Done
    from agentfs.sdk.home import Home

_GROUP = "agentfs.curators"
"""Entry points that are curators."""
_FRESH = "\0"


@click.command(
    cls=ExampleCommand,
    examples="agentfs curate\nagentfs curate > plan.md      # read it, edit it, then:\n"
    "agentfs curate --apply plan.md\nagentfs curate notes --stale-after 90d --apply\n"
    "agentfs curate --with mycompany.curators:Summaries --json",
)
@click.argument("path", default="")
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing. This is the default.")
@click.option("--apply", "plan_file", is_flag=False, flag_value=_FRESH, metavar="[PLAN]",
              help="Carry out the plan of this file (-: standard input); without one, the plan of now.")  # fmt: skip
@click.option("--similarity", type=Number(0.3, 1.0), metavar="SHARE",
              help="Compare notes that share at least so much of their text (0.8).")  # fmt: skip
@click.option("--stale-after", metavar="TIME", help="Notes that did not change for so long can be stale (180d).")
@click.option("--half-life", metavar="TIME", help="After this time half of a note's importance is left (365d).")
@click.option("--with", "curator", metavar="CURATOR",
              help="Also ask a curator: module:object, or an entry point of agentfs.curators.")  # fmt: skip
@click.option("--no-sync", is_flag=True, help="Do not wait for the store; a later command or mount pushes it.")
@timeout_option("the push")
@space_option
@settings_options
@json_option
def curate(
    *,
    path: str,
    dry_run: bool,
    plan_file: str | None,
    similarity: float | None,
    stale_after: str | None,
    half_life: str | None,
    curator: str | None,
    no_sync: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Propose what to tidy among the notes at or below PATH, as a plan that can be read and edited.

    Notes that say the same are merged; notes that newer ones supersede, and stale ones, go to archive/; importance
    decays with time. Nothing is changed without --apply, and then as ordinary commits (agentfs restore takes them
    back). A file that is not what the plan saw is left alone. Needs no language model.
    """
    if dry_run and plan_file is not None:
        raise click.UsageError("--dry-run and --apply contradict each other")
    policy = _policy(similarity, stale_after, half_life)
    plan = None if plan_file in (None, _FRESH) else _read(plan_file or "")
    asked = None if curator is None else _curator(curator)
    with opened(options, fresh=True, push=plan_file is not None and not no_sync) as home:
        if plan is None:
            plan = home.curate(path, policy=policy, curator=asked)
        if plan_file is not None:
            _apply(home, plan, wait=not no_sync, as_json=as_json)
            return
    from agentfs.memory import curation_file  # noqa: PLC0415 - help and usage errors must not wait for it

    if as_json:
        print_json(curation_file.as_json(plan))
    else:
        click.echo(curation_file.as_markdown(plan), nl=False)


def _apply(home: "Home", plan: "Plan", *, wait: bool, as_json: bool) -> None:
    before = home.status().head_sequence
    done = home.apply_plan(plan)
    changed = any(it.what == "done" for it in done)
    synced = push(home, wait=wait) if changed else wait
    if as_json:
        print_json({"actions": [_fields(it) for it in done], "before": before, "synced": synced})
        return
    for it in done:
        if it.what == "skipped":
            warn(f"skipped: {it.action.do} {it.action.files[0].path}: {it.detail}")
        elif it.what == "done":
            click.echo(f"{it.action.do} {it.action.files[0].path}{': ' if it.detail else ''}{it.detail}")
    if changed:
        click.echo(f"to take one back: agentfs restore PATH --at @{before}")
    elif not _todo(done):
        click.echo("nothing to do")


def _todo(done: "Sequence[Done]") -> bool:
    return any(it.what != "look" for it in done)


def _fields(done: "Done") -> dict[str, object]:
    return {
        "do": done.action.do,
        "cause": done.action.cause,
        "files": [seen.path for seen in done.action.files],
        "what": done.what,
        "detail": done.detail,
    }


def _policy(similarity: float | None, stale_after: str | None, half_life: str | None) -> "Policy":
    from agentfs.memory.curation import Policy  # noqa: PLC0415 - as above
    from agentfs.memory.moments import duration_ns  # noqa: PLC0415

    given: dict[str, Any] = {} if similarity is None else {"similarity": similarity}
    for option, key, text in (
        ("--stale-after", "stale_after_ns", stale_after),
        ("--half-life", "half_life_ns", half_life),
    ):
        if text is not None:
            found = duration_ns(text)
            if found is None:
                raise InvalidArgument(f"{option} {text}: use a duration such as 90d, 26w or 1y")
            given[key] = found
    return Policy(**given)


def _read(path: str) -> "Plan":
    from agentfs.memory.curation_file import parsed  # noqa: PLC0415 - as above

    try:
        if path == "-":
            text = read_standard_input().decode("utf-8")
        else:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        return parsed(text)
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None
    except ValueError as error:  # UnicodeDecodeError is one
        raise InvalidArgument(f"{path}: {error}") from None


def _curator(name: str) -> "Curator":
    """What --with names. A class is called without arguments."""
    try:
        if ":" in name:
            module, _, attribute = name.partition(":")
            if os.getcwd() not in sys.path:
                sys.path.insert(0, os.getcwd())
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        else:
            found = next(iter(entry_points(group=_GROUP, name=name))).load()
    except StopIteration:
        raise InvalidArgument(
            f"--with {name}: no entry point of {_GROUP} has this name; or say module:object"
        ) from None
    except (ImportError, AttributeError) as error:
        raise InvalidArgument(f"--with {name}: {error}") from None
    curator: Any = found() if isinstance(found, type) else found
    if not callable(getattr(curator, "propose", None)):
        raise InvalidArgument(f"--with {name}: it has no method propose(notes, now_ns)")
    return curator  # type: ignore[no-any-return]
