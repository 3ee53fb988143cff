"""What a review of the view suspected: an outsider's bytes that go unseen, an agent's files that go by mistake, what
comes back from the dead, and objects that are in the way of all others (docs/view.md)."""

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from outside_world import put
from retention_world import World, world_in
from view_world import PREFIX, Machine, names, wrong

from agentfs.errors import Corrupt, OutcomeUnknown, StoreDenied
from agentfs.replica import backing
from agentfs.stores.local import LocalStore
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Store
from agentfs.view.facts import ViewFacts
from agentfs.view.rendering import rendered
from agentfs.volume.view_words import VIEW_CHANGE, VIEW_LOOK, VIEW_REBUILD, VIEW_STATUS

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
    assert ann.ask(VIEW_STATUS)["braked"] == 3
    assert ann.ask(VIEW_REBUILD)["put"] == 3
    assert ann.ask(VIEW_STATUS)["braked"] == 0, "they are there again"


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


def test_what_its_keeper_left_at_a_name_between_is_not_new(world: World) -> None:
    """The version is older than the name; of a directory that was renamed, too."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.node.mkdir("d")
    ann.commit("a.md", "d/in.md", data=TEXT)
    ann.keep()
    look(ann)
    take_over(bob)
    for old, new in (("a.md", "b.md"), ("d", "e")):
        bob.node.rename(old, new)
    bob.node.sync()
    bob.keep()
    assert names(world.store) == ["b.md", "e/in.md"]
    for old, new in (("b.md", "c.md"), ("e", "f")):
        bob.node.rename(old, new)
    bob.node.sync()
    assert look(ann) == []
    assert sorted(ann.node.names("")) == ["c.md", "f"]


class Late:
    """A store on which the first put of an object is on its way for long."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self.late: Callable[[], object] | None = None

    def put(self, name: str, data: bytes, **how: Any) -> str:
        if name.endswith(self._name) and how.get("create_only") and self.late is None:
            self.late = lambda: self._store.put(name, data, **how)
            raise OutcomeUnknown("no answer")
        return self._store.put(name, data, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_put_that_arrives_after_the_deletion_brings_nothing_back(tmp_path: Path) -> None:
    with world_in(tmp_path) as world:
        store = Late(world.store, "a.md")
        ann = Machine(world, "ann", store=store)
        ann.commit("a.md", "b.md", data=TEXT)
        ann.keep()
        look(ann)
        ann.node.unlink("a.md")
        ann.node.sync()
        ann.keep()
        look(ann)
        assert names(world.store) == ["b.md"]
        assert store.late is not None
        store.late()
        assert look(ann) == []
        ann.keep()
        assert ann.node.names("") == names(world.store) == ["b.md"]


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
    commits = ann.view._looks._bucket._commits
    real = commits.take_in

    def watched(engine: object, objects: list, *arguments: object, **options: object) -> None:
        held.append(sum(len(it.data) for it in objects))
        real(engine, objects, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(commits, "take_in", watched)
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


def test_more_objects_than_one_commit_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentfs.view.importing.OBJECTS_MAX", 2)
    ann = Machine(world, "ann")
    ann.commit("a.md", data=TEXT)
    ann.keep()
    for number in range(20):
        put(world, f"{number:02}.txt", b"%d" % number, keep=False)
    assert len(look(ann, 1)) == 20
    assert len(ann.node.names("")) == 21


def test_held_names_do_not_lift_the_brake(world: World) -> None:
    ann = Machine(world, "ann")
    ann.commit(*(f"{number}.md" for number in range(12)), data=TEXT)
    ann.keep()
    look(ann)
    for name in names(world.store)[1:]:
        world.store.delete(PREFIX + name)
    look(ann)
    bucket = ann.view._looks._bucket
    assert bucket.look_at(ann.node.engine, names(world.store)).outcomes == []
    assert bucket.look_at(ann.node.engine, ["1.md", "2.md", "3.md"]).braked == 0
    assert ann.view._looks.facts(12)["braked"] == 11
    assert len(ann.node.names("")) == 12


def test_numbers_at_their_limits(world: World) -> None:
    ann = Machine(world, "ann")
    ann.commit("a.md", data=TEXT)
    ann.keep()
    for number, (sequence, file) in enumerate([(2**39 - 1, "549755813887-16777215"), (10**12 - 1, "999999999999-1")]):
        block = f"  sequence: {sequence}\n  volume: space-sim\n  file: {file}\n  version: 999999999999\n"
        digest = hashlib.sha256(b"text\n").hexdigest()
        data = f"---\nagentfs:\n{block}  sha256: {digest}\n---\ntext\n".encode()
        put(world, f"{number}.md", data, keep=False)
        put(world, "a.md", data, keep=False)
    found = look(ann)
    ann.keep()
    assert {it["name"] for it in found} == {"0.md", "1.md", "a.md"}  # type: ignore[index]
    assert wrong(ann) == []


# ---- history that was collected ----


def collected(world: World) -> tuple[Machine, dict[str, tuple[bytes, dict[str, str]]]]:
    """A machine whose history begins after what two objects show; and the objects."""
    ann = Machine(world, "ann")
    ann.commit("a.md", "gone.md", "same.md", data=TEXT)
    ann.keep()
    found = {}
    for name in names(world.store):
        it = world.store.get(PREFIX + name)
        found[name] = it.data, dict(it.attributes)
    ann.drop()
    bob = world.node("bob")
    bob.unlink("gone.md")
    for number in range(3):
        bob.write("a.md", TEXT + b"agent %d\n" % number)
        world.clock.now_s += 3600
        bob.sync()
    bob.engine.snapshot()
    world.days(40)
    bob.write("a.md", TEXT + b"agent, last\n")
    bob.sync()
    world.collect("30d")
    assert world.stubs()
    return Machine(world, "cid", view_look=60.0), found


def test_stale_objects_of_a_forgotten_past_are_stale(world: World) -> None:
    cid, _ = collected(world)
    assert cid.node.engine.ground.log is not None
    take_over(cid)
    cid.keep(300)
    assert sorted(cid.node.names("")) == ["a.md", "same.md"]
    assert cid.node.read("a.md") == TEXT + b"agent, last\n"
    assert wrong(cid) == []


def test_an_edit_of_a_forgotten_version_takes_nothing_back(world: World) -> None:
    cid, found = collected(world)
    take_over(cid)
    cid.keep(300)
    data, attributes = found["a.md"]
    world.store.put(f"{PREFIX}a.md", data.replace(b"two", b"2"), attributes=attributes)
    data, attributes = found["same.md"]
    world.store.put(f"{PREFIX}same.md", data.replace(b"two", b"2"), attributes=attributes)
    world.clock.now_s += 60
    cid.keep(300)
    assert cid.node.read("same.md") == TEXT.replace(b"two", b"2")
    everything = [cid.node.read(name) for name in cid.node.names("")]
    assert any(b"agent, last\n" in it for it in everything)
    assert any(b"2\nthree" in it for it in everything)


# ---- a directory as a store ----


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Machine, Path]]:
    (tmp_path / "s").mkdir()
    with world_in(tmp_path, store=LocalStore(str(tmp_path / "s"))) as world:
        ann = Machine(world, "ann")
        world.clock.now_s = time.time()
        ann.commit("a.md", "b.txt", data=TEXT)
        ann.keep()
        look(ann)
        yield ann, tmp_path / "s" / "spaces" / "sim"


def test_a_link_in_the_folder_is_not_followed(folder: tuple[Machine, Path], tmp_path: Path) -> None:
    ann, view = folder
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (view / "new.txt").symlink_to(outside / "secret.txt")
    (view / "a.md").unlink()
    (view / "a.md").symlink_to(outside / "secret.txt")
    (view / "d").symlink_to(outside)
    look(ann)
    assert sorted(ann.node.names("")) == ["a.md", "b.txt"]
    ann.node.mkdir("d")
    ann.commit("a.md", "d/inside.md", "d/secret.txt", data=b"the agent's\n")
    ann.keep(100)
    assert sorted(os.listdir(outside)) == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == "secret"
    assert ann.node.read("a.md") == b"the agent's\n"
    ann.node.unlink("d/secret.txt")
    ann.node.sync()
    ann.keep(100)
    look(ann)
    assert (outside / "secret.txt").read_text() == "secret"
    assert {"a.md", "new.txt"} <= set(ann.ask(VIEW_STATUS)["left_alone"])
    (view / "a.md").unlink()
    (view / "d").unlink()
    ann.keep(100)
    ann.ask(VIEW_REBUILD)
    assert b"the agent's\n" in (view / "a.md").read_bytes()
    assert b"the agent's\n" in (view / "d" / "inside.md").read_bytes()
    assert names(ann.world.store) == ["a.md", "b.txt", "d/inside.md", "new.txt"]


def test_a_program_that_writes_on_and_on(folder: tuple[Machine, Path]) -> None:
    """As `tee` does, which keeps its file open."""
    ann, view = folder
    with open(view / "log.txt", "ab", buffering=0) as log:
        for number in range(3):
            log.write(b"line %d\n" % number)
            look(ann)
            ann.keep(20)
    wanted = b"".join(b"line %d\n" % number for number in range(3))
    look(ann)
    assert ann.node.read("log.txt") == (view / "log.txt").read_bytes() == wanted
    assert sorted(ann.node.names("")) == ["a.md", "b.txt", "log.txt"]
    ann.commit("log.txt", data=wanted + b"the agent's\n")
    ann.keep(20)
    assert (view / "log.txt").read_bytes() == wanted + b"the agent's\n"


def test_a_program_that_writes_on_and_on_in_markdown(folder: tuple[Machine, Path]) -> None:
    """The object has a block, so it is another file each time that it is written: not while somebody has it open."""
    ann, view = folder
    with open(view / "a.md", "ab", buffering=0) as notes:
        notes.write(b"four\n")
        look(ann)
        ann.keep(100)
        assert ann.node.read("a.md") == TEXT + b"four\n"
        assert list(ann.ask(VIEW_STATUS)["stuck"].values()) == [
            f"a program has spaces/sim/a.md in {ann.world.store.url} open for writing"
        ]
        ann.commit("a.md", data=b"top\n" + TEXT + b"four\n")
        ann.keep(100)
        notes.write(b"five\n")
        look(ann)
        ann.keep(100)
        notes.write(b"six\n")
    look(ann)
    ann.keep(100)
    wanted = b"top\n" + TEXT + b"four\nfive\nsix\n"
    assert ann.node.read("a.md") == wanted
    assert (view / "a.md").read_bytes().endswith(b"---\n" + wanted)
    assert ann.ask(VIEW_STATUS)["stuck"] == {}


@pytest.mark.parametrize("name", ["a.md", "b.txt"])
def test_what_a_program_writes_on_and_on_stands_there_once(folder: tuple[Machine, Path], name: str) -> None:
    """The agent has changed the same file, at both ends."""
    ann, view = folder
    with open(view / name, "ab", buffering=0) as program:
        for number in range(4):
            program.write(b"line %d\n" % number)
            look(ann)
            ann.keep(100)
            if number == 1:
                ann.commit(name, data=b"top\n" + ann.node.read(name) + b"the agent's\n")
    look(ann)
    ann.keep(100)
    lines = ann.node.read(name).splitlines()
    assert sorted(lines) == sorted(
        [b"top", *TEXT.splitlines(), b"the agent's", *(b"line %d" % it for it in range(4))]
    )
    assert (view / name).read_bytes().endswith(ann.node.read(name))


@pytest.mark.parametrize("moved", [True, False])
def test_a_program_that_writes_on_where_the_name_goes(folder: tuple[Machine, Path], moved: bool) -> None:
    ann, view = folder
    with open(view / "a.md", "ab", buffering=0) as notes:
        if moved:
            ann.node.rename("a.md", "c.md")
        else:
            ann.node.unlink("a.md")
        ann.node.unlink("b.txt")
        ann.node.sync()
        ann.keep(100)
        assert names(ann.world.store) == (["a.md", "c.md"] if moved else ["a.md"])
        notes.write(b"four\n")
    look(ann)
    ann.keep(100)
    assert {name: ann.node.read(name) for name in ann.node.names("")} == {
        "c.md" if moved else "a.md": TEXT + b"four\n"
    }
    assert ann.ask(VIEW_STATUS)["stuck"] == {} and wrong(ann) == []


def test_a_file_that_nobody_may_read_keeps_nobody_up(folder: tuple[Machine, Path]) -> None:
    ann, view = folder
    os.mkfifo(view / "pipe.md")
    (view / "b.txt").write_bytes(TEXT + b"outside\n")
    (view / "dir.md").mkdir()
    (view / "dir.md" / "in.md").write_bytes(b"in\n")
    os.link(view / "b.txt", view / "also.txt")
    look(ann)
    assert ann.node.read("b.txt") == ann.node.read("also.txt") == TEXT + b"outside\n"
    assert ann.node.read("dir.md/in.md") == b"in\n"
    (view / "also.txt").write_bytes(b"both\n")
    look(ann)
    assert ann.node.read("b.txt") == ann.node.read("also.txt") == b"both\n"
