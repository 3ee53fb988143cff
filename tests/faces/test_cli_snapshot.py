"""`agentfs snapshot` and `agentfs fork` as users type them, and the same from Python."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Machine, machine, until
from mounted import needs_mount

from agentfs import AsyncHome, Home
from agentfs.cli import exits
from agentfs.config.settings import Settings, load


@pytest.fixture
def me(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as made:
        made.ok("put", "-", "a.md", stdin=b"one\n")
        yield made


def settings(me: Machine) -> Settings:
    return load(
        {"store": me.store, "state_dir": str(me.state_dir), "agent_id": me.agent, "view": "off"},
        environment={"HOME": str(me.root)},
    )


def test_a_snapshot_from_its_name_to_its_end(me: Machine) -> None:
    made = me.ok("snapshot", "create", "first", "--note", "as it was", "--json").json["snapshot"]
    assert (made["name"], made["volume"], made["sequence"], made["author"]) == ("first", "home-me", 1, "me")
    assert made["complete"] and made["note"] == "as it was"
    me.ok("put", "-", "a.md", stdin=b"two\n")
    assert "after entry 2" in me.ok("snapshot", "create", "second").text
    listed = me.ok("snapshot", "list", "--json").json
    assert [(it["name"], it["sequence"]) for it in listed["snapshots"]] == [("first", 1), ("second", 2)]
    assert me.ok("show", "a.md", "--at", "first").out == b"one\n"  # a name is a moment of the history
    assert me.ok("show", "a.md", "--at", "second").out == b"two\n"
    assert "exists" in me.run("snapshot", "create", "second", "--json").json["error"]["code"]
    assert "already" in me.refused(exits.FAILED, "snapshot", "create", "first")
    assert "--at" in me.refused(exits.USAGE, "snapshot", "create", "v12")
    me.ok("snapshot", "delete", "first")
    me.refused(exits.NOT_FOUND, "snapshot", "delete", "first")
    assert "second" in me.ok("snapshot", "list").text and "first" not in me.ok("snapshot", "list").text
    assert me.ok("fsck", "--json").json["findings"] == []


def test_what_is_pending_is_in_the_snapshot(me: Machine) -> None:
    me.ok("put", "--no-sync", "-", "b.md", stdin=b"pending\n")
    assert me.ok("snapshot", "create", "all", "--json").json["snapshot"]["sequence"] == 2
    assert me.ok("show", "b.md", "--at", "all").out == b"pending\n"


def test_offline_it_is_refused(me: Machine) -> None:
    me.ok("put", "--no-sync", "-", "b.md", stdin=b"pending\n")
    shutil.move(me.root / "store", me.root / "away")
    result = me.run("snapshot", "create", "x")
    assert result.code == exits.UNREACHABLE and "not in the store" in result.err
    me.refused(exits.NOT_FOUND, "snapshot", "list")  # a directory that is not there is no store that is down
    me.refused(exits.NOT_FOUND, "fork", "me", "exp")
    shutil.move(me.root / "away", me.root / "store")
    assert me.ok("cat", "b.md").out == b"pending\n"
    assert me.ok("snapshot", "list", "--json").json["snapshots"] == []


@pytest.mark.slow
def test_a_fork_from_its_beginning_to_its_end(me: Machine) -> None:
    me.ok("snapshot", "create", "before")
    me.ok("put", "-", "a.md", stdin=b"two\n")
    made = me.ok("fork", "me", "exp", "--note", "try", "--json").json["fork"]
    assert (made["agent_id"], made["parent"], made["sequence"], made["state"]) == ("exp", "me", 2, "ready")
    assert "next    agentfs mount DIRECTORY --agent-id old" in me.ok("fork", "me", "old", "--snapshot", "before").text
    assert me.ok("cat", "a.md", "-a", "exp").out == b"two\n"
    assert me.ok("cat", "a.md", "-a", "old").out == b"one\n"
    me.ok("put", "-", "b.md", "-a", "exp", stdin=b"in the fork\n")
    me.ok("put", "--no-sync", "-", "c.md", "-a", "exp", stdin=b"pending in the fork\n")
    me.ok("put", "-", "mine.md", stdin=b"meanwhile\n")
    assert me.ok("history", "a.md", "-a", "exp", "--json").json  # what was before the fork is its history, too
    assert me.ok("show", "a.md", "--at", "1", "-a", "exp").out == b"one\n"
    merged = me.ok("fork", "merge", "exp", "--json").json
    assert (merged["merged"], merged["into"], merged["conflicts"]) == ("exp", "me", 0)
    assert {line["path"] for line in me.ok("ls", "--json").json["entries"]} == {"a.md", "b.md", "c.md", "mine.md"}
    assert "before" in me.ok("fork", "merge", "exp").text
    forks = me.ok("fork", "list", "--json").json["forks"]
    assert [(it["agent_id"], len(it["merges"])) for it in forks] == [("old", 0), ("exp", 1)]
    assert "merged into me" in me.ok("fork", "list", "me").text
    for agent in ("me", "exp", "old"):
        found = me.ok("fsck", "--deep", "--json", "-a", agent).json
        assert [it for it in found["findings"] if it["severity"] != "note"] == []
    assert "--yes" in me.refused(exits.USAGE, "fork", "delete", "exp")
    assert me.ok("fork", "delete", "exp", "--yes", "--json").json == {"deleted": "exp"}
    me.ok("fork", "delete", "old", "--yes")
    assert me.ok("fork", "list", "--json").json["forks"] == []
    assert [it.name for it in (me.state_dir / "volumes").iterdir() if "home-me@" not in it.name] == []
    assert me.ok("cat", "b.md").out == b"in the fork\n"
    me.refused(exits.NOT_FOUND, "cat", "a.md", "-a", "exp")
    me.refused(exits.FAILED, "fork", "me", "exp")


def test_errors_of_forks(me: Machine) -> None:
    me.refused(exits.NOT_FOUND, "fork", "nobody", "exp")
    me.refused(exits.NOT_FOUND, "fork", "me", "exp", "--snapshot", "nothing")
    me.refused(exits.NOT_FOUND, "fork", "me", "exp", "--at", "99")
    me.refused(exits.USAGE, "fork", "me", "../x")
    me.refused(exits.USAGE, "fork", "merge", "me")
    me.refused(exits.NOT_FOUND, "fork", "delete", "me", "--yes")
    assert not (me.state_dir / "volumes").joinpath("home-nobody").exists()
    assert me.ok("fork", "list", "--json").json["forks"] == []


def test_a_space_has_snapshots_too(me: Machine) -> None:
    me.ok("space", "create", "team", "--attach")
    me.ok("put", "-", "spaces/team/n.md", stdin=b"ours\n")
    made = me.ok("snapshot", "create", "agreed", "--space", "team", "--json").json["snapshot"]
    assert (made["volume"], made["author"]) == ("space-team", "me")
    assert me.ok("snapshot", "list", "--space", "team", "--json").json["snapshots"] == [made]
    assert me.ok("snapshot", "list", "--json").json["snapshots"] == []
    me.ok("snapshot", "delete", "agreed", "--space", "team")


def test_from_python(me: Machine) -> None:
    with Home.open(settings=settings(me)) as home:
        home.write("b.md", "bee\n")
        named = home.snapshot("here", note="n")
        assert home.snapshots() == [named]
        fork = home.fork("exp", snapshot="here")
        assert [it.agent_id for it in home.forks()] == ["exp"] == [fork.agent_id]
        with Home.open("exp", settings=settings(me)) as exp:
            assert exp.read("b.md") == b"bee\n"
            exp.append("b.md", "from the fork\n")
        assert home.merge_fork("exp").changes == 1
        assert home.read("b.md") == b"bee\nfrom the fork\n"
        assert home.delete_snapshot("here").name == "here"
        with pytest.raises(FileNotFoundError):
            home.delete_snapshot("here")


async def _asynchronously(me: Machine) -> list[str]:
    async with await AsyncHome.open(settings=settings(me)) as home:
        await home.snapshot("one")
        await home.fork("exp")
        return [*(it.name for it in await home.snapshots()), *(it.agent_id for it in await home.forks())]


def test_from_asyncio(me: Machine) -> None:
    import asyncio  # noqa: PLC0415 - only here

    assert asyncio.run(_asynchronously(me)) == ["one", "exp"]


@needs_mount
def test_beside_mounts(me: Machine) -> None:
    """The home and its fork are mounted: the engines of the mounts do what is asked for."""
    home, sandbox = me.directory(), me.directory("sandbox")
    me.ok("mount", str(home))
    (home / "a.md").write_bytes(b"two\n")  # pending, or not: it is in the fork
    (home / "big.bin").write_bytes(b"x" * 1_500_000)
    me.ok("snapshot", "create", "mounted")
    me.ok("fork", "me", "exp")
    me.ok("mount", str(sandbox), "-a", "exp")
    assert (sandbox / "a.md").read_bytes() == b"two\n"
    assert (sandbox / "big.bin").read_bytes() == b"x" * 1_500_000
    (sandbox / "a.md").write_bytes(b"two\nand the fork\n")
    (sandbox / "dir").mkdir()
    (sandbox / "dir" / "new.md").write_bytes(b"new\n")
    (sandbox / "big.bin").rename(sandbox / "dir" / "big.bin")
    (home / "mine.md").write_bytes(b"mine\n")
    assert sorted(it.name for it in home.iterdir()) == ["a.md", "big.bin", "mine.md"]
    me.ok("fork", "merge", "exp")
    until(lambda: sorted(it.name for it in home.iterdir()) == ["a.md", "dir", "mine.md"])
    until(lambda: (home / "a.md").read_bytes() == b"two\nand the fork\n")
    assert (home / "dir" / "big.bin").read_bytes() == b"x" * 1_500_000
    assert "unmount" in me.refused(exits.FAILED, "fork", "delete", "exp", "--yes")
    me.ok("unmount", str(sandbox))
    me.ok("fork", "delete", "exp", "--yes")
    assert (home / "dir" / "new.md").read_bytes() == b"new\n"
    me.ok("unmount", str(home))
    found = me.ok("fsck", "--deep", "--json").json["findings"]
    assert [it for it in found if it["severity"] != "note"] == []


@needs_mount
def test_a_fork_that_was_deleted_elsewhere_stays_readable(me: Machine) -> None:
    me.ok("fork", "me", "exp")
    with machine(me.root, name="two", agent="exp") as other:
        place = other.directory()
        other.ok("mount", str(place))
        (place / "b.md").write_bytes(b"not pushed\n")
        me.ok("fork", "delete", "exp", "--yes")
        (place / "c.md").write_bytes(b"later\n")
        until(lambda: "deleted" in other.run("sync", "--timeout", "2s").err)
        assert (place / "b.md").read_bytes() == b"not pushed\n"
        assert (place / "a.md").read_bytes() == b"one\n"
        other.run("unmount", str(place))
        other.clean_up()
