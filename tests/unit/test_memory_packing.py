"""What is packed: chosen as if offers were looked at one by one, though texts are read only where they may fit."""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfs.memory.doubles import Doubles, gist
from agentfs.memory.packing import FLOOR, Given, Offer, Piece, _Choice, packed
from agentfs.memory.ranking import Ranking
from agentfs.memory.results import Found
from agentfs.memory.tokens import TokenCounter, default_counter
from agentfs.memory.weighing import Documents, Passages, Weighed

COUNTER = default_counter()
TEXTS = (
    "The heron nests by the mill.",
    "the heron  nests by the mill.",
    "We met in room 41 on the day before the long rain, all of us but Ann, and spoke of the bridge. " * 3,
    "We met in room 42 on the day before the long rain, all of us but Ann, and spoke of the bridge. " * 3,
    "A short one",
    "Ten sacks of oats, a rope, two lamps and the blue tarpaulin are still in the barn behind the inn. " * 6,
    "茶を飲む。",
)
pieces = st.lists(
    st.tuples(
        st.sampled_from(TEXTS), st.integers(0, 5), st.integers(1, 200), st.sampled_from((0.0, 0.05, 0.3, 0.6, 1.0))
    ),
    max_size=14,
)


def offered(of: Iterable[tuple[str, int, int, float]]) -> list[Found]:
    return [
        Found(f"notes/{file}.md", line, line, text, 0, score, {}, tokens=COUNTER.count(text))
        for text, file, line, score in of
    ]


class Counted(Given):
    """Remembers what was read, and offers `many` at a time."""

    def __init__(self, found: Iterable[Found], many: int) -> None:
        super().__init__(found)
        self.many = many
        self.read_of: list[int] = []

    def listed(self) -> Iterable[Sequence[Offer]]:
        (everything,) = super().listed()
        for start in range(0, len(everything), self.many):
            yield everything[start : start + self.many]

    def read(self, some: Sequence[int]) -> Sequence[Piece | None]:
        self.read_of += some
        return super().read(some)


def one_by_one(offers: Given, max_tokens: int) -> list[int] | None:
    """What is chosen first, by the rule as it is written. None: nothing fits with half a gap and a line end."""
    texts, headers, chosen = Doubles(), dict[Hashable, int](), list[tuple[Hashable, int]]()
    spent = left = 0
    (listed,) = Given.listed(offers)
    for score, tokens, file, at in listed:
        if score <= 0 or score < listed[0][0] * (FLOOR if chosen else 0.5) or left >= 30:
            break
        header = 0
        if max_tokens - spent >= 12:
            header = headers.setdefault(file, offers.header(at, COUNTER) + 4)
        cost = tokens + 1 + (0 if file in [it for it, _ in chosen] else header)
        if max_tokens - spent < 12 or cost > max_tokens - spent:
            if not chosen:
                return None
            left += 1
            continue
        (piece,) = Given.read(offers, [at])
        assert piece is not None
        if not texts.have(piece.found.text, gist(piece.found.text)):
            spent += cost
            chosen.append((file, at))
    return [at for _, at in chosen]


@settings(max_examples=80, deadline=None)
@given(pieces, st.integers(0, 600), st.integers(1, 20))
def test_texts_are_read_once_and_only_where_they_fit(
    of: list[tuple[str, int, int, float]], max_tokens: int, many: int
) -> None:
    found = offered(of)
    offers = Counted(found, many)
    got = packed(offers, max_tokens=max_tokens, counter=COUNTER, scanned=0)
    assert got == packed(Given(found), max_tokens=max_tokens, counter=COUNTER, scanned=0)
    assert got.tokens == COUNTER.count(got.text) <= max_tokens
    assert len(offers.read_of) == len(set(offers.read_of))
    (listed,) = Given.listed(offers)
    tokens = {at: tokens for _, tokens, _, at in listed}
    best = listed[0][3] if listed else None
    assert all(tokens[at] < max_tokens for at in offers.read_of if at != best)


@settings(max_examples=80, deadline=None)
@given(pieces, st.integers(0, 600), st.integers(1, 20))
def test_chosen_as_if_each_was_looked_at_by_itself(
    of: list[tuple[str, int, int, float]], max_tokens: int, many: int
) -> None:
    offers = Counted(offered(of), many)
    choice = _Choice(offers, max_tokens, COUNTER)
    choice.fill(offers.listed())
    expected = one_by_one(offers, max_tokens)
    assert expected is None or [it.at for it in choice.chosen] == expected


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from((0.0, 0.1, 0.1, 0.5, 0.7)), max_size=60), st.lists(st.integers(0, 70), max_size=5))
def test_candidates_are_sorted_as_far_as_one_looks(scores: list[float], looks: list[int]) -> None:
    weighed = Weighed(np.zeros(len(scores), np.int64), Passages(), Documents())
    ranking = Ranking(weighed, np.array(scores), {})
    whole = sorted(range(len(scores)), key=lambda at: (-scores[at], at))
    for many in looks:
        assert ranking.first(many).tolist() == whole[:many]


def test_what_has_no_room_for_its_text_needs_no_header() -> None:
    asked_for = []

    class Remembered(Given):
        def header(self, at: int, counter: TokenCounter) -> int:
            asked_for.append(at)
            return super().header(at, counter)

    short = [(f"{number} {TEXTS[0]}", number, 1, 1.0 - number / 100) for number in range(3)]
    long = [(f"{number} {TEXTS[5]}", number, 1, 0.9 - number / 100) for number in range(3, 20)]
    got = packed(Remembered(offered([*short, *long])), max_tokens=100, counter=COUNTER, scanned=0)
    assert [it.path for it in got.found] == ["notes/0.md", "notes/1.md", "notes/2.md"]
    assert asked_for == [0, 1, 2]
