"""What the names of virtual nodes say, and the tree behind them, without a mount."""

import os
from pathlib import Path

import pytest

from agentfs import errors
from agentfs.fuse.still_tree import VIEWS_MAX, StillTree
from agentfs.history.past import PastInode
from agentfs.model.records import Kind
from agentfs.volume.virtual_names import Query, parse_moment_name, parse_query, parse_word

WORDS = ("history", "recall", "help")
NOW = 1_800_000_000 * 10**9


@pytest.mark.parametrize(
    ("name", "base", "word", "query"),
    [
        (b":help", b"", "help", None),
        (b"notes.md:history", b"notes.md", "history", None),
        (b"a:history:history", b"a:history", "history", None),
        (b"a:b:help", b"a:b", "help", None),
        (b":recall?q=green+tea", b"", "recall", Query("green tea")),
        (b":recall?query=a%2Fb&limit=3", b"", "recall", Query("a/b", {"limit": "3"})),
        (b"x:recall?green+tea", b"x", "recall", Query("green tea")),
        (b":recall?q=what:help", b"", "recall", Query("what:help")),
        (b":recall?tom&jerry", b"", "recall", Query("tom&jerry")),
        (b":recall?", b"", "recall", Query("")),
        (b":recall?q=%ff", b"", "recall", Query("\ufffd")),
    ],
)
def test_words(name: bytes, base: bytes, word: str, query: Query | None) -> None:
    found = parse_word(name, WORDS)
    assert found is not None
    assert (found.base, found.word, found.query) == (base, word, query)


@pytest.mark.parametrize(
    "name", [b":", b"a:", b"history", b"a:histor", b"a:history2", b"a:HELP", b"a:help/", b"a: help"]
)
def test_no_words(name: bytes) -> None:
    assert parse_word(name, WORDS) is None


def test_a_query_in_both_spellings_is_the_short_one() -> None:
    assert parse_query(b"query=long&q=short").text == "short"
    assert parse_query(b"q=1+1%3D2").text == "1 1=2"


@pytest.mark.parametrize(
    ("name", "base", "kind", "number"),
    [
        (b"a@3", b"a", "version", 3),
        (b"a@v3", b"a", "version", 3),
        (b"a@@3", b"a", "sequence", 3),
        (b"@3", b"", "sequence", 3),
        (b"@@3", b"", "sequence", 3),
        (b"me@host@2", b"me@host", "version", 2),
        (b"a@2h", b"a", "time", NOW - 7200 * 10**9),
        (b"a@2026-11-21T10:00Z", b"a", "time", 1795255200 * 10**9),
        (b"a@now", b"a", "now", 0),
        (b"a@before-it", b"a", "snapshot", 0),
        (b"a@snapshot:3", b"a", "snapshot", 0),
        (b"@types", b"", "snapshot", 0),
    ],
)
def test_moments(name: bytes, base: bytes, kind: str, number: int) -> None:
    found = parse_moment_name(name, now_ns=NOW)
    assert found is not None
    assert (found.base, found.moment.kind, found.moment.number) == (base, kind, number)
    assert found.is_certain == (kind != "snapshot")


@pytest.mark.parametrize(
    "name", [b"a", b"a@", b"@", b"@@", b"@v3", b"a@-x", b"a@x y", b"a@\xff", b"a@2026-99-99", b"a@..", b"a@"]
)
def test_no_moments(name: bytes) -> None:
    assert parse_moment_name(name, now_ns=NOW) is None


# ---- the tree ----


def past(inode: int, kind: Kind = Kind.FILE, size: int = 0) -> PastInode:
    return PastInode(inode, kind, 0o755, 1, 2, 3, 4, 5, 0, size, b"", 1)


class Then:
    """A tree with a file in a directory at every moment, and how often something was asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.write_bytes(b"bytes")
        self.listed = self.opened = 0
        self.tree = StillTree(children=self.children, opened=self.open, statistics=lambda: None)

    def children(self, inode: int, _sequence: int) -> list[tuple[bytes, PastInode]]:
        self.listed += 1
        return [(b"f", past(7, size=5)), (b"g", past(7, size=5))] if inode == 1 else []

    def open(self, _inode: int, _sequence: int) -> int:
        self.opened += 1
        return os.open(self.path, os.O_RDONLY)

    def view(self, sequence: int) -> int:
        return self.tree.view(past(1, Kind.DIRECTORY), sequence)


@pytest.fixture
def then(tmp_path: Path) -> Then:
    return Then(tmp_path / "f")


def fetched(then: Then, ino: int) -> None:
    with pytest.raises(errors.NotResident):
        then.tree.lookup(ino, b"f")
    then.tree.hydrate(ino)


def test_a_view_is_shared_and_read_a_directory_at_a_time(then: Then) -> None:
    root = then.view(5)
    assert then.view(5) == root != then.view(6)
    assert then.listed == 0
    fetched(then, root)
    found = then.tree.lookup(root, b"f")
    assert (found.ino, found.mode, found.size_bytes) == (then.tree.lookup(root, b"g").ino, 0o555, 5)
    assert then.listed == 1
    with pytest.raises(errors.NotFound):
        then.tree.lookup(root, b"h")


def test_the_oldest_view_goes_and_one_in_use_stays(then: Then) -> None:
    first = then.view(0)
    fetched(then, first)
    ino = then.tree.lookup(first, b"f").ino
    then.tree.hydrate(ino)
    handle = then.tree.open(ino, os.O_RDONLY)
    second = then.view(1)
    for sequence in range(2, VIEWS_MAX + 2):
        then.view(sequence)
    with pytest.raises(errors.Detached):
        then.tree.attributes(second)
    assert then.tree.read(handle, 1, 3) == b"yte"
    assert then.view(0) == first
    then.tree.release(handle)
    for sequence in range(100, 100 + VIEWS_MAX):
        then.view(sequence)
    with pytest.raises(errors.Detached):
        then.tree.attributes(first)


def test_a_text_is_made_once_and_forgotten_with_its_node(then: Then) -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"text"

    ino = then.tree.add_text(past(0), make)
    assert then.tree.known(ino).size_bytes == 0
    with pytest.raises(errors.NotResident):
        then.tree.attributes(ino)
    then.tree.hydrate(ino)
    assert then.tree.attributes(ino).size_bytes == 4
    handle = then.tree.open(ino, os.O_RDONLY)
    then.tree.forget(ino)
    assert then.tree.read(handle, 0, 10) == b"text"
    then.tree.release(handle)
    assert made == [1]
    assert not then.tree.is_there(ino)


def test_descriptors_are_closed(then: Then) -> None:
    before = len(os.listdir("/proc/self/fd"))
    ino = then.tree.add_file(past(7, size=5), 3)
    for _ in range(3):
        then.tree.hydrate(ino)
    handle = then.tree.open(ino, os.O_RDONLY)
    then.tree.forget(ino)
    then.tree.release(handle)
    assert len(os.listdir("/proc/self/fd")) == before
