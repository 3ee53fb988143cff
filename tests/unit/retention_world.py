"""Real engines over a store whose clock the test moves, and collections of their volume."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.format.layout import blob_prefix, log_prefix, pack_prefix, snapshot_prefix, volume_prefix
from agentfs.fsck.store_check import StoreCheck
from agentfs.log.contents import Contents
from agentfs.log.log import Log
from agentfs.model.lifecycle import NO_RULES, Rules
from agentfs.model.retention import KEEP_ALL, Policy, parse_policy
from agentfs.retention.collector import Collector, no_failpoint
from agentfs.retention.options import CollectorOptions
from agentfs.retention.report import CollectionReport
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Store
from agentfs.sync.options import EngineOptions

VOLUME = "space-sim"
PREFIX = volume_prefix("space", "sim")
DAY_S = 86_400.0
OPTIONS = CollectorOptions(parallel=1)


class World:
    """One volume, some machines, one clock for all of them and for the store."""

    def __init__(self, directory: Path, *, store: Store | None = None) -> None:
        self.directory = directory
        self.clock = TestClock()
        self.store: Store = store if store is not None else MemoryStore(clock=self.clock)
        self.nodes: list[Node] = []

    def node(self, name: str, *, store: Store | None = None, prefetch: bool = True, **options: object) -> Node:
        """A machine, brought to the end of the log."""
        node = Node(
            self.directory / name,
            store or self.store,
            self.clock,
            agent=name.split("+", maxsplit=1)[0],
            options=EngineOptions(parallel=1, poll_idle_max_s=4, prefetch=prefetch),
            **options,  # type: ignore[arg-type]
        )
        self.nodes.append(node)
        node.engine.bootstrap()
        return node

    def days(self, count: float) -> None:
        self.clock.now_s += count * DAY_S

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    # ---- collecting ----

    def collector(
        self,
        policy: str,
        *,
        store: Store | None = None,
        failpoint: Callable[[str], None] = no_failpoint,
        rules: Rules = NO_RULES,
        **options: object,
    ) -> Collector:
        wanted: Policy = KEEP_ALL if policy == "all" else parse_policy(policy)
        return Collector(
            store or self.store,
            VOLUME,
            clock=self.clock,
            entropy=os.urandom,
            author="collector",
            policy=wanted,
            rules=rules,
            options=replace(OPTIONS, **options),  # type: ignore[arg-type]
            failpoint=failpoint,
        )

    def collect(self, policy: str, *, dry_run: bool = False, **options: object) -> CollectionReport:
        collector = self.collector(policy, **options)  # type: ignore[arg-type]
        for _ in collector.run(dry_run=dry_run):
            pass
        return collector.report

    # ---- what stands ----

    def log(self) -> Log:
        return Log(self.store, "space", "sim")

    def names(self, prefix: str) -> list[str]:
        return [it.name for it in self.store.list(prefix, limit=100_000)]

    def chunks(self) -> list[str]:
        return self.names(blob_prefix(PREFIX))

    def packs(self) -> list[str]:
        return self.names(pack_prefix(PREFIX))

    def snapshots(self) -> list[str]:
        return self.names(snapshot_prefix(PREFIX))

    def stubs(self) -> list[int]:
        found = []
        for at in range(1, len(self.names(log_prefix(PREFIX))) + 1):
            entry = self.log().entry(at)
            assert entry is not None
            if entry.stub is not None:
                found.append(at)
        return found

    def total(self) -> tuple[int, int]:
        """Objects and bytes of the volume."""
        entries = self.store.list(PREFIX, limit=1_000_000)
        return len(entries), sum(it.size_bytes for it in entries)

    def copy(self) -> "World":
        """Another world of which the store holds the same; without machines."""
        twin = World(self.directory, store=None)
        twin.clock.now_s = self.clock.now_s
        assert isinstance(self.store, MemoryStore) and isinstance(twin.store, MemoryStore)
        twin.store._objects = dict(self.store._objects)
        twin.store._names = list(self.store._names)
        return twin

    def tree(self) -> dict[tuple[int, bytes], bytes]:
        """Directory and name → bytes of every file of the newest tree, out of the store alone. Checks it as well."""
        state = StoreCheck(self.store, "space", "sim", deep=True).run()
        bad = [it for it in state.findings.found if it.severity != "note" and it.kind != "store-file"]
        assert not bad, bad
        assert state.tree is not None
        contents = Contents(self.store, self.log())
        found = {}
        for parent, names in state.tree.names.items():
            for name, inode in names.items():
                content = state.tree.inodes[inode].content
                if content is not None:
                    found[parent, name] = contents.read(content)
        return found

    def check(self) -> None:
        """The store is whole, every content of the newest tree included."""
        state = StoreCheck(self.store, "space", "sim", deep=True).run()
        bad = [it for it in state.findings.found if it.severity != "note" and it.kind != "store-file"]
        assert not bad, bad


@contextmanager
def world_in(directory: Path, *, store: Store | None = None) -> Iterator[World]:
    world = World(directory, store=store)
    try:
        yield world
    finally:
        world.close()


def fill(node: Node, world: World, count: int, *, path: str = "notes.md", size: int = 2000) -> list[bytes]:
    """`count` versions of one file, a commit each."""
    found = []
    for number in range(count):
        data = (f"version {number} " * size).encode()[:size]
        node.write(path, data)
        world.clock.now_s += 10
        node.sync()
        found.append(data)
    return found
