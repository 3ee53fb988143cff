"""The whole tree right after one entry of a log, out of the store alone: the nearest snapshot before it, and the
commits since."""

from agentfs.errors import Collected, Corrupt, NotFound, VersionGone
from agentfs.format import layout
from agentfs.format.commit import decode_commit
from agentfs.format.limits import SEQUENCE_MAX
from agentfs.format.snapshot_rows import PLACE_NONE, InodeRow, SnapshotRows
from agentfs.fsck.replay import LogTree
from agentfs.log.log import WINDOW_MAX, Log
from agentfs.model.records import ROOT_ID, Kind
from agentfs.stores.protocol import Store

_ROOT_MODE = 0o755


def tree_at(log: Log, store: Store, sequence: int, *, anew: bool = False) -> SnapshotRows:
    """The tree right after entry `sequence` of `log`, which is not before the first of its own: for a fork at the
    earliest the one that it begins after. One get where a snapshot is there; else a list, a get, and the entries
    between, in parallel windows. `anew`: not from that snapshot.

    Raises `NotFound` (the log ends before), `VersionGone` (the commits since the snapshot before it were collected),
    `Corrupt`, `NewerFormat`, `StoreError`.
    """
    found = None if anew else log.snapshot_at(sequence)
    if found is not None:
        return found
    return _replayed(log, _snapshot_before(log, store, sequence), sequence)


def newest_tree(log: Log) -> SnapshotRows:
    """The tree at the end of `log`, from its newest snapshot. Raises as `tree_at`."""
    return _replayed(log, log.newest_snapshot().snapshot, None)


def _replayed(log: Log, base: SnapshotRows | None, sequence: int | None) -> SnapshotRows:
    """`base` and the commits after it, up to `sequence` or the end of the log."""
    tree = LogTree.of_snapshot(base) if base is not None else LogTree()
    at, digest, time_ns = (base.sequence, base.commit_digest, base.time_ns) if base is not None else (0, bytes(32), 0)
    start, end = at, SEQUENCE_MAX if sequence is None else sequence
    while at < end:
        try:
            window = log.read_window(at + 1, 1 if sequence is None and at == start else min(WINDOW_MAX, end - at))
        except Collected as error:
            raise VersionGone(
                f"the tree of {log.volume} after entry {sequence or at} is gone: entry {error.sequence} was collected"
            ) from error
        if not window and sequence is None:
            break
        if not window:
            raise NotFound(f"{log.volume} has no entry {at + 1} yet")
        for data in window:
            at += 1
            commit, found_digest = decode_commit(data, volume=log.volume_at(at), sequence=at)
            wrong = tree.apply(commit)
            if commit.parent != digest or wrong:
                raise Corrupt(f"entry {at} of {log.volume} does not fit what is before it: run agentfs fsck")
            digest, time_ns = found_digest, commit.time_ns
    return _rows(log, tree, at, digest, time_ns)


def _snapshot_before(log: Log, store: Store, sequence: int) -> SnapshotRows | None:
    """The newest snapshot before entry `sequence`; damaged ones are passed over."""
    after = layout.snapshot_name(log.prefix, sequence)
    while found := store.list(layout.snapshot_prefix(log.prefix), after=after, limit=1):
        after = found[0].name
        try:
            return log.snapshot_at(layout.parse_snapshot_name(log.prefix, after))
        except Corrupt:
            continue
    return log.snapshot_at(log.first_own - 1) if log.origins else None


def _rows(log: Log, tree: LogTree, sequence: int, digest: bytes, time_ns: int) -> SnapshotRows:
    records = dict(tree.rows())
    if ROOT_ID not in records:  # a log that never changed the root does not say how it is
        root: InodeRow = (
            ROOT_ID, int(Kind.DIRECTORY), _ROOT_MODE, 0, 0, time_ns, time_ns, time_ns, 0, b"", (),
            PLACE_NONE, 0, b"", 0, 0, b"",
        )  # fmt: skip
        records[ROOT_ID] = root
    return SnapshotRows(
        volume=log.volume,
        sequence=sequence,
        commit_digest=digest,
        time_ns=time_ns,
        inodes=[records[inode] for inode in sorted(records)],
        links=sorted(
            (parent, name, child) for parent, inside in tree.names.items() for name, child in inside.items()
        ),
        origins=log.origins,
        locks=sorted(tree.locks.items()),
    )
