"""What Prometheus may know of the volumes of this machine: what their stores were asked, what that costs, what waits.

Counters are sums over all that this machine ever counted, so they survive restarts of its processes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentfs.usage.budgets import Budgets, judged
from agentfs.usage.prometheus import Family, exposition
from agentfs.usage.report import GROUPS, VolumeUsage
from agentfs.usage.stored import PARTS, latest
from agentfs.usage.usage_file import Count, Counted
from agentfs.volume.status import Status

_NS = 1_000_000_000


@dataclass(slots=True)
class _Metrics:
    """The families, in the order of the text."""

    requests: Family = field(
        default_factory=lambda: Family(
            "agentfs_store_requests_total",
            "counter",
            "Requests to the store that this machine sent, retries included.",
        )
    )
    sent: Family = field(
        default_factory=lambda: Family(
            "agentfs_store_sent_bytes_total", "counter", "Bytes of objects that this machine sent to the store."
        )
    )
    received: Family = field(
        default_factory=lambda: Family(
            "agentfs_store_received_bytes_total", "counter", "Bytes of objects that this machine got from the store."
        )
    )
    stored: Family = field(
        default_factory=lambda: Family(
            "agentfs_stored_bytes", "gauge", "Bytes in the store as seen last: live, history and the view."
        )
    )
    seen: Family = field(
        default_factory=lambda: Family("agentfs_stored_seen_timestamp_seconds", "gauge", "When that was seen.")
    )
    cost: Family = field(
        default_factory=lambda: Family(
            "agentfs_cost_this_month", "gauge", "Cost of this month so far (UTC), before free allowances and taxes."
        )
    )
    projected: Family = field(
        default_factory=lambda: Family(
            "agentfs_cost_this_month_projected", "gauge", "Cost of the whole month if it goes on as it has."
        )
    )
    budget: Family = field(
        default_factory=lambda: Family(
            "agentfs_budget_used_ratio",
            "gauge",
            "How much of a budget is used in its period; above 1 it is exceeded.",
        )
    )
    pending: Family = field(
        default_factory=lambda: Family("agentfs_pending_changes", "gauge", "Changes that are not yet in the store.")
    )
    pending_bytes: Family = field(
        default_factory=lambda: Family(
            "agentfs_pending_bytes", "gauge", "Bytes of content that are not yet in the store."
        )
    )
    pending_age: Family = field(
        default_factory=lambda: Family(
            "agentfs_pending_oldest_age_seconds", "gauge", "How long the oldest of them has waited."
        )
    )
    conflicts: Family = field(
        default_factory=lambda: Family(
            "agentfs_conflicts", "gauge", "Versions that were kept aside and are still to be looked at."
        )
    )
    cached: Family = field(
        default_factory=lambda: Family("agentfs_cached_bytes", "gauge", "Disk space of contents on this machine.")
    )
    head: Family = field(
        default_factory=lambda: Family(
            "agentfs_head_sequence", "gauge", "The entry of the log that this machine stands at."
        )
    )
    committed: Family = field(
        default_factory=lambda: Family(
            "agentfs_last_commit_timestamp_seconds", "gauge", "When that entry was made, by the clock of who made it."
        )
    )
    engine: Family = field(default_factory=lambda: Family("agentfs_engine_up", "gauge", "Whether an engine runs."))
    online: Family = field(
        default_factory=lambda: Family(
            "agentfs_store_online", "gauge", "Whether the last request of the engine to the store worked."
        )
    )
    contact: Family = field(
        default_factory=lambda: Family(
            "agentfs_store_last_contact_timestamp_seconds", "gauge", "When the engine last heard from the store."
        )
    )
    unsnapped: Family = field(
        default_factory=lambda: Family(
            "agentfs_commits_since_snapshot", "gauge", "Commits that a new machine reads after the newest snapshot."
        )
    )
    documents: Family = field(
        default_factory=lambda: Family(
            "agentfs_index_documents", "gauge", "Documents in the index of search and recall."
        )
    )
    index: Family = field(
        default_factory=lambda: Family("agentfs_index_behind_files", "gauge", "Files that are not indexed yet.")
    )
    vectorless: Family = field(
        default_factory=lambda: Family("agentfs_index_vectorless_passages", "gauge", "Passages without a vector yet.")
    )
    view: Family = field(default_factory=lambda: Family(
        "agentfs_view_due_files", "gauge", "Files whose objects in the view are not up to date."))  # fmt: skip

    def all(self) -> list[Family]:
        return [getattr(self, name) for name in self.__slots__]


def metrics_text(usages: Iterable[VolumeUsage], states: Sequence[Status], *, budgets: Budgets, now_ns: int) -> str:
    """The exposition of these volumes: their use, and the replicas of them on this machine."""
    metrics = _Metrics()
    for usage in usages:
        _add_usage(metrics, usage, budgets, now_ns)
    for status in states:
        _add_status(metrics, status, now_ns)
    return exposition(metrics.all())


def _add_usage(metrics: _Metrics, usage: VolumeUsage, budgets: Budgets, now_ns: int) -> None:
    labels = {"volume": usage.volume, "store": usage.place.url}
    groups: dict[tuple[str, str], Count] = {}
    for at, count in usage.counts.items():
        key = (at.purpose, at.kind)
        groups[key] = groups.get(key, Count()) + count
    for (purpose, kind), count in sorted(groups.items()):
        metrics.requests.add(count.requests, **labels, kind=kind, purpose=purpose)
    for purpose, count in _by_purpose(usage.counts).items():
        metrics.sent.add(count.sent_bytes, **labels, purpose=purpose)
        metrics.received.add(count.received_bytes, **labels, purpose=purpose)
    for part in PARTS:
        seen = latest(usage.stored, part)
        if seen.seen_ns:
            metrics.stored.add(seen.size_bytes, **labels, part=part)
            metrics.seen.add(seen.seen_ns / _NS, **labels, part=part)
    _, cost = usage.month_so_far(now_ns)
    if cost is not None and usage.provider is not None:
        money = labels | {"currency": usage.provider.currency}
        for part in ("storage", "requests", "transfer"):
            metrics.cost.add(getattr(cost, part), **money, part=part)
        projected = usage.projected(now_ns)
        if projected is not None:
            metrics.projected.add(projected.total, **money)
    for state in judged(budgets, usage, now_ns) if usage.volume else ():
        if state.level != "unknown" and state.limit:
            metrics.budget.add(state.used / state.limit, **labels, budget=state.budget)


def _by_purpose(counts: Mapping[Counted, Count]) -> dict[str, Count]:
    groups: dict[str, Count] = {}
    for at, count in counts.items():
        name = GROUPS["purpose"](at)
        groups[name] = groups.get(name, Count()) + count
    return dict(sorted(groups.items()))


def _add_status(metrics: _Metrics, status: Status, now_ns: int) -> None:
    labels = {"volume": status.volume, "agent": status.author or status.volume.partition("-")[2]}
    labels["replica"] = status.directory.rpartition("/")[2]
    pending = status.pending
    metrics.pending.add(pending.changes, **labels)
    metrics.pending_bytes.add(pending.size_bytes, **labels)
    age_ns = now_ns - pending.oldest_at_ns if pending.changes and pending.oldest_at_ns is not None else 0
    metrics.pending_age.add(max(0.0, age_ns / _NS), **labels)
    metrics.conflicts.add(status.conflicts, **labels)
    metrics.cached.add(status.cached_bytes, **labels)
    metrics.head.add(status.head_sequence, **labels)
    if status.head_time_ns:
        metrics.committed.add(status.head_time_ns / _NS, **labels)
    metrics.engine.add(status.engine is not None, **labels)
    if status.engine is None:
        return
    more = status.engine.more
    metrics.online.add(status.engine.online, **labels)
    _add(metrics.contact, more.get("last_contact_ns"), labels, scale=_NS)
    _add(metrics.unsnapped, more.get("commits_since_snapshot"), labels)
    memory: Mapping[str, Any] = more.get("memory") or {}
    _add(metrics.documents, memory.get("documents"), labels)
    _add(metrics.index, memory.get("behind"), labels)
    _add(metrics.vectorless, memory.get("vectorless"), labels)
    view: Mapping[str, Any] = more.get("view") or {}
    _add(metrics.view, view.get("due"), labels)


def _add(family: Family, value: object, labels: Mapping[str, str], *, scale: float = 1) -> None:
    if isinstance(value, int | float):
        family.add(value / scale, **labels)
