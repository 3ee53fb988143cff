"""Homes of one store, their forks and merges, in one process: for tests that count requests and crash anywhere."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.format import layout
from agentfs.format.snapshot import inode_record
from agentfs.format.store_file import encode_store_file, new_store_file
from agentfs.fsck.findings import Finding
from agentfs.fsck.replica_check import compare, read_replica
from agentfs.fsck.store_check import StoreCheck
from agentfs.log.contents import Contents
from agentfs.model.retention import parse_policy
from agentfs.replica.replica import Replica
from agentfs.retention.collector import Collector
from agentfs.retention.options import CollectorOptions
from agentfs.retention.report import CollectionReport
from agentfs.stores.counted import CountedStore
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Store
from agentfs.sync.engine import Engine
from agentfs.sync.options import EngineOptions
from agentfs.tree.options import TreeOptions
from agentfs.tree.tree import Tree
from agentfs.volume.fork import Fork, Forking, Wish
from agentfs.volume.fork_end import Ending
from agentfs.volume.fork_merge import Merged, Merging
from agentfs.volume.keeping import State, answer_keep_head
from agentfs.volume.snapshots import log_of
from agentfs.volume.trees import newest_tree


@contextmanager
def worlds() -> Iterator[Callable[[], "World"]]:
    """Makes worlds, and ends them. In memory where that can be: a replica makes hundreds of directories, and nothing
    here is about disks."""
    memory = "/dev/shm"
    with (
        tempfile.TemporaryDirectory(
            prefix="agentfs-forks-", dir=memory if os.access(memory, os.W_OK) else None
        ) as root,
        ExitStack() as ending,
    ):

        def make() -> World:
            made = World(Path(tempfile.mkdtemp(dir=root)))
            ending.callback(made.close)
            return made

        yield make


class Crash(Exception):
    """The process died here."""


def crash_at(name: str) -> Callable[[str], None]:
    def failpoint(reached: str) -> None:
        if reached == name:
            raise Crash(name)

    return failpoint


class HomeNode(Node):
    """A machine that has the home `volume_id`."""

    def __init__(self, directory: Path, store: Store, clock: TestClock, volume_id: str, *, agent: str = "") -> None:
        self.directory, self.clock, self.volume_id = directory, clock, volume_id
        agent = agent or volume_id
        self.replica = Replica.open(
            str(directory), volume_kind="home", volume_id=volume_id, session_kind="engine", clock=clock
        )
        self.engine = Engine(
            self.replica,
            store,
            volume_kind="home",
            volume_id=volume_id,
            author=agent,
            clock=clock,
            options=EngineOptions(parallel=1, poll_idle_max_s=4),
        )
        self.tree = Tree(self.replica, hydrator=self.engine, options=TreeOptions(agent=agent))

    @property
    def head(self) -> int:
        return int(self.replica.state("head_sequence"))

    def keep(self) -> State:
        found = answer_keep_head(self.engine, {"seconds": 60}, lambda _facts: None)
        return State(found["sequence"], bytes.fromhex(found["digest"]))


class World:
    """One store and the machines that were asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = TestClock()
        self.memory = MemoryStore(clock=self.clock)
        self.store = CountedStore(self.memory)
        self.memory.put(layout.STORE_FILE, encode_store_file(new_store_file(self.clock.wall_ns())))
        self.nodes: list[HomeNode] = []

    def node(self, volume_id: str, *, name: str = "", agent: str = "") -> HomeNode:
        """A machine with this home, brought to the end of the log."""
        found = HomeNode(self.root / (name or volume_id), self.store, self.clock, volume_id, agent=agent)
        self.nodes.append(found)
        found.engine.bootstrap()
        return found

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def fork(
        self, parent: HomeNode, new_id: str, *, failpoint: Callable[[str], None] = lambda _name: None, **wish: object
    ) -> Fork:
        """As the command does: begin, or finish what was begun."""
        log = log_of(self.store, layout.volume_name("home", parent.volume_id))
        forking = Forking(self.store, self.clock, log, Wish(new_id, **wish), failpoint=failpoint)  # type: ignore[arg-type]
        at = wish.get("at")
        return forking.resume_or_start(lambda: parent.keep() if at is None else State(int(at), b""))  # type: ignore[call-overload]

    def merge(
        self, fork_id: str, into: str, *, author: str = "", failpoint: Callable[[str], None] = lambda _name: None
    ) -> Merged:
        merging = Merging(
            self.store,
            self.clock,
            str(self.root / f"merge-{fork_id}-{into}"),
            log_of(self.store, f"home-{fork_id}"),
            log_of(self.store, f"home-{into}"),
            author,
            failpoint,
        )
        with merging.locked():
            return merging.run(60)

    def end(
        self,
        fork_id: str,
        *,
        parent_id: str | None = None,
        failpoint: Callable[[str], None] = lambda _name: None,
    ) -> None:
        Ending(self.store, self.clock, fork_id, failpoint=failpoint).run(parent_id)

    def shown(self, volume_id: str) -> dict[bytes, bytes]:
        """What a reader who has nothing finds: path → bytes (a directory: None)."""
        log = log_of(self.store, f"home-{volume_id}")
        tree = newest_tree(log)
        contents = Contents(self.store, log)
        records = {row[0]: inode_record(row) for row in tree.inodes}
        names = {child: (parent, name) for parent, name, child in tree.links}
        found = {}
        for parent, name, child in tree.links:
            path, above = [name], parent
            while above != 1:
                above, directory = names[above]
                path.append(directory)
            content = records[child].content
            found[b"/".join(reversed(path))] = b"" if content is None else contents.read(content)
        return found

    def findings(self, volume_id: str, node: HomeNode | None = None, *, deep: bool = True) -> list[Finding]:
        """What fsck finds, but for notes."""
        check = StoreCheck(self.store, "home", volume_id, deep=deep, keep_at=None if node is None else node.head)
        state = check.run()
        if node is not None:
            replica = read_replica(str(node.directory), state.findings, deep=deep)
            assert replica is not None
            compare(replica, state, str(node.directory))
        return [it for it in state.findings.found if it.severity != "note"]

    def collect(self, volume_id: str, policy: str) -> CollectionReport:
        """Collect what `policy` allows, to the end."""
        collector = Collector(
            self.store,
            f"home-{volume_id}",
            clock=self.clock,
            entropy=os.urandom,
            author="collector",
            policy=parse_policy(policy),
            options=CollectorOptions(parallel=1),
        )
        for _ in collector.run():
            pass
        return collector.report

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        return {entry.name: self.memory.get(entry.name).data for entry in self.memory.list(prefix, limit=100_000)}
