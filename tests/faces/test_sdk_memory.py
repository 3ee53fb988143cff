"""`Home.remember`, `recall` and their kin: over the embedded store, without a mount."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from agentfs import AsyncHome, Home, errors
from agentfs.clock import SystemClock
from agentfs.config.settings import Settings, load
from agentfs.memory import pdf_text
from agentfs.memory.results import Found, Recalled
from agentfs.replica import backing
from agentfs.sdk.remembering import memory_bytes, names
from agentfs.volume import asking, memory_words, store_clock
from agentfs.volume.spaces import create_space
from agentfs.volume.virtual_texts import stats_text

_NS = 10**9


def settings_for(tmp_path: Path, machine: str = "one", **flags: object) -> Settings:
    (tmp_path / "store").mkdir(exist_ok=True)
    given = {
        "store": str(tmp_path / "store"),
        "state_dir": str(tmp_path / f"state-{machine}"),
        "timeout": 60,
        **flags,
    }
    return load(given, environment={"HOME": str(tmp_path), "AGENTFS_VIEW": "off"})


@pytest.fixture(autouse=True)
def on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making 256 for every home takes longer than most of these tests. And no question is answered early because the
    machine is slow."""
    monkeypatch.setattr(backing, "DIRECTORIES", 4)
    monkeypatch.setattr(memory_words, "WAIT_SECONDS", 60.0)


class LateClock(SystemClock):
    """A wall clock that can be put forward."""

    late_ns = 0

    def wall_ns(self) -> int:
        return time.time_ns() + self.late_ns


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> LateClock:
    """Of this machine and of the store: time has passed."""
    clock = LateClock()
    monkeypatch.setattr(store_clock, "store_time", lambda *_: (clock.wall_ns() / _NS, clock.wall_ns() / _NS))
    return clock


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with Home.open("me", settings=settings_for(tmp_path)) as home:
        yield home


def paths(found: Recalled) -> list[str]:
    return [it.path for it in found.found]


# ---- what a memory is called ----


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Deploys go out on Tuesdays.", "deploys-go-out-on-tuesdays"),
        ("# A heading\n\nand more", "a-heading"),
        ("- [ ] buy milk!", "buy-milk"),
        ("東京で会いましょう", "東京で会いましょう"),
        ("../../etc/passwd", "etc-passwd"),
        ("\ud800 half a pair", "half-a-pair"),
        ("🎉🎉", "memory"),
        ("a/b\\c:d?e*f|g", "a-b-c-d-e-f-g"),
        ("x" * 300, "x" * 60),
        ("語" * 200, "語" * 60),
        ("CON.md", "con-md"),
    ],
)
def test_a_name_is_the_first_words(text: str, name: str) -> None:
    assert os.fsdecode(next(names(text, ""))) == f"{name}.md"
    assert all(len(it) <= 255 for it in islice(names(text, ""), 20))


def test_a_memory_is_a_file_with_its_facts_in_front(home: Home) -> None:
    made = home.remember(
        "NVDA might drop after earnings.", title="NVDA risk", importance=0.8, tags=["work", "risk"], type="note"
    )
    month = made.path.split("/")[1]
    assert month in {(datetime.now(UTC) - timedelta(minutes=ago)).strftime("%Y-%m") for ago in (0, 5)}
    assert made.path == f"memories/{month}/nvda-risk.md"
    facts = home.facts(made.path)
    assert (facts.title, facts.importance, facts.tags, facts.type) == ("NVDA risk", 0.8, ("work", "risk"), "note")
    assert facts.created_ns is not None
    assert home.read_text(made.path).endswith("---\nNVDA might drop after earnings.\n")
    assert home.remember("other", title="NVDA risk").path == f"memories/{month}/nvda-risk-2.md"
    assert home.remember("third", title="NVDA risk").path == f"memories/{month}/nvda-risk-3.md"
    assert home.remember("here", path="notes/here.md").path == "notes/here.md"
    with pytest.raises(FileExistsError):
        home.remember("again", path="notes/here.md")


def test_text_that_has_facts_keeps_them() -> None:
    made = memory_bytes("---\nowner: ann\ntags: [old]\n---\nbody", {"tags": ("new",)}, now_ns=0)
    assert made.startswith(b"---\n")
    assert b"owner: ann\n" in made
    assert b"new" in made
    assert made.endswith(b"---\nbody\n")


def test_what_cannot_be_remembered(home: Home) -> None:
    for text, facts in (
        ("", {}),
        ("  \n", {}),
        ("a\0b", {}),
        ("\ud800", {}),
        ("x", {"importance": 2}),
        ("x", {"ttl": "soon"}),
    ):
        with pytest.raises(errors.InvalidArgument):
            home.remember(text, **facts)  # type: ignore[arg-type]
    assert not home.exists("memories")


def test_a_time_to_live_in_every_form(home: Home) -> None:
    for ttl in ("7d", 7 * 86400, timedelta(days=7), datetime.now(UTC) + timedelta(days=7)):
        facts = home.facts(home.remember("x", ttl=ttl).path)
        assert facts.expires_ns is not None
        assert abs(facts.expires_ns - time.time_ns() - 7 * 86400 * _NS) < 60 * _NS


# ---- finding ----


def test_what_was_just_written_is_recalled_by_whatever_way_it_came(home: Home) -> None:
    home.remember("The staging database moved to Frankfurt.")
    home.write("notes/a.md", "# Lunch\n\nThe cook is called Beatrice.\n")
    with home.open_file("log.jsonl", "w") as file:
        file.write('{"event": "Zeppelin landed"}\n')
    for question, word in (("where is staging", "Frankfurt"), ("who cooks", "Beatrice"), ("zeppelin", "Zeppelin")):
        found = home.recall(question)
        assert found.relevant
        assert found.behind == 0
        assert word in found.found[0].text
        assert word in found.text
        assert found.tokens <= 2000
    home.write("notes/a.md", "# Lunch\n\nThe cook is called Cornelius.\n")
    assert "Cornelius" in home.recall("who cooks").text
    assert "Beatrice" not in home.recall("who cooks").text
    home.move("notes", "archive")
    assert "archive/a.md" in paths(home.recall("cook"))


def test_a_passage_is_a_slice_of_its_file_at_that_version(home: Home) -> None:
    home.write("n.md", "# Title\n\nFirst paragraph about lighthouses.\n\nSecond one about lamps.\n")
    (found,) = home.recall("lighthouses").found
    lines = home.read_text("n.md").splitlines()
    assert found.text == "\n".join(lines[found.first_line - 1 : found.last_line])


def test_filters(home: Home) -> None:
    home.remember("tea from Assam", tags=["drinks"], path="a/one.md")
    home.remember("tea from Ceylon", tags=["drinks", "ceylon"], path="b/two.md")
    assert {it.path for it in home.search("tea")} == {"a/one.md", "b/two.md"}
    assert [it.path for it in home.search("tea", tags=["Ceylon"])] == ["b/two.md"]
    assert [it.path for it in home.search("tea", path="a")] == ["a/one.md"]
    assert home.search("tea", since=datetime.now(UTC) + timedelta(days=1)) == []
    assert len(home.search("tea", 1)) == 1
    assert home.tags() == [("drinks", 2), ("ceylon", 1)]
    assert home.tags("a") == [("drinks", 1)]
    with pytest.raises(errors.InvalidArgument):
        home.recall("tea", strategy="best")  # type: ignore[arg-type]


def test_looking_around(home: Home) -> None:
    home.write("a.md", "---\ntags: [tea]\ncreated: 2026-01-02\n---\nGreen tea from Uji. See [[b]].\n")
    home.write("b.md", "---\ntags: [tea]\ncreated: 2026-01-01\n---\nUji is a town near Kyoto with tea gardens.\n")
    home.write("c.md", "---\ntags: [cars]\ncreated: 2026-01-03\n---\nThe gearbox was replaced.\n")
    assert home.related("a.md")[0].path == "b.md"
    assert home.related("nothing.md") == []
    assert [it.path for it in home.timeline()] == ["b.md", "a.md", "c.md"]
    assert [it.path for it in home.timeline(limit=1)] == ["c.md"]
    assert [it.path for it in home.timeline("tea Uji", tags=["tea"])] == ["b.md", "a.md"]
    topics = home.topics()
    assert (topics[0].name, topics[0].documents, set(topics[0].paths)) == ("#tea", 2, {"a.md", "b.md"})
    assert [it.documents for it in topics] == [2, 1]


def test_hostile_questions(home: Home) -> None:
    home.remember("a perfectly normal note")
    for query in (
        '" OR *', "a AND (b", "NEAR/2", "\0", "x" * 100_000, "🎉", "\u202eabc", "", "   ", "'; DROP TABLE"
    ):  # fmt: skip
        home.recall(query)
        home.search(query)


def test_forgetting(home: Home) -> None:
    made = home.remember("The password is swordfish.")
    assert home.recall("password").relevant
    home.sync()
    home.forget(made.path)
    assert "swordfish" not in home.recall("password").text
    home.sync()
    assert home.history(made.path).events[0].what == "deleted"
    home.restore(made.path, "v1")
    assert "swordfish" in home.recall("password").text
    with pytest.raises(IsADirectoryError):
        home.forget("memories")
    with pytest.raises(FileNotFoundError):
        home.forget("nothing.md")


def test_facts_are_changed_where_they_stand(home: Home) -> None:
    home.write("n.md", "---\nowner: ann  # she knows\n---\n\ntext\n")
    home.set_facts("n.md", importance=0.5, tags=["a", "b"], ttl="1d")
    text = home.read_text("n.md")
    assert "owner: ann  # she knows\n" in text
    assert text.endswith("---\n\ntext\n")
    assert home.facts("n.md").tags == ("a", "b")
    assert home.facts("n.md").expires_ns is not None
    home.set_facts("n.md", ttl=None, tags=())
    assert home.facts("n.md").expires_ns is None
    assert home.facts("n.md").tags == ()
    home.write("data.csv", "a,b\n1,2\n")
    home.set_facts("data.csv", title="Figures", tags=["numbers"])
    assert home.read_text("data.csv") == "a,b\n1,2\n"
    assert home.facts("data.csv").title == "Figures"
    assert ("numbers", 1) in home.tags()
    with pytest.raises(errors.InvalidArgument):
        home.set_facts("n.md", nonsense=1)


def test_a_memory_that_is_over_is_gone_from_every_face(tmp_path: Path, late: LateClock) -> None:
    clock = late
    with Home.open("me", settings=settings_for(tmp_path), clock=clock) as home:
        made = home.remember("The code is 4711.", ttl="1h")
        assert "4711" in home.recall("code").text
        home.sync()
        clock.late_ns = 3601 * _NS
        assert "4711" not in home.recall("code").text
        assert not home.exists(made.path)
        home.sync()
        assert home.history(made.path).events[0].what == "deleted"


def test_a_clock_that_is_ahead_is_told_and_ends_nothing_that_others_have(tmp_path: Path) -> None:
    clock = LateClock()
    with Home.open("me", settings=settings_for(tmp_path), clock=clock) as home:
        made = home.remember("The code is 4711.", ttl="1h")
        home.sync()
        clock.late_ns = 3601 * _NS
        deadline = time.monotonic() + 60
        while "ahead of the store" not in home.memory_stats()["problem"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert "4711" in home.recall("code").text
        assert home.exists(made.path)


def test_nobody_needs_to_ask_for_a_memory_to_end(tmp_path: Path, late: LateClock) -> None:
    clock = late
    with Home.open("me", settings=settings_for(tmp_path), clock=clock) as home:
        made = home.remember("The code is 4711.", ttl="1h")
        assert home.memory_stats()["next_expiry_ns"] is not None
        clock.late_ns = 3601 * _NS
        deadline = time.monotonic() + 60
        while home.exists(made.path):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_what_became_over_meanwhile_is_gone_before_anything_is_shown(tmp_path: Path, late: LateClock) -> None:
    clock, settings = late, settings_for(tmp_path)
    with Home.open("me", settings=settings, clock=clock) as home:
        made = home.remember("The code is 4711.", ttl="1h")
        assert home.recall("code").relevant
        home.sync()
    clock.late_ns = 3601 * _NS
    with Home.open("me", settings=settings, clock=clock, session_kind="cli") as home:
        assert not home.exists(made.path)
        home.sync()
    (index,) = tmp_path.rglob("memory.db")
    index.write_bytes(b"no database" * 500)
    with Home.open("me", settings=settings, clock=clock) as home:
        assert home.list(made.path.rpartition("/")[0]) == []
        assert not home.recall("code").relevant


# ---- the index ----


def test_stats_and_reindexing(home: Home) -> None:
    for number in range(40):
        home.write(f"n/{number}.md", f"# Note {number}\n\nabout thing {number}\n")
    stats = home.memory_stats()
    assert (stats["documents"], stats["behind"], stats["problem"]) == (40, 0, "")
    deadline = time.monotonic() + 60
    while home.memory_stats()["vectorless"]:  # a question makes a few, the rest comes in the background
        assert time.monotonic() < deadline
        time.sleep(0.02)
    told: list[tuple[int, int]] = []
    again = home.reindex(progress=lambda done, of: told.append((done, of)))
    assert again["passages"] == stats["passages"]
    assert again["vectors"] == again["passages"]
    assert told[-1] == (40, 40)


def test_what_is_not_read_for_want_of_a_library_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_text, "AVAILABLE", False)
    home.write("a.pdf", b"%PDF-1.7 ...")
    home.write("papers/B.PDF", b"%PDF-1.7 ......")
    home.write("page.html", "<p>One page</p>")
    home.write("pdf", "no ending")
    stats = home.memory_stats()
    assert stats["unread"] == {"pdf": 2}
    assert stats["unread_help"] == "2 pdf: pip install 'agentfs-home[documents]'"
    assert "unread: 2 pdf: pip install" in stats_text(stats)
    monkeypatch.setattr(pdf_text, "AVAILABLE", True)
    stats = home.memory_stats()
    assert (stats["unread"], stats["unread_help"]) == ({}, "")
    assert "unread: none\n" in stats_text(stats)


def test_the_index_is_off(tmp_path: Path) -> None:
    with Home.open("me", settings=settings_for(tmp_path, index=False)) as home:
        home.remember("it is written all the same")
        for ask in (lambda: home.recall("x"), lambda: home.search("x"), home.tags, home.memory_stats, home.reindex):
            with pytest.raises(errors.IndexOff, match="agentfs config set index true"):
                ask()
        assert not list(tmp_path.rglob("memory.db"))


def test_without_an_embedder_and_with_one_that_does_not_work(tmp_path: Path) -> None:
    with Home.open("me", settings=settings_for(tmp_path, embedder="off")) as home:
        home.remember("a whale called Moby")
        assert "Moby" in home.recall("whale").text
        assert home.memory_stats()["vectors"] == 0
    with Home.open("me", settings=settings_for(tmp_path, embedder="nonsense")) as home:
        assert "Moby" in home.recall("whale").text
        assert "nonsense" in home.memory_stats()["problem"]
    unreachable = {"embedder": "openai:model", "embedder_url": "http://127.0.0.1:9/v1"}
    with Home.open("me", settings=settings_for(tmp_path, **unreachable)) as home:
        assert "Moby" in home.recall("whale").text
        assert home.memory_stats()["problem"]
    with Home.open("me", settings=settings_for(tmp_path)) as home:
        deadline = time.monotonic() + 60
        while home.memory_stats()["vectors"] != 1:  # whose turn it is to make it, the thread's or the question's
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_without_an_engine(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    Home.open("me", settings=settings).close()
    with Home.open("me", settings=settings, engine="none") as home:
        home.remember("written without an engine")
        with pytest.raises(errors.Unavailable, match="without an engine"):
            home.recall("engine")


def test_a_long_answer_comes_in_pieces(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        home.write(f"n{number}.md", f"The lighthouse 灯台 number {number} shines over the sea.")
    whole = home.recall("lighthouse")
    monkeypatch.setattr(memory_words, "_PIECE_CHARACTERS", 100)
    again = home.recall("lighthouse")
    assert (again.text, [it.path for it in again.found]) == (whole.text, [it.path for it in whole.found])
    assert len(whole.found) == 20


def test_several_ask_while_others_write(home: Home) -> None:
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            for turn in range(8):
                home.write(f"w{number}/{turn}.md", f"writer{number} wrote turn{turn}")
                found = home.search(f"writer{number} turn{turn}", 3)
                assert f"w{number}/{turn}.md" in [it.path for it in found]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


# ---- who may read ----


def test_what_a_user_may_not_read_does_not_exist(home: Home) -> None:
    home.write("open/a.md", "the treasure is in the open")
    home.write("secret/b.md", "the treasure is secret")
    home.write("open/c.md", "the treasure is nobody's")
    tree = home._tree
    from agentfs.tree.values import AttributeChange  # noqa: PLC0415

    tree.set_attributes(home.stat("secret").ino, AttributeChange(mode=0o700))
    tree.set_attributes(home.stat("open/c.md").ino, AttributeChange(mode=0o600))
    link = home._volume.link
    asked = memory_words.asked_message(home._question("treasure", (), "", None))

    def seen(**who: object) -> set[str]:
        answer = memory_words.ask(link, "search", timeout_seconds=60, **asked, **who)
        return {memory_words.found_of(it).path for it in answer["found"]}

    everything = {"open/a.md", "secret/b.md", "open/c.md"}
    assert seen() == seen(uid=0, gids=[0]) == everything
    assert seen(uid=12345, gids=[12345]) == {"open/a.md"}
    assert seen(uid=os.geteuid() or 0, gids=[]) == everything
    assert seen(uid=12345, gids=[12345], owner=[12345, 12345]) == everything
    recalled = memory_words.ask(link, "recall", timeout_seconds=60, **asked, uid=12345, gids=[])
    assert "secret" not in str(recalled)
    assert "nobody" not in str(recalled)
    tree.set_attributes(home.stat("open/c.md").ino, AttributeChange(mode=0o640, gid=777))
    assert seen(uid=12345, gids=[1, 777]) == {"open/a.md", "open/c.md"}


# ---- spaces, machines ----


def test_spaces_are_asked_too(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    for name in ("team", "other"):
        create_space(settings, name, agent="me")
    with Home.open("me", settings=settings) as home:
        home.attach_space("team")
        home.attach_space("other", at="theirs")
        mine = home.remember("The kraken sleeps at home.")
        theirs = home.remember("The kraken sleeps with the team.", space="team", tags=["sea"])
        last = home.remember("The kraken sleeps elsewhere.", space="theirs")
        assert theirs.path.startswith("spaces/team/memories/")
        assert last.path.startswith("spaces/theirs/memories/")
        found = home.recall("where does the kraken sleep")
        assert set(paths(found)) == {mine.path, theirs.path, last.path}
        assert all(path in found.text for path in paths(found))
        assert found.tokens <= 2000
        assert {it.path for it in home.search("kraken")} == set(paths(found))
        assert paths(home.recall("kraken", path="spaces/team")) == [theirs.path]
        assert set(paths(home.recall("kraken", path="spaces"))) == {theirs.path, last.path}
        assert paths(home.recall("kraken", path="memories")) == [mine.path]
        assert home.tags() == [("sea", 1)]
        assert home.recall("kraken", max_tokens=40).tokens <= 40
        with pytest.raises(FileNotFoundError):
            home.remember("x", space="none")
    with Home.open("me", settings=settings, space="team") as space:
        assert "team" in space.recall("kraken").text
        assert "home" not in space.recall("kraken").text


def test_a_path_chooses_whom_to_ask() -> None:
    def nobody() -> memory_words.Link:
        raise AssertionError

    them = [asking.Memory(place, nobody) for place in (b"", b"spaces/a", b"spaces/b")]
    for path, expected in (
        (b"", [b"", b"", b""]),
        (b"spaces", [b"spaces", b"", b""]),
        (b"spaces/a", [None, b"", None]),
        (b"spaces/a/x/y", [None, b"x/y", None]),
        (b"spaces/ab", [b"spaces/ab", None, None]),
        (b"notes", [b"notes", None, None]),
    ):
        assert [asking._inside(path, it.place, them) for it in them] == expected


def test_what_one_machine_writes_another_recalls(tmp_path: Path) -> None:
    with (
        Home.open("me", settings=settings_for(tmp_path)) as one,
        Home.open("me", settings=settings_for(tmp_path, "two")) as two,
    ):
        made = one.remember("The parrot speaks Portuguese.", tags=["birds"])
        one.sync()
        two.pull()
        found = two.recall("which language does the parrot speak")
        assert paths(found) == [made.path]
        assert two.tags() == [("birds", 1)]
        two.forget(made.path)
        two.sync()
        one.pull()
        assert "Portuguese" not in one.recall("parrot").text


def test_a_new_machine_recalls_what_it_never_fetched(tmp_path: Path) -> None:
    with Home.open("me", settings=settings_for(tmp_path)) as one:
        for number in range(120):
            one.write(f"n/{number}.md", f"note number {number} about subject{number}")
        one.sync()
    with Home.open("me", settings=settings_for(tmp_path, "two"), session_kind="cli") as two:
        found = two.search("subject77", wait=60)
        assert isinstance(found[0], Found)
        assert found[0].path == "n/77.md"
        assert two.memory_stats()["behind"] == 0
        assert two.status().cached_bytes == 0, "the index hydrates nothing"


def test_the_same_for_asyncio(tmp_path: Path) -> None:
    async def run() -> None:
        async with await AsyncHome.open("me", settings=settings_for(tmp_path)) as home:
            made = await home.remember("The otter likes figs.", tags=["zoo"])
            assert (await home.recall("otter")).found[0].path == made.path
            assert (await home.search("figs", limit=1))[0].path == made.path
            assert await home.tags() == [("zoo", 1)]
            await home.set_facts(made.path, importance=0.9)
            assert (await home.facts(made.path)).importance == 0.9
            assert (await home.memory_stats())["documents"] == 1
            assert (await home.reindex())["documents"] == 1
            await home.forget(made.path)
            assert not (await home.recall("otter")).relevant

    asyncio.run(run())
