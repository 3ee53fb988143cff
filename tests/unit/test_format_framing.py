"""The frame: versions, features, and lengths that lie."""

import hashlib
import struct

import msgpack
import pytest

from agentfs.errors import Corrupt, NewerFormat
from agentfs.format.framing import MAGIC, ObjectKind, open_frame, seal, unpack_map, verify


def sealed(data: bytes) -> bytes:
    """`data` with a right digest behind it."""
    return data + hashlib.sha256(data).digest()


def preamble(*, version: int = 1, kind: int = 3, zero: int = 0, header: int = 1, body: int = 0) -> bytes:
    return struct.pack(">8sHBBIQ", MAGIC, version, kind, zero, header, body)


def test_the_frame_byte_by_byte() -> None:
    data, digest = seal(ObjectKind.STUB, {"a": 1}, [b"body"])
    assert data == sealed(preamble(header=4, body=4) + b"\x81\xa1a\x01" + b"body")
    assert verify(data) == (ObjectKind.STUB, digest)
    frame = open_frame(data, kind=ObjectKind.STUB)
    assert frame.header == {"a": 1}
    assert data[frame.body_start : frame.body_end] == b"body"


def test_a_newer_version_is_told_apart_from_damage() -> None:
    newer = preamble(version=2, kind=77, header=999) + b"whatever comes"
    with pytest.raises(NewerFormat, match=r"format version 2.*upgrade"):
        verify(sealed(newer))
    with pytest.raises(Corrupt):
        verify(sealed(newer)[:-1] + b"x")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>an error body of some length</Message></Error>",
        bytes(100),
        sealed(preamble(version=0) + b"\x80"),
        sealed(preamble(zero=1) + b"\x80"),
        sealed(preamble(kind=4) + b"\x80"),
        sealed(preamble(header=2) + b"\x80"),
        sealed(preamble(body=1) + b"\x80"),
        sealed(preamble(header=0xFFFFFFFF) + b"\x80"),
        sealed(preamble(body=(1 << 64) - 1) + b"\x80"),
        sealed(preamble() + b"\x80" + b"trailing"),
    ],
)
def test_lies_are_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        open_frame(data, kind=ObjectKind.STUB)


@pytest.mark.parametrize(
    "header",
    [
        b"\x90",  # an array
        b"\x01",  # a number
        b"\x81\x01\x01",  # a key that is not text
        b"\x81\xc4\x01a\x01",  # a key of bytes
        b"\x82\xa1a\x01\xa1a\x02",  # a key twice
        b"\x81\xa1a\x81\xa1b",  # cut
        b"\x80\x80",  # more than one value
        b"\x81\xa1\xff\x01",  # not UTF-8
        b"\x81\xa1a\xd6\xff\x00\x00\x00\x00",  # an extension (a timestamp)
        b"\x81\xa1a\xdd\x7f\xff\xff\xff",  # an array of 2**31 - 1
        b"\x81\xa1a\xdf\x7f\xff\xff\xff",  # a map of as many
        b"\x81\xa1a\xc6\x7f\xff\xff\xff",  # bytes of as many
        b"\x81\xa1a" + b"\x91" * 5000 + b"\x90",  # deep
        b"\x81\xa1a\xc1",  # never used
    ],
)
def test_hostile_msgpack_is_corrupt(header: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack_map(header, "it")
    with pytest.raises(Corrupt):
        open_frame(sealed(preamble(header=len(header)) + header), kind=ObjectKind.STUB)


def test_another_kind_is_corrupt() -> None:
    data, _ = seal(ObjectKind.COMMIT, {})
    with pytest.raises(Corrupt, match="it is a commit, not a stub"):
        open_frame(data, kind=ObjectKind.STUB)


@pytest.mark.parametrize("requires", [1, "x", [""], ["A"], [b"x"], ["x" * 65], [["x"]], {}])
def test_malformed_features_are_corrupt(requires: object) -> None:
    header = msgpack.packb({"requires": requires})
    with pytest.raises(Corrupt):
        open_frame(sealed(preamble(header=len(header)) + header), kind=ObjectKind.STUB)


def test_a_header_beyond_the_limit_is_not_written() -> None:
    with pytest.raises(ValueError, match="the most"):
        seal(ObjectKind.STUB, {"a": bytes(64 * 1024 * 1024)})
