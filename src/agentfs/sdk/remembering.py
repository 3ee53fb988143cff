"""A memory as a file: what it is called, and what stands in it. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice

from agentfs.errors import InvalidArgument
from agentfs.memory import moments
from agentfs.memory.facts import with_facts
from agentfs.memory.names import beside, slug
from agentfs.volume.fact_words import parse_meta

DIRECTORY = b"memories"
_NAMES_MAX = 10_000
_MARKUP = re.compile(r"\A\s*(?:#{1,6}\s+|[-*+>]\s+)")


def directory_of(now_ns: int) -> bytes:
    """Where a memory of that moment belongs: `memories/2026-11`."""
    return DIRECTORY + datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("/%Y-%m").encode()


def names(text: str, title: str) -> Iterator[bytes]:
    """Names to try, one after the other."""
    first = title or next((line for line in _MARKUP.sub("", text).splitlines() if line.strip()), "")
    name = slug(_MARKUP.sub("", first), wordless="memory") + ".md"
    return (it.encode() for it in islice(beside(name), _NAMES_MAX))


def meta_text(facts: Mapping[str, object]) -> str:
    """Facts as a program gives them (texts, numbers, lists, `datetime`, `timedelta`; None takes one away), as
    `parse_meta` reads and checks them."""
    return json.dumps({key: _plain(key, value) for key, value in facts.items()})


def _plain(key: str, value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.0f}s"
    if key in ("ttl", "expires") and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.0f}s"
    if isinstance(value, tuple | list | set | frozenset):
        return [str(it) for it in value]
    return value


def memory_bytes(text: str, facts: Mapping[str, object], *, now_ns: int) -> bytes:
    """The file of a memory: the facts as frontmatter, then the text. Raises `InvalidArgument`."""
    if not text.strip():
        raise InvalidArgument("there is nothing to remember: the text is empty")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument("the text is no Unicode: a memory is text (put stores any bytes)") from None
    if b"\0" in data:
        raise InvalidArgument("the text has a NUL: a memory is text (put stores any bytes)")
    said = {key: value for key, value in facts.items() if value not in (None, (), "")}
    created = moments.written(now_ns // 10**9 * 10**9)
    changes = {"created": created} | (parse_meta(meta_text(said), now_ns=now_ns) if said else {})
    made = with_facts(b"memory.md", data if data.endswith(b"\n") else data + b"\n", changes)
    if made is None:
        raise InvalidArgument(
            "the text begins with frontmatter that cannot be added to: correct it, or write the file"
        )
    return made
