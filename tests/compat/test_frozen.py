"""Objects written by format version 1 are read for ever, and written the same today (docs/format.md, F-70)."""

import hashlib
import zlib

import pytest
from frozen_objects import CONTENTS, FOLDER, NS, VOLUME, commit, encoded_objects, snapshot, stub

from agentfs.format.commit import decode_commit, encode_commit, inline_bytes
from agentfs.format.snapshot import decode_snapshot
from agentfs.format.store_file import decode_store_file, new_store_file
from agentfs.format.stub import decode_stub
from agentfs.model.records import InlineContent

FROZEN = {
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
    if name == "snapshot.bin" and not zlib.ZLIB_RUNTIME_VERSION.startswith("1.2"):
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


def test_todays_decoder_reads_the_snapshot() -> None:
    assert decode_snapshot(frozen("snapshot.bin"), volume=VOLUME) == snapshot()


def test_todays_decoder_reads_the_stub() -> None:
    assert decode_stub(frozen("stub.bin"), volume=VOLUME, sequence=2) == stub()


def test_todays_decoder_reads_the_store_file() -> None:
    assert decode_store_file(frozen("store.json")) == new_store_file(NS)
