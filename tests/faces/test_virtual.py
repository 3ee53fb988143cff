"""Virtual nodes on real mounts, as programs use them: cat, cp, diff, grep, find."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from command import Machine, machine, processes_of, until
from mounted import refused

from agentfs.fuse.mount import fuse_available
from agentfs.volume.messages import connect

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(not fuse_available().usable, reason=fuse_available().problem or ""),
]


@dataclass
class Home:
    machine: Machine
    path: Path

    def sync(self) -> None:
        """As `agentfs sync`: the engines of the home and its spaces push."""
        for socket in self.machine.state_dir.glob("volumes/*/engine.sock"):
            with connect(str(socket)) as connection:
                connection.send({"id": 1, "do": "sync", "seconds": 60})
                while "progress" in (answer := connection.receive(timeout_seconds=60)):
                    pass
            assert "result" in answer, answer

    def versions(self, name: str, *texts: str) -> None:
        """One commit for each."""
        for text in texts:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)
            self.sync()


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, arguments)), capture_output=True, timeout=90, check=False)


def out(*arguments: object) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done
    return done.stdout.decode()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with machine(tmp_path_factory.mktemp("virtual")) as made:
        place = made.directory()
        made.ok("mount", str(place))
        yield Home(made, place)
        made.ok("unmount", str(place))
        assert processes_of(made.root) == []


def test_history_of_a_file_is_a_text(home: Home) -> None:
    home.versions("a/notes.md", "one\n", "two\n")
    text = out("cat", home.path / "a/notes.md:history")
    assert text.startswith("# History of a/notes.md: 2 versions\n")
    assert [line.split(" · ")[0] for line in text.splitlines() if line.startswith("- ")] == ["- v2", "- v1"]
    assert os.stat(home.path / "a/notes.md:history").st_size == len(text.encode())
    assert int(out("wc", "-c", home.path / "a/notes.md:history").split()[0]) == len(text.encode())
    assert text == (home.path / "a" / "notes.md:history").read_text()
    assert "changed a/notes.md" in out("cat", home.path / "a/:history")
    assert "changed a/notes.md" in out("cat", home.path / "a:history")
    assert "created a/notes.md" in out("cat", home.path / ":history")


def test_a_version_has_its_bytes_and_size(home: Home, tmp_path: Path) -> None:
    big = "".join(f"line {number}\n" for number in range(60_000))
    home.versions("v.md", big, big.upper(), "short\n")
    for name, bytes_then in (
        ("v.md@1", big),
        ("v.md@v2", big.upper()),
        ("v.md@3", "short\n"),
        ("v.md@now", "short\n"),
    ):
        assert os.stat(home.path / name).st_size == len(bytes_then)
        assert (home.path / name).read_text() == bytes_then
        run("cp", "-a", home.path / name, tmp_path / name)
        assert (tmp_path / name).read_text() == bytes_then
    assert run("diff", "-q", home.path / "v.md@3", home.path / "v.md").returncode == 0
    assert out("diff", home.path / "v.md@3", home.path / "v.md@now") == ""
    assert run("diff", home.path / "v.md@1", home.path / "v.md@2").returncode == 1
    line = out("cat", home.path / "v.md:history").splitlines()[2]
    sequence = int(line.rpartition("@")[2])
    assert (home.path / f"v.md@@{sequence - 1}").read_text() == big.upper()
    assert out("tail", "-n", "1", home.path / "v.md@1") == "line 59999\n"
    with open(home.path / "v.md@1", "rb") as file:
        file.seek(5_000)
        assert file.read(10) == big.encode()[5_000:5_010]


def test_one_handle_sees_one_answer(home: Home) -> None:
    home.versions("h.md", "one\n")
    with open(home.path / "h.md:history") as before, open(home.path / "h.md@now") as now:
        size = os.fstat(before.fileno()).st_size
        home.versions("h.md", "two\n", "three\n")
        assert os.fstat(before.fileno()).st_size == size
        assert "1 version\n" in before.read()
        assert now.read() == "one\n"
    until(lambda: "3 versions" in (home.path / "h.md:history").read_text())
    until(lambda: (home.path / "h.md@now").read_text() == "three\n")


def test_what_was_renamed_or_deleted(home: Home) -> None:
    home.versions("r/old.md", "one\n", "two\n")
    os.rename(home.path / "r/old.md", home.path / "r/new.md")
    home.sync()
    assert (home.path / "r/new.md@1").read_text() == "one\n"
    assert (home.path / "r/new.md@2").read_text() == "two\n"
    assert "renamed from r/old.md" in (home.path / "r/new.md:history").read_text()
    os.unlink(home.path / "r/new.md")
    home.sync()
    assert (home.path / "r/new.md@1").read_text() == "one\n"
    assert "deleted" in (home.path / "r/new.md:history").read_text()
    assert sorted(os.listdir(home.path / "r")) == []


def test_what_is_switched_off_is_not_broken(home: Home) -> None:
    """No index here: EOPNOTSUPP, and `:help` says how to have one."""
    for name in (":recall?q=tea", ":search?q=tea", ":stats", ":tags"):
        with pytest.raises(OSError) as refused:
            (home.path / name).read_text()
        assert refused.value.errno == errno.EOPNOTSUPP, name
    assert "agentfs config set index true" in (home.path / ":help").read_text()


def test_what_is_not_there(home: Home) -> None:
    home.versions("n.md", "one\n")
    for name in ("n.md@2", "n.md@v0", "n.md@nosnapshot", "never@1", "never:history", "never:help", "n.md:nothing",
                 "n.md@2099-99-99", "@99999", "@2001-01-01", "x@@", "@", ":", "n.md@@", "n.md:help?q=x",
                 "never@host", "n.md@@99999", "me@example.org"):  # fmt: skip
        with refused(errno.ENOENT):
            os.stat(home.path / name)
    os.mkdir(home.path / "n")
    with refused(errno.ENOENT):
        os.stat(home.path / "n/@1")  # whole trees are at the root


def test_nothing_of_it_is_listed(home: Home) -> None:
    home.versions("l/one.md", "needle\n", "needle two\n")
    listed = sorted(os.listdir(home.path))
    du, found = out("du", "-s", home.path), out("find", home.path)
    for name in (":history", ":help", "l/one.md@1", "l/one.md:history", "l/:conflicts"):
        assert (home.path / name).read_text()
    assert os.listdir(home.path / "@now")
    assert sorted(os.listdir(home.path)) == listed
    assert (out("du", "-s", home.path), out("find", home.path)) == (du, found)
    assert out("grep", "-rl", "needle", home.path / "l").splitlines() == [str(home.path / "l/one.md")]
    copy = home.machine.root / "copied"
    shutil.copytree(home.path, copy, symlinks=True)
    assert sorted(os.listdir(copy)) == listed


def test_it_cannot_be_written(home: Home) -> None:
    home.versions("w.md", "one\n")
    for name in ("w.md@1", "w.md:history", ":help", "@now/w.md"):
        path = home.path / name
        for attempt in (
            lambda path=path: path.write_text("x"),
            lambda path=path: os.truncate(path, 0),
            lambda path=path: os.unlink(path),
            lambda path=path: os.chmod(path, 0o600),
            lambda path=path: os.utime(path),
        ):
            with refused(errno.EROFS):
                attempt()
        with refused(errno.EROFS):
            os.rename(path, home.path / "@now/y" if "/" in name else home.path / "y")
        with refused(errno.EXDEV):
            os.link(path, home.path / "y")
        assert os.stat(path).st_mode & 0o777 == 0o444
    with refused(errno.EROFS):
        os.mkdir(home.path / "@now/x")
    with refused(errno.EROFS):
        (home.path / "@now/x").write_text("x")


def test_a_real_file_comes_first(home: Home) -> None:
    home.versions("real", "one\n")
    for name in ("real@3", "real:history", "@1234", "plain:help", "b@1"):
        path = home.path / name
        if name == "real:history":  # it means something now: a new one is put in its place, as editors do
            (home.path / ".tmp").write_text("real")
            os.rename(home.path / ".tmp", path)
        else:
            path.write_text("real")
        assert path.read_text() == "real"
        assert name in os.listdir(home.path)
        path.write_text("real two")
        assert path.stat().st_size == 8
        os.rename(path, home.path / "moved")
        os.rename(home.path / "moved", path)
        path.unlink()
        assert name not in os.listdir(home.path)
    assert "History of real" in (home.path / "real:history").read_text()
    (home.path / "@dir").mkdir()
    (home.path / "@dir" / "x@y").write_text("x")
    assert out("cat", home.path / "@dir/x@y") == "x"
    shutil.rmtree(home.path / "@dir")


def test_a_name_that_meant_nothing_means_something_at_once(home: Home) -> None:
    home.versions("s.md", "one\n")
    with refused(errno.ENOENT):
        os.stat(home.path / "s.md@2")
    with refused(errno.ENOENT):
        os.stat(home.path / "late.md:history")
    home.versions("s.md", "two\n")
    assert (home.path / "s.md@2").read_text() == "two\n"
    (home.path / "late.md").write_text("x")
    assert "Nothing of it is in the log yet" in (home.path / "late.md:history").read_text()


def test_the_whole_tree_then(home: Home, tmp_path: Path) -> None:
    home.versions("t/x.md", "one\n")
    os.symlink("x.md", home.path / "t/link")
    os.link(home.path / "t/x.md", home.path / "t/hard")
    os.chmod(home.path / "t/x.md", 0o640)
    (home.path / "t" / "deep" / "er").mkdir(parents=True)
    (home.path / "t" / "deep" / "er" / "f").write_bytes(bytes(300_000))
    os.setxattr(home.path / "t/x.md", "user.colour", b"green")
    home.sync()
    then = home.machine.ok("log", "--limit", "1", "--json").json["commits"][0]["sequence"]
    shutil.rmtree(home.path / "t" / "deep")
    home.versions("t/x.md", "two\n")
    view = home.path / f"@{then}"
    assert sorted(os.listdir(view / "t")) == ["deep", "hard", "link", "x.md"]
    assert (view / "t/x.md").read_text() == "one\n" == (view / "t/link").read_text()
    assert (view / "t/deep/er/f").read_bytes() == bytes(300_000)
    facts = os.stat(view / "t/x.md")
    assert (facts.st_mode & 0o777, facts.st_nlink, facts.st_size) == (0o440, 2, 4)
    assert facts.st_ino == os.stat(view / "t/hard").st_ino
    assert os.getxattr(view / "t/x.md", "user.colour") == b"green"
    assert os.getxattr(home.path / "t/x.md@1", "user.colour") == b"green"
    assert os.readlink(view / "t/link") == "x.md"
    out("cp", "-a", view / "t", tmp_path / "copy")
    assert out("diff", "-r", view / "t", tmp_path / "copy") == ""
    assert len(out("find", view / "t").splitlines()) == 7
    with refused(errno.ENOENT):
        os.stat(view / "t/nothing")
    assert os.listdir(home.path / f"@@{then}") == os.listdir(view)
    assert "deep" not in os.listdir(home.path / "@now/t")
    home.machine.ok("snapshot", "create", "before")
    home.versions("t/x.md", "three\n")
    until(lambda: run("ls", home.path / "@before").returncode == 0)
    assert (home.path / "@before/t/x.md").read_text() == "two\n" == (home.path / "t/x.md@before").read_text()


def test_more_views_than_are_kept(home: Home) -> None:
    home.versions("m.md", *(f"{number}\n" for number in range(12)))
    line = (home.path / "m.md:history").read_text().splitlines()[2]
    last = int(line.rpartition("@")[2])
    for _ in range(2):
        for number in range(12):
            assert (home.path / f"@{last - 11 + number}" / "m.md").read_text() == f"{number}\n"
    with open(home.path / f"@{last - 11}" / "m.md") as kept:
        for number in range(12):
            assert os.listdir(home.path / f"@{last - 11 + number}")
        assert kept.read() == "0\n"
        assert os.fstat(kept.fileno()).st_size == 2


def test_help(home: Home) -> None:
    text = (home.path / ":help").read_text()
    assert all(f":{word}" in text for word in ("history", "conflicts", "help"))


def test_another_machine_and_conflicts(home: Home, tmp_path: Path) -> None:
    """What met on two machines is told on both."""
    home.versions("c/met.bin", "\0base")
    home.versions("other", "x")
    with machine(tmp_path, name="two", store=home.machine.store) as two:
        place = two.directory()
        two.ok("mount", str(place))
        there = Home(two, place)
        until((place / "c/met.bin").exists)
        assert (place / "c/met.bin").read_bytes() == b"\0base"
        store = Path(home.machine.store)
        store.rename(store.with_name("away"))
        (place / "c/met.bin").write_bytes(b"\0theirs")
        (home.path / "c/met.bin").write_bytes(b"\0ours")
        store.with_name("away").rename(store)
        home.sync()
        there.sync()
        until(lambda: "c/met.bin" in (home.path / ":conflicts").read_text())
        until(lambda: "c/met.bin" in (place / "c/:conflicts").read_text())  # whoever of the two met the other's
        assert "c/met.bin" in (place / "c/met.bin:conflicts").read_text()
        assert "c/met.bin" not in (home.path / "other:conflicts").read_text()
        assert (place / "c/met.bin@1").read_bytes() == b"\0base"
        two.ok("unmount", str(place))


def test_spaces_have_their_own(home: Home) -> None:
    home.machine.ok("space", "create", "team")
    assert home.machine.run("space", "attach", "team").code == 0  # see `test_spaces_are_asked_at_the_root`
    until(lambda: os.path.isdir(home.path / "spaces/team"))
    path = home.path / "spaces/team/plan.md"
    for text in ("one\n", "two\n"):
        path.write_text(text)
        home.sync()
    until((home.path / "spaces/team/plan.md@2").exists)
    assert (home.path / "spaces/team/plan.md@1").read_text() == "one\n"
    assert "plan.md" in (home.path / "spaces/team/:history").read_text()
    assert (home.path / "spaces/team/@now/plan.md").read_text() == "two\n"
    with open(home.path / "spaces/team/plan.md@1") as held:
        home.machine.ok("space", "detach", "team")
        until(lambda: not (home.path / "spaces/team").exists())
        assert held.read() == "one\n"


def test_without_the_store(home: Home) -> None:
    """What this machine knows is told; the rest is EIO, and the log says why."""
    home.versions("o.md", "only of this one\n", "two\n")
    assert (home.path / "o.md@2").read_text() == "two\n"
    for kept in home.machine.state_dir.glob("volumes/*/versions/*"):
        kept.unlink()
    store = Path(home.machine.store)
    store.rename(store.with_name("away"))
    try:
        assert "2 versions" in (home.path / "o.md:history").read_text()
        assert "history" in (home.path / ":help").read_text()
        with refused(errno.EIO):
            (home.path / "o.md@1").read_text()
        logs = "".join(path.read_text() for path in (home.machine.state_dir / "mounts").glob("*.log"))
        assert "cannot be told" in logs
    finally:
        store.with_name("away").rename(store)
    until(lambda: run("cat", home.path / "o.md@1").stdout == b"only of this one\n", seconds=30)
