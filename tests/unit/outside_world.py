"""Machines of one volume that take in what an outsider does to its view. What the view shows is put by the test."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from retention_world import Node, World

from agentfs.config.settings import load
from agentfs.errors import ObjectNotFound
from agentfs.model.records import InodeId
from agentfs.replica.replica import Replica
from agentfs.view.facts import ViewFacts
from agentfs.view.importing import Taken
from agentfs.view.log_files import LogFiles
from agentfs.view.looking import Showing
from agentfs.view.rendering import rendered
from agentfs.view.rules import Rules
from agentfs.view.shown import Shown, ShownTable
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService
from agentfs.volume.view_import import BucketImport, LookReport

VOLUME = "space-sim"
PREFIX = "spaces/sim/"


@dataclass
class Looker:
    """A machine that looks."""

    world: World
    node: Node
    history: HistoryService
    table: ShownTable
    files: LogFiles
    bucket: BucketImport
    due: set[InodeId] = field(default_factory=set)

    @classmethod
    def of(cls, world: World, name: str, **options: object) -> "Looker":
        heard: list[Any] = []
        node = world.node(name, observers=(lambda *it: [hear(*it) for hear in heard],), **options)
        plan = EnginePlan(load(environment={"HOME": "/nowhere"}), "space", "sim", str(node.directory), offline=False)
        history = HistoryService(node.replica, author=name)
        heard.append(history.observe)
        table, files, due = ShownTable(node.replica.directory), LogFiles(node.replica), set[InodeId]()
        bucket = BucketImport(
            plan,
            node.replica,
            table,
            files,
            history,
            clock=world.clock,
            due=due.update,
            showing=lambda: Showing(True, Rules(), known=True, through=0),
        )
        return cls(world, node, history, table, files, bucket, due)

    @property
    def replica(self) -> Replica:
        return self.node.replica

    def close(self) -> None:
        self.history.close()
        self.table.close()
        self.files.close()

    def write(self, path: str, data: bytes) -> None:
        if "/" in path and path.split("/", maxsplit=1)[0] not in self.node.names(""):
            self.node.mkdir(path.split("/", maxsplit=1)[0])
        self.node.write(path, data)
        self.world.clock.now_s += 100
        self.node.sync()

    def look(self, *, seconds: float = 10.0) -> LookReport:
        self.world.clock.now_s += seconds
        return self.bucket.look(self.node.engine)

    def publish(self) -> None:
        """Put every object of the tree, unseen, and remember it: what a keeper does, without its care."""
        reader, _ = self.history.reader(self.node.engine)
        wanted = set()
        files = self.files.files(self.files.below())
        for it in files.values():
            for path in it.paths:
                data = self.files.read(it) or self.node.read(path.decode())
                events = [event for event in reader.events(tuple(path.split(b"/"))) if event.content is not None]
                facts = ViewFacts(VOLUME, it.file, events[-1].sequence, hashlib.sha256(data).digest())
                made = rendered(path, data, facts)
                name = path.decode()
                attributes = {**made.metadata, "content-type": made.content_type}
                tag = self.world.store.put(PREFIX + name, made.data, attributes=attributes)
                self.table.put([Shown(name, it.file, facts.sequence, facts.digest, tag, len(made.data), None, 0.0)])
                wanted.add(name)
        for row in self.table.page(limit=10_000):
            if row.name not in wanted:
                self.world.store.delete(PREFIX + row.name)
                self.table.forget([row.name])
        self.due.clear()


def changes(report: LookReport) -> dict[str, str]:
    """What was taken in, by name."""
    return {it["name"]: it["what"] for it in report.message()["imported"]}


def get(world: World, name: str) -> bytes | None:
    try:
        return world.store.get(PREFIX + name).data
    except ObjectNotFound:
        return None


def put(world: World, name: str, data: bytes, *, keep: bool = True) -> None:
    """As a tool does that changes an object; `keep`: with the metadata that it had."""
    try:
        attributes = dict(world.store.get(PREFIX + name).attributes) if keep else {}
    except ObjectNotFound:
        attributes = {}
    world.store.put(PREFIX + name, data, attributes=attributes)


__all__ = ["PREFIX", "Looker", "Taken", "changes", "get", "put"]
