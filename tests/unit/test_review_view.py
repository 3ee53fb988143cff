"""What a review of the view suspected: an outsider's bytes that go unseen, an agent's files that go by mistake, what
comes back from the dead, and objects that are in the way of all others (docs/view.md)."""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside_world import put
from retention_world import World, world_in
from view_world import PREFIX, Machine, names, wrong

from agentfs.errors import Corrupt, StoreDenied
from agentfs.replica import backing
from agentfs.stores.memory import MemoryStore
from agentfs.view.facts import ViewFacts
from agentfs.view.rendering import rendered
from agentfs.volume.view_words import VIEW_CHANGE, VIEW_LOOK, VIEW_REBUILD

TEXT = b"# Plan\n\none\ntwo\nthree\n"


@pytest.fixture(autouse=True)
def few_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def look(machine: Machine, times: int = 3) -> list[object]:
    """Looks, far enough from each other to believe what is gone."""
    found: list[object] = []
    for _ in range(times):
        machine.world.clock.now_s += 10
        found += machine.ask(VIEW_LOOK)["imported"]
    return found


def take_over(machine: Machine) -> None:
    """As if the keeper had been silent for long."""
    machine.node.engine.pull_now()
    keeper = machine.view._opened(machine.node.engine)
    keeper.look()
    assert keeper.take_over(())


# ---- files that would be deleted by mistake ----


@pytest.mark.parametrize("knows", [False, True], ids=["who looks does not keep it", "and believes to keep it"])
def test_an_object_that_another_keeper_took_away_is_no_deletion(world: World, knows: bool) -> None:
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("a.md", "b.log", data=TEXT)
    ann.keep()
    look(ann)
    take_over(bob)
    bob.ask(VIEW_CHANGE, rules=[["*.log", "none"]])
    bob.keep()
    assert names(world.store) == ["a.md"]
    if not knows:
        ann.view._keeper.keeping = False  # type: ignore[union-attr]
    assert look(ann) == []
    assert sorted(ann.node.names("")) == ["a.md", "b.log"]


def test_a_view_that_was_off_is_no_reason_to_delete(world: World) -> None:
    """Who switches it off tidies up; on again, the objects are written, and no file goes."""
    ann = Machine(world, "ann", view_look=60.0)
    ann.commit("a.md", "b.md", "c.md", data=TEXT)
    ann.keep(30)
    ann.ask(VIEW_CHANGE, mode="off")
    for name in ("a.md", "b.md"):
        world.store.delete(PREFIX + name)
    put(world, "c.md", TEXT + b"outside\n")
    assert [it for it in look(ann) if it["what"] == "deleted"] == []  # type: ignore[index]
    ann.ask(VIEW_CHANGE, mode="on")
    ann.keep(200)
    assert sorted(ann.node.names("")) == ["a.md", "b.md", "c.md"]
    assert ann.node.read("c.md") == TEXT + b"outside\n"
    assert wrong(ann) == []


def test_who_comes_back_as_keeper_believes_what_stands_there(world: World) -> None:
    """The other one was killed between a deletion and the put of the name's next object."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("a.md", data=TEXT)
    ann.keep()
    look(ann)
    take_over(bob)
    bob.keep()
    bob.node.rename("a.md", "b.md")
    bob.node.sync()
    bob.keep()
    assert names(world.store) == ["b.md"]
    bob.node.rename("b.md", "a.md")
    bob.node.sync()
    bob.drop()
    take_over(ann)
    ann.keep()
    assert look(ann) == []
    ann.keep()
    assert ann.node.names("") == ["a.md"]
    assert wrong(ann) == []


def test_a_small_home_has_a_brake_too(world: World) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", "b.md", "c.md", data=TEXT)
    ann.keep()
    look(ann)
    for name in names(world.store):
        world.store.delete(PREFIX + name)
    assert look(ann) == []
    assert ann.ask(VIEW_LOOK)["braked"] == 3
    assert len(ann.node.names("")) == 3


# ---- files that would come back ----


def test_what_a_keeper_left_when_it_died_does_not_come_back(world: World) -> None:
    armed: list[str] = []

    class Killed(BaseException):
        pass

    def failpoint(name: str) -> None:
        if name in armed:
            raise Killed

    ann, bob = Machine(world, "ann", view_look=60.0), Machine(world, "bob", failpoint=failpoint)
    ann.commit("a.md", data=TEXT)
    ann.keep(70)
    take_over(bob)
    bob.node.mkdir("d")
    bob.commit("d/secret.md", "d/more.bin", data=b"secret\n")
    bob.keep()
    assert len(names(world.store)) == 3
    for name in bob.node.names("d"):
        bob.node.unlink(f"d/{name}")
    bob.node.rmdir("d")
    bob.node.sync()
    armed.append("view.delete")
    with pytest.raises(Killed):
        bob.keep()
    bob.drop()
    take_over(ann)
    ann.keep(200)
    assert ann.node.names("") == ["a.md"]
    assert names(world.store) == ["a.md"]


# ---- an outsider's bytes ----


def foreign(path: bytes, data: bytes, *, file: int, sequence: int, volume: str = "space-sim") -> tuple[bytes, dict]:
    """An object as an AgentFS with another store writes it: copied from there, it says to be a version of ours."""
    facts = ViewFacts(volume, file, sequence, hashlib.sha256(data).digest(), author="eve")
    made = rendered(path, data, facts)
    return made.data, {**made.metadata, "content-type": made.content_type}


@pytest.mark.parametrize("sequence", [1, 40])
@pytest.mark.parametrize("same", [True, False], ids=["the same file", "another file"])
def test_an_object_from_another_store_is_no_version_of_ours(world: World, same: bool, sequence: int) -> None:
    """`aws s3 cp` from the bucket of another installation, where the volume has the same name."""
    ann = Machine(world, "ann")
    ann.commit("other.md", data=b"first\n")
    ann.commit("a.md", data=TEXT)
    ann.keep()
    file = ann.node.at("a.md") if same else 77 << 24
    row = ann.view.table.get("a.md")
    assert row is not None
    file = row.file if same else (77 << 24) + 1
    data, attributes = foreign(b"a.md", b"from elsewhere\n", file=file, sequence=sequence)
    world.store.put(f"{PREFIX}a.md", data, attributes=attributes)
    ann.commit("a.md", data=TEXT + b"four\n")
    ann.keep()
    look(ann)
    ann.keep()
    assert wrong(ann) == []
    kept = b"".join(ann.node.read(name) for name in ann.node.names(""))
    assert b"from elsewhere\n" in kept


def test_and_is_not_deleted_with_the_file(world: World) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", "b.md", data=TEXT)
    ann.keep()
    row = ann.view.table.get("a.md")
    assert row is not None
    data, attributes = foreign(b"a.md", b"from elsewhere\n", file=row.file, sequence=1)
    world.store.put(f"{PREFIX}a.md", data, attributes=attributes)
    ann.node.unlink("a.md")
    ann.node.sync()
    ann.keep()
    look(ann)
    ann.keep()
    assert b"from elsewhere\n" in b"".join(ann.node.read(name) for name in ann.node.names(""))


def test_a_rebuild_keeps_what_was_not_taken_in_yet(world: World) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", "b.bin", "c.md", data=TEXT)
    ann.keep()
    put(world, "a.md", TEXT + b"outside\n")
    put(world, "b.bin", b"\0outside", keep=False)
    put(world, "new.txt", b"new\n", keep=False)
    ann.ask(VIEW_REBUILD)
    look(ann)
    ann.keep()
    assert ann.node.read("a.md") == TEXT + b"outside\n"
    assert ann.node.read("new.txt") == b"new\n"
    assert b"\0outside" in [ann.node.read(name) for name in ann.node.names("")]
    assert wrong(ann) == []


@pytest.mark.parametrize("rule", ["none", "large"])
def test_a_file_without_an_object_is_not_overwritten_by_who_cannot_see_it(
    world: World, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", data=TEXT)
    ann.keep()
    if rule == "none":
        ann.ask(VIEW_CHANGE, rules=[["*.bin", "none"]])
    else:
        monkeypatch.setattr("agentfs.volume.view_keeping.FILE_BYTES_MAX", 100)
        monkeypatch.setattr("agentfs.volume.view_import.FILE_BYTES_MAX", 100)
    ann.commit("k.bin", data=b"\0the agent's" * 20)
    ann.keep(100)
    assert names(world.store) == ["a.md"]
    put(world, "k.bin", b"\0outside", keep=False)
    look(ann)
    ann.keep()
    assert ann.node.read("k.bin") == b"\0the agent's" * 20
    assert b"\0outside" in [ann.node.read(name) for name in ann.node.names("")]


# ---- objects in the way of others ----


class Sick:
    """A store on which one object cannot be read."""

    def __init__(self, store: MemoryStore, error: Exception) -> None:
        self._store, self._error = store, error

    def get(self, name: str, **how: object) -> object:
        if name.endswith("sick.md"):
            raise self._error
        return self._store.get(name, **how)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


@pytest.mark.parametrize("error", [StoreDenied("archived"), Corrupt("other bytes")])
def test_one_object_that_cannot_be_read_keeps_nobody_up(tmp_path: Path, error: Exception) -> None:
    with world_in(tmp_path) as world:
        ann = Machine(world, "ann", store=Sick(world.store, error))  # type: ignore[arg-type]
        ann.commit("a.md", data=TEXT)
        ann.keep()
        put(world, "sick.md", b"x")
        put(world, "a.md", TEXT + b"outside\n")
        put(world, "z.md", b"z")
        found = look(ann)
        assert {it["name"] for it in found} == {"a.md", "z.md"}  # type: ignore[index]


@pytest.mark.parametrize(
    "data",
    [
        b"---\nagentfs: " + b"[" * 50_000 + b"\n---\n",
        b"---\nagentfs:\n  sha256: " + b"{" * 50_000 + b"\n---\n",
        b"---\n" + b"a: &a [x]\n" + b"b: [" + b"*a," * 20_000 + b"]\n---\n",
        b"---\n" + b"agentfs:\n" * 12_000 + b"---\n",
        b"---\nagentfs:\n" + b"  file: 1-1\n" * 9_000 + b"---\n",
        b"---\nagentfs:\n" + b"".join(b" " * (it % 900) + b"x:\n" for it in range(280)) + b"---\n",
        b"---\nagentfs:\n  version: 9"
        + b"9" * 60_000
        + b"\n  file: 99999999999999-999999999\n  sequence: 1e9\n---\n",
    ],
    ids=range(7),
)
def test_a_hostile_frontmatter_is_text(world: World, data: bytes) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", data=TEXT)
    ann.keep()
    put(world, "h.md", data, keep=False)
    assert [it["name"] for it in look(ann)] == ["h.md"]  # type: ignore[index]
    assert ann.node.read("h.md") == data
    ann.keep()
    assert wrong(ann) == []


def test_many_large_objects_are_not_held_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentfs.volume.view_import._BYTES_AT_ONCE", 100_000, raising=False)
    ann = Machine(world, "ann")
    ann.commit("a.md", data=TEXT)
    ann.keep()
    for number in range(10):
        put(world, f"{number}.bin", b"%d" % number * 50_000, keep=False)
    held: list[int] = []
    real = ann.view._looks._bucket._import

    def watched(engine: object, fresh: list, gone: object, report: object) -> None:
        held.append(sum(len(it.found.data) for it in fresh))
        real(engine, fresh, gone, report)  # type: ignore[arg-type]

    monkeypatch.setattr(ann.view._looks._bucket, "_import", watched)
    assert len(look(ann, 6)) == 10
    assert max(held) <= 150_000


def test_a_time_before_1970_is_taken_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", data=TEXT)
    ann.keep()
    put(world, "a.md", TEXT + b"outside\n")
    name = f"{PREFIX}a.md"
    store = world.store
    store._objects[name] = dataclasses.replace(store._objects[name], modified_at=-86_400.0)  # type: ignore[attr-defined]
    monkeypatch.setattr(ann.view._looks._bucket, "_settle", lambda *_, **__: None)  # as if it had been killed
    assert len(look(ann, 1)) == 1
    assert ann.node.read("a.md") == TEXT + b"outside\n"
    ann.commit("a.md", data=TEXT)
    assert look(ann, 1) == []
    assert ann.node.read("a.md") == TEXT
