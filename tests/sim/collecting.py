"""Collection of the log while the machines work: the plainest one that the format allows, without packs or pins, and
with the harshest grace, none."""

from collections.abc import Iterable

from machine import Machine

from agentfs.log.log import Log
from agentfs.stores.memory import MemoryStore


def collect_bare(store: MemoryStore, machines: Iterable[Machine], *, bases: bool) -> list[int]:
    """Stubs for all entries before the newest snapshot whose contents neither it nor a machine needs. `bases`: keep
    also what waiting merges started from. Returns their sequences."""
    log = Log(store, "space", "sim")
    snapshot = log.newest_snapshot().snapshot
    if snapshot is None:
        return []
    needed = {row[14] for row in snapshot.inodes}
    for machine in machines:
        assert machine.node is not None
        sql = machine.node.replica.connection
        needed |= {row[0] for row in sql.rows("SELECT sequence FROM content")}
        if bases:
            needed |= {row[0] for row in sql.rows("SELECT sequence FROM fork")}
    collected = [at for at in range(1, snapshot.sequence + 1) if at not in needed]
    for sequence in collected:
        log.collect(sequence, snapshot=snapshot.sequence)
    return collected
