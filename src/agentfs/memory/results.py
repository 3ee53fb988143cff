"""What is asked of a memory and what comes back: plain values, made and read by every face.

`agentfs.memory.recalling` is where they are used and where callers import them from.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

Strategy = Literal["balanced", "recency", "importance", "relevance"]

HALF_LIFE_NS = 30 * 24 * 3600 * 1_000_000_000
"""After so long a passage's age counts half, unless the caller says otherwise: thirty days."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and what may answer it."""

    query: str
    max_tokens: int = 2000
    """The most that the whole answer's text may cost, headers included."""
    strategy: Strategy = "balanced"
    tags: tuple[str, ...] = ()
    """Only documents that have all of these, without `#`, whatever the case."""
    path: bytes = b""
    """Only this file, or what is below this directory; empty: everything."""
    since_ns: int | None = None
    """Only passages whose date is this or later."""
    limit: int = 200
    now_ns: int = 0
    """What is expired then is not there; ages count from here."""
    readable: Callable[[int], bool] | None = None
    """By inode number: a document of which this says no does not exist."""
    hidden: Collection[int] = frozenset()
    """By inode number: documents that do not count, either. Those of which `readable` says no, as of just now."""
    half_life_ns: int = HALF_LIFE_NS


@dataclass(frozen=True, slots=True)
class Found:
    """One passage, or a run of neighbouring passages of one file, as it stands in the file."""

    path: str
    first_line: int
    last_line: int
    text: str
    """Verbatim: the lines of that version of the file, or a slice of them."""
    date_ns: int
    """When it was said, else when the document was created, else when the file was last changed."""
    score: float
    parts: Mapping[str, float]
    """What the score is the sum of: words, vectors, neighbours, author, session, date, importance, recency …"""
    title: str = ""
    tags: tuple[str, ...] = ()
    tokens: int = 0
    """What this costs within the answer's text, its header not counted."""
    version: str = ""
    """The hex SHA-256 of the file's bytes."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What serves a question best within its budget."""

    found: tuple[Found, ...]
    tokens: int
    """`counter`'s count of `text`, never above what was asked for."""
    counter: str
    text: str
    """What faces print, and what an agent puts into its context. Where nothing fits it says what the best needs, as
    far as the budget holds that."""
    relevant: bool
    """False: nothing that is here answers; `found` is empty and `text` says so as far as the budget holds it."""
    scanned: int
    """How many passages were looked at closely."""
    behind: int = 0
    """How many changed documents are not in the index yet."""
    needs: int = 0
    """Where something answers and nothing of it fits: what an answer with the best passage alone would cost, with
    an end of its last line."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Documents that have something in common."""

    name: str
    """A tag, with its `#`, else the word that they share."""
    words: tuple[str, ...]
    """What they say more often than others, the most telling first."""
    paths: tuple[str, ...]
    """The newest first."""
    documents: int
    newest_ns: int
