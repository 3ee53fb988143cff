"""The history of real engines: what observers feed, what is read from the log, what was collected."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from retention_world import DAY_S, Node, World, fill, world_in

from agentfs.errors import HistoryBroken, NotFound, StoreUnavailable, Unavailable, VersionGone
from agentfs.history.events import PathEvent
from agentfs.history.moments import Moment, parse_moment
from agentfs.history.reader import HistoryReader
from agentfs.history.versions import Versions
from agentfs.log.contents import Contents
from agentfs.model.records import Commit, ConflictId
from agentfs.replica.bulk import load_snapshot, log_links, log_records
from agentfs.replica.database import Connection
from agentfs.replica.replica import Replica
from agentfs.replica.resolutions import mark_resolved
from agentfs.stores.counted import CountedStore
from agentfs.stores.memory import MemoryStore
from agentfs.volume.history import HistoryService
from agentfs.volume.messages import LINE_BYTES_MAX, encode


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def service(node: Node) -> HistoryService:
    return HistoryService(node.replica, author="ann")


def reader(node: Node) -> HistoryReader:
    found = service(node).reader(node.engine)
    assert found[1] == 0
    return found[0]


def version(number: int) -> Moment:
    return Moment("version", number, f"v{number}")


def contents(reading: HistoryReader, node: Node, path: str) -> list[bytes | None]:
    """The bytes of every version, oldest first; None: gone."""
    ground = node.engine.ground
    versions = Versions(node.replica, ground.log, Contents(ground.store, ground.log))
    found: list[bytes | None] = []
    for event in reading.events(tuple(path.encode().split(b"/"))):
        if event.content is not None and event.content_changed:
            try:
                found.append(Path(versions.file(event.content)).read_bytes())
            except VersionGone:
                found.append(None)
    return found


def whats(events: "list[PathEvent] | tuple[PathEvent, ...]") -> list[str]:
    return [event.what for event in events]


def test_commits_are_indexed_as_they_come_and_nothing_is_asked_of_the_store(tmp_path: Path) -> None:
    store = CountedStore(MemoryStore())
    with world_in(tmp_path, store=store) as world:
        observers: list[HistoryService] = []

        def observe(commit: Commit, digest: bytes) -> None:
            observers[0].observe(commit, digest)

        node = world.node("ann", observers=[observe])
        observers.append(service(node))
        data = fill(node, world, 5)
        before = store.counts.requests
        found, behind = observers[0].reader(node.engine)
        assert (behind, [it.version for it in found.events((b"notes.md",))]) == (0, [1, 2, 3, 4, 5])
        assert store.counts.requests == before
        assert contents(found, node, "notes.md") == data
        assert store.counts.requests == before + 5  # one get for each version's bytes
        assert contents(found, node, "notes.md") == data
        assert store.counts.requests == before + 5  # and none again


def test_a_machine_that_comes_late_reads_the_log_once(tmp_path: Path) -> None:
    store = CountedStore(MemoryStore())
    with world_in(tmp_path, store=store) as world:
        a = world.node("ann")
        fill(a, world, 20)
        a.engine.snapshot()
        b = world.node("bob")
        before = store.counts.requests
        history = service(b)
        found, _ = history.reader(b.engine)
        assert len(found.events((b"notes.md",))) == 20
        assert store.counts.requests == before + 20
        history.reader(b.engine)
        assert store.counts.requests == before + 20
        history.close()
        again, _ = service(b).reader(b.engine)  # another process of this machine
        assert len(again.events((b"notes.md",))) == 20
        assert store.counts.requests == before + 20


def test_a_gap_is_closed_in_quiet_moments_and_only_where_the_history_is_in_use(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 3)
    unused = service(a)
    unused.chore(a.engine.ground)
    assert not unused.index.exists
    history = service(a)
    history.reader(a.engine)
    fill(a, world, 4)  # nobody observes: as after a crash
    assert history.index.head()[0] == 3
    history.chore(a.engine.ground)
    assert history.index.head()[0] == 7


class Away(MemoryStore):
    """A store that can be gone."""

    away = False

    def get(self, *arguments: object, **options: object) -> object:  # type: ignore[override]
        if self.away:
            raise StoreUnavailable("away")
        return super().get(*arguments, **options)  # type: ignore[arg-type]


def test_without_the_store_what_is_known_is_told(tmp_path: Path) -> None:
    store = Away()
    with world_in(tmp_path, store=store) as world:
        a = world.node("ann")
        fill(a, world, 3)
        history = service(a)
        history.reader(a.engine)
        fill(a, world, 2)
        store.away = True
        found, behind = history.reader(a.engine)
        assert behind == 2
        assert len(found.events((b"notes.md",))) == 3
        with pytest.raises(Unavailable):
            contents(found, a, "notes.md")
        (Path(a.replica.directory) / "history.db").unlink()
        with pytest.raises(Unavailable, match="not on this machine"):
            service(a).reader(a.engine)


def test_what_was_collected_is_told_as_far_as_packs_keep_it(world: World) -> None:
    a = world.node("ann")
    a.write("other.md", b"x")
    old = fill(a, world, 20)
    a.engine.snapshot()
    world.days(40)
    new = fill(a, world, 3)
    world.collect("30d 5 versions")
    b = world.node("bob")
    found = reader(b)
    events = found.events((b"notes.md",))
    assert [it.version for it in events] == list(range(1, 9))
    assert [it.beginning for it in events] == [True] + [False] * 7
    assert {it.author for it in events} == {"ann"}
    assert [it.sequence for it in events] == [*range(16, 21), 21, 22, 23]
    assert contents(found, b, "notes.md") == old[15:] + new
    at = found.at((b"notes.md",), version(2))
    assert at.row.content is not None and at.row.content.digest == hashlib.sha256(old[16]).digest()
    assert found.content(at.row.inode, at.sequence) == at.row.content
    with pytest.raises(VersionGone, match="collected"):
        found.at((b"notes.md",), Moment("sequence", 7, "@7"))
    with pytest.raises(VersionGone, match="collected"):
        found.tree_at(7)
    with pytest.raises(NotFound, match="there are 1 to 8"):
        found.at((b"notes.md",), version(9))
    lines, following = found.commits(limit=100)
    assert ([it.sequence for it in lines], following) == ([23, 22, 21, 20], None)
    assert lines[-1].collected == 1
    # Who had read the log before knows what was there, but for the bytes.
    mine = reader(a)
    assert len(mine.events((b"notes.md",))) == 8


def test_an_index_from_before_the_collection_goes_on_behind_it(world: World) -> None:
    a = world.node("ann")
    first = fill(a, world, 4)
    history = service(a)
    history.reader(a.engine)
    second = fill(a, world, 6)
    a.engine.snapshot()
    world.days(40)
    third = fill(a, world, 2)
    world.collect("30d")
    found, _ = history.reader(a.engine)
    events = found.events((b"notes.md",))
    assert [it.sequence for it in events] == [1, 2, 3, 4, 10, 11, 12]
    assert contents(found, a, "notes.md") == [None] * 4 + [second[-1], *third]
    assert len(first) == 4


def test_extended_attributes_beside_a_collection(world: World) -> None:
    a = world.node("ann")

    def write(number: int, colour: bytes) -> None:
        a.write("notes.md", b"version %d" % number)
        a.sync()
        a.tree.set_xattr(a.tree.lookup(1, b"notes.md").ino, b"user.colour", colour, 0)
        a.sync()

    write(1, b"red")
    reader(a)
    write(2, b"green")
    a.tree.set_xattr(a.tree.lookup(1, b"notes.md").ino, b"user.colour", b"blue", 0)
    a.sync()
    a.engine.snapshot()
    world.days(40)
    write(3, b"white")
    world.collect("30d 5 versions")
    colours: list[list[object]] = []
    for found in (reader(a), reader(world.node("bob"))):
        rows = [found.at((b"notes.md",), version(number)).row for number in (1, 2, 3)]
        colours.append([row.xattrs and row.xattrs[0][1] for row in rows])
    # Packs keep none, so those of version 1 are known only where its last commit had been read.
    assert colours == [[b"red", b"blue", b"white"], [None, b"blue", b"white"]]


def test_bytes_that_were_collected_are_said_to_be(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 4)
    history = service(a)
    found, _ = history.reader(a.engine)
    a.engine.snapshot()
    world.days(40)
    fill(a, world, 1)
    world.collect("30d")
    content = found.events((b"notes.md",))[0].content
    assert content is not None
    with pytest.raises(VersionGone, match="retention policy"):
        history.versions(a.engine).file(content)


def test_the_index_of_another_history_is_made_anew(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 3)
    history = service(a)
    history.reader(a.engine)
    other = Connection(history.index.path)
    other.execute("UPDATE entry SET digest=zeroblob(32)")
    other.close()
    found, _ = history.reader(a.engine)
    assert len(found.events((b"notes.md",))) == 3
    a.replica.set_state("head_digest", bytes(32))
    with pytest.raises(HistoryBroken):
        history.reader(a.engine)


def test_a_tree_of_the_past_fills_a_replica(world: World, tmp_path: Path) -> None:
    a = world.node("ann")
    a.mkdir("d")
    a.write("d/f", b"one")
    a.sync()
    wanted = log_records(a.replica), log_links(a.replica)
    sequence = int(a.replica.state("head_sequence"))
    a.rename("d", "e")
    a.write("e/f", b"two")
    a.write("new", b"n")
    a.sync()
    rows = reader(a).tree_at(sequence)
    past = Replica.open(
        str(tmp_path / "past"), volume_kind="space", volume_id="sim", session_kind="engine", clock=world.clock
    )
    load_snapshot(past, rows)
    assert log_links(past) == wanted[1]
    records = log_records(past)
    assert {inode: row for inode, row in records.items() if inode != 1} == {
        inode: row for inode, row in wanted[0].items() if inode != 1
    }
    past.close()


def test_the_cache_of_versions_has_a_size(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 10, size=1000)
    ground = a.engine.ground
    small = Versions(a.replica, ground.log, Contents(ground.store, ground.log), bytes_max=3500)
    files = []
    for event in reader(a).events((b"notes.md",)):
        assert event.content is not None
        files.append(small.file(event.content))
        assert os.path.exists(files[-1])
    assert [os.path.exists(it) for it in files] == [False] * 7 + [True] * 3


def test_a_cached_version_that_a_power_cut_shortened_is_fetched_again(world: World) -> None:
    a = world.node("ann")
    (data,) = fill(a, world, 1)
    found = reader(a)
    content = found.events((b"notes.md",))[0].content
    assert content is not None
    ground = a.engine.ground
    versions = Versions(a.replica, ground.log, Contents(ground.store, ground.log))
    path = Path(versions.file(content))
    path.write_bytes(bytes(len(data)))
    assert Path(versions.file(content)).read_bytes() == data


def test_a_file_of_many_chunks(world: World) -> None:
    a = world.node("ann")
    data = [os.urandom(3 << 20), os.urandom(2_500_000)]
    for one in data:
        a.write("big", one)
        a.sync()
    assert contents(reader(a), a, "big") == data


def test_moments_in_a_log(world: World) -> None:
    a = world.node("ann")
    start_ns = world.clock.wall_ns()
    for number in range(4):
        world.days(1)
        fill(a, world, 1, path=f"f{number}")
    found = reader(a)

    def at(text: str) -> int:
        return found.sequence_of(parse_moment(text, now_ns=world.clock.wall_ns()))

    assert at("now") == 4
    assert at("36h") == 2
    assert at("@2") == 2
    assert found.sequence_of(Moment("time", start_ns + int(1.5 * DAY_S * 1e9), "")) == 1
    with pytest.raises(NotFound, match="before the first commit"):
        at("100d")


def test_a_resolution_that_loses_the_race_goes_with_the_next_commit(world: World) -> None:
    a = world.node("ann")
    a.write("f", b"\0base")
    a.sync()
    b = world.node("bob")
    a.write("f", b"\0ours")
    a.sync()
    b.write("f", b"\0theirs")
    b.sync()
    a.engine.pull_now()
    (conflict,) = reader(a).conflicts()
    sequence, place = map(int, conflict.id.split("."))
    b.write("other", b"x")
    mark_resolved(a.replica, [ConflictId(sequence, place)])
    assert reader(a).conflicts() == []
    b.engine.push_until_clean(world.clock.monotonic() + 60)  # it takes the place that a's commit would have had
    a.engine.push_until_clean(world.clock.monotonic() + 60)
    b.engine.pull_now()
    (settled,) = reader(b).conflicts(resolved=True)
    assert settled.resolved == int(b.replica.state("head_sequence"))
    assert (settled.earlier_author, settled.later_author) == ("ann", "bob")
    assert reader(b).conflicts() == []


def test_an_answer_fits_one_line(world: World) -> None:
    a = world.node("ann")
    for number in range(500):
        a.write(f"{number:04d}" + "ä" * 120, b"x")
    a.sync()
    fill(a, world, 3)
    answers = service(a).answers()
    for word, request in (
        ("history-log", {"path": "", "paths": 2000}),
        ("history-list", {"path": "", "moment": {"kind": "now", "number": 0, "text": ""}}),
        ("history", {"path": "notes.md"}),
    ):
        answer = answers[word](a.engine, request, lambda _facts: None)
        assert len(encode({"id": 1, "result": answer})) < LINE_BYTES_MAX, word
    listed: list[object] = []
    while True:
        request = {"path": "", "moment": {"kind": "now", "number": 0, "text": ""}, "skip": len(listed)}
        answer = answers["history-list"](a.engine, request, lambda _facts: None)
        listed += answer["rows"]
        if not answer["more"]:
            break
    assert len(listed) == 501
