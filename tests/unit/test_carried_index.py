"""An index that one machine put is taken in by another: it says what the other's own would, whatever happened
meanwhile."""

import hashlib
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
import fork_worlds
from memory_world import Indexed
from node import Node, TestClock

from agentfs.errors import ObjectNotFound, StoreUnavailable
from agentfs.format import layout
from agentfs.format.carried import CarriedHeader, CarriedIndex, decode_carried, encode_carried, stored_page
from agentfs.format.carried_pages import CarriedFile, CarriedPassage
from agentfs.format.framing import ObjectKind, seal
from agentfs.memory.columns import columns_of
from agentfs.memory.documents import document
from agentfs.memory.facts import Facts
from agentfs.memory.passages import Passage
from agentfs.memory.recalling import recall
from agentfs.memory.results import Asked
from agentfs.memory.rules import DOCUMENT_RULES, document_rules
from agentfs.memory.tokens import default_counter
from agentfs.replica import backing
from agentfs.stores.counted import CountedStore
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Store
from agentfs.sync.options import EngineOptions
from agentfs.volume import carried_index

Make = Callable[..., Indexed]
LAZY = EngineOptions(parallel=1, poll_idle_max_s=4, prefetch=False)
PREFIX = layout.volume_prefix("space", "sim")
DAY_S = 86_400.0
CORPUS = Path(__file__).parents[1] / "corpus" / "documents"
RULES_2 = "1147fae2fc83f48ca0dbe9bd73dc8c242394908da095380fd29b6d40cad5f6c9"


class World:
    """Machines on one store."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.directory = directory
        self.store = CountedStore(store)
        self.clock = TestClock()
        self.made: list[Indexed] = []

    def machine(self, name: str, *, carry: str = "on", **options: str) -> Indexed:
        node = Node(self.directory / name, self.store, self.clock, agent=name, options=LAZY)
        node.engine.bootstrap()
        self.made.append(Indexed(node, carry=carry, **options))
        return self.made[-1]

    def close(self) -> None:
        for it in self.made:
            it.close()
            it.node.close()

    def indexes(self) -> list[str]:
        return [it.name for it in self.store.list(layout.index_prefix(PREFIX))]

    def replace(self, data: bytes) -> None:
        (name,) = self.indexes()
        self.store.put(name, data)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)
    made = World(tmp_path, MemoryStore())
    yield made
    made.close()


def notes(it: Indexed, count: int = 18) -> None:
    """Files of many kinds, some without text."""
    it.node.mkdir("notes")
    for n in range(count):
        it.node.write(
            f"notes/{n}.md",
            b"---\ntags: [tea, n%d]\nimportance: 0.%d\n---\n# Note %d\n\nAbout [[b]].\n" % (n, n % 9, n),
        )
    it.node.write("said.jsonl", b'{"role": "user", "text": "I like oolong", "time": "2023-05-08"}\n')
    it.node.write("chinese.md", "# 风险\n\n猫喜欢绿茶。\n".encode())
    it.node.write("photo.jpg", b"\xff\xd8" + bytes(500))
    it.node.write("empty", b"")
    it.node.write("pinned.md", b"---\npinned: true\nexpires: 2099-01-01\n---\nAlways say please.\n")
    it.node.write("code.py", b"def brew_tea(leaves):\n    return leaves + 'water'\n")
    it.node.sync()


def put(it: Indexed) -> int:
    """Index everything and put what should be put. Returns how many pieces it took."""
    it.catch_up()
    it.node.clock.now_s += 5
    pieces = 0
    while it.carried.piece(it.index, it.sources):
        pieces += 1
    return pieces


def everything(it: Indexed) -> dict[bytes, list[object]]:
    """All that the index holds, without this machine's numbers."""
    found: dict[bytes, list[object]] = {}
    with it.index._file.reading() as sql:
        for row in sql.rows("SELECT * FROM document"):
            found[row[2]] = [row[3:]]
            where = f"WHERE document={row[0]}"
            found[row[2]] += sql.rows(f"SELECT tag, folded FROM tag {where} ORDER BY place")
            found[row[2]] += sql.rows(f"SELECT target FROM link {where} ORDER BY place")
            for passage, *rest in sql.rows(f"SELECT id, * FROM passage {where} ORDER BY ordinal"):
                found[row[2]].append(rest[2:-1])
                words = "SELECT term, col, offset FROM word_at WHERE doc=? ORDER BY col, offset"
                found[row[2]] += sql.rows(words, (passage,))
    return found


def fresh(world: World, name: str) -> Indexed:
    """A machine that makes its own."""
    it = world.machine(name, carry="off")
    it.catch_up()
    return it


def answers(it: Indexed) -> list[object]:
    counter = default_counter()
    found = []
    for question in ("green tea", "猫", "who likes oolong", "brew_tea", "note 17"):
        it_says = recall(it.index, None, counter, Asked(question, now_ns=it.node.clock.wall_ns()))
        found.append([it_says.text, it_says.tokens, *((one.path, one.score, one.text) for one in it_says.found)])
    return found


def same_as_its_own(world: World, it: Indexed) -> None:
    own = fresh(world, "own")
    assert it.says() == it.should_say()
    assert everything(it) == everything(own)
    assert answers(it) == answers(own)


def test_a_new_machine_takes_it_and_reads_no_file(world: World) -> None:
    a = world.machine("a")
    notes(a)
    assert put(a) > 0
    assert len(world.indexes()) == 1
    b = world.machine("b")
    before = world.store.counts
    b.catch_up()
    asked = world.store.counts - before
    assert (asked.gets, asked.lists, asked.requests) == (1, 1, 2), "one list, one get"
    assert b.fetched == []
    assert b.worker.taken == b.worker.indexed == len(b.index.documents()) == 22
    same_as_its_own(world, b)
    for row in b.index.passages(b.node.at("notes/7.md")):
        assert b.node.read("notes/7.md")[row.passage.start : row.passage.end].decode() == row.passage.text


def test_two_machines_on_a_real_server(tmp_path: Path, s3_store: Store) -> None:
    world = World(tmp_path, s3_store)
    try:
        a = world.machine("a")
        notes(a, 5)
        put(a)
        b = world.machine("b")
        before = world.store.counts
        b.catch_up()
        assert (world.store.counts - before).requests == 2
        assert b.worker.taken == 9
        same_as_its_own(world, b)
        a.node.write("notes/0.md", b"changed")
        for n in range(1, 5):
            a.node.write(f"notes/{n}.md", b"changed")
        a.node.sync()
        put(a)
        assert len(world.indexes()) == 2
    finally:
        world.close()


def test_what_changed_since_is_made_here_and_the_rest_is_taken(world: World) -> None:
    a = world.machine("a")
    notes(a)
    put(a)
    tree = a.node.tree
    a.node.write("notes/1.md", b"# One\n\nwritten since\n")
    a.node.unlink("notes/2.md")
    a.node.rename("notes", "moved")
    tree.set_xattr(a.node.at("moved/3.md"), b"user.agentfs.tags", b"other", 0)
    a.node.write("new.md", b"new since")
    a.node.rename("code.py", "code.txt")
    a.node.link("chinese.md", "a second name.md")
    a.node.sync()
    b = world.machine("b")
    b.node.write("mine.md", b"not yet in the store")
    b.node.write("moved/4.md", b"changed here and not yet in the store")
    b.catch_up()
    assert b.says() == b.should_say()
    assert b.worker.taken == 22 - 5, "all but notes 1, 2, 3 and 4, and the code"
    assert len(b.fetched) == 4
    b.node.sync()
    own = fresh(world, "own")
    assert everything(b) == everything(own)
    assert answers(b) == answers(own)


def test_the_index_of_a_volume_is_no_files_own(world: World) -> None:
    """Numbers of one machine mean nothing on another."""
    b = world.machine("b")
    for n in range(9):
        b.node.write(f"gone {n}", b"takes a number")
        b.node.unlink(f"gone {n}")
    a = world.machine("a")
    notes(a)
    put(a)
    b.node.sync()
    assert a.node.at("notes/3.md") != b.node.at("notes/3.md")
    b.catch_up()
    assert b.fetched == []
    assert b.says() == b.should_say()


def broken(data: bytes, how: str) -> bytes:
    sequence = 1
    if how == "flipped":
        return data[:300] + bytes([data[300] ^ 4]) + data[301:]
    if how == "newer":
        return seal(ObjectKind.INDEX, {"requires": ["tomorrow"]})[0]
    if how == "another's":
        return encode_carried(CarriedHeader("space-other", sequence, 0, "x", "rules"), [])
    if how == "a page":
        found = decode_carried(data, volume="space-sim", sequence=sequence)
        page = found.stored[0]
        hostile = type(page)(page.files, page.passages, page.raw_bytes, page.data[:-9] + b"no stream")
        return encode_carried(found.header, [hostile])
    raise AssertionError(how)


@pytest.mark.parametrize("how", ["flipped", "newer", "another's", "a page"])
def test_one_that_cannot_be_used_is_only_a_slower_start(world: World, how: str) -> None:
    a = world.machine("a")
    notes(a, 3)
    put(a)
    (name,) = world.indexes()
    world.replace(broken(world.store.get(name).data, how))
    b = world.machine("b")
    b.catch_up()
    assert b.says() == b.should_say()
    assert b.worker.taken == 0
    assert "carried index of space-sim" in b.carried.problem
    assert b.worker.problem == ""
    put(b)
    assert len(world.indexes()) == 1
    if how == "newer":
        assert b.carried.put_sequence == 0, "what it does not understand it does not replace"
        return
    assert b.carried.put_sequence == 1, "what it found to be damaged it replaces"
    c = world.machine("c")
    c.catch_up()
    assert c.worker.taken == 7


def test_one_by_other_rules_is_left_alone(world: World) -> None:
    a = world.machine("a", rules="1 other")
    notes(a, 3)
    put(a)
    (name,) = world.indexes()
    b = world.machine("b")
    before = world.store.counts
    b.catch_up()
    assert (b.worker.taken, b.carried.problem) == (0, "")
    assert (world.store.counts - before).gets == 1, "only the commit"
    put(b)
    assert len(world.indexes()) == 2
    assert name in world.indexes()
    assert world.machine("c").carried.problem == ""


def test_one_that_goes_between_list_and_get(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a = world.machine("a")
    notes(a, 3)
    put(a)
    b = world.machine("b")
    get = b.carried._ground.store.get

    def gone(name: str, **range_: int) -> object:
        if "/indexes/" in name:
            raise ObjectNotFound(name)
        return get(name, **range_)

    monkeypatch.setattr(b.carried._ground.store, "get", gone)
    b.catch_up()
    assert b.says() == b.should_say()
    assert b.carried.problem == ""


def test_a_store_that_is_away_keeps_nobody_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a = world.machine("a")
    notes(a, 3)

    def away(*_: object, **__: object) -> object:
        raise StoreUnavailable("the store is away")

    for method in ("get", "list", "put"):
        monkeypatch.setattr(a.carried._ground.store, method, away)
    put(a)
    assert a.says() == a.should_say()
    assert "the store is away" in a.carried.problem


def test_what_is_written_while_it_comes_is_found_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a = world.machine("a")
    notes(a, 8)
    put(a)
    b = world.machine("b")
    coming: Future[CarriedIndex | None] = Future()
    monkeypatch.setattr(b.worker, "_carrier", SimpleNamespace(bring=lambda _files: coming))
    b.worker.look()
    b.node.write("mine.md", b"written a moment ago")
    b.worker.look()
    b.worker.work(0.0)
    assert [it.path for it in b.index.documents()] == [b"mine.md"]
    assert b.fetched == []
    b.worker.advance(0.0, left=0.0)
    assert len(b.index.documents()) > 1, "who cannot wait does not"
    b.node.unlink("notes/5.md")
    brought = b.carried.bring(99)
    assert brought is not None
    coming.set_result(brought.result())
    b.catch_up()
    assert b.says() == b.should_say()


def test_files_that_change_while_it_is_taken_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentfs.memory import carrying  # noqa: PLC0415

    monkeypatch.setattr(carrying, "_PAGE_FILES", 4)
    a = world.machine("a")
    notes(a, 12)
    put(a)
    b = world.machine("b")
    b.worker.look()
    while b.worker.taken == 0:
        b.worker.work(0.0)
    taken = b.worker.taken
    assert 0 < taken <= 4
    for name in ("notes/0.md", "chinese.md"):
        b.node.unlink(name)
    b.node.write("notes/1.md", b"another text")
    b.node.rename("notes/2.md", "notes/two.md")
    for ino in list(b.worker._backlog):
        if b.worker._taking is not None:
            b.worker._handle([ino])  # all that is left is looked at before the next page comes
    b.catch_up()
    assert b.says() == b.should_say()
    assert b.worker.taken == taken


def test_a_crash_in_the_middle_takes_the_rest_afterwards(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentfs.memory import carrying  # noqa: PLC0415

    monkeypatch.setattr(carrying, "_PAGE_FILES", 4)
    a = world.machine("a")
    notes(a, 12)
    put(a)
    b = world.machine("b")
    b.worker.look()
    while b.worker.taken == 0:
        b.worker.work(0.0)
    taken = b.worker.taken
    b.crash()
    b.catch_up()
    assert b.worker.taken == 16 - taken
    assert b.fetched == []
    same_as_its_own(world, b)


def test_an_index_that_lacks_little_asks_for_nothing(world: World) -> None:
    a = world.machine("a")
    notes(a, 3)
    put(a)
    for n in range(3):
        a.node.write(f"notes/{n}.md", b"changed")
    a.crash(era="another boot")
    before = world.store.counts
    a.catch_up()
    assert (world.store.counts - before).requests == 0
    assert a.says() == a.should_say()


def test_reindex_makes_its_own(world: World) -> None:
    a = world.machine("a")
    notes(a, 3)
    put(a)
    a.worker.start_over()
    a.catch_up()
    assert a.worker.taken == 0
    assert a.says() == a.should_say()


# ---- when ----


def test_small_homes_carry_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried_index, "DOCUMENTS_MIN", 10)
    a = world.machine("a", carry="auto")
    notes(a, 3)
    a.node.clock.now_s += 100
    assert put(a) == 0
    assert world.indexes() == []
    for n in range(10):
        a.node.write(f"more {n}.md", b"more")
    a.node.sync()
    a.node.clock.now_s += 1000
    assert put(a) > 0
    off = world.machine("off", carry="off")
    before = world.store.counts
    off.catch_up()
    assert (world.store.counts - before).lists == 0
    assert off.worker.taken == 0
    assert put(off) == 0


def test_it_is_put_when_a_quarter_changed_or_it_is_a_day_old(world: World) -> None:
    a = world.machine("a")
    notes(a, 96)  # with the others 100 documents
    put(a)
    before = world.store.counts
    assert put(a) == 0
    a.node.write("notes/0.md", b"changed")
    a.node.sync()
    assert put(a) == 0
    a.node.clock.now_s += DAY_S
    assert put(a) > 0, "one in a hundred, and a day"
    for n in range(24):
        a.node.write(f"notes/{n}.md", b"changed again")
    a.node.sync()
    assert put(a) == 0
    a.node.write("notes/30.md", b"changed again")
    a.node.sync()
    assert put(a) > 0
    assert (world.store.counts - before).lists == 4, "a look and a clean-up each; nothing in between"
    a.node.clock.now_s += DAY_S
    for n in range(40, 43):
        a.node.write(f"notes/{n}.md", b"changed")
    a.node.sync()
    a.node.write("pending.md", b"not yet in the store")
    assert put(a) == 0, "not while something is pending"


def test_another_machine_does_not_put_it_again(world: World) -> None:
    a = world.machine("a")
    notes(a, 3)
    put(a)
    b = world.machine("b")
    assert put(b) == 0
    assert len(world.indexes()) == 1


def test_old_ones_go_and_what_is_not_ours_stays(world: World) -> None:
    a = world.machine("a")
    notes(a, 3)
    strange = layout.index_prefix(PREFIX) + "0-strange"
    world.store.put(strange, b"of a later version")
    for version in range(4):
        for n in range(3):
            a.node.write(f"notes/{n}.md", b"version %d" % version)
        a.node.sync()
        put(a)
    kept = [it for it in world.indexes() if it != strange]
    assert [layout.parse_index_name(PREFIX, it)[0] for it in kept] == [5, 4]
    assert strange in world.indexes()


@pytest.mark.parametrize("where", ["carried.put", "carried.dropped"])
def test_a_kill_between_the_put_and_the_clean_up(world: World, where: str) -> None:
    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        if name == where:
            raise Killed

    a = world.machine("a")
    notes(a, 3)
    for version in range(4):
        for n in range(3):
            a.node.write(f"notes/{n}.md", b"version %d" % version)
        a.node.sync()
        if version == 2:
            a.carried._ground.failpoint = kill
            with pytest.raises(Killed):
                put(a)
            a.carried._ground.failpoint = lambda _name: None
            b = world.machine("b")
            b.catch_up()
            assert b.worker.taken == 7
            assert b.says() == b.should_say()
            a.crash()
        else:
            put(a)
    assert len(world.indexes()) == 2


def test_files_beyond_the_limits_are_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentfs.memory import carrying  # noqa: PLC0415

    monkeypatch.setattr(carrying, "_PAGE_FILES", 4)
    monkeypatch.setattr(carrying, "_STORED_MAX", 1000)
    monkeypatch.setattr(carrying, "CARRIED_PAGE_PASSAGES_MAX", 3)
    a = world.machine("a")
    notes(a, 12)
    a.node.write("long.md", b"".join(b"# %d\n\nsomething\n\n" % n for n in range(4)))
    a.node.sync()
    put(a)
    b = world.machine("b")
    b.catch_up()
    assert 0 < b.worker.taken < 16
    assert b.node.at("long.md") in b.fetched
    assert b.says() == b.should_say()


def test_a_hostile_file_is_not_taken(world: World) -> None:
    """Right number and bytes, and facts of another file; twice in one index; a number that is no file's."""
    a = world.machine("a")
    a.node.write("a.md", b"the text")
    a.node.sync()
    a.catch_up()
    (it,) = a.sources.committed()
    wrong = CarriedFile(it.id, it.digest, "1.2.md", indexed=True, path=b"a.md", kind="markdown")
    none = CarriedFile(4711, it.digest, "1.2.md", indexed=False)
    header = CarriedHeader("space-sim", 1, 0, "x", "rules")
    world.store.put(
        layout.index_name(PREFIX, 1, "rules"), encode_carried(header, [stored_page([wrong, none, wrong])])
    )
    b = world.machine("b")
    b.catch_up()
    assert b.says() == b.should_say()
    assert b.worker.taken == 0
    assert os.fsdecode(b.index.documents()[0].path) == "a.md"


def test_a_fork_takes_its_parents() -> None:
    with fork_worlds.worlds() as make:
        world = make()
        alice = Indexed(world.node("alice"), carry="on")
        notes(alice, 5)
        put(alice)
        alice.node.write("notes/0.md", b"before the fork")
        alice.node.sync()
        world.fork(alice.node, "exp")
        fork = Indexed(world.node("exp"), carry="on")
        fork.catch_up()
        assert fork.worker.taken == 8
        assert fork.says() == fork.should_say()
        assert put(fork) > 0, "its own"
        for it in (alice, fork):
            it.close()


# ---- rules ----


def test_other_documents_take_other_rules() -> None:
    """A machine of another version must not take what it would make differently."""
    made = hashlib.sha256()
    for path in sorted(CORPUS.rglob("*")):
        if path.is_file() and "expected" not in path.parts and path.suffix not in (".html", ".pdf"):
            name = os.fsencode(path.relative_to(CORPUS))
            found = document(name, path.read_bytes(), {}, mtime_ns=1_780_272_000_000_000_000)
            columns = [columns_of(name, found.facts, it) for it in found.passages] if found is not None else []
            made.update(repr((name, found, columns)).encode())
    assert {DOCUMENT_RULES: made.hexdigest()} == {2: RULES_2}, (
        "files become other documents than before: add one to memory.rules.DOCUMENT_RULES, and write the number and "
        "the digest here"
    )


def test_all_facts_are_carried() -> None:
    assert {it.name for it in fields(Facts)} <= set(CarriedFile._fields)
    assert {it.name for it in fields(Passage)} <= set(CarriedPassage._fields)


def test_the_rules_name_what_makes_a_difference() -> None:
    rules = document_rules("llama-2")
    assert "llama-2" in rules
    assert rules != document_rules("another")
    assert "PyStemmer-" in rules
    assert f"unicode-{unicodedata.unidata_version}" in rules
