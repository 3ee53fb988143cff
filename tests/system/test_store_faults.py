"""The store fails in every way that we know, during a load; afterwards nothing shows it."""

import os
import random

import pytest
from ledger import Ledger
from machines import Fleet, Machine, tree, until, until_equal

from agentfs.testing.fault_proxy import Fault, FaultProxy
from agentfs.testing.servers import S3Server

STORM = (
    (Fault.ERROR_500, "", 0.05),
    (Fault.ERROR_503, "", 0.05),
    (Fault.ERROR_500_AFTER, "PUT", 0.1),
    (Fault.RESET_BEFORE, "", 0.05),
    (Fault.RESET_AFTER, "PUT", 0.15),
    (Fault.CONFLICT_409, "PUT", 0.05),
    (Fault.TRUNCATE, "GET", 0.1),
    (Fault.SLOW_BODY, "GET", 0.03),
)


def _after(machine: Machine, machines: Fleet, server: S3Server, bucket: str, ledgers: list[Ledger]) -> None:
    """The store is well again: everything arrives, exactly once, under its own name."""
    for ledger in ledgers:
        ledger.verify()
    machine.sync()
    assert machine.pending() == 0
    names = os.listdir(machine.path())
    assert not [name for name in names if b".conflict-" in name]
    fresh = machines.machine(server, bucket)
    fresh.mount()
    until_equal(machine, fresh)
    for ledger in ledgers:
        ledger.verify(fresh)
    assert fresh.volume()["conflicts"] == machine.volume()["conflicts"] == 0, "a single writer has no conflicts"
    machine.unmount()
    fresh.unmount()
    machine.fsck("--deep")
    fresh.fsck("--deep")


@pytest.mark.parametrize("seed", [1])  # make crash does the others
def test_a_storm_of_faults(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy, seed: int
) -> None:
    entropy = random.Random(seed)
    machine = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    machine.mount()
    for fault, method, probability in STORM:
        fault_proxy.inject(fault, method=method, probability=probability, seconds=0.5)
    ledger = Ledger(machine, "load", machine.root / "load")
    for killed in (False, True, False):
        before = fault_proxy.count("PUT", "/log/")
        ledger.start(entropy, most=100_000 if killed else 150)
        ledger.until_acknowledged(100)
        until(lambda b=before: fault_proxy.count("PUT", "/log/") > b, "pushes go on in the storm")
        if killed:
            machine.kill("engine", "mount")
            assert ledger.stop(ask=False) == 3
            machine.mount()
        else:
            assert ledger.stop() == 0
        ledger.verify()
    fault_proxy.heal()
    _after(machine, machines, ministack_server, bucket, [ledger])


def test_answers_of_appends_are_lost(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    """Every put of a log entry takes effect, and none is answered: nothing is committed twice."""
    machine = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    machine.mount()
    fault_proxy.inject(Fault.RESET_AFTER, method="PUT", path="/log/")
    ledger = Ledger(machine, "load", machine.root / "load")
    for count in (1, 2, 3):
        ledger.start(random.Random(count), most=30)
        ledger.until_acknowledged(30)
        assert ledger.stop() == 0
        until(lambda n=count: fault_proxy.count("PUT", "/log/") >= n, "appends")
    ledger.start(random.Random(4), most=30)
    ledger.until_acknowledged(30)
    assert ledger.stop() == 0
    machine.sync()
    fault_proxy.heal()
    _after(machine, machines, ministack_server, bucket, [ledger])


@pytest.mark.slow
def test_two_writers_in_a_storm(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    """Each writes files of its own: no conflict may come of racing appends with lost answers."""
    entropy = random.Random(5)
    pair = [machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint) for _ in range(2)]
    ledgers = []
    for number, machine in enumerate(pair):
        machine.mount()
        ledgers.append(Ledger(machine, f"load-{number}", machine.root / "load"))
    for fault, method, probability in STORM:
        fault_proxy.inject(fault, method=method, probability=probability, seconds=0.2)
    for ledger in ledgers:
        ledger.start(entropy, most=150)
    for ledger in ledgers:
        ledger.until_acknowledged(150)
    assert [ledger.stop() for ledger in ledgers] == [0, 0]
    fault_proxy.heal()
    for machine in pair:
        machine.sync()
    pair[0].sync()
    until_equal(*pair)
    pair[1].unmount()
    _after(pair[0], machines, ministack_server, bucket, ledgers[:1])
    pair[1].mount()
    ledgers[1].verify()
    pair[1].unmount()
    pair[1].fsck("--deep")


# ---- away ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_store_is_away_for_long(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    entropy = random.Random(11)
    machine = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    machine.mount()
    ledger = Ledger(machine, "load", machine.root / "load")
    ledger.start(entropy, most=60)
    ledger.until_acknowledged(60)
    assert ledger.stop() == 0
    machine.sync()
    entries = machine.volume()["head_sequence"]
    fault_proxy.go_down()
    ledger.start(entropy)
    ledger.until_acknowledged(150)
    assert ledger.stop() == 0
    left = machine.unmount("--timeout", "2s", ok=False)
    assert left.returncode == 6, left.stderr
    assert len(left.stderr.strip().splitlines()) == 1 and "safe" in left.stderr
    assert not machine.processes()
    said = machine.mount()  # away at the mount, with a copy here: works, and says so
    assert "cannot be reached" in said.stderr and len(said.stderr.strip().splitlines()) == 1
    ledger.verify()
    assert machine.volume()["online"] is False and machine.pending() > 0
    assert "OFFLINE" in machine.run("status").stdout
    refused = machine.run("sync", "--timeout", "2s", ok=False)
    assert refused.returncode in (4, 6) and len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    ledger.start(entropy)
    ledger.until_acknowledged(50)
    assert machine.kill("mount", "engine")
    assert ledger.stop(ask=False) == 3
    machine.mount()
    ledger.verify()
    ledger.start(entropy, most=50)
    ledger.until_acknowledged(50)
    assert ledger.stop() == 0
    fault_proxy.come_up()
    until(lambda: machine.pending() == 0, "it catches up by itself", 60)
    assert machine.volume()["head_sequence"] > entries
    _after(machine, machines, ministack_server, bucket, [ledger])


@pytest.mark.slow
def test_no_copy_and_no_store(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    first = machines.machine(ministack_server, bucket)
    first.mount()
    first.write("already there", b"yes")
    first.unmount()
    fault_proxy.go_down()
    machine = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    refused = machine.mount(ok=False)
    assert refused.returncode == 4 and "--offline" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not machine.is_mounted() and not machine.processes()
    machine.mount("--offline")
    machine.write("begun offline", b"kept")
    machine.unmount("--timeout", "1s", ok=False)
    fault_proxy.come_up()
    machine.mount()
    machine.sync()
    assert machine.read("begun offline") == b"kept" and machine.read("already there") == b"yes"
    first.mount()
    until_equal(first, machine)
    first.unmount()
    machine.unmount()
    machine.fsck("--deep")
    first.fsck("--deep")


@pytest.mark.slow
def test_unmount_while_the_store_is_slow_or_down(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    machine = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    machine.mount()
    fault_proxy.set_latency(150)
    for number in range(20):
        machine.write(f"slow-{number}", os.urandom(1000))
    machine.write("large", os.urandom(3 << 20))
    expected = tree(machine.path())
    machine.unmount("--timeout", "40s")  # slow: takes its time, and all arrives
    assert not machine.processes()
    assert machine.pending() == 0
    fault_proxy.set_latency(0)
    machine.mount()
    fault_proxy.black_hole()
    machine.write("late", b"not gone")
    left = machine.unmount("--timeout", "3s", ok=False, seconds=45)
    assert left.returncode == 6 and "late" in left.stderr and "safe" in left.stderr, left.stderr
    assert len(left.stderr.strip().splitlines()) == 1
    assert not machine.processes() and not machine.is_mounted()
    fault_proxy.heal()
    machine.mount()
    assert machine.read("late") == b"not gone"
    machine.sync()
    machine.unmount()
    fresh = machines.machine(ministack_server, bucket)
    fresh.mount()
    found = tree(fresh.path())
    assert found.pop(b"late").size == 8
    assert found == expected
    fresh.unmount()
    fresh.fsck("--deep")
