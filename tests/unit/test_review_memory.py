"""What a review of memory found: nothing that it holds may go unnoticed, and nothing that it hides may show."""

import hashlib
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from memory_world import Indexed
from node import Node, TestClock

from agentfs import Home
from agentfs.config.settings import load
from agentfs.errors import AgentFSError, InvalidArgument, NoSpace, StoreUnavailable
from agentfs.memory.access import Hidden, Reader
from agentfs.memory.curation import Action, Plan, Seen
from agentfs.memory.documents import document
from agentfs.memory.embedding_remote import OpenAICompatible
from agentfs.memory.packing import Given, packed
from agentfs.memory.results import Found
from agentfs.memory.sources import Source
from agentfs.memory.tokens import default_counter
from agentfs.memory.uniting import Part, united
from agentfs.replica import backing
from agentfs.replica.replica import ROOT
from agentfs.stores.memory import MemoryStore
from agentfs.tree.values import AttributeChange, Caller
from agentfs.volume.facts import FileFacts
from agentfs.volume.memory import MemoryService
from agentfs.volume.virtual_memory import MemoryWords, no_spaces
from agentfs.volume.virtual_names import Query
from agentfs.volume.virtual_words import Asked, Who

Make = Callable[[str], Indexed]
COUNTER = default_counter()
NOW = 1_795_000_000 * 10**9
OVER = b"---\nexpires: 2020-01-01\n---\n\nThe passport is in the blue box.\n"


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def machine(tmp_path: Path, clock: TestClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)
    made: list[Indexed] = []
    store = MemoryStore(clock=clock)

    def make(name: str) -> Indexed:
        made.append(Indexed(Node(tmp_path / name, store, clock, agent=name)))
        return made[-1]

    yield make
    for it in made:
        it.close()
        it.node.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "store").mkdir()
    given = {"store": str(tmp_path / "store"), "state_dir": str(tmp_path / "state"), "timeout": 60, "index": False}
    with Home.open("me", settings=load(given, environment={"HOME": str(tmp_path)})) as opened:
        yield opened


# ---- expiry -------------------------------------------------------------------------------------------------


def test_what_was_over_when_it_came_is_in_the_store_before_it_goes(machine: Make, clock: TestClock) -> None:
    """Moved in from elsewhere (`mv`, an import): no commit had it, so its deletion would leave nothing anywhere."""
    it = machine("a")
    it.node.write("passport.md", OVER)
    it.catch_up()
    assert it.expiry.run() == 0
    assert "store" in it.expiry.problem
    assert it.node.names() == ["passport.md"]
    it.node.sync()
    clock.now_s += 6
    it.catch_up()
    assert it.expiry.run() == 1
    assert it.node.names() == []
    it.catch_up()
    assert (it.expiry.run(), it.expiry.problem) == (0, "")


def test_a_memory_whose_time_is_short_waits_for_no_commit(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.node.write("code.md", b"---\nttl: 5s\n---\n\nThe code is 4711.\n")
    it.catch_up()
    clock.now_s += 6
    assert it.expiry.run() == 1
    assert it.node.names() == []


def test_what_an_attribute_ends_goes_when_the_log_was_asked(machine: Make, clock: TestClock) -> None:
    """`echo none > code.txt:ttl` on one machine, while another one is away: an attribute does not win over a deletion
    as an edit does."""
    a, b = machine("a"), machine("b")
    for name in ("code.txt", "other.txt"):
        a.node.write(name, b"the code is 4711")
        a.node.tree.set_xattr(a.node.at(name), b"user.agentfs.ttl", b"60s", 0)
    a.node.sync()
    b.node.sync()
    a.catch_up()
    b.node.tree.remove_xattr(b.node.at("code.txt"), b"user.agentfs.ttl")
    b.node.sync()
    clock.now_s += 61
    assert a.expiry.run() == 0
    assert "asked" in a.expiry.problem
    a.node.sync()
    clock.now_s += 6
    a.catch_up()
    assert a.expiry.run() == 1
    for it in (a, b, a):
        it.node.sync()
    assert (a.node.names(), b.node.names()) == (["code.txt"], ["code.txt"])


NO_TEXT = [("photo.jpg", b"\xff\xd8\xff\0"), ("empty.txt", b""), ("m.svg", b"<svg/>")]


@pytest.mark.parametrize(("name", "data"), NO_TEXT)
def test_what_holds_no_text_expires_as_well(machine: Make, clock: TestClock, name: str, data: bytes) -> None:
    it = machine("a")
    it.node.write(name, data)
    it.node.tree.set_xattr(it.node.at(name), b"user.agentfs.ttl", b"60s", 0)
    it.catch_up()
    assert it.expiry.next_ns() is not None
    assert it.expiry.run() == 0
    clock.now_s += 61
    assert it.expiry.run() == 1
    assert it.node.names() == []


def test_a_name_that_goes_while_it_is_looked_at_is_no_failure(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.node.write("code.md", b"---\nttl: 5s\n---\n\nThe code is 4711.\n")
    it.catch_up()
    clock.now_s += 6
    names_of = it.sources.names_of

    def late(ino: int) -> list[tuple[int, bytes]]:
        if it.node.names():
            it.node.unlink("code.md")
        return names_of(ino)

    it.sources.names_of = late  # type: ignore[method-assign]
    assert it.expiry.run() == 1


@pytest.mark.parametrize("line", ["expires: 123456789", "expires: 864000000000", "ttl: 3M", "ttl: 1d 30 M"])
def test_what_may_mean_something_else_deletes_nothing(line: str) -> None:
    found = document(b"a.md", f"---\n{line}\n---\nThe heron.\n".encode(), {}, mtime_ns=NOW)
    assert found is not None
    assert found.facts.expires_ns is None


def test_what_can_only_mean_one_thing_is_read() -> None:
    for line, expires in {
        "expires: 1795000060": NOW + 60 * 10**9,
        "ttl: 3m": NOW + 180 * 10**9,
        "ttl: P1M": NOW + 30 * 86400 * 10**9,
        "ttl: PT1M": NOW + 60 * 10**9,
        "ttl: 3 MIN": NOW + 180 * 10**9,
        "ttl: 3 Months": NOW + 90 * 86400 * 10**9,
    }.items():
        found = document(b"a.md", f"---\n{line}\n---\nThe heron.\n".encode(), {}, mtime_ns=NOW)
        assert found is not None
        assert found.facts.expires_ns == expires, line


@pytest.mark.parametrize(
    "front",
    ["{expires: 2040-01-01, a: 1}", "expires: 2040-01-01\nexpires: 2041-01-01", "a: &x 1\nexpires: 2040-01-01"],
)
def test_an_end_that_cannot_be_taken_away_is_told(machine: Make, front: str) -> None:
    """`echo none > a.md:ttl` must not be accepted, and the file deleted all the same."""
    it = machine("a")
    data = f"---\n{front}\n---\nThe heron.\n".encode()
    it.node.write("a.md", data)
    facts, asked = FileFacts(it.node.replica), {"ino": it.node.at("a.md"), "word": "ttl"}
    with pytest.raises(InvalidArgument, match="by hand"):
        facts.set_facts(it.node.engine, asked | {"text": "none"})
    assert it.node.read("a.md") == data
    facts.set_facts(it.node.engine, asked | {"text": "2050-01-01"})
    it.catch_up()
    assert [row.facts.expires_ns for row in it.index.documents()] == [2_524_608_000 * 10**9]


def test_a_store_that_is_away_is_asked_once_for_all_that_is_over(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    for number in range(5):
        it.node.write(f"{number}.md", b"---\nttl: 5s\n---\n\nThe code is 4711.\n")
    it.catch_up()
    clock.now_s += 6
    asked = []

    def away(source: Source) -> bytes:
        asked.append(source.ino)
        raise StoreUnavailable("the store is away")

    read_now = it.worker.read_now
    it.worker.read_now = away  # type: ignore[method-assign]
    assert (it.expiry.run(), it.expiry.run(), len(asked)) == (0, 0, 1)
    clock.now_s += 6
    assert (it.expiry.run(), it.expiry.run(), len(asked)) == (0, 0, 2)
    it.worker.read_now = read_now  # type: ignore[method-assign]
    clock.now_s += 6
    assert it.expiry.run() == 5


# ---- the index ----------------------------------------------------------------------------------------------


def test_what_is_moved_out_of_a_place_that_is_left_out_is_found(machine: Make) -> None:
    it = machine("a")
    it.node.mkdir(".obsidian")
    it.node.mkdir(".obsidian/x")
    it.node.write(".obsidian/a.md", b"the first heron")
    it.node.write(".obsidian/x/b.md", b"the second heron")
    it.node.write("c.md", b"the third heron")
    it.catch_up()
    it.node.rename(".obsidian/a.md", "a.md")
    it.node.rename(".obsidian/x", "x")
    it.node.rename("c.md", ".obsidian/c.md")
    it.catch_up()
    assert it.says() == it.should_say()
    assert sorted(it.says()) == [b"a.md", b"x/b.md"]


def test_a_date_in_the_name_of_a_file_follows_the_name(machine: Make) -> None:
    it = machine("a")
    it.node.write("2026-02-14.md", b"the heron came back")
    it.catch_up()
    it.node.rename("2026-02-14.md", "2026-03-01.md")
    it.catch_up()
    [row] = it.index.documents()
    assert row.facts.created_ns == 1_772_323_200 * 10**9


def test_a_full_disk_keeps_nobody_from_what_is_indexed(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.close()
    it.node.write("a.md", b"The heron nests by the mill.\n")
    plan = SimpleNamespace(settings=load({"embedder": "off"}, environment={}), prefetch=False)
    service = MemoryService(plan, it.node.replica, clock)  # type: ignore[arg-type]
    recall = service.answers()["recall"]
    try:
        asked = {"query": "Where does the heron nest?"}
        assert [row["path"] for row in recall(it.node.engine, asked, lambda _: None)["found"]] == ["a.md"]

        def full(*_: object, **__: object) -> None:
            raise NoSpace("the disk is full")

        service.opened(it.node.engine).index.put = full  # type: ignore[method-assign]
        it.node.write("b.md", b"The heron left in March.\n")
        answer = recall(it.node.engine, asked, lambda _: None)
        assert [row["path"] for row in answer["found"]] == ["a.md"]
        assert answer["behind"] == 1
        assert "full" in service.facts()["memory"]["problem"]
    finally:
        service.close()


def test_an_engine_reads_ahead_of_questions(machine: Make, clock: TestClock) -> None:
    it = machine("a")
    it.close()
    it.node.write("a.md", b"The heron nests by the mill.\n")
    plan = SimpleNamespace(settings=load({"embedder": "off"}, environment={}), prefetch=False, alone=True)
    service = MemoryService(plan, it.node.replica, clock)  # type: ignore[arg-type]
    try:
        for _ in range(20):
            service._piece(it.node.engine)
            clock.now_s += 1.0
        image = service.opened(it.node.engine).index._image
        assert image is not None
        assert not image.lacks(["heron", "mill", "nowhere"])
    finally:
        service.close()


# ---- recall -------------------------------------------------------------------------------------------------


def piece(path: str, text: str, score: float) -> Found:
    return Found(path, 1, 1, text, 0, score, {"words": score}, tokens=COUNTER.count(text))


def test_a_small_budget_is_not_filled_with_what_hardly_matters() -> None:
    pieces = [
        piece("deploy.md", "We deploy to the cluster in Frankfurt. " * 8, 0.9),
        piece("z.md", "茶を飲む。", 0.16),
    ]
    offers = Given(pieces)
    small = packed(offers, max_tokens=50, counter=COUNTER, scanned=2)
    assert (small.found, small.relevant) == ((), True)
    large = packed(offers, max_tokens=500, counter=COUNTER, scanned=2)
    assert [it.path for it in large.found] == ["deploy.md", "z.md"]


def test_what_is_wrong_is_told_to_whom_the_files_belong() -> None:
    """It may name a file that others must not know of."""

    class Link:
        def request(self, *_: object, **__: object) -> dict[str, object]:
            return {"documents": 2, "problem": "'secret/plan.md' is open for writing"}

    class Volume:
        link = Link()
        settings = load({}, environment={})

    stats = MemoryWords(Volume(), no_spaces).words()["stats"]  # type: ignore[arg-type]
    told = [stats.text(Asked(b"", True, 1, Who(uid, ())), Query()) for uid in (os.getuid(), os.getuid() + 1)]
    assert ["plan.md" in text for text in told] == [True, False]
    assert all("documents: 2" in text for text in told)


# ---- curation -----------------------------------------------------------------------------------------------


def seen(home: Home, path: str) -> Seen:
    return Seen(path, hashlib.sha256(home.read(path)).hexdigest())


def merge(home: Home, *paths: str) -> Plan:
    files = tuple(seen(home, path) for path in paths)
    return Plan(0, "home-me", 2, (Action("merge", "duplicate", "by hand", files, rest="delete"),))


@pytest.mark.parametrize("other", ["a.md", "./a.md", "link.md"])
def test_a_note_is_not_merged_into_itself(home: Home, other: str) -> None:
    home.write("a.md", b"The heron nests by the mill.\n")
    home._volume.tree.symlink(ROOT, b"link.md", b"a.md", Caller.process())
    for plan in (merge(home, "a.md", other), merge(home, other, "a.md")):
        [done] = home.apply_plan(plan)
        assert done.what == "skipped"
        assert home.read("a.md") == b"The heron nests by the mill.\n"


@pytest.mark.parametrize("do", ["delete", "merge"])
def test_what_is_written_while_a_plan_is_carried_out_is_not_deleted(
    home: Home, monkeypatch: pytest.MonkeyPatch, do: str
) -> None:
    home.write("a.md", b"The heron nests by the mill.\n")
    home.write("b.md", b"The heron nests by the mill.\n")
    plan = merge(home, "a.md", "b.md")
    if do == "delete":
        plan = Plan(0, "home-me", 2, (Action("delete", "duplicate", "by hand", (seen(home, "b.md"),)),))
    tree = home._volume.tree
    unlink = tree.unlink

    def late(parent: int, name: bytes, **as_of: object) -> None:
        if name == b"b.md":
            home.edit("b.md", lambda data: data + b"It left in March.\n")
        unlink(parent, name, **as_of)  # type: ignore[arg-type]

    monkeypatch.setattr(tree, "unlink", late)
    [done] = home.apply_plan(plan)
    assert done.what == "skipped"
    assert home.read("b.md").endswith(b"It left in March.\n")


def test_a_note_that_goes_while_notes_are_read_is_no_failure(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write("a.md", b"The heron nests by the mill.\n")
    home.write("b.md", b"The heron nests by the mill.\n")
    walk = Home.walk

    def late(self: Home, *path: str) -> object:
        found = walk(self, *path)
        home.delete("b.md", missing_ok=True)
        return found

    monkeypatch.setattr(Home, "walk", late)
    assert home.curate().notes == 1


def test_what_is_said_of_another_is_no_double() -> None:
    parts = [Part(text, NOW) for text in (b"# Alice\n- likes tea\n", b"# Bob\n- likes tea\n- likes rum\n")]
    found = united(b"people.md", parts)
    assert found is not None
    assert found.data == b"# Alice\n- likes tea\n\n# Bob\n- likes tea\n- likes rum\n"


# ---- import -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modified_ns", [10**30, -(10**30), -1, 2**63 - 1])
def test_a_time_that_no_file_has_is_refused_or_taken(home: Home, tmp_path: Path, modified_ns: int) -> None:
    row = {"agentfs": "document", "path": "a.md", "text": "The heron.\n", "modified_ns": modified_ns}
    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps(row) + "\n")
    try:
        home.import_memories(os.fspath(source))
    except AgentFSError:
        assert not home.exists("a.md")
    else:
        assert home.read("a.md") == b"The heron.\n"


def test_json_that_is_nested_without_end_is_refused(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"text": ' + "[" * 200_000)
    with pytest.raises(InvalidArgument):
        home.import_memories(os.fspath(source))


# ---- an embedder elsewhere ----------------------------------------------------------------------------------


class Host:
    """An HTTP server that keeps the headers that it gets."""

    def __init__(self, code: int, location: str = "") -> None:
        self.keys: list[str | None] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def do_GET(self) -> None:
                host.keys.append(self.headers["Authorization"])
                self.send_response(code)
                self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    other = Host(200)
    pair = Host(302, other.url), other
    yield pair
    for host in pair:
        host.server.shutdown()
        host.server.server_close()


def test_a_key_goes_to_its_own_endpoint_alone(hosts: tuple[Host, Host]) -> None:
    first, other = hosts
    for environment, sent in (({"AGENTFS_EMBEDDER_KEY": "k"}, "Bearer k"), ({"OPENAI_API_KEY": "o"}, None)):
        with pytest.raises(AgentFSError, match="302"):
            OpenAICompatible("small", url=first.url, environment=environment).embed(["heron"])
        assert first.keys.pop() == sent
    assert other.keys == []


def test_what_is_hidden_from_somebody_is_what_they_may_not_read(machine: Make) -> None:
    """Modes along the paths, groups, several names, and whose all files seem to be; again after every change."""
    it = machine("a")
    tree = it.node.tree
    for directory, mode in (("open", 0o755), ("open/shut", 0o750), ("open/shut/in", 0o777), ("team", 0o770)):
        it.node.mkdir(directory)
        tree.set_attributes(it.node.at(directory), AttributeChange(mode=mode, uid=7, gid=70))
    names = ["a.md", "open/a.md", "open/shut/a.md", "open/shut/in/a.md", "team/a.md"]
    for at, name in enumerate(names):
        for mode in (0o644, 0o600, 0o640, 0o604, 0o044):
            path = f"{name[:-3]}-{mode:o}.md"
            it.node.write(path, b"text")
            tree.set_attributes(it.node.at(path), AttributeChange(mode=mode, uid=7 + at % 2, gid=70))
    it.node.link("a-644.md", "team/first.md")
    it.node.link("team/a-644.md", "zz.md")
    it.node.link("open/shut/a-644.md", "0.md")
    it.catch_up()
    hidden = Hidden(it.sources)
    users = [(0, ()), (7, ()), (8, (70,)), (9, (70, 1)), (9, ())]
    for change in range(3):
        inos = [row.ino for row in it.index.documents()]
        for (uid, gids), owner in itertools.product(users, (None, (9, 70), (7, 1))):
            reader = Reader(it.sources, uid=uid, gids=frozenset(gids), owner=owner)
            found = hidden.of(uid, frozenset(gids), owner)
            assert {ino for ino in inos if ino in found} == {ino for ino in inos if not reader(ino)}
            assert hidden.of(uid, frozenset(gids), owner) is found or uid == 0
        if change == 0:
            tree.set_attributes(it.node.at("open"), AttributeChange(mode=0o700))
        else:
            tree.set_attributes(it.node.at("a-600.md"), AttributeChange(mode=0o666))
