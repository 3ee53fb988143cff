"""Shared spaces on real mounts over a real S3 server: several homes, several machines, `kill -9`."""

import contextlib
import errno
import json
import os
import sqlite3
from dataclasses import replace

import pytest
from machines import Facts, Fleet, Machine, difference, tree, until

from agentfs.format.commit import decode_commit
from agentfs.format.layout import log_prefix, parse_log_name, volume_prefix
from agentfs.stores.open import open_store
from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.servers import S3Server


def spaces_of(machine: Machine) -> list[str]:
    return sorted(map(os.fsdecode, os.listdir(machine.path("spaces"))))


def volumes(machine: Machine) -> dict[str, dict]:
    return {volume["volume"]: volume for volume in machine.status()["volumes"]}


def until_equal_below(left: Machine, right: Machine, one: str, other: str) -> None:
    """Wait until two directories of two mounts show the same. A database that was taken while it was open is the same
    elsewhere, not byte for byte."""
    found = [""]

    def shown(machine: Machine, place: str) -> dict[bytes, Facts]:
        return {
            name: replace(facts, digest="") if name.endswith(b".db") else facts
            for name, facts in tree(machine.path(place)).items()
        }

    def equal() -> bool:
        found[0] = difference(shown(left, one), shown(right, other))
        return not found[0]

    try:
        until(equal, "both show the same")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{found[0]}\n{left.logs()}\n{right.logs()}") from None


def refuses(number: int, path: bytes) -> bool:
    try:
        os.listdir(path)
    except OSError as error:
        return error.errno == number
    return False


def until_entered(path: bytes) -> None:
    """A mount and `space attach` wait some seconds for a space to be opened; a slow machine takes longer."""
    until(lambda: not refuses(errno.EIO, path), "the space can be entered")


def test_two_homes_one_space(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    """Attached while mounted; each sees the other's writes; one process dies and is mounted again."""
    alice = machines.machine(ministack_server, bucket, agent="alice")
    bob = machines.machine(ministack_server, bucket, agent="bob")
    alice.mount()
    bob.mount()
    alice.run("space", "create", "team", "--attach")
    assert spaces_of(alice) == ["team"]  # the command returns when the mount shows it
    bob.run("space", "attach", "team", "--as", "work")
    until_entered(alice.path("spaces/team"))
    until_entered(bob.path("spaces/work"))
    alice.write("spaces/team/plan.md", "tea\n")
    until(lambda: bob.read("spaces/work/plan.md") == b"tea\n", "the plan travels")
    bob.write("spaces/work/plan.md", "tea and cake\n")
    bob.write("private.md", "not for alice")
    until(lambda: alice.read("spaces/team/plan.md") == b"tea and cake\n", "the answer travels")
    assert not os.path.exists(alice.path("private.md"))
    for machine, place in ((alice, "spaces/team"), (bob, "spaces/work")):
        for number in range(20):
            machine.write(f"{place}/{machine.agent}-{number}", os.urandom(number * 997))
        with contextlib.closing(sqlite3.connect(machine.path(f"{place}/{machine.agent}.db"))) as db, db:
            db.execute("CREATE TABLE t(x)")
            db.execute("INSERT INTO t VALUES(?)", (machine.agent,))
    alice.write("spaces/team/last", "written just before the end")
    assert alice.kill("mount")
    alice.mount()
    until_entered(alice.path("spaces/team"))
    assert alice.read("spaces/team/last") == b"written just before the end"
    until_equal_below(alice, bob, "spaces/team", "spaces/work")
    until(lambda: rows(alice.path("spaces/team/bob.db")) == [("bob",)], "bob's last transaction travels")
    until(lambda: rows(bob.path("spaces/work/alice.db")) == [("alice",)], "and alice's")
    assert authors(alice, "team") == {"alice", "bob"}
    for machine in (alice, bob):
        machine.unmount()
        assert not machine.processes()
        machine.fsck("--deep", "--space", "team")
    assert {volume["pending"]["changes"] for volume in volumes(alice).values()} == {0}


def rows(database: bytes) -> list[tuple[str]]:
    with contextlib.closing(sqlite3.connect(database)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master").fetchall():
            return []
        return db.execute("SELECT x FROM t").fetchall()


def authors(machine: Machine, space: str) -> set[str]:
    """Who wrote in a space: out of the store."""
    store = open_store(machine.store, environment=machine.environment)
    prefix = volume_prefix("space", space)
    return {
        decode_commit(
            store.get(entry.name).data, volume=f"space-{space}", sequence=parse_log_name(prefix, entry.name)
        )[0].author
        for entry in store.list(log_prefix(prefix))
    }


@pytest.mark.slow
def test_on_every_machine_of_the_home(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    """Attaching and detaching travel with the home; who has a file open goes on until it is closed."""
    left = machines.machine(ministack_server, bucket)
    right = machines.machine(ministack_server, bucket)
    left.mount()
    right.mount()
    left.run("space", "create", "team", "--attach")
    until(lambda: not refuses(errno.EIO, right.path("spaces/team")) and spaces_of(right) == ["team"], "it appears")
    left.write("spaces/team/f", "one")
    until(lambda: right.read("spaces/team/f") == b"one", "what is in it appears")
    with open(right.path("spaces/team/f"), "ab") as file:
        left.run("space", "detach", "team")
        assert spaces_of(left) == []
        until(lambda: spaces_of(right) == [], "it goes")
        until(lambda: refuses(errno.ENOENT, right.path("spaces/team")), "nobody can enter any more")
        file.write(b", two")
    until(lambda: "space-team" not in engines(right), "the space is closed when the file is")
    left.run("space", "attach", "team", "--as", "again")
    until(lambda: left.read("spaces/again/f") == b"one, two", "nothing was lost")
    until(lambda: right.read("spaces/again/f") == b"one, two", "on either side")
    for machine in (left, right):
        machine.unmount()
        machine.fsck("--space", "team")


def engines(machine: Machine) -> list[str]:
    return [name for name, volume in volumes(machine).items() if volume["engine_pid"] is not None]


def test_what_cannot_be_entered(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    """A space that is attached and cannot be opened is an error with a reason; nothing is written in its place."""
    machine = machines.machine(ministack_server, bucket)
    machine.mount()
    os.mkdir(machine.path("spaces"))
    os.symlink("agentfs:space/later", machine.path("spaces/later"))  # as another machine's attaching comes
    until(lambda: refuses(errno.EIO, machine.path("spaces/later")), "the link is taken for what it is")
    assert spaces_of(machine) == ["later"]
    with pytest.raises(OSError):
        machine.write("spaces/later/f", "into nowhere")
    why = "spaces/later: CANNOT BE ENTERED (there is no space later in this store"
    until(lambda: why in machine.run("status").stdout, "it was tried, and why it failed is said")
    until(lambda: machine.status()["mounts"][0]["spaces"], "the mount answers in time")
    (fact,) = machine.status()["mounts"][0]["spaces"]
    assert fact["space"] == "later" and "agentfs space create later" in fact["problem"]
    found = json.loads(machine.run("doctor", "--no-store", "--json").stdout)["checks"]
    assert any(check["name"] == "space" and check["status"] == "warning" for check in found)
    machine.run("space", "create", "later")
    until(lambda: not refuses(errno.EIO, machine.path("spaces/later")), "it is tried again by itself")
    machine.write("spaces/later/f", "into the space")
    machine.unmount()
    assert machine.run("cat", "f", "--space", "later").stdout == "into the space"


@pytest.mark.slow
def test_the_store_is_away(machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy) -> None:
    """With a copy on this machine one works on; what was written then goes when the store is back, after `kill -9` of
    everything too."""
    machine = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint)
    machine.run("space", "create", "team", "--attach")
    machine.mount()
    until_entered(machine.path("spaces/team"))
    machine.write("spaces/team/before", "1")
    machine.sync()
    fault_proxy.go_down()
    machine.write("spaces/team/offline", "2")
    assert volumes(machine)["space-team"]["pending"]["changes"] > 0
    done = machine.run("sync", "--timeout", "1s", ok=False)
    assert done.returncode in (4, 6), done.stderr
    machine.crash()
    fault_proxy.come_up()
    done = machine.unmount()  # the dead mount's: it pushes what that left, of the space too
    assert {volume["pending"]["changes"] for volume in volumes(machine).values()} == {0}
    other = machines.machine(ministack_server, bucket, agent="other")
    assert other.run("cat", "offline", "--space", "team").stdout == "2"
    machine.fsck("--space", "team")


def test_remote_durability_inside(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    """fsync in a space returns when the space's store has it: the machine may burn right after."""
    machine = machines.machine(ministack_server, bucket)
    machine.run("space", "create", "team", "--attach")
    machine.mount("--durability", "remote")
    until_entered(machine.path("spaces/team"))
    fd = os.open(machine.path("spaces/team/f"), os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"durable")
    os.fsync(fd)
    machine.crash()
    with pytest.raises(OSError):
        os.close(fd)
    fresh = machines.machine(ministack_server, bucket)
    assert fresh.run("cat", "spaces/team/f").stdout == "durable"


def test_without_a_mount_and_beside_one(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    """The file commands take the same paths, and what they write the mount shows."""
    machine = machines.machine(ministack_server, bucket)
    machine.run("space", "create", "team", "--attach")
    source = machine.root / "note.md"
    source.write_text("by hand")
    machine.run("put", str(source), "spaces/team/notes/note.md")
    assert machine.run("ls", "-r", "spaces").stdout.split() == [
        "spaces/team/",
        "spaces/team/notes/",
        "spaces/team/notes/note.md",
    ]
    machine.mount()
    until_entered(machine.path("spaces/team"))
    assert machine.read("spaces/team/notes/note.md") == b"by hand"
    machine.run("put", str(source), "second.md", "--space", "team")
    until(lambda: machine.read("spaces/team/second.md") == b"by hand", "the mount shows it")
    machine.run("rm", "spaces/team/second.md")
    until(lambda: not os.path.exists(machine.path("spaces/team/second.md")), "and that it is gone")
    refused = machine.run("rm", "-r", "spaces/team", ok=False)
    assert refused.returncode != 0 and "detach" in refused.stderr
    listed = json.loads(machine.run("space", "list", "--json").stdout)
    assert [(each["space"], each["attached"]) for each in listed["spaces"]] == [("team", ["spaces/team"])]
    machine.unmount()
