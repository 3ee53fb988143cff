"""What a second review of the view suspected: what a file loses on its way through the bucket, and outsiders' puts
that count as seen, or never (docs/view.md, V-80 ff.)."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outside_world import put
from retention_world import World, world_in
from view_world import PREFIX, Machine, names, wrong

from agentfs.replica import backing
from agentfs.tree.values import AttributeChange
from agentfs.volume.view_words import VIEW_ACCEPT, VIEW_LOOK, VIEW_REBUILD

TEXT = b"# Plan\n\none\ntwo\nthree\n"


@pytest.fixture(autouse=True)
def few_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def look(machine: Machine, times: int = 3) -> dict[str, str]:
    found: dict[str, str] = {}
    for _ in range(times):
        machine.world.clock.now_s += 10
        found |= taken(machine.ask(VIEW_LOOK))
    return found


def taken(report: Any) -> dict[str, str]:
    return {it["name"]: it["what"] for it in report["imported"]}


def kept(world: World, *paths: str, data: bytes = TEXT) -> Machine:
    ann = Machine(world, "ann")
    ann.commit(*paths, data=data)
    ann.keep()
    look(ann)
    return ann


def move(world: World, old: str, new: str) -> None:
    """As `aws s3 mv`."""
    it = world.store.get(PREFIX + old)
    world.store.put(PREFIX + new, it.data, attributes=it.attributes)
    world.store.delete(PREFIX + old)


def mode(machine: Machine, path: str) -> int:
    return machine.node.tree.attributes(machine.node.at(path)).mode & 0o7777


def set_mode(machine: Machine, path: str, mode: int) -> None:
    machine.node.tree.set_attributes(machine.node.at(path), AttributeChange(mode=mode))
    machine.node.sync()


# ---- what a file is, besides its bytes ----


def test_a_move_in_the_bucket_is_a_rename(world: World) -> None:
    ann = kept(world, "a.md", "b.md", "c.md")
    set_mode(ann, "a.md", 0o600)
    number = ann.node.at("a.md")
    move(world, "a.md", "n.md")
    assert look(ann) == {"a.md": "renamed", "n.md": "renamed"}
    assert ann.node.names("") == ["b.md", "c.md", "n.md"]
    assert (ann.node.at("n.md"), mode(ann, "n.md")) == (number, 0o600)
    ann.keep()
    assert wrong(ann) == []


def test_a_move_is_told_by_the_bytes_where_nothing_else_tells(world: World) -> None:
    """`mv` in a directory, or a tool that fetches and puts."""
    ann = kept(world, "a.sh", "b.sh", "c.md", data=b"#!/bin/sh\n")
    ann.commit("b.sh", data=b"#!/bin/sh\nexit\n")
    set_mode(ann, "a.sh", 0o700)
    ann.keep()
    number = ann.node.at("a.sh")
    world.store.put(f"{PREFIX}bin/a.sh", world.store.get(f"{PREFIX}a.sh").data)
    world.store.delete(f"{PREFIX}a.sh")
    assert look(ann) == {"a.sh": "renamed", "bin/a.sh": "renamed"}
    assert (ann.node.at("bin/a.sh"), mode(ann, "bin/a.sh")) == (number, 0o700)
    ann.keep()
    assert wrong(ann) == []


def test_which_of_two_equal_files_was_moved_is_not_guessed(world: World) -> None:
    ann = kept(world, "a.txt", "b.txt", *(f"{number}.md" for number in range(4)))
    for name in ("a.txt", "b.txt"):
        world.store.put(f"{PREFIX}to/{name}", world.store.get(f"{PREFIX}{name}").data)
        world.store.delete(f"{PREFIX}{name}")
    assert look(ann) == {"a.txt": "deleted", "b.txt": "deleted", "to/a.txt": "created", "to/b.txt": "created"}


def test_moves_of_all_do_not_wait_for_somebody_who_accepts_them(world: World) -> None:
    ann = kept(world, "a.md", "b.md", "c.md")
    for name in ("a.md", "b.md", "c.md"):
        move(world, name, f"d/{name}")
    assert set(look(ann)) == {"d/a.md", "d/b.md", "d/c.md"}
    assert ann.node.names("") == ["a.md", "b.md", "c.md", "d"], "the brake holds the deletions"
    assert set(taken(ann.ask(VIEW_ACCEPT))) == {"a.md", "b.md", "c.md"}


def test_a_brake_is_not_lifted_by_what_comes(world: World) -> None:
    """A bucket was emptied; the agent, who knows nothing of it, writes on."""
    ann = kept(world, *(f"{number}.md" for number in range(4)))
    for number in range(4):
        world.store.delete(f"{PREFIX}{number}.md")
    assert look(ann) == {}
    ann.commit("new.md", data=TEXT)
    ann.keep()
    assert look(ann) == {}
    assert len(ann.node.names("")) == 5
    put(world, "0.md", TEXT, keep=False)
    assert "deleted" not in look(ann).values(), "nor by one that somebody puts back"
    ann.ask(VIEW_REBUILD)
    assert look(ann) == {}
    world.store.delete(f"{PREFIX}1.md")
    assert look(ann) == {"1.md": "deleted"}


def test_what_is_kept_beside_a_private_file_is_as_private(world: World) -> None:
    ann = kept(world, "a.bin", data=b"\0zero")
    set_mode(ann, "a.bin", 0o600)
    put(world, "a.bin", b"\0outside")
    ann.commit("a.bin", data=b"\0two")
    assert look(ann) == {"a.bin": "kept aside"}
    assert len(ann.node.names("")) == 2
    assert {mode(ann, name) for name in ann.node.names("")} == {0o600}


@pytest.mark.parametrize("was", [0o700, 0o4755])
def test_an_edit_of_a_removed_file_brings_it_back_as_it_was(world: World, was: int) -> None:
    ann = kept(world, "a.sh", data=b"#!/bin/sh\n")
    set_mode(ann, "a.sh", was)
    put(world, "a.sh", b"#!/bin/sh\necho outside\n")
    ann.node.unlink("a.sh")
    ann.node.sync()
    assert look(ann) == {"a.sh": "created"}
    assert ann.node.read("a.sh") == b"#!/bin/sh\necho outside\n"
    assert mode(ann, "a.sh") == was & 0o777


@pytest.mark.parametrize("claims", [True, False], ids=["an edit", "a new file"])
def test_a_directory_that_comes_back_is_as_private_as_it_was(world: World, claims: bool) -> None:
    ann = kept(world, "b.md")
    ann.node.mkdir("private")
    ann.node.mkdir("private/deep")
    ann.commit("private/deep/a.md", data=TEXT)
    for path, mode_ in (("private", 0o700), ("private/deep", 0o750)):
        set_mode(ann, path, mode_)
    ann.keep()
    look(ann)
    put(world, f"private/deep/{'a' if claims else 'new'}.md", TEXT + b"outside\n")
    ann.node.unlink("private/deep/a.md")
    for path in ("private/deep", "private"):
        ann.node.rmdir(path)
    ann.node.sync()
    assert set(look(ann).values()) == {"created"}
    assert [mode(ann, path) for path in ("private", "private/deep")] == [0o700, 0o750]


# ---- puts that were not taken in, or not for long ----


@pytest.mark.parametrize("how", ["rebuild", "another keeper"])
def test_a_deleted_file_that_was_put_back_lives(world: World, how: str) -> None:
    ann = kept(world, "a.md", "b.md")
    old = world.store.get(PREFIX + "a.md")
    ann.node.unlink("a.md")
    ann.node.sync()
    ann.keep()
    look(ann)
    assert names(world.store) == ["b.md"]
    world.clock.now_s += 3600
    world.store.put(PREFIX + "a.md", old.data, attributes=old.attributes)
    if how == "another keeper":
        ann.drop()
        world.store.delete(PREFIX.replace("spaces/", ".agentfs/spaces/") + "view")
        ann = Machine(world, "bob")
    ann.ask(VIEW_REBUILD)
    assert look(ann) == {"a.md": "created"}
    assert ann.node.names("") == ["a.md", "b.md"]


def test_puts_with_a_time_that_cannot_be_are_told_apart(world: World) -> None:
    """A directory with files of next week, or a machine whose clock is behind."""
    ann = kept(world, "a.bin", data=b"\0zero")
    far = world.clock.wall_ns() / 1e9 + 7 * 86_400
    store: Any = world.store
    for number, data in enumerate((b"\0one", b"\0two", b"\0one")):
        put(world, "a.bin", data, keep=False)
        object_ = store._objects[f"{PREFIX}a.bin"]
        store._objects[f"{PREFIX}a.bin"] = dataclasses.replace(object_, modified_at=far + number)
        assert look(ann) == {"a.bin": "kept aside"}
        ann.keep()
    assert wrong(ann) == []


def test_a_file_becomes_a_directory(world: World) -> None:
    ann = kept(world, "a", "b.md", "c.md", "d.md")
    world.store.delete(f"{PREFIX}a")
    put(world, "a/x.md", b"x\n", keep=False)
    assert look(ann) == {"a": "deleted", "a/x.md": "created"}
    assert ann.node.read("a/x.md") == b"x\n"


def test_what_has_no_place_is_read_once(world: World) -> None:
    ann = kept(world, "a", "b.md")
    put(world, "a/x.md", b"x" * 2000, keep=False)
    assert look(ann) == {}
    assert ann.spent(lambda: look(ann)).bytes_read < 3 * 500, "the mark, and not the object"
    ann.node.unlink("a")
    ann.node.sync()
    ann.keep()
    assert look(ann) == {"a/x.md": "created"}


def test_an_object_of_a_locked_file_that_is_gone_is_a_deletion_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = kept(world, "a.md", "b.md")
    commits = ann.view._looks._bucket._commits
    row = ann.view.table.get("a.md")
    assert row is not None
    monkeypatch.setattr(commits, "_locked", lambda: frozenset((row.file,)))
    world.store.delete(f"{PREFIX}a.md")
    assert look(ann) == {}
    ann.keep()
    assert names(world.store) == ["b.md"]
    monkeypatch.undo()
    assert look(ann) == {"a.md": "deleted"}
