"""A directory that one machine moves to an ignored name, which is a removal for others, while another works in it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from invariants import broken
from node import Node, TestClock

from agentfs.replica.check import check
from agentfs.stores.memory import MemoryStore

Pair = tuple[Node, Node]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    clock = TestClock()
    store = MemoryStore(clock=clock)
    a, b = (Node(tmp_path / name, store, clock, agent=name) for name in "ab")
    a.mkdir("p")
    a.mkdir("p/sub")
    for name in ("p/x", "p/sub/x"):
        a.write(name, b"one\n")
    a.sync()
    b.engine.pull_now()
    yield a, b
    a.close()
    b.close()


def files(node: Node) -> dict[str, bytes]:
    return {path.decode(): data for path, (kind, _, data) in node.show().items() if kind == "FILE"}


def meet(pair: Pair) -> None:
    for node in (*pair, *pair):
        node.sync()
        assert broken(node.replica) == check(node.replica) == []


CHANGES: dict[str, tuple[Callable[[Node], None], dict[str, bytes]]] = {
    "a file": (lambda it: it.write("p/y", b"two\n"), {"p/y": b"two\n"}),
    "a file below": (lambda it: it.write("p/sub/y", b"two\n"), {"p/sub/y": b"two\n"}),
    "an edit": (lambda it: it.append("p/x", b"two\n"), {"p/x": b"one\ntwo\n"}),
    "an edit below": (lambda it: it.append("p/sub/x", b"two\n"), {"p/sub/x": b"one\ntwo\n"}),
    "one saved by renaming": (
        lambda it: (it.write("p/t", b"one\ntwo\n"), it.rename("p/t", "p/x"))[0],
        {"p/x": b"one\ntwo\n"},
    ),
    "one that comes in": (lambda it: (it.write("y", b"two\n"), it.rename("y", "p/y"))[0], {"p/y": b"two\n"}),
}


@pytest.mark.parametrize("ignored", ["node_modules", "x.swp"])
@pytest.mark.parametrize("what", CHANGES)
def test_what_is_written_into_it_meanwhile_lives(pair: Pair, what: str, ignored: str) -> None:
    a, b = pair
    change, lives = CHANGES[what]
    a.rename("p", ignored)
    a.write(f"{ignored}/own", b"never leaves\n")
    change(b)
    b.sync()
    a.write("other", b"three\n")
    meet(pair)
    assert files(b) == {**lives, "other": b"three\n"}
    own = {f"{ignored}/x": b"one\n", f"{ignored}/sub/x": b"one\n", f"{ignored}/own": b"never leaves\n"}
    assert files(a) == {**files(b), **own}
    facts = a.replica.pending()
    assert (facts.inodes, facts.dentries) == (0, 0)

    a.rename(ignored, "back")  # and becomes everybody's
    meet(pair)
    assert files(a) == files(b)
    assert files(b)["back/own"] == b"never leaves\n"


def test_what_others_move_lives_and_what_they_remove_is_kept_here(pair: Pair) -> None:
    a, b = pair
    a.rename("p", "node_modules")
    b.rename("p/x", "x")
    b.unlink("p/sub/x")
    b.sync()
    meet(pair)
    assert files(b) == {"x": b"one\n"}
    assert files(a) == {"x": b"one\n", "node_modules/x": b"one\n", "node_modules/sub/x": b"one\n"}
    a.append("x", b"two\n")  # it is no file of this machine alone
    meet(pair)
    assert files(b) == {"x": b"one\ntwo\n"}


@pytest.mark.parametrize("what", ["p", "p/x"])
def test_renamed_there_and_ignored_here(pair: Pair, what: str) -> None:
    a, b = pair
    a.rename(what, "t.swp")
    b.rename(what, "kept")
    b.sync()
    meet(pair)
    assert "kept" in b.names()
    assert files(b) == {path: data for path, data in files(a).items() if not path.startswith("t.swp")}
    assert files(a).keys() >= ({"t.swp/x", "t.swp/sub/x"} if what == "p" else {"t.swp"})


@pytest.mark.parametrize("moves", [False, True], ids=["edited", "renamed"])
@pytest.mark.parametrize("what", ["p", "p/x"])
def test_given_an_ignored_name_and_removed_here(pair: Pair, what: str, *, moves: bool) -> None:
    """It is removed, and no file of this machine alone when it comes back."""
    a, b = pair
    a.rename(what, "t.swp")
    for name in ("t.swp/sub/x", "t.swp/x") if what == "p" else ():
        a.unlink(name)
    for name in ("t.swp/sub", "t.swp") if what == "p" else ():
        a.rmdir(name)
    if what == "p/x":
        a.unlink("t.swp")
    path = "kept" if moves else "p/x"
    if moves:
        b.rename("p/x", path)
    else:
        b.append(path, b"two\n")
    b.sync()
    meet(pair)
    assert files(a) == files(b)
    was = files(b)[path]
    assert was == (b"one\n" if moves else b"one\ntwo\n")
    a.append(path, b"three\n")
    meet(pair)
    assert files(b)[path] == was + b"three\n"
