"""The behaviour suite on everything that shows files: a local directory, the core, and mounts of a replica."""

import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faces"))
from mounted import mounted, needs_mount, open_directory

from agentfs.clock import SystemClock
from agentfs.fsck.findings import Findings
from agentfs.fsck.replica_check import read_replica
from agentfs.replica.replica import Replica
from agentfs.testing.file_behaviour import FileBehaviour
from agentfs.testing.file_behaviour_binding import Capability, Files, KernelFiles
from agentfs.testing.file_behaviour_core import ROOT, TreeFiles
from agentfs.tree.tree import Tree
from agentfs.tree.values import Caller

_numbers = count(1)
_UNPRIVILEGED = frozenset({Capability.OWNERS}) if os.geteuid() else frozenset()


def check_replica(directory: Path, *, deep: bool) -> None:
    findings = Findings()
    assert read_replica(str(directory), findings, deep=deep) is not None
    assert findings.found == []


class TestLocalDirectory(FileBehaviour):
    """The suite is right about Linux."""

    left_out = frozenset({Capability.OUR_LIMITS}) | _UNPRIVILEGED

    @pytest.fixture
    def files(self, tmp_path: Path) -> Files:
        return KernelFiles(os.fsencode(tmp_path), self.capabilities)


class TestCore(FileBehaviour):
    left_out = frozenset({Capability.KERNEL})
    direct = False

    @pytest.fixture(scope="class")
    @classmethod
    def tree(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
        directory = tmp_path_factory.mktemp("core") / "replica"
        identity = {"volume_kind": "home", "volume_id": "core", "session_kind": "sdk"}
        with Replica.open(str(directory), **identity, clock=SystemClock()) as replica:
            tree = Tree(replica)
            yield tree
            tree.close()
        check_replica(directory, deep=True)

    @pytest.fixture
    def files(self, tree: Tree) -> Iterator[Files]:
        made = tree.mkdir(ROOT, b"case%d" % next(_numbers), 0o755, Caller.process())
        yield TreeFiles(tree, directory=made.ino, direct=self.direct)
        check_replica(Path(tree._replica.directory), deep=False)


class TestCorePassthrough(TestCore):
    """Bytes pass the core by, as in kernel passthrough."""

    direct = True


@pytest.mark.mount
@needs_mount
class TestMountWithPassthrough(FileBehaviour):
    program = "replicated.py"
    passthrough = "auto"

    @pytest.fixture(scope="class")
    @classmethod
    def mount(cls) -> Iterator[Path]:
        with open_directory() as directory:
            for name in ("back", "mnt"):
                (directory / name).mkdir()
            arguments = ("--allow-other", "--passthrough", cls.passthrough, str(directory / "back"))
            with mounted(cls.program, *arguments, mountpoint=directory / "mnt", log=directory / "log"):
                yield directory / "mnt"
            if cls.program == "replicated.py":
                check_replica(directory / "back", deep=True)

    @pytest.fixture
    def files(self, mount: Path) -> Files:
        path = mount / f"case{next(_numbers)}"
        path.mkdir()
        return KernelFiles(os.fsencode(path), self.capabilities)


class TestMountWithoutPassthrough(TestMountWithPassthrough):
    passthrough = "off"


def test_what_each_binding_leaves_out() -> None:
    """Nothing is left out that is not declared, and the full binding leaves out nothing."""
    assert TestMountWithPassthrough.cases_left_out() == frozenset()
    cases = {name for name in dir(TestMountWithPassthrough) if name.startswith("test_")}
    for binding in (TestLocalDirectory, TestCore, TestCorePassthrough, TestMountWithoutPassthrough):
        there = {name for name in dir(binding) if name.startswith("test_") and getattr(binding, name) is not None}
        assert there == cases - binding.cases_left_out()
    assert {name for name in TestCore.cases_left_out() if "lock" in name or "mapping" in name}
    assert len(TestCore.cases_left_out()) < len(cases) / 5
