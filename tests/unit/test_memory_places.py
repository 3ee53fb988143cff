"""Numbers for paths: they sort as the paths do, however the paths come."""

from hypothesis import given
from hypothesis import strategies as st

from agentfs.memory.places import Places

PATHS = st.lists(st.one_of(st.binary(max_size=3), st.integers(0, 40).map(b"2026/%04d".__mod__)), max_size=60)


@given(PATHS, PATHS)
def test_numbers_sort_as_paths_and_equal_paths_as_they_came(first: list[bytes], later: list[bytes]) -> None:
    places = Places()
    places.start(first)
    for path in later:
        places.add(path)
    paths = [*first, *later]
    numbers = places.of[: len(paths)].tolist()
    assert len(set(numbers)) == len(paths)
    assert sorted(range(len(paths)), key=numbers.__getitem__) == sorted(range(len(paths)), key=paths.__getitem__)


def test_there_is_room_however_many_come_between_two() -> None:
    """Ascending, descending and always in the middle: none of them runs out."""
    places = Places()
    places.start([b"a", b"z"])
    paths = [b"a", b"z", *(b"m%05d" % at for at in range(3000)), *(b"b%05d" % (3000 - at) for at in range(3000))]
    for path in paths[2:]:
        places.add(path)
    numbers = places.of[: len(paths)].tolist()
    assert sorted(range(len(paths)), key=numbers.__getitem__) == sorted(range(len(paths)), key=paths.__getitem__)
    assert min(numbers) > 0
    assert max(numbers) < 1 << 41
