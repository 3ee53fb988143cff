"""What a volume was asked for and had, in a range of days, and what that cost. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agentfs.usage.days import date_of, day_of, days_of_month, month_of, shown_day
from agentfs.usage.prices import Provider
from agentfs.usage.stored import PARTS, latest, size_on
from agentfs.usage.usage_file import Count, Counted, Stored, StorePlace

_DAY_NS = 86_400 * 10**9
_PROJECTED_FROM_DAYS = 1.0
"""From less than this nothing is projected."""

GROUPS: Mapping[str, Callable[[Counted], str]] = {
    "day": lambda at: shown_day(at.day),
    "kind": lambda at: at.kind,
    "purpose": lambda at: at.purpose,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """In the provider's currency, before free allowances and taxes."""

    storage: float = 0.0
    requests: float = 0.0
    transfer: float = 0.0

    @property
    def total(self) -> float:
        return self.storage + self.requests + self.transfer

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.storage + other.storage, self.requests + other.requests, self.transfer + other.transfer)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: a day, a kind of request, a purpose."""

    name: str
    count: Count
    cost: Cost | None


@dataclass(frozen=True, slots=True)
class VolumeUsage:
    """One volume in one store, as far as this machine knows. `counts` and `stored` are of all days."""

    volume: str
    """Empty: what belongs to no volume."""
    place: StorePlace
    provider: Provider | None
    """None: its prices are not known."""
    counts: Mapping[Counted, Count] = field(default_factory=dict)
    stored: Sequence[Stored] = ()

    def within(self, days: range) -> Mapping[Counted, Count]:
        return {at: count for at, count in self.counts.items() if at.day in days}

    @property
    def first_day(self) -> int | None:
        """The first of which anything is known here."""
        return min((*(at.day for at in self.counts), *(it.day for it in self.stored)), default=None)

    @property
    def measured_ns(self) -> int | None:
        """When the store was last listed; None: never."""
        return latest(self.stored, "history").seen_ns or None

    def total(self, days: range) -> Count:
        return sum(self.within(days).values(), Count())

    def lines(self, days: range, by: str) -> list[Line]:
        """Requests in groups (`GROUPS`), in the order of their names. With `day` the costs have what was stored."""
        groups: dict[str, dict[Counted, Count]] = {}
        for at, count in self.within(days).items():
            groups.setdefault(GROUPS[by](at), {})[at] = count
        if by == "day":
            for day in self._known(days):
                groups.setdefault(shown_day(day), {})
        found = []
        for name in sorted(groups):
            cost = self._requests_cost(groups[name])
            if cost is not None and by == "day":
                cost += Cost(storage=self._storage_cost([day for day in self._known(days) if shown_day(day) == name]))
            found.append(Line(name, sum(groups[name].values(), Count()), cost))
        return found

    def cost(self, days: range) -> Cost | None:
        """None: the prices are not known."""
        cost = self._requests_cost(self.within(days))
        return None if cost is None else cost + Cost(storage=self._storage_cost(self._known(days)))

    def _known(self, days: range) -> range:
        """The days on which there was something, for all that is known."""
        first = self.first_day
        return days if first is None else range(max(days.start, first), days.stop)

    def _requests_cost(self, counts: Mapping[Counted, Count]) -> Cost | None:
        provider = self.provider
        if provider is None:
            return None
        requests = sum(provider.request_cost(at.kind, count.requests) for at, count in counts.items())
        return Cost(requests=requests, transfer=provider.transfer_cost(sum(counts.values(), Count())))

    def _storage_cost(self, days: Sequence[int]) -> float:
        if self.provider is None or not self.stored:
            return 0.0
        return sum(
            self.provider.storage_cost(self.size_on(day), 1 / len(days_of_month(month_of(day)))) for day in days
        )

    def size_on(self, day: int) -> float:
        """All parts together."""
        return sum(size_on(self.stored, part, day) for part in PARTS)

    def size_now(self, part: str) -> int:
        return latest(self.stored, part).size_bytes

    def month_so_far(self, now_ns: int) -> tuple[range, Cost | None]:
        """The days of this month up to today, and what they cost."""
        today = day_of(now_ns)
        days = range(days_of_month(month_of(today)).start, today + 1)
        return days, self.cost(days)

    def projected(self, now_ns: int) -> Cost | None:
        """The whole month, if it goes on as it has: requests and bytes as on those days of it that are known, storage
        as now. None: the prices are not known, or less than a day of the month is."""
        today = day_of(now_ns)
        month = days_of_month(month_of(today))
        days, cost = self.month_so_far(now_ns)
        first = self.first_day
        if cost is None or first is None or self.provider is None:
            return None
        gone = now_ns / _DAY_NS - max(days.start, first)
        if gone < _PROJECTED_FROM_DAYS:
            return None
        rest = month.stop - now_ns / _DAY_NS
        storage = self.provider.storage_cost(self.size_on(today), (month.stop - days.stop) / len(month))
        return cost + Cost(storage, cost.requests * rest / gone, cost.transfer * rest / gone)


def shown_range(days: range) -> tuple[str, str]:
    """The first and the last day."""
    return date_of(days.start).isoformat(), date_of(days.stop - 1).isoformat()
