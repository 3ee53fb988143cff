"""`agentfs fsck`: damage is found, named, and mended where it can be; nothing that is only here is lost."""

import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from command import Machine, machine

from agentfs import Home
from agentfs.cli import exits
from agentfs.config.settings import load


@pytest.fixture
def me(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as made:
        settings = load({}, environment=made.environment)
        for name, data in (("a.md", b"one"), ("big.bin", os.urandom(2_500_000)), ("b/c.md", b"two")):
            with Home.open(settings=settings) as home:
                home.write(name, data)
                home.sync()
        yield made


def volume(me: Machine) -> Path:
    return me.root / "store/.agentfs/volumes/home-me"


def replica(me: Machine) -> Path:
    return next((me.state_dir / "volumes").iterdir())


def kinds(me: Machine, *arguments: str) -> set[str]:
    result = me.run("fsck", "--json", *arguments)
    assert result.code == (exits.OK if result.json["clean"] else exits.DAMAGED)
    return {finding["kind"] for finding in result.json["findings"] if not finding["repaired"]}


def damage(path: Path, at: int = 40) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 255
    path.chmod(0o600)
    path.write_bytes(data)


def test_a_sound_volume_is_clean(me: Machine) -> None:
    assert kinds(me) == set()
    assert kinds(me, "--deep") == set()
    assert me.ok("fsck").text.endswith("clean\n")


def test_an_empty_store_is_clean(tmp_path: Path) -> None:
    with machine(tmp_path) as fresh:
        fresh.ok("init")
        assert kinds(fresh) == set()


def test_a_damaged_entry(me: Machine) -> None:
    entry = sorted((volume(me) / "log").iterdir())[1]
    damage(entry)
    assert "log-entry-damaged" in kinds(me)
    with machine(me.root, name="two") as other:  # a new machine refuses it and invents nothing
        result = other.run("ls")
        assert result.code == exits.DAMAGED, result
        assert "damaged" in result.err
    assert me.ok("cat", "a.md").out == b"one"  # this one has what it had


def test_a_truncated_entry(me: Machine) -> None:
    entry = sorted((volume(me) / "log").iterdir())[-1]
    data = entry.read_bytes()
    entry.write_bytes(data[: len(data) // 2])
    assert "log-entry-damaged" in kinds(me)


def test_a_missing_entry(me: Machine) -> None:
    sorted((volume(me) / "log").iterdir())[1].unlink()
    assert {"log-gap"} <= kinds(me)


def test_a_foreign_entry_breaks_the_chain(me: Machine) -> None:
    with machine(me.root, name="x", store=str(me.root / "other")) as stranger:
        (me.root / "other").mkdir()
        for n in range(3):
            stranger.ok("put", "-", f"f{n}", stdin=b"x")
    entries = sorted((volume(me) / "log").iterdir())
    foreign = sorted((me.root / "other/.agentfs/volumes/home-me/log").iterdir())
    entries[1].write_bytes(foreign[1].read_bytes())
    assert "chain-broken" in kinds(me)


def test_a_newer_format_is_not_damage(me: Machine) -> None:
    assert me.run("fsck").code == exits.OK
    place = me.root / "store/.agentfs/store.json"
    place.write_text(place.read_text().replace('"format": 1', '"format": 7'))
    assert "upgrade" in me.refused(exits.FAILED, "fsck")


def test_missing_and_damaged_chunks_are_uploaded_again(me: Machine) -> None:
    blobs = sorted((volume(me) / "blobs").rglob("*"))
    files = [path for path in blobs if path.is_file()]
    files[0].unlink()
    assert kinds(me) == {"blob-missing"}
    damage(files[1])
    assert kinds(me, "--deep") == {"blob-missing", "blob-damaged"}
    assert kinds(me, "--deep", "--repair") == set()
    with machine(me.root, name="two") as other:
        assert other.ok("cat", "big.bin").out == me.ok("cat", "big.bin").out


def test_a_damaged_chunk_is_never_served(me: Machine) -> None:
    damage(next(path for path in sorted((volume(me) / "blobs").rglob("*")) if path.is_file()))
    with machine(me.root, name="two") as other:
        result = other.run("cat", "big.bin")
        assert result.code != exits.OK
        assert result.out == b""
        assert other.ok("cat", "a.md").out == b"one"


def test_damaged_local_bytes_are_fetched_again(me: Machine) -> None:
    files = [path for path in (replica(me) / "files").rglob("*") if path.is_file() and path.stat().st_size == 3]
    before = files[0].stat()
    files[0].write_bytes(b"XXX")
    os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kinds(me) == set()
    assert kinds(me, "--deep") == {"backing-damaged"}
    assert kinds(me, "--deep", "--repair") == set()
    assert me.ok("cat", "a.md").out == b"one"
    assert me.ok("cat", "b/c.md").out == b"two"


def test_a_bad_snapshot_is_dropped(me: Machine) -> None:
    place = volume(me) / "snapshots"
    place.mkdir(exist_ok=True)
    bad = place / f"{10**16 - 1 - 2:016d}"
    bad.write_bytes(b"not a snapshot")
    assert kinds(me) == {"snapshot-damaged"}
    assert kinds(me, "--repair") == set()
    assert not bad.exists()


def make_pending(me: Machine) -> None:
    """Write a file that is not pushed."""
    with Home.open("me", settings=load(environment=me.environment), engine="none") as home:
        home.write("only/here.md", b"precious")
    assert me.run("status", "--json").json["volumes"][0]["pending"]["paths"] == ["only/here.md"]


def test_a_replica_that_contradicts_the_log_is_made_again_with_what_was_only_here(me: Machine) -> None:
    make_pending(me)
    connection = apsw.Connection(str(replica(me) / "replica.db"))
    connection.execute("UPDATE content SET digest=zeroblob(32) WHERE size_bytes=3")
    connection.close()
    assert "replica-content" in kinds(me)
    result = me.run("fsck", "--repair", "--json")
    assert (result.code, result.json["clean"]) == (exits.OK, True), result
    assert me.ok("cat", "a.md").out == b"one"
    assert me.ok("cat", "only/here.md").out == b"precious"
    with machine(me.root, name="two") as other:
        assert other.ok("cat", "only/here.md").out == b"precious"
    assert list(replica(me).glob("damaged-*/replica.db"))


def test_a_destroyed_database_is_made_again_with_the_bytes_that_were_only_here(me: Machine) -> None:
    make_pending(me)
    here = replica(me)
    for name in ("replica.db-wal", "replica.db-shm"):
        (here / name).unlink(missing_ok=True)
    (here / "replica.db").write_bytes(b"garbage" * 1000)
    assert "agentfs fsck --repair" in me.refused(exits.DAMAGED, "ls")
    assert me.run("status", "--json").json["damaged"][0]["code"] == "replica-damaged"
    assert kinds(me) == {"replica-damaged"}
    assert kinds(me, "--repair") == set()
    assert me.ok("cat", "a.md").out == b"one"
    paths = [entry["path"] for entry in me.ok("ls", "-r", "--json").json["entries"]]
    saved = [path for path in paths if path.startswith("recovered/")]
    assert [me.ok("cat", path).out for path in saved] == [b"precious"]
