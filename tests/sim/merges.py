"""Every merge that the engines of a world make, judged where it is made: no new line is lost, none that both had from
their base comes out twice."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from oracle import Broken, Oracle
from texts import is_text, kind_of, tokens, units

from agentfs.merge.contents import Merged, merge_contents
from agentfs.sync import converge
from agentfs.view import importing


@contextmanager
def judged(oracle: Oracle) -> Iterator[None]:
    """Within, the engines' merges are judged."""

    def merge(name: bytes, base: bytes | None, earlier: bytes, later: bytes, **settings: bool) -> Merged | None:
        merged = merge_contents(name, base, earlier, later, **settings)
        _judge(oracle, name, base, earlier, later, merged)
        return merged

    converge.merge_contents = importing.merge_contents = merge
    try:
        yield
    finally:
        converge.merge_contents = importing.merge_contents = merge_contents


def _judge(
    oracle: Oracle, name: bytes, base: bytes | None, earlier: bytes, later: bytes, merged: Merged | None
) -> None:
    kind = kind_of(name.decode())
    plain = not any(b"\0" in side for side in (base or b"", earlier, later))
    if kind == "binary" or not plain:
        return
    oracle.counts["merges of text"] += 1
    if merged is None:
        oracle.counts[f"merges of text: refused ({kind})"] += 1
        return
    if merged.clashes:
        oracle.counts["merges of text: with clashes"] += 1
    if kind == "json":  # merged by key: its lines are the merge's, and may get a name (a backup's) of plain lines
        oracle.written.update(units(merged.data))
        return
    place = f"merge of {name.decode()}: base {base!r}, log {earlier!r}, ours {later!r}: {merged.data!r}"
    lost = (tokens(earlier) | tokens(later)) - tokens(base or b"") - tokens(merged.data)
    if lost and is_text(kind):
        raise Broken(f"lost {lost} in a {place}")
    known, one, other = (Counter(units(side)) for side in (base or b"", earlier, later))
    found = Counter(units(merged.data))
    twice = [unit for unit, times in found.items() if times > max(1, one[unit], other[unit])]
    # Each side may have brought a further copy as new. What is more than all of these is the base's, doubled.
    doubled = [it for it in twice if known[it] and found[it] > one[it] + other[it] - known[it]]
    if any(not tokens(unit) & oracle.moved for unit in doubled):
        raise Broken(f"twice {twice} in a {place}")
    if twice:
        moved = bool(doubled)
        oracle.counts[f"merges of text: twice a line that {'was moved' if moved else 'two brought as new'}"] += 1
        oracle.copied.update(token for unit in twice for token in tokens(unit))
