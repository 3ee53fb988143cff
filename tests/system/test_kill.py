"""`kill -9` under load: nothing that was acknowledged is lost, on this machine and on the next."""

import random

import pytest
from ledger import Ledger
from machines import Fleet, until_equal

from agentfs.testing.servers import S3Server


@pytest.mark.parametrize("seed", [1])
def test_kill_at_random_moments(machines: Fleet, ministack_server: S3Server, bucket: str, seed: int) -> None:
    machines.index = True
    entropy = random.Random(seed)
    machine = machines.machine(ministack_server, bucket)
    machine.mount()
    ledgers = [Ledger(machine, f"load-{number}", machine.root / f"load-{number}") for number in range(2)]
    for kinds in (("mount",), ("engine",), ("mount", "engine"), ("mount",)):
        for ledger in ledgers:
            ledger.start(entropy)
        ledgers[0].until_acknowledged(entropy.randrange(5, 60))
        assert machine.kill(*kinds)
        if kinds == ("engine",):
            ledgers[0].until_acknowledged(80)
            assert [ledger.stop() for ledger in ledgers] == [0, 0], "a dead engine must not disturb who writes"
        else:
            assert [ledger.stop(ask=False) for ledger in ledgers] == [3, 3]
            machine.mount()
        for ledger in ledgers:
            ledger.verify()
    machine.sync()
    machine.unmount()
    machine.fsck("--deep")
    machine.mount()
    fresh = machines.machine(ministack_server, bucket)
    fresh.mount()
    until_equal(machine, fresh)
    for ledger in ledgers:
        ledger.verify(fresh)
    machine.unmount()
    fresh.unmount()
    fresh.fsck("--deep")
