"""Who waits beside the keeper of a view: when it takes over, and what waiting costs (docs/view.md, V-61, V-62)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from outside_world import get, put
from retention_world import World, world_in
from view_world import Machine, wrong

from agentfs.errors import StoreUnavailable
from agentfs.replica import backing
from agentfs.stores.counted import CountedStore
from agentfs.stores.protocol import Store
from agentfs.view.mark import MarkFile
from agentfs.volume.view_words import VIEW_ACCEPT, VIEW_LOOK, VIEW_STATUS

HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def few_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def keeper(world: World) -> str:
    mark, _ = MarkFile(world.store, "space-sim").read()
    return "" if mark is None else mark.author


def test_a_keeper_that_dies_when_all_is_written_is_missed(world: World) -> None:
    """Nobody commits any more: what an outsider changes is taken in all the same."""
    ann, bob = Machine(world, "ann", view_look=300.0), Machine(world, "bob", view_look=300.0)
    ann.commit("plan.md", data=b"one\n")
    ann.keep(90)
    bob.node.sync()
    bob.keep(5)
    ann.drop()
    put(world, "plan.md", (get(world, "plan.md") or b"").replace(b"one", b"two"))
    assert bob.spent(lambda: bob.keep(1480)).requests == 2  # every ten minutes one look at the mark
    assert keeper(world) == "ann"
    bob.keep(400)
    assert keeper(world) == "bob"
    assert (bob.node.read("plan.md"), wrong(bob)) == (b"two\n", [])


def test_a_keeper_with_nothing_to_do_is_left_in_its_place(world: World) -> None:
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit("plan.md")
    ann.keep(90)
    bob.node.sync()
    bob.keep(5)
    ann_before, bob_before = ann.store.counts, bob.store.counts
    for _ in range(120):
        ann.keep(60)
        bob.keep(0.5)
    ann_cost, bob_cost = ann.store.counts - ann_before, bob.store.counts - bob_before
    assert keeper(world) == "ann" and not bob.view.keeping
    assert (ann_cost.puts, ann_cost.requests) == (12, 12)  # a sign of life every ten minutes, for two hours
    assert (bob_cost.gets, bob_cost.requests) == (12, 12)
    assert ann.ask(VIEW_STATUS)["marks_per_day"] == 144


def test_a_lazy_keeper_has_five_minutes_more(world: World) -> None:
    """What it does not write for five minutes is no sign that it is gone."""
    ann, bob = Machine(world, "ann", view="lazy"), Machine(world, "bob", view="lazy")
    ann.commit("a.md")
    ann.keep(400)
    bob.node.sync()
    bob.keep(30)
    ann.drop()
    bob.commit("b.md")
    bob.keep(400)  # a look at once, as the last is long ago
    assert keeper(world) == "ann"
    bob.keep(200)
    assert keeper(world) == "bob"


class Fading:
    """A store that does not answer while it is `away`."""

    def __init__(self, inner: Store, *, away: bool = False) -> None:
        self._inner = inner
        self.away = away

    def __getattr__(self, name: str) -> Any:
        if self.away and name not in ("url", "name_bytes_max"):
            raise StoreUnavailable("it does not answer")
        return getattr(self._inner, name)


@pytest.mark.parametrize("keeps", [True, False])
def test_who_asks_about_a_store_that_is_away_does_not_wait_for_all_retries(world: World, keeps: bool) -> None:
    """The engine's own store, which repeats a request for half a minute, is asked nothing; what the engine knows is
    said without any request."""
    store = Fading(world.store)
    ann = Machine(world, "ann", store=cast(Store, store))
    hurried = CountedStore(cast(Store, store))
    ann.view._hurried = hurried
    ann.commit("a.md")
    if keeps:
        ann.keep()
    assert ann.ask(VIEW_STATUS)["problem"] == ""
    store.away = True
    before, asked = ann.store.counts, hurried.counts
    assert ann.ask(VIEW_STATUS)["problem"] == "it does not answer"
    for word in (VIEW_LOOK, VIEW_ACCEPT):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            ann.ask(word)
    assert ((ann.store.counts - before).requests, (hurried.counts - asked).requests) == (0, 3)
    world.clock.now_s += 600
    ann.node.engine.tick()  # now it knows
    before, asked = ann.store.counts, hurried.counts
    assert ann.ask(VIEW_STATUS)["problem"] == "it does not answer"
    assert ((ann.store.counts - before).requests, (hurried.counts - asked).requests) == (0, 0)
    store.away = False
    assert ann.ask(VIEW_LOOK)["imported"] == []


def test_a_home_without_a_commit_asks_for_no_mark(world: World) -> None:
    ann = Machine(world, "ann", view_look=300.0)
    assert ann.spent(lambda: ann.keep(HOUR_S)).requests == 0
    ann.commit("a.md")
    ann.keep()
    assert wrong(ann) == []


def test_an_old_file_that_got_the_name_of_a_newer_one_is_shown(world: World) -> None:
    """Whose content is older says nothing of who has the name."""
    ann = Machine(world, "ann")
    ann.commit("old.md", data=b"old\n")
    ann.commit("new.md", data=b"new\n")
    ann.keep()
    ann.drop()
    bob = Machine(world, "bob")
    keeper = bob.view._opened(bob.node.engine)
    keeper.look()
    assert keeper.take_over(())
    bob.node.rename("old.md", "new.md")
    bob.node.sync()
    bob.keep(90)
    assert wrong(bob) == []


def test_a_keeper_that_is_long_at_it_is_left_at_it(world: World) -> None:
    """A new view of many files: `through` does not grow before all are written."""
    ann, bob = Machine(world, "ann"), Machine(world, "bob")
    ann.commit(*(f"{number}.txt" for number in range(8)))
    bob.node.engine.pull_now()
    keeper = ann.view._opened(ann.node.engine)
    keeper.look()
    assert keeper.take_over(())
    rounds = 0
    while keeper.due.through < keeper.due.seen:
        keeper.work(age_s=0.0, limit=1)
        world.clock.now_s += 61
        keeper.tell()
        bob.step()
        rounds += 1
        assert keeper._is_still_ours() and not bob.view.keeping
    assert rounds == 8
