"""The engine in a process that lives on: what it holds is let go, whatever the store does."""

import logging
import threading
from pathlib import Path

import pytest

from agentfs.clock import SystemClock
from agentfs.replica.lock_file import LockFile
from agentfs.replica.replica import Replica
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import StoredObject
from agentfs.sync.engine import Engine
from agentfs.volume import engine_host
from agentfs.volume.engine_host import EngineHost
from agentfs.volume.services import EngineServices


class Hanging(MemoryStore):
    """Answers no read until `answer` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = threading.Event(), threading.Event()

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        self.asked.set()
        assert self.answer.wait(60)
        return super().get(name, start=start, length=length)


def started(directory: Path, store: MemoryStore) -> EngineHost:
    lock = LockFile.acquire(str(directory / "engine.lock"))
    assert lock is not None
    clock = SystemClock()
    replica = Replica.open(str(directory), volume_kind="home", volume_id="a", session_kind="engine", clock=clock)
    engine = Engine(replica, store, volume_kind="home", volume_id="a", author="a", clock=clock)
    return EngineHost(lock, replica, engine, EngineServices(), clock=clock, stop=threading.Event(), problem="")


def test_a_thread_that_close_did_not_wait_for_lets_go_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_host, "_END_SECONDS_MAX", 0.05)
    store = Hanging()
    host = started(tmp_path, store)
    assert store.asked.wait(60)
    with caplog.at_level(logging.CRITICAL, logger="agentfs.volume.engine_host"):
        host.close()
    assert LockFile.acquire(str(tmp_path / "engine.lock")) is None
    store.answer.set()
    host._thread.join(60)
    lock = LockFile.acquire(str(tmp_path / "engine.lock"))
    assert lock is not None
    lock.release()
    assert host._replica.session == 0
    again = started(tmp_path, store)
    again.close()
    assert again._replica.session == 0
