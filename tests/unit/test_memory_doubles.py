"""What says the same comes once: the quick comparison answers as the definition does."""

import re

from hypothesis import given
from hypothesis import strategies as st

from agentfs.memory.doubles import Doubles, gist

WORDS = st.sampled_from([*"abcdefghijkl", "The", "the", "5432", "6543", "ß", "ss"])
TEXTS = st.lists(st.lists(WORDS, max_size=24).map(" ".join), max_size=8)


def plainly(texts: list[str]) -> list[bool]:
    """Which of them are doubles of one before."""
    wholes: set[str] = set()
    sets: list[frozenset[str]] = []
    found = []
    for text in texts:
        words = text.casefold().split()
        known, mine = " ".join(words) in wholes, frozenset(words)
        wholes.add(" ".join(words))
        if not known and len(mine) >= 5:
            known = any(
                len(mine & other) >= 0.9 * len(mine | other) and not re.search(r"\d", " ".join(mine ^ other))
                for other in sets
                if len(other) >= 5
            )
            if not known:
                sets.append(mine)
        found.append(known)
    return found


@given(TEXTS, TEXTS)
def test_doubles_are_those_of_the_definition(some: list[str], more: list[str]) -> None:
    texts = [*some, *(f"{text} m n o p q r s t {text}" for text in some), *more, *some]
    seen = Doubles()
    assert [seen.have(text, gist(text)) for text in texts] == plainly(texts)
