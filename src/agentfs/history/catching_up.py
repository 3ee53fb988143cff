"""Bringing the index to the replica's head: from the log, in windows of parallel gets."""

import contextlib
from collections.abc import Callable

from agentfs.errors import Collected, Corrupt, HistoryBroken, ObjectNotFound, VersionGone
from agentfs.format.commit import decode_commit
from agentfs.format.pack import Evidence, Lineage
from agentfs.history.index import HistoryIndex
from agentfs.log.contents import Contents, PackIndex
from agentfs.log.log import WINDOW_MAX, Log

Progress = Callable[[int, int], None]
"""Called with the entry that was reached and the one to reach."""


def catch_up(
    index: HistoryIndex,
    log: Log,
    head: tuple[int, bytes],
    *,
    contents: Contents,
    entries_max: int | None = None,
    progress: Progress | None = None,
) -> bool:
    """Read what the index lacks up to `head` (a sequence and its digest), about `entries_max` at most. Returns
    whether it is there. Where commits were collected the next snapshot is taken instead.

    An index of another history (a replica that was restored, a store that was exchanged) is dropped and made anew.
    Raises `HistoryBroken`, `Corrupt`, `NewerFormat`, `StoreError`, `NoSpace`.
    """
    if not _is_of(index, head):
        index.drop()
    left = entries_max
    anew = False
    while (known := index.head()[0]) < head[0]:
        if left is not None and left <= 0:
            return False
        count = min(WINDOW_MAX, head[0] - known)
        try:
            added = _window(index, log, known + 1, count)
        except Collected:
            added = _hop(index, log, contents, known + 1)
        except HistoryBroken:
            if anew:
                raise
            index.drop()
            anew, added = True, 0
        if left is not None:
            left -= added
        if progress is not None:
            progress(index.head()[0], head[0])
    if not _is_of(index, head):
        raise HistoryBroken(f"log entry {head[0]} of {log.volume} is another one than this replica has")
    return True


def _is_of(index: HistoryIndex, head: tuple[int, bytes]) -> bool:
    """Whether the index, as far as it goes, is of the history that has `head`."""
    with index.reading() as sql:
        row = sql.one("SELECT digest FROM entry WHERE sequence=?", (head[0],))
    return row is None or row[0] == head[1]


def _window(index: HistoryIndex, log: Log, first: int, count: int) -> int:
    found = log.read_window(first, count)
    if not found:
        raise HistoryBroken(f"log entry {first} of {log.volume} is missing: run agentfs fsck")
    return index.add(
        [decode_commit(data, volume=log.volume_at(first + at), sequence=first + at) for at, data in enumerate(found)]
    )


def _hop(index: HistoryIndex, log: Log, contents: Contents, first: int) -> int:
    snapshot = log.oldest_snapshot(first)
    if snapshot is None:
        raise VersionGone(
            f"log entry {first} of {log.volume} was collected, and no snapshot is there that follows it"
        )
    lineages, evidence = _kept(contents.packs(log.volume_at(first)))
    index.add_snapshot(snapshot, lineages=lineages, evidence=evidence)
    return 1


def _kept(packs: PackIndex) -> tuple[list[Lineage], list[Evidence]]:
    """What packs keep of the history. A damaged pack, or one that another takes the place of, is passed over."""
    packs.refresh()
    lineages: list[Lineage] = []
    evidence: list[Evidence] = []
    for indexed in list(packs.packs.values()):
        if indexed.pack.lineages or indexed.pack.evidence:
            with contextlib.suppress(Corrupt, ObjectNotFound):
                pack, _ = packs.verified(indexed)
                lineages += pack.lineages
                evidence += pack.evidence
    return lineages, evidence
