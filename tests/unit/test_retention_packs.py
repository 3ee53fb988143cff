"""Packs as bytes, and contents that are found in them."""

import hashlib
import os
from dataclasses import replace

import pytest

from agentfs.errors import Corrupt, ObjectNotFound
from agentfs.format.layout import pack_name
from agentfs.format.pack import Lineage, Pack, State, decode_pack, encode_pack
from agentfs.log.contents import PackIndex
from agentfs.log.log import Log
from agentfs.model.records import CHUNK_BYTES, ChunkedContent
from agentfs.retention.lineages import HistoryWalk
from agentfs.retention.packing import Packing
from agentfs.stores.counted import CountedStore
from agentfs.stores.memory import MemoryStore

VOLUME = "home-packed"
PREFIX = ".agentfs/volumes/home-packed/"


def digest_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def pack_of(*bodies: bytes) -> Pack:
    return Pack(VOLUME, os.urandom(16), 3, 7, tuple((digest_of(it), len(it)) for it in bodies))


def put(store: CountedStore, *bodies: bytes) -> str:
    data, digest = encode_pack(pack_of(*bodies), bodies)
    name = pack_name(PREFIX, digest)
    store.put(name, data)
    return name


@pytest.fixture
def store() -> CountedStore:
    return CountedStore(MemoryStore())


@pytest.mark.parametrize("at", range(0, 400, 9))
def test_a_damaged_pack_is_refused(at: int) -> None:
    data = bytearray(encode_pack(pack_of(b"one", b"two" * 40), [b"one", b"two" * 40])[0])
    data[at % len(data)] ^= 0x40
    with pytest.raises(Corrupt):
        decode_pack(bytes(data), volume=VOLUME)


def test_a_pack_of_another_volume_is_refused() -> None:
    with pytest.raises(Corrupt):
        decode_pack(encode_pack(pack_of(b"one"), [b"one"])[0], volume="home-other")


def test_what_is_not_legal_is_not_written() -> None:
    good = pack_of(b"one")
    for bad in (
        replace(good, first=0),
        replace(good, last=2),
        replace(good, pack_id=b""),
        replace(good, contents=good.contents * 2),
        replace(good, contents=((digest_of(b""), 0),)),
        replace(good, contents=((digest_of(b"x"), 200_000),)),
    ):
        with pytest.raises(ValueError, match=r".+"):
            encode_pack(bad, [b"one"] * len(bad.contents))
    with pytest.raises(Corrupt):
        encode_pack(good, [b"two"])


def test_one_content_is_one_get_and_its_neighbours_one_more(store: CountedStore) -> None:
    bodies = [b"content %d" % number for number in range(3000)]  # the header is longer than the first look
    put(store, *bodies)
    index = PackIndex(store, VOLUME)
    assert index.read(digest_of(bodies[0]), len(bodies[0])) == bodies[0]
    before = store.counts
    for body in bodies:
        assert index.read(digest_of(body), len(body)) == body
    assert (store.counts - before).gets <= 4 and (store.counts - before).lists == 0


def test_a_pack_that_was_replaced_is_looked_for_again(store: CountedStore) -> None:
    old = put(store, b"one", b"two")
    index = PackIndex(store, VOLUME)
    assert index.read(digest_of(b"one"), 3) == b"one"
    put(store, b"two", b"three")
    store.delete(old)
    assert index.read(digest_of(b"two"), 3) == b"two"
    assert index.read(digest_of(b"one"), 3) is None


def test_a_damaged_pack_hides_nothing_of_another(store: CountedStore) -> None:
    name = put(store, b"one")
    put(store, b"two")
    store.put(name, b"damaged")
    index = PackIndex(store, VOLUME)
    assert index.read(digest_of(b"two"), 3) == b"two"
    assert index.read(digest_of(b"one"), 3) is None


def test_other_bytes_in_the_place_of_a_content_are_refused(store: CountedStore) -> None:
    name = put(store, b"one", b"two")
    index = PackIndex(store, VOLUME)
    index.refresh()
    data = store.get(name).data
    store.put(name, data.replace(b"onetwo", b"oneTWO"))
    with pytest.raises(Corrupt):
        index.read(digest_of(b"two"), 3)
    with pytest.raises((Corrupt, ObjectNotFound)):
        index.whole(index.packs[name])


def test_rows_of_huge_files_are_spread_over_packs(store: CountedStore) -> None:
    """A lineage may be longer than the header of one pack."""
    chunks = tuple(number.to_bytes(32, "big") for number in range(300_000))
    huge = ChunkedContent(300_000 * CHUNK_BYTES, bytes(32), chunks)
    states = tuple(State(at, 1, "ann", 1, b"huge", 1 << 24, 0o644, 1, huge) for at in range(1, 6))
    log = Log(store, "home", "packed")
    packing = Packing(store, log, PackIndex(store, VOLUME), os.urandom, 1 << 20, {})
    for _ in packing.rows([Lineage(1, b"huge", states)], []):
        pass
    assert len(packing.put) == 3
    walk = HistoryWalk(3)
    for digest in packing.put:
        walk.know(decode_pack(store.get(pack_name(PREFIX, digest)).data, volume=VOLUME)[0].lineages, ())
    assert walk.lineages == {(1, b"huge"): list(states)}
