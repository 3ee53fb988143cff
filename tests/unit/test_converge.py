"""Concurrent edits of one file become one file, whatever the programs that make them do (docs/merging.md)."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace as replaced
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from invariants import broken
from node import Node, TestClock

from agentfs.errors import StoreUnavailable
from agentfs.format.commit import decode_commit
from agentfs.replica.apply_base import content_row
from agentfs.replica.check import check
from agentfs.stores.memory import MemoryStore
from agentfs.tree.seen import ANONYMOUS, Seen

Pair = tuple[Node, Node]
NOTES = b"# Plan\n\nfirst\n\nsecond\n\nthird\n"


class Crash(BaseException):
    pass


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def dead() -> set[Path]:
    """Machines that were killed."""
    return set()


@pytest.fixture
def pair(tmp_path: Path, store: MemoryStore, dead: set[Path]) -> Iterator[Pair]:
    clock = TestClock()
    a, b = (Node(tmp_path / name, store, clock, agent=name) for name in ("ann", "bob"))
    a.mkdir("d")
    a.write("notes.md", NOTES)
    a.sync()
    b.engine.pull_now()
    assert b.read("notes.md") == NOTES
    yield a, b
    for node in (a, b):
        if node.directory not in dead:
            node.close()


def meet(pair: Pair) -> bytes:
    """Ann commits first; both end with the same tree. Returns the notes."""
    a, b = pair
    for node in (a, b, a, b):
        node.sync()
        assert broken(node.replica) == []
        assert check(node.replica) == []
    assert a.show() == b.show()
    assert b.replica.connection.rows("SELECT * FROM fork") == []
    assert not [name for name in a.names() if "conflict" in name], b.replica.connection.rows("SELECT * FROM conflict")
    return a.read("notes.md")


def replace(node: Node, data: bytes, path: str = "notes.md") -> None:
    """As an editor saves."""
    node.write(path + ".tmp", data)
    node.rename(path + ".tmp", path)


def move_aside_to(node: Node, path: str, data: bytes) -> None:
    """As vim and emacs save: the old file becomes a backup, a new one takes its name."""
    node.rename(path, path + "~")
    node.write(path, data)
    node.unlink(path + "~")


Save = Callable[[Node, str, bytes], object]
SAVE: dict[str, Save] = {"in place": Node.write, "by rename": lambda node, path, data: replace(node, data, path)}


@pytest.mark.parametrize("first", SAVE)
@pytest.mark.parametrize("second", SAVE)
def test_two_edits_at_different_places(pair: Pair, first: str, second: str) -> None:
    a, b = pair
    SAVE[first](a, "notes.md", NOTES.replace(b"first", b"first, by Ann"))
    SAVE[second](b, "notes.md", NOTES.replace(b"third", b"third, by Bob"))
    assert meet(pair) == NOTES.replace(b"first", b"first, by Ann").replace(b"third", b"third, by Bob")


@pytest.mark.parametrize("second", SAVE)
def test_an_edit_is_merged_with_all_that_came_meanwhile(pair: Pair, second: str) -> None:
    a, b = pair
    for number in range(5):
        a.append("notes.md", b"ann %d\n" % number)
        a.sync()
    SAVE[second](b, "notes.md", NOTES.replace(b"first", b"first, by Bob"))
    data = meet(pair)
    assert data == NOTES.replace(b"first", b"first, by Bob") + b"".join(b"ann %d\n" % it for it in range(5))


def test_both_append(pair: Pair) -> None:
    a, b = pair
    for number in range(3):
        a.append("notes.md", b"ann %d\n" % number)
        b.append("notes.md", b"bob %d\n" % number)
        a.sync()
        b.engine.pull_now()
    assert sorted(meet(pair)[len(NOTES) :].splitlines()) == sorted(
        name + b" %d" % number for name in (b"ann", b"bob") for number in range(3)
    )


def test_the_same_name_created_twice(pair: Pair) -> None:
    a, b = pair
    a.write("todo.md", b"- milk\n- bread\n")
    b.write("todo.md", b"- milk\n- tea\n")
    meet(pair)
    assert sorted(a.read("todo.md").splitlines()) == [b"- bread", b"- milk", b"- tea"]


def test_directories_unite_and_their_files_merge(pair: Pair) -> None:
    a = pair[0]
    for node, line in zip(pair, (b"ann\n", b"bob\n"), strict=True):
        node.mkdir("new")
        node.write("new/log.md", line)
    meet(pair)
    assert sorted(filter(None, a.read("new/log.md").splitlines())) == [b"ann", b"bob"]


@pytest.mark.parametrize("private", [0, 1], ids=["the first", "the second"])
@pytest.mark.parametrize("words", [(b"same\n", b"same\n"), (b"ann\n", b"bob\n")], ids=["equal", "merged"])
def test_what_one_of_two_made_private_stays_so(pair: Pair, words: tuple[bytes, bytes], private: int) -> None:
    for node, word in zip(pair, words, strict=True):
        node.mkdir("new")
        node.mkdir("new/sub")
        node.write("todo.md", word)
        node.write("new/sub/todo.md", word)
    for path in ("new", "new/sub", "todo.md", "new/sub/todo.md"):
        pair[private].chmod(path, 0o700 if "todo" not in path else 0o600)
    for node in (*pair, *pair, *pair):
        node.sync()
        assert broken(node.replica) == check(node.replica) == []
    for node in pair:
        assert {it.decode(): mode for it, (_, mode, _) in node.show().items() if it not in (b"d", b"notes.md")} == {
            "new": 0o700, "new/sub": 0o700, "todo.md": 0o600, "new/sub/todo.md": 0o600
        }  # fmt: skip


def test_renamed_there_and_edited_on_both_sides(pair: Pair) -> None:
    a, b = pair
    a.rename("notes.md", "d/moved.md")
    a.write("d/moved.md", NOTES.replace(b"first", b"ann"))
    b.write("notes.md", NOTES.replace(b"third", b"bob"))
    for node in (a, b, a):
        node.sync()
    assert a.show() == b.show()
    assert b.read("d/moved.md") == NOTES.replace(b"first", b"ann").replace(b"third", b"bob")
    assert b.names() == ["d"]


def test_both_changed_one_line(pair: Pair, store: MemoryStore) -> None:
    a, b = pair
    a.write("notes.md", NOTES.replace(b"second", b"ann"))
    b.write("notes.md", NOTES.replace(b"second", b"bob"))
    assert meet(pair) == NOTES.replace(b"second", b"ann\nbob")
    for node in pair:
        rows = node.replica.connection.rows("SELECT kind, name, kept_as FROM conflict")
        assert rows == [("content", b"notes.md", b"")]
    sides = _sides(b)
    assert [b.engine._hydration.read(content_row(0, it)) for it in (sides.base, sides.earlier, sides.later)] == [
        NOTES,
        NOTES.replace(b"second", b"ann"),
        NOTES.replace(b"second", b"bob"),
    ]
    assert sides.met == 2


def _sides(node: Node):
    log = node.engine._ground.log
    for sequence in range(1, node.engine.status().head_sequence + 1):
        data = log.read(sequence)
        assert data is not None
        commit, _ = decode_commit(data, volume=log.volume, sequence=sequence)
        if commit.sides:
            return commit.sides[0]
    raise AssertionError("no commit has sides")


# ---- files that are open for writing ----


def test_a_log_that_stays_open_on_both_machines(pair: Pair) -> None:
    handles = [node.open("notes.md", os.O_WRONLY | os.O_APPEND) for node in pair]
    lines = []
    for number in range(6):
        for node, handle in zip(pair, handles, strict=True):
            line = b"%s %d\n" % (node.directory.name.encode(), number)
            lines.append(line)
            node.tree.write(handle, 0, line)
            node.tree.flush(handle)
            assert line in node.read("notes.md")
            node.sync()
            assert broken(node.replica) == []
    for node, handle in zip(pair, handles, strict=True):
        node.tree.release(handle)
    data = meet(pair)
    assert data.startswith(NOTES)
    assert sorted(data[len(NOTES) :].splitlines(keepends=True)) == sorted(lines)


def test_what_was_committed_while_open_is_whole_for_others(pair: Pair, tmp_path: Path, store: MemoryStore) -> None:
    a, b = pair
    handle = b.open("notes.md", os.O_WRONLY | os.O_APPEND)
    b.tree.write(handle, 0, b"bob\n")
    b.tree.flush(handle)
    a.append("notes.md", b"ann\n")
    a.sync()
    b.sync()
    assert b.read("notes.md") == NOTES + b"bob\n"
    a.engine.pull_now()
    assert a.read("notes.md") == NOTES + b"ann\nbob\n"
    b.sync()
    head = b.engine.status().head_sequence
    b.sync()
    assert b.engine.status().head_sequence == head, "nothing new is committed again"
    b.tree.release(handle)
    b.settle()
    assert b.read("notes.md") == NOTES + b"ann\nbob\n"
    assert b.engine.status().head_sequence == head
    assert not b.replica.connection.rows("SELECT * FROM fork")
    meet(pair)


@pytest.mark.parametrize("save", SAVE)
def test_opened_and_closed_unchanged_takes_the_logs(pair: Pair, save: str) -> None:
    a, b = pair
    handle = b.open("notes.md", os.O_WRONLY)
    SAVE[save](a, "notes.md", b"new\n")
    a.sync()
    b.engine.pull_now()
    assert b.read("notes.md") == NOTES
    b.tree.release(handle)
    b.settle()
    assert b.read("notes.md") == b"new\n"
    assert not b.engine.status().pending_inodes


@pytest.mark.parametrize("save", SAVE)
def test_written_while_another_saves(pair: Pair, save: str) -> None:
    a, b = pair
    handle = b.open("notes.md", os.O_WRONLY | os.O_APPEND)
    SAVE[save](a, "notes.md", NOTES.replace(b"first", b"ann"))
    a.sync()
    b.engine.pull_now()
    b.tree.write(handle, 0, b"bob\n")
    b.tree.flush(handle)
    b.tree.release(handle)
    assert meet(pair) == NOTES.replace(b"first", b"ann") + b"bob\n"


# ---- names that went while a file waited to be merged ----


def test_unlinked_here_while_another_version_waits(pair: Pair) -> None:
    a, b = pair
    handle = b.open("notes.md", os.O_WRONLY)
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    b.unlink("notes.md")
    b.tree.release(handle)
    assert meet(pair) == NOTES + b"ann\n"


def test_replaced_here_while_another_version_waits(pair: Pair) -> None:
    a, b = pair
    handle = b.open("notes.md", os.O_WRONLY)
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    replace(b, NOTES.replace(b"first", b"bob"))
    b.tree.release(handle)
    assert meet(pair) == NOTES.replace(b"first", b"bob") + b"ann\n"


@pytest.mark.parametrize("how", ["replaced", "unlinked"])
def test_nothing_is_committed_over_a_version_that_waits_while_the_file_is_open(pair: Pair, how: str) -> None:
    a, b = pair
    handle = b.open("notes.md", os.O_WRONLY)
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    if how == "replaced":
        replace(b, NOTES.replace(b"first", b"bob"))
    else:
        b.unlink("notes.md")
    b.settle(30)
    a.sync()
    expected = NOTES.replace(b"first", b"bob") if how == "replaced" else NOTES
    assert a.read("notes.md") == expected + b"ann\n"
    b.tree.release(handle)
    assert meet(pair) == expected + b"ann\n"


def test_deleted_in_the_log_while_it_waits(pair: Pair) -> None:
    a, b = pair
    handle = b.open("notes.md", os.O_WRONLY | os.O_APPEND)
    b.tree.write(handle, 0, b"bob\n")
    b.tree.flush(handle)
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    a.unlink("notes.md")
    a.sync()
    b.engine.pull_now()
    b.tree.release(handle)
    assert meet(pair) == NOTES + b"bob\n"


# ---- trouble ----


def test_nothing_is_shown_or_committed_while_the_base_cannot_be_fetched(pair: Pair, store: MemoryStore) -> None:
    a, b = pair
    a.append("notes.md", b"ann\n")
    a.sync()
    b.append("notes.md", b"bob\n")
    ground = b.engine._ground
    real, down = ground.store.get, [False]

    def get(name: str, *, start: int = 0, length: int | None = None):
        if down[0] and length is not None:
            raise StoreUnavailable("away")
        return real(name, start=start, length=length)

    ground.store.get = get  # type: ignore[method-assign]
    b.engine._converge.recent.__init__()
    b.engine._converge.recent.add = lambda digest, data: None  # type: ignore[method-assign]
    down[0] = True
    with pytest.raises(StoreUnavailable):
        b.engine.pull_now()
    assert b.read("notes.md") == NOTES + b"bob\n"
    head = b.engine.status().head_sequence
    b.settle()
    assert b.engine.status().head_sequence == head
    assert b.engine.status().pending_inodes
    down[0] = False
    b.settle(40)
    assert meet(pair) == NOTES + b"ann\nbob\n"


def test_the_version_both_came_from_is_gone(pair: Pair, store: MemoryStore) -> None:
    a, b = pair
    a.append("notes.md", b"ann\n")
    a.sync()
    a.engine.snapshot()
    b.append("notes.md", b"bob\n")
    b.engine._ground.log.collect(1, snapshot=a.engine.status().head_sequence)
    b.engine._converge.recent.__init__()
    b.sync()
    a.sync()
    assert a.show() == b.show()
    assert b.read("notes.md") == NOTES + b"ann\n"
    kept = next(name for name in b.names() if ".conflict-bob-" in name)
    assert b.read(kept) == NOTES + b"bob\n"


@pytest.mark.parametrize("point", ["merge.staged", "merge.done", "push.captured", "push.prepared", "push.appended"])
@pytest.mark.parametrize("is_open", [False, True])
def test_killed_at_any_step(
    pair: Pair, tmp_path: Path, store: MemoryStore, dead: set[Path], point: str, is_open: bool
) -> None:
    a, b = pair
    dead.add(b.directory)
    a.append("notes.md", b"ann\n")
    a.sync()
    handle = b.open("notes.md", os.O_WRONLY | os.O_APPEND)
    b.tree.write(handle, 0, b"bob\n")
    b.tree.flush(handle)
    if not is_open:
        b.tree.release(handle)
    armed = [True]

    def failpoint(name: str) -> None:
        if armed[0] and name == point:
            raise Crash(name)

    b.engine._ground.failpoint = failpoint
    try:
        b.sync()
    except Crash:
        pass
    else:
        assert is_open and point.startswith("merge"), "the step was never reached"
    b.replica.connection.execute("UPDATE session SET started='gone'")
    b.replica.connection.close()
    again = Node(tmp_path / "bob", store, TestClock(), agent="bob")
    again.sync()
    assert broken(again.replica) == []
    a.sync()
    assert a.show() == again.show()
    assert a.read("notes.md") == NOTES + b"ann\nbob\n"
    again.close()


def test_killed_between_the_rename_and_the_commit(
    pair: Pair, tmp_path: Path, store: MemoryStore, dead: set[Path]
) -> None:
    a, b = pair
    dead.add(b.directory)
    a.append("notes.md", b"ann\n")
    a.sync()
    b.append("notes.md", b"bob\n")
    real = b.replica.files.adopt

    def adopt(staged: str, ino: int) -> None:
        real(staged, ino)
        raise Crash

    b.replica.files.adopt = adopt  # type: ignore[method-assign]
    sql = b.replica.connection
    with pytest.raises(Crash):
        b.engine.pull_now()
    # What the dead process would have left: the mark that was committed before the rename.
    ino = b.at("notes.md")
    sql.execute("INSERT OR IGNORE INTO write_open VALUES(?, (SELECT max(id) FROM session))", (ino,))
    sql.execute("UPDATE session SET started='gone'")
    sql.close()
    again = Node(tmp_path / "bob", store, TestClock(), agent="bob")
    assert check(again.replica) == []
    again.sync()
    a.sync()
    assert a.show() == again.show()
    assert a.read("notes.md") == NOTES + b"ann\nbob\n"
    again.close()


# ---- how programs save (replica.succession) ----


def move_aside(node: Node, data: bytes, between: Callable[[], object] = lambda: None, *, keep: bool = False) -> None:
    """As vim and emacs save: the old file becomes a backup, a new one takes its name."""
    node.rename("notes.md", "notes.md.bak")
    between()
    node.write("notes.md", data)
    if not keep:
        node.unlink("notes.md.bak")


def test_a_save_is_a_change_of_the_same_file(pair: Pair) -> None:
    a, b = pair
    before = b.replica.inode(b.at("notes.md")).id
    for save in (replace, move_aside):
        save(a, NOTES + save.__name__.encode())
        a.sync()
        b.engine.pull_now()
        assert b.replica.inode(b.at("notes.md")).id == before
        assert broken(a.replica) == [] and check(a.replica) == []
    a.settle(30)
    assert a.replica.connection.rows("SELECT ino FROM inode WHERE nlink=0") == []


@pytest.mark.parametrize("when", ["before", "between", "after"])
@pytest.mark.parametrize("keep", [False, True])
def test_moved_aside_while_another_edits(pair: Pair, when: str, keep: bool) -> None:
    a, b = pair
    a.append("notes.md", b"ann\n")
    a.sync()
    if when == "before":
        b.engine.pull_now()
    came_from = b.read("notes.md")
    move_aside(
        b,
        came_from.replace(b"first", b"bob"),
        lambda: b.engine.pull_now() if when == "between" else None,
        keep=keep,
    )
    assert meet(pair) == NOTES.replace(b"first", b"bob") + b"ann\n"
    assert a.names() == ["d", "notes.md", "notes.md.bak"] if keep else ["d", "notes.md"]


def test_others_do_not_see_the_gap_of_a_save(pair: Pair) -> None:
    a, b = pair
    b.write("other", b"1")
    for number in range(6):
        b.clock.now_s += 0.3
        b.rename("notes.md", "notes.md.bak")
        b.write("other", b"%d" % number)
        b.engine.tick()
        a.engine.pull_now()
        assert "notes.md" in a.names()
        b.write("notes.md", b"%d\n" % number)
        b.unlink("notes.md.bak")
    assert meet(pair) == b"5\n"


def test_a_file_with_another_name_stays_itself(pair: Pair) -> None:
    a, b = pair
    a.link("notes.md", "d/hard")
    a.sync()
    b.engine.pull_now()
    replace(b, b"replaced\n")
    for node in (b, a):
        node.sync()
        assert broken(node.replica) == []
    assert a.read("d/hard") == NOTES and a.read("notes.md") == b"replaced\n"


@pytest.mark.parametrize("save", [replace, move_aside])
@pytest.mark.parametrize("point", ["push.captured", "push.prepared", "push.appended"])
def test_saved_while_a_commit_is_on_its_way(pair: Pair, save: Callable[[Node, bytes], None], point: str) -> None:
    b = pair[1]
    armed = [True]

    def failpoint(name: str) -> None:
        if armed[0] and name == point:
            armed[0] = False
            save(b, b"saved meanwhile\n")

    b.append("notes.md", b"on its way\n")
    b.engine._ground.failpoint = failpoint
    b.sync()
    assert broken(b.replica) == [] and check(b.replica) == []
    assert b.read("notes.md") == b"saved meanwhile\n"
    assert meet(pair) == b"saved meanwhile\n"


def test_moved_aside_while_its_rename_is_on_its_way(pair: Pair) -> None:
    a, b = pair
    armed = [True]

    def failpoint(name: str) -> None:
        if armed[0] and name == "push.prepared":
            armed[0] = False
            b.write("notes.md", b"new\n")

    b.rename("notes.md", "old.md")
    b.engine._ground.failpoint = failpoint
    b.sync()
    assert broken(b.replica) == [] and check(b.replica) == []
    assert meet(pair) == b"new\n"
    assert a.read("old.md") == NOTES


# ---- what a program writes that read an older version (tree.seen, replica.past) ----


@pytest.mark.parametrize("save", [*SAVE.values(), move_aside_to])
def test_written_from_a_version_that_was_read_before_another_came(pair: Pair, save: Save) -> None:
    a, b = pair
    read = b.read("notes.md")
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    save(b, "notes.md", read.replace(b"first", b"bob"))
    assert meet(pair) == NOTES.replace(b"first", b"bob") + b"ann\n"
    save(b, "notes.md", b.read("notes.md").replace(b"ann\n", b""))
    assert meet(pair) == NOTES.replace(b"first", b"bob"), "who has seen a line may delete it"


@pytest.mark.parametrize("save", [*SAVE.values(), move_aside_to])
def test_written_again_from_memory(pair: Pair, save: Save) -> None:
    """An agent that keeps the text, and writes it again and again without reading."""
    a, b = pair
    memory = b.read("notes.md")
    for number in range(4):
        memory += b"bob %d\n" % number
        save(b, "notes.md", memory)
        if number == 2:
            memory = memory.replace(b"bob 1\n", b"")
        b.settle(1)
        a.append("notes.md", b"ann %d\n" % number)
        a.sync()
        b.engine.pull_now()
    found = meet(pair)
    lines = [b"ann %d\n" % it for it in range(4)] + [b"bob %d\n" % it for it in (0, 2, 3)]
    assert sorted(found[len(NOTES) :].splitlines(keepends=True)) == sorted(lines)


def test_an_overwrite_without_reading_is_one(pair: Pair) -> None:
    a, b = pair
    a.write("counter", b"1\n")
    a.sync()
    b.engine.pull_now()
    b.write("counter", b"2\n")
    for node in (b, a):
        node.sync()
    assert a.read("counter") == b"2\n" == b.read("counter")
    a.write("counter", b"3\n")
    for node in (a, b):
        node.sync()
    assert b.read("counter") == b"3\n"


def test_what_is_appended_comes_from_nothing(pair: Pair) -> None:
    a, b = pair
    b.read("notes.md")
    a.append("notes.md", b"ann\n")
    a.sync()
    b.engine.pull_now()
    b.append("notes.md", b"bob\n")
    assert b.replica.connection.rows("SELECT * FROM fork") == []
    assert meet(pair) == NOTES + b"ann\nbob\n"


def test_versions_of_the_past_go_after_an_hour(pair: Pair, tmp_path: Path) -> None:
    a, b = pair
    for number in range(3):
        a.append("notes.md", b"ann %d\n" % number)
        b.append("notes.md", b"bob %d\n" % number)
        a.sync()
        b.sync()
    assert os.listdir(tmp_path / "bob/files/bases")
    assert b.replica.connection.rows("SELECT * FROM past")
    b.clock.now_s += 3700
    b.settle(30)
    assert not os.listdir(tmp_path / "bob/files/bases")
    assert b.replica.connection.rows("SELECT * FROM past") == []


def test_who_saw_what_is_known_by_process() -> None:
    seen = Seen()
    seen.note(os.getpid(), 1, 5)
    other = threading.Thread(target=lambda: results.append(seen.before(threading.get_native_id(), 1, 6)))
    results: list[int | None] = []
    other.start()
    other.join()
    assert results == [5], "another thread of the process"
    assert seen.before(1, 1, 6) is None, "another process"
    assert seen.before(ANONYMOUS, 1, 6) is None
    assert seen.before(os.getpid(), 1, 5) is None
    for ino in range(10_000):
        seen.note(7, ino, 1)
    for reader in range(100):
        seen.note(reader + 1, 9_999, 1)
    assert len(seen._files) <= 4096 and len(seen._files[9_999]) <= 32


def test_written_from_what_a_merge_replaced_that_is_not_committed_yet(pair: Pair, store: MemoryStore) -> None:
    a, b = pair
    a.append("notes.md", b"ann\n")
    a.sync()
    b.append("notes.md", b"bob 1\n")
    memory = b.read("notes.md")
    b.engine.pull_now()
    with open(b.replica.files.path(b.at("notes.md")), "rb") as file:  # not by the tree: that counts as seen
        assert file.read() == NOTES + b"ann\nbob 1\n"
    assert b.engine.status().pending_inodes
    b.write("notes.md", memory + b"bob 2\n")
    a.append("notes.md", b"ann 2\n")
    a.sync()
    b.engine.pull_now()
    b.write("notes.md", memory + b"bob 2\nbob 3\n")
    found = meet(pair)[len(NOTES) :].splitlines()
    assert sorted(found) == [b"ann", b"ann 2", b"bob 1", b"bob 2", b"bob 3"]


def test_conflict_markers_where_they_are_asked_for(pair: Pair) -> None:
    a, b = pair
    b.engine._ground.options = replaced(b.engine._ground.options, conflict_markers=True)
    a.write("notes.md", NOTES.replace(b"second", b"ann"))
    b.write("notes.md", NOTES.replace(b"second", b"bob"))
    marked = b"<<<<<<< earlier\nann\n=======\nbob\n>>>>>>> later"
    assert meet(pair) == NOTES.replace(b"second", marked)
    assert [row[0] for row in b.replica.connection.rows("SELECT kind FROM conflict")] == ["content"]
