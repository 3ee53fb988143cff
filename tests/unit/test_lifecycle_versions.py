"""How many versions of some files are kept: a word for the collector. It takes none that something else keeps."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from retention_world import VOLUME, World, fill, world_in

from agentfs.config.settings import load
from agentfs.errors import VersionGone
from agentfs.history.reader import HistoryReader
from agentfs.history.versions import Versions
from agentfs.log.announcements import Announcements
from agentfs.log.contents import Contents
from agentfs.log.lifecycle import LifecycleChain
from agentfs.model.lifecycle import parse_rules
from agentfs.model.retention import parse_policy
from agentfs.retention.policies import set_policy
from agentfs.volume.history import HistoryService
from agentfs.volume.retention import RetentionChore

RULES = parse_rules("""
[[lifecycle]]
glob = "scratch/**"
versions = 2
[[lifecycle]]
glob = "notes/**"
versions = 6
""")
PATHS = ("scratch/sub/a", "notes/b", "other")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def grown(world: World, versions: int = 9):  # type: ignore[no-untyped-def]
    """Three files of many versions each, long ago."""
    node = world.node("ann")
    for directory in ("scratch", "scratch/sub", "notes"):
        node.mkdir(directory)
    for path in PATHS:
        fill(node, world, versions, path=path)
    node.engine.snapshot()
    return node


def readable(world: World, path: str) -> int:
    """How many versions of a file a machine that knows nothing can read."""
    node = world.node(f"reader{len(world.nodes)}")
    service = HistoryService(node.replica, author="x")
    reader: HistoryReader = service.reader(node.engine)[0]
    versions = Versions(node.replica, node.engine.ground.log, Contents(world.store, node.engine.ground.log))
    count = 0
    for event in reader.events(tuple(path.encode().split(b"/"))):
        if event.content is not None and event.content_changed:
            try:
                count += Path(versions.file(event.content)).read_bytes().startswith(b"version ")
            except VersionGone:
                continue
    service.close()
    return count


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("4 versions", (2, 6, 4)), ("30d", (2, 6, 1)), ("30d 4 versions", (2, 6, 4)), ("all", (9, 9, 9))],
)
def test_a_rule_says_how_many_instead_of_the_policy(world: World, policy: str, kept: tuple[int, ...]) -> None:
    grown(world)
    world.days(40)
    world.collect(policy, rules=RULES)
    assert tuple(readable(world, path) for path in PATHS) == kept
    world.check()


def test_what_the_days_of_the_policy_keep_stays(world: World) -> None:
    grown(world)
    world.days(20)
    world.collect("30d 1 versions", rules=RULES)
    assert tuple(readable(world, path) for path in PATHS) == (9, 9, 9)
    world.collect("7d 1 versions", rules=RULES)
    assert tuple(readable(world, path) for path in PATHS) == (2, 6, 1)


def test_a_later_collection_by_fewer_versions_takes_the_rest(world: World) -> None:
    node = grown(world)
    world.days(40)
    world.collect("4 versions", rules=parse_rules('[[lifecycle]]\nglob = "**"\nversions = 5'))
    assert tuple(readable(world, path) for path in PATHS) == (5, 5, 5)
    fill(node, world, 1, path="other")
    node.engine.snapshot()
    world.days(40)
    world.collect("4 versions", rules=RULES)
    assert tuple(readable(world, path) for path in PATHS) == (2, 5, 4)
    world.check()


def test_engines_wait_a_day_with_new_rules(world: World) -> None:
    node = grown(world, versions=30)
    world.days(40)
    set_policy(Announcements(world.store, VOLUME), parse_policy("4 versions"), author="ann", clock=world.clock)
    text = '[[lifecycle]]\nglob = "**"\nversions = 2'
    LifecycleChain(world.store, VOLUME).set(text, author="ann", clock=world.clock)
    chore = RetentionChore(load({}, environment={"HOME": "/nowhere"}), VOLUME, author="ann", clock=world.clock)
    world.clock.now_s += 700
    for _ in range(200):
        chore(node.engine.ground)
    assert world.stubs() == []
    world.days(2)
    for _ in range(200):
        chore(node.engine.ground)
    assert world.stubs() != []
    assert readable(world, "other") == 2
