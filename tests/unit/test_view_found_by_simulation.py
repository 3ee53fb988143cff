"""What the seeded simulation found of the view (tests/sim/viewed.py), each in its shortest form."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from retention_world import World, world_in
from view_world import PREFIX, Machine, names, wrong

from agentfs.errors import StoreUnavailable
from agentfs.view.log_files import LogFile
from agentfs.view.shown import Begun, Shown
from agentfs.volume.view_words import VIEW_CHANGE, VIEW_LOOK, VIEW_REBUILD


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as world:
        yield world


def end(machine: Machine) -> None:
    """Its engine ends in good order."""
    assert machine.view._keeper is not None
    machine.view._keeper.tell(ended=True)


def test_the_same_bytes_without_our_facts_get_them(world: World) -> None:
    """Another tool put again what stood there, without its metadata."""
    ann = Machine(world, "ann")
    ann.commit("a.txt")
    ann.keep()
    world.store.put(PREFIX + "a.txt", world.store.get(PREFIX + "a.txt").data)
    ann.ask(VIEW_REBUILD)
    assert wrong(ann) == []
    assert world.store.get(PREFIX + "a.txt").attributes["agentfs-file"]


def test_what_was_forgotten_is_written_by_who_takes_over(world: World) -> None:
    """A keeper that finds objects gone at its start, or when it is told to write all again, dies before it does."""
    for rebuilds in (True, False):
        ann, bob = Machine(world, "ann"), Machine(world, "bob")
        ann.commit("a.txt", "b.md", data=b"%d" % rebuilds)
        ann.keep()
        end(ann)
        if not rebuilds:
            bob.keep(70)
            end(bob)
        keeper = ann.view._opened(ann.node.engine)
        keeper.look()
        if rebuilds:
            keeper.take_over(())
            world.store.delete(PREFIX + "a.txt")
            keeper.again()
        else:
            world.store.delete(PREFIX + "a.txt")
            keeper.take_over(())
        ann.drop()
        bob.drop()
        ann = Machine(world, "ann")
        ann.keep(70)
        assert wrong(ann) == [], f"rebuilds: {rebuilds}"
        ann.drop()


def test_a_keeper_that_could_not_begin_begins_again(world: World) -> None:
    """The store goes away after the mark was put."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("a.txt", "b.md")
    ann.keep()
    end(ann)
    bob.node.engine.pull_now()
    bob.keep(70)
    bob.commit("c.txt")
    end(bob)
    world.store.delete(PREFIX + "a.txt")
    ann.node.engine.pull_now()
    keeper = ann.view._opened(ann.node.engine)
    world.clock.now_s += 600

    def away(_begun: object) -> list[Shown]:
        raise StoreUnavailable("away")

    keeper.writer.settled, settled = away, keeper.writer.settled  # type: ignore[method-assign]
    ann.view.table.begin([Begun(Shown("c.txt", 1, 1, b"", "", 0, None, 0.0), b"")])
    with pytest.raises(StoreUnavailable):
        ann.step()
    keeper.writer.settled = settled  # type: ignore[method-assign]
    ann.keep(70)
    assert wrong(ann) == []


def test_an_object_that_was_held_and_has_gone_is_written_again(world: World) -> None:
    """Another tool changed it, and took it away before anybody took that in; then another machine kept the view."""
    ann = Machine(world, "ann", view_look=60)
    ann.commit("a.txt")
    ann.keep()
    row = ann.view.table.get("a.txt")
    assert row is not None
    ann.view.table.hold("a.txt", "another tool changed it")
    world.store.delete(PREFIX + "a.txt")
    ann.view.table.forget(["a.txt"])
    ann.view.due([row.file])
    ann.keep(200)
    assert wrong(ann) == []


def test_an_object_that_was_deleted_under_another_keeper_is_written_again(world: World) -> None:
    """Nobody took the deletion in, and who keeps the view now never knew the object."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("a.txt")
    ann.keep()
    end(ann)
    bob.node.engine.pull_now()
    bob.keep(70)
    bob.commit("b.txt", "c.txt")
    bob.keep()
    end(bob)
    world.store.delete(PREFIX + "b.txt")
    ann.node.engine.pull_now()
    ann.keep(700)
    assert ann.view.keeping and wrong(ann) == []


def test_a_deletion_and_an_object_that_must_go_in_one_look(world: World) -> None:
    """A file that was renamed was edited at its old name, while another object was deleted."""
    ann = Machine(world, "ann")
    ann.commit("a.txt", "b.txt", "c.txt", "d.txt", data=b"one\n")
    ann.keep()
    world.store.delete(PREFIX + "a.txt")
    ann.ask(VIEW_LOOK)
    ann.node.rename("b.txt", "e.txt")
    ann.node.sync()
    found = world.store.get(PREFIX + "b.txt")
    world.store.put(PREFIX + "b.txt", b"one\ntwo\n", attributes=found.attributes)
    world.clock.now_s += 6
    ann.ask(VIEW_LOOK)
    assert ann.node.read("e.txt") == b"one\ntwo\n"
    ann.keep()
    assert wrong(ann) == []
    assert names(world.store) == ["c.txt", "d.txt", "e.txt"]


def test_who_takes_over_knows_what_the_mark_says_is_written(world: World) -> None:
    """A machine that is behind in the log took the view over, and a file that was written before it knew of it lost
    its object."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob", view_look=20)
    ann.commit("a.txt")
    bob.node.engine.pull_now()
    ann.commit("b.txt", "c.txt")
    ann.keep()
    end(ann)
    keeper = bob.view._opened(bob.node.engine)
    keeper.look()
    keeper.take_over(())
    world.store.delete(PREFIX + "b.txt")
    bob.keep(60)
    assert wrong(bob) == []


def test_an_edit_that_says_nothing_is_of_what_the_bucket_showed(world: World) -> None:
    """The view was minutes behind, and another tool edited what it saw there and left the metadata out."""
    ann = Machine(world, "ann")
    ann.commit("a.txt", data=b"one\n")
    ann.keep()
    ann.commit("a.txt", data=b"one\ntwo\n")
    world.clock.now_s += 300
    world.store.put(PREFIX + "a.txt", b"zero\none\n")
    world.clock.now_s += 10
    ann.ask(VIEW_LOOK)
    assert ann.node.read("a.txt") == b"zero\none\ntwo\n"


def test_who_puts_a_file_that_the_bucket_never_showed_has_not_seen_it(world: World) -> None:
    """Two made the file, one of them in the bucket, before the view was begun."""
    ann = Machine(world, "ann", view_look=20)
    ann.commit("a.txt", data=b"one\n")
    ann.commit("b.bin", data=b"\0one")
    world.clock.now_s += 300
    world.store.put(PREFIX + "a.txt", b"two\n")
    world.store.put(PREFIX + "b.bin", b"\0two")
    ann.keep(60)
    files = {name: ann.node.read(name) for name in ann.node.names()}
    assert b"one\n" in files["a.txt"] and b"two\n" in files["a.txt"]
    assert files.pop("b.bin") == b"\0one" and b"\0two" in files.values()
    assert wrong(ann) == []


def test_an_object_that_was_taken_in_goes_with_its_file_under_another_keeper(world: World) -> None:
    """Its file was deleted before the object was written again, and who keeps the view now does not know it."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob", view_look=20)
    ann.commit("b.txt")
    ann.keep()
    world.store.put(PREFIX + "a.txt", b"put\n")
    world.clock.now_s += 5
    ann.ask(VIEW_LOOK)
    ann.node.unlink("a.txt")
    ann.node.sync()
    end(ann)
    bob.node.engine.pull_now()
    bob.keep(100)
    assert names(world.store) == ["b.txt"] and wrong(bob) == []


def test_who_takes_over_does_not_know_of_what_an_edit_is_that_says_nothing(world: World) -> None:
    """What was committed after `through` may not have been shown by the keeper before."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob", view_look=20)
    ann.commit("a.txt", data=b"one\n")
    ann.keep()
    end(ann)
    ann.commit("a.txt", data=b"one\ntwo\n")
    ann.commit("b.txt", data=b"three\n")
    world.clock.now_s += 300
    world.store.put(PREFIX + "a.txt", b"zero\none\n")
    world.store.put(PREFIX + "b.txt", b"four\n")
    bob.node.engine.pull_now()
    bob.keep(60)
    assert bob.node.read("a.txt") == b"zero\none\ntwo\n"
    assert set(bob.node.read("b.txt").split()) == {b"three", b"four"}
    assert wrong(bob) == []


def test_another_file_at_the_name_of_an_object_that_was_changed_and_deleted_is_written(world: World) -> None:
    """It came while the name was held."""
    ann = Machine(world, "ann", view_look=60)
    ann.commit("a.txt", "b.txt", "c.txt", "d.txt")
    ann.keep()
    ann.view.table.hold("a.txt", "another tool changed it")
    world.store.delete(PREFIX + "a.txt")
    ann.node.unlink("a.txt")
    ann.node.sync()
    ann.commit("a.txt", data=b"another\n")
    keeper = ann.view._opened(ann.node.engine)
    ann.view._take_news(keeper)
    keeper.work(age_s=0.0)
    ann.view._looks._bucket.look_at(ann.node.engine, ["a.txt"])
    ann.keep(200)
    assert ann.node.read("a.txt") == b"another\n" and wrong(ann) == []


def test_rules_that_change_in_the_middle_of_a_round_count_for_what_is_in_it(world: World) -> None:
    """Another machine changed them, and the keeper reads it right before it writes."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("a.txt")
    ann.keep()
    ann.commit("b.bin", "c.txt")
    bob.node.engine.pull_now()
    bob.ask(VIEW_CHANGE, rules=[["*.bin", "none"]])
    ann.keep(20)
    assert names(world.store) == ["a.txt", "c.txt"]


def test_an_edit_that_says_nothing_is_of_what_was_shown_before_the_view_was_switched_off(world: World) -> None:
    """Nobody keeps it, and somebody looks by hand: who kept it last, or another machine."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    for looker in (ann, bob):
        at = "here" if looker is ann else "elsewhere"
        shown, later, unseen = f"shown-{at}.txt", f"later-{at}.txt", f"unseen-{at}"
        ann.ask(VIEW_CHANGE, mode="on")
        ann.commit(shown, data=b"one\n")
        ann.keep(70)
        ann.ask(VIEW_CHANGE, mode="off")
        ann.commit(shown, data=b"one\ntwo\n")
        ann.commit(later, data=b"three\n")
        ann.commit(unseen, data=b"\0one")
        world.clock.now_s += 300
        world.store.put(PREFIX + shown, b"zero\none\n")
        world.store.put(PREFIX + later, b"four\n")
        world.store.put(PREFIX + unseen, b"\0two")
        world.clock.now_s += 10
        looker.ask(VIEW_LOOK)
        assert looker.node.read(shown) == b"zero\none\ntwo\n"
        assert sorted(looker.node.read(later).split()) == [b"four", b"three"]
        assert looker.node.read(unseen) == b"\0one"
        ann.node.engine.pull_now()


def test_rules_that_are_seen_to_have_changed_between_two_puts_count_for_the_whole_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of a batch were long under way, and the mark was read again."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("a.bin")
    ann.keep()
    bob.node.engine.pull_now()
    keeper = ann.view._keeper
    assert keeper is not None
    real = keeper._source.bytes_of

    def slow(files: Sequence[LogFile]) -> Mapping[int, bytes]:
        monkeypatch.undo()
        bob.ask(VIEW_CHANGE, rules=[["*.bin", "none"]])
        world.clock.now_s += 61
        return real(files)

    row = ann.view.table.get("a.bin")
    assert row is not None
    ann.commit("b.txt")
    ann.step()
    monkeypatch.setattr(keeper._source, "bytes_of", slow)
    world.clock.now_s += 2
    ann.view.due([row.file])
    ann.keep(20)
    assert names(world.store) == ["b.txt"]


def test_a_keeper_that_ends_before_it_has_done_all_says_so(world: World) -> None:
    """The rules were changed on another machine, and its engine ended a moment after it had heard of that."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("a.bin")
    ann.commit("b.txt")
    ann.keep()
    bob.node.engine.pull_now()
    bob.ask(VIEW_CHANGE, rules=[["*.bin", "none"]])
    assert ann.view._keeper is not None
    assert not ann.view._keeper._is_still_ours()
    end(ann)
    ann.drop()
    ann = Machine(world, "ann")
    ann.keep()
    assert names(world.store) == ["b.txt"]
