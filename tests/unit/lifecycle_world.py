"""Machines of one volume that apply lifecycle rules, over a store whose clock the test moves."""

import os
from dataclasses import dataclass
from typing import Any

from retention_world import VOLUME, Node, World

from agentfs.config.settings import load
from agentfs.log.lifecycle import LifecycleChain
from agentfs.tree.values import AttributeChange
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService
from agentfs.volume.lifecycle import LifecycleService

LOGS = '[[lifecycle]]\nglob = "logs/**"\nexpire = "30d"\n'


@dataclass
class Keeper:
    """A node whose engine keeps a history and applies rules."""

    world: World
    node: Node
    history: HistoryService
    service: LifecycleService

    @classmethod
    def of(cls, world: World, name: str, *, read_only: bool = False, **options: object) -> "Keeper":
        heard: list[Any] = []
        node = world.node(name, observers=(lambda *it: [hear(*it) for hear in heard],), **options)
        settings = load({"read_only": True} if read_only else {}, environment={"HOME": "/nowhere"})
        plan = EnginePlan(settings, "space", "sim", str(node.directory), offline=False, author=name)
        history = HistoryService(node.replica, author=name)
        service = LifecycleService(plan, node.replica, history, world.clock)
        service.start(node.engine)
        heard += [history.observe, service.observe]
        return cls(world, node, history, service)

    def ask(self, word: str, **fields: object) -> Any:
        return self.service.answers()[word](self.node.engine, fields, lambda _facts: None)

    def rule(self, text: str) -> None:
        self.ask("lifecycle-set", text=text)

    def run(self) -> Any:
        return self.ask("lifecycle-run")

    def due(self, text: str | None = None) -> list[tuple[str, str]]:
        """Paths and actions."""
        steps = self.ask("lifecycle-plan", text=text)["steps"]
        return [(it["path"], it["action"]) for it in steps]

    def quiet(self, seconds: float) -> None:
        """Time goes by, with the chore every ten seconds."""
        end = self.world.clock.now_s + seconds
        self.node.engine.ground.contention.waiting = False  # as the engine's loop knows it
        while self.world.clock.now_s < end:
            self.world.clock.now_s += 10
            self.node.engine.in_turn(self.service.chore)

    def written(self, *paths: str, data: bytes = b"text\n") -> None:
        """Each file made or changed, then all committed. The bytes differ with the path."""
        for path in paths:
            above = ""
            for part in path.split("/")[:-1]:
                above = f"{above}/{part}" if above else part
                if part not in self.node.names(above.rpartition("/")[0]):
                    self.node.mkdir(above)
            self.node.write(path, data + path.encode())
        self.node.sync()

    def dated(self, path: str, *, days_ago: float) -> None:
        """Give a file this time of modification. Files that are written have that of this machine, which is long
        before the test's clock."""
        at = self.world.clock.wall_ns() - int(days_ago * 86_400e9)
        self.node.tree.set_attributes(self.node.at(path), AttributeChange(mtime_ns=at))

    def shown(self) -> set[str]:
        """Files."""
        return {os.fsdecode(path) for path, (kind, *_) in self.node.show().items() if kind == "FILE"}

    def head(self) -> int:
        return self.node.engine.status().head_sequence

    def close(self) -> None:
        self.history.close()


def chain(world: World) -> LifecycleChain:
    return LifecycleChain(world.store, VOLUME)
