"""The behaviour suite inside a space of a mounted home: what is true of a home is true there."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from mounted import mounted, needs_mount, open_directory

from agentfs.fsck.findings import Findings
from agentfs.fsck.replica_check import read_replica
from agentfs.testing.file_behaviour import FileBehaviour
from agentfs.testing.file_behaviour_binding import Files, KernelFiles

_numbers = count(1)


@pytest.mark.mount
@needs_mount
class TestInSpace(FileBehaviour):
    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> Iterator[Path]:
        with open_directory() as directory:
            for name in ("back", "mnt"):
                (directory / name).mkdir()
            options = ("--allow-other", "--show", "team", str(directory / "back"))
            with mounted("parted.py", *options, mountpoint=directory / "mnt", log=directory / "log"):
                yield directory / "mnt" / "spaces" / "team"
            findings = Findings()
            for name in ("home", "team"):
                assert read_replica(str(directory / "back" / name), findings, deep=True) is not None
            assert findings.found == []

    @pytest.fixture
    def files(self, space: Path) -> Files:
        path = space / f"case{next(_numbers)}"
        path.mkdir()
        return KernelFiles(os.fsencode(path), self.capabilities)
