"""Ranges of bytes that are locked: against a model that knows every byte."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agentfs.fuse.lock_table import OFFSET_MAX, LockTable, Range

BYTES = 12
OWNERS = 3

_span = st.tuples(st.integers(0, BYTES - 1), st.integers(0, BYTES - 1)).map(lambda it: (min(it), max(it)))
_step = st.tuples(st.sampled_from(("shared", "exclusive", "unlock", "close")), st.integers(1, OWNERS), _span)


@settings(max_examples=300, deadline=None)
@given(st.lists(_step, max_size=40))
def test_ranges_are_what_each_byte_says(steps: list[tuple[str, int, tuple[int, int]]]) -> None:
    table = LockTable()
    model: list[dict[int, bool]] = [{} for _ in range(BYTES)]
    for what, owner, (start, end) in steps:
        span = range(start, end + 1)
        wanted = Range(owner, start, end, what == "exclusive", owner, owner)
        if what in ("shared", "exclusive"):
            blocked = any(
                other != owner and (exclusive or wanted.exclusive)
                for at in span
                for other, exclusive in model[at].items()
            )
            assert (table.conflict(wanted) is not None) == blocked
            if not blocked:
                table.put(wanted)
                for at in span:
                    model[at][owner] = wanted.exclusive
        elif what == "unlock":
            had = any(owner in model[at] for at in span)
            assert table.take(owner, start, end) == had
            for at in span:
                model[at].pop(owner, None)
        else:
            had = any(owner in one for one in model)
            assert (table.drop_owner(owner) if start % 2 else table.drop_handle(owner)) == had
            for one in model:
                one.pop(owner, None)
        seen: list[dict[int, bool]] = [{} for _ in range(BYTES)]
        for it in table.ranges:
            for at in range(it.start, it.end + 1):
                assert it.owner not in seen[at], "an owner has two locks of one byte"
                seen[at][it.owner] = it.exclusive
        assert seen == model


def test_touching_locks_are_one() -> None:
    table = LockTable()
    table.put(Range(1, 0, 4, True, 1, 1))
    table.put(Range(1, 5, 9, True, 1, 1))
    assert table.ranges == [Range(1, 0, 9, True, 1, 1)]
    table.put(Range(1, 3, 5, False, 1, 1))
    assert sorted((it.start, it.end, it.exclusive) for it in table.ranges) == [
        (0, 2, True),
        (3, 5, False),
        (6, 9, True),
    ]
    table.put(Range(1, 0, OFFSET_MAX, True, 1, 1))
    assert table.ranges == [Range(1, 0, OFFSET_MAX, True, 1, 1)]
