"""`python -m tests.crash.run --rounds N [--seed S] [--keep]`: kill -9 under load, with a store that fails.

Several machines share one home on a real S3 server, each with programs that change files of their own and write down
what was acknowledged. Each round breaks something at a random moment: a mount, an engine, both, whole machines, the
way to the store. Then everything is mounted again and compared with what was acknowledged. Every few rounds the
store is well, all machines must show the same tree, a new machine too, and fsck must find nothing.

Prints a line for each round and a summary. On a loss: the seed and the round that reproduce it, what was lost, the
daemons' logs, and exit code 1.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "system"))
from ledger import Ledger
from machines import Fleet, Machine, until_equal

from agentfs.testing.fault_proxy import Fault, FaultProxy
from agentfs.testing.servers import S3Server, ministack

KILLS = ("mount", "engine", "both", "machine", "engine twice", "nothing", "cli")
FAULTS = (
    (Fault.ERROR_500, "", 0.05),
    (Fault.ERROR_503, "", 0.1),
    (Fault.ERROR_500_AFTER, "PUT", 0.2),
    (Fault.RESET_BEFORE, "", 0.1),
    (Fault.RESET_AFTER, "PUT", 0.3),
    (Fault.CONFLICT_409, "PUT", 0.1),
    (Fault.TRUNCATE, "GET", 0.2),
    (Fault.SLOW_BODY, "GET", 0.1),
)
_COMPARED_EVERY = 5
_ACKNOWLEDGED_MAX = 120


@dataclass
class World:
    """Some machines, one home, one server behind a proxy."""

    server: S3Server
    proxy: FaultProxy
    bucket: str
    fleet: Fleet
    entropy: random.Random
    machines: list[Machine] = field(default_factory=list)
    ledgers: list[Ledger] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    compared: int = 0

    def populate(self, count: int) -> None:
        for number in range(count):
            machine = self.fleet.machine(self.server, self.bucket, endpoint=self.proxy.endpoint)
            machine.patience_seconds = 300
            self.machines.append(machine)
            for which in range(2):
                name = f"load-{number}-{which}"
                self.ledgers.append(Ledger(machine, name, machine.root / name))
            machine.mount()

    @property
    def acknowledged(self) -> int:
        return sum(ledger.acknowledged for ledger in self.ledgers)

    # ---- one round ----

    def round(self) -> str:
        """Load, break, mend, verify. Returns what was done, for people."""
        weather = self._weather()
        kind = self.entropy.choice(KILLS)
        for ledger in self.ledgers:
            ledger.start(self.entropy, most=_ACKNOWLEDGED_MAX)
        watched = self.entropy.choice(self.ledgers)
        watched.until_acknowledged(self.entropy.randrange(1, _ACKNOWLEDGED_MAX // 2))
        victim = self.entropy.choice(self.machines)
        hit = self._break(victim, kind)
        for ledger in self.ledgers:
            code = ledger.stop()
            dead = ledger.machine in hit
            if code != 0 and not (code == 3 and dead):
                raise AssertionError(f"{ledger.name} ended with {code} on a mount that was not killed")
        if self.entropy.random() < 0.5:
            self.proxy.heal()
        for machine in hit:
            machine.mount()
        for ledger in self.ledgers:
            ledger.verify()
        return f"{kind} under {weather}"

    def _weather(self) -> str:
        self.proxy.heal()
        self.proxy.set_latency(0)
        roll = self.entropy.random()
        if roll < 0.25:
            return "a clear sky"
        if roll < 0.4:
            self.proxy.go_down()
            return "no store"
        if roll < 0.5:
            self.proxy.set_latency(self.entropy.choice((20, 100, 300)))
            return "a slow store"
        chosen = self.entropy.sample(FAULTS, self.entropy.randrange(1, len(FAULTS)))
        for fault, method, probability in chosen:
            self.proxy.inject(fault, method=method, probability=probability * self.entropy.random() * 2, seconds=0.3)
        return "+".join(fault.value for fault, _, _ in chosen)

    def _break(self, victim: Machine, kind: str) -> list[Machine]:
        """Returns the machines whose mounts are dead."""
        self.kills[kind] += 1
        if kind == "mount":
            victim.kill("mount")
        elif kind == "both":
            victim.kill("mount", "engine")
        elif kind == "machine":
            victim.crash()
        elif kind == "engine":
            victim.kill("engine")
            return []
        elif kind == "engine twice":
            victim.kill("engine")
            for machine in self.machines:
                machine.kill("engine")
            return []
        elif kind == "cli":
            victim.run("sync", "--timeout", "1s", ok=False)
            return []
        else:
            return []
        return [victim]

    # ---- a calm moment ----

    def compare(self) -> None:
        """With the store well: everything is everywhere, and nothing else."""
        self.compared += 1
        self.proxy.heal()
        self.proxy.set_latency(0)
        for machine in self.machines:
            machine.sync()
        fresh = self.fleet.machine(self.server, self.bucket)
        fresh.mount()
        for machine in self.machines:
            until_equal(machine, fresh, 45)
        for ledger in self.ledgers:
            ledger.verify(fresh)
        for machine in [*self.machines, fresh]:
            conflicts = machine.volume()["conflicts"]
            if conflicts:
                raise AssertionError(f"{conflicts} conflicts, although each program writes files of its own")
            strange = {os.fsdecode(name) for name in os.listdir(machine.path())} - {it.name for it in self.ledgers}
            if strange:
                raise AssertionError(f"names that nobody made: {strange}")
        fresh.unmount()
        fresh.fsck("--deep")
        left = fresh.destroy()
        if left:
            raise AssertionError(f"left behind: {left}")
        self.fleet.made.remove(fresh)
        shutil.rmtree(fresh.root)
        for machine in self.machines:
            machine.unmount()
            machine.fsck("--deep")
            machine.mount()


def run(rounds: int, seed: int, *, count: int, keep: bool) -> int:
    started = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="agentfs-crash-"))
    entropy = random.Random(seed)
    losses, done = 0, 0
    with ministack() as server, FaultProxy(server.endpoint, seed=seed) as proxy:
        server.create_bucket("crash-rounds")
        world = World(server, proxy, "crash-rounds", Fleet(root), entropy)
        try:
            world.populate(count)
            for number in range(1, rounds + 1):
                said = world.round()
                print(f"round {number}: {said}; {world.acknowledged} acknowledged", flush=True)
                if number % _COMPARED_EVERY == 0 or number == rounds:
                    world.compare()
                done = number
        except Exception as error:
            losses = 1
            traceback.print_exc()
            print(f"LOST: {error}")
            for machine in world.machines:
                print(f"==== {machine.root}\n{machine.logs()}")
            print(f"reproduce: python -m tests.crash.run --rounds {done + 1} --seed {seed} --machines {count} --keep")
        finally:
            world.fleet.end()
    if keep and losses:
        print(f"kept: {root}")
    else:
        shutil.rmtree(root, ignore_errors=True)
    kills = ", ".join(f"{kind} {times}" for kind, times in sorted(world.kills.items()))
    print(
        f"crash: {done} rounds, seed {seed}, {world.acknowledged} operations acknowledged, {losses} losses, "
        f"{world.compared} comparisons, {time.monotonic() - started:.0f} s; kills: {kills}"
    )
    return 1 if losses else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 under load, with a store that fails")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--machines", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="leave the machines' directories after a loss")
    options = parser.parse_args()
    return run(options.rounds, options.seed, count=options.machines, keep=options.keep)


if __name__ == "__main__":
    sys.exit(main())
