"""Whether one note says what another says: by its sentences, never by a likeness alone.

A sentence is compared as its words in order, but for marks, emphasis, articles, and the capital letter that it begins
with. Whatever else differs, it is another sentence: a number, a date, a name, a `not`, and any other word too.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from agentfs.merge.lines import split_sentences

_FENCE = re.compile(r"\s*(```+|~~~+)")
_LEADING = "\"'“‘«(*_`"
_TRAILING = ".,;:!\"'”’»)*_`。，、；：！"
_MARK = re.compile(r"[#>|=\-*+_~`]+\Z")
"""A word that is nothing but a mark: of a heading, a list item, a quotation, a rule."""
_LIGHT = frozenset(("a", "an", "the"))

_TURNS = frozenset(
    """not no never none nothing nobody neither nor without cannot cant can't don't dont doesn't doesnt didn't didnt
    isn't isnt aren't arent wasn't wasnt weren't weren't won't wont wouldn't shouldn't mustn't hasn't haven't hadn't
    except unless only instead but however although formerly previously anymore longer wrong false incorrect invalid
    obsolete outdated deprecated cancelled canceled superseded replaced changed moved stopped disabled
    nicht kein keine keinen keiner keinem nie niemals ohne aber statt außer
    ne pas jamais sans sauf aucun aucune nunca jamás sin ningún ninguna não nem sem mai senza niet geen nooit
    """.split()  # noqa: SIM905 - as words
)
"""Words that turn what is said around them. A sentence with one of them is no harmless addition."""


def sentences(text: str) -> list[str]:
    """What is compared of each sentence of a text, in order. A line of fenced code is a sentence, as it is."""
    found = []
    fence = ""
    for line in unicodedata.normalize("NFC", text).splitlines():
        mark = _FENCE.match(line)
        if fence or mark:
            if mark and not fence:
                fence = mark[1]
            elif mark and mark[1].startswith(fence):
                fence = ""
            found.append(line.rstrip())
        elif line.lstrip().startswith("|"):  # a row: what stands in which column
            found.append("|".join(compared(cell) for cell in line.strip().split("|")))
        else:
            found += [key for sentence in split_sentences(line) if (key := compared(sentence))]
    return [sentence for sentence in found if sentence]


def unfenced(text: str) -> str:
    """A text without its fenced code."""
    if "```" not in text and "~~~" not in text:
        return text
    kept = []
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence):
                fence = ""
        elif mark:
            fence = mark[1]
        else:
            kept.append(line)
    return "".join(kept)


def compared(sentence: str) -> str:
    """What is compared of one sentence; "" where it says nothing."""
    words = []
    for word in sentence.split():
        if word[0].isalnum() and word[-1].isalnum():  # most words: no need to look for marks
            words.append(word)
        elif bare := "" if _MARK.match(word) else word.lstrip(_LEADING).rstrip(_TRAILING):
            words.append(bare)
    if words and words[0][1:] == words[0][1:].lower():
        words[0] = words[0].lower()
    return " ".join([word for word in words if word not in _LIGHT])


def additions(less: Sequence[str], more: Sequence[str]) -> list[str] | None:
    """The sentences that `more` has besides those of `less`; None: `more` does not say all of `less` in its order."""
    added = []
    at = 0
    for sentence in more:
        if at < len(less) and sentence == less[at]:
            at += 1
        else:
            added.append(sentence)
    return added if at == len(less) else None


def is_harmless(sentence: str) -> bool:
    """Whether adding a sentence cannot change what the others say: no number or date, no name, no word that turns
    things around. Names are words with a capital letter inside a sentence, and all words of scripts without them."""
    words = sentence.split()
    return not any(
        word.lower() in _TURNS
        or any(letter.isdigit() for letter in word)
        or (at > 0 and word[0].isupper())
        or any(letter.isalpha() and letter.lower() == letter.upper() for letter in word)
        for at, word in enumerate(words)
    )


def differing(one: Sequence[str], other: Sequence[str]) -> tuple[str, str]:
    """The words in which two texts first differ, for a person; "" where one goes on and the other does not."""
    pairs = zip(_tail(one, other), _tail(other, one), strict=False)
    first, second = next(pairs, ("", ""))
    words, others = first.split(), second.split()
    while words and others and words[0] == others[0]:
        del words[0], others[0]
    while words and others and words[-1] == others[-1]:
        del words[-1], others[-1]
    return " ".join(words), " ".join(others)


def _tail(one: Sequence[str], other: Sequence[str]) -> Iterator[str]:
    """The sentences of `one` that `other` does not have, then "" for ever after."""
    known = frozenset(other)
    yield from (sentence for sentence in one if sentence not in known)
    yield ""
