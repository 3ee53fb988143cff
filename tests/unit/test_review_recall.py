"""What a second review of search found: answers that were stale, and an order that was the index's history."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from memory_world import Indexed
from node import Node, TestClock

from agentfs.memory import index as index_module
from agentfs.memory.browsing import timeline
from agentfs.memory.documents import Document
from agentfs.memory.facts import Facts
from agentfs.memory.index import Entry, Index
from agentfs.memory.passages import Passage
from agentfs.memory.recalling import Asked, Recalled, recall
from agentfs.memory.rows import PassageRow
from agentfs.memory.sources import Sources
from agentfs.memory.tokens import default_counter
from agentfs.memory.words import query
from agentfs.replica import backing
from agentfs.stores.memory import MemoryStore
from agentfs.volume.memory_words import asked_of

Make = Callable[[], Indexed]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)
    made: list[Indexed] = []
    clock = TestClock()

    def make() -> Indexed:
        made.append(Indexed(Node(tmp_path / f"{len(made)}", MemoryStore(clock=clock), clock, agent="a")))
        return made[-1]

    yield make
    for it in made:
        it.close()
        it.node.close()


def paths(it: Indexed) -> list[str]:
    return [os.fsdecode(row.path) for row in it.index.documents()]


@pytest.mark.parametrize("place", [".git", "node_modules", "node_modules/notes", "drafts/notes"])
def test_a_directory_that_moves_to_where_nothing_is_found_takes_its_documents_away(machine: Make, place: str) -> None:
    it = machine()
    it.sources._skipped = Sources(it.node.replica, skipped=("drafts/",))._skipped
    it.node.mkdir("notes")
    it.node.mkdir("notes/below")
    it.node.write("notes/a.md", b"the first heron")
    it.node.write("notes/below/b.md", b"the second heron")
    it.node.write("c.md", b"the third heron")
    if "/" in place:
        it.node.mkdir(place.partition("/")[0])
    it.catch_up()
    assert len(paths(it)) == 3
    it.node.rename("notes", place)
    it.catch_up()
    assert paths(it) == ["c.md"]
    it.node.rename(place, "again")
    it.catch_up()
    assert paths(it) == ["again/a.md", "again/below/b.md", "c.md"]


def test_a_file_is_the_document_of_a_name_that_is_not_left_out(machine: Make) -> None:
    it = machine()
    it.node.mkdir(".git")
    it.node.mkdir("notes")
    it.node.write("notes/a.md", b"the first heron")
    it.node.link("notes/a.md", ".git/a.md")
    it.catch_up()
    assert paths(it) == ["notes/a.md"]
    it.node.unlink("notes/a.md")
    it.catch_up()
    assert paths(it) == []


def test_a_journal_that_is_trimmed_while_it_is_read_is_made_up_for(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = machine()
    it.node.write("a.md", b"one")
    it.catch_up()
    it.node.write("b.md", b"two")
    span = it.sources.journal_span

    def trimmed_behind() -> tuple[int, int]:
        monkeypatch.setattr(it.sources, "journal_span", span)
        found = span()
        it.node.write("c.md", b"three")
        with it.node.replica.transaction() as tx:
            tx.sql.execute("DELETE FROM journal WHERE id<=?", (found[1],))
        return found

    monkeypatch.setattr(it.sources, "journal_span", trimmed_behind)
    it.catch_up()
    assert paths(it) == ["a.md", "b.md", "c.md"]


def test_a_file_that_takes_the_place_of_another_is_never_missing(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = machine()
    it.node.write("a.md", b"a heron")
    it.catch_up()
    apply, seen = it.index._apply, []

    def noted(changes: object) -> None:
        apply(changes)  # type: ignore[arg-type]
        seen.append(paths(it))

    monkeypatch.setattr(it.index, "_apply", noted)
    it.node.write("new.md", b"another heron")
    it.node.rename("new.md", "a.md")
    it.catch_up()
    assert seen
    assert all("a.md" in some for some in seen)
    assert it.says() == it.should_say()


# ---- the index ----


def entry(ino: int, text: str) -> Entry:
    passage = Passage(1, 1, 0, len(text), text)
    return Entry(ino, b"%04d" % ino, bytes(32), 0, Document("text", Facts(), (passage,)))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(str(tmp_path), counter=default_counter())
    yield made
    made.close()


def test_what_was_read_of_a_damaged_index_is_not_said_of_the_next(index: Index) -> None:
    index.put([entry(1, "old heron"), entry(2, "old heron")])
    assert len(index.rows([it.passage_id for it in index.by_words(query("heron"))])) == 2
    index._file._damaged = True  # somebody found that it is
    assert (index.position, index.by_words(query("heron"))) == (0, [])
    index.put([entry(1, "new heron"), entry(3, "new heron")])
    rows = index.rows([it.passage_id for it in index.by_words(query("heron"))])
    assert [(it.document.ino, it.passage.text) for it in rows] == [(1, "new heron"), (3, "new heron")]


@pytest.mark.parametrize("many", [5, 7, 31])
def test_equal_vectors_are_equally_near_wherever_they_stand(index: Index, many: int) -> None:
    random = np.random.default_rng(many)
    vector, asked = (random.normal(size=256).astype(np.float32) for _ in range(2))
    index.put([entry(ino, "a heron") for ino in range(many, 0, -1)])
    index.use_embedder("any")
    index.put_vectors([it for it, _ in index.vectorless(many)], np.tile(vector / np.linalg.norm(vector), (many, 1)))
    hits = index.by_vector(asked / np.linalg.norm(asked), limit=many)
    assert len({it.score for it in hits}) == 1
    assert [it.document.ino for it in index.rows([it.passage_id for it in hits])] == [*range(1, many + 1)]


@pytest.mark.parametrize("moment", ["before it reads", "while it reads"])
def test_a_question_is_asked_again_where_what_it_weighed_went(
    index: Index, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Somebody's file is made anew while another asks: its passages have other ids then."""
    index.put([entry(1, "a heron"), entry(2, "a stork")])
    find, apply, begun = index.found, index._apply, threading.Event()

    def late(ids: Sequence[int]) -> list[PassageRow | None]:
        monkeypatch.setattr(index, "found", find)
        if moment == "before it reads":
            index.put([entry(1, "a heron")])
            return find(ids)
        other.start()
        begun.wait()
        return find(ids)

    def held_up(changes: object) -> None:
        begun.set()
        asked_once.wait()
        apply(changes)  # type: ignore[arg-type]

    def ask() -> Recalled:
        answer = recall(index, None, default_counter(), Asked("heron"))
        asked_once.set()
        return answer

    monkeypatch.setattr(index_module, "_STEADY_SECONDS", 60.0)
    asked_once = threading.Event()
    other = threading.Thread(target=index.put, args=([entry(1, "a heron")],))
    monkeypatch.setattr(index, "found", late)
    if moment == "while it reads":
        monkeypatch.setattr(index, "_apply", held_up)
    got = index.steady(ask)
    if other.ident is not None:
        other.join()
    assert [it.text for it in got.found] == ["a heron"]


@pytest.mark.parametrize("since_ns", [10**30, -(10**30)])
def test_a_time_beyond_all_others_is_a_time(index: Index, since_ns: int) -> None:
    index.put([entry(1, "a heron")])
    asked = asked_of({"query": "", "since_ns": since_ns}, now_ns=0, half_life_ns=1)
    found = timeline(index, None, default_counter(), asked)
    assert [it.text for it in found] == ([] if since_ns > 0 else ["a heron"])
