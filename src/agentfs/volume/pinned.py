"""Mending what named snapshots and forks stand on: a snapshot is derived, so the log can give it back."""

from dataclasses import replace

from agentfs.errors import AgentFSError, Corrupt, StoreError
from agentfs.format.snapshot import encode_snapshot_rows
from agentfs.log.announcements import Announcements
from agentfs.log.log import Log
from agentfs.log.pins import Pins
from agentfs.stores.protocol import Store
from agentfs.volume.snapshots import log_of
from agentfs.volume.trees import tree_at


def mend_pinned(store: Store, volume: str) -> list[str]:
    """Put the snapshots again that pins of `volume` keep and that are missing, damaged or of another commit, where
    the log still tells the tree. Returns a line for each. Raises `StoreError`."""
    try:
        log, pins = log_of(store, volume), Pins(store, volume).list()
    except StoreError:
        raise
    except AgentFSError:
        return []  # a deleted volume, a damaged pin: the check has said so
    mended = []
    for pin in pins:
        if not pin.held or _stands(log, pin.sequence, pin.digest):
            continue
        try:
            rows = tree_at(log, store, pin.sequence, anew=True)
        except StoreError:
            raise
        except AgentFSError:
            continue  # its commits were collected, or are damaged: the finding stays
        if rows.commit_digest == pin.digest:
            announced = Announcements(store, volume).newest_number() > 0
            log.put_snapshot(encode_snapshot_rows(replace(rows, collected=announced)))
            mended.append(f"put the snapshot at {pin.sequence} again, which the {pin.kind} {pin.name} begins with")
    return mended


def _stands(log: Log, sequence: int, digest: bytes) -> bool:
    try:
        found = log.snapshot_at(sequence)
    except Corrupt:
        return False
    return found is not None and found.commit_digest == digest
