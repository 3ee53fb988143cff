"""Recall over a real index: the budget, verbatim text, what may not be seen, order, strategies, hostile questions."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from bench.recall_data import notes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentfs.errors import AgentFSError
from agentfs.memory import browsing
from agentfs.memory.documents import document
from agentfs.memory.embedding import Embedder, Vectors, default_embedder
from agentfs.memory.index import Index
from agentfs.memory.packing import fused
from agentfs.memory.question import meaning, telling, when
from agentfs.memory.recalling import Asked, Recalled, filters_of, recall, search
from agentfs.memory.rows import Entry
from agentfs.memory.tokens import default_counter

DAY_NS = 86400 * 10**9
NOW_NS = 1_790_000_000 * 10**9
EMBEDDER, COUNTER = default_embedder(), default_counter()


def indexed(
    directory: Path, files: dict[str, str], ages: dict[str, int] | None = None, embedder: Embedder = EMBEDDER
) -> Index:
    directory.mkdir(exist_ok=True)
    index = Index(str(directory), counter=COUNTER)
    entries = []
    for ino, (path, text) in enumerate(files.items(), 1):
        data, mtime_ns = text.encode(), NOW_NS - (ages or {}).get(path, 1) * DAY_NS
        made = document(path.encode(), data, {}, mtime_ns=mtime_ns)
        assert made is not None
        entries.append(Entry(ino, path.encode(), hashlib.sha256(data).digest(), mtime_ns, made))
    index.put(entries)
    index.use_embedder(embedder.name)
    while wanted := index.vectorless(256):
        index.put_vectors([it for it, _ in wanted], embedder.embed([text for _, text in wanted]))
    return index


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return notes().files


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]) -> Iterator[Index]:
    made = indexed(tmp_path_factory.mktemp("recall"), files)
    yield made
    made.close()


def ask(index: Index, query: str, **fields: object) -> Recalled:
    return recall(index, EMBEDDER, COUNTER, Asked(query, **{"now_ns": NOW_NS, **fields}))  # type: ignore[arg-type]


def check(got: Recalled, files: dict[str, str], max_tokens: int) -> None:
    assert got.tokens == COUNTER.count(got.text) <= max_tokens
    places = set()
    for it in got.found:
        lines = files[it.path].split("\n")
        assert it.text in files[it.path]
        assert it.text in got.text
        assert it.text in "\n".join(lines[it.first_line - 1 : it.last_line])
        assert abs(sum(it.parts.values()) - it.score) < 1e-6
        for line in range(it.first_line, it.last_line + 1):
            places.add((it.path, line))
    assert [it.score for it in got.found] == sorted((it.score for it in got.found), reverse=True)
    assert got.relevant or not got.found


QUERIES = st.one_of(
    st.sampled_from([it.text for it in notes().questions]),
    st.text(max_size=60),
    st.lists(
        st.sampled_from(["wifi", "Jonas", "db", "\0", "😀", "AND", '"', "NEAR(", "数据库", "\u202e", "*", ")"])
    ).map(" ".join),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES, max_tokens=st.integers(0, 5000))
def test_never_over_the_budget_and_verbatim(index: Index, files: dict[str, str], query: str, max_tokens: int) -> None:
    got = ask(index, query, max_tokens=max_tokens)
    check(got, files, max_tokens)
    assert ask(index, query, max_tokens=max_tokens) == got


def test_a_budget_that_holds_nothing_is_told_what_the_best_needs(index: Index, tmp_path: Path) -> None:
    """By what the answer costs when it is given; and one that holds just that gives it."""
    query = "what is the wifi password of the workshop"
    needs = ask(index, query, max_tokens=1).needs
    assert needs > 20
    best = ask(index, query, max_tokens=needs)
    assert (len(best.found), best.tokens, best.needs) == (1, needs - 1, 0)
    told = 0
    for max_tokens in range(needs):
        got = ask(index, query, max_tokens=max_tokens)
        assert got.relevant
        assert got.tokens == COUNTER.count(got.text) <= max_tokens
        if not got.found:  # something shorter may have fit
            assert got.needs == needs
            assert got.text in ("", f"The best passage needs {needs} tokens: ask with more.")
            assert got.text or max_tokens < 20
            told += bool(got.text)
    assert told
    one = ask(index, query, max_tokens=15)
    both = fused([one, one], max_tokens=15, counter=COUNTER)
    assert (both.text, both.needs, both.relevant) == (one.text, needs, True)
    assert ask(index, "zygomorphic quaternions", max_tokens=15).needs == 0


@pytest.mark.parametrize("max_tokens", [300, 500, 1000, 2000])
def test_never_a_fraction_of_the_budget_when_there_is_more(index: Index, max_tokens: int) -> None:
    got = ask(index, "what did Jonas and Priya do with the database", max_tokens=max_tokens)
    assert got.tokens > 0.85 * max_tokens


@pytest.mark.parametrize(
    "query",
    [
        "", " ", "\0", '"', "'", "*", "NEAR(a b, 2)", "text: a AND NOT b OR (", "a" * 100_000, "wifi " * 20_000,
        "-- ; DROP", "😀😀", "\u202eabc\u202c שלום", "\ud800", "^wifi", "{}", "数据库" * 5_000, "e\u0301" * 1000,
    ],
)  # fmt: skip
def test_no_question_fails(index: Index, files: dict[str, str], query: str) -> None:
    check(ask(index, query), files, 2000)
    search(index, EMBEDDER, COUNTER, Asked(query, now_ns=NOW_NS))
    browsing.timeline(index, EMBEDDER, COUNTER, Asked(query, now_ns=NOW_NS))


def test_what_is_not_there_is_not_answered(index: Index) -> None:
    got = ask(index, "temperature of liquid helium")
    assert not got.relevant
    assert got.found == ()
    assert "Nothing" in got.text
    assert ask(index, "temperature of liquid helium", max_tokens=1).text == ""
    assert search(index, EMBEDDER, COUNTER, Asked("temperature of liquid helium", now_ns=NOW_NS)) == []


def test_nobody_sees_what_is_expired_or_not_theirs(tmp_path: Path) -> None:
    texts = {
        "open.md": "# Harbour\nThe harbour gate opens at six.\n",
        "over.md": "---\nexpires: 2020-01-01\n---\nThe harbour gate code was 1111.\n",
        "theirs.md": "# Harbour\nThe harbour gate code is 2222.\n",
    }
    index = indexed(tmp_path, texts)
    answers: list[Sequence[object]] = []

    def readable(ino: int) -> bool:
        return ino != 3

    asked = Asked("harbour gate code", now_ns=NOW_NS, readable=readable)
    got = recall(index, EMBEDDER, COUNTER, asked)
    answers += [got.found, search(index, EMBEDDER, COUNTER, asked), browsing.topics(index, asked)]
    answers += [browsing.timeline(index, EMBEDDER, COUNTER, asked)]
    answers += [
        browsing.related(index, EMBEDDER, COUNTER, Asked("", path=b"open.md", readable=readable, now_ns=NOW_NS))
    ]
    assert [it.path for it in got.found] == ["open.md"]
    assert not any(word in repr((answers, got.text)) for word in ("over.md", "theirs.md", "1111", "2222"))
    assert browsing.related(index, EMBEDDER, COUNTER, Asked("", path=b"theirs.md", readable=readable)) == []


class Away:
    """An endpoint that is away, of vectors that are there."""

    name, dimensions = EMBEDDER.name, EMBEDDER.dimensions

    def embed(self, texts: Sequence[str]) -> Vectors:
        raise AgentFSError("no answer")


def test_what_may_not_be_read_changes_no_number(tmp_path: Path, files: dict[str, str]) -> None:
    """The answers are those of a memory that has only what may be read: no score tells how often a word stands in the
    rest, or that it does."""
    paths = sorted(files)
    mine = {path: files[path] for path in paths[::3]}
    theirs = {f"theirs/{path}": text * 3 for path, text in files.items() if path not in mine}
    alone, both = indexed(tmp_path / "alone", mine), indexed(tmp_path / "both", theirs | mine)
    hidden = frozenset(it.ino for it in both.documents() if it.path.startswith(b"theirs/"))
    try:
        for embedder in (None, EMBEDDER):
            for question in [it.text for it in notes().questions[::15]] + ["wifi password", "Jonas", "zygomorphic"]:
                asked = Asked(question, now_ns=NOW_NS, max_tokens=500)
                barred = replace(asked, readable=lambda ino: ino not in hidden, hidden=hidden)
                one, other = (recall(it, embedder, COUNTER, by) for it, by in ((alone, asked), (both, barred)))
                assert other == one
                assert search(both, embedder, COUNTER, barred) == search(alone, embedder, COUNTER, asked)
        assert browsing.topics(both, barred) == browsing.topics(alone, asked)
        assert both.tags(filters_of(barred)) == alone.tags(filters_of(asked))
        whole, part = both.stats(), both.stats(hidden)
        assert (part.documents, part.passages, part.tokens, part.vectors) == (
            (it := alone.stats()).documents, it.passages, it.tokens, it.vectors
        )  # fmt: skip
        assert whole.documents == len(files)
    finally:
        alone.close()
        both.close()


def test_words_answer_when_the_embedder_does_not(index: Index) -> None:
    got = recall(index, Away(), COUNTER, Asked("which day is Jonas not working", now_ns=NOW_NS))
    assert any("Wednesdays off" in it.text for it in got.found)
    assert not any("vectors" in it.parts for it in got.found)


def test_filters(index: Index) -> None:
    assert {it.path.split("/")[0] for it in ask(index, "Jonas Priya review", path=b"logs").found} == {"logs"}
    assert {it.path.split("/")[0] for it in ask(index, "why was it chosen", tags=("Architecture",)).found} == {
        "decisions"
    }
    since = NOW_NS - 3650 * DAY_NS
    assert all(it.date_ns >= since for it in ask(index, "what port", since_ns=since).found)


def test_one_half_life_counts_half(tmp_path: Path) -> None:
    texts = {"new.md": "The quartz clock runs fast.\n", "old.md": "The quartz clock runs slow.\n"}
    index = indexed(tmp_path, texts, {"new.md": 0, "old.md": 40})
    scores = {
        kind: {it.path: it.score for it in ask(index, "quartz clock", strategy=kind, half_life_ns=40 * DAY_NS).found}
        for kind in ("relevance", "recency", "balanced")
    }
    assert scores["recency"]["new.md"] == pytest.approx(scores["relevance"]["new.md"])
    assert scores["recency"]["old.md"] == pytest.approx(scores["relevance"]["old.md"] / 2)
    assert 0 < scores["balanced"]["new.md"] - scores["relevance"]["new.md"] <= 0.0501


def test_importance_is_the_callers_choice(tmp_path: Path) -> None:
    texts = {
        "much.md": "---\nimportance: 1.0\n---\nThe quartz clock runs fast in the hall.\n",
        "less.md": "---\nimportance: 0.1\n---\nThe quartz clock runs fast in summer.\n",
    }
    index = indexed(tmp_path, texts)
    plain = {it.path: it.score for it in ask(index, "quartz clock", strategy="relevance").found}
    chosen = {it.path: it.score for it in ask(index, "quartz clock", strategy="importance").found}
    assert chosen["much.md"] == pytest.approx(plain["much.md"])
    assert "less.md" not in chosen or chosen["less.md"] == pytest.approx(plain["less.md"] / 10)


def test_what_was_put_away_comes_later_and_is_never_hidden(tmp_path: Path) -> None:
    """As the same passage would come, but for its place; asked about the archive, in full."""
    files = {
        "a.md": "---\nsuperseded_by: z.md\n---\nThe kiln is fired on Mondays at noon.\n",
        "archive/b.md": "The kiln is fired on Tuesdays by Rosa.\n",
        "archives.md": "The kiln is fired on Wednesdays with care.\n",
        "z.md": "The kiln is fired on Fridays only.\n",
        "archive/glaze.md": "Celadon glaze: one part ash.\n",
    }
    index = indexed(tmp_path, files)
    try:
        for strategy in ("balanced", "recency", "importance", "relevance"):
            found = ask(index, "when is the kiln fired", strategy=strategy).found
            assert {it.path for it in found[:2]} == {"z.md", "archives.md"}
            assert [it.path for it in found if it.parts.get("archived", 0) < 0] == [it.path for it in found[2:]]
            assert {it.path for it in found[2:]} == {"a.md", "archive/b.md"}
            assert all(abs(sum(it.parts.values()) - it.score) < 1e-9 for it in found)
        only = ask(index, "celadon glaze").found[0]
        assert only.path == "archive/glaze.md"
        for path in (b"archive", b"archive/b.md"):
            inside = ask(index, "when is the kiln fired", path=path).found
            assert inside[0].path == "archive/b.md" and "archived" not in inside[0].parts
        index.moved([(2, b"b.md"), (4, b"archive/z.md")])
        away = {it.path: it.parts.get("archived", 0) < 0 for it in ask(index, "when is the kiln fired").found}
        assert away == {"archives.md": False, "b.md": False, "archive/z.md": True, "a.md": True}
    finally:
        index.close()


def test_the_same_text_comes_once_but_other_numbers_are_another_text(index: Index, tmp_path: Path) -> None:
    got = ask(index, "what is the wifi of the workshop called")
    assert got.text.count("The Wi-Fi of the workshop is called gannet") == 1
    texts = {f"{port}.md": f"The staging database of the shop listens on port {port}.\n" for port in (5432, 6543)}
    assert len(ask(indexed(tmp_path, texts), "port of the staging database").found) == 2


def test_turns_that_touch_come_as_one_run_with_one_header(tmp_path: Path) -> None:
    turns = "\n".join(f"{'Ann' if at % 2 else 'Bob'}: sentence {at} about the lighthouse keeper" for at in range(9))
    index = indexed(tmp_path, {"talk.md": f"# 8 May 2023\n\n{turns}\n"})
    got = ask(index, "what about the lighthouse keeper")
    assert got.text.count("## talk.md") == 1
    assert "2023-05-08" in got.text.split("\n")[0]
    assert len(got.found) == 1
    assert got.found[0].text == turns


def test_several_memories_are_one_answer_within_the_budget(tmp_path: Path) -> None:
    one = indexed(tmp_path / "one", {"a.md": "# Harbour\nThe harbour gate opens at six.\n"})
    two = indexed(tmp_path / "two", {"b.md": "# Bread\nSourdough rests for twelve hours.\n"})
    parts = [ask(it, "when does the harbour gate open") for it in (one, two)]
    got = fused(parts, max_tokens=2000)
    assert got.found[0].path == "a.md"
    assert got.tokens == COUNTER.count(got.text)
    assert fused(parts, max_tokens=10).tokens <= 10
    assert not fused([parts[1], parts[1]], max_tokens=100).relevant
    paragraphs = "\n\n".join(
        f"The harbour has a gate {name}." for name in ("in the north", "in the south", "for boats")
    )
    three = indexed(tmp_path / "three", {"c.md": paragraphs.replace("south.\n\n", "south.\n \n")})
    alone = ask(three, "where does the harbour have a gate")
    assert fused([alone], max_tokens=2000).found == alone.found


def test_questions_among_people_are_worth_less_than_their_answers(tmp_path: Path) -> None:
    said = (
        "{}: Where do you keep the spare kettle?\n{}: The spare kettle? In the shed.\n{}: Is it the red one?\n"
        "{}: Yes, and it leaks.\n"
    )
    files = {"people.md": said.format(*("Ann", "Ben") * 2), "chat.md": said.format(*("User", "Assistant") * 2)}
    index = indexed(tmp_path / "said", files)
    for it in search(index, EMBEDDER, COUNTER, Asked("where is the spare kettle kept", now_ns=NOW_NS)):
        asks = it.path == "people.md" and it.text.endswith("?")
        assert (it.parts.get("asks", 0.0) < 0) == asks, it.text
    index.position = 1  # read again, from the file
    index.close()
    again = Index(str(tmp_path / "said"), counter=COUNTER)
    found = search(again, EMBEDDER, COUNTER, Asked("where is the spare kettle kept", now_ns=NOW_NS))
    assert sum(it.parts.get("asks", 0.0) < 0 for it in found) == 2
    again.close()


def test_the_users_own_words_come_first_when_they_ask_of_themselves(tmp_path: Path) -> None:
    files = {
        "chat.md": "User: The flight to Oslo is at nine.\n\n"
        "Assistant: A flight to Oslo takes two hours, flight by flight: the Oslo flight.\n\nUser: Thanks.\n\n"
        "Assistant: Any time.\n"
    }
    index = indexed(tmp_path, files)
    try:
        mine, anyones = (
            search(index, default_embedder(), default_counter(), Asked(query, now_ns=NOW_NS))[0]
            for query in ("my flight to Oslo", "flight to Oslo")
        )
        assert mine.parts["author"] > 0
        assert mine.text.startswith("User"), "else the assistant"
        told = Asked("What did you tell me of my flight being nine?", now_ns=NOW_NS)
        assert search(index, default_embedder(), default_counter(), told)[0].text.startswith("Assistant"), (
            "who is asked"
        )
        assert anyones.text.startswith("Assistant")
    finally:
        index.close()


def test_the_rare_word_of_a_question_says_most(tmp_path: Path) -> None:
    """What answers has none of the question's words; the common one of them stands in others."""
    lines = [f"- The office on floor {number} was painted." for number in range(9)]
    lines += [f"- Invoice {number} was paid." for number in range(36)]
    index = indexed(tmp_path / "rare", {"rooms.md": "\n".join([*lines, "- Her puppy sleeps in the hall."])})
    found = search(index, EMBEDDER, COUNTER, Asked("office dog", now_ns=NOW_NS, limit=50))
    nearest = max(found, key=lambda it: it.parts.get("vectors", 0.0))
    assert nearest.text == "- Her puppy sleeps in the hall."
    index.close()


def test_letters_are_no_words_to_a_bag_of_words(tmp_path: Path) -> None:
    """Its tokens for Chinese are single characters: what shares many of them is next to nothing nearer for that."""
    files = {"a.md": "我们的狗每天早上吃苹果。\n", "b.md": "The dog eats apples every morning.\n"}
    index = indexed(tmp_path, files)
    try:
        for query, near in (
            ("狗早上吃什么？", False),
            ("dog apples", True),
            ("狗 eats 苹果 apples every morning", True),
        ):
            best = search(index, default_embedder(), default_counter(), Asked(query, now_ns=NOW_NS))[0]
            assert (best.parts["vectors"] > 0.11) == near, query
    finally:
        index.close()


def test_an_embedder_of_english_counts_little_in_other_scripts(tmp_path: Path) -> None:
    class Named:
        embed = staticmethod(EMBEDDER.embed)

        def __init__(self, name: str) -> None:
            self.name = name

    for name, little in (("all-minilm-l6-v2", True), ("openai:any", False)):
        embedder = Named(name)
        index = indexed(tmp_path / name, {"a.md": "Собака ест яблоки.\n", "b.md": "The dog eats.\n"}, None, embedder)
        try:
            best = search(index, embedder, COUNTER, Asked("Что ест собака?", now_ns=NOW_NS))[0]
            assert (best.parts["vectors"] <= 0.1) == little, name
        finally:
            index.close()


def test_snippets_are_slices_where_the_words_stand(index: Index, files: dict[str, str]) -> None:
    found = search(index, EMBEDDER, COUNTER, Asked("retry jitter uniform", limit=5, now_ns=NOW_NS))
    assert found[0].path == "snippets/retry.py"
    for it in found:
        assert it.text in files[it.path]
        assert it.text in "\n".join(files[it.path].split("\n")[it.first_line - 1 : it.last_line])


def test_looking_around(index: Index) -> None:
    near = browsing.related(index, EMBEDDER, COUNTER, Asked("", path=b"projects/kestrel/plan.md", now_ns=NOW_NS))
    assert near[0].path == "projects/kestrel/architecture.md"
    dated = browsing.timeline(index, EMBEDDER, COUNTER, Asked("", path=b"facts", now_ns=NOW_NS))
    assert [it.date_ns for it in dated] == sorted(it.date_ns for it in dated)
    assert len(dated) == 15
    about = browsing.topics(index, Asked("", now_ns=NOW_NS))
    assert about == browsing.topics(index, Asked("", now_ns=NOW_NS))
    assert next(it.documents for it in about if it.name == "#architecture") == 10


def test_a_list_has_no_passage_that_has_nothing_to_do_with_it(tmp_path: Path) -> None:
    """In a small memory every passage is a candidate."""
    files = {
        "kiln.md": "The kiln is fired on Fridays.\n",
        "long.md": f"{'Much about other things, at length. ' * 8}And the kiln.\n",
        "x.md": "x\n",
        "door.md": "9876\n",
        "cat.md": "猫在家里。\n",
    }
    index = indexed(tmp_path, files)
    try:
        for embedder in (None, EMBEDDER):
            asked = Asked("kiln", now_ns=NOW_NS)
            for listed in (search, browsing.timeline):
                found = {it.path for it in listed(index, embedder, COUNTER, asked)}
                assert {"kiln.md", "long.md"} <= found
                assert not {"x.md", "door.md"} & found
            near = browsing.related(index, embedder, COUNTER, Asked("", path=b"kiln.md", now_ns=NOW_NS))
            assert near[0].path == "long.md"
            assert min(it.score for it in near) >= near[0].score / 10
    finally:
        index.close()


def test_topics_are_words_of_any_script_and_form(tmp_path: Path) -> None:
    files = {
        "one.jsonl": '{"role":"user","text":"the printer is jammed"}\n{"role":"assistant","text":"noted"}\n',
        "two.json": '{"device":"printer","role":"spare"}\n',
        "three.py": "def printer(pages):\n    return pages * backoff(2)\n",
        "四.md": "风险在于台积电。\n",
        "五.md": "台积电很大。\n",
        "six.md": "Nothing else.\n",
        "seven.md": "It's Anna's e-mail.\n",
        "eight.md": "Lilies.\n",
    }
    index = indexed(tmp_path, files)
    try:
        found = browsing.topics(index, Asked("", now_ns=NOW_NS))
        assert {it.name for it in found} >= {"printer", "台积"}
        said = {word for it in found for word in (it.name, *it.words)}
        assert not [word for word in said if set('"(){}:。') & set(word)]
    finally:
        index.close()


def test_questions_say_when() -> None:
    def day(text: str) -> int:
        import datetime  # noqa: PLC0415

        return int(datetime.datetime.fromisoformat(f"{text}T12:00:00+00:00").timestamp()) * 10**9

    now = day("2026-11-21")
    for query, inside, outside in (
        ("what happened on May 3, 2023", "2023-05-03", "2023-05-04"),
        ("who came in May 2023?", "2023-05-30", "2023-06-01"),
        ("plans for December 2023", "2023-12-31", "2024-01-01"),
        ("in June", "2020-06-15", "2020-07-15"),
        ("what did I do yesterday", "2026-11-20", "2026-11-21"),
        ("two weeks ago", "2026-11-07", "2026-11-20"),
        ("since 2024", "2024-02-01", "2023-12-31"),
    ):
        found = when(query, now)
        assert found is not None, query
        assert found.holds(day(inside)), query
        assert not found.holds(day(outside)), query
    assert when("what may I do", now) is None


def test_names_that_stand_everywhere_are_not_what_is_meant() -> None:
    assert meaning("What did Caroline's friend paint?", {"carolin"}).split() == [
        "What",
        "did",
        "friend",
        "paint?",
    ]
    assert meaning("Caroline", {"carolin"}) == "Caroline"
    assert telling("What did Caroline paint, and paint?", {"carolin"}) == ["paint"]
    assert telling("Caroline", {"carolin"}) == []
