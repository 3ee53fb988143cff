"""The behaviour suite, on the core and (to judge the suite itself) on this machine's own file system.

`OsFileSystem(mountpoint)` binds it to a mount in the same way.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentfs.clock import SystemClock
from agentfs.replica.check import check
from agentfs.replica.replica import Replica
from agentfs.testing.behaviour import CASES, Case, FileSystem, run
from agentfs.testing.behaviour_adapters import OsFileSystem, TreeFileSystem
from agentfs.tree.tree import Tree


@pytest.fixture(params=["core", "core, direct", "plain directory"])
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileSystem]:
    if request.param == "plain directory":
        yield OsFileSystem(str(tmp_path))
        return
    with Replica.open(
        str(tmp_path / "replica"), volume_kind="home", volume_id="me", session_kind="test", clock=SystemClock()
    ) as replica:
        tree = Tree(replica)
        yield TreeFileSystem(tree, direct=request.param == "core, direct")
        tree.close()
        assert check(replica) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_behaviour(case: Case, fs: FileSystem) -> None:
    if not run(case, fs):
        pytest.skip(f"needs {', '.join(sorted(case.needs - fs.features))}")


def test_there_are_many_cases_with_different_names() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 80
