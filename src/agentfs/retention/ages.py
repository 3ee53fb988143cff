"""How old things are, by the store's own clock (docs/format.md, F-120). No clock decides about what is kept of the
tree and its later commits; a wrong one can only cost history that the policy would have kept."""

from collections.abc import Iterator
from dataclasses import dataclass

from agentfs.clock import Clock
from agentfs.errors import ClocksDisagree, Corrupt
from agentfs.format import layout
from agentfs.log.log import Log
from agentfs.stores.protocol import Store

_PAGE = 1000
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class LogObject:
    """A log entry's object."""

    sequence: int
    size_bytes: int
    modified_at: float


def store_now(store: Store, prefix: str, clock: Clock, *, tolerance_s: float) -> float:
    """The store's time, in seconds since 1970: of an object put just now. One put, one get. Raises `ClocksDisagree`,
    `StoreError`."""
    now, _ = store_time(store, prefix, clock)
    here = clock.wall_ns() / 1e9
    if abs(now - here) > tolerance_s:
        raise ClocksDisagree(
            f"the clock of {store.url} and this machine's differ by {abs(now - here):.0f} s: correct the wrong one; "
            "nothing was collected"
        )
    return now


def store_time(store: Store, prefix: str, clock: Clock) -> tuple[float, float]:
    """The store's time in seconds since 1970, as it tells it (often in whole seconds), and this machine's when the
    store had answered. One put, one get. Raises `StoreError`."""
    name = layout.clock_name(prefix)
    store.put(name, b"this object tells the store's time\n")
    here = clock.wall_ns() / 1e9
    return store.get(name).modified_at, here


def log_objects(store: Store, log: Log, after: int) -> Iterator[list[LogObject]]:
    """The volume's own log entries above `after`, in order, a page for each list. Raises `Corrupt`, `StoreError`."""
    head = layout.log_prefix(log.prefix)
    name = layout.log_name(log.prefix, after) if after else ""
    while True:
        page = store.list(head, after=name, limit=_PAGE)
        yield [LogObject(layout.parse_log_name(log.prefix, it.name), it.size_bytes, it.modified_at) for it in page]
        if len(page) < _PAGE:
            return
        name = page[-1].name


def settled_until(entries: list[LogObject], *, now: float, days: int, whole_s: float, tolerance_s: float) -> int:
    """The greatest sequence that may be a horizon: the state after it was the current one when the time that the
    policy keeps began, or before. `entries` are all above the horizon so far, in order. 0: none.

    Pure. Raises `ClocksDisagree` when an entry is younger than now, `Corrupt` for a gap."""
    cutoff = now - max(days * _DAY_S, whole_s)
    found, settled = 0, True
    for earlier, entry in zip([None, *entries], entries, strict=False):
        if earlier is not None and entry.sequence != earlier.sequence + 1:
            raise Corrupt(f"log entries {earlier.sequence + 1} to {entry.sequence - 1} are missing: run agentfs fsck")
        if entry.modified_at > now + tolerance_s:
            raise ClocksDisagree(
                f"log entry {entry.sequence} was stored {entry.modified_at - now:.0f} s after now: the store's clock "
                "has jumped; nothing was collected"
            )
        settled = settled and entry.modified_at <= cutoff
        found = entry.sequence if settled else found
    return found
