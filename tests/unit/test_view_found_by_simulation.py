"""What the seeded simulation found of the view (tests/sim/viewed.py), each in its shortest form."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from retention_world import World, world_in
from view_world import PREFIX, Machine, wrong


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as world:
        yield world


def test_the_same_bytes_without_our_facts_get_them(world: World) -> None:
    """Another tool put again what stood there, without its metadata, and another machine kept the view since."""
    ann = Machine(world, "ann")
    ann.commit("a.txt")
    ann.keep()
    world.store.put(PREFIX + "a.txt", world.store.get(PREFIX + "a.txt").data)
    ann.drop()
    bob = Machine(world, "bob", view_look=20)
    bob.keep(2000)
    assert wrong(bob) == []
