"""Search and recall across processes: the questions to an engine's desk, and its answers, as JSON.

Fields are those of `memory.results.Asked`: `query`, `max_tokens`, `strategy`, `tags`, `path` (text, as `os.fsdecode`
makes it), `since_ns`, `limit`; and `uid`, `gids`, `owner` (who asks: what they may not read does not exist; without
`uid` everything is found), `wait` (seconds that may be spent on what changed meanwhile). An answer that is too long
for a line comes in pieces: ask with `ask`.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any, Protocol, cast

from agentfs.errors import InvalidArgument
from agentfs.memory.results import Asked, Found, Recalled, Strategy, Topic
from agentfs.volume.messages import Message

RECALL = "recall"
SEARCH = "search"
RELATED = "related"
TIMELINE = "timeline"
TOPICS = "topics"
TAGS = "tags"
LINKS = "links"
STATS = "memory-stats"
REINDEX = "reindex"

STRATEGIES = ("balanced", "recency", "importance", "relevance")
WAIT_SECONDS = 2.0
"""What an answer waits for the index, unless told otherwise."""
TOKENS_MAX = 200_000
"""Of one answer."""
LIMIT_MAX = 1000
_PIECE_CHARACTERS = 200_000
"""Each may take two bytes as a part of a message."""
_SLACK_SECONDS = 60.0
_NS_MAX = 2**63 - 1
"""What the index holds: the year 2262. Nothing is dated later, or before as long a time."""


# ---- asking ----


class Link(Protocol):
    """A way to an engine (`engine_link.EngineLink`)."""

    def request(
        self,
        do: str,
        *,
        timeout_seconds: float,
        progress: Callable[[Message], None] | None = None,
        **fields: Any,
    ) -> Message: ...


def ask(
    link: Link,
    do: str,
    *,
    timeout_seconds: float,
    progress: Callable[[Message], None] | None = None,
    **fields: Any,
) -> Message:
    """Ask the engine that `link` leads to. Raises what it raises, `SyncTimedOut`, and what starting it raises."""
    pieces: list[str] = []

    def hear(facts: Message) -> None:
        if "piece" in facts:
            if facts["at"] == 0:  # the first, or the first again of an engine that was asked again
                pieces.clear()
            pieces.append(facts["piece"])
        elif progress is not None:
            progress(facts)

    answer = link.request(
        do, timeout_seconds=timeout_seconds + float(fields.get("wait") or 0) + _SLACK_SECONDS, progress=hear, **fields
    )
    return cast(Message, json.loads("".join(pieces))) if pieces else answer


def answered(answer: Message, progress: Callable[[Message], None]) -> Message:
    """`answer`, or where it is too long, its pieces through `progress`."""
    text = json.dumps(answer, separators=(",", ":"))
    if len(text) <= _PIECE_CHARACTERS:
        return answer
    for start in range(0, len(text), _PIECE_CHARACTERS):
        progress({"piece": text[start : start + _PIECE_CHARACTERS], "at": start})
    return {}


# ---- questions ----


def asked_message(asked: Asked) -> Message:
    """For the fields of `ask`. `now_ns` and `readable` are the engine's."""
    return {
        "query": asked.query,
        "max_tokens": asked.max_tokens,
        "strategy": asked.strategy,
        "tags": list(asked.tags),
        "path": os.fsdecode(asked.path),
        "since_ns": asked.since_ns,
        "limit": asked.limit,
    }


def asked_of(request: Message, *, now_ns: int, half_life_ns: int) -> Asked:
    """The reverse, with what the engine adds. Raises `InvalidArgument`."""
    query, path, tags = request.get("query", ""), request.get("path") or "", request.get("tags") or []
    strategy = request.get("strategy") or "balanced"
    if not isinstance(query, str):
        raise InvalidArgument("query must be a text")
    if not isinstance(path, str):
        raise InvalidArgument("path must be a text")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidArgument("tags must be a list of words")
    if strategy not in STRATEGIES:
        raise InvalidArgument(f"there is no strategy {strategy!r}: use {', '.join(STRATEGIES)}")
    since_ns = request.get("since_ns")
    return Asked(
        query=query,
        max_tokens=_number(request, "max_tokens", 2000, TOKENS_MAX),
        strategy=cast(Strategy, strategy),
        tags=tuple(tag.lstrip("#") for tag in tags),
        path=b"/".join(part for part in os.fsencode(path).split(b"/") if part),
        since_ns=min(max(since_ns, -_NS_MAX), _NS_MAX) if isinstance(since_ns, int) else None,
        limit=_number(request, "limit", 200, LIMIT_MAX),
        now_ns=now_ns,
        half_life_ns=half_life_ns,
    )


def _number(request: Message, name: str, default: int, most: int) -> int:
    value = request.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidArgument(f"{name} must be a number, at least 0")
    return min(value, most)


# ---- answers ----


def message_of(value: Any) -> Any:
    """A result as JSON holds it: fields by name, paths as text."""
    if isinstance(value, str | int | float):  # most are
        return value
    if is_dataclass(value):
        return {name: message_of(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if isinstance(value, Mapping):
        return {key: message_of(it) for key, it in value.items()}
    if isinstance(value, tuple | list):
        return [message_of(it) for it in value]
    return value


def found_of(message: Message) -> Found:
    return Found(**(message | {"tags": tuple(message["tags"])}))


def recalled_of(message: Message) -> Recalled:
    return Recalled(**(message | {"found": tuple(map(found_of, message["found"]))}))


def topic_of(message: Message) -> Topic:
    return Topic(**(message | {"words": tuple(message["words"]), "paths": tuple(message["paths"])}))
