"""Shared spaces from Python, over the embedded store: paths that lead into them, authors, what is protected."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentfs import AsyncHome, Home, errors
from agentfs.config.settings import Settings, load
from agentfs.format.commit import decode_commit
from agentfs.stores.counted import CountedStore
from agentfs.stores.open import open_store
from agentfs.tree.values import Caller
from agentfs.volume import opening, spaces
from agentfs.volume.spaces import create_space, list_spaces, open_space


def settings_for(tmp_path: Path, machine: str = "one", **flags: object) -> Settings:
    (tmp_path / "store").mkdir(exist_ok=True)
    given = {
        "store": str(tmp_path / "store"),
        "state_dir": str(tmp_path / f"state-{machine}"),
        "timeout": 60,
        **flags,
    }
    return load(given, environment={"HOME": str(tmp_path), "AGENTFS_VIEW": "off"})


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Home]:
    settings = settings_for(tmp_path)
    create_space(settings, "team", agent="alice")
    with Home.open("alice", settings=settings) as home:
        home.attach_space("team")
        yield home


def authors(tmp_path: Path, volume: str) -> list[str]:
    log = tmp_path / "store" / ".agentfs" / "volumes" / volume / "log"
    return [
        decode_commit(path.read_bytes(), volume=volume, sequence=int(path.name))[0].author
        for path in sorted(log.iterdir())
    ]


# ---- making and finding ----


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert list_spaces(settings) == []
    create_space(settings, "team", agent="alice")
    with pytest.raises(errors.Exists, match="agentfs space attach team"):
        create_space(settings, "team", agent="bob")
    create_space(settings, "crew", agent="bob")
    assert [found.space for found in list_spaces(settings)] == ["crew", "team"]


def test_listing_is_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(tmp_path)
    for number in range(5):
        create_space(settings, f"s{number}", agent="alice")
    store = CountedStore(open_store(settings.store))
    monkeypatch.setattr(opening, "opened_store", lambda *_, **__: store)
    assert len(list_spaces(settings)) == 5
    assert store.counts.requests == 1


def test_a_space_must_exist(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with Home.open("alice", settings=settings) as home:
        with pytest.raises(FileNotFoundError, match="agentfs space create nothing"):
            home.attach_space("nothing")
        assert home.spaces() == []
    with pytest.raises(errors.NotFound):
        Home.open("alice", space="nothing", settings=settings)


def test_names_of_attachments(alice: Home, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    create_space(settings, "crew", agent="alice")
    assert alice.attach_space("team").place == "spaces/team"  # again: harmless
    with pytest.raises(errors.Exists, match="spaces/team already"):
        alice.attach_space("team", at="work")
    with pytest.raises(errors.Exists, match="--as"):
        alice.attach_space("crew", at="team")
    with pytest.raises(errors.InvalidArgument):
        alice.attach_space("crew", at="a/b")
    alice.attach_space("crew", at="work")
    assert [(found.space, found.place) for found in alice.spaces()] == [
        ("team", "spaces/team"),
        ("crew", "spaces/work"),
    ]
    assert alice.detach_space("work").space == "crew"
    with pytest.raises(FileNotFoundError):
        alice.detach_space("crew")


# ---- paths ----


def test_paths_lead_into_it(alice: Home) -> None:
    alice.write("spaces/team/notes/plan.md", "tea\n")
    alice.append("spaces/team/notes/plan.md", "cake\n")
    assert alice.read_text("spaces/team/notes/plan.md") == "tea\ncake\n"
    alice.write("own.md", "mine")
    assert [entry.path for entry in alice.list("spaces")] == ["spaces/team"]
    assert alice.list("spaces")[0].is_directory and alice.stat("spaces/team").is_directory
    assert alice.stat("spaces/team", follow=False).is_directory
    assert [entry.path for entry in alice.walk()] == [
        "own.md",
        "spaces",
        "spaces/team",
        "spaces/team/notes",
        "spaces/team/notes/plan.md",
    ]
    with alice.open_file("spaces/team/notes/more.md", "w") as file:
        file.write("more")
    with alice.open_file("spaces/team/notes/more.md", "r+") as file:
        assert file.read() == "more"
    alice.copy("own.md", "spaces/team/copy.md")
    alice.move("spaces/team/copy.md", "spaces/team/moved.md")
    assert alice.read("spaces/team/moved.md") == b"mine"
    alice.delete("spaces/team/notes", recursive=True)
    assert [entry.name for entry in alice.list("spaces/team")] == ["moved.md"]
    assert alice.exists("spaces/team/moved.md") and not alice.exists("spaces/team/notes")


def test_links_of_the_home_lead_into_it(alice: Home) -> None:
    alice.write("spaces/team/notes/plan.md", "tea")
    tree = alice._tree
    tree.symlink(1, b"plan", b"spaces/team/notes/plan.md", Caller.process())
    tree.symlink(1, b"back", b"spaces/team/notes/../../../own.md", Caller.process())
    tree.symlink(1, b"elsewhere", b"agentfs:space/team", Caller.process())
    alice.write("own.md", "mine")
    assert alice.read("plan") == b"tea"
    assert alice.read("back") == b"mine"
    assert not alice.exists("elsewhere")  # only in `spaces` such a link attaches
    assert alice.stat("elsewhere", follow=False).kind == "symlink"


def test_what_is_protected(alice: Home) -> None:
    alice.write("spaces/team/f", "x")
    alice.write("own.md", "mine")
    alice.mkdir("d")
    for call in (
        lambda: alice.delete("spaces/team"),
        lambda: alice.delete("spaces/team", recursive=True),
        lambda: alice.delete("spaces", recursive=True),
        lambda: alice.delete("", recursive=True),
        lambda: alice.move("spaces", "places"),
    ):
        with pytest.raises(errors.Attached):
            call()
    for call in (
        lambda: alice.move("own.md", "spaces/team/own.md"),
        lambda: alice.move("spaces/team/f", "f"),
    ):
        with pytest.raises(errors.OtherVolume):
            call()
    for call in (lambda: alice.move("spaces/team", "d/team"), lambda: alice.move("own.md", "spaces/team")):
        with pytest.raises(errors.InvalidArgument):
            call()
    with pytest.raises(IsADirectoryError):
        alice.write("spaces/team", "x")
    assert alice.read("spaces/team/f") == b"x" and alice.read("own.md") == b"mine"
    assert [found.space for found in alice.spaces()] == ["team"]
    alice.mkdir("spaces/ordinary")  # beside it anything may be
    alice.delete("spaces/ordinary")


def test_a_restore_of_the_home_does_not_empty_the_space(alice: Home) -> None:
    alice.write("own.md", "before")
    before = alice.sync().head_sequence
    alice.write("own.md", "after")
    alice.write("new.md", "new")
    alice.write("spaces/team/f", "ours")
    alice.sync()
    alice.restore("", str(before), exact=True)
    assert alice.read("own.md") == b"before" and not alice.exists("new.md")
    assert alice.read("spaces/team/f") == b"ours"


def test_watching_inside(alice: Home) -> None:
    alice.write("spaces/team/d/f", "x")
    changes = alice.watch("spaces/team/d", timeout=60)
    writer = threading.Thread(target=lambda: alice.write("spaces/team/d/g", "y"))
    writer.start()
    change = next(changes)
    writer.join()
    assert change.path.startswith("spaces/team/d/")


# ---- several agents ----


def test_each_commit_has_its_author(alice: Home, tmp_path: Path) -> None:
    alice.write("spaces/team/a", "of alice")
    alice.sync()
    with Home.open("bob", settings=settings_for(tmp_path)) as bob:  # of the same machine
        bob.attach_space("team", at="work")
        assert bob.read("spaces/work/a") == b"of alice"
        bob.write("spaces/work/b", "of bob")
    alice.pull()
    assert alice.read("spaces/team/b") == b"of bob"
    assert authors(tmp_path, "space-team") == ["alice", "bob"]
    with open_space(settings_for(tmp_path, "two"), "team", agent="carol", session_kind="sdk") as volume:
        assert volume.agent == "carol" and volume.volume_id == "team"


def test_by_itself(alice: Home, tmp_path: Path) -> None:
    alice.write("spaces/team/f", "x")
    alice.sync()
    with Home.open("bob", space="team", settings=settings_for(tmp_path, "two")) as space:
        assert (space.agent_id, space.space) == ("bob", "team")
        assert space.read("f") == b"x"
        space.write("spaces/own/g", "in a space `spaces` is a name like others")
        assert space.spaces() == []
    alice.pull()
    assert alice.read("spaces/team/spaces/own/g").startswith(b"in a space")
    assert alice.space is None
    assert authors(tmp_path, "space-team") == ["alice", "bob"]


def test_async(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    create_space(settings, "team", agent="alice")

    async def run() -> None:
        async with await AsyncHome.open("alice", settings=settings) as home:
            await home.attach_space("team")
            await home.write("spaces/team/f", "x")
            assert [found.place for found in await home.spaces()] == ["spaces/team"]
            await home.detach_space("team")
        async with await AsyncHome.open("alice", space="team", settings=settings) as space:
            assert await space.read("f") == b"x"

    asyncio.run(run())


# ---- what is pending ----


def test_sync_pushes_what_an_earlier_process_left(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    create_space(settings, "team", agent="alice")
    home = Home.open("alice", settings=settings)
    home.attach_space("team")
    home.sync()
    home.close()
    (tmp_path / "store").rename(tmp_path / "away")
    with Home.open("alice", settings=settings, engine="none") as home:
        assert home.spaces()
    volume = open_away(settings, tmp_path)
    volume.close(push=False)
    (tmp_path / "away").rename(tmp_path / "store")
    with Home.open("alice", settings=settings) as home:
        home.sync()
    assert authors(tmp_path, "space-team") == ["alice"]


def open_away(settings: Settings, tmp_path: Path) -> spaces.Volume:
    """The space, made on this machine before the store went away, with something written meanwhile."""
    (tmp_path / "away").rename(tmp_path / "store")
    open_space(settings, "team", agent="alice", session_kind="sdk").close()
    (tmp_path / "store").rename(tmp_path / "away")
    volume = open_space(settings, "team", agent="alice", session_kind="sdk", engine="none")
    _, handle = volume.tree.create(1, b"f", 0o644, Caller.process(), 2)
    volume.tree.write(handle, 0, b"x")
    volume.tree.flush(handle)
    volume.tree.release(handle)
    return volume


def test_detaching_with_something_pending(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, timeout="1s")
    create_space(settings, "team", agent="alice")
    with Home.open("alice", settings=settings) as home:
        home.attach_space("team")
        home.sync(20)
    (tmp_path / "store").rename(tmp_path / "away")
    open_away(settings, tmp_path).close(push=False)
    with Home.open("alice", settings=settings) as home:
        with pytest.raises(TimeoutError, match="--force"):
            home.detach_space("team")
        assert [found.space for found in home.spaces()] == ["team"]
        home.detach_space("team", force=True)
        assert home.spaces() == []
    (tmp_path / "away").rename(tmp_path / "store")
    with Home.open("alice", settings=settings) as home:
        home.attach_space("team")
        assert home.read("spaces/team/f") == b"x"
    assert authors(tmp_path, "space-team") == ["alice"]


# ---- two machines ----


def test_attached_everywhere_and_at_the_same_time(tmp_path: Path) -> None:
    """Two machines of one agent, apart: different spaces, the same space, and two spaces under one name."""
    one, two = settings_for(tmp_path, "one"), settings_for(tmp_path, "two")
    for name in ("a", "b", "both", "x", "y"):
        create_space(one, name, agent="me")
    left = Home.open("me", settings=one)
    right = Home.open("me", settings=two)
    for home in (left, right):
        home._volume.link.host.close()  # apart: nothing is pushed or pulled
    left.attach_space("a")
    left.attach_space("both")
    left.attach_space("x", at="name")
    right.attach_space("b")
    right.attach_space("both")
    right.attach_space("y", at="name")
    left.close(push=False)
    right.close(push=False)
    for settings in (one, two, one):
        with Home.open("me", settings=settings) as home:
            home.sync()
            home.pull()
    found = []
    for settings in (one, two):
        with Home.open("me", settings=settings) as home:
            found.append({each.space: each.name for each in home.spaces()})
            for each in home.spaces():
                home.write(b"spaces/" + each.name + b"/f", each.space)
                assert home.read(b"spaces/" + each.name + b"/f") == each.space.encode()
    assert found[0] == found[1]
    assert {"a", "b", "both", "x", "y"} == set(found[0])
    names = {found[0]["x"], found[0]["y"]}
    assert b"name" in names and any(name.startswith(b"name.conflict-me-") for name in names)
