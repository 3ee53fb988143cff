"""The index says what the tree shows: after every kind of change, on two machines, after crashes, in any order."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from unittest import mock

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from memory_world import Indexed
from node import Node, TestClock

from agentfs.errors import AgentFSError, NotFound
from agentfs.replica import backing
from agentfs.stores.counted import CountedStore
from agentfs.stores.memory import MemoryStore
from agentfs.sync.options import EngineOptions

Make = Callable[..., Indexed]
LAZY = EngineOptions(parallel=1, poll_idle_max_s=4, prefetch=False)


@pytest.fixture
def store() -> CountedStore:
    return CountedStore(MemoryStore())


@pytest.fixture
def machine(tmp_path: Path, store: CountedStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)
    made: list[Indexed] = []
    clock = TestClock()

    def make(name: str, *, options: EngineOptions | None = None) -> Indexed:
        made.append(Indexed(Node(tmp_path / name, store, clock, agent=name, options=options)))
        return made[-1]

    yield make
    for it in made:
        it.close()
        it.node.close()


def paths(it: Indexed) -> list[str]:
    return [os.fsdecode(row.path) for row in it.index.documents()]


def test_what_is_written_is_indexed_and_what_changes_is_indexed_anew(machine: Make) -> None:
    it = machine("a")
    it.node.mkdir("notes")
    it.node.write("notes/tea.md", b"# Tea\n\nShe likes green tea.\n")
    it.catch_up()
    assert it.says() == it.should_say()
    assert paths(it) == ["notes/tea.md"]
    it.node.write("notes/tea.md", b"# Tea\n\nShe likes black tea.\n")
    it.node.write("b.txt", b"another")
    it.catch_up()
    assert it.says() == it.should_say()
    it.node.unlink("b.txt")
    it.node.write("notes/tea.md", b"\0\1\2")
    it.catch_up()
    assert it.says() == it.should_say() == {}


@pytest.mark.parametrize(
    "text",
    [
        "---\nexpires: 9999999999\n---\ntea\n",
        "---\nexpires: 9999999999999\n---\ntea\n",
        "---\ncreated: 9999999999999\n---\ntea\n",
        "---\nttl: 105000d\n---\ntea\n",
        "---\nttl: 290y\n---\ntea\n",
        "---\nexpires: 2262-04-11\n---\ntea\n",
        "2262-04-10 23:59 -99:59 tea\n",
        "# 2262-04-10\n\n23:59 -9959 ann: tea\n",
        "# 1677-09-22\n\n00:00 +9959 ann: tea\n",
    ],
)
def test_a_time_beyond_all_others_keeps_no_document_out(machine: Make, text: str) -> None:
    """A number of 64 bits does not hold it. `9999999999` is how some programs write `never`."""
    it = machine("a")
    it.node.write("never.md", text.encode())
    it.node.write("other.md", b"coffee\n")
    it.catch_up()
    assert paths(it) == ["never.md", "other.md"]


def test_nothing_is_read_twice(machine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    it = machine("a")
    for n in range(40):
        it.node.write(f"{n}.md", b"text %d" % n)
    it.node.write("x.bin", b"\0" * 100)
    it.catch_up()
    reads: list[bytes] = []
    read = it.sources.read
    monkeypatch.setattr(it.sources, "read", lambda source, most: (reads.append(source.path), read(source, most))[1])
    it.catch_up()
    assert reads == []
    it.node.chmod("3.md", 0o600)
    it.node.rename("4.md", "new name.md")
    it.node.write("5.md", b"changed")
    it.catch_up()
    assert reads == [b"5.md"]
    it.crash()
    monkeypatch.setattr(it.sources, "read", lambda *_: pytest.fail("read again after a restart"))
    it.catch_up()
    it.crash(era="another boot")
    monkeypatch.setattr(it.sources, "read", lambda *_: pytest.fail("read again after a boot"))
    it.catch_up()
    assert it.says() == it.should_say()


def test_a_directory_that_is_renamed_takes_its_documents_along(machine: Make) -> None:
    it = machine("a")
    it.node.mkdir("a")
    it.node.mkdir("a/b")
    for n in range(50):
        it.node.write(f"a/b/{n}.md", b"text %d" % n)
    it.catch_up()
    it.node.rename("a", "z")
    it.node.write("z/b/0.md", b"written after")
    with mock.patch.object(it.index, "moved", wraps=it.index.moved) as moved:
        it.catch_up()
    assert moved.call_count == 4, "transactions, of 16 files"
    assert it.says() == it.should_say()
    assert all(path.startswith("z/b/") for path in paths(it))


def test_links_and_names(machine: Make) -> None:
    it = machine("a")
    it.node.write("m.md", b"one text")
    it.node.link("m.md", "b.md")
    it.node.symlink("link.md", b"m.md")
    it.node.mkdir("node_modules")
    it.node.write("node_modules/x.md", b"ignored")
    it.node.mkdir(".git")
    it.node.write(".git/HEAD", b"ref: refs/heads/main\n")
    it.catch_up()
    assert paths(it) == ["b.md"]
    it.node.unlink("b.md")
    it.catch_up()
    assert paths(it) == ["m.md"]
    it.node.rename("node_modules", "modules")
    it.catch_up()
    assert paths(it) == ["m.md", "modules/x.md"]


def test_a_file_that_is_being_written_is_indexed_when_it_is_closed(machine: Make) -> None:
    it = machine("a")
    handle = it.node.open("log.md", os.O_CREAT | os.O_WRONLY)
    it.node.tree.write(handle, 0, b"half a")
    it.catch_up()
    assert paths(it) == []
    it.node.tree.write(handle, 6, b" line\n")
    it.node.tree.flush(handle)
    it.node.tree.release(handle)
    it.catch_up()
    assert it.says() == it.should_say()


def test_a_log_that_stays_open_is_indexed_from_time_to_time(machine: Make) -> None:
    it = machine("a")
    handle = it.node.open("log.md", os.O_CREAT | os.O_WRONLY)
    for n in range(20):
        it.node.tree.write(handle, n * 8, b"line %2d\n" % n)
        it.node.settle(2.0)
    it.catch_up()
    assert b"line  9" in it.node.read("log.md")
    assert "line  9" in it.says()[b"log.md"][1][0]
    it.node.tree.flush(handle)
    it.worker.look()
    assert not it.worker.work(1.0, patient=True), "it was looked at a moment ago"
    assert it.worker.behind == 1
    assert it.worker.catch_up(1.0) == 0, "somebody asks"
    it.node.tree.release(handle)


def test_a_file_that_takes_long_is_left_to_those_who_have_the_time(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = machine("a")
    put = it.index.put

    def slow(entries: object, **options: object) -> None:
        put(entries, **options)
        it.node.clock.now_s += 5

    monkeypatch.setattr(it.index, "put", slow)
    it.node.write("log.md", b"a line\n" * 10)
    it.catch_up()
    monkeypatch.setattr(it.index, "put", put)
    it.node.append("log.md", b"another\n")
    it.node.write("note.md", b"small")
    it.worker.look()
    assert not it.worker.work(1.0, patient=True)
    assert paths(it) == ["log.md", "note.md"]
    assert it.worker.behind == 1, "it took long a moment ago"
    assert it.worker.catch_up(2.0) == 1
    assert it.worker.catch_up(60.0) == 0
    assert it.says() == it.should_say()
    monkeypatch.setattr(it.index, "put", slow)
    it.node.append("log.md", b"another\n")
    it.catch_up()
    it.node.append("log.md", b"another\n")
    it.node.clock.now_s += 60
    it.worker.look()
    it.worker.work(1.0, patient=True)
    assert it.worker.behind == 0, "some time later it is looked at all the same"


def test_bytes_that_are_elsewhere_are_fetched_by_the_commit_and_nothing_is_hydrated(
    machine: Make, store: CountedStore
) -> None:
    a, b = machine("a"), machine("b", options=LAZY)
    for n in range(60):
        a.node.write(f"{n}.md", b"text number %d" % n)
    a.node.write("photo.jpg", b"no text" * 100)
    a.node.sync()
    b.node.sync()
    before = store.counts
    b.catch_up()
    requests = (store.counts - before).requests
    assert len(b.index.documents()) == 60
    assert requests <= 2, "one commit holds them all"
    rows = b.node.replica.connection.rows("SELECT count(*) FROM inode WHERE kind=1 AND residency!=0")
    assert rows == [(0,)]
    assert b.says() == {path: said for path, said in a.should_say().items() if path != b"photo.jpg"}


def test_files_whose_bytes_cannot_be_had_wait_and_are_counted(machine: Make) -> None:
    a, b = machine("a"), machine("b", options=LAZY)
    a.node.write("far.md", b"far away")
    a.node.sync()
    b.node.sync()
    b.away = True
    b.node.write("near.md", b"near")
    assert b.worker.catch_up(5.0) == 1
    assert (b.worker.away, b.worker.settled) == (1, True)
    assert "away" in b.worker.problem
    assert paths(b) == ["near.md"]
    b.away = False
    b.node.clock.now_s += 20
    b.catch_up()
    assert b.worker.problem == ""
    assert paths(b) == ["far.md", "near.md"]


def test_a_journal_that_was_trimmed_is_made_up_for(machine: Make) -> None:
    it = machine("a")
    it.node.write("a.md", b"one")
    it.catch_up()
    it.node.write("b.md", b"two")
    it.node.unlink("a.md")
    with it.node.replica.transaction() as tx:
        tx.sql.execute("DELETE FROM journal")
    it.catch_up()
    assert it.says() == it.should_say()
    it.node.write("c.md", b"three")
    with it.node.replica.transaction() as tx:
        tx.sql.execute("DELETE FROM journal")
    it.crash()
    it.catch_up()
    assert it.says() == it.should_say()


def test_an_index_that_is_damaged_or_dropped_is_made_anew(machine: Make) -> None:
    it = machine("a")
    for n in range(30):
        it.node.write(f"{n}.md", b"text %d" % n)
    it.catch_up()
    it.close()
    for suffix in ("-wal", "-shm"):
        Path(it.index.path + suffix).unlink(missing_ok=True)
    Path(it.index.path).write_bytes(b"not a database" * 1000)
    it._open()
    it.catch_up()
    assert it.says() == it.should_say()
    it.worker.start_over()
    it.catch_up()
    assert it.says() == it.should_say()


def test_other_rules_of_reading_make_the_index_anew(machine: Make) -> None:
    it = machine("a")
    it.node.write("a.md", b"one")
    it.catch_up()
    before = it.worker.indexed
    it.crash()
    it.worker._rules = "another version"
    it.catch_up()
    assert before == 1
    assert it.worker.indexed == 1, "looked at again, though it did not change"
    assert it.says() == it.should_say()


def test_a_power_cut_takes_changes_back(machine: Make) -> None:
    it = machine("a")
    it.node.write("a.md", b"one")
    it.catch_up()
    it.node.write("a.md", b"lost")
    it.catch_up()
    ino = it.node.at("a.md")
    with it.node.replica.transaction() as tx:  # as if the last write had never been
        tx.sql.execute("UPDATE inode SET change=change-1, content_change=content_change-1 WHERE ino=?", (ino,))
        tx.sql.execute("DELETE FROM journal WHERE id=(SELECT max(id) FROM journal)")
    it.node.clock.now_s += 5
    Path(it.node.replica.files.path(ino)).write_bytes(b"kept")
    with it.node.replica.transaction() as tx:  # another takes the same numbers
        tx.content_written(ino, size_bytes=4, mtime_ns=it.node.clock.wall_ns(), ctime_ns=it.node.clock.wall_ns())
    it.crash(era="another boot")
    it.catch_up()
    assert it.says() == it.should_say()
    assert "kept" in str(it.says())


# ---- any order ----


class Hand:
    """Does something at random to a machine's tree."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def path(self) -> str:
        deep = self.random.randrange(3)
        above = "".join(f"{self.random.choice('pqr')}/" for _ in range(deep))
        return above + self.random.choice(("a.md", "b.md", "c.txt", "d.json", "x.swp", "p", "q"))

    def act(self, node: Node) -> None:
        kinds = ("write", "write", "write", "append", "rename", "rename", "unlink", "link", "mkdir", "xattr", "chmod")
        kind, path = self.random.choice(kinds), self.path()
        try:
            if kind == "write":
                tag = self.random.choice(("", "---\ntags: [one]\n---\n"))
                node.write(path, f"{tag}# Head\n\ntext {self.random.randrange(1000)}\n".encode())
            elif kind == "append":
                node.append(path, b"more %d\n" % self.random.randrange(1000))
            elif kind == "rename":
                node.rename(path, self.path())
            elif kind == "unlink":
                node.unlink(path)
            elif kind == "link":
                node.link(path, self.path())
            elif kind == "mkdir":
                node.mkdir(self.random.choice(("p", "q", "r", "p/q", "q/r", "r/p")))
            elif kind == "xattr":
                node.tree.set_xattr(node.at(path), FACT, self.random.choice((b"red", b"blue")), 0)
            else:
                node.chmod(path, self.random.choice((0o600, 0o644)))
        except (AgentFSError, NotFound):
            pass  # it is not there, or not so


FACT = b"user.agentfs.tags"


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_changes_on_two_machines_with_crashes(machine: Make, seed: int) -> None:
    random = Random(seed)
    hand = Hand(random)
    machines = [machine("a"), machine("b", options=LAZY)]
    for _ in range(25):
        for it in machines:
            for _ in range(random.randrange(6)):
                hand.act(it.node)
            what = random.randrange(6)
            if what == 0:
                it.crash()
            elif what == 1:
                it.worker.look()
                it.worker.work(0.0)  # a group, and no more
                it.crash()
            elif what == 2:
                it.node.sync()
            elif what == 3:
                it.node.engine.evict(cache_bytes=0)
            elif what == 4:
                it.catch_up()
                assert it.says() == it.should_say()
    for _ in range(2):
        for it in machines:
            it.node.sync()
    for it in machines:
        it.catch_up()
        assert it.says() == it.should_say()
    assert machines[0].says() == machines[1].says()
