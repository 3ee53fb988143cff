"""`Home.edit` and `write(overwrite=False)`: nobody's change is lost by a program that reads and then writes."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentfs import Home, errors
from agentfs.config.settings import Settings, load


def settings_for(tmp_path: Path) -> Settings:
    (tmp_path / "store").mkdir(exist_ok=True)
    given = {"store": str(tmp_path / "store"), "state_dir": str(tmp_path / "state"), "timeout": 60}
    return load(given, environment={"HOME": str(tmp_path), "AGENTFS_VIEW": "off"})


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with Home.open("me", settings=settings_for(tmp_path)) as home:
        yield home


def test_a_file_is_edited(home: Home) -> None:
    home.write("a.md", "one\n")
    ino = home.stat("a.md").ino
    assert home.edit("a.md", lambda data: data + b"two\n") == b"one\ntwo\n"
    assert home.read("a.md") == b"one\ntwo\n"
    assert home.stat("a.md").ino == ino
    with pytest.raises(FileNotFoundError):
        home.edit("nothing", bytes.upper)
    home.mkdir("d")
    with pytest.raises(IsADirectoryError):
        home.edit("d", bytes.upper)


def test_what_the_change_raises_leaves_the_file(home: Home) -> None:
    home.write("a.md", "one\n")

    def refuse(data: bytes) -> bytes:
        raise KeyError(data)

    with pytest.raises(KeyError):
        home.edit("a.md", refuse)
    assert home.read("a.md") == b"one\n"


@pytest.mark.parametrize("how", ["write", "in place", "by name"])
def test_what_others_write_in_between_is_edited(home: Home, how: str) -> None:
    home.write("a.md", "one\n")
    seen: list[bytes] = []

    def change(data: bytes) -> bytes:
        seen.append(data)
        if len(seen) == 1:
            if how == "write":
                home.write("a.md", b"theirs\n")
            elif how == "in place":
                with home.open_file("a.md", "r+b") as file:
                    file.write(b"theirs\n")
            else:
                home.write("b.md", b"theirs\n")
                home.move("b.md", "a.md")
        return data + b"mine\n"

    assert home.edit("a.md", change) == b"theirs\nmine\n"
    assert home.read("a.md") == b"theirs\nmine\n"
    assert seen == [b"one\n", b"theirs\n"]


def test_two_processes_edit_at_once(home: Home, tmp_path: Path) -> None:
    """Two homes of one machine, as two processes have them, and two threads of each."""
    home.write("a.md", b"")
    lines = [f"{who}-{number}\n".encode() for who in range(4) for number in range(15)]

    def edits(which: Home, mine: list[bytes]) -> None:
        for line in mine:
            which.edit("a.md", lambda data, line=line: data + line)

    with Home.open("me", settings=settings_for(tmp_path)) as other:
        homes = [home, home, other, other]
        threads = [
            threading.Thread(target=edits, args=(homes[who], lines[who * 15 : (who + 1) * 15])) for who in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(other.read("a.md").splitlines(keepends=True)) == sorted(lines)


def test_a_log_that_stays_open_is_written_into(home: Home) -> None:
    """A program that appends all the time goes on writing to the file that is at the name."""
    home.write("log.txt", b"TODO one\nTODO two\n")
    with home.open_file("log.txt", "ab") as log:
        assert home.edit("log.txt", lambda data: data.replace(b"TODO one", b"ok")) == b"ok\nTODO two\n"
        log.write(b"more\n")
        log.flush()
        assert (
            home.edit("log.txt", lambda data: data.replace(b"TODO two", b"done as well"))
            == b"ok\ndone as well\nmore\n"
        )
        log.write(b"last\n")
    assert home.read("log.txt") == b"ok\ndone as well\nmore\nlast\n"


def test_edits_at_once_of_a_log_that_stays_open(home: Home) -> None:
    home.write("log.txt", b"")
    lines = [f"{number}\n".encode() for number in range(4)]
    with home.open_file("log.txt", "ab"):
        threads = [
            threading.Thread(target=home.edit, args=("log.txt", lambda data, line=line: data + line))
            for line in lines
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(home.read("log.txt").splitlines(keepends=True)) == lines


def test_writing_what_must_be_new(home: Home) -> None:
    home.write("d/a.md", "one", overwrite=False)
    assert home.read("d/a.md") == b"one"
    for path in ("d/a.md", "d", ""):
        with pytest.raises(FileExistsError) as caught:
            home.write(path, "two", overwrite=False)
        assert isinstance(caught.value, errors.Exists)
    assert home.read("d/a.md") == b"one"
    assert [entry.name for entry in home.list("d")] == ["a.md"]
