"""Snapshots and forks over S3, with real mounts: how often the store is asked, two agents at work, kills between."""

import os
import signal
import subprocess
import sys
import time

import pytest
from machines import Fleet, Machine, tree, until

from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.servers import S3Server


def _fill(machine: Machine, files: int) -> None:
    machine.mount()
    for directory in range(files // 50 + 1):
        os.mkdir(machine.path(f"d{directory}"))
    for number in range(files):
        machine.write(f"d{number // 50}/file-{number}", b"%d" % number * 100)
    machine.write("big.bin", os.urandom(1_200_000 + files * 2000))
    machine.sync()


@pytest.mark.slow
def test_a_fork_asks_the_same_of_a_small_and_a_large_home(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    """Counted between the command, the engine of the mount, and the store."""
    asked = []
    for agent, files in (("small", 3), ("large", 400)):
        machine = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint, agent=agent)
        _fill(machine, files)
        time.sleep(0.3)
        fault_proxy.forget_requests()
        machine.run("fork", agent, f"{agent}-fork")
        # The mount's engine looks for news of its own accord: a get of the place after the head, which is not there.
        news = f"home-{agent}/log/{machine.volume()['head_sequence'] + 1:016d}"
        requests = [it for it in fault_proxy.requests() if news not in it.path]
        asked.append(
            {
                method: len([it for it in requests if it.method == method])
                for method in ("GET", "PUT", "DELETE", "HEAD", "POST")
            }
        )
        machine.unmount()
    assert asked[0] == asked[1]
    assert asked[1]["PUT"] == 4  # the snapshot; the pin, and that it holds; the fork
    assert asked[1]["DELETE"] == asked[1]["POST"] == 0
    assert asked[1]["GET"] + asked[1]["HEAD"] <= 12, asked


def test_an_experiment_on_another_machine(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    alice = machines.machine(ministack_server, bucket, agent="alice")
    _fill(alice, 60)
    alice.run("snapshot", "create", "before", "--note", "all is well")
    alice.run("fork", "alice", "experiment")
    bob = machines.machine(ministack_server, bucket, agent="experiment")
    bob.mount()
    assert tree(alice.path()) == tree(bob.path())
    bob.write("d0/file-1", b"what the experiment found\n")
    os.rename(bob.path("d1"), bob.path("renamed"))
    bob.write("renamed/more", b"in a directory that was renamed\n")
    with open(bob.path("big.bin"), "r+b") as file:
        file.seek(1_000_000)
        file.write(b"in the middle")
    alice.write("d1/file-50", b"alice wrote this meanwhile\n")
    os.unlink(alice.path("d0/file-2"))
    bob.run("fork", "merge", "experiment")  # on the machine that made it, by its agent
    alice.run("sync")
    until(lambda: alice.read("d0/file-1") == b"what the experiment found\n", "the mount shows it")
    assert alice.read("renamed/more") == b"in a directory that was renamed\n"
    assert alice.read("renamed/file-50") == b"alice wrote this meanwhile\n"
    until(lambda: alice.read("big.bin") == bob.read("big.bin"), "the mount shows what was written in the middle")
    assert not os.path.exists(alice.path("d0/file-2"))
    until(lambda: b"d1" not in os.listdir(alice.path()), "the old name is listed no more")
    assert alice.run("show", "d0/file-1", "--at", "before").stdout == "1" * 100
    bob.unmount()
    bob.run("fork", "delete", "experiment", "--yes")
    alice.fsck("--deep")
    alice.unmount()


def _killed(machine: Machine, *command: str, after_s: float) -> bool:
    """Start a command and `kill -9` it. Whether it was still running."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "agentfs.cli.main", *command],
        env=machine.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        child.wait(after_s)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        child.wait()
        return True
    return False


@pytest.mark.slow
def test_kills_between_any_two_steps(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    """Slow requests, so that kills fall between them; repeating a command always finishes it."""
    alice = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint, agent="alice")
    alice.patience_seconds = 240
    _fill(alice, 10)
    fault_proxy.set_latency(40)
    kills = 0
    for round_number in range(3):
        name = f"exp-{round_number}"
        steps = (
            (("fork", "alice", name), 0.7 + 0.25 * round_number),
            (("put", "/etc/hostname", f"from-{name}", "-a", name), None),
            (("fork", "merge", name), 1.2 + 0.4 * round_number),
            (("fork", "delete", name, "--yes"), 0.8 + 0.3 * round_number),
        )
        for command, after_s in steps:
            if after_s is not None:
                kills += _killed(alice, *command, after_s=after_s)
            done = alice.run(*command, ok=False)
            finished_before = command[0] == "fork" and done.returncode in (1, 3)  # it exists, or is gone, already
            assert done.returncode == 0 or finished_before, (command, done.stderr)
    fault_proxy.set_latency(0)
    alice.sync()
    assert sorted(it for it in os.listdir(alice.path()) if it.startswith(b"from-")) == [
        b"from-exp-0",
        b"from-exp-1",
        b"from-exp-2",
    ]
    assert alice.run("fork", "list").stdout == "alice has no forks\n"
    alice.fsck()
    alice.unmount()
    assert kills >= 3, "no command was killed: choose shorter times"
