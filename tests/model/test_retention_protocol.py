"""Collecting beside writers, clones, pins, other collectors, late puts and late deletes: whatever is kept can be read
at every moment. And the proof that the model can see: each broken variant must be caught.
"""

import os
import random
from collections.abc import Callable, Generator, Iterator

import pytest
from collecting_world import World, Writer

from agentfs.errors import Exists
from agentfs.format import layout
from agentfs.format.collection import encode_announcement
from agentfs.format.pin import Pin, encode_pin
from agentfs.log.announcements import Announcements, put_once
from agentfs.log.pins import Pins
from agentfs.model.records import ChunkedContent
from agentfs.retention.collector import Collector
from agentfs.retention.packing import Packing
from agentfs.retention.survey import Survey

SEEDS = int(os.environ.get("RETENTION_SEEDS", "24"))
"""Walks of the right protocol; a hunt takes more (`make retention`)."""
SEEDS_MAX = 3000
STEPS = 250


def walk(world: World, steps: int = STEPS) -> None:
    for number in range(steps):
        world.step()
        if number % 4 == 0:
            world.check()
    world.check()
    world.settle()


@pytest.mark.parametrize("part", range(4))
def test_what_is_kept_can_be_read_at_every_moment(part: int) -> None:
    for seed in range(part * SEEDS // 4, (part + 1) * SEEDS // 4):
        walk(World(random.Random(seed)))


# ---- broken collectors, writers and pins ----------------------------------------------------------------------


class NoBarrier(Collector):
    """Chunks go without an entry in the log that tells everybody."""

    def _barrier(self, survey: Survey) -> Generator[None, None, bool]:
        yield
        return True


class LooksAway(Collector):
    """What came before the barrier, and after the first look, is not read."""

    def _barrier(self, survey: Survey) -> Generator[None, None, bool]:
        chunks = set(survey.kept.chunks)
        fenced = yield from super()._barrier(survey)
        survey.kept.chunks = chunks
        return fenced

    def _mark_again(self, survey: Survey, packing: Packing) -> Generator[None, None, set[int]]:
        chunks = set(survey.kept.chunks)
        pinned = yield from super()._mark_again(survey, packing)
        survey.kept.chunks = chunks
        return pinned


class OldPins(Collector):
    """The pins are those that were seen before the announcement."""

    seen: set[int]

    def _pack(self, survey: Survey, packing: Packing, wanted: set[bytes]) -> Iterator[None]:
        self.seen = {it.sequence for it in Pins(self._store, survey.log.volume).list()}
        yield from super()._pack(survey, packing, wanted)

    def _mark_again(self, survey: Survey, packing: Packing) -> Generator[None, None, set[int]]:
        yield from survey.read_on()
        return self.seen


class PacksNothing(Collector):
    """Commits go with all that is in them."""

    def _pack(self, survey: Survey, packing: Packing, wanted: set[bytes]) -> Iterator[None]:
        survey.packed |= wanted
        yield


class OverwritesAnnouncements(Collector):
    """Numbers are not won: the later put replaces the earlier."""

    def _announce(self, survey: Survey) -> bool:
        store, announcements = self._store, self._announcements

        class Overwriting(Announcements):
            def put(self, announcement):  # type: ignore[no-untyped-def]
                name = layout.announcement_name(self.prefix, announcement.number)
                store.put(name, encode_announcement(announcement))
                return True

        self._announcements = Overwriting(store, announcements.volume)
        try:
            return super()._announce(survey)
        finally:
            self._announcements = announcements


class AnnouncesNoChunks(Collector):
    """Chunks go, and nobody was told their names."""

    def _announce(self, survey: Survey) -> bool:
        going, survey.name_chunks = survey.name_chunks, set()
        done = super()._announce(survey)
        survey.announced.blobs |= going
        return done


class PlainNames(Writer):
    """A chunk is always put under its digest."""

    def put_chunk(self, data: bytes, head: int) -> ChunkedContent:
        content = super().put_chunk(data, head)
        name = layout.blob_name(layout.prefix_of("home-model"), content.digest)
        if name not in self.world.store.objects:
            self.world.store.put(name, data)
        for other in [it for it in self.world.store.objects if it.startswith(name + "-")]:
            del self.world.store.objects[other]
        return content


class UnlookedPins(Pins):
    """Does not look at announcements after its put."""

    def put(self, pin: Pin) -> Pin:
        name = layout.pin_name(self.prefix, pin.kind, pin.name)
        if not put_once(self._store, name, encode_pin(pin)):
            raise Exists(name)
        return pin


def world_with(**parts: object) -> Callable[[random.Random], World]:
    return type("BrokenWorld", (World,), parts)


BROKEN = {
    "no barrier": (30, world_with(collector_class=NoBarrier)),
    "looks away": (332, world_with(collector_class=LooksAway)),
    "old pins": (118, world_with(collector_class=OldPins)),
    "packs nothing": (0, world_with(collector_class=PacksNothing)),
    "overwrites announcements": (84, world_with(collector_class=OverwritesAnnouncements)),
    "announces no chunks": (85, world_with(collector_class=AnnouncesNoChunks)),
    "plain names": (85, world_with(writer_class=PlainNames)),
    "unlooked pins": (20, world_with(pins_class=UnlookedPins)),
}
"""With the walk to begin with: the rarest case needs some hundred walks, and a test should not."""


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_variant_is_caught(broken: str) -> None:
    first, world = BROKEN[broken]
    with pytest.raises(AssertionError, match=r"cannot be read|is gone|other bytes"):
        for seed in range(first, first + SEEDS_MAX):
            walk(world(random.Random(seed)))
