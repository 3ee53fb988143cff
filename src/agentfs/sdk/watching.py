"""`Home.watch`: the journal as changes of paths."""

import os
import threading
from collections.abc import Iterator

from agentfs.replica.journal import LOG_SESSION, ChangeKind, JournalRow
from agentfs.replica.replica import Replica
from agentfs.sdk.errors import translated
from agentfs.sdk.values import Change
from agentfs.volume.volume import Volume

_ROWS_MAX = 1000
_LOOK_SECONDS_MAX = 1.0
"""Without news the journal is looked at this often all the same: a change by a process that died before it could say
so is seen too."""

_KINDS = {ChangeKind.LINK: "created", ChangeKind.UNLINK: "deleted", ChangeKind.CONTENT: "content"}


def watch(
    volume: Volume,
    below: tuple[bytes, ...],
    above: tuple[bytes, ...] = (),
    *,
    timeout_seconds: float | None,
    after: int | None,
) -> Iterator[Change]:
    """See `Home.watch`. `above` is where the volume is attached. What changed between this call and the first `next`
    is not missed."""
    news = threading.Event()
    volume.on_news(news.set)
    last = volume.replica.journal_end() if after is None else after
    return _changes(volume, (above, below), news, last, timeout_seconds)


def _changes(
    volume: Volume,
    place: tuple[tuple[bytes, ...], tuple[bytes, ...]],
    news: threading.Event,
    last: int,
    timeout_seconds: float | None,
) -> Iterator[Change]:
    clock = volume.clock
    deadline = None if timeout_seconds is None else clock.monotonic() + timeout_seconds
    while not volume.closed:
        news.clear()
        with translated():
            rows = volume.replica.journal_after(last, limit=_ROWS_MAX)
            found = [change for row in rows if (change := _change(volume.replica, row, place)) is not None]
        if rows:
            last = rows[-1].id
        for change in found:
            yield change
            if timeout_seconds is not None:
                deadline = clock.monotonic() + timeout_seconds
        if rows:
            continue
        left = _LOOK_SECONDS_MAX if deadline is None else min(_LOOK_SECONDS_MAX, deadline - clock.monotonic())
        if left <= 0:
            return
        clock.wait(news, left)


def _change(replica: Replica, row: JournalRow, place: tuple[tuple[bytes, ...], tuple[bytes, ...]]) -> Change | None:
    above, below = place
    path = _path(replica, row)
    if path is None or tuple(path.split(b"/"))[: len(below)] != below:
        return None
    return Change(
        path=os.fsdecode(b"/".join((*above, path))),
        kind=_KINDS.get(row.kind, "attributes"),  # type: ignore[arg-type]
        origin="remote" if row.session == LOG_SESSION else "local",
        at_ns=row.at_ns,
        sequence=row.id,
    )


def _path(replica: Replica, row: JournalRow) -> bytes | None:
    """Where it happened, as the tree is now; None when that is nowhere any more."""
    if row.kind in (ChangeKind.LINK, ChangeKind.UNLINK) and row.parent is not None and row.name is not None:
        above = replica.path_of(row.parent)
        if above is None:
            return None
        return b"/".join((above, row.name)) if above else row.name
    return replica.path_of(row.ino)
