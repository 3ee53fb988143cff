"""Samples, their summaries, and budgets: what a row of the report is made of. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LOCAL = "local"
MOUNT = "mount"
MOUNT_WITHOUT = "mount, no passthrough"


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one kind of sample, in the unit of its row."""

    median: float
    p99: float
    """The largest sample when there are fewer than a hundred."""
    count: int

    def scaled(self, factor: float) -> "Summary":
        return Summary(self.median * factor, self.p99 * factor, self.count)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted samples; `share` in 0..1."""
    if not ordered:
        raise ValueError("no samples")
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def summarized(samples: Sequence[float]) -> Summary:
    ordered = sorted(samples)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return Summary(median, percentile(ordered, 0.99), len(ordered))


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work on each side. Times in microseconds."""

    name: str
    sides: Mapping[str, Summary]
    ratio_max: float | None = None
    """The budget (DESIGN, section 9): median of the mount over median of the local file system."""
    passthrough_only: bool = False
    """The budget speaks of a mount with passthrough; it is not judged where there is none."""

    def ratio(self, side: str) -> float | None:
        if side not in self.sides or LOCAL not in self.sides:
            return None
        return self.sides[side].median / self.sides[LOCAL].median

    def met(self, *, passthrough: bool) -> bool | None:
        """Whether the budget is met by the mount as it is mounted by default; None: there is nothing to judge."""
        ratio = self.ratio(MOUNT)
        if self.ratio_max is None or ratio is None or (self.passthrough_only and not passthrough):
            return None
        return ratio <= self.ratio_max


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact that has no local twin: what the network is asked, and how long until something is so."""

    name: str
    unit: str
    """`ms`, `s`, `us` or `requests`."""
    value: float
    """The median where there are several trials."""
    p99: float | None = None
    trials: int = 1
    requests: Mapping[str, float] = field(default_factory=dict)
    """Exact counts by method, from the proxy (medians over the trials)."""
    budget: str = ""
    met: bool | None = None
    note: str = ""
