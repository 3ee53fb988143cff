"""Snippets: the slice of a passage around what a question asked for."""

import functools
from collections.abc import Iterator
from dataclasses import replace

from agentfs.memory.results import Found
from agentfs.memory.tokens import TokenCounter
from agentfs.memory.words import terms

CHARACTERS = 240
_KEPT_CHARACTERS = 64
"""Of a word whose terms are remembered."""


def snippet(found: Found, wanted: frozenset[str], counter: TokenCounter) -> Found:
    """At most 240 characters of it, verbatim, where most of the wanted terms stand; cut between words."""
    text = found.text
    if len(text) <= CHARACTERS:
        return found
    spots = list(_spots(text, wanted))
    best, most = 0, 0
    for at, spot in enumerate(spots):
        inside = sum(1 for it in spots[at:] if it < spot + CHARACTERS * 3 // 4)
        if inside > most:
            best, most = spot, inside
    start = min(max(best - CHARACTERS // 4, 0), len(text) - CHARACTERS)
    end = start + CHARACTERS
    if start and (space := text.find(" ", start, start + CHARACTERS // 4)) >= 0 and space < best:
        start = space + 1
    if end < len(text) and (space := text.rfind(" ", end - CHARACTERS // 4, end)) > best:
        end = space
    first = found.first_line + text.count("\n", 0, start)
    cut = text[start:end]
    return replace(found, first_line=first, last_line=first + cut.count("\n"), text=cut, tokens=counter.count(cut))


def _spots(text: str, wanted: frozenset[str]) -> Iterator[int]:
    """Where the words begin that have a wanted term."""
    at = 0
    for word in text.split():
        at = text.index(word, at)
        if not wanted.isdisjoint(_kept(word) if len(word) <= _KEPT_CHARACTERS else terms(word)):
            yield at
        at += len(word)


@functools.lru_cache(1 << 14)
def _kept(word: str) -> tuple[str, ...]:
    return tuple(terms(word))
