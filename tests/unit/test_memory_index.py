"""The index of search: what is put is found, changes are as if they had always been, and a crash costs nothing."""

import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentfs.errors import NoSpace, Unavailable
from agentfs.memory import image as image_module
from agentfs.memory import learned, places
from agentfs.memory.documents import Document
from agentfs.memory.embedding import Vectors, unit
from agentfs.memory.facts import Facts
from agentfs.memory.headers import Heading, cost_alone
from agentfs.memory.index import Entry, Filters, Index
from agentfs.memory.passages import Passage
from agentfs.memory.words import query, terms

DAY = 24 * 3600 * 10**9
TEXT = [
    "the",
    "cat",
    "sat",
    "on",
    "mat",
    "by",
    "door",
    "of",
    "old",
    "red",
    "house",
    "it",
    "rained",
    "cats",
    "and",
    "dogs",
]


class Words:
    """Counts what stands between spaces."""

    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]

    def below(self, texts: Sequence[str], alone: Sequence[int]) -> list[int | None]:
        return [None for _ in zip(texts, alone, strict=True)]


def entry(ino: int, path: str, *texts: str, facts: Facts | None = None, mtime_ns: int = 0) -> Entry:
    passages = tuple(Passage(2 * at + 1, 2 * at + 1, 0, len(text), text) for at, text in enumerate(texts))
    return Entry(ino, path.encode(), bytes(32), mtime_ns, Document("text", facts or Facts(), passages))


def vectors_of(texts: Sequence[str]) -> Vectors:
    """Counts of letters: enough to be near or far."""
    found = np.zeros((len(texts), 26), np.float32)
    for row, text in enumerate(texts):
        for letter in text.lower():
            if "a" <= letter <= "z":
                found[row, ord(letter) - 97] += 1
    return unit(found)


def embed_all(index: Index) -> int:
    index.use_embedder("letters")
    many = 0
    while wanted := index.vectorless(7):
        index.put_vectors([it for it, _ in wanted], vectors_of([text for _, text in wanted]))
        many += len(wanted)
    return many


def found(index: Index, asked: str, filters: Filters | None = None, limit: int = 200) -> list[tuple[str, int]]:
    hits = index.by_words(query(asked), filters or Filters(), limit)
    return [(it.document.path.decode(), it.passage.first_line) for it in index.rows([hit.passage_id for hit in hits])]


def answers(index: Index) -> list[object]:
    """Everything that is asked of two indexes that must be the same."""
    of: list[object] = [[(it.path, it.ino, it.facts) for it in index.documents()], index.tags()]
    for asked in ("cat", "the old house", "red dog i", "notes", "b c", "rain mat door"):
        for hits in (index.by_words(query(asked)), index.by_vector(vectors_of([asked])[0])):
            rows = index.rows([it.passage_id for it in hits])
            assert len(rows) == len(hits)
            of.append(
                [
                    (it.document.path, it.ordinal, it.passage, it.tokens, round(hit.score, 5))
                    for it, hit in zip(rows, hits, strict=True)
                ]
            )
    return of


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(str(tmp_path), counter=Words())
    yield made
    made.close()


# ---- finding ----


def test_put_find_move_remove(index: Index) -> None:
    index.put([entry(5, "notes/a.md", "NVDA risk is high", "a word about cats")], position=7)
    assert index.position == 7
    assert found(index, "what is NVDA's risk?") == [("notes/a.md", 1)]
    assert found(index, "notes") == [("notes/a.md", 1), ("notes/a.md", 3)]
    index.moved([(5, b"old/b.md")], position=8)
    assert index.position == 8
    assert found(index, "notes") == []
    assert found(index, "old cat") == [("old/b.md", 3), ("old/b.md", 1)]
    index.moved([(6, b"old/c.md"), (5, b"new/er/b.md")], position=9)
    assert found(index, "cats") == [("new/er/b.md", 3)]
    index.remove([5, 6], position=10)
    assert (found(index, "cats nvda"), index.position, index.stats().passages) == ([], 10, 0)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("英伟达的风险管理", "风险"),
        ("東京の天気は晴れ", "天気"),
        ("한국어 검색을 지원한다", "검색"),
        ("我家的猫", "猫"),
        ("ความเสี่ยงสูง", "เสี่ยง"),
        ("in snake_case and v1.2.3", "v1.2.3"),
    ],
)
def test_words_of_two_characters_and_identifiers(index: Index, text: str, asked: str) -> None:
    index.put([entry(1, "a", text), entry(2, "b", "something else, 其他")])
    assert found(index, asked) == [("a", 1)]


def test_author_date_title_headings_and_tags_are_words_too(index: Index) -> None:
    passage = Passage(1, 1, 0, 5, "hello", ("Plans", "Summer"), "Caroline", 1683504000 * 10**9)
    facts = Facts(title="Diary", tags=("health", "Café"))
    index.put([Entry(1, b"chats/one.md", bytes(32), 0, Document("markdown", facts, (passage,)))])
    for asked in ("8 May 2023", "caroline", "summer", "diary", "health", "cafe", "chats"):
        assert found(index, asked) == [("chats/one.md", 1)], asked
    (row,) = index.passages(1)
    assert (row.passage, row.document.facts, row.tokens) == (passage, facts, 1)
    assert index.tags() == [("Café", 1), ("health", 1)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4), st.text(max_size=60))
def test_any_text_is_indexed_and_any_query_answered(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], asked: str
) -> None:
    """Each term of a text finds it; no query fails, or finds what has none of its terms."""
    index = Index(str(tmp_path_factory.mktemp("any")), counter=Words())
    try:
        index.put([entry(1, "p", *texts)])
        for at, text in enumerate(texts):
            for term in terms(text):
                hits = index.by_words(type(query(""))((term,)))
                assert 2 * at + 1 in {it.passage.first_line for it in index.rows([hit.passage_id for hit in hits])}
        wanted = set(query(asked).terms)
        assert {line for _, line in found(index, asked)} == {
            2 * at + 1 for at, text in enumerate(texts) if wanted & {*terms(text), *terms("p")}
        }
    finally:
        index.close()


HOSTILE = (
    '"',
    "'",
    "NEAR(a b, 2)",
    "text:cat",
    "cat*",
    "cat AND",
    "^cat",
    "-cat",
    "{a}:b",
    "\0cat",
    "🎉 cat",
    "\u202ecat",
    "cat;--",
)


@pytest.mark.parametrize("asked", [*HOSTILE, "cat " * 25_000, "\0" * 100_000, '"' * 100_000, "\ud800 cat"])
def test_hostile_queries_are_only_words(index: Index, asked: str) -> None:
    index.put([entry(1, "p", "the cat sat"), entry(2, "q", "a dog")])
    assert found(index, asked) == ([("p", 1)] if "cat" in asked else [])


# ---- the order ----


def naive(texts: Sequence[str], path_terms: Sequence[list[str]], asked: str) -> dict[int, float]:
    """BM25 from its definition."""
    of = [terms(text) + path for text, path in zip(texts, path_terms, strict=True)]
    mean = sum(map(len, of)) / len(of)
    scores: dict[int, float] = {}
    for term in query(asked).terms:
        has = sum(term in it for it in of)
        weight = math.log(1 + (len(of) - has + 0.5) / (has + 0.5))
        for at, it in enumerate(of):
            if often := it.count(term):
                norm = 1.2 * (0.25 + 0.75 * len(it) / mean)
                scores[at] = scores.get(at, 0.0) + weight * often * 2.2 / (often + norm)
    return scores


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(TEXT), min_size=1, max_size=12), min_size=1, max_size=12),
    st.lists(st.sampled_from(TEXT), min_size=1, max_size=6),
)
def test_scores_are_bm25(tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], asked: list[str]) -> None:
    index = Index(str(tmp_path_factory.mktemp("bm25")), counter=Words())
    try:
        index.put([entry(at + 1, f"p{at}", " ".join(text)) for at, text in enumerate(texts)])
        hits = index.by_words(query(" ".join(asked)))
        rows = index.rows([it.passage_id for it in hits])
        scores = naive([" ".join(it) for it in texts], [terms(f"p{at}") for at in range(len(texts))], " ".join(asked))
        assert {it.document.ino - 1: hit.score for it, hit in zip(rows, hits, strict=True)} == pytest.approx(
            scores, rel=1e-4
        )
    finally:
        index.close()


@pytest.mark.parametrize("limit", [0, 1, 3, 10, 1000])
def test_equal_scores_stand_in_the_order_of_path_and_line(index: Index, limit: int) -> None:
    """Whatever was put first, and also where the limit cuts between equals."""
    made = [entry(ino, f"d/{(ino * 7) % 40:02}", "cat", "cat") for ino in range(1, 41)]
    index.put(made)
    embed_all(index)
    expected = [(f"d/{at:02}", line) for at in range(40) for line in (1, 3)]
    assert found(index, "cat", limit=limit) == expected[:limit]
    hits = index.by_vector(vectors_of(["cat"])[0], limit=limit)
    assert [it.document.path.decode() for it in index.rows([hit.passage_id for hit in hits])] == [
        path for path, _ in expected[:limit]
    ]


# ---- filters ----


def test_filters(index: Index) -> None:
    index.put(
        [
            entry(1, "a/one", "cat", facts=Facts(tags=("Pet", "red"), created_ns=10 * DAY)),
            entry(2, "a/two", "cat", facts=Facts(tags=("pet",), expires_ns=20 * DAY), mtime_ns=15 * DAY),
            entry(3, "b/three", "cat", mtime_ns=30 * DAY),
        ]
    )
    embed_all(index)

    def both(**wanted: object) -> list[int]:
        filters = replace(Filters(), **wanted)  # type: ignore[arg-type]
        by_words = index.rows([it.passage_id for it in index.by_words(query("cat"), filters)])
        by_vector = index.rows([it.passage_id for it in index.by_vector(vectors_of(["cat"])[0], filters)])
        inos = [it.ino for it in index.documents(filters)]
        assert inos == sorted(it.document.ino for it in by_words) == sorted(it.document.ino for it in by_vector)
        return inos

    assert both() == [1, 2, 3]
    assert both(path=b"a") == [1, 2]
    assert both(path=b"b/three") == [3]
    assert both(path=b"c") == []
    assert both(tags=("PET",)) == [1, 2]
    assert both(tags=("pet", "#red")) == [1]
    assert both(tags=("none",)) == []
    assert both(since_ns=11 * DAY) == [2, 3]
    assert both(now_ns=20 * DAY) == [1, 3]
    assert both(now_ns=20 * DAY - 1) == [1, 2, 3]
    assert both(readable=lambda ino: ino != 1) == [2, 3]
    assert [it.ino for it in index.expiring(20 * DAY + 1)] == [2]
    assert (index.expiring(20 * DAY), index.next_expiry()) == ([], 20 * DAY)


def test_what_may_not_be_read_takes_nobodys_place(index: Index) -> None:
    """The first hundreds are refused: the limit is filled from those behind."""
    index.put([entry(ino, f"{ino:03}", "cat") for ino in range(1, 301)])
    assert found(index, "cat", Filters(readable=lambda ino: ino > 290), limit=5) == [
        (f"{ino}", 1) for ino in range(291, 296)
    ]


# ---- changing ----


def test_passages_whose_text_is_the_same_keep_their_vectors(index: Index) -> None:
    index.put([entry(1, "a", "one cat", "two dogs", "three mats")])
    assert embed_all(index) == 3
    index.put([entry(1, "a", "new words", "one cat", "three mats")])
    assert [text for _, text in index.vectorless(10)] == ["new words"]
    assert len(index.by_vector(vectors_of(["cat"])[0])) == 2
    index.moved([(1, b"b")])
    assert len(index.by_vector(vectors_of(["cat"])[0])) == 2
    assert index.stats().vectors == 2


def test_another_embedder_begins_anew_and_words_answer_meanwhile(index: Index) -> None:
    index.put([entry(1, "a", "one cat", "two dogs")])
    embed_all(index)
    assert (index.embedder, len(index.by_vector(vectors_of(["cat"])[0]))) == ("letters", 2)
    index.use_embedder("other")
    assert index.by_vector(vectors_of(["cat"])[0]) == []
    assert found(index, "cat") == [("a", 1)]
    one = index.vectorless(1)
    index.put_vectors([one[0][0], 999], unit(np.ones((2, 3), np.float32)))
    assert [it.passage_id for it in index.by_vector(unit(np.ones((1, 3), np.float32))[0])] == [one[0][0]]
    assert index.by_vector(vectors_of(["cat"])[0]) == [], "a vector of other dimensions is like nothing here"


def test_the_newest_have_their_vectors_first_and_many_have_none(index: Index, tmp_path: Path) -> None:
    index.put(entry(ino, f"{ino}", f"cat {ino}") for ino in range(1, 3001))
    ids = [it for it, _ in index.vectorless(3)]
    index.put_vectors(ids, vectors_of(["cat"] * 3))
    index.close()
    again = Index(str(tmp_path), counter=Words())
    assert sorted(it.passage_id for it in again.by_vector(vectors_of(["cat"])[0])) == sorted(ids)
    again.close()


def test_the_oldest_have_vectors_and_what_came_since_has_none(index: Index) -> None:
    index.put([entry(1, "old", "cat")])
    embed_all(index)
    [first] = index.by_vector(vectors_of(["cat"])[0])
    index.put(entry(ino, f"{ino}", f"cat {ino}") for ino in range(2, 1200))
    assert index.by_vector(vectors_of(["cat"])[0]) == [first]


def test_neighbours(index: Index) -> None:
    index.put([entry(1, "a", *"abcde"), entry(2, "b", *"xyz")])
    third = index.passages(1)[2]
    first = index.passages(2)[0]
    asking = index.asked(query("c x"))
    both = np.sort(asking.by_words(2)[0])[::-1]
    near_slots = asking.around(both, 1)
    near = asking.weighed(near_slots)
    assert near.ids_of(np.arange(len(near))) == [first.id, first.id + 1, third.id - 1, third.id, third.id + 1]
    assert (np.diff(near.places)[[0, 2, 3]].tolist(), set(near.inos_of(np.arange(len(near))))) == ([1, 1, 1], {1, 2})
    ordered = asking.weighed(asking.in_order(both, near_slots))
    assert ordered.ids_of(np.arange(len(ordered))) == [third.id - 1, third.id, third.id + 1, first.id, first.id + 1]
    assert (np.diff(ordered.places) > 0).all()


texts = st.lists(st.lists(st.sampled_from(TEXT), min_size=1, max_size=8).map(" ".join), max_size=4)
inos = st.integers(1, 6)
paths = st.sampled_from(["a", "a/x", "a/y", "b/x", "notes/red", "notes/cat/z"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), inos, paths, texts),
        st.tuples(st.just("move"), inos, paths),
        st.tuples(st.just("below"), st.sampled_from(["a", "b", "notes"]), st.sampled_from(["a", "c/d"])),
        st.tuples(st.just("remove"), inos),
        st.tuples(st.just("ask")),
        st.tuples(st.just("learn")),
        st.tuples(st.just("embed")),
    ),
    max_size=14,
)


@pytest.fixture
def learns_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a time, and forgets soon."""
    monkeypatch.setattr(learned, "_TERMS_AT_ONCE", 3)
    monkeypatch.setattr(learned, "_CAME_MAX", 25)


@pytest.mark.usefixtures("learns_little")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_after_any_changes_it_is_as_if_built_anew(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    """Put, move and remove in any order, with questions between, equal an index that was filled with what is left;
    and what stands in memory equals what is read when the file is opened."""
    place = tmp_path_factory.mktemp("any")
    index = Index(str(place), counter=Words())
    files: dict[int, Entry] = {}
    for step, *of in steps:
        if step == "put":
            ino, path, lines = of
            files[ino] = entry(ino, path, *lines, facts=Facts(tags=(path,)))  # type: ignore[index,arg-type,misc]
            index.put([files[ino]])  # type: ignore[index]
        elif step == "move":
            ino, path = of
            index.moved([(ino, path.encode())])  # type: ignore[arg-type,attr-defined]
            if ino in files:
                files[ino] = replace(files[ino], path=path.encode())  # type: ignore[index,attr-defined]
        elif step == "below":
            old, new = (str(it).encode() for it in of)
            moved = {ino: new + it.path[len(old) :] for ino, it in files.items() if it.path.startswith(old + b"/")}
            index.moved(moved.items())
            files |= {ino: replace(files[ino], path=path) for ino, path in moved.items()}
        elif step == "remove":
            index.remove([of[0]])  # type: ignore[list-item]
            files.pop(of[0], None)  # type: ignore[call-overload]
        elif step == "embed":
            embed_all(index)
        elif step == "learn":
            index.learn()
        else:
            answers(index)
    embed_all(index)
    anew = Index(str(tmp_path_factory.mktemp("anew")), counter=Words())
    anew.put(files.values())
    embed_all(anew)
    expected = answers(anew)
    if len({it.path for it in files.values()}) == len(files):  # else the order of names is open
        assert answers(index) == expected
        index.close()
        index = Index(str(place), counter=Words())
        assert answers(index) == expected
    index.close()
    anew.close()


def test_a_worn_image_is_made_anew(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "_DEAD_MIN", 20)
    index.put([entry(1, "a", "the cat")])
    for at in range(23):
        index.put([entry(2, "b", f"dog {at}")])
        assert found(index, "dog") == [("b", 1)]
    assert found(index, "dog cat") == [("a", 1), ("b", 1)]
    assert index._image is not None
    assert index._image.count < 20


def test_what_was_learned_answers_without_the_database(index: Index) -> None:
    index.put([entry(at, f"{at:03}", f"common word{at}") for at in range(1, 300)])
    assert found(index, "common word7")[0] == ("007", 1)
    while index.learn():
        pass
    assert index._image is not None
    assert not index._image.lacks(["word8", "commonn", "nowhere"])
    assert found(index, "word8") == [("008", 1)]
    assert found(index, "nowhere") == []
    index.put([entry(8, "8", "gone"), entry(500, "500", "word9 word500")])
    assert found(index, "word8") == []
    assert sorted(found(index, "word9")) == [("009", 1), ("500", 1)]
    assert found(index, "word500") == [("500", 1)]


def test_the_rarest_words_are_looked_for_where_there_are_too_many(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_module, "_POSTINGS_MAX", 10)
    index.put([entry(at, f"{at:02}", "common " + ("rare" if at == 7 else "")) for at in range(1, 31)])
    for _ in ("from the file", "from memory"):
        assert found(index, "common rare") == [("07", 1)]
        assert len(found(index, "common")) == 30, "a word alone is always looked for"


# ---- crashes, damage, disks ----


def test_a_change_that_fails_changes_nothing(index: Index) -> None:
    class Broken(Words):
        def counts(self, texts: Sequence[str]) -> list[int]:
            if "poison" in texts:
                raise RuntimeError("broken")
            return super().counts(texts)

    index.counter = Broken()
    index.put([entry(1, "a", "cat")], position=1)
    before = answers(index)
    with pytest.raises(RuntimeError):
        index.put([entry(1, "a", "dog"), entry(2, "b", "poison")], position=2)
    assert (answers(index), index.position) == (before, 1)


def overwritten(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"\xff" * 4096)
    for suffix in ("-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.unlink(path + suffix)


def other_version(path: str) -> None:
    _changed(path, "UPDATE state SET value=999 WHERE key='schema_version'")


def other_counter(path: str) -> None:
    _changed(path, "UPDATE state SET value='gpt' WHERE key='counter'")


def _changed(path: str, statement: str) -> None:
    program = f"import apsw; apsw.Connection({path!r}).execute({statement!r})"
    subprocess.run([sys.executable, "-c", program], check=True)


def emptied(path: str) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("harm", [overwritten, other_version, other_counter, emptied, os.unlink])
def test_what_is_damaged_or_of_another_version_starts_from_nothing(
    tmp_path: Path, harm: Callable[[str], None]
) -> None:
    index = Index(str(tmp_path), counter=Words())
    index.put([entry(1, "a", "cat")], position=5)
    path = index.path
    index.close()
    harm(path)
    index = Index(str(tmp_path), counter=Words())
    assert (index.position, found(index, "cat")) == (0, [])
    index.put([entry(1, "a", "cat")], position=6)
    assert (index.position, found(index, "cat")) == (6, [("a", 1)])
    index.close()


def test_damage_while_it_is_open_is_said_once_and_then_made_good(index: Index) -> None:
    index.put([entry(at, f"{at}", f"cat {at} " * 50) for at in range(1, 300)], position=5)
    index._file._leave()  # so that pages are read from the disk again
    with open(index.path, "r+b") as file:
        pages = os.path.getsize(index.path) // 1024
        for page in range(pages // 2, pages):
            file.seek(page * 1024)
            file.write(os.urandom(1024))
    with pytest.raises(Unavailable):
        found(index, "cat")
    assert (index.position, found(index, "cat")) == (0, [])
    index.put([entry(1, "a", "cat")], position=6)
    assert found(index, "cat") == [("a", 1)]


def test_a_full_disk_is_an_error_and_what_was_there_answers_on(index: Index) -> None:
    index.put([entry(1, "a", "cat")], position=1)
    writer, _ = index._file._open()
    pages = writer.one("PRAGMA page_count")
    assert pages is not None
    list(writer.execute(f"PRAGMA max_page_count={pages[0] + 20}"))
    with pytest.raises(NoSpace):
        index.put([entry(at, f"{at}", f"cat number {at} " * 30) for at in range(2, 200)], position=2)
    assert (index.position, found(index, "cat")) == (1, [("a", 1)])
    list(writer.execute("PRAGMA max_page_count=1000000"))
    index.put([entry(2, "b", "cat")], position=2)
    assert (index.position, found(index, "cat")) == (2, [("a", 1), ("b", 1)])


_WRITES = """
from agentfs.memory.documents import Document
from agentfs.memory.facts import Facts
from agentfs.memory.index import Entry, Index
from agentfs.memory.passages import Passage

class Words:
    name = "words"
    def counts(self, texts):
        return [len(text.split()) for text in texts]

index = Index({place!r}, counter=Words())
for at in range(1, 100000):
    passages = tuple(Passage(1, 1, 0, 0, text) for text in ("cat " * (at % 7 + 1), "dog"))
    document = Document("text", Facts(), passages)
    index.put([Entry(at, b"d/%d" % at, bytes(32), 0, document)], position=2 * at - 1)
    index.moved([(at, b"e/%d" % at)], position=2 * at)
    if at == 20:
        print("going", flush=True)
"""


@pytest.mark.parametrize("later_ms", [0, 60])
def test_killed_at_any_moment_it_is_true_up_to_its_position(tmp_path: Path, later_ms: int) -> None:
    program = _WRITES.format(place=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"going\n"
        threading.Event().wait(later_ms / 1000)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    index = Index(str(tmp_path), counter=Words())
    done, moved = (index.position + 1) // 2, index.position // 2
    assert done >= 20
    expected = {f"e/{at}" for at in range(1, moved + 1)} | {f"d/{at}" for at in range(moved + 1, done + 1)}
    assert {it.path.decode() for it in index.documents()} == expected
    assert {path for path, _ in found(index, "cat", limit=10**6)} == expected
    assert len(found(index, "dog", limit=10**6)) == done
    index.close()


def test_questions_and_changes_from_many_threads(index: Index) -> None:
    """Nobody fails, and nobody sees half of a change."""
    index.put([entry(ino, f"d/{ino}", "cat", "dog") for ino in range(1, 21)])
    problems: list[BaseException] = []
    ends = threading.Event()

    def asks() -> None:
        try:
            while not ends.is_set():
                assert len(index.by_words(query("cat"))) in (19, 20)
                index.rows([index.by_words(query("dog"), limit=1)[0].passage_id])
                index.by_vector(vectors_of(["cat"])[0])
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=asks) for _ in range(3)]
    for it in threads:
        it.start()
    try:
        for at in range(60):
            index.put([entry(at % 20 + 1, f"e/{at}", "a cat", "dogs")])
            index.moved([(at % 20 + 1, f"f/{at}".encode())])
            embed_all(index)
            if at % 20 == 19:
                index.remove([1])
                index.put([entry(1, "d/1", "cat", "dog")])
    finally:
        ends.set()
        for it in threads:
            it.join()
    assert not problems


def test_where_paths_leave_no_room_all_have_other_places(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_APART", 4)
    monkeypatch.setattr(places, "_BESIDE", 1)
    names = [f"{it * 7919 % 97:02}" for it in range(60)]
    for ino, name in enumerate(names, 1):
        index.put([entry(ino, name, "the same", "the same")])
        assert found(index, "same") == [(it, line) for it in sorted(names[:ino]) for line in (1, 3)]


def test_who_may_not_read_all_changes_no_score_of_others(index: Index) -> None:
    index.put([entry(ino, str(ino), "cat " * ino + "dog " * (3 - ino)) for ino in range(1, 4)])
    before = index.by_words(query("cat dog"))
    some = index.by_words(query("cat dog"), Filters(hidden={3}))
    assert [it.passage_id for it in some] != [it.passage_id for it in before]
    assert index.by_words(query("cat dog")) == before
    assert index.by_words(query("cat dog"), Filters(hidden={3})) == some


def test_what_headers_cost_is_known_ahead_of_questions(index: Index) -> None:
    facts = Facts(tags=("garden", "plans"))
    index.put([entry(ino, f"notes/{ino}.md", "cat", "dog", facts=facts, mtime_ns=ino * DAY) for ino in range(1, 150)])
    while index.learn():
        pass
    index.put([entry(3, "notes/the third of them.md", "cat cat", "dog")])
    index.moved([(4, b"elsewhere/fourth.md")])
    asking = index.asked(query("cat dog"))
    weighed = asking.weighed(asking.in_order(asking.by_words(400)[0]))
    everything = np.arange(len(weighed))
    assert len(everything) == 298
    for at, row in enumerate(index.rows(weighed.ids_of(everything))):
        of = row.found
        heading = Heading(of.path, of.date_ns, of.tags, of.first_line, of.last_line)
        assert weighed.heading(at) == heading
        assert weighed.header_cost(at, index.counter) == cost_alone(index.counter, heading) > 0
