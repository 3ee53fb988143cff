"""The terms of a passage, by the columns of the index's table `words`."""

import contextlib
from datetime import UTC, datetime

from agentfs.memory import words
from agentfs.memory.facts import Facts
from agentfs.memory.passages import Passage


def columns_of(path: bytes, facts: Facts, it: Passage) -> tuple[list[str], ...]:
    """Author, date, place, tags, text (`memory.image.COLUMNS`)."""
    date = it.said_ns if it.said_ns is not None else facts.created_ns
    place = " ".join((facts.title, path.decode("utf-8", "replace"), *it.headings))
    texts = (it.author, _written(date), place, " ".join(facts.tags), it.text)
    return tuple(words.terms(text) for text in texts)


def _written(date_ns: int | None) -> str:
    """A date as people write it: `8 May 2023`; "" for what no calendar has."""
    if date_ns is None:
        return ""
    with contextlib.suppress(OverflowError, ValueError, OSError):
        date = datetime.fromtimestamp(date_ns // 1_000_000_000, UTC)
        return f"{date.day} {date:%B} {date.year}"
    return ""
