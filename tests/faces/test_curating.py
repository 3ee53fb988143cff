"""`agentfs curate`, `export` and `import`, and the methods of `Home` under them, on a home over a real store."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest
from command import Machine, Result, machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentfs import Home, errors
from agentfs.cli.main import main
from agentfs.config.settings import load
from agentfs.memory.curation import Action, Seen
from agentfs.memory.notes import Note
from agentfs.replica import backing
from agentfs.sdk.curation_steps import CurationSteps
from agentfs.sdk.paths import existing
from agentfs.sdk.xattrs import set_attributes, set_facts, set_xattrs, xattrs_of
from agentfs.tree.values import AttributeChange

DAY = 86400 * 10**9
LONG = (
    "The billing service sends its invoices every night through the mail gateway, and whoever is on call looks\n"
    "at the queue in the morning. Failed ones are sent again by hand from the gateway after a short check.\n"
)


def here(one: Machine, *arguments: str, stdin: bytes = b"") -> Result:
    """Run the command in this process: Python's start would take longer than the command."""
    out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    with (
        mock.patch.object(sys, "argv", ["agentfs", *arguments]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        mock.patch.dict(os.environ, one.environment, clear=True),
        mock.patch.object(os, "_exit", sys.exit),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    code = end.value.code
    assert isinstance(code, int)
    return Result(code, out.buffer.getvalue(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]


def ok(one: Machine, *arguments: str, stdin: bytes = b"") -> Result:
    result = here(one, *arguments, stdin=stdin)
    assert result.code == 0, (arguments, result)
    return result


def home_of(root: Path, agent: str = "me", *, index: bool = True, **more: object) -> Home:
    (root / "store").mkdir(exist_ok=True)
    given_ = {"store": str(root / "store"), "state_dir": str(root / "state-one"), "timeout": 60, "index": index}
    return Home.open(agent, settings=load(given_, environment={"HOME": str(root), "AGENTFS_VIEW": "off"}), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def open_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_of(tmp_path_factory.mktemp("home")) as home:
        yield home


@pytest.fixture
def home(open_home: Home) -> Iterator[Home]:
    """An empty home. It is the same one for all tests: opening one takes longer than most of them."""
    yield open_home
    for entry in open_home.list():
        open_home.delete(entry.path, recursive=True, missing_ok=True)


def aged(home: Home, path: str, text: str, *, days: int) -> None:
    home.write(path, text)
    set_attributes(home, path, mtime_ns=home.stat(path).modified_ns - days * DAY)


def tree(home: Home) -> dict[str, bytes]:
    return {entry.path: home.read(entry.path) for entry in home.walk() if entry.is_file}


# ---- curate -------------------------------------------------------------------------------------------------


def test_a_plan_is_read_edited_and_applied(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        with home_of(tmp_path) as home:
            home.write("a.md", LONG)
            home.write("inbox/b.md", f"*{LONG.strip()}*\n")
            aged(home, "old.md", "Something that once was.\n", days=900)
            aged(home, "older.md", "Something that also once was.\n", days=999)
            home.sync()
            before = tree(home)
        plan = ok(one, "curate").text
        assert plan.count("## [x]") == 3
        assert ok(one, "curate", "--dry-run", "--json").json["actions"][0]["do"] == "merge"
        with home_of(tmp_path) as home:
            assert tree(home) == before
        file = tmp_path / "plan.md"
        file.write_text(plan.replace("[x] 3.", "[ ] 3.").replace('"rest": "archive"', '"rest": "delete"'))
        result = ok(one, "curate", "--apply", str(file), "--json").json
        assert [(it["do"], it["what"]) for it in result["actions"]] == [("merge", "done"), ("archive", "done")]
        assert result["synced"]
        with home_of(tmp_path) as home:
            after = tree(home)
            assert set(after) == {"a.md", "archive/old.md", "older.md"}
            assert after["a.md"] == LONG.encode()
            home.restore("old.md", result["before"])
            home.restore("inbox/b.md", result["before"])
            assert {path: data for path, data in tree(home).items() if not path.startswith("archive/")} == before
        again = ok(one, "curate", "--apply", str(file))
        assert "gone" in again.err or "changed" in again.err or again.text
        assert "to take one back" in ok(one, "curate", "--apply", "-", "--no-sync", stdin=plan.encode()).text
        assert ok(one, "curate", "--apply").text == "nothing to do\n"


def test_a_file_that_changed_since_the_plan_is_left_alone(home: Home) -> None:
    home.write("a.md", LONG)
    home.write("b.md", LONG)
    aged(home, "old.md", "Something that once was.\n", days=900)
    aged(home, "worn.md", "---\nimportance: 0.9\n---\nMatters still.\n", days=400)
    plan = home.curate()
    assert [action.cause for action in plan.actions] == ["duplicate", "stale", "decay"]
    home.append("b.md", "And more.\n")
    home.delete("old.md")
    home.write("worn.md", "Another text.\n")
    before = tree(home)
    done = home.apply_plan(plan)
    assert [it.what for it in done] == ["skipped"] * 3
    assert [it.detail for it in done] == [
        "b.md has changed since the plan was made",
        "old.md is gone",
        "worn.md has changed since the plan was made",
    ]
    assert tree(home) == before


@pytest.mark.parametrize("step", ["move", "delete"])
def test_an_action_that_was_cut_short_is_finished_by_the_next_plan(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    home.write("a.md", f"---\ntags: [one]\n---\n{LONG}")
    home.write("b.md", f"{LONG}\n- and look at the dashboards\n")
    plan = home.curate()
    cut = dataclasses.replace(plan.actions[0], rest="archive" if step == "move" else "delete")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(*{"move": (Home, "move"), "delete": (CurationSteps, "_remove")}[step], killed)
        home.apply_plan(dataclasses.replace(plan, actions=(cut,)))
    assert set(tree(home)) == {"a.md", "b.md"}
    assert [it.what for it in home.apply_plan(home.curate())] == ["done"]
    assert home.read_text("b.md") == f"---\ntags: [one]\n---\n{LONG}\n- and look at the dashboards\n"
    assert set(tree(home)) == {"archive/a.md", "b.md"}


def test_what_cannot_be_done_is_skipped_and_the_rest_is_done(home: Home) -> None:
    for name in ("a", "b", "c", "d"):
        aged(home, f"{name}.md", f"Something called {name} that once was.\n", days=900)
    home.write("file", b"")
    plan = home.curate()
    wrong: list[dict[str, object]] = [{"to": "../x.md"}, {"to": "file/x.md"}, {"facts": {"x": {"y": 1}}}, {}]
    edited = [dataclasses.replace(it, **change) for it, change in zip(plan.actions, wrong, strict=True)]  # type: ignore[arg-type]
    done = home.apply_plan(dataclasses.replace(plan, actions=tuple(edited)))
    assert [it.what for it in done] == ["skipped", "skipped", "skipped", "done"]
    assert sorted(tree(home)) == ["a.md", "archive/c.md", "archive/d.md", "b.md", "file"]


def test_a_write_between_the_check_and_the_merge_is_not_lost(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write("a.md", LONG)
    home.write("b.md", f"{LONG}\n- and look at the dashboards\n")
    plan = home.curate()
    edit = Home.edit

    def slow(self: Home, path: str, change: Callable[[bytes], bytes]) -> bytes:
        home.append("b.md", "Written just now.\n")
        return edit(self, path, change)

    monkeypatch.setattr(Home, "edit", slow)
    assert [it.what for it in home.apply_plan(plan)] == ["skipped"]
    assert home.read("b.md").endswith(b"Written just now.\n")
    assert home.exists("a.md")


def test_what_is_done_keeps_times_and_says_facts(home: Home) -> None:
    aged(home, "plan.md", "# Plan\n\nWe use MySQL.\n", days=30)
    home.write("new.md", "---\nsupersedes: plan.md\n---\nWe use PostgreSQL.\n")
    aged(home, "worn.md", "---\nimportance: 0.9\n---\nMatters still.\n", days=400)
    aged(home, "worn.txt", "Matters, too.\n", days=400)
    set_facts(home, "worn.txt", {"importance": 0.8})
    home.write("archive/plan.md", "Another one.\n")
    times = {path: home.stat(path).modified_ns for path in ("plan.md", "worn.md", "worn.txt")}
    plan = home.curate()
    assert all(it.what == "done" for it in home.apply_plan(plan)), home.apply_plan(plan)
    assert home.read("archive/plan-2.md") == b"---\nsuperseded_by: new.md\n---\n# Plan\n\nWe use MySQL.\n"
    assert home.stat("archive/plan-2.md").modified_ns == times["plan.md"]
    assert b"importance: 0.42\n" in home.read("worn.md")
    assert home.stat("worn.md").modified_ns == times["worn.md"]
    assert home.read("worn.txt") == b"Matters, too.\n"
    assert xattrs_of(home, "worn.txt")[b"user.agentfs.importance"] == b"0.37"
    assert home.curate().actions == ()


def set_mode(home: Home, path: str, mode: int) -> None:
    place, attributes = existing(home._volumes, path)
    place.tree.set_attributes(attributes.ino, AttributeChange(mode=mode))


@pytest.mark.parametrize("private", ["the file", "its directory"])
def test_nobody_reads_afterwards_what_they_could_not_read(home: Home, private: str) -> None:
    home.write("shared/a.md", LONG)
    home.write("mine/b.md", LONG + "The password is on the card.\n")
    aged(home, "mine/deep/old.md", "Something that once was.\n", days=900)
    set_mode(home, *(("mine/b.md", 0o600) if private == "the file" else ("mine", 0o700)))
    if private != "the file":
        set_mode(home, "mine/deep", 0o710)
    actions = [
        Action("merge", "duplicate", "", (Seen("shared/a.md"), Seen("mine/b.md"))),
        Action("archive", "stale", "", (Seen("mine/deep/old.md"),), "archive/mine/deep/old.md"),
    ]
    plan = home.curate()
    sums = {it: hashlib.sha256(home.read(it)).hexdigest() for it in tree(home)}
    chosen = [
        dataclasses.replace(it, files=tuple(Seen(one.path, sums[one.path]) for one in it.files)) for it in actions
    ]
    done = home.apply_plan(dataclasses.replace(plan, actions=tuple(chosen)))
    assert [it.what for it in done] == ["skipped", "done"]
    assert done[0].detail == "mine/b.md is more private than shared/a.md: merge them by hand"
    for path in ("mine", "mine/deep"):
        assert home.stat(f"archive/{path}").mode == home.stat(path).mode
    assert home.stat("archive").mode & 0o777 == 0o755


def test_a_merge_has_the_facts_of_all(home: Home) -> None:
    home.write("a.md", f"---\ntags: [one]\nexpires: 2040-01-01\n---\n{LONG}")
    home.write("b.md", f"---\ntags: [two]\nimportance: 0.7\n---\n{LONG}")
    home.write("c.txt", LONG)
    set_facts(home, "c.txt", {"tags": ["three"], "importance": 0.6})
    set_facts(home, "b.md", {"importance": 0.65})
    set_xattrs(home, "c.txt", {b"user.other": b"kept"})
    [merge] = home.curate().actions
    assert merge.files[0].path == "b.md"
    home.apply_plan(home.curate())
    text = home.read_text("b.md")
    assert set(home.facts("b.md").tags) == {"one", "two", "three"}
    assert home.facts("b.md").importance == 0.65
    assert xattrs_of(home, "b.md") == {b"user.agentfs.importance": b"0.65", b"user.other": b"kept"}
    assert "expires" not in text
    assert text.endswith(f"---\n{LONG}")
    assert sorted(tree(home)) == ["archive/a.md", "archive/c.txt", "b.md"]


class Summaries:
    """A curator as a user's program has one."""

    def propose(self, notes: Sequence[Note], now_ns: int) -> Iterable[Action]:
        files = tuple(Seen(note.path) for note in notes if note.path.startswith("tea/"))
        yield Action("merge", "summary", "both are about tea", files, text="Likes tea.\n", rest="delete")


def test_a_curator_is_plugged_in(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        with home_of(tmp_path) as home:
            home.write("tea/a.md", "---\ntags: [t]\n---\nLikes green tea.\n")
            home.write("tea/b.md", "Likes black tea.\n")
        result = ok(one, "curate", "--with", "test_curating:Summaries", "--apply", "--json").json
        assert [(it["cause"], it["what"]) for it in result["actions"]] == [("summary", "done")]
        with home_of(tmp_path) as home:
            assert tree(home) == {"tea/a.md": b"---\ntags: [t]\n---\nLikes tea.\n"}
        for name, what in (
            ("nothing", "no entry point"),
            ("os:nothing", "nothing"),
            ("os:path", "no method propose"),
        ):
            refused = here(one, "curate", "--with", name)
            assert (refused.code, what in refused.err) == (2, True), refused
        wrong = tmp_path / "wrong.md"
        wrong.write_text("hello")
        assert "not a curation plan" in here(one, "curate", "--apply", str(wrong)).err
        assert here(one, "curate", "--stale-after", "soon").code == 2
        assert here(one, "curate", "nothing-here").code == 3


def test_a_plan_is_for_one_home_and_leaves_spaces_alone(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        ok(one, "space", "create", "team")
        with home_of(tmp_path) as home:
            home.attach_space("team")
            home.write("spaces/team/a.md", LONG)
            home.write("spaces/team/b.md", LONG)
            home.write("b.md", LONG)
            plan = home.curate()
            assert (plan.notes, plan.actions) == (1, ())
            with pytest.raises(errors.InvalidArgument, match="--space"):
                home.curate("spaces/team")
            with pytest.raises(errors.InvalidArgument, match="home-me"):
                home.apply_plan(type(plan)(0, "space-team", 0, ()))
            home.sync()
        assert ok(one, "curate", "--space", "team", "--json").json["volume"] == "space-team"
        ok(one, "curate", "--space", "team", "--apply")
        listed = ok(one, "ls", "-r", "--space", "team").text.split()
        assert "archive/b.md" in listed
        rows = [json.loads(line) for line in ok(one, "export", "--documents").out.splitlines()]
        assert [row["path"] for row in rows] == ["b.md"]
        rows = [json.loads(line) for line in ok(one, "export", "spaces/team/a.md").out.splitlines()]
        assert {row["path"] for row in rows} == {"spaces/team/a.md"}


# ---- export and import --------------------------------------------------------------------------------------

contents = st.binary(max_size=60) | st.sampled_from([b"# A\n", b"---\nx: 1\n---\r\nb", b"\xef\xbb\xbfx\n\n", b""])
component = st.text("ab .~é", min_size=1, max_size=4).filter(
    lambda name: name.strip(".") and not name.startswith(".")
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(component.map("d/{}".format) | component.map("e/f/{}".format), contents, max_size=5), st.data()
)
def test_documents_come_back_byte_for_byte(home: Home, files: dict[str, bytes], data: st.DataObject) -> None:
    for directory in ("d", "e", "back"):
        home.delete(directory, recursive=True, missing_ok=True)
    for path, content in files.items():
        home.write(path, content)
        set_attributes(home, path, mode=data.draw(st.sampled_from([0o644, 0o600, 0o755])), mtime_ns=123_456_789)
    out = io.BytesIO()
    done = home.export_memories(out, format="documents")
    assert (done.files, done.size_bytes) == (len(files), len(out.getvalue()))
    path = os.path.join(home.status().directory, "out.jsonl")
    with open(path, "wb") as file:
        file.write(out.getvalue())
    if not files:
        return
    made = home.import_memories(path, into="back")
    assert [it.what for it in made.files] == ["added"] * len(files)
    for name, content in files.items():
        assert home.read(f"back/{name}") == content
        one, other = home.stat(name), home.stat(f"back/{name}")
        assert (one.mode, one.modified_ns) == (other.mode, other.modified_ns)
    assert {it.what for it in home.import_memories(path, into="back").files} == {"there"}


KILLED = """
import os, signal, sys
from agentfs import Home
from agentfs.config.settings import load
from agentfs.replica import backing
from agentfs.tree.xattrs import ExtendedAttributes

backing.DIRECTORIES = 4

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

with Home.open("me", settings=load({"store": sys.argv[1], "state_dir": sys.argv[2], "index": False})) as home:
    ExtendedAttributes.set_in = die
    home.import_memories(sys.argv[3], into="back")
"""


def test_an_import_that_is_killed_leaves_no_file_without_its_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a file's bytes and what else belongs to it; importing again brings both."""
    monkeypatch.setattr(backing, "DIRECTORIES", 4)
    with home_of(tmp_path, agent="other", index=False) as other:
        other.write("data.csv", "a,b\n1,2\n")
        set_facts(other, "data.csv", {"tags": ["x"]})
        set_attributes(other, "data.csv", mtime_ns=123_456_789_000_000_000, mode=0o600)
        with open(tmp_path / "rows.jsonl", "wb") as file:
            other.export_memories(file, format="documents")
    given_ = (str(tmp_path / "store"), str(tmp_path / "state-one"), str(tmp_path / "rows.jsonl"))
    done = subprocess.run([sys.executable, "-c", KILLED, *given_], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with home_of(tmp_path, index=False) as home:
        assert not home.exists("back/data.csv")
        assert [it.what for it in home.import_memories(given_[-1], into="back").files] == ["added"]
        found = home.stat("back/data.csv")
        assert (found.mode & 0o777, found.modified_ns) == (0o600, 123_456_789_000_000_000)
        home.sync()
    os.rename(tmp_path / "state-one", tmp_path / "state-gone")
    with home_of(tmp_path, index=False) as elsewhere:
        assert xattrs_of(elsewhere, "back/data.csv") == {b"user.agentfs.tags": b'["x"]'}
        assert elsewhere.stat("back/data.csv").modified_ns == 123_456_789_000_000_000


def test_export_chooses(tmp_path: Path, home: Home) -> None:
    home.write("a.md", "---\ntags: [x, y]\n---\n# Title\n\nFirst.\n\nSecond.\n")
    home.write("b.md", "---\ntags: [x]\n---\nThird.\n")
    aged(home, "c.md", "Fourth.\n", days=10)
    aged(home, "gone.md", "---\nttl: 1d\n---\nFifth.\n", days=10)
    home.write(".hidden/d.md", "Sixth.\n")
    home.write(b"raw\xff.bin", b"\0\1")
    set_facts(home, b"raw\xff.bin", {"tags": ["x"]})

    def rows(path: str = "", **options: object) -> list[dict[str, object]]:
        out = io.BytesIO()
        home.export_memories(out, path, **options)  # type: ignore[arg-type]
        return [json.loads(line) for line in out.getvalue().splitlines()]

    assert [row["text"] for row in rows() if row["path"] != "a.md"] == ["Third.", "Fourth."]
    assert {row["path"] for row in rows(tags=["X"])} == {"a.md", "b.md"}
    assert {row["path"] for row in rows(tags=["x", "#y"])} == {"a.md"}
    assert {row["path"] for row in rows(since="5d")} == {"a.md", "b.md"}
    assert {row["path"] for row in rows("b.md")} == {"b.md"}
    assert [row["text"] for row in rows("c.md", format="text")] == ["Fourth.\n"]
    everything = rows(format="documents")
    assert [row["path"] for row in everything] == [".hidden/d.md", "a.md", "b.md", "c.md", "raw\udcff.bin"]
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in everything))
    made = home.import_memories(tmp_path / "out.jsonl", into="back")
    assert home.read(b"back/raw\xff.bin") == b"\0\1"
    assert xattrs_of(home, b"back/raw\xff.bin") == xattrs_of(home, b"raw\xff.bin")
    assert len(made.files) == 5
    with pytest.raises(errors.NotFound):
        rows("nothing")
    with pytest.raises(errors.InvalidArgument):
        rows(format="csv")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, home: Home) -> None:
    for at in range(5):
        home.write(f"{at}.md", f"Text {at}.\n")
    target = tmp_path / "out" / "x.jsonl"
    target.parent.mkdir()
    target.write_text("before")

    def interrupted(left: int, _size: int) -> None:
        if left == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        home.export_memories(target, told=interrupted)
    assert [(file.name, file.read_text()) for file in target.parent.iterdir()] == [("x.jsonl", "before")]
    done = home.export_memories(target)
    assert (done.files, len(target.read_text().splitlines())) == (5, 5)
    assert stat.S_IMODE(target.stat().st_mode) & 0o111 == 0
    assert len(list(target.parent.iterdir())) == 1
    with pytest.raises(errors.InvalidArgument, match="nowhere"):
        home.export_memories(tmp_path / "nowhere" / "x.jsonl")


def test_a_vault_is_imported_once(tmp_path: Path) -> None:
    vault = tmp_path / "Vault"
    for path, data in (
        ("a.md", b"---\r\ntags: [x]\r\n---\r\nSee [[b]] and ![[pic.png]].\r\n"),
        ("sub/b.md", b"B.\n"),
        ("sub/pic.png", b"\x89PNG\0"),
        (".obsidian/app.json", b"{}"),
        (".trash/c.md", b"gone"),
    ):
        (vault / path).parent.mkdir(parents=True, exist_ok=True)
        (vault / path).write_bytes(data)
    os.utime(vault / "a.md", ns=(0, 1_600_000_000_123_456_789))
    (vault / "link.md").symlink_to("a.md")
    with machine(tmp_path) as one:
        with home_of(tmp_path) as home:
            home.write("Vault/sub/b.md", "Ours.\n")
        plan = ok(one, "import", str(vault), "--dry-run").text.splitlines()
        assert plan[:3] == ["add Vault/a.md", "add beside Vault/sub/b-2.md", "add Vault/sub/pic.png"]
        first = ok(one, "import", str(vault), "--json").json
        assert (first["kind"], first["added"], first["beside"], first["there"]) == ("obsidian", 2, 1, 0)
        assert first["left_out"] == ["link.md (no regular file)"]
        with home_of(tmp_path) as home:
            found = tree(home)
            assert set(found) == {"Vault/a.md", "Vault/sub/b.md", "Vault/sub/b-2.md", "Vault/sub/pic.png"}
            assert found["Vault/a.md"] == (vault / "a.md").read_bytes()
            assert found["Vault/sub/b.md"] == b"Ours.\n"
            assert home.stat("Vault/a.md").modified_ns == 1_600_000_000_123_456_789
        again = ok(one, "import", str(vault), "--json").json
        assert (again["added"], again["beside"], again["there"]) == (0, 0, 3)
        folder = ok(one, "import", str(vault), "--from", "folder", "--into", "notes/x", "--json").json
        assert [it["path"] for it in folder["files"]] == ["notes/x/a.md", "notes/x/sub/b.md"]
        assert any("pic.png" in name for name in folder["left_out"])


def test_what_other_tools_export_is_told_apart(tmp_path: Path, home: Home) -> None:
    graph = [
        {"type": "entity", "name": "Jane", "entityType": "person", "observations": ["Codes"]},
        {"type": "relation", "from": "Jane", "to": "ACME", "relationType": "works_at"},
    ]
    memory = {"id": "1", "memory": "Likes tea", "created_at": "2025-01-02T03:04:05Z"}
    sources = {
        "memory.jsonl": ("\n".join(map(json.dumps, graph)), "graph", ["memories/knowledge-graph/Jane.md"]),
        "graph.json": (json.dumps({"entities": graph[:1], "relations": graph[1:]}, indent=1), "graph", ["there"]),
        "mem0.json": (
            json.dumps({"count": 1, "results": [memory]}, indent=1),
            "mem0",
            ["memories/mem0/likes-tea.md"],
        ),
        "list.json": (json.dumps([memory, {**memory, "id": "2"}]), "mem0", ["there", "memories/mem0/likes-tea-2.md"]),
        "claude.txt": ("[2025-01-02] - Likes tea\n", "list", ["memories/imported/likes-tea.md"]),
        "rows.jsonl": ('\n{"text": "Any row."}\n{"text": "Any row."}\n', "jsonl", ["any-row.md", "there"]),
    }
    for name, (text, kind, paths) in sources.items():
        (tmp_path / name).write_text(text)
        done = home.import_memories(tmp_path / name)
        assert done.kind == kind, name
        assert [it.path if it.what == "added" or it.what == "beside" else "there" for it in done.files] == paths, name
        again = home.import_memories(tmp_path / name)
        assert {it.what for it in again.files} == {"there"}, name
        piped = home.import_memories(io.BytesIO(text.encode()))
        assert (piped.kind, {it.what for it in piped.files}) == (kind, {"there"}), name
    assert b"works_at [[ACME]]" in home.read("memories/knowledge-graph/Jane.md")
    assert home.stat("memories/mem0/likes-tea.md").modified_ns == 1_735_787_045 * 10**9


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"text": "x"}\nnonsense\n', "line 2: it is not JSON"),
        ('{"text": "x"}\n[1]\n', "line 2: it is no object"),
        ('{"agentfs": "document", "path": "../x", "text": "x"}\n', "line 1: .*not allowed"),
        ('{"agentfs": "document", "path": "spaces/team/x", "text": "x"}\n', "shared space"),
        ('{"text": "x"}\n{"titel": "y"}\n', "line 2: a row has a text"),
        (
            '{"agentfs": "document", "path": "x", "text": ""}\n{"agentfs": "document", "path": "x/y", "text": ""}\n',
            "x is a file of this source",
        ),
        ('{"agentfs": "document", "path": "dir/file/y", "text": ""}\n', "cannot be imported"),
        ("# A note\n\nText.\n", "is one note"),
        ("", "is empty"),
    ],
)
def test_nothing_is_written_of_what_cannot_be_read(tmp_path: Path, home: Home, text: str, what: str) -> None:
    home.write("dir/file", b"")
    source = tmp_path / "source.jsonl"
    if text.startswith("#"):
        source = tmp_path / "source.md"
    source.write_text(text)
    with pytest.raises(errors.InvalidArgument, match=what):
        home.import_memories(source)
    assert tree(home) == {"dir/file": b""}
    with pytest.raises(errors.InvalidArgument, match="agentfs remember -" if text.startswith("#") else what):
        home.import_memories(io.BytesIO(text.encode()))
    assert tree(home) == {"dir/file": b""}
    with pytest.raises(errors.InvalidArgument):
        home.import_memories(tmp_path / "nothing")
    with pytest.raises(errors.InvalidArgument):
        home.import_memories(source, kind="obsidian")


def test_the_commands_of_export(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        with home_of(tmp_path) as home:
            home.write("a.md", "# T\n\nText.\n")
        assert json.loads(ok(one, "export").out.splitlines()[-1])["text"].endswith("Text.")
        summary = ok(one, "export", "--to", "x.jsonl", "--documents", "--json")
        assert (summary.json["files"], summary.json["rows"], summary.json["format"]) == (1, 1, "documents")
        Path("x.jsonl").unlink()
        assert here(one, "export", "--json").code == 2
        assert here(one, "export", "nothing").code == 3
        assert here(one, "import", str(tmp_path / "nothing")).code == 2
