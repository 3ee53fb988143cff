"""Which texts of an answer say the same. Pure."""

import math
import re
from dataclasses import dataclass

_ALIKE = 0.9
"""Texts that share so much of their words are one."""
_WORDS_MIN = 5
_BITS = 256
_BIT = [1 << at for at in range(_BITS)]
_NUMBER = re.compile(r"\d")


@dataclass(slots=True)
class Gist:
    """What of a text is compared first: most texts differ in it."""

    whole: int
    """Equal for texts that are equal but for case and spaces."""
    size: int
    """Distinct words."""
    bits: int
    """One for each word, some the same: texts differ in at least as many words as in these."""


def gist(text: str) -> Gist:
    words = text.casefold().split()
    bits = 0
    distinct = set(words)
    for word in distinct:
        bits |= _BIT[hash(word) % _BITS]
    return Gist(hash(" ".join(words)), len(distinct), bits)


class Doubles:
    """Texts, to tell what says nearly the same as one of them: the same words but for a tenth, and the same
    numbers."""

    def __init__(self) -> None:
        self._wholes: dict[int, list[str]] = {}
        self._sizes: dict[int, list[tuple[Gist, str]]] = {}
        """By how many words they have."""

    def have(self, text: str, known: Gist) -> bool:
        """Whether something like it is there; else it is now. `known`: the text's gist."""
        equals = self._wholes.setdefault(known.whole, [])
        if equals and any(_plain(it) == _plain(text) for it in equals):
            return True
        equals.append(text)
        if known.size >= _WORDS_MIN:
            for size in range(math.ceil(_ALIKE * known.size), math.floor(known.size / _ALIKE) + 1):
                for other, its_text in self._sizes.get(size, ()):
                    # They share at most the mean of their sizes less half of what differs.
                    differ = (known.bits ^ other.bits).bit_count()
                    same = (known.size + size - differ) / 2
                    if same >= _ALIKE * (known.size + size - same) and _are_alike(text, its_text):
                        return True
            self._sizes.setdefault(known.size, []).append((known, text))
        return False


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _are_alike(text: str, other_text: str) -> bool:
    one, other = frozenset(text.casefold().split()), frozenset(other_text.casefold().split())
    same = len(one & other)
    return same >= _ALIKE * (len(one) + len(other) - same) and not any(map(_NUMBER.search, one ^ other))
