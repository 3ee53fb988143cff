"""`agentfs usage`: what stores were asked and hold, and what that costs."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from agentfs.cli.options import ExampleCommand, agent_of, json_option, settings_of, settings_options, space_option
from agentfs.cli.output import Progress, age, iso, table, warn
from agentfs.cli.output import as_json as print_json
from agentfs.clock import SystemClock
from agentfs.config.settings import Settings
from agentfs.config.values import about_size
from agentfs.errors import InvalidArgument, StoreUnavailable
from agentfs.model.names import check_id

if TYPE_CHECKING:
    from agentfs.usage.budgets import BudgetState
    from agentfs.usage.prices import Provider
    from agentfs.usage.report import Line, VolumeUsage
    from agentfs.volume.status import Status

_KINDS = ("put", "list", "get", "head", "delete")


@click.command(
    cls=ExampleCommand,
    examples="agentfs usage\n"
    "agentfs usage --month 2026-10 --by day\n"
    "agentfs usage --days 7 --by purpose --space team\n"
    "agentfs usage --all --json\n"
    "agentfs usage --measure\n"
    "agentfs usage --prices\n"
    "agentfs usage --prometheus > /var/lib/node_exporter/textfile/agentfs.prom",
)
@click.option(
    "--all", "everything", is_flag=True, help="Every home and space that this machine knows, in every store."
)
@click.option("--days", type=click.IntRange(1, 3660), metavar="N", help="The last N days, today included.")
@click.option("--month", metavar="YYYY-MM", help="A month; without --days and --month it is this one.")
@click.option("--by", type=click.Choice(["day", "kind", "purpose"]), default="kind", show_default=True,
              help="What the lines of the table are.")  # fmt: skip
@click.option("--measure", is_flag=True, help="First list what is stored: a request for each thousand objects.")
@click.option("--prices", is_flag=True, help="Show the prices that count, and where to change them.")
@click.option("--prometheus", is_flag=True, help="Print metrics for Prometheus, of all homes and spaces here.")
@space_option
@settings_options
@json_option
def usage(
    *,
    everything: bool,
    days: int | None,
    month: str | None,
    by: str,
    measure: bool,
    prices: bool,
    prometheus: bool,
    space: str | None,
    as_json: bool,
    **options: str | None,
) -> None:
    """Show what the store was asked and holds, and what that costs.

    What is stored is that of the home or space, whichever machine wrote it; requests and transfer are those of this
    machine, and others count theirs. Days are days in UTC, as providers bill. Costs are estimates at list prices,
    before free allowances and taxes. Only --measure needs the store, and a space that nothing was counted of here.
    """
    settings = settings_of(options)
    if days is not None and month is not None:
        raise click.UsageError("give --days or --month, not both")
    if prices:
        _show_prices(settings, as_json=as_json)
        return
    now_ns = SystemClock().wall_ns()
    shown = _range(days, month, now_ns)
    if prometheus:
        _show_metrics(settings, now_ns)
        return
    volume = "" if everything else _volume(settings, space)
    if space is not None and not everything:
        _check_space(settings, space, volume)
    if measure:
        if everything:
            raise click.UsageError("--measure is for one home or space: leave --all out")
        _measure(settings, volume, quiet=as_json)
    found = _found(settings, volume, now_ns, everything=everything)
    if as_json:
        print_json(_document(found, settings, shown, by, now_ns))
    else:
        _print(found, settings, shown, by, now_ns, everything=everything)


def _range(days: int | None, month: str | None, now_ns: int) -> range:
    from agentfs.usage.days import day_of, days_of_month, month_of  # noqa: PLC0415 - help must not wait for it

    today = day_of(now_ns)
    if days is not None:
        return range(today - days + 1, today + 1)
    try:
        whole = days_of_month(month_of(today) if month is None else month)
    except ValueError:
        raise InvalidArgument(f"{month or 'an empty text'} is no month: write it as 2026-11") from None
    return range(whole.start, min(whole.stop, max(today, whole.start) + 1))


def _volume(settings: Settings, space: str | None) -> str:
    agent = agent_of(settings)
    return f"space-{check_id(space, what='space name')}" if space is not None else f"home-{agent}"


def _check_space(settings: Settings, space: str, volume: str) -> None:
    """Raises `NotFound` for a space that nothing was ever counted of here, and that the store does not have."""
    from agentfs.volume.spaces import check_space  # noqa: PLC0415 - as above
    from agentfs.volume.usage import ask_for_counts, usage_of  # noqa: PLC0415

    ask_for_counts(settings, _directories(settings, volume))
    known = usage_of(settings, volume)
    if known.counts or known.stored:
        return
    try:
        check_space(settings, space)
    except StoreUnavailable as error:
        warn(f"nothing was counted here for a space {space}, and whether there is one cannot be told: {error}")


def _found(settings: Settings, volume: str, now_ns: int, *, everything: bool) -> "list[VolumeUsage]":
    """The volume, and what belongs to none; or all that there are."""
    from agentfs.usage.purposes import STORE_ITSELF  # noqa: PLC0415 - as above
    from agentfs.volume.opening import place_of  # noqa: PLC0415
    from agentfs.volume.usage import ask_for_counts, usage_of, usages, with_live  # noqa: PLC0415

    directories = _directories(settings, "" if everything else volume)
    ask_for_counts(settings, directories)
    if everything:
        found = usages(settings, lambda _place, _volume: True)
    else:
        here = place_of(settings).url
        rest = usages(settings, lambda place, name: name == STORE_ITSELF and place.url == here)
        found = [usage_of(settings, volume), *rest]
    return [with_live(it, directories, now_ns) for it in found]


def _directories(settings: Settings, volume: str) -> list[str]:
    """The replicas of this machine: all, or those of a volume."""
    root = os.path.join(settings.state_dir, "volumes")
    try:
        names = sorted(os.listdir(root))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [os.path.join(root, name) for name in names if not volume or name.startswith(f"{volume}@")]


def _measure(settings: Settings, volume: str, *, quiet: bool) -> None:
    from agentfs.usage.budgets import money  # noqa: PLC0415 - as above
    from agentfs.volume.usage import Measurement, usage_of  # noqa: PLC0415

    directories = _directories(settings, volume)
    measurement = Measurement(settings, volume, directories, clock=SystemClock())
    if not quiet:
        provider = usage_of(settings, volume).provider
        cost = ""
        if provider is not None and provider.list_1000:
            cost = f", {money(provider.request_cost('list', measurement.requests), provider.currency)}"
        warn(f"listing {volume}: about {measurement.requests} requests{cost}")
    with Progress("listing", what="objects") as progress:
        measurement.take(lambda count: progress.left(count, 0))


# ---- prices and metrics ----


def _show_prices(settings: Settings, *, as_json: bool) -> None:
    from agentfs.usage.prices import provider_of, shipped_path  # noqa: PLC0415 - as above
    from agentfs.volume.opening import place_of  # noqa: PLC0415
    from agentfs.volume.usage import prices_of  # noqa: PLC0415

    path, all_prices = prices_of(settings)
    place = place_of(settings)
    provider = provider_of(place, all_prices, settings.provider)
    if as_json:
        print_json(
            {
                "shipped": shipped_path(),
                "own": path,
                "own_exists": os.path.exists(path),
                "store": place.url,
                "provider": provider.name if provider is not None else None,
                "providers": {name: asdict(it) for name, it in all_prices.items()},
            }
        )
        return
    click.echo(f"shipped prices: {shipped_path()}")
    click.echo(
        f"your own:       {path}" + ("" if os.path.exists(path) else " (does not exist: copy the shipped one)")
    )
    click.echo(f"store:          {place.url}")
    if provider is None:
        click.echo(f"provider:       {_no_prices()}")
        return
    click.echo(f"provider:       {provider.name} ({provider.title})\n")
    rows = [("what", "for", provider.currency), ("storage", "a GB and month", f"{provider.storage_gb_month:.8g}")]
    rows += [(kind, "1000 requests", f"{provider.request_cost(kind, 1000):.8g}") for kind in _KINDS]
    rows += [("read", "a GB", f"{provider.egress_gb:.8g}"), ("written", "a GB", f"{provider.ingress_gb:.8g}")]
    click.echo(table(rows, right=frozenset({2})))
    click.echo(f"\na GB is {provider.gb_bytes:,} bytes here; before free allowances, discounts and taxes")


def _no_prices() -> str:
    return (
        "its prices are not known: agentfs config set provider NAME, or add it to the price table "
        "(agentfs usage --prices says where)"
    )


def _show_metrics(settings: Settings, now_ns: int) -> None:
    from agentfs.errors import AgentFSError  # noqa: PLC0415 - as above
    from agentfs.volume.metrics import metrics_text  # noqa: PLC0415
    from agentfs.volume.status import peek  # noqa: PLC0415
    from agentfs.volume.usage import ask_for_counts, budgets_of, usages, with_live  # noqa: PLC0415

    directories = _directories(settings, "")
    ask_for_counts(settings, directories)
    states: list[Status] = []
    for directory in directories:
        try:
            states.append(peek(directory))
        except AgentFSError as error:
            warn(str(error))
    found = [with_live(it, directories, now_ns) for it in usages(settings, lambda _place, _volume: True)]
    click.echo(metrics_text(found, states, budgets=budgets_of(settings), now_ns=now_ns), nl=False)


# ---- as JSON ----


def _document(
    found: "Sequence[VolumeUsage]", settings: Settings, days: range, by: str, now_ns: int
) -> dict[str, Any]:
    from agentfs.usage.report import shown_range  # noqa: PLC0415 - as above

    first, last = shown_range(days)
    return {
        "from": first,
        "to": last,
        "counted": "requests of this machine only; what is stored is that of all machines",
        "by": by,
        "volumes": [_fields(it, settings, days, by, now_ns) for it in found],
    }


def _fields(it: "VolumeUsage", settings: Settings, days: range, by: str, now_ns: int) -> dict[str, Any]:
    from agentfs.usage.stored import PARTS, latest  # noqa: PLC0415 - as above

    total, projected, cost = it.total(days), it.projected(now_ns), it.cost(days)
    kinds = {line.name: line.count.requests for line in it.lines(days, "kind")}
    parts = {part: latest(it.stored, part) for part in PARTS}
    return {
        "volume": it.volume or None,
        "store": it.place.url,
        "provider": it.provider.name if it.provider is not None else None,
        "currency": it.provider.currency if it.provider is not None else None,
        "requests": {kind: kinds.get(kind, 0) for kind in _KINDS},
        "sent_bytes": total.sent_bytes,
        "received_bytes": total.received_bytes,
        "stored": {
            part: {"bytes": seen.size_bytes, "objects": seen.objects, "seen": iso(seen.seen_ns)}
            if seen.seen_ns
            else None
            for part, seen in parts.items()
        },
        "cost": _cost_fields(cost),
        "projected_month": _cost_fields(projected),
        "budgets": [asdict(state) for state in _budgets(it, settings, now_ns)],
        "lines": [
            {
                by: line.name,
                "requests": line.count.requests,
                "sent_bytes": line.count.sent_bytes,
                "received_bytes": line.count.received_bytes,
                "cost": _cost_fields(line.cost),
            }
            for line in it.lines(days, by)
        ],
    }


def _cost_fields(cost: Any) -> dict[str, float] | None:
    return None if cost is None else {**asdict(cost), "total": cost.total}


def _budgets(it: "VolumeUsage", settings: Settings, now_ns: int) -> "list[BudgetState]":
    from agentfs.usage.budgets import judged  # noqa: PLC0415 - as above
    from agentfs.volume.usage import budgets_of  # noqa: PLC0415

    return judged(budgets_of(settings), it, now_ns) if it.volume else []


# ---- for people ----


def _print(
    found: "Sequence[VolumeUsage]", settings: Settings, days: range, by: str, now_ns: int, *, everything: bool
) -> None:
    from agentfs.usage.report import shown_range  # noqa: PLC0415 - as above

    first, last = shown_range(days)
    when = f"{first} to {last}" if first != last else first
    click.echo(f"requests of this machine, {when} (UTC); other machines count their own")
    for it in found:
        if it.volume or everything:
            click.echo("")
            _print_volume(it, settings, days, by, now_ns)
        elif it.total(days).requests:
            click.echo(f"\nbesides {it.total(days).requests:,} requests of no home or space (opening, probes): --all")
    if not found:
        click.echo("nothing was counted yet")


def _print_volume(it: "VolumeUsage", settings: Settings, days: range, by: str, now_ns: int) -> None:
    click.echo(f"{it.volume or 'the store itself'} in {it.place.url}")
    lines = it.lines(days, by)
    if lines:
        click.echo(_table(lines, by, it.provider, it.total(days)))
    else:
        click.echo("  no requests were counted")
    if it.volume:
        click.echo(f"  stored: {_stored(it, now_ns)}")
    click.echo(f"  cost:   {_cost(it, days)}")
    projected = it.projected(now_ns)
    if projected is not None and projected.total and it.provider is not None:
        from agentfs.usage.budgets import money  # noqa: PLC0415 - as above

        click.echo(f"  month:  {money(projected.total, it.provider.currency)} if it goes on like this")
    for state in _budgets(it, settings, now_ns):
        loud = {"over": "OVER THE BUDGET: ", "near": "near the budget: "}.get(state.level, "")
        click.echo(f"  budget: {loud}{state.text}")


def _table(lines: "Sequence[Line]", by: str, provider: "Provider | None", total: Any) -> str:
    from agentfs.usage.budgets import money  # noqa: PLC0415 - as above

    rows = [(f"  {by}", "requests", "sent", "received", "cost")]
    for line in lines:
        rows.append(
            (
                f"  {line.name}",
                f"{line.count.requests:,}",
                about_size(line.count.sent_bytes),
                about_size(line.count.received_bytes),
                money(line.cost.total, provider.currency) if line.cost is not None and provider is not None else "?",
            )
        )
    if len(lines) > 1:
        sums = (f"{total.requests:,}", about_size(total.sent_bytes), about_size(total.received_bytes))
        rows.append(("  all", *sums, ""))
    return table(rows, right=frozenset({1, 2, 3, 4}))


def _stored(it: "VolumeUsage", now_ns: int) -> str:
    from agentfs.usage.stored import latest  # noqa: PLC0415 - as above

    live = latest(it.stored, "live")
    files = f"{live.objects:,} file{'' if live.objects == 1 else 's'}"
    text = f"{about_size(live.size_bytes)} in {files}" if live.seen_ns else "not known"
    if it.measured_ns is None:
        return f"{text}; history and view were never measured (agentfs usage --measure)"
    seen = age((now_ns - it.measured_ns) / 1e9)
    history, view = latest(it.stored, "history"), latest(it.stored, "view")
    text += f", {about_size(history.size_bytes)} of history, {about_size(view.size_bytes)} in the view"
    return f"{text} ({history.objects + view.objects:,} objects in all, listed {seen} ago)"


def _cost(it: "VolumeUsage", days: range) -> str:
    from agentfs.usage.budgets import money  # noqa: PLC0415 - as above

    cost = it.cost(days)
    if cost is None or it.provider is None:
        return _no_prices()
    parts = (
        ("storage", cost.storage),
        ("this machine's requests", cost.requests),
        ("its transfer", cost.transfer),
    )
    currency = it.provider.currency
    shown = ", ".join(f"{name} {money(amount, currency)}" for name, amount in parts)
    at = f"at {it.provider.title or it.provider.name}'s list prices"
    text = f"{money(cost.total, currency)} ({shown}) {at}" if cost.total else f"nothing ({it.provider.title})"
    if it.volume and it.measured_ns is None and it.provider.storage_gb_month:
        text += "; storage without history and view"
    return text
