"""Two machines change the same things; the one that comes later rebases (DESIGN, section 6)."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from invariants import broken
from node import Node, TestClock

from agentfs.stores.memory import MemoryStore

Pair = tuple[Node, Node]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two machines with the same tree: d/f, d/g, e/, top."""
    store, clock = MemoryStore(), TestClock()
    a, b = (Node(tmp_path / name, store, clock, agent=name) for name in ("ann", "bob"))
    a.mkdir("d")
    a.mkdir("e")
    a.write("d/f", b"f")
    a.write("d/g", b"g")
    a.write("top", b"top")
    a.sync()
    b.engine.pull_now()
    yield a, b
    for node in (a, b):
        node.close()


def meet(pair: Pair) -> dict[bytes, bytes]:
    """Ann commits first, Bob rebases and commits, Ann pulls. The tree that both show: path → bytes of files."""
    a, b = pair
    for node in (a, b, a):
        node.sync()
        assert broken(node.replica) == []
    assert a.show() == b.show()
    assert not a.engine.status().pending_names and not b.engine.status().pending_inodes
    return {path: data for path, (kind, _, data) in a.show().items() if kind != "DIRECTORY"}


def conflicts(node: Node) -> list[str]:
    return [row[0] for row in node.replica.connection.rows("SELECT kind FROM conflict ORDER BY id")]


def copy_of(files: dict[bytes, bytes], name: bytes) -> bytes:
    found = [path for path in files if path.startswith(name) and b".conflict-bob-" in path]
    assert len(found) == 1, files
    return files[found[0]]


def test_different_files(pair: Pair) -> None:
    a, b = pair
    a.write("d/f", b"ann")
    b.write("d/g", b"bob")
    assert meet(pair) == {b"d/f": b"ann", b"d/g": b"bob", b"top": b"top"}
    assert conflicts(a) == []


def test_edit_against_edit(pair: Pair) -> None:
    a, b = pair
    a.write("d/f", b"\0ann")
    b.write("d/f", b"\0bob")
    files = meet(pair)
    assert files[b"d/f"] == b"\0ann"
    assert copy_of(files, b"d/f") == b"\0bob"
    assert conflicts(a) == conflicts(b) == ["content"]


def test_equal_edits_are_one(pair: Pair) -> None:
    a, b = pair
    a.write("d/f", b"both")
    b.write("d/f", b"both")
    assert meet(pair) == {b"d/f": b"both", b"d/g": b"g", b"top": b"top"}
    assert conflicts(a) == []


@pytest.mark.parametrize("first", ["edit", "delete"])
def test_edit_against_delete(pair: Pair, first: str) -> None:
    editor, deleter = pair if first == "edit" else pair[::-1]
    editor.write("d/f", b"edited")
    deleter.unlink("d/f")
    assert meet(pair)[b"d/f"] == b"edited"


@pytest.mark.parametrize("first", ["edit", "rename"])
def test_rename_against_edit(pair: Pair, first: str) -> None:
    editor, renamer = pair if first == "edit" else pair[::-1]
    editor.write("d/f", b"edited")
    renamer.rename("d/f", "e/h")
    files = meet(pair)
    assert files == {b"d/g": b"g", b"e/h": b"edited", b"top": b"top"}


def test_rename_against_rename(pair: Pair) -> None:
    a, b = pair
    a.rename("d/f", "d/ann")
    b.rename("d/f", "d/bob")
    files = meet(pair)
    assert b"d/bob" in files and b"d/ann" not in files
    assert conflicts(a) == ["rename"]


def test_rename_of_a_directory_against_rename(pair: Pair) -> None:
    a, b = pair
    a.rename("d", "ann")
    b.rename("d", "e/bob")
    assert set(meet(pair)) == {b"e/bob/f", b"e/bob/g", b"top"}


@pytest.mark.parametrize("first", ["rename", "delete"])
def test_rename_against_delete(pair: Pair, first: str) -> None:
    renamer, deleter = pair if first == "rename" else pair[::-1]
    renamer.rename("d/f", "e/h")
    deleter.unlink("d/f")
    assert meet(pair)[b"e/h"] == b"f"


@pytest.mark.parametrize("first", ["rename", "delete"])
def test_rename_of_a_directory_against_its_removal(pair: Pair, first: str) -> None:
    renamer, remover = pair if first == "rename" else pair[::-1]
    renamer.rename("d", "e/kept")
    for name in ("d/f", "d/g"):
        remover.unlink(name)
    remover.rmdir("d")
    meet(pair)
    assert "kept" in pair[0].names("e")


def test_the_same_name_created_twice(pair: Pair) -> None:
    a, b = pair
    a.write("new", b"\0ann")
    b.write("new", b"\0bob")
    files = meet(pair)
    assert files[b"new"] == b"\0ann"
    assert copy_of(files, b"new") == b"\0bob"


def test_the_same_file_created_twice(pair: Pair) -> None:
    for node in pair:
        node.write("new", b"same")
        node.symlink("link", b"new")
    assert meet(pair).keys() == {b"d/f", b"d/g", b"top", b"new", b"link"}


def test_directories_unite(pair: Pair) -> None:
    a, b = pair
    for node, name in ((a, "ann"), (b, "bob")):
        node.mkdir("new")
        node.mkdir("new/sub")
        node.write(f"new/{name}", name.encode())
        node.write("new/sub/both", b"\0" + name.encode())
        node.write("new/sub/same", b"same")
    files = meet(pair)
    assert files[b"new/ann"] == b"ann" and files[b"new/bob"] == b"bob"
    assert files[b"new/sub/both"] == b"\0ann"
    assert copy_of(files, b"new/sub/both") == b"\0bob"
    assert files[b"new/sub/same"] == b"same"
    assert len(files) == 8


def test_a_directory_against_a_file(pair: Pair) -> None:
    a, b = pair
    a.mkdir("new")
    a.write("new/x", b"x")
    b.write("new", b"file")
    files = meet(pair)
    assert files[b"new/x"] == b"x"
    assert copy_of(files, b"new") == b"file"


@pytest.mark.parametrize("first", ["create", "remove"])
def test_rmdir_against_create_inside(pair: Pair, first: str) -> None:
    creator, remover = pair if first == "create" else pair[::-1]
    creator.write("e/inside", b"inside")
    remover.rmdir("e")
    assert meet(pair)[b"e/inside"] == b"inside"


@pytest.mark.parametrize("first", ["edit", "remove"])
def test_removal_of_a_tree_against_an_edit_inside(pair: Pair, first: str) -> None:
    editor, remover = pair if first == "edit" else pair[::-1]
    editor.write("d/f", b"edited")
    for name in ("d/f", "d/g"):
        remover.unlink(name)
    remover.rmdir("d")
    assert meet(pair) == {b"d/f": b"edited", b"top": b"top"}


def test_moves_that_would_make_a_circle(pair: Pair) -> None:
    a, b = pair
    a.rename("d", "e/d")
    b.rename("e", "d/e")
    assert set(meet(pair)) == {b"e/d/f", b"e/d/g", b"top"}
    assert "cycle" in conflicts(a)


@pytest.mark.parametrize("first", ["replace", "edit"])
def test_replaced_by_rename_against_an_edit_in_place(pair: Pair, first: str) -> None:
    replacer, editor = pair if first == "replace" else pair[::-1]
    replacer.write("d/f.tmp", b"\0replaced")
    replacer.rename("d/f.tmp", "d/f")
    editor.write("d/f", b"\0edited")
    files = meet(pair)
    assert set(files.values()) == {b"\0replaced", b"\0edited", b"g", b"top"}
    assert len(files) == 4


def test_both_replaced_by_rename(pair: Pair) -> None:
    for node, data in zip(pair, (b"\0ann", b"\0bob"), strict=True):
        node.write("d/f.tmp", data)
        node.rename("d/f.tmp", "d/f")
    files = meet(pair)
    assert files[b"d/f"] == b"\0ann"
    assert copy_of(files, b"d/f") == b"\0bob"


def test_attributes_are_merged(pair: Pair) -> None:
    a, b = pair
    a.chmod("d", 0o700)
    b.write("d/new", b"touches the directory")
    a.chmod("top", 0o600)
    b.write("top", b"bytes")
    meet(pair)
    shown = a.show()
    assert shown[b"d"][1] == 0o700
    assert shown[b"top"] == ("FILE", 0o600, b"bytes")
    assert conflicts(a) == []


def test_both_changed_the_mode(pair: Pair) -> None:
    a, b = pair
    a.chmod("top", 0o600)
    b.chmod("top", 0o400)
    meet(pair)
    assert a.show()[b"top"][1] == 0o400
    assert conflicts(a) == ["attributes"]


def test_xattrs_are_merged_by_name(pair: Pair) -> None:
    a, b = pair
    a.tree.set_xattr(a.at("top"), b"user.ann", b"1", 0)
    b.tree.set_xattr(b.at("top"), b"user.bob", b"2", 0)
    meet(pair)
    assert sorted(a.tree.list_xattrs(a.at("top"))) == [b"user.ann", b"user.bob"]


def test_hard_links_stay_links(pair: Pair) -> None:
    a, b = pair
    a.link("d/f", "e/f")
    b.write("d/f", b"edited")
    meet(pair)
    assert a.read("e/f") == b.read("e/f") == b"edited"
    assert a.at("d/f") == a.at("e/f")


def test_open_for_writing_and_changed_in_the_log(pair: Pair) -> None:
    a, b = pair
    unchanged = b.open("d/f", os.O_WRONLY)
    changed = b.open("d/g", os.O_WRONLY | os.O_APPEND)
    a.write("d/f", b"\0ann")
    a.write("d/g", b"\0ann")
    a.sync()
    b.engine.pull_now()
    assert b.read("d/f") == b"f" and b.read("d/g") == b"g"  # who writes a file sees what he writes
    b.tree.write(changed, 0, b" bob")
    for handle in (unchanged, changed):
        b.tree.flush(handle)
        b.tree.release(handle)
    files = meet(pair)
    assert files[b"d/f"] == files[b"d/g"] == b"\0ann"
    assert copy_of(files, b"d/g") == b"g bob"
    assert len(files) == 4


def test_open_for_reading_keeps_its_bytes(pair: Pair) -> None:
    a, b = pair
    handle = b.open("d/f", os.O_RDONLY)
    a.unlink("d/f")
    a.sync()
    b.engine.pull_now()
    assert "f" not in b.names("d")
    assert b.tree.read(handle, 0, 10) == b"f"
    b.tree.release(handle)
    meet(pair)


def test_local_names_never_leave_and_survive_a_remote_removal(pair: Pair) -> None:
    a, b = pair
    b.write("e/.f.swp", b"swap")
    a.rmdir("e")
    a.sync()
    b.sync()
    assert b.read("e/.f.swp") == b"swap"
    a.engine.pull_now()
    assert all(not path.endswith(b".swp") for path in a.show())
