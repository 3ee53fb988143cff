"""`agentfs view`: the files of a home as objects that anyone can read (docs/view.md)."""

import threading
from typing import Any

import click

from agentfs.cli.asking import memories, progress
from agentfs.cli.options import ExampleCommand, json_option, settings_of, settings_options, space_option
from agentfs.cli.output import as_json as print_json
from agentfs.cli.output import table, warn
from agentfs.clock import SystemClock
from agentfs.config.settings import redacted
from agentfs.config.values import about_size, shown_seconds
from agentfs.model.ignore import check_braces

_EXAMPLES = (
    "agentfs view status",
    "agentfs view rules '*.log=none' 'lists/=plain'",
    "agentfs view look",
    "agentfs view rebuild",
    "agentfs view off",
)
_SHOWN_MAX = 20
_LOOK_SECONDS_MAX = 3600.0
_AGAIN_SECONDS = 5.5
_REBUILD_SECONDS_MAX = 86_400.0
_STATUS_SECONDS_MAX = 120.0


class ViewGroup(click.Group):
    """`agentfs view` alone shows the status."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next(iter(args), "")
        if first not in (*self.commands, "--help", "-h"):
            args = ["status", *args] if first.startswith("-") or not first else args
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        with formatter.section("Examples"):
            for line in _EXAMPLES:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


@click.group(cls=ViewGroup)
def view() -> None:
    """The files of a home as objects that anyone can read, without AgentFS.

    Each file is an object at agents/<agent id>/<path>, or spaces/<name>/<path>. Markdown says in its frontmatter
    which version it is; other files are byte for byte what they are, and their metadata says it. One engine at a
    time writes them, after every commit.
    """


@view.command(
    cls=ExampleCommand,
    examples="agentfs view status\nagentfs view status --space team\nagentfs view status --files --json",
    short_help="Show where the objects are, who writes them, and how far that is.",
)
@click.option("--files", is_flag=True, help="Also look for files that have no object, and say why.")
@space_option
@settings_options
@json_option
def status(*, files: bool, as_json: bool, **options: str | None) -> None:
    """Show who writes the objects, how far that is, and what is left alone."""
    from agentfs.volume.view_words import VIEW_STATUS  # noqa: PLC0415 - help and usage errors must not wait for it

    store = settings_of({name: value for name, value in options.items() if name != "space"}).store
    with memories(options, fresh=False) as them:
        found = them[0].link().request(VIEW_STATUS, timeout_seconds=_STATUS_SECONDS_MAX, scan=files)
    found["address"] = f"{redacted(store).partition('?')[0].rstrip('/')}/{found['place']}"
    if as_json:
        print_json(found)
    else:
        _say(found)


@view.command(
    cls=ExampleCommand, examples="agentfs view rebuild\nagentfs view rebuild --space team --json",
    short_help="Look at every object; write those that are wrong or missing.",
)  # fmt: skip
@space_option
@settings_options
@json_option
def rebuild(*, as_json: bool, **options: str | None) -> None:
    """Look at every object, and write those that are missing or not what they should be.

    What another tool changed stays as it is. It may be interrupted: what was written stays, and a mount goes on.
    """
    from agentfs.volume.view_words import VIEW_REBUILD  # noqa: PLC0415 - as above

    with memories(options) as them, progress("writing") as tell:
        found = (
            them[0]
            .link()
            .request(
                VIEW_REBUILD,
                timeout_seconds=_REBUILD_SECONDS_MAX,
                progress=lambda facts: tell(facts["indexed"], facts["of"]),
            )
        )
    if as_json:
        print_json(found)
        return
    click.echo(
        f"{found['put']} objects written, {found['deleted']} deleted; the view has {found['objects']} objects "
        f"({about_size(found['size_bytes'])})"
    )
    _say_names("left alone", found["held"])
    _say_names("not written", found["stuck"])


@view.command(
    cls=ExampleCommand,
    examples="agentfs view rules\nagentfs view rules '*.log=none' 'lists/=plain'\nagentfs view rules --clear",
)
@click.argument("rules", nargs=-1, metavar="[GLOB=POLICY]...")
@click.option("--clear", is_flag=True, help="Take all rules away.")
@space_option
@settings_options
@json_option
def rules(*, rules: tuple[str, ...], clear: bool, as_json: bool, **options: str | None) -> None:
    """Show the rules, or set them in place of all that were.

    POLICY is `block` (the default: Markdown has a block of facts in its frontmatter), `plain` (the bytes as they
    are, the facts only as metadata) or `none` (no object). The last rule that matches a file counts. They are kept
    with the volume and hold for every machine.
    """
    from agentfs.volume.view_words import VIEW_CHANGE, VIEW_STATUS  # noqa: PLC0415 - as above

    if clear and rules:
        raise click.UsageError("give rules, or --clear")
    pairs = [list(_pair(rule)) for rule in rules]
    with memories(options, fresh=False) as them:
        if pairs or clear:
            found = them[0].link().request(VIEW_CHANGE, timeout_seconds=_STATUS_SECONDS_MAX, rules=pairs)
        else:
            found = them[0].link().request(VIEW_STATUS, timeout_seconds=_STATUS_SECONDS_MAX)
    if as_json:
        print_json({"rules": found["rules"]})
    elif found["rules"]:
        click.echo(table(found["rules"]))
    else:
        click.echo("no rules: every file has an object, and Markdown has a block")


@view.command(
    cls=ExampleCommand, examples="agentfs view look\nagentfs view look --space team --json",
    short_help="Take in now what other tools did in the bucket.",
)  # fmt: skip
@space_option
@settings_options
@json_option
def look(*, as_json: bool, **options: str | None) -> None:
    """Look now for what other tools put, changed or deleted in the bucket, and take it in.

    A mount looks by itself, as often as the setting view_look says. What was found becomes a commit by the author
    `bucket`, merged like any change from another machine. What seems to be written or deleted at this very moment is
    looked at again a few seconds later.
    """
    from agentfs.volume.view_words import VIEW_LOOK  # noqa: PLC0415 - as above

    _look(VIEW_LOOK, as_json=as_json, options=options)


@view.command(cls=ExampleCommand, examples="agentfs view accept\nagentfs view accept --space team")
@space_option
@settings_options
@json_option
def accept(*, as_json: bool, **options: str | None) -> None:
    """Believe that many objects were deleted on purpose.

    When more than ten objects and more than a tenth of all, or all of three or more, are gone or emptied at once, no
    file is deleted until this is said. The history keeps them. If it was no purpose, agentfs view rebuild writes the
    objects again.
    """
    from agentfs.volume.view_words import VIEW_ACCEPT  # noqa: PLC0415 - as above

    _look(VIEW_ACCEPT, as_json=as_json, options=options)


def _look(word: str, *, as_json: bool, options: dict[str, str | None]) -> None:
    with memories(options, fresh=False) as them:
        found = them[0].link().request(word, timeout_seconds=_LOOK_SECONDS_MAX)
        if found["waiting"] and not found["braked"]:  # once more, when it has stood still for long enough
            SystemClock().wait(threading.Event(), _AGAIN_SECONDS)
            again = them[0].link().request(word, timeout_seconds=_LOOK_SECONDS_MAX)
            found = again | {"imported": [*found["imported"], *again["imported"]]}
    if as_json:
        print_json(found)
        return
    if found["imported"]:
        click.echo(table([(it["what"], _printable(it["name"]), it["why"]) for it in found["imported"]]))
    else:
        click.echo(f"nothing new among {found['objects']} objects")
    _say_names("still being written or deleted", dict.fromkeys(found["waiting"], ""))
    if found["left"]:
        click.echo(f"{found['left']} objects are no files and were left alone: agentfs view status names them")
    _say_braked(found["braked"])


def _say_braked(count: int) -> None:
    if count:
        warn(
            f"{count} objects are gone from the bucket at once, and nothing was deleted here. If it was meant: "
            "agentfs view accept; if not: agentfs view rebuild"
        )


def _mode_command(mode: str, line: str, *, more: str = "") -> click.Command:
    @click.command(
        name=mode, cls=ExampleCommand, help=f"{line}\n\n{more}", short_help=line,
        examples=f"agentfs view {mode}\nagentfs view {mode} --space team",
    )  # fmt: skip
    @space_option
    @settings_options
    @json_option
    def command(*, as_json: bool, **options: str | None) -> None:
        from agentfs.volume.view_words import VIEW_CHANGE  # noqa: PLC0415 - as above

        with memories(options, fresh=False) as them:
            found = them[0].link().request(VIEW_CHANGE, timeout_seconds=_STATUS_SECONDS_MAX, mode=mode)
        if as_json:
            print_json({"mode": found["mode"]})
        else:
            click.echo(f"the view is {found['mode']}")

    return command


view.add_command(
    _mode_command(
        "on", "Have every change written at once, by whichever machine has the home open.",
        more="A fork has no view until this is said.",
    )
)  # fmt: skip
view.add_command(
    _mode_command(
        "lazy", "Have changes written when they are five minutes old.",
        more="Files that change all the time then cost a twelfth of the requests.",
    )
)  # fmt: skip
view.add_command(
    _mode_command(
        "off", "Have nothing written any more, on any machine.", more="The objects stay as they are, and grow old."
    )
)


def _pair(rule: str) -> tuple[str, str]:
    pattern, equals, policy = rule.rpartition("=")
    if not equals:
        raise click.UsageError(f"{rule} is no rule: write GLOB=POLICY, such as '*.log=none'")
    try:
        check_braces(pattern)
    except ValueError as error:
        raise click.UsageError(f"{rule}: {error}") from None
    return pattern, policy


def _say(found: dict[str, Any]) -> None:
    if found["mode"] == "none" and found["problem"]:
        click.echo(f"whether {found['volume']} has a view is not known now")
        _say_problem(found)
        return
    if found["mode"] == "none":
        click.echo(
            f"{found['volume']} has no view yet" + ("" if found["here"] != "off" else "; this machine keeps none")
        )
        return
    due = f", {found['due']} files to write" if found["due"] else ""
    by = {"keeping": "this machine", "off": found["keeper"], "standing by": found["keeper"]}[found["here"]]
    rows = [
        ("where", found["address"]),
        ("mode", found["mode"]),
        ("written by", "nobody: agentfs view on" if found["mode"] == "off" else by or "nobody at the moment"),
        ("as of", f"commit {found['through']} of {found['head']}{due}"),
    ]
    if found["objects"]:
        rows.append(("objects", f"{found['objects']} known here ({about_size(found['size_bytes'])})"))
    rows.append(("looks", _looks(found)))
    rows += [("rule", f"{pattern} = {policy}") for pattern, policy in found["rules"]]
    click.echo(table(rows))
    _say_names("left alone", found["held"])
    _say_names("not written", found["stuck"])
    _say_names(
        "objects that are no files", dict.fromkeys(found["foreign"], "no file has such a name") | found["left_alone"]
    )
    _say_braked(found["braked"])
    if not found.get("without_count", 1):
        click.echo(f"every file has its object ({found['files']})")
    elif "without" in found:
        _say_names(f"{found['without_count']} of {found['files']} files have no object", found["without"])
    _say_problem(found)


def _looks(found: dict[str, Any]) -> str:
    """How often other tools' changes are looked for, and what it costs."""
    if found.get("mode") == "off":
        return "not while the view is off"
    if not found["look_every_s"]:
        return "only when told: agentfs view look"
    day = f"{found['listings_per_day']:.0f} listings and {found['marks_per_day']:.0f} puts of the mark a day"
    cost = f", {found['looks_cost_month']} a month" if found.get("looks_cost_month") else ""
    return f"every {shown_seconds(found['look_every_s'])}: {day}{cost}"


def _say_problem(found: dict[str, Any]) -> None:
    if found["problem"]:
        warn(found["problem"])


def _say_names(what: str, names: dict[str, str]) -> None:
    if not names:
        return
    click.echo(f"{what}:")
    for name, why in list(names.items())[:_SHOWN_MAX]:
        click.echo(f"  {_printable(name)}" + (f"  ({why})" if why else ""))
    if len(names) > _SHOWN_MAX:
        click.echo(f"  … and {len(names) - _SHOWN_MAX} more (--json lists up to 1000)")


def _printable(name: str) -> str:
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text)
