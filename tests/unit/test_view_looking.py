"""What a listing shows that was not known, and what is believed of it (docs/view.md, V-80, V-84)."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agentfs.stores.protocol import Entry
from agentfs.view.looking import VIEW_BYTES_MAX, Patience, is_too_much, listings_per_day, looked
from agentfs.view.naming import place_of
from agentfs.view.shown import Shown

names = st.text("abc/é", min_size=1, max_size=6)
tags = st.sampled_from(["", "1", "2"])
worlds = st.dictionaries(names, st.tuples(st.integers(0, 2), st.sampled_from([1.0, 2.0]), tags), max_size=12)


def path_of(name: str) -> bytes | None:
    place = place_of(f"agents/ada/{name}")
    return place[2] if place is not None else None


def row(name: str, size: int, modified: float, tag: str) -> Shown:
    return Shown(
        name=name, file=1, sequence=1, digest=b"", etag=tag, size_bytes=size, version=None, modified_at=modified
    )


@given(worlds, worlds)
def test_every_object_is_known_differs_is_gone_or_is_left_alone(
    there: dict[str, tuple[int, float, str]], known: dict[str, tuple[int, float, str]]
) -> None:
    rows = [row(name, *it) for name, it in known.items()]
    found = looked([Entry(name, *it) for name, it in there.items()], rows, path_of)
    differs = {it.name for it in found.differs}
    assert {it.name for it in found.gone} == known.keys() - there.keys()
    assert not differs & found.left.keys()
    for name, (size, modified, tag) in there.items():
        has_tags = name in known and tag and known[name][2]
        same = name in known and (tag == known[name][2] if has_tags else (size, modified) == known[name][:2])
        assert (name in differs or name in found.left) is not same
        assert (name in found.left) is (not same and path_of(name) is None)
    assert found.objects == len(there)


def test_large_objects_are_left_alone() -> None:
    found = looked(
        [Entry("a.bin", VIEW_BYTES_MAX + 1, 1.0, "x"), Entry("b.bin", VIEW_BYTES_MAX, 1.0, "x")], [], path_of
    )
    assert set(found.left) == {"a.bin"}
    assert [it.name for it in found.differs] == ["b.bin"]


def test_a_fresh_object_is_given_time() -> None:
    patience = Patience()
    young, old = Entry("a.md", 1, 99.0, "x"), Entry("b.md", 1, 90.0, "y")
    assert patience.settled(old, wall_s=100.0, now_s=0.0)
    assert not patience.settled(young, wall_s=100.0, now_s=0.0)
    assert not patience.settled(replace(young, tag="z"), wall_s=100.5, now_s=1.9), "it was written again"
    assert patience.settled(young, wall_s=0.0, now_s=2.0), "the store's clock is ahead of ours"
    patience.keep([])
    assert not patience.settled(young, wall_s=0.0, now_s=3.0)


def test_what_is_gone_is_believed_when_it_is_still_gone() -> None:
    patience = Patience()
    assert not patience.confirmed("a.md", "gone", now_s=10.0)
    assert not patience.confirmed("a.md", "gone", now_s=14.0)
    assert patience.confirmed("a.md", "gone", now_s=15.0)
    patience.keep([("b.md", "gone")])
    assert not patience.confirmed("a.md", "gone", now_s=16.0)


def test_the_brake() -> None:
    assert not is_too_much(2, 2)
    assert is_too_much(3, 3)
    assert not is_too_much(10, 11)
    assert is_too_much(11, 11)
    assert not is_too_much(11, 110)
    assert is_too_much(11, 109)


def test_what_looking_costs() -> None:
    assert listings_per_day(0, 300) == listings_per_day(1000, 300) == 288
    assert listings_per_day(1001, 300) == 576
    assert listings_per_day(5, 0) == 0
