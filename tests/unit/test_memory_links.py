"""Which documents lead to which: paths, names alone, and what may not be read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentfs.memory.documents import document
from agentfs.memory.index import Index
from agentfs.memory.links import Link, links
from agentfs.memory.rows import Entry, Looked
from agentfs.memory.tokens import default_counter


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(str(tmp_path), counter=default_counter())
    yield made
    made.close()


def put(index: Index, **texts: str) -> None:
    """`a__b_md="text"` is the document a/b.md."""
    entries = []
    for ino, (name, text) in enumerate(texts.items(), 10):
        path = name.replace("__", "/").replace("_md", ".md").encode()
        found = document(path, text.encode(), {}, mtime_ns=1)
        assert found is not None
        entries.append(Entry(ino, path, bytes(32), 1, found, Looked(1, "")))
    index.put(entries)


def of(index: Index, path: bytes, **who: object) -> tuple[dict[str, str], tuple[str, ...]]:
    found = links(index, path, now_ns=5, **who)
    return {it.target: it.path for it in found.out}, found.back


def test_paths_and_names(index: Index) -> None:
    put(
        index,
        notes__a_md="[b](b.md) [c](../c.md) [[Deep]] [root](/c.md) [gone](gone.md) [web](https://x.org/c.md)\n",
        notes__b_md="---\nlinks: [notes/a, c.md]\n---\ntext\n",
        c_md="see [[a]]\n",
        x__y__deep_md="[a](../../notes/a.md)\n",
        x__deep_md="100% [[a_]] [[notes/a]]\n",
    )
    out, back = of(index, b"notes/a.md")
    assert out["b.md"] == "notes/b.md"
    assert out["../c.md"] == out["/c.md"] == "c.md"
    assert out["Deep"] == "x/deep.md"
    assert out["gone.md"] == ""
    assert back == ("c.md", "notes/b.md", "x/deep.md", "x/y/deep.md")
    assert of(index, b"c.md") == ({"a": "notes/a.md"}, ("notes/a.md", "notes/b.md"))
    assert links(index, b"nothing.md", now_ns=5).out == ()


def test_what_may_not_be_read_is_not_there(index: Index) -> None:
    put(index, a_md="[b](b.md) [[c]]\n", b_md="[a](a.md)\n", sub__c_md="[a](/a.md)\n")
    assert of(index, b"a.md") == ({"b.md": "b.md", "c": "sub/c.md"}, ("b.md", "sub/c.md"))
    assert of(index, b"a.md", readable=lambda ino: ino == 10) == ({"b.md": "", "c": ""}, ())


def test_what_is_over_is_not_there(index: Index) -> None:
    put(index, a_md="[b](b.md)\n", b_md="---\nexpires: 1970-01-01T00:00:01Z\n---\n[a](a.md)\n")
    assert links(index, b"a.md", now_ns=2 * 10**9).out == (Link("b.md", ""),)
    assert links(index, b"a.md", now_ns=2 * 10**9).back == ()
