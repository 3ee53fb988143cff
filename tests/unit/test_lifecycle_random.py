"""Random lives of two machines with lifecycle rules: they write, rename, are offline, apply the rules beside each
other and stop in the middle. Whatever was written later than any rule asks for is there in the end, on both.

    AGENTFS_LIFECYCLE_SEEDS=200 pytest tests/unit/test_lifecycle_random.py
"""

import contextlib
import os
import sys
from pathlib import Path
from random import Random

import pytest
from lifecycle_world import Keeper
from retention_world import DAY_S, World, world_in

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from invariants import broken

from agentfs.errors import NotFound

SEEDS = int(os.environ.get("AGENTFS_LIFECYCLE_SEEDS", "3"))
STEPS = 50
RULES = """
[[lifecycle]]
glob = "logs/**"
expire = "30d"
[[lifecycle]]
glob = "daily/**"
archive = "20d"
[[lifecycle]]
glob = "archive/**"
expire = "60d"
"""
YOUNG_DAYS = 20
DIRECTORIES = ("logs", "daily", "other")


class Stopped(BaseException):
    """The machine does not get further."""


class Life:
    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.written: dict[str, float] = {}
        """What was written, and when somebody had it in hand last."""
        self.at_work = ""
        self.applied = 0
        self.machines = {name: Keeper.of(world, name, failpoint=self.reached) for name in ("ann", "bob")}
        ann, bob = self.machines.values()
        ann.rule(RULES)
        for directory in DIRECTORIES:
            ann.node.mkdir(directory)
        ann.node.sync()
        bob.node.engine.pull_now()

    def reached(self, point: str) -> None:
        """While rules are applied others go on, and so do programs here; or nothing does any more."""
        if not self.at_work or not point.startswith("lifecycle."):
            return
        here, self.at_work = self.at_work, ""
        for name in self.machines:
            if self.random.random() < 0.4:
                self.use(name, may_push=name != here)
        if self.random.random() < 0.2:
            raise Stopped
        self.at_work = here

    def use(self, name: str, *, may_push: bool = True) -> None:
        node, chance = self.machines[name].node, self.random.random()
        path = f"{self.random.choice(DIRECTORIES)}/f{self.random.randrange(4)}"
        try:
            if chance < 0.6:
                self.write(name, path)
            elif chance < 0.75:
                data = node.read(path)
                node.rename(path, f"{self.random.choice(DIRECTORIES)}/m{self.random.randrange(10**6)}")
                self.had(data)
            elif may_push:
                node.sync()
        except NotFound:  # the file, or the directory
            return

    def write(self, name: str, path: str) -> None:
        node, token = self.machines[name].node, f"<{len(self.written)}>"
        try:
            before = node.read(path)
        except NotFound:
            before = b""
        node.write(path, before + token.encode() + b"\n")
        self.written[token] = self.world.clock.now_s
        self.had(before)

    def had(self, data: bytes) -> None:
        self.written.update({it: self.world.clock.now_s for it in data.decode().split() if it in self.written})

    def step(self) -> None:
        name, chance = self.random.choice(list(self.machines)), self.random.random()
        if chance < 0.6:
            self.use(name)
        elif chance < 0.75:
            self.world.days(self.random.choice((0.1, 5, 12, 25)))
        else:
            self.at_work = name
            with contextlib.suppress(Stopped):
                self.applied += self.machines[name].run()["files"]
            self.at_work = ""
        assert all(broken(it.node.replica) == [] for it in self.machines.values())

    def end(self) -> str:
        """All that is there in the end, on both."""
        for _ in range(3):
            for machine in self.machines.values():
                machine.node.sync()
        ann, bob = (machine.node.show() for machine in self.machines.values())
        assert ann == bob
        self.world.check()
        return b"".join(data for _, _, data in ann.values()).decode()


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_what_is_young_is_there_in_the_end(tmp_path: Path, seed: int) -> None:
    with world_in(tmp_path) as world:
        life = Life(world, seed)
        for _ in range(STEPS):
            life.step()
        there = life.end()
        young = {it for it, at in life.written.items() if world.clock.now_s - at < YOUNG_DAYS * DAY_S}
        assert {it for it in young if it not in there} == set()
        assert life.applied or seed > 3, "a life without rules at work shows nothing"
        for machine in life.machines.values():
            machine.close()
