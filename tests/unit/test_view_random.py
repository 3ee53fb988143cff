"""Random lives of a view: two machines that write and rename, keepers that die at any point, sleep, lose what they
know, and believe to be alone. In the end the view shows the log.

    AGENTFS_VIEW_SEEDS=0-500 pytest tests/unit/test_view_random.py
"""

import os
import random
import shutil
from pathlib import Path

import pytest
from retention_world import World, world_in
from view_world import Machine, wrong

from agentfs.errors import AgentFSError
from agentfs.replica import backing
from agentfs.view.importing import AUTHOR

FIRST, LAST = map(int, os.environ.get("AGENTFS_VIEW_SEEDS", "0-4").split("-"))
POINTS = ("view.begun", "view.put", "view.tabled", "view.delete", "view.deleted")
NAMES = ("a.md", "b.md", "c.bin", "d", "e")


class Killed(BaseException):
    pass


class Life:
    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.look_s = self.random.choice((20, 60, 300))
        self.armed = ""
        self.machines = {name: self.machine(name) for name in ("ann", "bob")}
        self.number = 0

    def machine(self, name: str) -> Machine:
        def failpoint(point: str) -> None:
            if point == self.armed and self.random.random() < 0.5:
                raise Killed

        return Machine(self.world, name, failpoint=failpoint, view_look=self.look_s)

    def path(self) -> str:
        return "/".join(self.random.choice(NAMES) for _ in range(self.random.choice((1, 1, 2, 3))))

    def change(self, machine: Machine) -> None:
        node, do = machine.node, self.random.random()
        self.number += 1
        data = b"---\ntitle: x\n---\n%d" % self.number if self.random.random() < 0.5 else b"%d" % (self.number % 3)
        if do < 0.4:
            node.write(self.path(), data)
        elif do < 0.55:
            node.mkdir(self.path())
        elif do < 0.8:
            node.rename(self.path(), self.path())
        elif do < 0.87:
            node.link(self.path(), self.path())
        elif do < 0.95:
            node.unlink(self.path())
        else:
            node.rmdir(self.path())

    def step(self) -> None:
        name = self.random.choice(("ann", "bob"))
        machine, do = self.machines[name], self.random.random()
        if do < 0.5:
            for _ in range(self.random.choice((1, 1, 4))):
                try:
                    self.change(machine)
                except (AgentFSError, OSError):
                    continue
            if self.random.random() < 0.7:
                machine.node.sync()
        elif do < 0.85:
            self.armed = self.random.choice(POINTS) if self.random.random() < 0.4 else ""
            try:
                machine.keep(self.random.choice((1, 2, 3, 5, 70, 250)))
            except Killed:
                self.again(name)
            self.armed = ""
        elif do < 0.9:
            self.again(name)
        elif do < 0.95:
            keeper = machine.view._opened(machine.node.engine)
            if keeper.look() is not None and not keeper.keeping:
                keeper.take_over(())  # it had slept
        else:
            machine.node.sync()

    def again(self, name: str) -> None:
        machine = self.machines[name]
        directory = Path(machine.node.directory)
        machine.drop()
        if self.random.random() < 0.3:
            for path in directory.glob("view.db*"):
                path.unlink()
        self.machines[name] = self.machine(name)

    def end(self) -> None:
        for _ in range(3):
            for machine in self.machines.values():
                machine.node.sync()
                machine.keep(70)
        for _ in range(5):
            for machine in self.machines.values():
                machine.keep(100)


@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_whatever_happens_the_view_shows_the_log(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)
    with world_in(tmp_path) as world:
        life = Life(world, seed)
        for _ in range(40):
            life.step()
        life.end()
        for machine in life.machines.values():
            reader, _ = machine.history.reader(machine.node.engine)
            assert reader.commits(author=AUTHOR)[0] == [], "nobody else was there"
            assert wrong(machine) == []
            assert machine.view.table.held() == {}
            keeper = machine.view._keeper
            assert keeper is None or not keeper.keeping or not keeper.told.stuck
    shutil.rmtree(tmp_path, ignore_errors=True)
