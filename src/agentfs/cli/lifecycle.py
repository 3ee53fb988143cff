"""`agentfs lifecycle`: rules by which files are deleted, archived or thinned as time goes by."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from agentfs.cli.homes import opened
from agentfs.cli.options import ExampleCommand, json_option, settings_options, space_option
from agentfs.cli.output import Progress, age, iso, local_time, table, warn
from agentfs.cli.output import as_json as print_json
from agentfs.cli.standard_input import read_standard_input
from agentfs.cli.wording import path_text
from agentfs.config.values import about_size
from agentfs.errors import InvalidArgument

if TYPE_CHECKING:
    from agentfs.sdk.lifecycle import LifecycleReport, LifecycleRules, RuleReport, Told

_EXAMPLES = (
    "agentfs lifecycle",
    "agentfs lifecycle check rules.toml",
    "agentfs lifecycle set rules.toml",
    "agentfs lifecycle run --dry-run",
    "agentfs lifecycle explain logs/2026-11-21.log",
)
_SHOWN_MAX = 100
_STEPS_MAX = 1000


class LifecycleGroup(click.Group):
    """`agentfs lifecycle` alone lists the rules."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next(iter(args), "")
        if first not in (*self.commands, "--help", "-h"):
            args = ["list", *args] if first.startswith("-") or not first else args
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        with formatter.section("Examples"):
            for line in _EXAMPLES:
                formatter.write_text(line)


@click.group(cls=LifecycleGroup)
def lifecycle() -> None:
    """Rules by which files are deleted, archived or thinned as time goes by.

    The rules are TOML; the first that matches a path decides:

    \b
      [[lifecycle]]
      glob = "logs/**"        # a path from the root; ** is any number of directories
      expire = "30d"          # deleted 30 days after the last change
    \b
      [[lifecycle]]
      glob = "daily/*.md"
      archive = "90d"         # moved to archive/daily/ (or: to = "old")
    \b
      [[lifecycle]]
      glob = "scratch/**"
      versions = 3            # of their history three versions are kept

    They are stored with the home or space and count for every machine. What they do are commits, which agentfs
    history shows and agentfs restore takes back.
    """


@lifecycle.command(
    name="list",
    cls=ExampleCommand,
    examples="agentfs lifecycle list\nagentfs lifecycle list --toml > rules.toml\n"
    "agentfs lifecycle list --space team --json",
)
@click.option("--toml", "as_toml", is_flag=True, help="The text as it was set, to be edited and set again.")
@space_option
@settings_options
@json_option
def list_(*, as_toml: bool, as_json: bool, **options: str | None) -> None:
    """Show the rules, who set them, and when mounts begin to act."""
    with opened(options, fresh=False, push=False) as home:
        found = home.lifecycle()
    if as_json:
        print_json(_rules_fields(found))
    elif as_toml:
        click.echo(found.text, nl=bool(found.text) and not found.text.endswith("\n"))
    else:
        _say_rules(found)


@lifecycle.command(
    cls=ExampleCommand, examples="agentfs lifecycle check rules.toml\nagentfs lifecycle check - --json"
)
@click.argument("file")
@space_option
@settings_options
@json_option
def check(*, file: str, as_json: bool, **options: str | None) -> None:
    """Say what the rules in FILE (-: standard input) would do now. They are not set."""
    text = _read(file)
    with opened(options, fresh=False, push=False) as home, _progress("looking") as told:
        report = home.plan_lifecycle(text, told=told)
    if as_json:
        print_json(_report_fields(report))
    else:
        _say_reach(report)


@lifecycle.command(
    name="set",
    cls=ExampleCommand,
    examples="agentfs lifecycle set rules.toml\n"
    "agentfs lifecycle list --toml | sed s/30d/60d/ | agentfs lifecycle set -",
)
@click.argument("file")
@space_option
@settings_options
@json_option
def set_(*, file: str, as_json: bool, **options: str | None) -> None:
    """Make the rules in FILE (-: standard input) those of the home, in place of all that were, and say what they
    would do now. Mounts begin to act an hour later: until then nothing is lost by a mistake."""
    text = _read(file)
    with opened(options, fresh=False, push=False) as home, _progress("looking") as told:
        report = home.plan_lifecycle(text, told=told)
        found = home.set_lifecycle(text)
    if as_json:
        print_json(_rules_fields(found) | {"now": _report_fields(report)})
        return
    _say_reach(report)
    _say_beginning(found)


@lifecycle.command(cls=ExampleCommand, examples="agentfs lifecycle clear\nagentfs lifecycle clear --space team")
@space_option
@settings_options
@json_option
def clear(*, as_json: bool, **options: str | None) -> None:
    """Take all rules away, at once."""
    with opened(options, fresh=False, push=False) as home:
        found = home.set_lifecycle("")
    if as_json:
        print_json(_rules_fields(found))
    else:
        _say_rules(found)


@lifecycle.command(
    cls=ExampleCommand,
    examples="agentfs lifecycle run --dry-run\nagentfs lifecycle run\nagentfs lifecycle run --space team --json",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; do nothing.")
@space_option
@settings_options
@json_option
def run(*, dry_run: bool, as_json: bool, **options: str | None) -> None:
    """Do now what is due by the rules, without waiting for a mount to do it.

    Files that are open for writing, locked, pinned or have a change that is not in the store yet stay. Every commit
    says which rule made it; agentfs restore PATH --at brings back what went.
    """
    with opened(options, fresh=False, push=False) as home:
        if dry_run:
            with _progress("looking") as told:
                report = home.plan_lifecycle(told=told)
        else:
            with _progress("applying") as told:
                report = home.apply_lifecycle(told=told)
    if as_json:
        print_json(_report_fields(report) | {"dry_run": dry_run})
        return
    _say_steps(report)
    done = "would be done" if dry_run else "done"
    count = f"{report.files} file{'' if report.files == 1 else 's'}"
    click.echo(f"{count} ({about_size(report.size_bytes)}) {done}" if report.files else "nothing is due")
    if report.left:
        warn(f"{report.left} files had to stay: they changed in this moment, or there is no way into their archive")


@lifecycle.command(
    cls=ExampleCommand,
    examples="agentfs lifecycle explain logs/2026-11-21.log\nagentfs lifecycle explain notes.md --json",
)
@click.argument("path")
@space_option
@settings_options
@json_option
def explain(*, path: str, as_json: bool, **options: str | None) -> None:
    """Say which rule holds for PATH, and when it acts."""
    with opened(options, fresh=False, push=False) as home:
        found = home.lifecycle_of(path)
    if as_json:
        print_json(
            {
                "path": path_text(found.path),
                "rule": found.rule,
                "number": found.number,
                "action": found.action,
                "begun": iso(found.begun_ns),
                "due": iso(found.due_ns),
                "waits": found.waits,
            }
        )
        return
    name = path_text(found.path)
    click.echo(f"{name}: " + (f"rule {found.number}, {found.rule}" if found.rule is not None else "no rule matches"))
    if found.action is None:
        click.echo("it stays")
        return
    if found.due_ns is not None and found.begun_ns is not None:
        click.echo(f"{found.action} at {local_time(found.due_ns)}, counted from {local_time(found.begun_ns)}")
    if found.waits:
        click.echo(f"not yet: {found.waits}")


# ---- what is shown ----


def _read(path: str) -> str:
    try:
        if path == "-":
            return read_standard_input().decode("utf-8")
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path}: rules are UTF-8 text") from None


@contextmanager
def _progress(label: str) -> "Iterator[Told]":
    with Progress(label, what="files") as progress:
        yield progress.done


def _say_rules(found: "LifecycleRules") -> None:
    if not found.rules:
        click.echo(f"{found.volume} has no lifecycle rules")
        return
    by = f" (set by {found.set_by}, {local_time(found.set_ns)})" if found.set_ns is not None else ""
    click.echo(f"{found.volume}, the first that matches decides{by}:")
    click.echo(table([(str(number), rule) for number, rule in enumerate(found.rules, start=1)], right=frozenset({0})))
    _say_beginning(found)


def _say_beginning(found: "LifecycleRules") -> None:
    if not found.rules:
        return
    if found.acts_ns is not None:
        click.echo(f"mounts act from {local_time(found.acts_ns)} on; agentfs lifecycle run does it now")
    click.echo(f"what goes stays in the history: {found.retention} (agentfs retention)")
    if found.retention == "all" and any(rule.endswith(" versions") for rule in found.rules):
        warn("rules about versions do nothing while the retention is all: agentfs retention 30d, for example")


def _say_reach(report: "LifecycleReport") -> None:
    """What each rule holds for, and what it would do now."""
    rows = [
        (str(number), it.rule, f"matches {it.matches}", _now(it)) for number, it in enumerate(report.rules, start=1)
    ]
    click.echo(table(rows, right=frozenset({0})) if rows else "no rules")


def _now(it: "RuleReport") -> str:
    if it.action is None:
        return ""
    size = f" ({about_size(it.size_bytes)})" if it.files else ""
    return f"would {it.action} {it.files} now{size}"


def _say_steps(report: "LifecycleReport") -> None:
    rows = [
        (it.action, age(it.age_s), about_size(it.size_bytes), it.rule, path_text(it.path))
        for it in report.steps[:_SHOWN_MAX]
    ]
    if rows:
        click.echo(table(rows, right=frozenset({1, 2})))
    if report.files > len(rows):
        click.echo(f"… and {report.files - len(rows)} more (--json lists up to {_STEPS_MAX})")


def _rules_fields(found: "LifecycleRules") -> dict[str, object]:
    return {
        "volume": found.volume,
        "rules": list(found.rules),
        "text": found.text,
        "set_by": found.set_by,
        "set_at": iso(found.set_ns),
        "acts_at": iso(found.acts_ns),
        "retention": found.retention,
    }


def _report_fields(report: "LifecycleReport") -> dict[str, object]:
    return {
        "files": report.files,
        "size_bytes": report.size_bytes,
        "left": report.left,
        "rules": [
            {
                "rule": it.rule,
                "action": it.action,
                "matches": it.matches,
                "files": it.files,
                "size_bytes": it.size_bytes,
            }
            for it in report.rules
        ],
        "steps": [
            {
                "path": path_text(it.path),
                "action": it.action,
                "rule": it.rule,
                "age_s": it.age_s,
                "size_bytes": it.size_bytes,
            }
            for it in report.steps
        ],
    }
