"""Counting requests: batches, several processes, processes that die, files that cannot be used."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentfs.clock import SystemClock
from agentfs.errors import NewerFormat, ObjectNotFound, ReplicaDamaged
from agentfs.replica.database import Connection
from agentfs.stores.memory import MemoryStore
from agentfs.stores.metering import MeteredStore
from agentfs.usage import ledger as ledger_module
from agentfs.usage import usage_file
from agentfs.usage.ledger import Ledger
from agentfs.usage.purposes import VIEW_ROOTS, prefixes_of, purpose_of
from agentfs.usage.usage_file import Count, StorePlace, counts_of, reading, stores, usage_path, volumes_of
from agentfs.view.naming import ROOTS

PLACE = StorePlace("s3://bucket/root")
LOG = ".agentfs/volumes/home-ada/log/0000000000000001"


class DayClock(SystemClock):
    day = 20_000

    def wall_ns(self) -> int:
        return self.day * 86_400 * 10**9 + 5


def kept(state_dir: Path, volume: str = "home-ada") -> dict[tuple[int, str, str], Count]:
    with reading(str(state_dir)) as connection:
        if connection is None:
            return {}
        ((number, _),) = stores(connection)
        return {(at.day, at.purpose, at.kind): it for at, it in counts_of(connection, number, volume).items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (LOG, ("home-ada", "log")),
        (".agentfs/volumes/home-ada/log/", ("home-ada", "log")),
        (".agentfs/volumes/space-team/blobs/ab/abcd", ("space-team", "blobs")),
        (".agentfs/volumes/home-ada/packs/1", ("home-ada", "packs")),
        (".agentfs/volumes/home-ada/snapshots/", ("home-ada", "snapshots")),
        (".agentfs/volumes/home-ada/pins/fork/x", ("home-ada", "upkeep")),
        (".agentfs/volumes/home-ada/", ("home-ada", "upkeep")),
        (".agentfs/volumes/", ("", "store")),
        ("agents/ada/notes/a.md", ("home-ada", "view")),
        ("agents/", ("", "view")),
        ("spaces/team/a.md", ("space-team", "view")),
        (".agentfs/store.json", ("", "store")),
        (".agentfs/probe/1/race/1", ("", "store")),
        (".agentfs/spaces/team.json", ("", "store")),
    ],
)
def test_a_name_says_what_a_request_is_for(name: str, expected: tuple[str, str]) -> None:
    assert purpose_of(name) == expected


def test_the_view_is_where_the_view_says() -> None:
    assert {root: kind for kind, root in ROOTS.items()} == VIEW_ROOTS
    assert prefixes_of("space-team") == (".agentfs/volumes/space-team/", "spaces/team/")


def test_every_call_is_counted_with_its_bytes_failed_ones_too(tmp_path: Path) -> None:
    ledger, clock = Ledger(str(tmp_path)), DayClock()
    store = MeteredStore(MemoryStore(), ledger.meter(PLACE, clock))
    store.put(LOG, b"12345", create_only=True)
    store.get(LOG, start=1, length=2)
    with pytest.raises(ObjectNotFound):
        store.get(LOG[:-1] + "2")
    store.list(".agentfs/volumes/home-ada/log/")
    clock.day += 1
    store.put("agents/ada/a.md", b"123")
    store.delete("agents/ada/a.md")
    assert not os.path.exists(usage_path(str(tmp_path))), "a request waited for the disk"
    assert ledger.flush()
    assert kept(tmp_path) == {
        (20_000, "log", "put"): Count(1, 5, 0),
        (20_000, "log", "get"): Count(2, 0, 2),
        (20_000, "log", "list"): Count(1, 0, 0),
        (20_001, "view", "put"): Count(1, 3, 0),
        (20_001, "view", "delete"): Count(1, 0, 0),
    }


def test_a_batch_is_one_transaction_and_comes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transactions = []
    writing = ledger_module.writing
    monkeypatch.setattr(ledger_module, "writing", lambda place: transactions.append(place) or writing(place))
    ledger = Ledger(str(tmp_path), batch_seconds=0.1)
    count = ledger.meter(PLACE, DayClock())
    with ledger._writing:  # however long the counting takes: the batch begins after it
        for _ in range(1000):
            count("get", LOG, sent_bytes=0, received_bytes=1)
    deadline = time.monotonic() + 60
    while not (found := kept(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert ledger.flush()
    assert found == {(20_000, "log", "get"): Count(1000, 0, 1000)}
    assert len(transactions) == 1


_PROCESS = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_usage_counts import LOG, PLACE, DayClock
from agentfs.usage.ledger import ledger_of
ledger = ledger_of(sys.argv[1])
count = ledger.meter(PLACE, DayClock())
for number in range(50):
    count("put", LOG, sent_bytes=3, received_bytes=0)
    if number % 10 == 9:
        ledger.flush()
if sys.argv[3] == "die":
    count("put", LOG, sent_bytes=3, received_bytes=0)
    os.kill(os.getpid(), signal.SIGKILL)
count("get", LOG, sent_bytes=0, received_bytes=7)
"""


def test_processes_add_and_one_that_is_killed_loses_its_last_batch_only(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    ends = ("live", "live", "die")
    children = [subprocess.Popen([sys.executable, "-c", _PROCESS, str(tmp_path), here, end]) for end in ends]
    codes = [child.wait(60) for child in children]
    assert codes == [0, 0, -signal.SIGKILL]
    # The last gets were written at the ends of the processes, by nobody's call.
    assert kept(tmp_path) == {
        (20_000, "log", "put"): Count(150, 450, 0),
        (20_000, "log", "get"): Count(2, 0, 14),
    }


def test_a_forked_child_does_not_write_what_its_parent_counted(tmp_path: Path) -> None:
    ledger = ledger_module.ledger_of(str(tmp_path))
    count = ledger.meter(PLACE, DayClock())
    count("get", LOG, sent_bytes=0, received_bytes=0)
    child = os.fork()
    if not child:
        count("list", LOG, sent_bytes=0, received_bytes=0)
        os._exit(0 if ledger.flush() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert ledger.flush()
    assert {kind: it.requests for (_, _, kind), it in kept(tmp_path).items()} == {"get": 1, "list": 1}


def test_what_cannot_be_written_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_file, "_BUSY_MS", 10)
    ledger = Ledger(str(tmp_path))
    count = ledger.meter(PLACE, DayClock())
    count("get", LOG, sent_bytes=0, received_bytes=1)
    assert ledger.flush()
    other = Connection(usage_path(str(tmp_path)))
    other.execute("BEGIN IMMEDIATE")
    count("get", LOG, sent_bytes=0, received_bytes=1)
    assert not ledger.flush()
    other.execute("ROLLBACK")
    other.close()
    assert ledger.flush()
    assert kept(tmp_path) == {(20_000, "log", "get"): Count(2, 0, 2)}


def test_a_damaged_file_is_set_aside_and_a_newer_one_left_alone(tmp_path: Path) -> None:
    path = Path(usage_path(str(tmp_path)))
    path.write_bytes(b"this is no database, and long enough to be looked at" * 100)
    with pytest.raises(ReplicaDamaged, match="sets it aside"), reading(str(tmp_path)):
        pass
    ledger = Ledger(str(tmp_path))
    count = ledger.meter(PLACE, DayClock())
    count("get", LOG, sent_bytes=0, received_bytes=1)
    assert ledger.flush()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_name("usage.db.damaged").read_bytes().startswith(b"this is no database")
    assert sum(it.requests for it in kept(tmp_path).values()) == 1
    newer = Connection(str(path))
    newer.execute("UPDATE state SET value=99 WHERE key='schema_version'")
    newer.close()
    count("get", LOG, sent_bytes=0, received_bytes=1)
    assert not ledger.flush()
    with pytest.raises(NewerFormat), reading(str(tmp_path)):
        pass


def test_a_state_directory_that_was_removed_stays_removed(tmp_path: Path) -> None:
    gone = tmp_path / "state"
    ledger = Ledger(str(gone))
    ledger.meter(PLACE, DayClock())("get", LOG, sent_bytes=0, received_bytes=1)
    assert not ledger.flush()
    assert not gone.exists()


def test_volumes_are_known_and_the_store_itself_is_last(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    count = ledger.meter(PLACE, DayClock())
    for name in (".agentfs/store.json", "spaces/team/a", LOG):
        count("get", name, sent_bytes=0, received_bytes=0)
    ledger.flush()
    with reading(str(tmp_path)) as connection:
        assert connection is not None
        ((number, place),) = stores(connection)
        assert place == PLACE
        assert volumes_of(connection, number) == ["home-ada", "space-team", ""]
