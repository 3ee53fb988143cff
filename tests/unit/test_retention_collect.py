"""Collecting a volume that real engines write and read."""

import hashlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from retention_world import PREFIX, VOLUME, World, fill, world_in

from agentfs.errors import ClocksDisagree, Corrupt, Unavailable
from agentfs.format.carried import CarriedHeader, encode_carried
from agentfs.format.framing import ObjectKind, seal
from agentfs.format.layout import blob_name, index_name, index_prefix, parse_pack_name, pin_name
from agentfs.format.pack import Pack, decode_pack
from agentfs.format.pin import Pin
from agentfs.format.snapshot import inode_record
from agentfs.fsck.store_check import StoreCheck
from agentfs.log.announcements import Announcements
from agentfs.log.contents import Contents
from agentfs.log.pins import Pins
from agentfs.retention.report import CollectionReport


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def test_old_versions_go_and_the_tree_stays(world: World) -> None:
    a = world.node("ann")
    a.write("kept.md", b"kept since the beginning")
    versions = fill(a, world, 20)
    a.engine.snapshot()
    world.days(40)
    fill(a, world, 3)
    before = world.total()
    report = world.collect("30d")
    assert report.horizon == 20 and report.commits == 20 and not report.why_not
    assert world.stubs() == list(range(1, 21))
    assert world.total()[1] < before[1] / 2
    world.check()
    b = world.node("bob")
    assert b.read("kept.md") == b"kept since the beginning"
    assert b.read("notes.md") == versions[2]


def test_nothing_goes_that_is_young_or_without_a_snapshot(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 5)
    assert world.collect("30d").why_not == "all commits are younger than what the policy keeps"
    world.days(40)
    assert world.collect("30d").why_not == "no snapshot is old enough"
    a.engine.snapshot()
    assert world.collect("all").why_not == "everything is kept"
    assert world.collect("50d").commits == 0
    assert world.stubs() == []
    assert Announcements(world.store, VOLUME).newest_number() == 0
    assert world.collect("30d").commits == 5


def test_a_dry_run_tells_the_same_and_changes_nothing(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 10)
    a.engine.snapshot()
    fill(a, world, 10)
    a.engine.snapshot()
    world.days(40)
    before = {name: world.store.get(name).data for name in world.names(PREFIX)}
    told = world.collect("30d", dry_run=True)
    assert {name: world.store.get(name).data for name in world.names(PREFIX) if not name.endswith("clock")} == before
    done = world.collect("30d")
    for field in ("commits", "commit_bytes", "snapshots", "packs", "chunks", "packed", "packed_bytes", "horizon"):
        assert getattr(told, field) == getattr(done, field), field
    assert (done.commits, done.snapshots, done.packed) == (20, 1, 1)


def test_indexes_with_texts_that_were_collected_go_along(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 10)
    a.engine.snapshot()
    world.days(40)
    fill(a, world, 3)
    strange = index_prefix(PREFIX) + "of-a-later-version"
    for sequence in (9, 10, 12):
        data = encode_carried(CarriedHeader(VOLUME, sequence, 0, "ann", "rules"), [])
        world.store.put(index_name(PREFIX, sequence, "rules"), data)
    world.store.put(strange, b"who knows")
    told = world.collect("30d", dry_run=True)
    assert len(world.names(index_prefix(PREFIX))) == 4
    done = world.collect("30d")
    assert (told.indexes, told.index_bytes) == (done.indexes, done.index_bytes)
    assert (done.horizon, done.indexes) == (10, 1)
    kept = [index_name(PREFIX, it, "rules") for it in (12, 10)]
    assert sorted(world.names(index_prefix(PREFIX))) == sorted([*kept, strange])
    world.check()
    findings = StoreCheck(world.store, "space", "sim").run().findings
    assert [it.place for it in findings.of("stray-object")] == [strange]
    assert findings.of("index-damaged") == []
    world.store.put(kept[1], b"older ones are not read")
    world.store.put(kept[0], world.store.get(kept[0]).data[:-1])
    findings = StoreCheck(world.store, "space", "sim").run().findings
    assert [it.place for it in findings.of("index-damaged")] == [kept[0]]
    world.check()
    world.store.put(kept[0], seal(ObjectKind.INDEX, {"requires": ["tomorrow"]})[0])
    assert StoreCheck(world.store, "space", "sim").run().findings.of("index-damaged") == []


def test_a_second_run_finds_nothing_to_do(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 10)
    a.engine.snapshot()
    world.days(40)
    world.collect("30d")
    stands = world.names(PREFIX)
    again = world.collect("30d")
    assert (again.commits, again.announced, again.packed) == (0, 0, 0)
    assert world.names(PREFIX) == stands


def test_clocks_that_disagree_refuse(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 5)
    a.engine.snapshot()
    world.days(40)
    collector = world.collector("30d")
    collector._clock = type(world.clock)()  # 40 days behind
    with pytest.raises(ClocksDisagree):
        list(collector.run())
    assert world.stubs() == []


# ---- what is kept ---------------------------------------------------------------------------------------------


def test_versions_are_kept_when_their_commits_go(world: World) -> None:
    """Of a file that is edited in place, of one that an editor replaces, and of one that was moved."""
    a = world.node("ann")
    fill(a, world, 8, path="in-place.md")
    saved = []
    for number in range(8):
        a.write("save.tmp", b"saved %d" % number)
        a.rename("save.tmp", "saved.md")
        a.sync()
        saved.append(b"saved %d" % number)
    a.rename("saved.md", "moved.md")
    a.write("gone.md", b"nobody wants it any more")
    a.sync()
    a.unlink("gone.md")
    a.sync()
    a.engine.snapshot()
    world.days(10)
    report = world.collect("3 versions")
    assert report.commits == 18 and report.versions == 6
    found = {it.name: it.states for pack in read_packs(world) for it in pack.lineages}
    assert {name: [it.sequence for it in states] for name, states in found.items()} == {
        b"in-place.md": [6, 7, 8],
        b"moved.md": [14, 15, 16],
    }
    contents = Contents(world.store, world.log())
    assert [contents.read(it.content) for it in found[b"moved.md"]] == saved[-3:]
    assert {it.name for it in found[b"moved.md"]} == {b"saved.md"}
    world.check()
    # the next collection keeps the last three of old and new ones
    a.write("moved.md", b"once more")
    a.sync()
    fill(a, world, 1, path="in-place.md")
    a.engine.snapshot()
    world.days(10)
    world.collect("3 versions")
    found = {it.name: it.states for pack in read_packs(world) for it in pack.lineages}
    assert [it.sequence for it in found[b"moved.md"]] == [15, 16, 19]
    assert [it.sequence for it in found[b"in-place.md"]] == [7, 8, 20]
    assert [Contents(world.store, world.log()).read(it.content) for it in found[b"moved.md"]] == [
        *saved[-2:],
        b"once more",
    ]
    world.check()


def test_large_versions_keep_their_chunks(world: World) -> None:
    a = world.node("ann")
    versions = []
    for _ in range(6):
        versions.append(os.urandom(200_000))
        a.write("large", versions[-1])
        a.sync()
    a.engine.snapshot()
    world.days(10)
    assert len(world.chunks()) == 6
    world.collect("2 versions")
    assert len(world.chunks()) == 2
    states = next(it for pack in read_packs(world) for it in pack.lineages).states
    assert [Contents(world.store, world.log()).read(it.content) for it in states] == versions[-2:]
    assert world.node("bob").read("large") == versions[-1]


def test_what_met_in_a_conflict_is_kept_until_somebody_settles_it(world: World) -> None:
    a, b = world.node("ann"), world.node("bob")
    a.write("bin", b"\0one")
    a.sync()
    b.sync()
    a.write("bin", b"\0ann's")
    b.write("bin", b"\0bob's")
    a.sync()
    b.sync()
    a.sync()
    fill(a, world, 5)
    a.engine.snapshot()
    world.days(40)
    world.collect("30d")
    evidence = [it for pack in read_packs(world) for it in pack.evidence]
    assert [(it.kind, it.name) for it in evidence] == [("content", b"bin")]
    b.sync()
    assert sorted(b.read(name) for name in b.names() if name.startswith("bin")) == [b"\0ann's", b"\0bob's"]
    world.check()


def test_a_pinned_tree_is_kept_whole(world: World) -> None:
    a = world.node("ann")
    small = fill(a, world, 5)
    a.write("large", bytes(range(256)) * 1000)
    a.sync()
    a.engine.snapshot()
    log = world.log()
    digest = log.digest_at(6)
    assert digest is not None
    pins = Pins(world.store, VOLUME)
    pin = pins.put(Pin(VOLUME, bytes(16), "snapshot", "before", 6, digest, 1, "ann"))
    a.unlink("large")
    fill(a, world, 5, size=1500)
    a.engine.snapshot()
    world.days(40)
    report = world.collect("30d")
    assert report.commits == 11 and report.pins == 1 and report.packed == 2
    tree = world.log().snapshot_at(6)
    assert tree is not None
    contents = Contents(world.store, world.log())
    found = {contents.read(it.content) for it in map(inode_record, tree.inodes) if it.content is not None}
    assert found == {small[-1], bytes(range(256)) * 1000}
    world.check()
    pins.delete("snapshot", pin.name)
    a.write("more", b"more")
    a.sync()
    a.engine.snapshot()
    world.days(40)
    report = world.collect("30d")
    assert report.snapshots == 2 and report.chunks == 1
    assert world.log().snapshot_at(6) is None and world.chunks() == []
    world.check()


def test_a_pin_that_cannot_be_read_stops_everything(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 5)
    a.engine.snapshot()
    world.days(40)
    world.store.put(pin_name(PREFIX, "snapshot", "broken"), b"nobody knows what this keeps")
    with pytest.raises(Corrupt):
        world.collect("30d")
    assert world.stubs() == []


# ---- who returns ----------------------------------------------------------------------------------------------


def test_a_machine_that_was_away_for_weeks_loses_nothing(world: World) -> None:
    a, b = world.node("ann"), world.node("bob")
    a.write("theirs.md", b"one\ntwo\nthree\n")
    a.write("large", b"x" * 300_000)
    fill(a, world, 5)
    b.sync()
    b.append("notes.md", b"\nbob was here")
    b.write("only-bob.md", b"nobody else has this")
    fill(a, world, 30)
    a.unlink("large")
    a.sync()
    a.engine.snapshot()
    world.days(60)
    fill(a, world, 3)
    assert world.collect("30d").commits == 36
    b.sync()
    assert b.read("only-bob.md") == b"nobody else has this"
    ours = [b.read(name) for name in b.names() if name.startswith("notes")]
    assert any(b"bob was here" in data for data in ours)
    a.sync()
    assert a.show() == b.show()
    world.check()


def test_clones_of_a_prepared_commit_survive_a_collection(world: World, tmp_path: Path) -> None:
    """Both twins prepared one commit; one put it; it was collected; then the other comes."""
    a = world.node("ann")
    fill(a, world, 3)

    def stop(name: str) -> None:
        if name == "push.prepared":
            raise Stopped

    b = world.node("bob", failpoint=stop)
    b.write("new.md", b"prepared by both")
    with pytest.raises(Stopped):
        b.sync()
    b.replica.close()
    world.nodes.remove(b)
    shutil.copytree(b.directory, tmp_path / "bob+twin")
    one = world.node("bob")
    one.sync()
    a.sync()
    fill(a, world, 5)
    a.engine.snapshot()
    world.days(40)
    assert world.collect("30d").commits == 9
    twin = world.node("bob+twin")
    twin.sync()
    a.sync()
    one.sync()
    assert twin.show() == a.show() == one.show()
    assert twin.read("new.md") == b"prepared by both" and twin.names() == ["new.md", "notes.md"]


def test_a_reader_with_an_old_tree_reads_what_is_kept_and_hears_of_the_rest(world: World) -> None:
    a = world.node("ann")
    a.write("kept.md", b"kept")
    a.write("gone.md", b"gone")
    a.sync()
    b = world.node("bob", prefetch=False)
    a.unlink("gone.md")
    fill(a, world, 5)
    a.engine.snapshot()
    world.days(40)
    world.collect("30d")
    assert b.read("kept.md") == b"kept"
    with pytest.raises(Unavailable):
        b.read("gone.md")
    b.sync()
    assert b.names() == ["kept.md", "notes.md"]


# ---- chunks beside collections --------------------------------------------------------------------------------


def big(number: int) -> bytes:
    return bytes([number]) * 200_000


def collected_with(world: World, policy: str, at: str, do: Callable[[], None]) -> CollectionReport:
    """Collect, and `do` something at that point."""
    done = []

    def meanwhile(name: str) -> None:
        if name == at and not done:
            done.append(True)
            do()

    return world.collect(policy, failpoint=meanwhile)


POINTS = ("collect.packed", "collect.announced", "collect.barrier", "collect.marked", "collect.stubbed",
          "collect.snapshot", "collect.chunk")  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_a_chunk_that_comes_back_while_it_goes_is_there(world: World, point: str) -> None:
    """A large file was deleted; while its chunk is collected somebody stores the same bytes again."""
    a = world.node("ann")
    a.write("old", big(1))
    a.sync()
    a.engine.snapshot()
    a.unlink("old")
    fill(a, world, 5)
    a.engine.snapshot()
    world.days(40)
    b = world.node("bob")

    def again() -> None:
        b.write("new", big(1))
        b.sync()

    report = collected_with(world, "30d", point, again)
    assert report.commits == 6
    a.sync()
    c = world.node("cyd", prefetch=False)
    assert c.read("new") == big(1)
    world.check()


@pytest.mark.parametrize("point", POINTS)
def test_an_upload_that_slept_through_a_collection_is_done_again(world: World, point: str) -> None:
    """The chunk was put, its commit not yet: the collection finds nobody who refers to it."""
    a = world.node("ann")
    a.write("old", big(1))
    a.sync()
    a.unlink("old")
    fill(a, world, 5)
    a.engine.snapshot()
    world.days(40)
    steps: list[Callable[[], None]] = []

    def slept(name: str) -> None:
        if name == "push.captured" and steps:
            steps.pop()()

    b = world.node("bob", failpoint=slept)
    b.write("new", big(1))

    # the whole collection up to `point`, between the put of the chunk and the put of its commit; the rest afterwards
    seen: list[str] = []
    collector = world.collector("30d", chunk_grace_s=0.0, failpoint=seen.append)
    run = collector.run()

    def until_point() -> None:
        for _ in run:
            if point in seen:
                return

    steps.append(until_point)
    b.sync()
    for _ in run:
        pass
    a.sync()
    assert world.node("cyd", prefetch=False).read("new") == big(1)
    world.check()


def test_a_collector_that_slept_for_weeks_takes_nothing_that_came_back(world: World) -> None:
    a = world.node("ann")
    a.write("old", big(1))
    a.sync()
    a.unlink("old")
    fill(a, world, 5)
    a.engine.snapshot()
    world.days(40)
    seen: list[str] = []
    slow = world.collector("30d", failpoint=seen.append).run()
    for _ in slow:
        if "collect.marked" in seen:
            break
    for number in range(4):
        a.write("new", big(1) + bytes([number]))  # chunks and packs come, go and come back
        a.write("small", b"small %d" % number)
        a.sync()
        a.engine.snapshot()
        world.days(40)
        world.collect("30d")
        world.check()
    a.write("new", big(1))
    a.sync()
    for _ in slow:
        pass
    world.check()
    b = world.node("bob", prefetch=False)
    assert b.read("new") == big(1) and b.read("small") == b"small 3"


# ---- crashes and crowds ---------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def history(world: World) -> None:
    a = world.node("ann")
    a.write("kept.md", b"kept")
    a.mkdir("d")
    for number in range(4):
        a.write("large", big(number))
        a.write(f"d/{number}", b"small %d" % number)
        fill(a, world, 3)
    a.engine.snapshot()
    a.unlink("large")
    fill(a, world, 2)
    a.engine.snapshot()
    a.write("kept.md", b"kept, changed")
    a.sync()
    a.engine.snapshot()


def test_a_crash_between_any_two_requests_is_mended_by_the_next_run(world: World) -> None:
    history(world)
    world.days(40)
    shown = world.tree()
    count, ended = 0, False
    while not ended:
        copy = world.copy()
        run = copy.collector("30d 2 versions").run()
        ended = any(next(run, "end") == "end" for _ in range(count))
        run.close()
        assert copy.tree() == shown
        assert not copy.collect("30d 2 versions").overtaken
        copy.collect("30d 2 versions")
        assert copy.tree() == shown
        assert copy.stubs() == list(range(1, 16)) and copy.chunks() == []
        count += 1
    assert count > 50


def test_several_collectors_at_once_are_as_one(world: World) -> None:
    history(world)
    world.days(40)
    shown = world.tree()
    for seed in range(30):
        copy, entropy = world.copy(), random.Random(seed)
        runs = [copy.collector("30d 2 versions").run() for _ in range(3)]
        while runs:
            run = entropy.choice(runs)
            for _ in range(entropy.choice((1, 1, 5, 30))):
                if next(run, "end") == "end":
                    runs.remove(run)
                    break
        copy.collect("30d 2 versions")
        assert copy.tree() == shown
        assert copy.stubs() == list(range(1, 16)) and copy.chunks() == []


def test_chunks_that_nobody_ever_committed_go_under_any_policy(world: World) -> None:
    a = world.node("ann")
    a.write("kept", big(1))
    a.sync()
    world.store.put(blob_name(PREFIX, hashlib.sha256(big(2)).digest()), big(2))
    assert world.collect("all").chunks == 0  # it may be an upload
    world.days(10)
    report = world.collect("all")
    assert (report.chunks, report.chunk_bytes, report.commits) == (1, 200_000, 0)
    assert world.node("bob", prefetch=False).read("kept") == big(1)
    world.check()


def test_old_announcements_go_when_nothing_of_them_is_left(world: World) -> None:
    a = world.node("ann")
    for number in range(4):
        a.write("large", big(number))
        fill(a, world, 2)
        a.engine.snapshot()
        world.days(40)
        world.collect("30d")
    assert [number for number, _ in Announcements(world.store, VOLUME).numbers()] == [4]
    world.check()


def test_many_small_packs_become_one(world: World) -> None:
    a = world.node("ann")
    shown = []
    for number in range(12):
        a.write(f"{number}.md", b"small %d" % number)
        a.sync()
        a.engine.snapshot()
        shown.append(b"small %d" % number)
        world.days(40)
        world.collect("30d", packs_small_max=4)
    assert len(world.packs()) <= 5
    b = world.node("bob", prefetch=False)
    assert [b.read(f"{number}.md") for number in range(12)] == shown
    world.check()


def read_packs(world: World) -> list[Pack]:
    announced = {it for number, _ in Announcements(world.store, VOLUME).numbers()
                 for it in Announcements(world.store, VOLUME).read(number).packs}  # fmt: skip
    names = [name for name in world.packs() if parse_pack_name(PREFIX, name) not in announced]
    return [decode_pack(world.store.get(name).data, volume=VOLUME)[0] for name in names]
