"""The log over a store: exact requests, settlement, windows, snapshots, collection."""

import hashlib
from collections.abc import Mapping, Sequence

import pytest

from agentfs.errors import (
    Collected,
    Corrupt,
    HistoryBroken,
    NewerFormat,
    ObjectExists,
    OutcomeUnknown,
    StoreUnavailable,
)
from agentfs.format import layout
from agentfs.format.commit import EncodedCommit, encode_commit
from agentfs.format.limits import NO_PARENT
from agentfs.format.snapshot import encode_snapshot
from agentfs.log.log import Appended, Log, Lost
from agentfs.log.settlement import PUTS_MAX, settle, unsettled
from agentfs.model.records import ROOT_ID, Commit, InodeRecord, Kind, Snapshot
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Entry, Store, StoredObject


class Scripted:
    """A store that records requests and does to create-only puts, then to gets, what the scripts say."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.url = inner.url
        self.requests: list[str] = []
        self.puts: list[str] = []
        """`lost`: done, and the answer lost; `dropped`: not done, and nobody knows; `exists`: refused."""
        self.gets_fail = False

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        self.requests.append("get")
        if self.gets_fail:
            raise StoreUnavailable("no network")
        return self.inner.get(name, start=start, length=length)

    def put(
        self,
        name: str,
        data: bytes,
        *,
        create_only: bool = False,
        replacing: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        self.requests.append("put")
        fault = self.puts.pop(0) if create_only and self.puts else ""
        if fault in ("", "lost"):
            tag = self.inner.put(name, data, create_only=create_only, replacing=replacing, attributes=attributes)
        if fault == "exists":
            raise ObjectExists(name)
        if fault:
            raise OutcomeUnknown(name)
        return tag

    def delete(self, name: str) -> None:
        self.requests.append("delete")
        self.inner.delete(name)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        self.requests.append("list")
        return self.inner.list(prefix, after=after, limit=limit, foreign=foreign)


@pytest.fixture
def store() -> Scripted:
    return Scripted(MemoryStore())


@pytest.fixture
def log(store: Scripted) -> Log:
    return Log(store, "home", "a")


def commit(sequence: int, parent: bytes = NO_PARENT, who: bytes = b"a") -> EncodedCommit:
    return encode_commit(Commit("home-a", sequence, who * 16, parent, sequence, "a", "r"), {})


def fill(log: Log, count: int) -> list[EncodedCommit]:
    chain: list[EncodedCommit] = []
    for sequence in range(1, count + 1):
        chain.append(commit(sequence, chain[-1].digest if chain else NO_PARENT))
        assert isinstance(log.append(sequence, chain[-1].data, chain[-1].digest), Appended)
    return chain


def snapshot(sequence: int, digest: bytes = b"d" * 32) -> bytes:
    root = InodeRecord(ROOT_ID, Kind.DIRECTORY, 0o755, 0, 0, 0, 0, 0)
    return encode_snapshot(Snapshot("home-a", sequence, digest, 1, (root,), ()))


def test_an_append_is_one_put_and_a_look_is_one_get(log: Log, store: Scripted) -> None:
    mine = commit(1)
    assert log.append(1, mine.data, mine.digest) == Appended(1, mine.digest)
    assert store.requests == ["put"]
    assert log.read(2) is None
    assert store.requests == ["put", "get"]
    assert log.read(1) == mine.data


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        (["lost"], ["put", "get"]),
        (["dropped"], ["put", "get", "put"]),
        (["dropped", "lost"], ["put", "get", "put", "get"]),
        (["exists"], ["put", "get", "put"]),  # refused, and yet nothing stands there
        (["dropped", "dropped"], ["put", "get", "put", "get", "put"]),
    ],
)
def test_a_doubt_is_settled_by_reading(log: Log, store: Scripted, faults: list[str], requests: list[str]) -> None:
    mine = commit(1)
    store.puts = list(faults)
    assert log.append(1, mine.data, mine.digest) == Appended(1, mine.digest)
    assert store.requests == requests


def test_our_own_commit_there_is_success(log: Log, store: Scripted) -> None:
    """A twin put the same bytes, or an earlier try of ours took effect."""
    mine = commit(1)
    log.append(1, mine.data, mine.digest)
    assert log.append(1, mine.data, mine.digest) == Appended(1, mine.digest)
    assert store.requests == ["put", "put", "get"]


@pytest.mark.parametrize("fault", ["", "dropped"])
def test_anothers_commit_there_is_lost(log: Log, store: Scripted, fault: str) -> None:
    theirs, mine = commit(1, who=b"t"), commit(1, who=b"m")
    log.append(1, theirs.data, theirs.digest)
    store.puts = [fault] if fault else []
    assert log.append(1, mine.data, mine.digest) == Lost(1, theirs.digest, theirs.data)


def test_a_doubt_that_remains_is_told(log: Log, store: Scripted) -> None:
    mine = commit(1)
    store.puts = ["dropped"] * 10
    with pytest.raises(OutcomeUnknown, match="not known yet"):
        log.append(1, mine.data, mine.digest)
    assert store.requests == ["put", "get"] * PUTS_MAX


def test_a_doubt_that_cannot_be_read_is_told(log: Log, store: Scripted) -> None:
    mine = commit(1)
    store.puts, store.gets_fail = ["lost"], True
    with pytest.raises(OutcomeUnknown, match="not known yet"):
        log.append(1, mine.data, mine.digest)


def test_a_damaged_winner_is_never_taken_for_one(log: Log, store: Scripted) -> None:
    mine = commit(1)
    store.inner.put(log.name(1), mine.data[:-1])
    with pytest.raises(Corrupt, match="log entry 1 of home-a is damaged"):
        log.append(1, mine.data, mine.digest)


def test_a_newer_entry_is_not_called_damaged(log: Log, store: Scripted) -> None:
    data = sealed_version_2()
    store.inner.put(log.name(1), data)
    with pytest.raises(NewerFormat):
        log.read(1)


def sealed_version_2() -> bytes:

    data = bytearray(commit(1).data[:-32])
    data[9] = 2
    return bytes(data) + hashlib.sha256(data).digest()


def test_a_collected_place_still_tells_whose_it_was(log: Log) -> None:
    mine, theirs = commit(1, who=b"m"), commit(1, who=b"t")
    log.append(1, mine.data, mine.digest)
    log.put_snapshot(snapshot(1, mine.digest))
    log.collect(1, snapshot=1)
    assert log.append(1, mine.data, mine.digest) == Appended(1, mine.digest)
    assert log.append(1, theirs.data, theirs.digest) == Lost(1, mine.digest, None)
    with pytest.raises(Collected) as caught:
        log.read(1)
    assert (caught.value.sequence, caught.value.commit_digest, caught.value.snapshot) == (1, mine.digest, 1)
    assert caught.value.code == "collected"


def test_collecting_is_one_get_and_one_put_and_may_be_repeated(log: Log, store: Scripted) -> None:
    chain = fill(log, 2)
    store.requests.clear()
    stub, _ = log.collect(1, snapshot=2)
    assert store.requests == ["get", "put"]
    assert log.collect(1, snapshot=2) == (stub, False)
    assert store.requests == ["get", "put", "get"]
    assert stub.commit_digest == chain[0].digest
    with pytest.raises(ValueError, match="does not hold"):
        log.collect(2, snapshot=1)
    with pytest.raises(HistoryBroken):
        log.collect(3, snapshot=3)


def test_windows_end_where_the_log_does(log: Log, store: Scripted) -> None:
    chain = [it.data for it in fill(log, 20)]
    assert log.read_window(1, 100) == chain[:16]
    assert log.read_window(17) == chain[16:]
    assert log.read_window(21) == []
    assert log.read_window(3, 2) == chain[2:4]
    store.inner.put(log.name(5), b"damaged")
    assert log.read_window(1) == chain[:4]
    with pytest.raises(Corrupt):
        log.read_window(5)
    log.collect(3, snapshot=9)
    assert log.read_window(1) == chain[:2]
    with pytest.raises(Collected):
        log.read_window(3)


def test_the_newest_snapshot_is_one_list_and_one_get(log: Log, store: Scripted) -> None:
    assert log.newest_snapshot().snapshot is None
    for sequence in (3, 12, 7):
        assert log.put_snapshot(snapshot(sequence)) == sequence
    store.requests.clear()
    found = log.newest_snapshot()
    assert found.snapshot is not None and found.snapshot.sequence == 12
    assert (found.damaged, store.requests) == ((), ["list", "get"])


def test_a_damaged_snapshot_is_passed_over_and_reported(log: Log, store: Scripted) -> None:
    for sequence in (3, 7):
        log.put_snapshot(snapshot(sequence))
    store.inner.put(layout.snapshot_name(log.prefix, 9), b"damaged")
    store.inner.put(layout.snapshot_name(log.prefix, 8), snapshot(7))
    found = log.newest_snapshot()
    assert found.snapshot is not None and found.snapshot.sequence == 7
    assert [line.split(":")[0] for line in found.damaged] == [layout.snapshot_name(log.prefix, at) for at in (9, 8)]
    for sequence in range(20, 30):
        store.inner.put(layout.snapshot_name(log.prefix, sequence), b"")
    with pytest.raises(Corrupt, match="newest 8 snapshots"):
        log.newest_snapshot()


def test_what_is_not_a_snapshot_is_not_stored(log: Log, store: Scripted) -> None:
    with pytest.raises(Corrupt):
        log.put_snapshot(b"x")
    assert store.requests == []


def test_settling_rows() -> None:
    one, two, three = b"1" * 32, b"2" * 32, b"3" * 32
    rows = {one: 5, two: 5, three: 6}
    assert settle(rows, 5, one).committed == one
    assert settle(rows, 5, one).void == (two,)
    assert settle(rows, 5, b"x" * 32).committed is None
    assert settle(rows, 5, b"x" * 32).void == (one, two)
    assert settle(rows, 5, three).committed is None
    assert settle(rows, 7, three).void == ()
    assert unsettled(rows, 4) == ()
    assert unsettled(rows, 5) == (5,)
    assert unsettled(rows, 9) == (5, 6)
