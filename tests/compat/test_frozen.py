"""Objects written by format version 1 are read for ever, and written the same today (docs/format.md, F-70)."""

import functools
import hashlib
import zlib

import pytest
from frozen_objects import (
    CONTENTS,
    FOLDER,
    NS,
    VOLUME,
    announcement,
    applied,
    barrier,
    carried,
    commit,
    encoded_objects,
    pack,
    packed_stub,
    pin,
    policy,
    rules,
    snapshot,
    stub,
)

from agentfs.errors import NewerFormat
from agentfs.format import framing
from agentfs.format.carried import decode_carried
from agentfs.format.collection import decode_announcement, decode_policy
from agentfs.format.commit import decode_commit, encode_commit, inline_bytes
from agentfs.format.framing import PREAMBLE_BYTES, open_frame, verify
from agentfs.format.lifecycle import decode_lifecycle
from agentfs.format.pack import decode_index, decode_pack, index_bytes
from agentfs.format.pin import decode_pin
from agentfs.format.snapshot import decode_snapshot
from agentfs.format.store_file import decode_store_file, new_store_file
from agentfs.format.stub import decode_stub
from agentfs.model.records import InlineContent

FROZEN = {
    "applied.bin": "2a1d4f095025774309d247e80bd2a43eb129fcddbbb973af112e020b5f2f7571",
    "announcement.bin": "171e63474b79b0966bb6b0f35a5155e76b1bef01b52304206953f8e88640bbf3",
    "barrier.bin": "70e554e3764e864aec79f856d275cdd5256cb0a691b9de64382cb7012a56363b",
    "index.bin": "3c8484ece83802af0dd1a7517c27d4e3b5877b161c4eeec8ddfaece310dd73a8",
    "lifecycle.bin": "b751eb9bb1d9f1e5df38255fcbdef3490d5bf640acede5718b1d2b9096b762e7",
    "pack.bin": "d6bf89741338f164d38a8d68c1d5cab32345759d9add5e823f3b53196b60e3a7",
    "packed-stub.bin": "e8d89a0e5c058cc27438b50e50293eab53807387e2735c838f686826902d3895",
    "pin.bin": "eb99bb126eb6b376968c86d971c38de423874d338a1a3203a7d4fe9228cf4257",
    "policy.bin": "97c4ce98f30d969f9818cc0ad83be01eaa696663ace0174f80fc1796a9a9b91a",
    "commit.bin": "76e0816f9c9a7b6685ac77f392ea07f4fc6b6216bfc9d7f4cb95c3cffec76b42",
    "snapshot.bin": "cd363d7e7835a1983825f1eb55fcca57a6837e24fc897b658fb5e1a8d0af29f9",
    "store.json": "95574974b1e09db96cd895409fd8e03cc2e3eee0a158167242af073c4266d0a9",
    "stub.bin": "ee0b855d963b6bee22be277ec18e5923ab89c7175b0b499eebec6763e31722d4",
}


def frozen(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", FROZEN)
def test_the_files_themselves_never_change(name: str) -> None:
    assert hashlib.sha256(frozen(name)).hexdigest() == FROZEN[name]


@pytest.mark.parametrize("name", FROZEN)
def test_todays_encoder_writes_the_same_bytes(name: str) -> None:
    if name in ("snapshot.bin", "index.bin") and not zlib.ZLIB_RUNTIME_VERSION.startswith("1.2"):
        pytest.skip("another deflate may choose other bytes for the same pages")
    assert encoded_objects()[name] == frozen(name)


def test_todays_decoder_reads_the_commit() -> None:
    data = frozen("commit.bin")
    found, digest = decode_commit(data, volume=VOLUME, sequence=2)
    assert found == encode_commit(commit(), CONTENTS).commit
    assert digest == data[-32:]
    for record in found.inodes:
        if record.id in CONTENTS:
            assert isinstance(record.content, InlineContent)
            assert inline_bytes(data, record.content) == CONTENTS[record.id]


def test_todays_decoder_reads_the_carried_index() -> None:
    found = decode_carried(frozen("index.bin"), volume=VOLUME, sequence=2)
    assert (found.header, list(found.pages())) == carried()


def test_todays_decoder_reads_the_snapshot() -> None:
    assert decode_snapshot(frozen("snapshot.bin"), volume=VOLUME) == snapshot()


def test_todays_decoder_reads_the_stub() -> None:
    assert decode_stub(frozen("stub.bin"), volume=VOLUME, sequence=2) == stub()


def test_todays_decoder_reads_the_store_file() -> None:
    assert decode_store_file(frozen("store.json")) == new_store_file(NS)


def test_todays_decoders_read_what_collections_leave() -> None:
    assert decode_commit(frozen("barrier.bin"), volume=VOLUME, sequence=3)[0] == barrier()
    assert decode_stub(frozen("packed-stub.bin"), volume=VOLUME, sequence=2) == packed_stub()
    assert decode_pin(frozen("pin.bin"), volume=VOLUME, kind="fork", name="home-experiment") == pin()
    assert decode_announcement(frozen("announcement.bin"), volume=VOLUME, number=2) == announcement()
    assert decode_policy(frozen("policy.bin"), volume=VOLUME, number=2) == policy()
    assert decode_lifecycle(frozen("lifecycle.bin"), volume=VOLUME, number=2) == rules()
    assert decode_commit(frozen("applied.bin"), volume=VOLUME, sequence=3)[0] == applied()


def test_todays_decoder_reads_the_pack() -> None:
    wanted, bodies = pack()
    data = frozen("pack.bin")
    found, contents = decode_pack(data, volume=VOLUME)
    assert found == wanted and list(contents.values()) == bodies
    index, start = decode_index(data[: index_bytes(data[:PREAMBLE_BYTES])], volume=VOLUME)
    assert index == wanted
    for digest, (offset, size_bytes) in index.places(start).items():
        assert hashlib.sha256(data[offset : offset + size_bytes]).digest() == digest


@pytest.mark.parametrize("name", ["barrier.bin", "pack.bin", "packed-stub.bin", "announcement.bin"])
def test_who_does_not_know_of_collections_must_not_use_what_they_leave(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framing, "check_features", functools.partial(framing.check_features, known=frozenset()))
    with pytest.raises(NewerFormat, match="collection"):
        open_frame(frozen(name), kind=verify(frozen(name))[0])
