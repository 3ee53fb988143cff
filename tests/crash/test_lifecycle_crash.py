"""Lifecycle rules on a machine that is killed while it applies them: a batch is done, or it is not."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from invariants import broken
from lifecycle_child import node_and_service
from node import Node, TestClock

from agentfs.format.commit import decode_commit
from agentfs.fsck.store_check import StoreCheck
from agentfs.log.log import Log
from agentfs.stores.local import LocalStore

CHILD = Path(__file__).with_name("lifecycle_child.py")
RULES = """
[[lifecycle]]
glob = "logs/**"
expire = "1s"
[[lifecycle]]
glob = "daily/**"
archive = "1s"
"""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine and a store with files that are a second old."""
    root = tmp_path_factory.mktemp("lifecycle")
    node, service = node_and_service(root / "machine", root / "store", "")
    service.answers()["lifecycle-set"](node.engine, {"text": RULES}, lambda _facts: None)
    node.mkdir("logs")
    node.mkdir("daily")
    for number in range(20):
        node.write(f"logs/{number}", b"%d" % number)
        node.write(f"daily/{number}", b"%d" % number)
    node.write("notes.md", b"stay")
    node.sync()
    service._history.close()
    node.close()
    time.sleep(1.1)
    return root


@pytest.mark.parametrize("failpoint", ["lifecycle.drafted", "lifecycle.appended"])
def test_killed_in_the_middle_of_a_batch(begun: Path, tmp_path: Path, failpoint: str) -> None:
    root = tmp_path / "copy"
    shutil.copytree(begun, root)
    done = subprocess.run(
        [sys.executable, str(CHILD), str(root / "machine"), str(root / "store"), failpoint], check=False, timeout=60
    )
    assert done.returncode == -9, "it was to be killed"
    other = Node(tmp_path / "other", LocalStore(str(root / "store")), TestClock(), agent="b")
    other.engine.bootstrap()
    seen = {it for it in other.show() if b"/" in it}
    logs = {it for it in seen if it.startswith(b"logs/")}
    daily = {it for it in seen if it.startswith(b"daily/")}
    assert (len(logs), len(daily)) == (20, 20 if failpoint == "lifecycle.drafted" else 0)

    node, service = node_and_service(root / "machine", root / "store", "")
    try:
        assert broken(node.replica) == []
        service.answers()["lifecycle-run"](node.engine, {}, lambda _facts: None)
        assert broken(node.replica) == []
        other.engine.pull_now()
        assert other.show() == node.show()
        files = {path: data for path, (kind, _, data) in node.show().items() if kind == "FILE"}
        assert files == {b"notes.md": b"stay"} | {b"archive/daily/%d" % it: b"%d" % it for it in range(20)}
        log = Log(LocalStore(str(root / "store")), "space", "sim")
        commits = []
        for sequence in range(1, node.engine.status().head_sequence + 1):
            data = log.read(sequence)
            assert data is not None
            commits.append(decode_commit(data, volume="space-sim", sequence=sequence)[0])
        assert sorted(it.cause for it in commits if it.author == "lifecycle") == [
            "rule daily/** archive 1s",
            "rule logs/** expire 1s",
        ], "each once"
        state = StoreCheck(LocalStore(str(root / "store")), "space", "sim", deep=True).run()
        bad = [it for it in state.findings.found if it.severity != "note" and it.kind != "store-file"]
        assert bad == []
    finally:
        service._history.close()
        node.close()
        other.close()
