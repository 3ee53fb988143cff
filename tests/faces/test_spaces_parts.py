"""One mount of several trees: crossing, what stays apart, coming and going while it is mounted."""

import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import Mounted, mounted, needs_mount, open_directory, refused, until

pytestmark = [pytest.mark.mount, needs_mount]


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_directory() as path:
        (path / "back").mkdir()
        (path / "mnt").mkdir()
        yield path


@pytest.fixture
def passthrough() -> str:
    return "auto"


both_ways = pytest.mark.parametrize("passthrough", ["auto", "off"])


@pytest.fixture
def two(directory: Path, passthrough: str) -> Iterator[Mounted]:
    """A home with the space `team` in it."""
    options = ("--allow-other", "--passthrough", passthrough, "--show", "team", str(directory / "back"))
    with mounted("parted.py", *options, mountpoint=directory / "mnt", log=directory / "log") as running:
        yield running


@pytest.fixture
def home(directory: Path) -> Iterator[Mounted]:
    with mounted(
        "parted.py", str(directory / "back"), mountpoint=directory / "mnt", log=directory / "log"
    ) as running:
        yield running


def space(running: Mounted, name: str = "team") -> Path:
    return running.path / "spaces" / name


def test_it_is_an_ordinary_directory(two: Mounted) -> None:
    team = space(two)
    assert os.listdir(two.path / "spaces") == ["team"]
    (entry,) = os.scandir(two.path / "spaces")
    assert entry.is_dir(follow_symlinks=False) and entry.inode() == team.stat().st_ino
    assert not team.is_symlink() and stat.S_ISDIR(os.lstat(team).st_mode)
    (team / "notes.md").write_text("ours")
    (team / "sub").mkdir()
    (team / "sub" / "deep").write_bytes(bytes(300_000))
    (two.path / "notes.md").write_text("mine")
    assert (team / "notes.md").read_text() == "ours"
    assert (team / "sub" / ".." / ".." / ".." / "notes.md").read_text() == "mine"
    assert os.path.samefile(team / "..", two.path / "spaces")
    assert sorted(path.name for path in two.path.rglob("*")) == sorted(
        ["notes.md", "spaces", "team", "notes.md", "sub", "deep"]
    )
    found = subprocess.run(["find", two.path, "-type", "f"], capture_output=True, text=True, check=True, timeout=20)
    assert len(found.stdout.splitlines()) == 3


def test_numbers_are_of_the_part(two: Mounted) -> None:
    team = space(two)
    (two.path / "f").touch()
    (team / "f").touch()
    assert (two.path / "f").stat().st_ino < 1 << 48
    assert (team / "f").stat().st_ino >> 48 == 1 == team.stat().st_ino >> 48
    (entry,) = os.scandir(team)
    assert entry.inode() == (team / "f").stat().st_ino
    assert (team / "f").stat().st_dev == two.path.stat().st_dev


def test_moves_and_links_do_not_cross(two: Mounted) -> None:
    team = space(two)
    (two.path / "f").write_text("x")
    (team / "g").write_text("y")
    with refused(errno.EXDEV):
        os.rename(two.path / "f", team / "f")
    with refused(errno.EXDEV):
        os.rename(team / "g", two.path / "g")
    with refused(errno.EXDEV):
        os.link(two.path / "f", team / "f")
    with refused(errno.EXDEV):
        os.link(team / "g", two.path / "g")
    os.rename(team / "g", team / "h")
    os.link(team / "h", team / "i")
    assert (team / "i").stat().st_nlink == 2
    shutil.move(two.path / "f", team / "f")  # as mv does it: copy and delete
    assert (team / "f").read_text() == "x" and not (two.path / "f").exists()
    subprocess.run(["mv", team / "f", two.path / "back"], check=True, timeout=20)
    assert (two.path / "back").read_text() == "x" and not (team / "f").exists()


@both_ways
def test_copy_range_falls_back(two: Mounted) -> None:
    data = os.urandom(2_000_000)
    (two.path / "f").write_bytes(data)
    subprocess.run(["cp", "--reflink=auto", two.path / "f", space(two) / "f"], check=True, timeout=20)
    assert (space(two) / "f").read_bytes() == data
    with open(two.path / "f", "rb") as source, open(space(two) / "g", "wb") as target:
        os.copy_file_range(source.fileno(), target.fileno(), 1000)
    assert (space(two) / "g").read_bytes() == data[:1000]


def test_the_attach_point_cannot_be_removed(two: Mounted) -> None:
    team = space(two)
    for attempt in (
        lambda: os.rmdir(team),
        lambda: os.rename(team, two.path / "spaces" / "crew"),
        lambda: os.rename(two.path / "spaces", two.path / "places"),
    ):
        with refused(errno.EBUSY):
            attempt()
    with refused(errno.EISDIR):
        os.unlink(team)
    (two.path / "empty").mkdir()
    with pytest.raises(OSError):
        os.rename(two.path / "empty", team)
    with refused(errno.EEXIST):
        os.mkdir(team)
    with refused(errno.EEXIST):
        os.symlink("x", team)
    assert os.listdir(two.path / "spaces") == ["team"]
    (two.path / "spaces" / "own").mkdir()  # the directory itself is an ordinary one
    os.rename(two.path / "spaces" / "own", two.path / "own")


def test_attributes_space_and_locks(two: Mounted) -> None:
    team = space(two)
    os.setxattr(team / ".", "user.what", b"a space")
    assert os.getxattr(team, "user.what") == b"a space"
    with refused(errno.ENODATA):
        os.getxattr(two.path, "user.what")
    os.chmod(team, 0o750)
    assert stat.S_IMODE(team.stat().st_mode) == 0o750
    before = os.statvfs(team)
    (two.path / "only").touch()
    assert os.statvfs(team).f_namemax == before.f_namemax == 255
    with open(team / "f", "wb") as file:
        file.write(b"x" * 10_000)
        file.flush()
        os.fsync(file.fileno())
        assert (team / "f").stat().st_size == 10_000
    fd = os.open(team, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    with sqlite3.connect(team / "db.sqlite") as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE t(x)")
        db.executemany("INSERT INTO t VALUES(?)", [(n,) for n in range(100)])
    db.close()
    with sqlite3.connect(team / "db.sqlite") as db:
        assert db.execute("SELECT sum(x) FROM t").fetchone() == (4950,)
    db.close()


@both_ways
def test_equal_handle_numbers_of_two_parts(two: Mounted) -> None:
    """Handles are counted from 1 in each part: requests must not meet the other's."""
    files = []
    for n in range(20):
        for place, text in ((two.path, "home"), (space(two), "team")):
            file = open(place / f"f{n}", "w+")  # noqa: SIM115 - many open at once is the point
            file.write(f"{text} {n}")
            file.flush()
            files.append((file, f"{text} {n}"))
    for file, text in files:
        file.seek(0)
        assert file.read() == text
        assert os.fstat(file.fileno()).st_size == len(text)
        os.ftruncate(file.fileno(), 4)
    for file, text in files:
        file.close()
        assert Path(file.name).read_text() == text[:4]


@both_ways
def test_what_others_change_is_seen(two: Mounted) -> None:
    team = space(two)
    assert os.listdir(team) == []
    assert two.ask("write team note first") == "ok"
    until(lambda: os.listdir(team) == ["note"], "the new file is listed")
    assert (team / "note").read_text() == "first"
    assert two.ask("write team note second-version") == "ok"
    until(lambda: (team / "note").read_text() == "second-version", "the new bytes are seen")
    assert two.ask("write home note mine") == "ok"
    until(lambda: "note" in os.listdir(two.path), "and at home, too")
    assert (two.path / "note").read_text() == "mine"


# ---- coming and going ----


def test_not_opened_yet(home: Mounted) -> None:
    """Between the news that it is attached and its opening: nothing can be written to the wrong place."""
    team = space(home)
    assert os.listdir(home.path / "spaces") == []
    assert home.ask("link team") == "ok"
    until(lambda: os.listdir(home.path / "spaces") == ["team"], "the name is told")
    with refused(errno.EIO):  # after a while: nobody opens it
        (team / "x").write_text("")
    found: list[list[str]] = []

    def ask() -> None:
        while not found:
            began = time.monotonic()
            try:
                found.append(os.listdir(team))
            except OSError:  # who shows it was slower than the seconds that it is waited for
                assert time.monotonic() - began > 3

    asking = threading.Thread(target=ask)
    asking.start()
    assert home.ask("add team rw") == "1"
    assert home.ask("show team") == "ok"
    asking.join(60)
    assert found == [[]], "who asked meanwhile waited for it"
    assert os.listdir(team) == []
    (team / "x").write_text("there")
    assert (team / "x").read_text() == "there"


def test_trouble_and_its_end(home: Mounted) -> None:
    team = space(home)
    home.ask("link team")
    assert home.ask("trouble team") == "ok"
    until(lambda: os.listdir(home.path / "spaces") == ["team"], "it is listed")
    with refused(errno.EIO):
        os.stat(team)
    with refused(errno.EIO):
        os.rmdir(team)
    home.ask("add team rw")
    home.ask("show team")
    assert team.is_dir() and os.listdir(home.path / "spaces") == ["team"]


def test_detaching_while_nobody_is_inside(home: Mounted) -> None:
    team = space(home)
    home.ask("link team")
    home.ask("add team rw")
    home.ask("show team")
    (team / "sub").mkdir()
    (team / "sub" / "f").write_text("x")
    assert list(team.rglob("*"))
    assert home.ask("unlink team") == "ok"
    assert home.ask("hide team") == "ok"
    assert home.ask("files team") == "0"
    assert home.ask("remove team") == "ok"
    assert not team.exists() and os.listdir(home.path / "spaces") == []
    assert home.ask("add team rw") == "2"  # numbers are not used again as long as there are fresh ones
    home.ask("link team")
    home.ask("show team")
    assert (team / "sub" / "f").read_text() == "x"


def test_detaching_while_a_file_is_open(home: Mounted) -> None:
    team = space(home)
    home.ask("link team")
    home.ask("add team rw")
    home.ask("show team")
    with open(team / "f", "w") as file:
        file.write("before ")
        file.flush()
        home.ask("unlink team")
        home.ask("hide team")
        assert not team.exists()
        file.write("after")
        file.flush()
        assert home.ask("files team") == "1"
    until(lambda: home.ask("files team") == "0", "the last user leaves")
    home.ask("remove team")
    home.ask("add team rw")
    home.ask("link team")
    home.ask("show team")
    assert (team / "f").read_text() == "before after"


def test_who_stands_inside(home: Mounted) -> None:
    """Open files keep a part alive; a directory that somebody stands in does not."""
    team = space(home)
    home.ask("link team")
    home.ask("add team rw")
    home.ask("show team")
    file = open(team / "f", "w")  # noqa: SIM115 - it is closed below
    file.write("kept")
    file.flush()
    inside = os.open(team, os.O_RDONLY | os.O_DIRECTORY)
    home.ask("unlink team")
    home.ask("hide team")
    assert home.ask("remove team") == "in use"
    file.write(" too")
    file.close()
    until(lambda: home.ask("remove team") == "ok", "the file is closed")
    with refused(errno.ESTALE):
        os.listxattr(inside)
    with refused(errno.ESTALE):
        os.open("g", os.O_CREAT | os.O_RDWR, dir_fd=inside)
    os.close(inside)
    home.ask("add team rw")
    home.ask("link team")
    home.ask("show team")
    assert (team / "f").read_text() == "kept too"


def test_read_only(home: Mounted) -> None:
    team = space(home)
    home.ask("link team")
    home.ask("add team rw")
    assert home.ask("write team f text") == "ok"
    home.ask("remove team")
    home.ask("add team ro")
    home.ask("show team")
    assert (team / "f").read_text() == "text"
    for attempt in (
        lambda: (team / "f").write_text("other"),
        lambda: os.open(team / "f", os.O_RDONLY | os.O_TRUNC),
        (team / "g").touch,
        (team / "d").mkdir,
        lambda: os.unlink(team / "f"),
        lambda: os.rename(team / "f", team / "g"),
        lambda: os.link(team / "f", team / "g"),
        lambda: os.symlink("f", team / "g"),
        lambda: os.mkfifo(team / "g"),
        lambda: os.chmod(team / "f", 0o600),
        lambda: os.utime(team / "f"),
        lambda: os.truncate(team / "f", 0),
        lambda: os.setxattr(team / "f", "user.x", b"1"),
        lambda: os.removexattr(team / "f", "user.x"),
    ):
        with refused(errno.EROFS):
            attempt()
    assert (team / "f").read_text() == "text"
    assert home.ask("write team f news-from-elsewhere") == "ok"  # what others write is seen all the same
    until(lambda: (team / "f").read_text() == "news-from-elsewhere", "the kernel is told")
    (home.path / "f").write_text("the home can be written")


def test_many_parts(home: Mounted) -> None:
    for n in range(12):
        home.ask(f"link s{n}")
        home.ask(f"add s{n} rw")
        home.ask(f"show s{n}")
    for n in range(12):
        (space(home, f"s{n}") / "who").write_text(str(n))
    assert [(space(home, f"s{n}") / "who").read_text() for n in range(12)] == [str(n) for n in range(12)]
    for n in range(0, 12, 2):
        home.ask(f"unlink s{n}")
        home.ask(f"hide s{n}")
        home.ask(f"remove s{n}")
    assert sorted(os.listdir(home.path / "spaces")) == sorted(f"s{n}" for n in range(1, 12, 2))
