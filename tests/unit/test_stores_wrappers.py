"""Counting and sub-roots."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from agentfs.errors import InvalidArgument, ObjectExists, ObjectNotFound
from agentfs.stores.counted import CountedStore, Counts
from agentfs.stores.memory import MemoryStore
from agentfs.stores.open import open_store
from agentfs.stores.prefixed import PrefixedStore


def test_counts_are_exact() -> None:
    store = CountedStore(MemoryStore())
    store.put("a", b"12345", create_only=True)
    with pytest.raises(ObjectExists):
        store.put("a", b"123", create_only=True)
    store.put("a", b"1234567890")
    store.get("a", start=2, length=3)
    with pytest.raises(ObjectNotFound):
        store.get("b")
    store.list("")
    store.list("", foreign=True)
    tag = store.head("a").tag
    store.put("a", b"12", replacing=tag)
    store.delete("a")
    store.delete_many([f"n{number}" for number in range(1001)])
    expected = Counts(
        gets=2, heads=1, puts=2, creates=2, deletes=1, bulk_deletes=2, lists=2, bytes_read=3, bytes_written=20
    )
    assert store.counts == expected
    assert store.counts.requests == 12


def test_a_difference_counts_what_lies_between() -> None:
    store = CountedStore(MemoryStore())
    store.put("a", b"x")
    before = store.counts
    store.get("a")
    assert store.counts - before == Counts(gets=1, bytes_read=1)


def test_counts_are_exact_under_threads() -> None:
    store = CountedStore(MemoryStore())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"n{number}", b"abc"), range(2000)))
    assert store.counts == Counts(puts=2000, bytes_written=6000)


def test_a_sub_root_sees_only_its_own() -> None:
    whole = MemoryStore("whole")
    part = PrefixedStore(whole, "a/b")
    part.put("x", b"1")
    whole.put("a/bc", b"not below a/b")
    whole.put("a/b", b"not below it either")
    assert whole.get("a/b/x").data == b"1"
    assert [entry.name for entry in part.list("")] == ["x"]
    assert part.list("", after="x") == []
    assert part.url == "memory://whole/a/b"
    whole.plant("a/b//", b"foreign")
    assert [entry.name for entry in part.list("", foreign=True)] == ["/", "x"]
    tag = part.put("x", b"2", replacing=part.head("x").tag)
    assert whole.head("a/b/x").tag == tag
    assert part.name_bytes_max == whole.name_bytes_max - len("a/b/") == 1020
    for name in ("../x", "", "/x"):
        with pytest.raises(InvalidArgument):
            part.get(name)


def test_a_sub_root_keeps_the_options_of_the_url() -> None:
    environment = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    store = open_store("s3://bucket/root?endpoint=http://127.0.0.1:1", environment=environment)
    assert PrefixedStore(store, "sub").url == "s3://bucket/root/sub?endpoint=http://127.0.0.1:1"


def test_memory_stores_are_shared_by_name() -> None:
    open_store("memory://shared-by-name").put("a", b"x")
    assert open_store("memory://shared-by-name").get("a").data == b"x"
    assert open_store("memory://shared-by-name/sub").list("") == []
    with pytest.raises(ObjectNotFound):
        open_store("memory://another-name").get("a")
