"""Conflicts of real engines, as the history tells them: who, when, both sides, merged or kept aside."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from retention_world import Node, World, world_in

from agentfs.errors import NotFound
from agentfs.history.conflicts import ConflictLine, SideName
from agentfs.history.reader import HistoryReader
from agentfs.history.rendering import conflicts_text, history_text
from agentfs.history.versions import Versions
from agentfs.log.contents import Contents
from agentfs.model.records import ConflictId
from agentfs.volume.history import HistoryService

BASE = b"# Plan\n\n- tea at four\n- walk\n"
OURS = b"# Plan\n\n- tea at five\n- walk\n"
THEIRS = b"# Plan\n\n- tea at six\n- walk\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def reader(node: Node) -> HistoryReader:
    return HistoryService(node.replica, author="bob").reader(node.engine)[0]


def met(world: World, name: str, base: bytes, ours: bytes, theirs: bytes) -> tuple[Node, Node]:
    """Ann's change is in the log before Bob's, who did not know of it."""
    a = world.node("ann")
    a.write(name, base)
    a.sync()
    b = world.node("bob")
    a.write(name, ours)
    a.sync()
    b.write(name, theirs)
    return a, b


def side(node: Node, conflict: ConflictLine, name: SideName) -> bytes:
    sequence, place = map(int, conflict.id.split("."))
    ground = node.engine.ground
    content = reader(node).side(ConflictId(sequence, place), name)
    return Path(Versions(node.replica, ground.log, Contents(ground.store, ground.log)).file(content)).read_bytes()


def test_a_line_that_both_changed_is_merged_and_every_side_can_be_read(world: World) -> None:
    a, b = met(world, "plan.md", BASE, OURS, THEIRS)
    b.sync()
    a.engine.pull_now()
    for node in (a, b):
        (conflict,) = reader(node).conflicts()
        assert (conflict.kind, conflict.path, conflict.copy) == ("content", (b"plan.md",), None)
        assert (conflict.earlier_author, conflict.later_author) == ("ann", "bob")
        assert conflict.sides == ("base", "earlier", "later", "merged")
        assert side(node, conflict, "base") == BASE
        assert side(node, conflict, "earlier") == OURS
        assert side(node, conflict, "later") == THEIRS
        assert side(node, conflict, "merged") == node.read("plan.md")
        events = reader(node).events((b"plan.md",))
        assert [it.what for it in events] == ["created", "changed", "merged"]
        assert events[-1].author == "bob"
        assert f"merged (conflict {conflict.id})" in history_text((b"plan.md",), events)
        assert f"## plan.md ({conflict.id})" in conflicts_text([conflict])
        assert reader(node).conflicts((b"elsewhere",)) == []
        assert len(reader(node).conflicts((b"plan.md",))) == 1


def test_what_cannot_be_merged_names_both_and_the_copy(world: World) -> None:
    a, b = met(world, "d.bin", b"\0base", b"\0ours", b"\0theirs")
    b.sync()
    a.engine.pull_now()
    (conflict,) = reader(a).conflicts()
    assert conflict.copy is not None and conflict.copy[0].startswith(b"d.conflict-bob-")
    assert (conflict.earlier_author, conflict.later_author) == ("ann", "bob")
    assert side(a, conflict, "earlier") == b"\0ours"
    assert side(a, conflict, "later") == b"\0theirs"
    assert conflict in reader(a).conflicts(conflict.copy)


def test_a_conflict_that_no_commit_has_reported_is_pending(world: World) -> None:
    _, b = met(world, "d.bin", b"\0base", b"\0ours", b"\0theirs")
    b.engine.pull_now()
    (conflict,) = reader(b).conflicts()
    assert conflict.id.startswith("pending.")
    assert (conflict.sequence, conflict.later_author, conflict.sides) == (None, "bob", ())
    assert "not in a commit yet" in conflicts_text([conflict])
    b.sync()
    (conflict,) = reader(b).conflicts()
    assert conflict.sequence == int(b.replica.state("head_sequence"))


def test_evidence_of_a_collected_conflict_stays(world: World) -> None:
    a, b = met(world, "plan.md", BASE, OURS, THEIRS)
    b.sync()
    a.engine.pull_now()
    (before,) = reader(a).conflicts()
    a.engine.snapshot()
    world.days(40)
    a.write("x", b"x")
    a.sync()
    world.collect("30d")
    c = world.node("cy")
    (conflict,) = reader(c).conflicts()
    assert (conflict.id, conflict.path, conflict.detail) == (before.id, before.path, before.detail)
    assert (conflict.later_author, conflict.time_ns) == (before.later_author, before.time_ns)
    assert side(c, conflict, "earlier") == OURS
    assert side(c, conflict, "later") == THEIRS


def test_there_is_no_such_conflict(world: World) -> None:
    a = world.node("ann")
    a.write("f", b"x")
    a.sync()
    with pytest.raises(NotFound, match=r"conflict 7\.0"):
        reader(a).side(ConflictId(7, 0), "base")
    with pytest.raises(NotFound, match="--all"):
        reader(a).conflict(ConflictId(1, 0))
