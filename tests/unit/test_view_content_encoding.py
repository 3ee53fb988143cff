"""Objects that another tool has put in an encoding (docs/view.md, V-86)."""

import gzip

import pytest

from agentfs.view.content_encoding import EncodingUnknownError, decoded

ZIPPED = gzip.compress(b"text", mtime=0) + gzip.compress(b" and more", mtime=0)


@pytest.mark.parametrize(
    ("name", "data", "encoding", "wanted"),
    [
        ("a.md", b"text", "", b"text"),
        ("a.md", ZIPPED, "gzip", b"text and more"),
        ("a.md", ZIPPED, "X-GZIP, aws-chunked", b"text and more"),
        ("a.md", gzip.compress(b"", mtime=0), "gzip", b""),
        ("a.md", b"text", "gzip", b"text"),
        ("a.md", b"", "gzip", b""),
        ("a.md", ZIPPED, "identity", ZIPPED),
        ("a.md", ZIPPED, "aws-chunked", ZIPPED),
        ("a.tar.gz", ZIPPED, "gzip", ZIPPED),
        ("A.TGZ", ZIPPED, "gzip", ZIPPED),
    ],
    ids=range(10),
)
def test_what_a_reader_sees(name: str, data: bytes, encoding: str, wanted: bytes) -> None:
    assert decoded(name, data, encoding, bytes_max=100) == wanted


@pytest.mark.parametrize(
    ("data", "encoding", "why"),
    [
        (ZIPPED, "br", "is br"),
        (ZIPPED, "gzip, gzip", "is gzip, gzip"),
        (ZIPPED[:-1], "gzip", "end is missing"),
        (ZIPPED + b"something else", "gzip", "damaged"),
        (b"\x1f\x8bnothing", "gzip", "damaged"),
        (gzip.compress(bytes(10_000_000), mtime=0), "gzip", "larger than"),
    ],
    ids=["br", "twice", "cut", "more", "nothing", "large"],
)
def test_what_cannot_be_seen_is_said(data: bytes, encoding: str, why: str) -> None:
    with pytest.raises(EncodingUnknownError, match=why):
        decoded("a.md", data, encoding, bytes_max=1000)
