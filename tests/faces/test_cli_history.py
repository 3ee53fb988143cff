"""`agentfs history`, `log`, `show`, `diff`, `restore`, `conflicts` and `resolve`, as users run them."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from command import Machine, Result, machine, until

from agentfs import Home, errors
from agentfs.cli.main import main
from agentfs.config.settings import load
from agentfs.sdk.paths import existing
from agentfs.sdk.xattrs import set_xattrs, xattrs_of
from agentfs.tree.values import AttributeChange, Caller


class Here(Machine):
    """Runs the command in this process: Python's start would take longer than the command."""

    def run(self, *arguments: str, stdin: bytes = b"", timeout: float = 90) -> Result:
        out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
        with (
            mock.patch.object(sys, "argv", ["agentfs", *arguments]),
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(os, "_exit", sys.exit),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as end,
        ):
            main()
        code = end.value.code
        assert isinstance(code, int)
        return Result(code, out.buffer.getvalue(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]


@contextlib.contextmanager
def here(root: Path, name: str = "one") -> Iterator[Machine]:
    (root / "store").mkdir(exist_ok=True)
    made = Here(root, str(root / "store"), name=name)
    try:
        yield made
    finally:
        made.clean_up()


def home_of(one: Machine, **flags: object) -> Home:
    given = {"store": one.store, "state_dir": str(one.state_dir), "timeout": 60, **flags}
    return Home.open(one.agent, settings=load(given, environment={"HOME": str(one.root), "AGENTFS_VIEW": "off"}))


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Machine]:
    with here(tmp_path) as made:
        yield made


def written(home: Home, *steps: tuple[str, str | bytes | None]) -> None:
    """One commit for each step: (path, content), None deletes."""
    for path, content in steps:
        if content is None:
            home.delete(path, recursive=True)
        else:
            home.write(path, content)
        home.sync()


def test_a_file_from_its_first_version_to_now(one: Machine) -> None:
    with home_of(one) as home:
        written(home, ("notes.md", "a\n"), ("notes.md", "a\nb\n"), ("other.md", "x"))
        home.move("notes.md", "diary/notes.md")
        home.sync()
        written(home, ("diary/notes.md", "a\nb\nc\n"))
    found = one.ok("history", "diary/notes.md", "--json").json
    assert [(it["version"], it["sequence"], it["what"], it["path"], it["other"]) for it in found["events"]] == [
        (3, 5, "changed", "diary/notes.md", None),
        (2, 4, "renamed", "diary/notes.md", "notes.md"),
        (2, 2, "changed", "notes.md", None),
        (1, 1, "created", "notes.md", None),
    ]
    assert (found["versions"], found["pending"], found["behind"]) == (3, False, 0)
    text = one.ok("history", "diary/notes.md", "--limit", "2").text
    assert text.splitlines()[0].split()[:2] == ["v3", "@5"]
    assert "renamed from notes.md" in text.splitlines()[1]
    assert one.ok("show", "diary/notes.md", "--at", "v1").out == b"a\n"
    assert one.ok("show", "diary/notes.md", "--at", "@2").out == b"a\nb\n"
    assert one.ok("show", "diary/notes.md", "--at", "4", "--json").json["text"] == "a\nb\n"
    assert "no version 9: there are 1 to 3" in one.refused(3, "show", "diary/notes.md", "--at", "v9")
    assert "no commit 99" in one.refused(2, "show", "diary/notes.md", "--at", "@99")
    assert "is no moment" in one.refused(2, "show", "diary/notes.md", "--at", "whenever")
    assert "has no history" in one.refused(3, "history", "nothing.md")
    assert "before the first commit" in one.refused(3, "show", "diary/notes.md", "--at", "1999-01-01T00:00")


def test_differences(one: Machine) -> None:
    with home_of(one) as home:
        written(home, ("f", "1\n2\n3\n"), ("f", "1\nzwei\n3\n"), ("b", b"\0\1"), ("b", b"\0\2"))
    text = one.ok("diff", "f").text
    assert text == "--- f\tv1\n+++ f\tas it is here\n@@ -1,3 +1,3 @@\n 1\n-2\n+zwei\n 3\n"
    assert one.ok("diff", "f", "v1", "v2", "--stat").text == "f  +1 -1\n"
    assert one.ok("diff", "b").text == "b: binary, 2 bytes before, 2 after\n"
    assert one.ok("diff", "f", "v2").text == ""
    both = one.ok("diff", "", "@1", "@4", "--json").json
    assert [(it["path"], it["what"], it["binary"]) for it in both["files"]] == [
        ("b", "created", True),
        ("f", "changed", False),
    ]
    first = one.ok("diff", "f", "@1", "@1").text
    assert first == ""
    assert "say since when" in one.refused(2, "diff", "")


def test_the_log(one: Machine) -> None:
    with home_of(one) as home:
        written(home, ("a/one.md", "1"), ("a/two.md", "2"), ("b.md", "3"), ("a/one.md", "1+"), ("a", None))
    commits = one.ok("log", "--json").json["commits"]
    assert [it["sequence"] for it in commits] == [5, 4, 3, 2, 1]
    assert commits[0]["counts"] == {"deleted": 3}
    assert [it["path"] for it in commits[0]["changes"]] == ["a", "a/one.md", "a/two.md"]
    assert {it["author"] for it in commits} == {"me"}
    below = one.ok("log", "--path", "a/two.md", "--json").json["commits"]
    assert [it["sequence"] for it in below] == [5, 2]
    inside = one.ok("log", "--path", "a", "--limit", "2", "--json").json["commits"]
    assert [it["sequence"] for it in inside] == [5, 4]
    assert [it["sequence"] for it in one.ok("log", "--since", "@4", "--json").json["commits"]] == [5, 4]
    assert one.ok("log", "--author", "nobody", "--json").json["commits"] == []
    lines = one.ok("log", "-v").text.splitlines()
    assert lines[0].startswith("@5  ") and "3 deleted" in lines[0]
    assert "    deleted a/two.md" in lines
    assert "    changed a/one.md (2 B)" in lines
    assert one.ok("log", "--since", "2h").text.count("\n") == 5
    assert one.ok("log", "--since", "2999-01-01").text == ""


def test_restore_of_a_directory_that_was_deleted(one: Machine) -> None:
    with home_of(one) as home:
        written(home, ("d/one.md", "1"), ("d/sub/two.md", "2"), ("d/run.sh", "#!"))
        home._tree.set_attributes(home.stat("d/run.sh").ino, AttributeChange(mode=0o755))
        home._tree.symlink(home.stat("d").ino, b"link", b"one.md", Caller.process())
        home.sync()
        then = home.status().head_sequence
        written(home, ("d", None))
    done = one.ok("restore", "d", "--at", f"@{then}", "--json").json
    assert done["synced"]
    assert {it["path"]: it["what"] for it in done["restored"]} == dict.fromkeys(
        ("d", "d/sub", "d/one.md", "d/sub/two.md", "d/run.sh", "d/link"), "created"
    )
    with home_of(one) as home:
        assert home.read("d/sub/two.md") == b"2"
        assert home.stat("d/run.sh").mode == 0o755
        assert home.read("d/link") == b"1"
        written(home, ("d/new.md", "n"), ("d/one.md", "changed"))
    assert one.ok("restore", "d", "--at", f"@{then}").text == "written d/one.md\n"
    assert one.ok("restore", "d", "--at", f"@{then}").text == "nothing to do: it is so already\n"
    assert one.ok("ls", "d", "-r").text.split() == [
        "d/link",
        "d/new.md",
        "d/one.md",
        "d/run.sh",
        "d/sub/",
        "d/sub/two.md",
    ]
    assert one.ok("restore", "d", "--at", f"@{then}", "--exact").text == "deleted d/new.md\n"
    assert one.ok("restore", "d/one.md", "--at", "@1", "--to", "e/copy.md").text == "created e/copy.md\n"
    assert one.ok("cat", "e/copy.md").out == b"1"
    assert one.ok("ls", "d", "--at", "@1").text == "one.md\n"
    assert one.ok("ls", "-r", "--at", "@2").text.split() == ["d/", "d/one.md", "d/sub/", "d/sub/two.md"]
    assert one.ok("show", "d", "--at", "@2").text.split() == ["one.md", "sub/"]


def test_what_is_not_pushed_yet_is_said(one: Machine) -> None:
    with home_of(one) as home:
        written(home, ("f", "1"))
    os.rename(one.store, one.store + ".away")
    with home_of(one) as home:
        home.write("f", "22")
        home.write("new", "x")
        assert home.history("f").pending
        assert [event.version for event in home.history("f").events] == [1]
        assert home.history("new").events == []
        assert home.history("new").pending
        home.close(push=False)
    os.rename(one.store + ".away", one.store)
    with home_of(one) as home:
        home.sync()
        assert [event.version for event in home.history("f").events] == [2, 1]


def test_offline_the_index_answers_and_bytes_are_said_to_be_away(one: Machine) -> None:
    with home_of(one) as home:
        written(home, ("f", "first"), ("f", "second"))
        assert home.read_version("f", 1) == b"first"
    os.rename(one.store, one.store + ".away")
    with home_of(one) as home:
        assert [event.what for event in home.history("f").events] == ["changed", "created"]
        assert home.read_version("f", "v1") == b"first"  # it was read before
        assert home.read_version("f", "v2") == b"second"  # what is at the path now
        for name in Path(home._volume.directory, "versions").iterdir():
            name.unlink()
        with pytest.raises(errors.Unavailable, match="not on this machine"):
            home.read_version("f", "v1")
        home.close(push=False)
    os.rename(one.store + ".away", one.store)


def test_a_machine_that_comes_later_knows_all(one: Machine, tmp_path: Path) -> None:
    with home_of(one) as home:
        for number in range(40):
            written(home, ("f", f"{number}"))
    with here(tmp_path, name="two") as two:
        found = two.ok("history", "f", "--json").json
        assert [it["version"] for it in found["events"]] == list(range(40, 0, -1))
        assert two.ok("show", "f", "--at", "v17").out == b"16"
        with home_of(two) as late:
            written(late, ("f", "two's"))
        assert two.ok("history", "f", "--limit", "1", "--json").json["events"][0]["version"] == 41


@pytest.mark.mount
def test_a_mounted_home_answers_through_its_engine(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        mounted(one)


def mounted(one: Machine) -> None:
    place = one.directory()
    one.ok("mount", str(place))
    for number in range(3):  # an editor's way: a temporary file, renamed
        (place / ".f.tmp").write_text(f"{number}\n")
        os.replace(place / ".f.tmp", place / "f.md")
        one.ok("sync")
    found = one.ok("history", "f.md", "--json").json
    events = [(it["version"], it["what"]) for it in found["events"]]
    if (1, "renamed") in events:  # the engine pushed between the two
        events.remove((1, "renamed"))
    assert events == [(3, "changed"), (2, "changed"), (1, "created")]
    assert one.ok("diff", "f.md").text.splitlines()[3:] == ["-1", "+2"]
    one.ok("restore", "f.md", "--at", "v1")
    until(lambda: (place / "f.md").read_text() == "0\n")
    assert one.ok("history", "f.md", "--json").json["events"][0]["what"] == "restored"
    one.ok("unmount", str(place))


def met(one: Machine, two: Machine, base: bytes, ours: bytes, theirs: bytes, name: str = "f.bin") -> None:
    """Both change a file without knowing of each other; what the first machine did is in the log first."""
    with home_of(one) as home:
        home.write(name, base)
        home.sync()
    with home_of(two) as late:
        assert late.read(name) == base
        os.rename(one.store, one.store + ".away")
        late.write(name, theirs)
        late.close(push=False)
    os.rename(one.store + ".away", one.store)
    with home_of(one) as home:
        home.write(name, ours)
        home.sync()
    with home_of(two) as late:
        late.pull()
        late.sync()


def test_conflicts_are_listed_shown_and_resolved(one: Machine, tmp_path: Path) -> None:
    with here(tmp_path, name="two") as two:
        met(one, two, b"\0base", b"\0ours", b"\0theirs")
        (found,) = two.ok("conflicts", "--json").json["conflicts"]
        assert (found["path"], found["kind"], found["resolved"]) == ("f.bin", "content", None)
        assert found["copy"].startswith("f.conflict-me-")
        assert {"earlier", "later"} <= set(found["sides"])
        assert two.ok("conflicts", "show", found["id"], "--side", "earlier").out == b"\0ours"
        assert two.ok("conflicts", "show", found["id"], "--side", "later").out == b"\0theirs"
        text = one.ok("conflicts").text
        assert found["id"] in text and "the other version: f.conflict-me-" in text
        assert one.ok("conflicts", "elsewhere").text == ""
        assert "no conflict" in one.refused(3, "resolve", "nothing.md")
        assert one.ok("resolve", found["id"], "--keep", "later").text == f"resolved {found['id']}\n"
        assert one.ok("cat", "f.bin").out == b"\0theirs"
        assert one.ok("ls").text == "f.bin\n"
        assert two.ok("conflicts", "--json").json["conflicts"] == []
        (settled,) = two.ok("conflicts", "--all", "--json").json["conflicts"]
        assert settled["resolved"] is not None
        assert two.ok("conflicts", "show", found["id"], "--side", "earlier").out == b"\0ours"
        two.ok("resolve", found["id"])  # again: harmless


def test_resolving_alone_is_a_commit(one: Machine, tmp_path: Path) -> None:
    with here(tmp_path, name="two") as two:
        met(one, two, b"\0base", b"\0ours", b"\0theirs")
        with home_of(one) as home:
            home.sync()
            home.pull()
            head = home.status().head_sequence
            (conflict,) = home.conflicts()
            home.resolve(conflict.id)
            assert home.conflicts() == []
            assert home.conflicts(resolved=True)[0].resolved == 0
            home.sync()
            assert home.status().head_sequence == head + 1
            assert home.conflicts(resolved=True)[0].resolved == head + 1
            (commit,) = home.log(limit=1)
            assert (commit.resolved, commit.counts) == (1, {})


def test_help_has_examples(one: Machine) -> None:
    for command in ("history", "log", "show", "diff", "restore", "resolve", "conflicts"):
        assert "Examples:" in one.ok(command, "--help").text


def test_a_path_in_a_space_asks_the_space(one: Machine) -> None:
    one.ok("space", "create", "team")
    one.ok("space", "attach", "team")
    with home_of(one) as home:
        home.write("own.md", "mine")
        home.write("spaces/team/plan.md", "1\n")
        home.sync()
        home.write("spaces/team/plan.md", "2\n")
        home.sync()
        found = home.history("spaces/team/plan.md")
        assert [(it.version, it.path) for it in found.events] == [
            (2, "spaces/team/plan.md"),
            (1, "spaces/team/plan.md"),
        ]
        assert home.read_version("spaces/team/plan.md", "v1") == b"1\n"
        assert [it.path for it in home.list_at("spaces/team", "@1")] == ["spaces/team/plan.md"]
        assert [it.changes[0].path for it in home.log("spaces/team", limit=1)] == ["spaces/team/plan.md"]
        with pytest.raises(errors.OtherVolume):
            home.restore("spaces/team/plan.md", "v1", to="own-plan.md")
        done = home.restore("spaces/team/plan.md", "v1")
        assert [(it.path, it.what) for it in done] == [("spaces/team/plan.md", "written")]
        assert home.read("spaces/team/plan.md") == b"1\n"
        assert home.conflicts("spaces/team") == []
        before = home.log(limit=1)
        assert [it.path for commit in before for it in commit.changes] != []
    assert one.ok("diff", "spaces/team/plan.md", "v1", "v2").text.splitlines()[3:] == ["-1", "+2"]
    assert one.ok("history", "plan.md", "--space", "team", "--json").json["versions"] == 3
    assert one.ok("show", "spaces/team/plan.md", "--at", "v2").out == b"2\n"
    # A restore of the home's whole tree does not reach into spaces.
    one.ok("restore", "", "--at", "@1", "--exact")
    assert one.ok("cat", "spaces/team/plan.md").out == b"1\n"


def test_a_restore_keeps_private_what_was_private(one: Machine) -> None:
    with home_of(one) as home:
        home.write("private/deep/x.md", "secret\n")
        for path, mode in (("private", 0o700), ("private/deep", 0o750)):
            place, attributes = existing(home._volumes, path)
            place.tree.set_attributes(attributes.ino, AttributeChange(mode=mode))
        home.sync()
        home.delete("private", recursive=True)
        home.sync()
    one.ok("restore", "private/deep/x.md", "--at", "v1")
    with home_of(one) as home:
        assert [home.stat(it).mode & 0o777 for it in ("private", "private/deep")] == [0o700, 0o750]


def test_a_restore_brings_back_extended_attributes(one: Machine) -> None:
    red, blue = {b"user.colour": b"red", b"user.\xff": bytes(range(256))}, {b"user.colour": b"blue"}
    with home_of(one) as home:
        home.write("d/photo.jpg", b"\xff\xd8 one")
        set_xattrs(home, "d", blue)
        home.sync()
        first = home.status().head_sequence
        set_xattrs(home, "d/photo.jpg", red)
        home.sync()
        tagged = home.status().head_sequence
        written(home, ("d/photo.jpg", b"\xff\xd8 two"))
        set_xattrs(home, "d/photo.jpg", {b"user.colour": b"green", b"user.new": b"n"})
        home.sync()
    # A version is what it was last; bytes and attributes come together.
    assert one.ok("restore", "d/photo.jpg", "--at", "v1").text == "written d/photo.jpg\n"
    with home_of(one) as home:
        assert xattrs_of(home, "d/photo.jpg") == red
        set_xattrs(home, "d/photo.jpg", blue)
    assert one.ok("restore", "d/photo.jpg", "--at", f"@{tagged}").text == "attributes d/photo.jpg\n"
    assert one.ok("restore", "d/photo.jpg", "--at", f"@{tagged}").text == "nothing to do: it is so already\n"
    one.ok("restore", "d/photo.jpg", "--at", f"@{first}", "--to", "bare.jpg")
    with home_of(one) as home:
        assert xattrs_of(home, "d/photo.jpg") == red
        assert xattrs_of(home, "bare.jpg") == {}
        written(home, ("d", None))
    one.ok("restore", "d", "--at", f"@{tagged}")
    with home_of(one) as home:
        assert xattrs_of(home, "d/photo.jpg") == red
        assert xattrs_of(home, "d") == blue
        # An end that was said by an attribute comes back as well, unless it shall stay.
        set_xattrs(home, "bare.jpg", {b"user.agentfs.expires": b"2020-01-01", **blue})
        assert home.restore("d/photo.jpg", f"@{tagged}", to="bare.jpg", keep=True)[0].ended_ns is None
        assert xattrs_of(home, "bare.jpg") == red


@pytest.mark.parametrize("there", [False, True])
def test_a_restore_of_what_is_over_says_so_and_keeps_it(one: Machine, there: bool) -> None:
    over = "---\nexpires: 2020-01-01  # long ago\ntitle: code\n---\n\nThe code is 4711.\n"
    with home_of(one) as home:
        written(home, ("code.md", over), ("plain.md", "for ever"), ("code.md", "gone" if there else None))
    (done,) = one.ok("restore", "plain.md", "--at", "v1", "--to", "other.md", "--json").json["restored"]
    assert done == {"path": "other.md", "what": "created", "ended": None}
    told = one.run("restore", "code.md", "--at", "v1", "--keep")
    assert told.code == 0
    assert "deleted again" not in told.err
    with home_of(one) as home:
        assert home.read_text("code.md") == "---\ntitle: code\n---\n\nThe code is 4711.\n"
    assert one.ok("restore", "code.md", "--at", "v1", "--keep").text == "nothing to do: it is so already\n"
    told = one.run("restore", "code.md", "--at", "v1", "--to", "again.md")
    assert (told.code, told.text) == (0, "created again.md\n")
    assert "again.md ended on 2020-01-0" in told.err
    assert "--keep" in told.err
    assert one.ok("restore", "code.md", "--at", "v1", "--to", "b.md", "--json").json["restored"][0]["ended"] == (
        "2020-01-02T00:00:00Z"
    )
    with home_of(one) as home:
        home.write("t.txt", "text")
        set_xattrs(home, "t.txt", {b"user.agentfs.expires": b"2020-01-01"})
        home.sync()
        (written_,) = home.restore("plain.md", "v1", to="t.txt", keep=True)
        assert written_.ended_ns is None
        assert home.facts("t.txt").expires_ns is None
