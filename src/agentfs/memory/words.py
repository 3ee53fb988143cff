"""Words: text → terms, the same for what is indexed and for what is asked.

A term is what the spellings of a word have in common: folded in case, width and accents, and stemmed. Scripts that
are written without spaces become pairs of neighbouring characters, and single ones. An identifier (`snake_case`,
`camelCase`, `v1.2.3`, `ann@example.com`, a path) is its parts and also the whole; a date also names its month.
Of ASCII a term holds letters, digits and dots only, so that no query can mean anything to SQLite.
"""

import functools
import re
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import Stemmer

TERMS_MAX = 64
"""Of one query; what more it has is not looked for."""
QUERY_CHARACTERS_MAX = 8192
"""What is behind them in a query is not looked at."""
_WORD_MAX = 128
"""Characters. A longer word (base64, a hash of hashes) is known by so many."""
_STEMMED_MIN = 3

_JOINTS = r"._\-@/:+#,'’&"
_PLAIN = re.compile(rf"[A-Za-z0-9]+(?:[{_JOINTS}][A-Za-z0-9]+)*(?:\+\+|#)?")
_JOINT = re.compile(rf"[{_JOINTS}]")
_ROOM = re.compile(r"[/&]")
"""What separates the names in a path or an address; each name is findable as a whole."""
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_DATE = re.compile(r"((?:19|20)\d\d)[.\-/](\d{1,2})[.\-/](\d{1,2})")
_IN_NUMBER = re.compile(r"(?<=\d)[.\-/:](?=\d)")
_NO_NUMBERS_DOT = re.compile(rf"(?!\.)[{_JOINTS}]|(?<!\d)\.|\.(?!\d)")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TOGETHER = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua48f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U000323af"
)
"""Scripts that write words without spaces, and Hangul, which joins particles to them: Thai, Lao, Burmese, Jamo,
Khmer, Hiragana and Katakana, Bopomofo, Han, Yi."""
_RUN = re.compile(f"[{_TOGETHER}]+|[^{_TOGETHER}]+")
_IS_TOGETHER = re.compile(f"[{_TOGETHER}]")
_APOSTROPHE = re.compile("['’]")
_SHORTENED = frozenset(("s", "t", "d", "ll", "re", "ve", "m"))
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about above after again against all am an and any are aren as at be because been before being below
        between both but by can cannot cant could couldn couldnt did didn didnt do does doesn doesnt doing don
        dont down during each few for from further had hadn hadnt has hasn hasnt have haven havent having he her
        here hers herself him himself his how if in into is isn isnt it its itself just let lets ll more most
        mustn no nor not now of off on once only or other our ours ourselves out over own re s same shan she
        should shouldn so some such t than that thats the their theirs them themselves then there these they
        this those through to too under until up ve very was wasn wasnt were weren what whats when where which
        while who whom whose why will with won would wouldn wouldnt you your yours yourself yourselves
        """,
    )
)
"""Of queries. Not among them: i, my, me, we, which tell whose words are meant."""

_STEMMERS = (
    ("a", "z", "english"), ("0", "9", ""), ("\u00c0", "\u024f", "english"), ("\u0370", "\u03ff", "greek"),
    ("\u0400", "\u04ff", "russian"), ("\u0530", "\u058f", "armenian"), ("\u0600", "\u06ff", "arabic"),
    ("\u0900", "\u097f", "hindi"), ("\u0b80", "\u0bff", "tamil"),
)  # fmt: skip
"""By the script of a word's first letter. Which of the languages that share a script it is, is not guessed: what
counts is that the same word always becomes the same term."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: any of the terms."""

    terms: tuple[str, ...]


def terms(text: str) -> list[str]:
    """The terms of a text as they are indexed, as often as they stand in it."""
    if text.isascii() and text.isalnum():  # a word
        parts, more, _ = _analysed(text)
        return [*parts, *more]
    found: list[str] = []
    for parts, more, _ in map(_analysed, _words(text)):
        found += parts
        if more:
            found += more
    return found


def query(text: str) -> Query:
    """What a question looks for. Never fails, whatever it holds; nothing in it is an operator."""
    return _query(text[:QUERY_CHARACTERS_MAX])


@functools.lru_cache(256)
def _query(text: str) -> Query:
    found: list[str] = []
    left: list[str] = []
    for word in dict.fromkeys(_words(text)):
        is_stop, of = _asked(word)
        (left if is_stop else found).extend(of)
    return Query(tuple(dict.fromkeys(found or left))[:TERMS_MAX])


@functools.lru_cache(4096)
def _asked(word: str) -> tuple[bool, tuple[str, ...]]:
    """Whether a word of a query is a stop word, and the terms that it looks for."""
    parts, more, asked = _analysed(word)
    if word.replace("’", "").replace("'", "").lower() in STOP_WORDS:
        return True, parts
    return False, parts + more if asked is None else asked


def _words(text: str) -> list[str]:
    """Runs of letters and digits, with single joints (dots, dashes, slashes …) between them."""
    if text.isascii():
        return _PLAIN.findall(text)
    return _wide().findall(unicodedata.normalize("NFKC", text))


@functools.cache
def _wide() -> re.Pattern[str]:
    """The pattern of words in all scripts, with their marks (vowels of Hindi and Thai are such). Made when needed."""
    marks = "".join(chr(code) for code in range(0x300, 0x11FFF) if unicodedata.category(chr(code)).startswith("M"))
    letter = f"[^\\W_](?:[^\\W_]|[{marks}])*"
    return re.compile(rf"{letter}(?:[{_JOINTS}]{letter})*(?:\+\+|#)?")


@functools.lru_cache(maxsize=1 << 16)
def _analysed(word: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...] | None]:
    """The terms of a word, the further ones by which it is found, and, where that differs from both together, the
    terms of a query that holds it."""
    word = word[:_WORD_MAX]
    if word.isascii() and word.isalnum() and (word.islower() or word[1:].islower()):
        return (_stemmed(word.lower()),), (), None
    if _IS_TOGETHER.search(word):
        return _together(word)
    return *_joined(word), None


def _together(word: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    parts: list[str] = []
    more: list[str] = []
    asked: list[str] = []
    for run in _RUN.findall(word):
        if _IS_TOGETHER.match(run):
            pairs = [run[at : at + 2] for at in range(len(run) - 1)] or [run]
            parts += pairs
            asked += pairs
            more += run if len(run) > 1 else ()
        else:
            of, others = _joined(run)
            parts += of
            more += others
            asked += of + others
    return tuple(parts), tuple(more), tuple(asked)


def _joined(word: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The terms of a word that may have joints or humps, and those of the wholes in it."""
    if _THOUSANDS.fullmatch(word):
        word = word.replace(",", "")
    parts: list[str] = []
    more: list[str] = []
    date = _DATE.match(word)
    if date is not None and 1 <= int(date[2]) <= 12:
        more.append(_stemmed(_MONTHS[int(date[2]) - 1]))
        word = f"{date[1]}.{int(date[2])}.{int(date[3])}{word[date.end() :]}"
    if word[-1:] in ("+", "#"):
        more.append(re.sub(r"[^\w.]", "", _folded(word.rstrip("+#"))) + ("plusplus" if word[-1] == "+" else "sharp"))
    rooms = [room for room in _ROOM.split(word) if room]
    for room in rooms:
        pieces = [piece for joint in _JOINT.split(room) for piece in _humps(joint) if piece]
        if len(pieces) == 2 and pieces[1] in _SHORTENED and _APOSTROPHE.search(room):
            pieces = ["".join(pieces)] if pieces[1] == "t" else pieces[:1]
        parts += [_stemmed(_folded(piece)) for piece in pieces]
        if len(pieces) > 1:
            more.append(_whole(room))
    if len(rooms) > 1:
        more.append(_whole(word))
    return tuple(part for part in parts if part), tuple(dict.fromkeys(term for term in more if term))


def _humps(word: str) -> Sequence[str]:
    return (word,) if word.islower() or word.isdigit() else _CAMEL.split(word)


def _whole(word: str) -> str:
    """An identifier as one term: `snake_case`, `snake-case` and `snakeCase` are the same, 1.2.3 and 12.3 are not."""
    return _stemmed(_folded(_NO_NUMBERS_DOT.sub("", _IN_NUMBER.sub(".", word))))


def _folded(word: str) -> str:
    """Without regard to case, to accents of Latin and Greek letters, and to the points of Arabic and Hebrew ones."""
    word = word.casefold()
    if word.isascii():
        return word
    kept: list[str] = []
    base = ""
    for it in unicodedata.normalize("NFD", word.replace("ё", "е")):
        if unicodedata.combining(it) == 0:
            base = it
        elif base < "\u0400" or "\u0590" <= base <= "\u06ff":
            continue
        if it != "\u0640":  # a line that stretches an Arabic word
            kept.append(it)
    return unicodedata.normalize("NFC", "".join(kept))


_local = threading.local()
"""Each thread's stemmers: they are not to be shared."""


def _stemmed(word: str) -> str:
    if len(word) < _STEMMED_MIN:
        return word
    if "a" <= word[0] <= "z":
        language = "english"
    else:
        language = next((it for first, last, it in _STEMMERS if first <= word[0] <= last), "")
    if not language or (not word.isalpha() and any(it.isdigit() for it in word)):
        return word
    stemmers: dict[str, Stemmer.Stemmer] = _local.__dict__.setdefault("stemmers", {})
    if language not in stemmers:
        stemmers[language] = Stemmer.Stemmer(language)
    return str(stemmers[language].stemWord(word))
