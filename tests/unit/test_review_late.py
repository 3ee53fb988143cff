"""Data that never reaches the store must not be silent."""

import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.errors import StoreUnavailable
from agentfs.stores.memory import MemoryStore


class Away(MemoryStore):
    away = False

    def get(self, *args: object, **more: object):
        self._refuse()
        return super().get(*args, **more)

    def put(self, *args: object, **more: object) -> str:
        self._refuse()
        return super().put(*args, **more)

    def _refuse(self) -> None:
        if self.away:
            raise StoreUnavailable("nobody answers")


def test_the_log_warns_of_changes_that_stay_here(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Away()
    node = Node(tmp_path / "a", store, TestClock())

    def warnings() -> list[str]:
        return [it.getMessage() for it in caplog.records if "only on this machine" in it.getMessage()]

    with caplog.at_level(logging.WARNING):
        node.write("f", b"x")
        node.settle(30)
        assert not warnings() and not node.replica.pending().inodes
        store.away = True
        node.write("g", b"12345")
        node.settle(590)
        assert not warnings()
        node.settle(60)
        assert len(warnings()) == 1
        assert "5 bytes" in warnings()[0] and "nobody answers" in warnings()[0]
        node.settle(620)
        assert len(warnings()) == 2  # again and again, not all the time
        store.away = False
        node.settle(60)
        assert not node.replica.pending().inodes
        node.settle(1300)
        assert len(warnings()) == 2
    node.close()
