"""Mounts as processes: started, seen, killed, replaced, ended. Each test leaves no mount and no process."""

import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import PROGRAM, Machine, machine, processes_of, until

from agentfs.cli import exits
from agentfs.fuse import device
from agentfs.fuse.mount import fuse_available

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(not fuse_available().usable, reason=fuse_available().problem or ""),
]


@pytest.fixture
def me(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path, index=True) as made:
        yield made
        clean_and_alone(made)


@pytest.fixture
def other(me: Machine) -> Iterator[Machine]:
    """Another machine over the same store."""
    with machine(me.root, name="two", store=me.store, index=True) as made:
        yield made


def clean_and_alone(made: Machine) -> None:
    """What every test that touched a volume ends with: no mount is left by accident, and fsck is clean."""
    made.clean_up()
    assert processes_of(made.root) == []
    if (made.root / "store" / ".agentfs" / "volumes").is_dir():
        made.ok("fsck", "--deep")


def test_mount_write_status_sync_unmount(me: Machine, other: Machine) -> None:
    place = me.directory()
    facts = me.ok("mount", str(place), "--json").json
    assert (facts["mounted"], facts["mountpoint"], facts["online"]) == (True, str(place), True)
    assert device.mounted_at(os.fsencode(place)) is not None
    (place / "notes.md").write_text("tea\n")
    status = me.status()
    assert status["mounts"][0]["pid"] == facts["pid"]
    assert status["volumes"][0]["engine_pid"] not in (None, facts["pid"])
    assert me.ok("sync", "--json").json["synced"]
    assert other.ok("cat", "notes.md").out == b"tea\n"
    (place / "late.md").write_text("late\n")
    assert me.ok("unmount", str(place), "--json").json["pending"]["changes"] == 0
    assert processes_of(me.root) == []
    assert device.mounted_at(os.fsencode(place)) is None
    assert other.ok("cat", "late.md").out == b"late\n"


def test_the_cli_beside_a_mount_changes_what_it_shows(me: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place))
    assert os.listdir(place) == []
    me.ok("put", "-", "a/b.txt", stdin=b"1")
    until(lambda: (place / "a" / "b.txt").exists() and (place / "a" / "b.txt").read_bytes() == b"1")
    me.ok("put", "-", "a/b.txt", stdin=b"22")
    until(lambda: (place / "a" / "b.txt").read_bytes() == b"22")
    (place / "a" / "b.txt").write_bytes(b"333")
    assert me.ok("cat", "a/b.txt").out == b"333"
    me.ok("rm", "-r", "a")
    until(lambda: os.listdir(place) == [])
    me.ok("unmount", str(place))


def test_two_machines_travel(me: Machine, other: Machine) -> None:
    one, two = me.directory(), other.directory()
    me.ok("mount", str(one))
    other.ok("mount", str(two))
    (one / "a").write_text("from one")
    until(lambda: (two / "a").exists() and (two / "a").read_text() == "from one")
    (two / "a").write_text("from two")
    until(lambda: (one / "a").read_text() == "from two")
    me.ok("unmount", str(one))
    other.ok("unmount", str(two))


def test_kill_9_of_the_daemon_loses_nothing_that_was_closed(me: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place))
    for n in range(20):
        (place / f"f{n}").write_bytes(bytes([n]) * (n * 1000))
    os.kill(me.mount_pid(place), signal.SIGKILL)
    until(lambda: not processes_of(me.root))  # the engine ends with its mount
    with pytest.raises(OSError):
        os.listdir(place)
    assert not me.status()["mounts"][0]["alive"]
    me.ok("mount", str(place))
    for n in range(20):
        assert (place / f"f{n}").read_bytes() == bytes([n]) * (n * 1000)
    assert len(me.status()["mounts"]) == 1
    me.ok("unmount", str(place))
    assert processes_of(me.root) == []


def test_unmount_works_when_the_daemon_is_dead(me: Machine, other: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place))
    (place / "last").write_text("words")
    os.kill(me.mount_pid(place), signal.SIGKILL)
    until(lambda: not processes_of(me.root))
    me.ok("unmount", str(place))
    assert os.listdir(place) == []
    assert other.ok("cat", "last").out == b"words"
    assert "not an AgentFS mount" in me.refused(exits.NOT_FOUND, "unmount", str(place))


def test_kill_9_of_the_engine_is_not_noticed(me: Machine, other: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place))
    seen = set()
    for n in range(3):
        engine = me.engine_pid()
        assert engine is not None
        seen.add(engine)
        os.kill(engine, signal.SIGKILL)
        (place / f"f{n}").write_text("x")
        assert (place / f"f{n}").read_text() == "x"
        until(lambda engine=engine: me.engine_pid() not in (None, engine))
    assert len(seen) == 3
    until(lambda: me.status()["volumes"][0]["pending"]["changes"] == 0)
    assert other.ok("ls").text == "f0\nf1\nf2\n"
    me.ok("unmount", str(place))


def test_two_mounts_of_one_agent_share_an_engine_and_the_second_takes_over(me: Machine) -> None:
    one, two = me.directory("a"), me.directory("b")
    me.ok("mount", str(one))
    me.ok("mount", str(two))
    first = me.engine_pid()
    (one / "f").write_text("1")
    until((two / "f").exists)
    (two / "f").write_text("22")
    until(lambda: (one / "f").read_text() == "22")
    me.ok("unmount", str(one))
    until(lambda: me.engine_pid() not in (None, first))
    (two / "g").write_text("2")
    me.ok("sync")
    me.ok("unmount", str(two))
    assert processes_of(me.root) == []


def test_a_second_mount_at_the_same_place_is_refused(me: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place))
    assert "already" in me.refused(exits.FAILED, "mount", str(place))
    assert len(me.status()["mounts"]) == 1
    (place / "works").write_text("x")
    me.ok("unmount", str(place))


@pytest.mark.parametrize("what", ["missing", "file"])
def test_bad_mountpoints(me: Machine, what: str) -> None:
    place = me.root / what
    if what == "file":
        place.write_text("x")
    me.refused(exits.FAILED, "mount", str(place))
    assert processes_of(me.root) == []


def test_the_mounts_error_reaches_the_command(me: Machine) -> None:
    place = me.directory()
    me.store = str(me.root / "no" / "such")
    me.refused(exits.NOT_FOUND, "mount", str(place))
    assert processes_of(me.root) == []
    result = me.run("mount", str(place), "--json")
    assert (result.code, result.json["error"]["code"]) == (exits.NOT_FOUND, "bucket-not-found")


def test_busy_is_refused_and_forced(me: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place))
    with (place / "open").open("w") as file:
        file.write("bytes")
        file.flush()
        assert "in use" in me.refused(exits.FAILED, "unmount", str(place))
        assert (place / "open").exists()
        done = threading.Event()
        forced: list[int] = []

        def force() -> None:
            forced.append(me.run("unmount", "--force", str(place)).code)
            done.set()

        thread = threading.Thread(target=force)
        thread.start()
        until(lambda: device.mounted_at(os.fsencode(place)) is None)
    thread.join(100)
    assert forced == [exits.OK]
    assert me.ok("cat", "open").out == b"bytes"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_unmount_cleanly(me: Machine, other: Machine, number: signal.Signals) -> None:
    place = me.directory()
    me.ok("mount", str(place))
    (place / "f").write_text("x")
    os.kill(me.mount_pid(place), number)
    until(lambda: not processes_of(me.root))
    assert device.mounted_at(os.fsencode(place)) is None
    assert me.status()["mounts"] == []
    assert other.ok("cat", "f").out == b"x"


@pytest.mark.parametrize("how", ["new name", "old name", "signal", "dead"])
def test_a_mount_that_moved_with_its_directory_is_unmounted(me: Machine, how: str) -> None:
    old, new = me.root / "project" / "memory", me.root / "elsewhere" / "memory"
    old.mkdir(parents=True)
    pid = me.ok("mount", str(old), "--json").json["pid"]
    old.parent.rename(new.parent)
    (new / "f").write_text("x")
    if how in ("signal", "dead"):
        os.kill(pid, signal.SIGTERM if how == "signal" else signal.SIGKILL)
        until(lambda: not processes_of(me.root))
    if how != "signal":
        me.ok("unmount", str(old if how == "old name" else new))
    assert device.mounted_at(os.fsencode(new)) is None
    assert (processes_of(me.root), me.status()["mounts"]) == ([], [])
    assert me.ok("cat", "f").out == b"x"


def test_the_number_of_a_mount_that_has_ended_is_another_ones(me: Machine, other: Machine) -> None:
    mine, its = me.directory(), other.directory()
    me.ok("mount", str(mine))
    number = device.mounted_at(os.fsencode(mine))
    os.kill(me.mount_pid(mine), signal.SIGKILL)
    until(lambda: not processes_of(me.root))
    device.unmount(os.fsencode(mine), lazy=True)  # by hand: its record stays
    other.ok("mount", str(its))
    facts = device.mounted_at(os.fsencode(its))
    assert number is not None and facts is not None
    assert "another state directory" in me.refused(exits.FAILED, "unmount", str(its))
    assert device.mounted_at(os.fsencode(its)) == facts
    assert not device.is_stale(os.fsencode(its))
    if facts.device == number.device:  # as a rule: the lowest that is free
        assert device.place_of(number.device, os.fsencode(mine)) == os.fsencode(its)
    other.ok("unmount", str(its))


def test_foreground(me: Machine) -> None:
    place = me.directory()
    process = subprocess.Popen(
        [*PROGRAM, "mount", "--foreground", str(place)], env=me.environment, stderr=subprocess.PIPE
    )
    until(lambda: device.mounted_at(os.fsencode(place)) is not None)
    (place / "f").write_text("x")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert me.ok("cat", "f").out == b"x"


def test_plain_umount_ends_the_process_too(me: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place))
    (place / "f").write_text("x")
    device.unmount(os.fsencode(place))
    until(lambda: not processes_of(me.root))
    assert me.status()["mounts"] == []
    assert me.status()["volumes"][0]["pending"]["changes"] == 0


def test_remote_durability_waits_for_the_store(me: Machine, other: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place), "--durability", "remote")
    with (place / "f").open("w") as file:
        file.write("safe elsewhere")
        file.flush()
        os.fsync(file.fileno())
        assert other.ok("cat", "f").out == b"safe elsewhere"
    me.ok("unmount", str(place))


def test_read_only(me: Machine) -> None:
    place = me.directory()
    me.ok("put", "-", "f", stdin=b"x")
    me.ok("mount", str(place), "--read-only")
    assert (place / "f").read_bytes() == b"x"
    with pytest.raises(OSError):
        (place / "g").write_text("y")
    me.ok("unmount", str(place))


def test_the_store_away_at_mount_and_for_a_while(me: Machine, other: Machine) -> None:
    place = me.directory()
    me.ok("put", "-", "before", stdin=b"1")
    me.ok("cat", "before")
    away = me.root / "away"
    (me.root / "store").rename(away)
    me.store = other.store = str(me.root / "store" / "deep")  # its parent is missing: not there, rather than empty
    away_as = me.root / "store"
    result = me.run("mount", str(place))
    assert result.code == exits.NOT_FOUND, result  # never seen under this URL, and not reachable
    me.store = other.store = str(away_as)
    away.rename(away_as)
    me.ok("mount", str(place))
    (place / "after").write_text("2")
    me.ok("unmount", str(place))
    assert other.ok("cat", "after").out == b"2"


def test_control_sockets_and_logs_are_private(me: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place))
    for path in me.state_dir.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISSOCK(mode) or path.suffix in (".log", ".json"):
            assert mode & 0o077 == 0, path
    assert me.state_dir.joinpath("mounts").stat().st_mode & 0o077 == 0
    me.ok("unmount", str(place))


def test_the_mount_process_has_no_engine_in_it(me: Machine) -> None:
    """One busy Python thread beside the loop costs three orders of magnitude: the store's client must not even be
    loaded there."""
    place = me.directory()
    me.ok("mount", str(place))
    maps = Path(f"/proc/{me.mount_pid(place)}/maps").read_text()
    assert "obstore" not in maps
    me.ok("unmount", str(place))


def test_the_only_mounted_home_needs_no_name(me: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place), "--agent-id", "only")
    me.extra["AGENTFS_AGENT_ID"] = ""
    (place / "a").write_text("mine")
    me.ok("sync")
    assert me.ok("cat", "a").text == "mine"
    me.ok("unmount", str(place))
    assert me.run("sync").code == 2
    me.extra["AGENTFS_AGENT_ID"] = "only"  # for the check at the end
