"""Several machines, one home, a real S3 server that checks signatures."""

import os
import subprocess
import sys
import time

from machines import Fleet, Machine, tree, until, until_equal

from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.servers import S3Server

WINDOW_SECONDS_MAX = 60.0
"""Design: a second and a half and two round trips. Here the machines share two processors with the tests."""


def test_different_files_converge(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    left = machines.machine(ministack_server, bucket)
    right = machines.machine(ministack_server, bucket)
    left.mount()
    right.mount()
    for number in range(40):
        left.write(f"left-{number}.bin", os.urandom(number * 331))
        right.write(f"right-{number}.bin", os.urandom(number * 517))
        os.chmod(left.path(f"left-{number}.bin"), 0o600 + number % 64)
    os.makedirs(left.path("a/b/c"))
    os.makedirs(right.path("a/b/d"))
    left.write("a/b/c/deep", "left")
    right.write("a/b/d/deep", "right")
    until_equal(left, right)
    assert len(tree(left.path())) == 86
    assert left.read("a/b/d/deep") == b"right"
    assert _root_created(left) == _root_created(right)
    left.unmount()
    right.unmount()
    fresh = machines.machine(ministack_server, bucket)
    fresh.mount()
    left.mount()
    until_equal(left, fresh)
    left.unmount()
    fresh.unmount()
    for machine in (left, right, fresh):
        machine.fsck("--deep")


def _root_created(machine: Machine) -> str:
    """When the home was made: one fact of the log: a snapshot by any machine must say the same."""
    program = (
        "from agentfs.sdk.home import Home\nwith Home.open(engine='none') as home: print(home.stat('/').created_ns)"
    )
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=machine.variables(), capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


def test_a_closed_file_is_soon_seen(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    left = machines.machine(ministack_server, bucket)
    right = machines.machine(ministack_server, bucket)
    left.mount()
    right.mount()
    slowest = 0.0
    for number in range(5):
        left.write("note.md", f"version {number}")
        start = time.monotonic()
        until(
            lambda n=number: right.read("note.md") == f"version {n}".encode(), "the note travels", WINDOW_SECONDS_MAX
        )
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < WINDOW_SECONDS_MAX
    os.rename(left.path("note.md"), left.path("renamed.md"))
    until(lambda: os.listdir(right.path()) == [b"renamed.md"], "the rename travels", WINDOW_SECONDS_MAX)
    os.unlink(right.path("renamed.md"))
    until(lambda: os.listdir(left.path()) == [], "the deletion travels back", WINDOW_SECONDS_MAX)


def test_both_versions_survive_a_partition(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    left = machines.machine(ministack_server, bucket)
    right = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    left.mount()
    right.mount()
    left.write("plan.bin", b"\0base")
    left.write("other.bin", b"\0other")
    until_equal(left, right)
    fault_proxy.go_down()
    left.write("plan.bin", b"\0left version")
    right.write("plan.bin", b"\0right version")
    left.write("born.bin", b"\0born left")
    right.write("born.bin", b"\0born right")
    left.sync()
    until(lambda: right.volume()["online"] is False, "the machine that is cut off says so")
    assert right.pending() > 0
    fault_proxy.come_up()
    right.sync()
    left.sync()
    until_equal(left, right)
    for machine in (left, right):
        versions = {machine.read(name) for name in os.listdir(machine.path())}
        assert versions == {b"\0other", b"\0left version", b"\0right version", b"\0born left", b"\0born right"}
        assert machine.read("plan.bin") == b"\0left version"  # the earlier commit keeps the name
        assert machine.read("born.bin") == b"\0born left"
        assert len(os.listdir(machine.path())) == 5
    assert right.volume()["conflicts"] == 2
    assert ".conflict-" in right.run("status").stdout
    assert left.volume()["conflicts"] == 2, "the other machine must hear of the conflicts, too"
    for machine in (left, right):
        machine.unmount()
        machine.fsck("--deep")


_BESIDE = """
import sys
from agentfs.sdk.home import Home
with Home.open() as home:
    print("open", flush=True)
    for line in sys.stdin:
        do, path, *rest = line.split()
        if do == "read":
            print(home.read_text(path) if home.exists(path) else "-", flush=True)
        elif do == "write":
            home.write(path, rest[0]); print("done", flush=True)
        elif do == "list":
            print(",".join(entry.name for entry in home.list()), flush=True)
"""


def test_the_sdk_beside_a_mount(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    machine = machines.machine(ministack_server, bucket)
    machine.mount()
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _BESIDE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=machine.variables(),
        text=True,
    )

    def ask(line: str) -> str:
        child.stdin.write(line + "\n")
        child.stdin.flush()
        return child.stdout.readline().rstrip("\n")

    try:
        assert child.stdout.readline() == "open\n"
        for number in range(20):
            machine.write("shared", f"mount-{number}")
            assert ask("read shared") == f"mount-{number}"  # at once: one replica
            assert ask(f"write shared sdk-{number}") == "done"
            expected = f"sdk-{number}".encode()
            until(lambda e=expected: machine.read("shared") == e, "the mount sees the SDK's write")
            assert ask(f"write new-{number} x") == "done"
            until(lambda n=number: os.path.exists(machine.path(f"new-{n}")), "the mount sees the new name")
        os.mkdir(machine.path("d"))
        assert ask("list .") == ",".join(sorted(os.fsdecode(n) for n in os.listdir(machine.path())))
    finally:
        child.stdin.close()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        finally:
            child.stdout.close()
    assert child.returncode == 0
    machine.unmount()
    machine.fsck()


def test_a_log_that_is_open_outlives_its_removal_elsewhere(
    machines: Fleet, ministack_server: S3Server, bucket: str
) -> None:
    """It has its name again, here too, while the program that writes it has it open still."""
    left = machines.machine(ministack_server, bucket)
    right = machines.machine(ministack_server, bucket)
    left.mount()
    right.mount()
    left.write("job.log", b"one\n")
    until(lambda: right.read("job.log") == b"one\n", "the log travels")
    with open(right.path("job.log"), "ab", buffering=0) as log:
        os.unlink(left.path("job.log"))
        until(lambda: os.listdir(right.path()) == [], "the removal travels")
        log.write(b"two\n")
        os.fsync(log.fileno())
        right.sync()
        until(lambda: left.read("job.log") == b"one\ntwo\n", "what was written after it travels back")
        until(lambda: right.read("job.log") == b"one\ntwo\n", "the mount shows the name again")
        log.write(b"three\n")
    until(lambda: left.read("job.log") == b"one\ntwo\nthree\n", "and what was written since")
    until_equal(left, right)
