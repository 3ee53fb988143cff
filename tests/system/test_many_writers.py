"""Many writers of one space: real mounts on a real S3 server 25 ms away, and real engines in simulated time."""

import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Fleet, Machine, tree, until_equal

from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.servers import S3Server

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from invariants import broken
from together import Crowd

WRITERS = 4
SECONDS = 4.0


def _write(machine: Machine, end: float, wrote: list[str]) -> None:
    """Small files, each a change, and now and then a line in the file that all write."""
    name = machine.root.name
    for number in itertools.count():
        if time.monotonic() >= end:
            return
        machine.write(f"{name}-{number}.md", f"{name} {number}")
        if number % 5 == 0:
            with open(machine.path("shared.log"), "ab") as file:
                file.write(f"{name} line {number}\n".encode())
            wrote.append(f"{name} line {number}")
        wrote.append(f"{name}-{number}.md")
        time.sleep(0.03)


@pytest.mark.slow
def test_mounts_that_all_write_lose_nothing(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    made = [machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint) for _ in range(WRITERS)]
    for machine in made:
        machine.mount()
    made[0].write("shared.log", "begin\n")
    made[0].sync()
    for machine in made[1:]:
        until_equal(made[0], machine, times=False)
    fault_proxy.set_latency(25)
    fault_proxy.forget_requests()
    wrote: list[list[str]] = [[] for _ in made]
    end = time.monotonic() + SECONDS
    threads = [
        threading.Thread(target=_write, args=(machine, end, said)) for machine, said in zip(made, wrote, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for machine in made:
        machine.sync()
    fault_proxy.set_latency(0)
    for machine in made[1:]:
        until_equal(made[0], machine, 60, times=False)
    shown = tree(made[0].path(), times=False)
    lines = made[0].read("shared.log").decode().splitlines()
    for said in wrote:
        assert said, "every one of them wrote"
        assert not [word for word in said if word.endswith(".md") and word.encode() not in shown]
        assert [word for word in said if " line " in word] == [line for line in lines if line in set(said)]
    assert len(lines) == len(set(lines)), "no line twice"
    assert not [name for name in shown if b".conflict-" in name]
    for machine in made:
        machine.unmount()
    made[0].fsck("--deep")


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # else the disk's fsyncs are most of the time
    with tempfile.TemporaryDirectory(prefix="agentfs-crowd-", dir=memory) as directory:
        made = Crowd(Path(directory))
        yield made
        made.close()


def _settled(crowd: Crowd) -> None:
    shown = [member.node.show() for member in crowd.members]
    assert all(it == shown[0] for it in shown[1:])
    for member in crowd.members:
        assert not broken(member.node.replica)
        assert not member.written, "all of it is durable"
        assert not member.node.engine.status().broken
    lines = shown[0].get(b"shared.log", ("", 0, b""))[2].splitlines()
    assert sorted(lines) == sorted(set(lines)) and len(lines) == sum(it.lines for it in crowd.members)


def test_engines_take_turns(crowd: Crowd) -> None:
    for _ in range(8):
        crowd.add(shared=True)
    crowd.run(5.0)
    said = crowd.describe(5.0)
    assert crowd.puts_per_commit < 2.5, said  # six, if all try for every place
    assert crowd.fairness() > 0.9, said
    _settled(crowd)


def test_a_machine_far_away_is_not_starved(crowd: Crowd) -> None:
    for _ in range(9):
        crowd.add(changes_per_s=3.0)
    far = crowd.add(latency_s=0.15, changes_per_s=3.0)
    crowd.run(12.0)
    said = f"{len(far.commits)} commits from far away; {crowd.describe(12.0)}"
    assert len([at for at in far.commits if at <= 12.0]) >= 1, said
    _settled(crowd)


def test_alone_nothing_is_asked_in_vain(crowd: Crowd) -> None:
    alone = crowd.add()
    crowd.run(6.0)
    assert alone.store.lost == 0
    assert alone.store.puts <= 6.0 / 0.2 + 2
    looks = alone.store.gets
    assert looks <= 6.0 / 1.0 + 6, "the poll of each second, and no look before a put"
    _settled(crowd)


def test_many_small_changes_are_few_puts_whoever_else_writes(crowd: Crowd) -> None:
    """A commit under contention takes everything that waits."""
    for _ in range(5):
        crowd.add(changes_per_s=40.0, size_bytes=50)
    crowd.run(3.0)
    files = sum(len(it.delays) for it in crowd.members)
    assert files > 500
    assert crowd.commits < files / 8, crowd.describe(3.0)
    _settled(crowd)
