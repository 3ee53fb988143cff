"""What an engine has besides: its history, the view, lifecycle rules; as `volume.services` ties them to it, but
without threads."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node import Node, TestClock

from agentfs.config.settings import load
from agentfs.model.records import Commit
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService
from agentfs.volume.lifecycle import LifecycleService
from agentfs.volume.messages import Message
from agentfs.volume.view import ViewService


class WorldClock(TestClock):
    """A machine's clock in a world whose time goes by for all: wrong by `skew_ns`."""

    def __init__(self, world: TestClock) -> None:
        self._world = world
        super().__init__()

    @property
    def now_s(self) -> float:  # type: ignore[override]
        return self._world.now_s

    @now_s.setter
    def now_s(self, value: float) -> None:
        self._world.now_s = max(self._world.now_s, value)


@functools.lru_cache(maxsize=8)
def _settings(look_s: float) -> Any:
    return load({"view_look": look_s}, environment={"HOME": "/nowhere"})


class Keeping:
    """Of one node. Made before it: `observe` is for its engine."""

    def __init__(self) -> None:
        self._heard: list[Callable[[Commit, bytes], None]] = []

    def observe(self, commit: Commit, digest: bytes) -> None:
        for hear in self._heard:
            hear(commit, digest)

    def begin(self, node: Node, directory: Path, *, author: str, look_s: float) -> None:
        plan = EnginePlan(_settings(look_s), "space", "sim", str(directory), False, prefetch=False, author=author)
        self.node = node
        self.history = HistoryService(node.replica, author=author)
        self.view = ViewService(plan, node.replica, self.history, node.clock)
        self.lifecycle = LifecycleService(plan, node.replica, self.history, node.clock)
        self.view.start(node.engine)
        self.lifecycle.start(node.engine)
        self._heard += [self.history.observe, self.view.observe, self.lifecycle.observe]

    def step(self) -> float:
        """Of the thread that keeps the view."""
        return self.view.step(self.node.engine)

    def ask(self, word: str, **request: object) -> Message:
        answers = self.view.answers() | self.lifecycle.answers()
        return answers[word](self.node.engine, request, lambda _facts: None)

    def chore(self) -> None:
        self.node.engine.ground.contention.waiting = False
        self.node.engine.in_turn(self.lifecycle.chore)

    def end(self) -> None:
        """As an engine ends that has the time to."""
        self.view._finish(self.node.clock.monotonic() + 2)

    def drop(self) -> None:
        """Its process is gone."""
        keeper = self.view._keeper
        if keeper is not None:
            keeper.close()
        self.view._looks.close()
        self.view.table.close()
        self.history.close()
