"""Machines for every test of this directory, ended whatever happens."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Fleet, can_mount, fleet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.mount)
            if not can_mount():
                item.add_marker(pytest.mark.skip(reason="mounting needs root and /dev/fuse"))


@pytest.fixture
def machines() -> Iterator[Fleet]:
    with (
        tempfile.TemporaryDirectory(prefix="agentfs-sys-", ignore_cleanup_errors=True) as root,
        fleet(Path(root)) as made,
    ):
        yield made
        for machine in made.made:  # shown with a test that failed
            print(f"=== {machine.root.name}\n{machine.logs(5_000)}", file=sys.stderr)
