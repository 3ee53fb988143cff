"""The engine's part: it cleans up in quiet moments where a policy asks for it, and asks the store for little else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from retention_world import VOLUME, World, fill, world_in

from agentfs.config.settings import Settings, load
from agentfs.errors import StoreUnavailable
from agentfs.log.announcements import Announcements
from agentfs.model.retention import KEEP_ALL, Policy, parse_policy
from agentfs.retention.policies import agreed_policy, policy_of, set_policy
from agentfs.volume.retention import RetentionChore


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def settings(retention: str | None = None) -> Settings:
    return load({} if retention is None else {"retention": retention}, environment={"HOME": "/nowhere"})


def chore_of(world: World, retention: str | None = None) -> RetentionChore:
    return RetentionChore(settings(retention), VOLUME, author="ann", clock=world.clock)


def old_volume(world: World):  # type: ignore[no-untyped-def]
    a = world.node("ann")
    fill(a, world, 80)
    a.engine.snapshot()
    world.days(40)
    return a


def test_without_a_policy_it_asks_once_a_day(world: World) -> None:
    a = old_volume(world)
    chore = chore_of(world)
    before = a.engine.ground.store.counts
    for _ in range(59):  # ten minutes
        chore(a.engine.ground)
        world.clock.now_s += 10
    assert (a.engine.ground.store.counts - before).requests == 0
    for _ in range(3 * 8640):  # three days
        chore(a.engine.ground)
        world.clock.now_s += 10
    assert (a.engine.ground.store.counts - before).requests == 3
    assert world.stubs() == []


def test_with_a_policy_it_cleans_up(world: World) -> None:
    a = old_volume(world)
    chore = chore_of(world, "30d")
    world.clock.now_s += 600
    for _ in range(100):
        chore(a.engine.ground)
    assert world.stubs() == list(range(1, 81))
    assert policy_of(Announcements(world.store, VOLUME))[0] == parse_policy("30d")
    world.check()
    before = a.engine.ground.store.counts
    world.clock.now_s += 86_400
    for _ in range(100):
        chore(a.engine.ground)
    assert (a.engine.ground.store.counts - before).requests < 30  # it looks, and finds that nothing pays


def test_a_few_commits_are_not_worth_it(world: World) -> None:
    a = world.node("ann")
    fill(a, world, 10)
    a.engine.snapshot()
    world.days(40)
    chore = chore_of(world, "30d")
    world.clock.now_s += 600
    for _ in range(100):
        chore(a.engine.ground)
    assert world.stubs() == []


def test_a_store_that_fails_is_told_and_tried_again_the_next_day(world: World) -> None:
    a = old_volume(world)
    chore = chore_of(world, "30d")
    world.clock.now_s += 600
    chore(a.engine.ground)

    def fails(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    inner = a.engine.ground.store._store  # type: ignore[attr-defined]
    a.engine.ground.store._store = type("Away", (), dict.fromkeys(("get", "put", "list", "delete"), fails))()  # type: ignore[attr-defined]
    chore._run = None
    world.clock.now_s += 86_400
    with pytest.raises(StoreUnavailable):
        chore(a.engine.ground)
    a.engine.ground.store._store = inner  # type: ignore[attr-defined]
    world.clock.now_s += 86_400
    for _ in range(100):
        chore(a.engine.ground)
    assert world.stubs() == list(range(1, 81))


# ---- whose wish counts ------------------------------------------------------------------------------------------


def test_a_wish_becomes_the_policy_where_there_is_none_and_widens_one_that_is(world: World) -> None:
    chain, clock = Announcements(world.store, VOLUME), world.clock

    def agreed(wish: str | None) -> str:
        return agreed_policy(chain, parse_policy(wish) if wish else None, author="ann", clock=clock).text

    assert agreed(None) == "all" and agreed("all") == "all" and chain.policy() is None
    assert agreed("30d") == "30d" and agreed(None) == "30d"
    assert agreed("5 versions") == "30d 5 versions"
    assert agreed("1d") == "30d 5 versions"
    assert agreed("all") == "all" and agreed("30d") == "all"
    set_policy(chain, Policy(False, 7), author="ann", clock=clock)  # the command may narrow it
    assert agreed(None) == "7d"
    assert policy_of(chain)[0] != KEEP_ALL


def test_a_wide_policy_keeps_what_a_narrow_one_has_left(world: World) -> None:
    a = old_volume(world)
    assert world.collect("2 versions").versions == 2
    fill(a, world, 3)
    a.engine.snapshot()
    world.days(40)
    stands = world.packs()
    world.collect("all")
    assert world.packs() == stands
    assert world.collect("10 versions").versions == 5
    world.check()
