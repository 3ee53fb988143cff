"""Requests that arrive minutes after they were given up, and clocks that differ: what they do to a view's files
(docs/view.md, V-81)."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from retention_world import World, world_in
from view_world import PREFIX, Machine, names, wrong
from view_worlds import SECOND_NS, LogWorld, imported, outcomes

from agentfs.replica import backing
from agentfs.stores.memory import MemoryStore
from agentfs.stores.open import open_store
from agentfs.stores.protocol import Store
from agentfs.view.importing import Taken
from agentfs.volume.view_words import VIEW_LOOK

TEXT = b"# Plan\n\none\n"


@pytest.fixture(autouse=True)
def few_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)


class LateDeletions:
    """A store at which each deletion arrives twice, the second time when the test says so."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.late: list[Callable[[], object]] = []

    def delete_many(self, names: Sequence[str]) -> None:
        self.late.append(lambda: self._store.delete_many(names))
        self._store.delete_many(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture
def late(tmp_path: Path) -> Iterator[tuple[World, LateDeletions]]:
    with world_in(tmp_path) as world:
        yield world, LateDeletions(world.store)


def looks(machine: Machine) -> list[dict[str, Any]]:
    """What becomes of what is there, until nothing is waited for."""
    found: list[dict[str, Any]] = []
    for _ in range(4):
        machine.world.clock.now_s += 6
        found += machine.ask(VIEW_LOOK)["imported"]
    return found


@pytest.mark.parametrize("other", [False, True], ids=["its own", "another keeper's"])
def test_a_deletion_that_arrives_after_the_name_came_back_is_nobodys_wish(
    late: tuple[World, LateDeletions], other: bool
) -> None:
    world, store = late
    ann = Machine(world, "ann", store=cast(Store, store))
    ann.node.mkdir("d")
    ann.commit("d/a.md", "b.md", data=TEXT)
    ann.keep()
    ann.node.rename("d", "e")
    ann.node.sync()
    ann.keep()
    assert names(world.store) == ["b.md", "e/a.md"]
    keeper = ann
    if other:
        ann.drop()
        keeper = Machine(world, "bob")
        looks(keeper)
    keeper.node.rename("e", "d")
    keeper.node.sync()
    keeper.keep()
    assert looks(keeper) == []
    store.late[0]()
    assert names(world.store) == ["b.md"]
    assert looks(keeper) == []
    keeper.keep()
    assert (keeper.node.read("d/a.md"), wrong(keeper)) == (TEXT, [])
    # An outsider's deletion, of a name that was never free, and of this one in an hour.
    world.store.delete(f"{PREFIX}b.md")
    assert [it["name"] for it in looks(keeper)] == ["b.md"]
    world.clock.now_s += 3600
    world.store.delete(f"{PREFIX}d/a.md")
    assert [it["name"] for it in looks(keeper)] == ["d/a.md"]


class LatePut:
    """A store at which the first put of `name` arrives a second time, when the test says so."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self.late: Callable[[], object] | None = None

    def put(self, name: str, data: bytes, **how: Any) -> str:
        if name.endswith(self._name) and self.late is None:
            self.late = lambda: self._store.put(name, data, **how)
        return self._store.put(name, data, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_put_of_the_keeper_before_that_arrives_late_brings_nothing_back(tmp_path: Path) -> None:
    """The keeper now has looked, and saw nothing there."""
    with world_in(tmp_path) as world:
        store = LatePut(world.store, "a.md")
        ann = Machine(world, "ann", store=cast(Store, store))
        ann.commit("a.md", "b.md", "c.md", data=TEXT)
        ann.keep()
        ann.node.unlink("a.md")
        ann.node.sync()
        ann.keep()
        ann.drop()
        bob = Machine(world, "bob")
        assert looks(bob) == []
        assert store.late is not None
        store.late()
        assert looks(bob) == []
        bob.keep()
        assert bob.node.names("") == names(world.store) == ["b.md", "c.md"]
        # Later it is somebody who put it back.
        world.clock.now_s += 1200
        assert looks(bob) == []
        store.late()
        assert [it["name"] for it in looks(bob)] == ["a.md"]


class Sleeping:
    """A store after whose first put of `name` the machine falls asleep; `do` is what others do then."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self.do: Callable[[], None] = lambda: None

    def put(self, name: str, data: bytes, **how: Any) -> str:
        tag = self._store.put(name, data, **how)
        if name.endswith(self._name):
            do, self.do = self.do, lambda: None
            do()
        return tag

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_keeper_that_slept_in_the_middle_of_a_round_brings_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes with objects still to be made, of files that another machine has removed or renamed since."""
    monkeypatch.setattr("agentfs.view.writer.PARALLEL", 1)
    with world_in(tmp_path) as world:
        store = Sleeping(world.store, "a.md")
        ann, bob = Machine(world, "ann", store=cast(Store, store)), Machine(world, "bob")
        ann.commit("a.md", "b.md", "c.md", "d.md", data=TEXT)

        def meanwhile() -> None:
            bob.node.engine.pull_now()
            bob.node.unlink("b.md")
            bob.node.rename("c.md", "e.md")
            bob.node.sync()
            world.clock.now_s += 1800
            looks(bob)
            bob.keep()
            assert names(world.store) == ["a.md", "d.md", "e.md"]
            world.clock.now_s += 1800
            assert looks(bob) == []

        store.do = meanwhile
        ann.keep()
        assert looks(bob) == []
        bob.keep()
        assert bob.node.names("") == names(world.store) == ["a.md", "d.md", "e.md"]
        assert wrong(bob) == [] and not ann.view.keeping


def test_who_takes_over_sees_the_end_of_the_log_first(tmp_path: Path) -> None:
    """A machine that had slept made an object of a file that was removed long ago, and died."""
    point: list[str] = []

    def failpoint(name: str) -> None:
        if name in point:
            raise KeyboardInterrupt

    with world_in(tmp_path) as world:
        ann, bob = Machine(world, "ann"), Machine(world, "bob", failpoint=failpoint)
        ann.commit("b.md", data=TEXT)
        ann.keep()
        ann.commit("a.md", data=TEXT)
        bob.node.engine.pull_now()
        ann.node.unlink("a.md")
        ann.node.sync()
        ann.drop()
        world.clock.now_s += 3600
        point.append("view.put")
        for _ in range(3):
            try:
                bob.keep(600)
            except KeyboardInterrupt:
                break
        bob.drop()
        carl = Machine(world, "carl")
        assert looks(carl) == []
        carl.keep()
        assert carl.node.names("") == names(world.store) == ["b.md"]


def test_when_a_file_was_removed_is_told_by_the_store(tmp_path: Path) -> None:
    """The machine that removed it had a clock that is hours behind; a keeper's put arrived a minute later."""
    clock = Ahead(8 * 3600)
    with world_in(tmp_path, store=MemoryStore(clock=clock)) as world:
        clock.behind = world.clock
        store = LatePut(world.store, "a.md")
        ann = Machine(world, "ann", store=cast(Store, store))
        ann.commit("a.md", "b.md", data=TEXT)
        ann.keep()
        ann.node.unlink("a.md")
        ann.node.sync()
        ann.keep()
        ann.drop()
        world.clock.now_s += 60
        assert store.late is not None
        store.late()
        bob = Machine(world, "bob")
        assert looks(bob) == []
        bob.keep()
        assert bob.node.names("") == names(world.store) == ["b.md"]


def test_a_name_that_came_back_with_another_file_too(tmp_path: Path) -> None:
    world = LogWorld(tmp_path / "log")
    world.commit(write={b"a.md": TEXT, b"b.md": TEXT, b"c/d.md": TEXT})
    world.commit(remove=(b"a.md",))
    world.commit(rename={b"c/d.md": b"d.md"})
    world.commit(write={b"a.md": b"new\n"})
    world.commit(rename={b"d.md": b"c/d.md", b"b.md": b"e.md"})
    world.commit(write={b"b.md": b"in between\n"})
    gone = [world.gone(name) for name in (b"a.md", b"c/d.md", b"e.md")]
    soon, later = (imported(world.tree(), [], gone, now_ns=world.now_ns + it * SECOND_NS) for it in (1800, 3700))
    assert outcomes(soon) == {"a.md": Taken.STALE, "c/d.md": Taken.STALE, "e.md": Taken.DELETED}
    assert (
        set(outcomes(later).values()) == {Taken.DELETED} == set(outcomes(imported(world.tree(), [], gone)).values())
    )


def test_a_store_whose_clock_is_a_quarter_of_an_hour_ahead_brings_nothing_back(tmp_path: Path) -> None:
    """What a keeper left when it died seems to be written long after the file had gone."""
    clock = Ahead(14 * 60)
    with world_in(tmp_path, store=MemoryStore(clock=clock)) as world:
        clock.behind = world.clock
        point: list[str] = []

        def failpoint(name: str) -> None:
            if name in point:
                raise KeyboardInterrupt

        ann, bob = Machine(world, "ann", failpoint=failpoint), Machine(world, "bob")
        ann.commit("b.md", data=TEXT)
        ann.keep()
        ann.commit("a.md", data=TEXT)
        point.append("view.put")
        with pytest.raises(KeyboardInterrupt):
            ann.keep()
        ann.drop()
        assert names(world.store) == ["a.md", "b.md"]
        bob.node.sync()
        bob.node.unlink("a.md")
        bob.node.sync()
        world.clock.now_s += 600
        assert looks(bob) == []
        assert (names(world.store), bob.node.names("")) == (["b.md"], ["b.md"])


def test_what_a_keeper_left_in_a_directory_brings_nothing_back(tmp_path: Path) -> None:
    """Objects have no metadata there, and who keeps the view next is another machine."""
    point: list[str] = []

    def failpoint(name: str) -> None:
        if name in point:
            raise KeyboardInterrupt

    with world_in(tmp_path / "machines", store=open_store(f"file://{tmp_path}/store")) as world:
        ann, bob = Machine(world, "ann", failpoint=failpoint), Machine(world, "bob")
        ann.commit("b.md", data=TEXT)
        ann.keep()
        ann.commit("a.bin", data=b"\0one")
        point.append("view.put")
        with pytest.raises(KeyboardInterrupt):
            ann.keep()
        ann.drop()
        assert names(world.store) == ["a.bin", "b.md"]
        bob.node.engine.pull_now()
        bob.node.unlink("a.bin")
        bob.node.sync()
        world.clock.now_s += 600
        assert looks(bob) == []
        bob.keep()
        assert names(world.store) == bob.node.names("") == ["b.md"]


class Ahead:
    """A clock so many seconds ahead of another."""

    def __init__(self, seconds: int) -> None:
        self._ns = seconds * SECOND_NS
        self.behind: Any = None

    def wall_ns(self) -> int:
        return 0 if self.behind is None else self.behind.wall_ns() + self._ns

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)
