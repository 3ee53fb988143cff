"""Keeping the view: which objects come to be, what each costs, what crashes and other keepers leave."""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from retention_world import World, world_in
from view_world import PREFIX, Machine, names, wrong

from agentfs.format.origins import Origin
from agentfs.replica import backing
from agentfs.view.mark import Mark, MarkFile, decode, encode
from agentfs.view.restoring import restored
from agentfs.view.rules import Rule
from agentfs.volume import view
from agentfs.volume.view_words import VIEW_CHANGE, VIEW_REBUILD, VIEW_STATUS

MARK = ".agentfs/volumes/space-sim/view"


@pytest.fixture(autouse=True)
def few_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def mark(world: World) -> Mark:
    return decode(world.store.get(MARK).data, volume="space-sim")


def test_every_file_has_an_object_and_a_thousand_writes_are_one(world: World) -> None:
    ann = Machine(world, "ann")
    ann.node.mkdir("notes")
    ann.commit("notes/a.md", "b.bin", data=b"# A\n")
    assert names(world.store) == []
    ann.keep()
    assert wrong(ann) == []
    made = world.store.get(f"{PREFIX}notes/a.md")
    assert made.attributes["content-type"] == "text/markdown; charset=utf-8"
    assert made.attributes["agentfs-version"] == "1" and made.attributes["agentfs-author"] == "ann"
    for number in range(20):
        ann.commit("notes/a.md", data=b"%d" % number)
    cost = ann.spent(ann.keep)
    assert (cost.puts, cost.creates, cost.deletes, cost.lists, cost.heads) == (1, 0, 0, 0, 0)
    means = restored(b"notes/a.md", *_object(world, "notes/a.md"))
    assert (means.data, means.edited) == (b"19", False)
    assert means.was is not None and means.was.version == 21


def _object(world: World, name: str) -> tuple[bytes, dict[str, str]]:
    found = world.store.get(PREFIX + name)
    return found.data, dict(found.attributes)


def test_what_changes_attributes_only_writes_nothing(world: World) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md")
    ann.keep()
    ann.node.chmod("a.md", 0o600)
    ann.node.sync()
    cost = ann.spent(ann.keep)
    assert (cost.puts, cost.creates) == (0, 0)
    assert wrong(ann) == []


def test_a_directory_of_fifty_files_is_renamed_for_fifty_four_requests(world: World) -> None:
    ann = Machine(world, "ann")
    ann.node.mkdir("old")
    ann.commit(*(f"old/{number}.md" for number in range(50)))
    ann.keep()
    ann.node.rename("old", "new")
    ann.node.sync()
    cost = ann.spent(lambda: ann.keep(3))
    assert (cost.creates, cost.lists, cost.bulk_deletes, cost.requests) == (50, 1, 1, 54)
    assert wrong(ann) == []
    means = restored(b"new/7.md", *_object(world, "new/7.md"))
    assert means.was is not None and (means.was.version, means.was.author) == (1, "ann")


def test_names_follow_the_files(world: World) -> None:
    """Hard links, deletions, an editor that saves by renaming, a directory in the place of a file, a swap."""
    ann = Machine(world, "ann")
    ann.commit("a.md", "b.md", "c")
    ann.keep()
    ann.node.link("a.md", "also a.md")
    ann.node.unlink("b.md")
    ann.node.unlink("c")
    ann.node.mkdir("c")
    ann.commit("c/inside.txt", "temporary", data=b"new")
    ann.keep()
    assert wrong(ann) == []
    assert names(world.store) == ["a.md", "also a.md", "c/inside.txt", "temporary"]
    ann.node.rename("temporary", "a.md")
    ann.node.sync()
    ann.keep()
    assert wrong(ann) == [] and ann.view.table.held() == {}
    ann.node.rename("a.md", "x")
    ann.node.rename("also a.md", "a.md")
    ann.node.rename("x", "also a.md")
    ann.node.unlink("c/inside.txt")
    ann.node.rmdir("c")
    ann.commit("c", data=b"a file again")
    ann.keep()
    assert wrong(ann) == [] and ann.view.table.held() == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no end",
        b"---\r\ntitle: x\r\n---\r\ntext\r\n",
        b"\xef\xbb\xbf# bom\n",
        b"---\na: [\n---\n",
        b"\xff\x00.md",
    ],
)
def test_bytes_go_out_as_they_are(world: World, data: bytes) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", "back\\slash\n.md", data=data)
    ann.keep()
    assert wrong(ann) == []


def test_large_files_and_long_names(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentfs.volume.view_keeping.FILE_BYTES_MAX", 300_000)
    monkeypatch.setattr("agentfs.volume.view_status.FILE_BYTES_MAX", 300_000)
    ann = Machine(world, "ann")
    ann.commit("chunks.bin", data=b"x" * 299_999)
    ann.commit("large.bin", data=b"x" * 300_001)
    deep = "/".join(["d" * 200] * 5)
    for depth in range(1, 6):
        ann.node.mkdir("/".join(["d" * 200] * depth))
    ann.commit(f"{deep}/{'f' * 100}.md")
    ann.keep()
    assert names(world.store) == ["chunks.bin"]
    status = ann.ask(VIEW_STATUS, scan=True)
    assert status["without"] == {
        "large.bin": "larger than 0 MiB",
        f"{deep}/{'f' * 100}.md": "its name is too long for an object",
    }
    ann.commit("chunks.bin", data=b"x" * 300_001)
    ann.keep()
    assert names(world.store) == []


def test_rules_say_what_is_shown_and_how(world: World) -> None:
    ann = Machine(world, "ann")
    ann.node.mkdir("lists")
    ann.commit("lists/a.md", "b.md", "c.log")
    ann.keep()
    ann.ask(VIEW_CHANGE, rules=[["lists/", "plain"], ["*.log", "none"]])
    ann.keep()
    assert names(world.store) == ["b.md", "lists/a.md"]
    assert world.store.get(f"{PREFIX}lists/a.md").data == b"# note\n"
    assert b"agentfs:" in world.store.get(f"{PREFIX}b.md").data
    assert mark(world).rules == (Rule("lists/", "plain"), Rule("*.log", "none"))
    cost = ann.spent(lambda: ann.ask(VIEW_CHANGE, rules=[]))
    assert cost.puts == 1
    ann.keep()
    assert wrong(ann) == [] and len(names(world.store)) == 3
    assert b"agentfs:" in world.store.get(f"{PREFIX}lists/a.md").data


# ---- keepers ----


def test_one_engine_keeps_the_view_and_another_takes_over(world: World) -> None:
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("a.md")
    ann.keep()
    first = mark(world)
    assert first.author == "ann" and first.keeper
    bob.node.sync()
    bob.keep(30)
    bob.commit("b.md")
    assert bob.spent(lambda: bob.keep(40)).requests == 1  # it looked at the mark
    ann.node.sync()
    ann.keep(90)
    assert wrong(ann) == [] and mark(world).through == 2
    bob.keep(700)
    assert mark(world).author == "ann"
    bob.commit("c.md")
    bob.keep(120)
    assert mark(world).author == "ann"
    bob.keep(180)
    assert mark(world).author == "bob" and wrong(bob) == []
    # The first one comes back, hears of it with its next mark, and lets it be.
    ann.node.sync()
    ann.commit("d.md")
    ann.keep(90)
    assert mark(world).author == "bob" and not ann.view.keeping
    bob.node.sync()
    bob.keep(90)
    assert wrong(bob) == [] and bob.view.table.held() == {}
    assert bob.view.settled


def test_who_ends_says_so_and_nobody_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "_END_SECONDS", 60.0)  # however slow the machine is
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("a.md")
    ann.keep()
    ann.view.start(ann.node.engine)
    ann.commit("b.md", data=b"# last words\n")
    ann.view.close()
    assert mark(world).keeper == ""
    bob.node.sync()
    assert wrong(bob) == []
    bob.commit("c.md")
    bob.keep(3)
    assert mark(world).author == "bob" and wrong(bob) == []


def test_two_that_both_believe_to_keep_it_do_no_harm(world: World) -> None:
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("a.md", "b.md")
    ann.keep()
    bob.node.sync()
    ask = bob.view._opened(bob.node.engine)
    ask.look()
    assert ask.take_over(())  # as if the other had been asleep
    for number in range(3):
        ann.commit("a.md", data=b"ann %d" % number)
        bob.node.sync()
        bob.keep(3)
        ann.keep(3)
        bob.node.rename("b.md", "c.md")
        bob.node.rename("a.md", "b.md")
        bob.commit("a.md", data=b"bob %d" % number)
        ann.node.sync()
        ann.keep(3)
        bob.keep(3)
        assert wrong(bob) == []
        assert ann.view.table.held() == {} and bob.view.table.held() == {}
        bob.node.rename("c.md", "d.md")
        bob.commit("c.md", data=b"third")
        ann.node.sync()
    ann.keep(90)
    bob.keep(90)
    assert wrong(ann) == []
    assert [ann.view.keeping, bob.view.keeping].count(True) == 1


def test_a_fork_has_no_view_until_somebody_wants_it(world: World) -> None:
    """By the engine's log: a fork's begins in another volume."""
    ann = Machine(world, "ann")
    ann.commit("a.md")
    ann.node.engine.ground.log.origins = (Origin("home-other", 1),)
    assert ann.spent(lambda: ann.keep(500)).requests == 1
    ann.node.engine.ground.log.origins = ()


def test_lazily_means_minutes_later_and_off_means_never(world: World) -> None:
    ann = Machine(world, "ann", view="lazy")
    ann.commit("a.md")
    ann.keep(10)
    ann.commit("a.md", data=b"more")
    ann.keep(200)
    ann.keep(400)
    assert wrong(ann) == [] and mark(world).mode == "lazy"
    ann.ask(VIEW_CHANGE, mode="off")
    ann.commit("b.md")
    ann.keep(1000)
    assert names(world.store) == ["a.md"]
    ann.ask(VIEW_CHANGE, mode="on")
    ann.keep()
    assert wrong(ann) == []
    assert not Machine(world, "off", view="off").view.enabled


# ---- crashes ----


class Killed(BaseException):
    pass


POINTS = ("view.begun", "view.put", "view.tabled", "view.delete", "view.deleted")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("other", [False, True], ids=["it comes back", "another machine"])
def test_a_crash_at_any_point_is_repaired(world: World, point: str, other: bool) -> None:
    armed: list[str] = []

    def failpoint(name: str) -> None:
        if name in armed:
            raise Killed

    ann = Machine(world, "ann", failpoint=failpoint)
    ann.node.mkdir("d")
    ann.commit("d/1.md", "d/2.bin", "e.md")
    ann.keep()
    bob = Machine(world, "bob")
    bob.keep()
    ann.node.rename("d", "f")
    ann.commit("f/1.md", "g.md", data=b"second")
    armed.append(point)
    with pytest.raises(Killed):
        ann.keep()
    ann.drop()
    bob.node.sync()
    if not other:
        again = Machine(world, "ann")
        again.commit("f/2.bin", "g.md", data=b"third")
        again.keep(3)  # its own mark is no reason to wait
        assert wrong(again) == [] and again.view.table.held() == {}
        return
    bob.commit("f/2.bin", "g.md", data=b"third")
    bob.keep(400)
    assert mark(world).author == "bob"
    assert wrong(bob) == [] and bob.view.table.held() == {}


def test_what_is_known_here_may_be_lost(world: World) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", "b.md")
    ann.keep()
    directory = ann.node.directory
    ann.drop()
    for path in directory.glob("view.db*"):
        path.unlink()
    again = Machine(world, "ann")
    again.commit("b.md", data=b"changed")
    again.node.unlink("a.md")
    again.node.sync()
    again.keep(400)
    assert wrong(again) == []
    means = restored(b"b.md", *_object(world, "b.md"))
    assert means.was is not None and means.was.version == 2


# ---- others ----


def test_nothing_of_another_tool_is_overwritten(world: World) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", "b.md", "c.md")
    ann.keep()
    world.store.put(f"{PREFIX}a.md", b"mine\n")
    world.store.put(f"{PREFIX}b.md", b"mine, too\n")
    world.store.put(f"{PREFIX}new.md", b"and new\n")
    world.store.put(f"{PREFIX}c.md", *_object(world, "c.md")[:1])  # the same bytes: somebody dropped the metadata
    ann.node.unlink("b.md")
    ann.commit("a.md", "new.md", "c.md", data=b"ours\n")
    ann.keep()
    assert [world.store.get(PREFIX + name).data for name in ("a.md", "b.md", "new.md")] == [
        b"mine\n",
        b"mine, too\n",
        b"and new\n",
    ]
    assert set(ann.view.table.held()) == {"a.md", "b.md", "new.md"}
    assert b"ours" in world.store.get(f"{PREFIX}c.md").data
    assert set(ann.ask(VIEW_STATUS)["held"]) == {"a.md", "b.md", "new.md"}
    # Whoever takes it in says what stands there now, and lets the name go.
    found = world.store.get(f"{PREFIX}a.md")
    row = ann.view.table.get("a.md")
    assert row is not None
    ann.view.table.put([dataclasses.replace(row, etag=found.tag, digest=hashlib.sha256(found.data).digest())])
    ann.view.table.release("a.md")
    ann.view.due([row.file])
    ann.keep()
    assert b"ours" in world.store.get(f"{PREFIX}a.md").data


def test_what_is_gone_is_written_again_when_the_file_changes_and_by_a_rebuild(world: World) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", "b.md", "c.md")
    ann.keep()
    for name in ("a.md", "b.md"):
        world.store.delete(PREFIX + name)
    world.store.put(f"{PREFIX}c.md", b"theirs")
    world.store.plant(f"{PREFIX}folder/", b"")
    ann.commit("a.md", data=b"new")
    ann.keep()
    assert names(world.store) == ["a.md", "c.md", "folder/"]
    told = ann.ask(VIEW_REBUILD)
    assert (told["put"], told["files"], set(told["held"])) == (1, 3, {"c.md"})
    assert names(world.store) == ["a.md", "b.md", "c.md", "folder/"]
    assert ann.ask(VIEW_STATUS)["foreign"] == ["folder/"]
    assert world.store.get(f"{PREFIX}c.md").data == b"theirs"


def test_the_status_says_what_is_done_before_the_mark_does(world: World) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md")
    ann.keep()
    ann.commit("b.md")
    ann.keep()
    mark = MarkFile(world.store, "space-sim").read()[0]
    assert mark is not None and mark.through == 1, "it is put once a minute"
    status = ann.ask(VIEW_STATUS)
    assert (status["through"], status["head"]) == (2, 2)
    ann.commit("c.md")
    assert ann.ask(VIEW_STATUS)["through"] < 3, "not written yet"


def test_the_mark_keeps_what_others_know(world: World) -> None:
    file = MarkFile(world.store, "space-sim")
    assert file.read() == (None, "")
    assert file.put(Mark("space-sim", more={"later": [1]}), over=None) is not None
    assert file.put(Mark("space-sim"), over=None) is None
    found, tag = file.change(lambda it: dataclasses.replace(it or Mark("x"), through=7))
    assert found is not None and (found.through, found.more) == (7, {"later": [1]})
    assert file.put(found, over="another") is None
    assert decode(encode(found), volume="space-sim") == found
    assert file.read() == (found, tag)


def test_a_home_that_is_years_old_gets_a_view(world: World) -> None:
    """What was committed before anybody kept a view: the history says who made it."""
    ann = Machine(world, "ann", view="off")
    ann.commit("a.md")
    ann.commit("a.md", "b.md", data=b"two")
    ann.drop()
    bob = Machine(world, "bob")
    bob.keep()
    assert wrong(bob) == []
    means = restored(b"a.md", *_object(world, "a.md"))
    assert means.was is not None
    assert (means.was.version, means.was.author, means.was.sequence) == (2, "ann", 2)
    assert means.was.modified_ns is not None and means.was.created_ns is not None
