"""What other tools do in the bucket, taken in by real engines (docs/view.md, V-80 ff.)."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from outside_world import PREFIX, Looker, changes, get, put
from retention_world import World, world_in
from view_world import Machine, names, wrong

from agentfs.errors import StoreUnavailable
from agentfs.stores.counted import CountedStore
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Store
from agentfs.volume.view_words import VIEW_LOOK

Make = Callable[..., Looker]
TEXT = b"# Plan\n\none\ntwo\nthree\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


@pytest.fixture
def looker(world: World) -> Iterator[Make]:
    made: list[Looker] = []

    def make(name: str = "ann", **options: object) -> Looker:
        made.append(Looker.of(world, name, **options))
        return made[-1]

    yield make
    for it in made:
        it.close()


def edit(world: World, name: str, old: bytes, new: bytes) -> None:
    data = get(world, name)
    assert data is not None
    assert data.count(old) == 1
    put(world, name, data.replace(old, new))


def test_put_edit_delete_and_move_from_outside(world: World, looker: Make) -> None:
    ann = looker()
    for path in ("notes/plan.md", "list.txt", "old.md", "moved.md"):
        ann.write(path, TEXT + path.encode())
    ann.publish()
    assert changes(ann.look()) == {}
    edit(world, "notes/plan.md", b"two", b"2")
    put(world, "list.txt", b"other\n", keep=False)
    put(world, "new/deep/file.json", b'{"a": 1}\n')
    moved = world.store.get(PREFIX + "moved.md")
    world.store.put(PREFIX + "there.md", moved.data, attributes=moved.attributes)
    world.store.delete(PREFIX + "moved.md")
    world.store.delete(PREFIX + "old.md")
    number = ann.node.at("moved.md")
    first = ann.look()
    assert changes(first) == {
        "notes/plan.md": "edited", "list.txt": "edited", "new/deep/file.json": "created",
    }  # fmt: skip
    assert sorted(first.waiting) == ["moved.md", "old.md", "there.md"]
    second = ann.look()
    assert changes(second) == {"moved.md": "renamed", "there.md": "renamed", "old.md": "deleted"}
    assert {it.path: it.data for it in ann.node.show().files} if hasattr(ann.node.show(), "files") else True
    assert ann.node.read("notes/plan.md") == TEXT.replace(b"two", b"2") + b"notes/plan.md"
    assert ann.node.read("new/deep/file.json") == b'{"a": 1}\n'
    assert sorted(ann.node.names("")) == ["list.txt", "new", "notes", "there.md"]
    assert number == ann.node.at("there.md")
    assert len(ann.due) >= 4
    ann.publish()
    assert changes(ann.look()) == {}
    assert b"agentfs:" in (get(world, "there.md") or b"")
    world.check()


def test_what_is_pending_here_is_merged_with_it(world: World, looker: Make) -> None:
    ann = looker()
    ann.write("plan.md", TEXT)
    ann.publish()
    edit(world, "plan.md", b"one", b"1")
    ann.node.write("plan.md", TEXT + b"four\n")
    assert changes(ann.look()) == {"plan.md": "edited"}
    ann.node.sync()
    assert ann.node.read("plan.md") == TEXT.replace(b"one", b"1") + b"four\n"


def test_two_machines_that_look_take_each_change_once(world: World, looker: Make) -> None:
    ann, bob = looker("ann"), looker("bob")
    ann.write("log.md", TEXT)
    ann.publish()
    assert changes(bob.look()) == {}
    edit(world, "log.md", b"three\n", b"three\nfour\n")
    head = int(ann.replica.state("head_sequence"))
    assert changes(ann.look()) == {"log.md": "edited"}
    assert changes(bob.look()) == {}
    assert int(bob.replica.state("head_sequence")) == head + 1
    for one in (ann, bob):
        assert one.node.read("log.md") == TEXT + b"four\n"
    bob.write("log.md", TEXT)
    assert changes(ann.look()) == {}, "nobody wrote the object again yet"
    assert ann.node.read("log.md") == TEXT


@pytest.mark.parametrize("point", ["import.put", "import.committed"])
def test_a_machine_that_is_killed_takes_it_in_once(world: World, looker: Make, point: str) -> None:
    class Killed(BaseException):
        pass

    def failpoint(name: str) -> None:
        if name == point and armed:
            raise Killed

    armed: list[bool] = []
    ann, bob = looker("ann", failpoint=failpoint), looker("bob")
    ann.write("log.md", TEXT)
    ann.publish()
    bob.look()
    edit(world, "log.md", b"three\n", b"three\nfour\n")
    armed.append(True)
    with pytest.raises(Killed):
        ann.look()
    armed.clear()
    bob.look()
    ann.look()
    for one in (ann, bob):
        assert one.node.read("log.md") == TEXT + b"four\n"
    assert int(bob.replica.state("head_sequence")) == 2


def test_an_emptied_bucket_is_not_believed(world: World, looker: Make) -> None:
    ann = looker()
    for number in range(12):
        ann.node.write(f"{number}.md", TEXT)
    ann.node.sync()
    ann.publish()
    ann.look()
    names = [f"{number}.md" for number in range(12)]
    for name in names[:11]:
        world.store.delete(PREFIX + name)
    put(world, names[11], b"")
    for _ in range(3):
        report = ann.look()
        assert (report.braked, changes(report)) == (12, {})
    assert sorted(ann.node.names("")) == sorted(names)
    taken = changes(ann.bucket.accept(ann.node.engine))
    assert taken == dict.fromkeys(names[:11], "deleted") | {names[11]: "edited"}
    assert ann.node.names("") == [names[11]]
    assert ann.look().braked == 0


def test_an_emptied_object_is_looked_at_twice(world: World, looker: Make) -> None:
    ann = looker()
    ann.write("a.md", TEXT)
    ann.publish()
    ann.look(seconds=60)
    put(world, "a.md", b"", keep=False)
    report = ann.look()
    assert (report.waiting, changes(report)) == (["a.md"], {})
    assert changes(ann.look()) == {"a.md": "edited"}
    assert ann.node.read("a.md") == b""


def test_a_fresh_object_is_given_time(world: World, looker: Make) -> None:
    ann = looker()
    put(world, "a.md", TEXT)
    report = ann.look(seconds=0)
    assert (report.waiting, changes(report)) == (["a.md"], {})
    put(world, "a.md", TEXT + b"four\n")
    assert ann.look(seconds=1.5).waiting == ["a.md"]
    assert changes(ann.look()) == {"a.md": "created"}
    assert ann.node.read("a.md") == TEXT + b"four\n"


def test_what_is_no_file_is_left_alone_and_read_once(world: World, looker: Make, tmp_path: Path) -> None:
    store = CountedStore(MemoryStore(clock=world.clock))
    with world_in(tmp_path / "counted", store=store) as counted:
        ann = Looker.of(counted, "ann")
        ann.write("d/a.md", TEXT)
        ann.publish()
        for name in ("d", ".DS_Store", "a.md/b.md"):
            counted.store.put(PREFIX + name, b"x")
        counted.store.put(PREFIX + "%%plain.md", b"x")
        report = ann.look()
        assert (report.left, changes(report)) == (3, {"a.md/b.md": "created"})
        ann.publish()
        ann.look()
        before = store.counts.requests
        assert ann.look().left == 3
        assert store.counts.requests - before <= 3, "the log, the listing, and nothing else"
        ann.close()


def test_a_store_that_does_not_answer_loses_nothing(
    world: World, looker: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = looker()
    ann.write("a.md", TEXT)
    ann.publish()
    edit(world, "a.md", b"one", b"1")
    real = world.store.put

    def refused(name: str, *args: object, **options: object) -> str:
        if "/log/" in name:
            raise StoreUnavailable("away")
        return real(name, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "put", refused)
        with pytest.raises(StoreUnavailable):
            ann.look()
    assert changes(ann.look()) == {"a.md": "edited"}
    assert ann.node.read("a.md") == TEXT.replace(b"one", b"1")


def test_names_of_any_kind(world: World, looker: Make) -> None:
    ann = looker()
    names = ["日本/é.md", "a b.md", "100%.txt", "x%%y.md", "q?a=1&b#c.md", "😀/\u202eevil.md"]
    for name in names:
        put(world, name, TEXT)
    assert changes(ann.look()) == dict.fromkeys(sorted(names), "created")
    assert ann.node.read("日本/é.md") == TEXT
    ann.publish()
    assert changes(ann.look()) == {}


def test_the_keeper_looks_and_writes_what_it_took_in(world: World) -> None:
    ann, bob = Machine(world, "ann", view_look=60.0), Machine(world, "bob", view_look=60.0)
    ann.commit("plan.md", "list.txt", "old.md", data=TEXT)
    ann.keep(10)
    edit(world, "plan.md", b"two", b"2")
    put(world, "new.md", b"new\n", keep=False)
    world.store.delete(PREFIX + "old.md")
    ann.commit("list.txt", data=TEXT + b"four\n")
    ann.keep(150)
    assert wrong(ann) == []
    bob.node.engine.pull_now()
    assert {name: bob.node.read(name) for name in bob.node.names("")} == {
        "plan.md": TEXT.replace(b"two", b"2"), "list.txt": TEXT + b"four\n", "new.md": b"new\n",
    }  # fmt: skip
    cost = ann.spent(lambda: ann.keep(600))
    # A look is a listing, where nothing happened; and the mark says every ten minutes that there is a keeper.
    assert (cost.lists, cost.puts, cost.deletes) == (10, 1, 0)


def test_an_outsider_is_faster_than_the_keeper(world: World) -> None:
    """The object was changed, and so was the file: the writer leaves it, and both are in what it writes then."""
    ann = Machine(world, "ann", view_look=300.0)
    ann.commit("plan.md", "x.bin", data=TEXT)
    ann.keep(30)
    edit(world, "plan.md", b"two", b"2")
    put(world, "x.bin", b"\0outside")
    ann.commit("plan.md", data=TEXT + b"four\n")
    ann.commit("x.bin", data=b"\0inside")
    ann.keep(40)
    assert wrong(ann) == []
    assert ann.view.table.held() == {}
    assert ann.node.read("plan.md") == TEXT.replace(b"two", b"2") + b"four\n"
    assert ann.node.read("x.bin") == b"\0inside"
    (copy,) = (name for name in ann.node.names("") if "conflict" in name)
    assert ann.node.read(copy) == b"\0outside"


def test_an_edit_of_what_moved_goes_with_it(world: World) -> None:
    ann = Machine(world, "ann", view_look=60.0)
    ann.commit("a.md", data=TEXT)
    ann.keep(30)
    edit(world, "a.md", b"two", b"2")
    ann.node.rename("a.md", "b.md")
    ann.node.sync()
    ann.keep(150)
    assert wrong(ann) == []
    assert names(world.store) == ["b.md"]
    assert ann.node.read("b.md") == TEXT.replace(b"two", b"2")


def test_a_lock_that_came_while_the_commit_was_made_is_kept(
    world: World, looker: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The locks are read, then another's commit takes one and becomes the head that the tree is of."""
    ann = looker()
    ann.write("a.md", TEXT)
    ann.publish()
    edit(world, "a.md", b"one", b"1")
    real = ann.bucket._commits._tree
    head = int(ann.replica.state("head_sequence"))

    def late(engine: object) -> object:
        tree = real(engine)  # type: ignore[arg-type]
        with ann.replica.transaction(session=0) as tx:
            tx.sql.execute(
                "INSERT OR REPLACE INTO lock SELECT id, 'bob', 1, 30 FROM inode WHERE ino=?", (ann.node.at("a.md"),)
            )
        return tree

    with monkeypatch.context() as patched:
        patched.setattr(type(ann.bucket._commits), "_tree", lambda _self, engine: late(engine))
        report = ann.look()
    assert int(ann.replica.state("head_sequence")) == head, "nothing was committed past the lock"
    assert report.waiting == ["a.md"]


class Blobs:
    """A store that calls `at_put` before each put of a chunk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.at_put: Callable[[], object] = lambda: None
        self.put_names: list[str] = []

    def put(self, name: str, data: bytes, **how: Any) -> str:
        if "/blobs/" in name:
            self.at_put()
            self.put_names.append(name)
        return self._store.put(name, data, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_who_writes_does_not_wait_for_a_large_object(world: World) -> None:
    """Its chunks are put while others have their turn, and once, also if the log has gone on meanwhile."""
    store = Blobs(world.store)
    ann = Machine(world, "ann", store=cast(Store, store))
    ann.commit("plan.md", data=TEXT)
    ann.keep(10)
    written: list[str] = []

    def write() -> None:
        if len(written) < 3:
            written.append(f"note-{len(written)}.md")
            writer = threading.Thread(target=ann.commit, args=(written[-1],), kwargs={"data": TEXT})
            writer.start()
            writer.join(30)
            assert not writer.is_alive(), "it waits for its turn"

    store.at_put = write
    data = bytes(range(256)) * 4096 * 3 + b"end"
    put(world, "large.bin", data, keep=False)
    world.clock.now_s += 6
    assert [it["name"] for it in ann.ask(VIEW_LOOK)["imported"]] == ["large.bin"]
    assert sorted(ann.node.names("")) == sorted([*written, "large.bin", "plan.md"])
    assert ann.node.read("large.bin") == data
    assert len(store.put_names) == len(set(store.put_names)) == 2  # three chunks are the same
