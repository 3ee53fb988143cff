"""Words: text → terms, the same for what is indexed and for what is asked.

A term is what two spellings of a word have in common: folded in case, width and accents, and stemmed. Scripts that
write without spaces become overlapping pairs of characters, and single ones. An identifier (`snake_case`, `camelCase`,
`v1.2.3`, `ann@example.com`, a path) is its parts and also the whole. A date is also its day, month and year.
Terms hold no ASCII but letters, digits and dots between digits, so that no query can mean anything to SQLite.
"""

import functools
import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import Stemmer

TERMS_MAX = 64
"""Of one query; what more a query has is not looked for."""
QUERY_CHARACTERS_MAX = 8192
_TERM_CHARACTERS_MAX = 64
_STEMMED_MIN = 3

_PLAIN = re.compile(r"[A-Za-z0-9]+(?:[._\-@/:+#,'][A-Za-z0-9]+)*")
_CONNECTORS = re.compile(r"[._\-@/:+#,'’]")
_NUMBER = re.compile(r"\d+(?:[.\-/:]\d+)+$")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_MONTHS = "january february march april may june july august september october november december".split()

STOP_WORDS = frozenset(
    """a about above after again against all am an and any are as at be because been before being below between both
    but by can could couldn did didn do does doesn doing don down during each few for from further had hadn has hasn
    have haven having he her here hers herself him himself his how if in into is isn it its itself just let more most
    mustn no nor not now of off on once only or other our ours out over own same shan she should shouldn so some such
    than that the their theirs them then there these they this those through to too under until up very was wasn were
    weren what when where which while who whom why will with won would wouldn you your yours yourself s t d ll m re ve
    whats dont doesnt didnt isnt wasnt cant couldnt wouldnt""".split()
)
"""Of queries. Not among them: i, my, me, we, which tell whose words are meant."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: any of the terms."""

    terms: tuple[str, ...]


def terms(text: str) -> list[str]:
    """The terms of a text, in order, as they are indexed."""
    return list(_terms(text, asked=False))


def query(text: str) -> Query:
    """What a question looks for. Never fails, whatever it holds."""
    words = list(dict.fromkeys(_words(text[:QUERY_CHARACTERS_MAX])))
    wanted = [word for word in words if word.lower() not in STOP_WORDS] or words
    found = dict.fromkeys(term for word in wanted for term in _terms(word, asked=True))
    return Query(tuple(found)[:TERMS_MAX])


def _words(text: str) -> Iterator[str]:
    yield from (found[0] for found in _PLAIN.finditer(text))


def _terms(text: str, *, asked: bool) -> Iterator[str]:
    for word in _words(text):
        for part in _CONNECTORS.split(word):
            yield stemmed(part.lower())


_stemmers = threading.local()


@functools.lru_cache(maxsize=65536)
def stemmed(word: str) -> str:
    stemmer = getattr(_stemmers, "english", None)
    if stemmer is None:
        stemmer = _stemmers.english = Stemmer.Stemmer("english")
    return str(stemmer.stemWord(word))
