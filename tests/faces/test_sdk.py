"""`Home`: what people's programs rely on. Over the embedded store, without a mount."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentfs
from agentfs import AsyncHome, Home, errors
from agentfs.config.settings import Settings, load
from agentfs.tree.values import Caller


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
def home(tmp_path: Path) -> Iterator[Home]:
    with Home.open("me", settings=settings_for(tmp_path)) as home:
        yield home


def test_what_is_written_is_read_back(home: Home) -> None:
    home.write("notes/today.md", "tea\n")
    home.write(b"raw\xff.bin", b"\x00\xff")
    assert home.read("notes/today.md") == b"tea\n"
    assert home.read_text("/notes/today.md") == "tea\n"
    assert home.read(b"raw\xff.bin") == b"\x00\xff"
    assert [entry.path for entry in home.walk()] == ["notes", "notes/today.md", os.fsdecode(b"raw\xff.bin")]
    assert home.stat("notes/today.md").size_bytes == 4
    assert home.stat("").is_directory


def test_the_package_exports_only_the_homes() -> None:
    assert agentfs.Home is Home
    assert agentfs.AsyncHome is AsyncHome
    with pytest.raises(AttributeError):
        _ = agentfs.nothing  # type: ignore[attr-defined]


def test_errors_are_ours_and_pythons(home: Home) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        home.read("nothing")
    assert isinstance(caught.value, errors.NotFound)
    assert (caught.value.code, caught.value.errno) == ("not-found", 2)
    assert "nothing" in str(caught.value)
    home.mkdir("d")
    home.write("f", b"")
    for call, kind in (
        (lambda: home.read("d"), IsADirectoryError),
        (lambda: home.list("f"), NotADirectoryError),
        (lambda: home.read("f/x"), NotADirectoryError),
        (lambda: home.mkdir("f"), FileExistsError),
        (lambda: home.write("f/x", b""), NotADirectoryError),
        (lambda: home.write("d", b""), IsADirectoryError),
    ):
        with pytest.raises(kind):
            call()


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a/..", "x\0y", "n" * 256])
def test_paths_that_are_refused(home: Home, path: str) -> None:
    for call in (home.read, home.stat, home.list, home.delete):
        with pytest.raises((errors.InvalidArgument, errors.NameTooLong)):
            call(path)
    with pytest.raises(errors.AgentFSError):
        home.write(path, b"")


def test_no_link_leads_out(home: Home) -> None:
    tree = home._tree
    tree.symlink(1, b"absolute", b"/etc/passwd", Caller.process())
    tree.symlink(1, b"above", b"../../etc/passwd", Caller.process())
    tree.symlink(1, b"loop", b"loop", Caller.process())
    home.write("real/file", "x")
    tree.symlink(1, b"inside", b"real/../real/file", Caller.process())
    assert home.read("inside") == b"x"
    for name in ("absolute", "above"):
        with pytest.raises(PermissionError):
            home.read(name)
    with pytest.raises(errors.InvalidArgument):
        home.read("loop")
    home.delete("absolute")
    assert not home.exists("absolute")
    assert os.path.exists("/etc/passwd")


@pytest.mark.parametrize("agent", ["a/b", "..", "a..b", "", ".hidden", "a\0b", "x" * 128, "a b", "ä"])
def test_agent_ids_that_are_refused(tmp_path: Path, agent: str) -> None:
    with pytest.raises(errors.AgentIdInvalid):
        Home.open(agent, settings=settings_for(tmp_path))
    assert not (tmp_path / "state-one" / "volumes").exists()


def test_write_replaces_whole_and_keeps_identity(home: Home) -> None:
    home.write("f", b"one")
    ino = home.stat("f").ino
    with home.open_file("f") as reader:
        assert reader.read(1) == b"o"
        home.write("f", b"22222")
    assert home.stat("f").ino == ino
    assert home.read("f") == b"22222"


def test_write_while_a_writer_has_it_open(home: Home) -> None:
    home.write("f", b"one")
    with home.open_file("f", "r+b") as writer:
        home.write("f", b"two")
        writer.write(b"X")
    assert home.read("f") == b"two"
    assert [entry.name for entry in home.list()] == ["f"]


def test_readers_never_see_part_of_a_write(home: Home, tmp_path: Path) -> None:
    contents = [bytes([65 + n]) * 50_000 for n in range(3)]
    home.write("f", contents[0])
    stop = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        with Home.open("me", settings=settings_for(tmp_path)) as other:
            while not stop.is_set():
                seen.append(other.read("f"))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for n in range(150):
            home.write("f", contents[n % 3])
    finally:
        stop.set()
        reader.join()
    assert seen
    assert set(seen) <= set(contents)


def test_file_objects(home: Home) -> None:
    with home.open_file("t.txt", "w") as file:
        file.write("a\nb\n")
    with home.open_file("t.txt", "a") as file:
        file.write("c\n")
    with home.open_file("t.txt", "r") as file:
        assert file.readlines() == ["a\n", "b\n", "c\n"]
    with home.open_file("t.txt", "r+b") as file:
        file.seek(2)
        file.write(b"B")
        file.truncate(4)
    assert home.read("t.txt") == b"a\nB\n"
    with pytest.raises(FileExistsError):
        home.open_file("t.txt", "x")
    with pytest.raises(FileNotFoundError):
        home.open_file("none", "r")
    with pytest.raises(errors.InvalidArgument):
        home.open_file("t.txt", "q")


def test_move_copy_delete(home: Home) -> None:
    home.write("a/x", "1")
    home.write("a/y", "2")
    home.move("a", "b/c")
    assert [entry.path for entry in home.walk()] == ["b", "b/c", "b/c/x", "b/c/y"]
    home.copy("b/c/x", "copy")
    with pytest.raises(FileExistsError):
        home.move("copy", "b/c/y", overwrite=False)
    with pytest.raises(errors.NotEmpty):
        home.delete("b")
    home.delete("b", recursive=True)
    home.delete("b", missing_ok=True)
    with pytest.raises(FileNotFoundError):
        home.delete("b")
    with pytest.raises(errors.InvalidArgument):
        home.delete("")
    home.delete("", recursive=True)
    assert list(home.list()) == []


APPENDER = """
import sys
from agentfs import Home
from agentfs.config.settings import load
settings = load({"store": sys.argv[1], "state_dir": sys.argv[2], "timeout": 60})
with Home.open("me", settings=settings) as home:
    for n in range(60):
        home.append("log", f"{sys.argv[3]}-{n:03d} " + "x" * 300 + "\\n")
"""


def test_appends_of_several_processes_stay_whole(home: Home, tmp_path: Path) -> None:
    arguments = [str(tmp_path / "store"), str(tmp_path / "state-one")]
    processes = [subprocess.Popen([sys.executable, "-c", APPENDER, *arguments, name]) for name in "abc"]
    assert [process.wait(90) for process in processes] == [0, 0, 0]
    lines = home.read_text("log").splitlines()
    assert len(lines) == 180
    assert all(line.endswith("x" * 300) and len(line) == 306 for line in lines)
    for name in "abc":
        mine = [line for line in lines if line.startswith(name)]
        assert mine == sorted(mine)


def test_two_machines_see_each_other(tmp_path: Path) -> None:
    with (
        Home.open("me", settings=settings_for(tmp_path, "one")) as one,
        Home.open("me", settings=settings_for(tmp_path, "two")) as two,
    ):
        one.write("from-one", "1")
        one.sync()
        two.pull()
        assert two.read_text("from-one") == "1"
        two.write("from-one", "2")
        assert two.sync().head_sequence >= 2
        one.pull()
        assert one.read_text("from-one") == "2"
        assert one.status().pending.changes == 0


def test_watch_tells_local_and_remote_changes(tmp_path: Path) -> None:
    with (
        Home.open("me", settings=settings_for(tmp_path, "one")) as one,
        Home.open("me", settings=settings_for(tmp_path, "two")) as two,
    ):
        changes = one.watch("notes", timeout=60)
        one.write("elsewhere", "x")
        one.write("notes/mine", "x")
        first = next(changes)
        assert (first.path, first.origin) == ("notes", "local")
        two.pull()
        two.write("notes/theirs", "x")
        two.sync()
        remote = next(change for change in changes if change.origin == "remote")
        assert remote.path.startswith("notes")
        assert list(one.watch(timeout=0)) == []


def test_close_pushes(tmp_path: Path) -> None:
    with Home.open("me", settings=settings_for(tmp_path, "one")) as one:
        one.write("f", "x")
    with Home.open("me", settings=settings_for(tmp_path, "two")) as two:
        assert two.read_text("f") == "x"


def test_a_second_home_in_one_process_uses_the_first_ones_engine_and_then_takes_over(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    first = Home.open("me", settings=settings)
    with Home.open("me", settings=settings) as second:
        first.write("a", "1")
        assert second.read_text("a") == "1"
        second.sync()
        first.close()
        second.write("b", "2")
        second.sync()
        assert second.status().engine is not None
    with Home.open("me", settings=settings_for(tmp_path, "two")) as other:
        assert other.read_text("b") == "2"


def test_missing_store_directory_and_offline(tmp_path: Path) -> None:
    settings = load(
        {"store": str(tmp_path / "no" / "such"), "state_dir": str(tmp_path / "s")}, environment={"HOME": "/h"}
    )
    with pytest.raises(errors.BucketNotFound):
        Home.open("me", settings=settings)


def test_a_long_state_directory_still_has_sockets(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, state_dir=str(tmp_path / ("long" * 40)))
    with Home.open("me", settings=settings) as first, Home.open("me", settings=settings) as second:
        first.write("f", "x")
        second.sync()
        assert second.status().pending.changes == 0


def test_async_home(tmp_path: Path) -> None:
    async def use() -> None:
        async with await AsyncHome.open("me", settings=settings_for(tmp_path)) as home:
            await home.write("a/b", "x")
            await home.append("a/b", "y")
            assert await home.read_text("a/b") == "xy"
            assert [entry.name for entry in await home.list("a")] == ["b"]
            await home.sync()
            with pytest.raises(FileNotFoundError):
                await home.read("none")

    asyncio.run(use())
