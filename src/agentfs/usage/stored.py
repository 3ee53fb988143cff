"""What a volume has in its store: measured by listing it, and between measurements by a straight line."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from agentfs.replica.database import Connection
from agentfs.stores.protocol import Store
from agentfs.usage.purposes import prefixes_of
from agentfs.usage.usage_file import Stored

PARTS = ("live", "history", "view")
_PAGE = 1000
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Live:
    """What the files of a volume are now, as this machine's replica knows: no request is needed."""

    files: int
    size_bytes: int
    """Equal contents once."""
    objects_at_least: int
    """On the store: entries of the log and chunks that files refer to."""


def live_of(replica: Connection) -> Live:
    """From a replica's database."""
    files = replica.one("SELECT count(*) FROM content")
    size = replica.one(
        "SELECT sum(size_bytes) FROM (SELECT max(size_bytes) AS size_bytes FROM content GROUP BY digest)"
    )
    chunks = replica.one("SELECT sum(length(chunks)) FROM content")
    head = replica.one("SELECT value FROM state WHERE key='head_sequence'")
    assert files is not None and size is not None and chunks is not None
    objects = int(head[0] or 0 if head else 0) + int(chunks[0] or 0) // _DIGEST_BYTES
    return Live(int(files[0]), int(size[0] or 0), objects)


def requests_to_measure(live: Live, known: Sequence[Stored]) -> int:
    """About how many listings a measurement takes: by the last one, or by what this machine knows."""
    objects = max(live.objects_at_least, latest(known, "history").objects if known else 0)
    return objects // _PAGE + latest(known, "view").objects // _PAGE + 2


def measure(
    store: Store, volume: str, live: Live, *, day: int, seen_ns: int, progress: Callable[[int], None]
) -> list[Stored]:
    """List the volume and its view: a request for each thousand objects. `progress` hears of the objects so far.
    Raises `StoreError`."""
    own, view = prefixes_of(volume)
    sizes, shown = list(_sizes(store, own, progress)), list(_sizes(store, view, progress))
    history = max(0, sum(sizes) - live.size_bytes)
    return [
        Stored(day, "live", live.size_bytes, live.files, seen_ns),
        Stored(day, "history", history, len(sizes), seen_ns),
        Stored(day, "view", sum(shown), len(shown), seen_ns),
    ]


def _sizes(store: Store, prefix: str, progress: Callable[[int], None]) -> Iterator[int]:
    after, count = "", 0
    while True:
        page = store.list(prefix, after=after, limit=_PAGE)
        yield from (entry.size_bytes for entry in page)
        count += len(page)
        progress(count)
        if len(page) < _PAGE:
            return
        after = page[-1].name


def latest(known: Sequence[Stored], part: str) -> Stored:
    """The newest sight of a part; of nothing when there was none."""
    seen = [it for it in known if it.part == part]
    return seen[-1] if seen else Stored(0, part, 0, 0, 0)


def size_on(known: Sequence[Stored], part: str, day: int) -> float:
    """How many bytes a part had on a day. Between two days on which it was seen it is taken to have changed evenly;
    before the first and after the last it is taken to be as it was then. Nothing seen: 0."""
    before = after = None
    for it in known:
        if it.part != part:
            continue
        if it.day <= day:
            before = it
        elif after is None:
            after = it
    if before is None or after is None:
        nearest = before or after
        return float(nearest.size_bytes) if nearest is not None else 0.0
    share = (day - before.day) / (after.day - before.day)
    return before.size_bytes + share * (after.size_bytes - before.size_bytes)
