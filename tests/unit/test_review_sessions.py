"""Who has a replica open, told across containers: another PID namespace on the same directory."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import TestClock

from agentfs.replica.replica import Replica
from agentfs.replica.sessions import boot_id, is_alive
from agentfs.volume.engine_host import mountpoint_of
from agentfs.volume.status import peek

_CHILD = """
import os, sys
from agentfs.clock import SystemClock
from agentfs.replica.replica import Replica
from agentfs.tree.tree import Tree
from agentfs.tree.values import Caller
replica = Replica.open(sys.argv[1], volume_kind="home", volume_id="a", session_kind="mount", clock=SystemClock(),
                       mountpoint=b"/container/mnt")
tree = Tree(replica)
_, handle = tree.create(1, b"f", 0o644, Caller(0, 0), os.O_WRONLY)
tree.write(handle, 0, b"written before the container was killed")
print(os.getpid(), flush=True)
sys.stdin.read()
"""
_UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def can_unshare() -> bool:
    return (
        shutil.which("unshare") is not None
        and not subprocess.run([*_UNSHARE, "true"], check=False, capture_output=True).returncode
    )


@contextmanager
def container(directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    child = subprocess.Popen(
        [*_UNSHARE, sys.executable, "-c", _CHILD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None and child.stdout.readline()
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            child.communicate()


def opened(directory: Path) -> Replica:
    return Replica.open(str(directory), volume_kind="home", volume_id="a", session_kind="sdk", clock=TestClock())


@pytest.mark.skipif(not can_unshare(), reason="needs a PID namespace of its own")
def test_a_killed_container_leaves_nothing_behind(tmp_path: Path) -> None:
    with container(tmp_path) as child:
        with opened(tmp_path) as replica:
            assert mountpoint_of(replica) == "/container/mnt"
            assert len(peek(str(tmp_path)).sessions) == 2
            assert replica.connection.rows("SELECT 1 FROM write_open")
        child.send_signal(signal.SIGKILL)
        child.communicate()  # until the last of the container has ended
        with opened(tmp_path) as replica:
            assert mountpoint_of(replica) is None
            assert len(peek(str(tmp_path)).sessions) == 1
            assert not replica.connection.rows("SELECT 1 FROM write_open")
            row = replica.child(1, b"f")
            assert row is not None and row.size_bytes == 39
            assert os.listdir(tmp_path / "sessions") == [str(replica.session)]
    assert not os.listdir(tmp_path / "sessions")


def test_a_session_without_a_lock_file_is_judged_as_before(tmp_path: Path) -> None:
    elsewhere = f"{boot_id()}/pid:[1]/77"
    assert is_alive(1, elsewhere)
    assert is_alive(1, elsewhere, lock=str(tmp_path / "none"))
    assert not is_alive(1, "another boot/pid:[1]/77", lock=str(tmp_path / "none"))
    assert not is_alive(1, "unknown", lock=str(tmp_path / "none"))
    (tmp_path / "left").touch()
    assert not is_alive(1, elsewhere, lock=str(tmp_path / "left"))


def test_an_unlocked_file_of_a_restored_directory_is_no_session(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as replica:
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        number = replica.session
        replica.connection.execute("UPDATE session SET started=?", (f"{boot_id()}/pid:[1]/77",))
        assert is_alive(1, f"{boot_id()}/pid:[1]/77", lock=str(tmp_path / "a" / "sessions" / str(number)))
    assert not is_alive(1, f"{boot_id()}/pid:[1]/77", lock=str(tmp_path / "b" / "sessions" / str(number)))
