"""A process with a replica open is killed with SIGKILL, at named points and at random. Opened again, the replica
shows exactly what was acknowledged, and of the operation under way all or nothing; no byte and no name else."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from replica_load import SLOTS, operations, perform

from agentfs.clock import SystemClock
from agentfs.fsck.findings import Findings
from agentfs.fsck.replica_check import read_replica
from agentfs.replica.replica import Replica
from agentfs.testing.file_behaviour_binding import Capability, KernelFiles, opened, put, shown
from agentfs.testing.file_behaviour_core import TreeFiles
from agentfs.tree.tree import Tree

CHILD = Path(__file__).with_name("replica_child.py")
OPERATIONS = 300
POINTS = [f"{name}.{when}" for name in ("commit", "create", "remove") for when in ("before", "after")]
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "8"))


def killed_after(directory: Path, seed: int, direct: bool, point: str, count: int, *, lines_max: int) -> int:
    """How many operations were acknowledged when the child died."""
    arguments = [str(directory), str(seed), str(OPERATIONS), "direct" if direct else "-", point, str(count)]
    child = subprocess.Popen([sys.executable, str(CHILD), *arguments], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = 0
    for line in child.stdout:
        lines += line == "done\n"
        if lines >= lines_max:
            child.kill()
    child.stdout.close()
    assert child.wait(60) == -9, "it was to be killed"
    return lines


def reopened(directory: Path) -> dict[bytes, tuple[int, int, bytes]]:
    """What the replica shows after recovery. It is whole, and each file has its backing file and no other exists."""
    with Replica.open(
        str(directory), volume_kind="home", volume_id="crash", session_kind="sdk", clock=SystemClock()
    ) as replica:
        tree = Tree(replica)
        found = shown(TreeFiles(tree))
        tree.close()
        resident = {row[0] for row in replica.connection.rows("SELECT ino FROM inode WHERE kind=1 AND residency=1")}
        assert set(replica.files.numbers()) == resident
        assert replica.connection.rows("SELECT * FROM write_open") == []
        assert replica.connection.rows("SELECT ino FROM inode WHERE nlink=0") == []
    findings = Findings()
    assert read_replica(str(directory), findings, deep=True) is not None
    assert findings.found == []
    return found


def check(tmp_path: Path, seed: int, acknowledged: int) -> None:
    found = reopened(tmp_path / "replica")
    (tmp_path / "model").mkdir()
    model, slots = KernelFiles(os.fsencode(tmp_path / "model"), frozenset(Capability)), {}
    todo = operations(seed, OPERATIONS)
    for operation in todo[:acknowledged]:
        perform(model, slots, operation)
    before = shown(model)
    if found != before:
        assert acknowledged < len(todo)
        perform(model, slots, todo[acknowledged])
        assert found == shown(model), f"{todo[acknowledged]} was under way; before it: {before}"
    for slot in range(SLOTS):
        if slot in slots:
            model.close(slots[slot])
    assert reopened(tmp_path / "replica") == found


@pytest.fixture(autouse=True)
def usual_umask():
    old = os.umask(0o022)
    yield
    os.umask(old)


@pytest.mark.parametrize("direct", [False, True], ids=["through us", "passthrough"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point(tmp_path: Path, point: str, direct: bool) -> None:
    seed = random.randrange(10**6)
    count = random.randrange(1, 20 if point.startswith("remove") else 40)
    print("seed", seed, "count", count)
    lines = killed_after(tmp_path / "replica", seed, direct, point, count, lines_max=10**9)
    check(tmp_path, seed, lines)


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_killed_at_random(tmp_path: Path, round_number: int) -> None:
    seed, lines_max = random.randrange(10**6), random.randrange(1, OPERATIONS)
    print("seed", seed, "lines", lines_max)
    lines = killed_after(tmp_path / "replica", seed, bool(round_number % 2), "-", 1, lines_max=lines_max)
    check(tmp_path, seed, lines)


@pytest.mark.parametrize("flushed", [False, True])
def test_a_time_set_on_an_open_file_survives(tmp_path: Path, flushed: bool) -> None:
    """Recovery takes the times of the backing file for those of a file that was being written."""
    directory, long_ago_ns = tmp_path / "replica", 946_684_799_123_456_789
    pid = os.fork()
    if pid == 0:
        replica = Replica.open(
            str(directory), volume_kind="home", volume_id="crash", session_kind="mount", clock=SystemClock()
        )
        files = TreeFiles(Tree(replica))
        fd = files.open(b"f", os.O_WRONLY | os.O_CREAT)
        files.write(fd, b"bytes", 0)
        if flushed:
            files.flush(fd)
        files.utime(b"f", long_ago_ns, long_ago_ns)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with Replica.open(
        str(directory), volume_kind="home", volume_id="crash", session_kind="sdk", clock=SystemClock()
    ) as replica:
        tree = Tree(replica)
        files = TreeFiles(tree)
        assert files.stat(b"f").mtime_ns == long_ago_ns
        put(files, b"g", b"after")
        with opened(files, b"f", os.O_RDONLY) as fd:
            assert files.read(fd, 10, 0) == b"bytes"
        tree.close()
