"""What a question says besides its words: when, and whom it is about."""

import functools
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from agentfs.memory.moments import DAY_NS, moment_in
from agentfs.memory.words import STOP_WORDS, terms

_CHARACTERS_MAX = 8192
_NS = 1_000_000_000
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTH = re.compile(
    rf"\b(?:(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? )?({'|'.join(_MONTHS)})\b(?:,? ((?:19|20)\d\d)\b)?", re.I
)
_YEAR = re.compile(r"\b(?:in|of|during|since) ((?:19|20)\d\d)\b", re.I)
_AGO = re.compile(r"\b(\d{1,3}|a|an|one|two|three|four|five|six) (day|week|month|year)s? ago\b", re.I)
_LAST = re.compile(r"\b(last|this|past) (week|month|year)\b", re.I)
_DAYS = {"today": 0, "yesterday": 1, "heute": 0, "gestern": 1, "今天": 0, "昨天": 1, "今日": 0, "昨日": 1}
_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_HINTS = (*_MONTHS, *(it for it in _DAYS if it.isascii()), "ago", "last", "this", "past")
_DIGIT = re.compile(r"\d")
_LENGTHS = {"day": 1, "week": 7, "month": 30, "year": 365}
_FIRST_PERSON = re.compile(r"\b(i|my|me|mine|i'm|i've|ich|mein\w*|mir|mich)\b|我|私|僕", re.I)
_ADDRESSED = re.compile(
    r"""\b(?:did|have|had)[ ]you\b | \bhast[ ]du\b | \bdu[ ](?:mir|hast)\b | \bhaben[ ]sie\b
    | \byou(?:['’](?:ve|d))?[ ](?:(?:have|had|once|previously|already|also|just|earlier|then|even|first|last)[ ]){0,3}
      (?:recommended|suggested|told|said|mentioned|gave|given|taught|shared|advised|proposed|explained|described|listed
        |showed|shown|provided|wrote|written|made|sent|came[ ]up|called|named)\b
    | \byour[ ](?:advice|suggestions?|recommendations?|answers?|reply|replies|explanations?|tips)\b
    | 你.{0,6}(?:推荐|告诉|建议|分享|教|说过|给我|提到) """,
    re.VERBOSE,
)
_YOU = ("you", "du ", "haben sie", "你")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


@dataclass(frozen=True, slots=True)
class When:
    """Days that a question speaks of. Without a year: that month, or that day of it, of any year."""

    first_ns: int = 0
    until_ns: int = 0
    month: int = 0
    day: int = 0

    def which(self, dates_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Of many dates, which it holds."""
        if self.until_ns:
            return (dates_ns >= self.first_ns) & (dates_ns < self.until_ns)
        return np.array([self.holds(it) for it in dates_ns.tolist()], np.bool_)

    def holds(self, date_ns: int) -> bool:
        if self.until_ns:
            return self.first_ns <= date_ns < self.until_ns
        date = datetime.fromtimestamp(date_ns / _NS, UTC)
        return date.month == self.month and self.day in (0, date.day)


def when(query: str, now_ns: int) -> When | None:
    """The first time that a question names: a date, a month, a year, `yesterday`, `two weeks ago`, `last month`."""
    query = query[:_CHARACTERS_MAX]
    if query.isascii() and not _DIGIT.search(query):
        lowered = query.lower()
        if not any(it in lowered for it in _HINTS):
            return None  # most questions: it spares them the searches that follow
    said = moment_in(query)
    if said is not None:
        start = said.ns - said.ns % DAY_NS
        return When(start, start + DAY_NS)
    if (found := _MONTH.search(query)) is not None and (
        found[2].lower() != "may" or found[1] or found[3] or "May" in found[0]
    ):
        return _month(_MONTHS.index(found[2].lower()) + 1, int(found[3] or 0), int(found[1] or 0))
    if (found := _YEAR.search(query)) is not None:
        return When(_start(int(found[1]), 1), _start(int(found[1]) + 1, 1))
    today = now_ns - now_ns % DAY_NS
    for word, days in _DAYS.items():
        if re.search(rf"\b{word}\b" if word.isascii() else word, query, re.I):
            return When(today - days * DAY_NS, today - (days - 1) * DAY_NS)
    if (found := _AGO.search(query)) is not None:
        unit = _LENGTHS[found[2].lower()]
        back = (int(found[1]) if found[1].isdigit() else _NUMBERS[found[1].lower()]) * unit
        slack = max(unit // 2, 0 if unit == 1 else 3)
        return When(today - (back + slack) * DAY_NS, today - (back - slack - 1) * DAY_NS)
    if (found := _LAST.search(query)) is not None:
        unit = _LENGTHS[found[2].lower()]
        span = unit if found[1].lower() == "this" else 2 * unit
        return When(today - span * DAY_NS, today + DAY_NS)
    return None


def _month(month: int, year: int, day: int) -> When:
    if not year:
        return When(month=month, day=day)
    if 1 <= day <= 28:
        start = _start(year, month) + (day - 1) * DAY_NS
        return When(start, start + DAY_NS)
    return When(_start(year, month), _start(year + month // 12, month % 12 + 1))


def _start(year: int, month: int) -> int:
    return int((datetime(year, month, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)) * _NS


def first_person(query: str) -> bool:
    """Whether it asks about the one who asks."""
    return _FIRST_PERSON.search(query[:_CHARACTERS_MAX]) is not None


def addressed(query: str) -> bool:
    """Whether it asks for what the one who is asked has said: `did you recommend`, `your advice`."""
    query = query[:_CHARACTERS_MAX].lower()
    if not any(it in query for it in _YOU):
        return False  # most questions: it spares them the search that follows
    return _ADDRESSED.search(query) is not None


def named(query: str, authors: Collection[str]) -> frozenset[str]:
    """Those of the authors of whom the question speaks by name, or by a part of the name."""
    if not authors:
        return frozenset()
    asked = {word.casefold().removesuffix("'s").removesuffix("’s") for word in _WORD.findall(query[:_CHARACTERS_MAX])}
    return frozenset(author for author in authors if not asked.isdisjoint(_names_in(author)))


@functools.lru_cache(4096)
def _names_in(author: str) -> tuple[str, ...]:
    return tuple(it.casefold() for it in _WORD.findall(author) if len(it) > 1)


def meaning(query: str, without: Collection[str]) -> str:
    """What of a question is worth a vector. Words that half of the memory holds (`without`, as terms), names of those
    who speak in it first of all, say nothing and pull the vector to themselves. The whole question where nothing
    would be left."""
    query = query[:_CHARACTERS_MAX]
    out = frozenset(without)

    def kept(found: re.Match[str]) -> str:
        return "" if not _is_stop(found[0]) and _tells_nothing(found[0], out) else found[0]

    left = _WORD.sub(kept, query)
    return left if _WORD.search(left) is not None and terms(left) else query


def telling(query: str, without: Collection[str]) -> list[str]:
    """The same as single words, for an embedder to which their order means nothing: without stop words as well."""
    out = frozenset(without)
    found = dict.fromkeys(_WORD.findall(query[:_CHARACTERS_MAX]))
    return [word for word in found if not _is_stop(word) and not _tells_nothing(word, out)]


def _is_stop(word: str) -> bool:
    return _plainly(word)[0]


def _tells_nothing(word: str, out: frozenset[str]) -> bool:
    of = _plainly(word)[1]
    return bool(out) and bool(of) and out.issuperset(of)


@functools.lru_cache(8192)
def _plainly(word: str) -> tuple[bool, frozenset[str]]:
    """Whether a word of a question says nothing, and its terms."""
    plain = word.removesuffix("'s").removesuffix("’s").casefold()
    return plain.replace("'", "").replace("’", "") in STOP_WORDS, frozenset(terms(plain))
