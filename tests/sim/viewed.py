"""A world with a view: every machine may keep it, an outsider is at work in the bucket, lifecycle rules come and go.

What must be in the end is in `Viewed.judge`; what must be at every commit and every put, in `outsider` and `aging`.
"""

import json
from random import Random
from typing import TYPE_CHECKING

from aging import Aging, some_rules
from faults import VIEW
from logged import Logged
from machine import Crash, Machine
from oracle import Broken
from outsider import Outsider
from record import VOLUME
from texts import tokens
from view_judge import wrong

from agentfs.log.lifecycle import LifecycleChain
from agentfs.model.records import Commit
from agentfs.retention.lifecycle_commit import AUTHOR as LIFECYCLE
from agentfs.view.importing import AUTHOR as BUCKET
from agentfs.view.mark import MarkFile
from agentfs.volume.view_import import LEFT
from agentfs.volume.view_words import VIEW_ACCEPT, VIEW_CHANGE, VIEW_LOOK, VIEW_REBUILD

if TYPE_CHECKING:
    from world import World

_RULES = [["*.txt", "none"], ["*.md", "plain"], ["a/", "none"], ["*.bin", "none"], ["b/*.md", "block"]]
_HOUR_S = 3600.0
_WORDS = ["mode", "rules", "look", "rebuild", "accept"]
_AGING = ["lifecycle", "run", "run", "run", "run", "chore"]
_LOOKS = [5.0, 5.0, 20.0, 60.0]
_END_ROUNDS = 40
_LEAP_S = 4000.0
"""After so long the keeper reads again what it left alone."""


class Viewed:
    def __init__(self, world: "World", random: Random) -> None:
        self.world = world
        self.random = random
        self.exact = random.random() < 0.6
        """All clocks are right."""
        self.busy = random.choice([0.0, 0.03, 0.1])
        """How often the outsider does something between two requests of a keeper."""
        self.complaints: list[str] = []
        network = world.network
        self.outsider = Outsider(
            network.store, random, world.oracle, world.record, world.fresh, world.names, self.exact, world.log,
            self.complaints,
        )  # fmt: skip
        self.aging = Aging(network.store, VOLUME, world.oracle, self.complaints)
        self._left: set[str] = set()
        """Names that the keeper says to leave alone, in the end."""
        self._at_work = False
        """A machine is at the view or at lifecycle rules."""
        world.record.judges.append(self._committed)
        network.replaced = self._replaced
        network.between = self._between
        if world.collections is not None:
            world.collections.rules = self.aging.rules
        if random.random() < 0.7:
            self._set_rules("somebody")

    def _set_rules(self, author: str) -> None:
        chain = LifecycleChain(self.world.network.store, VOLUME)
        chain.set(some_rules(self.random), author=author, clock=self.world.clock)
        self.aging.rules()  # it keeps what counted when

    def look_s(self) -> float:
        return self.random.choice(_LOOKS)

    # ---- what is heard ----

    def _committed(self, commit: Commit) -> None:
        log: Logged = self.world.record.logged
        self._tell(commit, log)
        self.aging.late = self.world.network.delivering
        if commit.author == BUCKET and commit.replica == "view":
            self.outsider.judge_import(commit, log)
        elif commit.author == LIFECYCLE:
            self.aging.judge(commit, log, self.world.clock.wall_ns(), self.world.record.bytes_of)
        self.aging.arrived(self.world.clock.wall_ns() / 1e9)

    def _tell(self, commit: Commit, log: Logged) -> None:
        world = self.world
        gone = [(it.name, log.names.get((it.parent, it.name))) for it in commit.unlinks]
        came = [(it.name, it.child) for it in commit.links]
        given = [
            (it.id, sorted(tokens(world.record.bytes_of[it.content.digest])))
            for it in commit.inodes
            if it.content is not None and it.content.digest in world.record.bytes_of
        ]
        world.log(f"  commit {commit.sequence} by {commit.author} at {commit.time_ns / 1e9:.1f} {commit.cause}")
        world.log(f"    gone {gone}, names {came}, contents {given}")

    def _replaced(self, name: str) -> None:
        if name.startswith(VIEW):
            self.world.log(f"  {name} is put or deleted")
            self.outsider.replaced(name)

    def _between(self, name: str) -> None:
        """Not before the head of a deletion: from there to the deletion is the gap of V-53."""
        if not self._at_work or self.world.calm or self.random.random() >= self.busy:
            return
        if name.startswith(VIEW):
            self.outsider.act()
        elif self.random.random() < 0.3:
            self._set_rules("somebody")

    # ---- steps ----

    def step(self, machine: Machine, dice: float) -> None:
        """`dice`: from 0 to 1."""
        world = self.world
        if dice < 0.52:
            if self.random.random() < 0.5:
                machine = self._keeper(settled=False) or machine
            world.log(f"{machine.name} keeps the view")
            world.guarded(machine, self._keep, machine, self.random.choice([1, 1, 2, 5, 15]))
        elif dice < 0.74:
            self.outsider.act()
        elif dice < 0.82:
            self._say(machine, self.random.choice(_WORDS))
        elif dice < 0.92:
            self._say(machine, self.random.choice(_AGING))
        elif dice < 0.95:
            world.guarded(machine, self._end, machine)
        else:
            world.clock.now_s += self.random.choice([30.0, 60.0, 200.0, _HOUR_S])
        self.complain()

    def complain(self) -> None:
        if self.complaints:
            raise Broken("; ".join(self.complaints[:5]))

    def _keep(self, machine: Machine, times: int) -> None:
        for _ in range(times):
            keeping, clock = machine.keeping, self.world.clock
            assert keeping is not None
            self._at_work = True
            try:
                wait = keeping.step()
            finally:
                self._at_work = False
            clock.now_s += min(max(wait, 0.01), self.random.choice([0.5, 3.0, 30.0]))

    def _say(self, machine: Machine, what: str) -> None:
        """A word of somebody at this machine."""
        self.world.log(f"{machine.name} says {what}")
        self.world.guarded(machine, self._said, machine, what)

    def _said(self, machine: Machine, what: str) -> None:
        keeping, random = machine.keeping, self.random
        assert keeping is not None
        self._at_work = True
        try:
            match what:
                case "mode":
                    keeping.ask(VIEW_CHANGE, mode=random.choice(["on", "on", "lazy", "off"]))
                case "rules":
                    keeping.ask(VIEW_CHANGE, rules=random.sample(_RULES, random.choice([0, 1, 2])))
                case "look":
                    keeping.ask(VIEW_LOOK)
                case "rebuild":
                    keeping.ask(VIEW_REBUILD)
                case "accept":
                    keeping.ask(VIEW_ACCEPT)
                case "lifecycle":
                    LifecycleChain(machine.store, VOLUME).set(
                        some_rules(random), author=machine.name.split("+")[0], clock=machine.clock
                    )
                case "run":
                    keeping.ask("lifecycle-run")
                case _:
                    keeping.chore()
        finally:
            self._at_work = False

    def _end(self, machine: Machine) -> None:
        """Its engine ends in good order, and another begins."""
        keeping = machine.keeping
        assert keeping is not None
        self.world.log(f"{machine.name} ends")
        keeping.end()
        raise Crash("ended")

    # ---- the end ----

    def settle(self) -> None:
        """Until there is nothing more to write, to take in or to remove."""
        world, before = self.world, None
        for number in range(_END_ROUNDS):
            for machine in world.machines:
                world.guarded(machine, machine.node.sync)  # type: ignore[union-attr]
                world.guarded(machine, self._settle_one, machine, number)
                self.complain()
            state = self._state()
            if number > 6 and state == before and state[0]:
                self._left = self._left_alone()
                return
            before = state
            world.clock.now_s += _LEAP_S if number % 3 == 2 else 70.0
        raise Broken(f"the view does not come to rest: {self._told()}")

    def _settle_one(self, machine: Machine, number: int) -> None:
        keeping = machine.keeping
        assert keeping is not None
        if number == 0 and machine is self.world.machines[0]:
            keeping.ask(VIEW_CHANGE, mode="on")
        for _ in range(12):
            self.world.clock.now_s += min(max(keeping.step(), 0.01), 10.0)
        if keeping.view.keeping and number in (3, 5) and keeping.view.table.state("brake"):
            keeping.ask(self.random.choice([VIEW_ACCEPT, VIEW_REBUILD]))

    def _keeper(self, *, settled: bool = True) -> Machine | None:
        for machine in self.world.machines:
            view = None if machine.keeping is None or machine.paused else machine.keeping.view
            if view is not None and (view.settled if settled else view.keeping):
                return machine
        return None

    def _state(self) -> tuple[bool, object]:
        """Whether all is done, and what there is."""
        keeper = self._keeper()
        names = tuple((it.name, it.tag) for it in self.world.network.store.list(VIEW, limit=100_000, foreign=True))
        quiet = keeper is not None and keeper.keeping is not None and not keeper.keeping.view.table.held()
        return quiet, (names, self.world.machines[0].head)

    def _told(self) -> object:
        found = []
        for machine in self.world.machines:
            keeping = machine.keeping
            assert keeping is not None
            keeper = keeping.view._keeper
            due = None if keeper is None else (keeper.mark, keeper.due._files, keeper.told.stuck, keeper.is_whole)
            found.append((machine.name, keeping.view.keeping, keeping.view.table.held(), due))
        return found

    def _left_alone(self) -> set[str]:
        keeper = self._keeper()
        assert keeper is not None and keeper.keeping is not None
        found = keeper.keeping.view.table.state(LEFT)
        return set(json.loads(found)["names"]) if found else set()

    def kept_outside(self) -> set[bytes]:
        """Tokens of objects that stand at no file's name, and are said to be left alone."""
        store, left = self.world.network.store, self._left
        return {
            token
            for it in store.list(VIEW, limit=100_000, foreign=True)
            if it.name.removeprefix(VIEW) in left
            for token in tokens(store.get(it.name).data)
        }

    def judge(self, files: dict[bytes, bytes]) -> None:
        store = self.world.network.store
        mark, _ = MarkFile(store, VOLUME).read()
        if mark is None:
            raise Broken("there is no mark")
        found = wrong(store, mark, self.world.record.logged, files, self._left)
        if found:
            raise Broken(f"the view: {found[:5]}")
        self.outsider.judge_owed(self.kept_outside())
        self.complain()
        self.world.oracle.counts["worlds with a view"] += 1
        self.world.oracle.counts["objects of views in the end"] += len(files)
