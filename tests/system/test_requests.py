"""How often the store is asked: the budgets of the design, counted at a proxy."""

import contextlib
import os
import signal
import sqlite3
import time

import pytest
from machines import Fleet, Machine, until

from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.servers import S3Server


def _settled(machine: Machine, proxy: FaultProxy) -> None:
    """Everything is in the store and the engine has stopped sending."""
    machine.sync()
    until(lambda: machine.pending() == 0, "nothing is pending")


def _is_locked(machine: Machine) -> bool:
    """Whether somebody is writing to the replica's database."""
    with contextlib.closing(sqlite3.connect(machine.replica() / "replica.db", timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.rollback()
        return False


def test_a_burst_is_one_put(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    machine = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    machine.mount()
    machine.write("first", b"1")
    os.mkdir(machine.path("d"))
    _settled(machine, fault_proxy)
    # The engine stands still, so that no push falls into the middle of the burst: what counts is what one push sends.
    (engine,) = [pid for pid, kind in machine.processes().items() if kind == "engine"]
    os.kill(engine, signal.SIGSTOP)
    while _is_locked(machine):  # it stood still in the middle of a transaction
        os.kill(engine, signal.SIGCONT)
        time.sleep(0.1)
        os.kill(engine, signal.SIGSTOP)
    try:
        for number in range(100):
            machine.write(f"d/file-{number}", os.urandom(700))
        fault_proxy.forget_requests()
    finally:
        os.kill(engine, signal.SIGCONT)
    machine.sync()
    assert fault_proxy.count("PUT", "/log/") == 1, [str(r) for r in fault_proxy.requests()]
    assert fault_proxy.count("PUT") == 1 and fault_proxy.count("DELETE") == 0 and fault_proxy.count("POST") == 0
    fault_proxy.forget_requests()
    os.rename(machine.path("d"), machine.path("renamed"))
    machine.sync()
    assert fault_proxy.count("PUT", "/log/") == 1 and fault_proxy.count("PUT") == 1
    fault_proxy.forget_requests()
    for number in range(100):  # made and removed before it leaves: nothing to say
        machine.write(f"passing-{number % 3}", b"x")
        os.unlink(machine.path(f"passing-{number % 3}"))
    _settled(machine, fault_proxy)
    machine.unmount()
    machine.fsck()


def test_a_cold_mount_asks_little(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    writer = machines.machine(ministack_server, bucket)
    writer.mount()
    for directory in range(50):
        os.mkdir(writer.path(f"d{directory}"))
        for number in range(100):
            writer.write(f"d{directory}/file-{number}", b"%d" % number)
        if directory % 10 == 9:
            writer.sync()
    writer.commits(35)  # enough that leaving puts a snapshot
    writer.unmount()
    reader = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    fault_proxy.set_latency(500)  # so that background work, on a slow machine too, does little before ls answers
    fault_proxy.forget_requests()
    reader.mount()
    names = os.listdir(reader.path("d7"))
    asked = fault_proxy.requests()
    assert len(names) == 100
    # Prefetching may have begun in the meantime: what was needed for names is not contents.
    contents = [r for r in asked if "/log/" in r.path or "/blobs/" in r.path or "/packs/" in r.path]
    needed = [r for r in asked if r not in contents]
    tails = {r.path for r in contents}
    assert len(needed) <= 4, needed
    assert len(tails) <= 16, contents  # the tail after the snapshot, and what prefetch began
    fault_proxy.set_latency(0)
    assert reader.read("d49/file-99") == b"99"
    reader.unmount()


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_an_idle_mount_is_nearly_silent(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    machine = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    machine.mount()
    machine.write("note", b"1")
    machine.sync()

    def gap() -> float:
        """Waits for the next request; how long it took."""
        start, before = time.monotonic(), len(fault_proxy.requests())
        until(lambda: len(fault_proxy.requests()) > before, "the engine polls", 40)
        return time.monotonic() - start

    until(lambda: gap() > 12, "the mount becomes idle", 60)
    fault_proxy.forget_requests()
    start = time.monotonic()
    until(lambda: time.monotonic() - start > 35, "35 idle seconds", 40)
    asked = fault_proxy.requests()
    assert len(asked) <= 3, asked
    machine.unmount()
