"""Carried indexes as bytes: round trips, damage, hostile pages."""

import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfs.errors import AgentFSError, Corrupt, NewerFormat
from agentfs.format import layout
from agentfs.format.carried import (
    CarriedHeader,
    StoredPage,
    decode_carried,
    encode_carried,
    stored_page,
)
from agentfs.format.carried_pages import CarriedFile, CarriedPassage, decode_page, encode_page
from agentfs.format.framing import ObjectKind, pack, seal, unpack_map

HEADER = CarriedHeader("home-a", 7, 5, "ann", "1 llama-2")
times = st.none() | st.integers(-(1 << 63) + 1, (1 << 63) - 1)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
small = st.integers(0, (1 << 32) - 1)
passages = st.tuples(*[small] * 6, times, *[words] * 8).map(CarriedPassage._make)
numbered = (st.integers(1, (1 << 63) - 1), st.binary(min_size=32, max_size=32), words)
bare = st.tuples(*numbered).map(lambda it: CarriedFile(*it, indexed=False))
documents = st.tuples(
    *numbered,
    st.just(value=True),
    st.integers(-(1 << 63), (1 << 63) - 1),
    times,
    times,
    st.none() | st.floats(0, 1),
    *[st.booleans()] * 3,
    st.binary(max_size=20),
    *[words] * 3,
    *[st.lists(words, max_size=3).map(tuple)] * 2,
    st.lists(passages, max_size=3).map(tuple),
).map(CarriedFile._make)
PASSAGE = CarriedPassage(
    3, 3, 10, 22, 4, 5, None, "green tea 茶", "Tea", "ann", "ann", "", "tea md", "drink", "green tea 茶"
)
FILES = [
    CarriedFile(1 << 24, b"d" * 32, "5.1.md", True, 5, None, 9, 0.5, path=b"tea.md", kind="markdown", title="Tea",
                tags=("drink",), links=("b",), passages=(PASSAGE, PASSAGE._replace(said_ns=-1))),
    CarriedFile(2 << 24, b"e" * 32, "5.2.bin", False),
]  # fmt: skip


def made(header: CarriedHeader = HEADER) -> bytes:
    return encode_carried(header, [stored_page(FILES), stored_page(FILES[:1])])


@settings(deadline=None, max_examples=15)
@given(st.lists(st.lists(documents | bare, min_size=1, max_size=4), max_size=3))
def test_what_is_written_is_read(pages: list[list[CarriedFile]]) -> None:
    data = encode_carried(HEADER, [stored_page(it) for it in pages])
    found = decode_carried(data, volume="home-a", sequence=7)
    assert found.header == HEADER
    assert list(found.pages()) == pages
    assert found.files == sum(map(len, pages))


def test_every_bit_that_is_flipped_and_every_cut_is_found() -> None:
    data = made()
    for at in range(len(data)):
        with pytest.raises(AgentFSError):
            decode_carried(
                data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :], volume="home-a", sequence=7
            )
        with pytest.raises(Corrupt):
            decode_carried(data[:at], volume="home-a", sequence=7)


def test_one_of_another_volume_or_place_is_not_used() -> None:
    data = made()
    for volume, sequence in (("home-b", 7), ("home-a", 8)):
        with pytest.raises(Corrupt, match=r"it (belongs to home-a|is of sequence 7)"):
            decode_carried(data, volume=volume, sequence=sequence)
    newer = seal(ObjectKind.INDEX, {"requires": ["tomorrow"]})[0]
    with pytest.raises(NewerFormat):
        decode_carried(newer, volume="home-a", sequence=7)
    pinned = seal(ObjectKind.PIN, {"requires": []})[0]
    with pytest.raises(Corrupt, match="it is a pin, not a index"):
        decode_carried(pinned, volume="home-a", sequence=7)


def hostile(**changes: object) -> bytes:
    """A page with other columns."""
    return pack(unpack_map(encode_page(FILES), "a page") | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": bytes(16)},
        {"id": b"\xff" * 16},
        {"digest": b"d" * 63},
        {"passages": b"\3\0\0\0\0\0\0\0"},
        {"passages": b"\1\0\0\0\1\0\0\0"},
        {"indexed": b"\1\2"},
        {"indexed": b"\0\0"},
        {"importance": b"\0\0\0\0\0\0\0\x40" * 2},
        {"path": [b"a"]},
        {"path": ["a", b""]},
        {"title": [b"a", ""]},
        {"tags": [["a"], "b"]},
        {"tags": [["a"], [b"b"]]},
        {"passage_text": ["a"]},
        {"passage_text": ["a", None]},
        {"passage_length": b"\0"},
        {"said_ns": b""},
    ],
)
def test_a_hostile_page(changes: dict[str, object]) -> None:
    assert decode_page(encode_page(FILES), files=2, passages=2) == FILES
    with pytest.raises(Corrupt):
        decode_page(hostile(**changes), files=2, passages=2)


def test_a_page_costs_no_more_than_it_declares() -> None:
    raw = bytes(1 << 20)
    for page in (
        StoredPage(1, 0, 4096, zlib.compress(raw)),
        StoredPage(1, 0, 4096, b"no stream" * 99),
        StoredPage(1, 0, 4, zlib.compress(b"1234") + b"more"),
        StoredPage(1, 0, 9, zlib.compress(b"1234")),
    ):
        found = decode_carried(encode_carried(HEADER, [page]), volume="home-a", sequence=7)
        with pytest.raises(Corrupt, match="a carried index of home-a is damaged and was not used: a page"):
            list(found.pages())
    with pytest.raises(Corrupt, match="inflated length"):
        bomb = StoredPage(1, 0, 1 << 20, zlib.compress(raw)[:100])
        decode_carried(encode_carried(HEADER, [bomb]), volume="home-a", sequence=7)


def test_what_a_page_cannot_hold_is_not_written() -> None:
    with pytest.raises(ValueError, match="1025 files"):
        stored_page([CarriedFile(1, b"d" * 32, "", False)] * 1025)
    with pytest.raises(ValueError, match="rules are too long"):
        encode_carried(replace(HEADER, rules="x" * 1025), [])


def test_names() -> None:
    prefix = ".agentfs/volumes/home-a/"
    name = layout.index_name(prefix, 12, "1 llama-2")
    assert name.startswith(prefix + "indexes/9999999999999987-")
    assert layout.parse_index_name(prefix, name)[0] == 12
    assert layout.index_name(prefix, 12, "2 llama-2") != name
    assert layout.index_name(prefix, 13, "1 llama-2") < name
    for bad in (
        "indexes/",
        "indexes/12",
        f"indexes/{'0' * 16}-{'A' * 16}",
        f"indexes/{'9' * 16}-{'a' * 16}",
        "log/1",
    ):
        with pytest.raises(Corrupt):
            layout.parse_index_name(prefix, prefix + bad)
