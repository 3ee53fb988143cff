"""Budgets: how much a volume may cost in a month, and how often its store may be asked in a day. They warn, nothing
more. Pure."""

from dataclasses import dataclass
from typing import Literal

from agentfs.usage.days import day_of, month_of, shown_day
from agentfs.usage.report import VolumeUsage

Level = Literal["ok", "near", "over", "unknown"]

NEAR_SHARE = 0.8
_SHOWN_MIN = 0.000001


@dataclass(frozen=True, slots=True)
class Budgets:
    """As the settings say; empty and 0 mean that there is none."""

    month: str = ""
    """`5` or `5 USD`."""
    requests_per_day: int = 0

    def __bool__(self) -> bool:
        return bool(self.month or self.requests_per_day)


@dataclass(frozen=True, slots=True)
class BudgetState:
    """One budget in its current period."""

    budget: Literal["month", "requests_per_day"]
    period: str
    """`2026-11` or `2026-11-21`."""
    limit: float
    used: float
    projected: float | None
    """At the end of the period, if it goes on like this; None: not known."""
    currency: str
    """Empty: requests."""
    level: Level
    text: str
    """For people, in one line."""


def judged(budgets: Budgets, usage: VolumeUsage, now_ns: int) -> list[BudgetState]:
    """The budgets that there are, against what this machine knows."""
    found = []
    if budgets.month:
        found.append(_month(budgets.month, usage, now_ns))
    if budgets.requests_per_day:
        found.append(_requests(budgets.requests_per_day, usage, now_ns))
    return found


def money(amount: float, currency: str) -> str:
    """`12.34 USD`, `0.0021 USD`: two decimals, or as many as show two digits of a small amount."""
    if amount == 0 or amount >= 0.995:
        return f"{amount:.2f} {currency}"
    if amount < _SHOWN_MIN:
        return f"under {_SHOWN_MIN:f} {currency}"
    decimals = 2
    while amount * 10**decimals < 9.95:
        decimals += 1
    return f"{amount:.{decimals}f} {currency}"


def _month(wish: str, usage: VolumeUsage, now_ns: int) -> BudgetState:
    number, _, currency = wish.partition(" ")
    limit, period = float(number), month_of(day_of(now_ns))
    provider = usage.provider
    _, cost = usage.month_so_far(now_ns)
    if provider is None or cost is None:
        text = f"a budget of {wish} a month, and no prices for {usage.place.url}: see agentfs usage --prices"
        return BudgetState("month", period, limit, 0.0, None, currency, "unknown", text)
    if currency and currency != provider.currency:
        text = f"a budget in {currency}, and prices in {provider.currency}: one must be written anew"
        return BudgetState("month", period, limit, 0.0, None, currency, "unknown", text)
    whole = usage.projected(now_ns)
    projected = whole.total if whole is not None else None
    level = _level(cost.total, limit, projected)
    text = f"{money(cost.total, provider.currency)} of {money(limit, provider.currency)} for {period}"
    if projected is not None:
        text += f", {money(projected, provider.currency)} at its end if it goes on like this"
    return BudgetState("month", period, limit, cost.total, projected, provider.currency, level, text)


def _requests(limit: int, usage: VolumeUsage, now_ns: int) -> BudgetState:
    today = day_of(now_ns)
    used = usage.total(range(today, today + 1)).requests
    period = shown_day(today)
    text = f"{used} of {limit} requests for {period} (UTC)"
    return BudgetState("requests_per_day", period, limit, used, None, "", _level(used, limit, None), text)


def _level(used: float, limit: float, projected: float | None) -> Level:
    if used > limit:
        return "over"
    if used >= NEAR_SHARE * limit or (projected is not None and projected > limit):
        return "near"
    return "ok"
