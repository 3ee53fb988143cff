"""Asking the memories of a home: its own, and those of the spaces attached to it, each in its own engine.

What an answer says of a path is from the root of the home. Nothing here opens a home: `Home` asks so, and a command
beside a running engine.
"""

import logging
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from agentfs.errors import AgentFSError, InvalidArgument
from agentfs.memory.results import Asked, Found, Recalled, Topic
from agentfs.volume import memory_words as words
from agentfs.volume.messages import Message

_LOG = logging.getLogger(__name__)

SECONDS_MAX = 600.0
SPACES = b"spaces"
Progress = Callable[[int, int], None]
"""(files that are indexed, of how many)"""
Fuse = Callable[[Sequence[Recalled], int], Recalled]
"""What several memories answered, and the budget, to one answer within that."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One that can be asked."""

    place: bytes
    """Where it is in the home, without a slash at either end; empty: it is the home's own."""
    link: Callable[[], words.Link]
    """May open the space. Raises what that raises."""


def recall(
    memories: Sequence[Memory],
    asked: Asked,
    *,
    wait: float | None = None,
    progress: Progress | None = None,
    who: Message | None = None,
    fuse: Fuse | None = None,
) -> Recalled:
    """See `HomeMemory.recall`. `who`: the fields of who asks; None: the owner. `fuse`: what puts answers together; by
    default this process, which then counts tokens."""
    answers = ask_all(memories, words.RECALL, asked, wait=wait, progress=progress, who=who)
    parts = [replace(it, found=_below(place, it.found)) for place, it in _recalled(answers)]
    if len(parts) == 1 and not answers[0][0]:
        return parts[0]
    if fuse is not None:
        return fuse(parts, asked.max_tokens)
    from agentfs.memory.packing import fused  # noqa: PLC0415 - counts tokens

    return fused(parts, max_tokens=asked.max_tokens)


def search(
    memories: Sequence[Memory],
    asked: Asked,
    *,
    wait: float | None = None,
    progress: Progress | None = None,
    who: Message | None = None,
) -> tuple[Sequence[Found], int]:
    """The best, and how many files are not indexed yet."""
    answers = ask_all(memories, words.SEARCH, asked, wait=wait, progress=progress, who=who)
    found = [it for place, answer in answers for it in _below(place, map(words.found_of, answer["found"]))]
    found.sort(key=lambda it: (-it.score, it.path, it.first_line))
    return found[: asked.limit], sum(answer["behind"] for _, answer in answers)


def related(memories: Sequence[Memory], asked: Asked, *, who: Message | None = None) -> Sequence[Found]:
    """What is like the file `asked.path`, in the memory that has it."""
    answers = ask_all(memories, words.RELATED, asked, who=who)
    return [it for place, answer in answers for it in _below(place, map(words.found_of, answer["found"]))]


def timeline(memories: Sequence[Memory], asked: Asked, *, who: Message | None = None) -> Sequence[Found]:
    """What came when, the earliest first: the best `limit` for a question, without one the newest."""
    answers = ask_all(memories, words.TIMELINE, asked, who=who)
    found = [it for place, answer in answers for it in _below(place, map(words.found_of, answer["found"]))]
    found.sort(key=lambda it: (-it.score if asked.query.strip() else 0.0, -it.date_ns, it.path, it.first_line))
    return sorted(found[: asked.limit], key=lambda it: (it.date_ns, it.path, it.first_line))


def topics(memories: Sequence[Memory], asked: Asked, *, who: Message | None = None) -> Sequence[Topic]:
    """What the documents are about, the most frequent first; what several memories call the same is one."""
    found: dict[str, Topic] = {}
    for place, answer in ask_all(memories, words.TOPICS, asked, who=who):
        for it in map(words.topic_of, answer["topics"]):
            paths = tuple(f"{os.fsdecode(place)}/{path}" if place else path for path in it.paths)
            known = found.get(it.name.casefold())
            found[it.name.casefold()] = replace(it, paths=paths) if known is None else _united(known, it, paths)
    return sorted(found.values(), key=lambda it: (-it.documents, it.name))[: asked.limit]


def _united(one: Topic, other: Topic, paths: tuple[str, ...]) -> Topic:
    return Topic(
        one.name,
        tuple(dict.fromkeys((*one.words, *other.words))),
        (*one.paths, *paths),
        one.documents + other.documents,
        max(one.newest_ns, other.newest_ns),
    )


def tags(memories: Sequence[Memory], asked: Asked, *, who: Message | None = None) -> Sequence[tuple[str, int]]:
    """Each tag, and how many documents have it; the most frequent first."""
    count: dict[str, int] = {}
    written: dict[str, str] = {}
    for _, answer in ask_all(memories, words.TAGS, asked, who=who):
        for tag, documents in answer["tags"]:
            known = written.setdefault(tag.casefold(), tag)
            count[known] = count.get(known, 0) + documents
    return sorted(count.items(), key=lambda it: (-it[1], it[0]))


def ask_one(memory: Memory, word: str, *, progress: Progress | None = None, **fields: object) -> Message:
    return words.ask(
        memory.link(),
        word,
        timeout_seconds=SECONDS_MAX,
        progress=None if progress is None else lambda facts: progress(facts["indexed"], facts["of"]),
        **fields,
    )


def ask_all(
    memories: Sequence[Memory],
    word: str,
    asked: Asked,
    *,
    wait: float | None = None,
    progress: Progress | None = None,
    who: Message | None = None,
) -> Sequence[tuple[bytes, Message]]:
    """The answers of those whom a question is for, and the places of these. A space that cannot be asked is left out
    of a question to all, which is logged. `wait`: seconds, at most ten minutes. Raises `InvalidArgument`."""
    fields = words.asked_message(asked) | ({} if wait is None else {"wait": _seconds(wait)}) | (who or {})
    found = []
    chosen = [(it, inside) for it in memories if (inside := _inside(asked.path, it.place, memories)) is not None]
    for memory, inside in chosen:
        try:
            answer = ask_one(memory, word, progress=progress, **fields | {"path": os.fsdecode(inside)})
        except AgentFSError as error:
            if not memory.place or len(chosen) == 1:
                raise
            _LOG.warning("%s is left out: %s", os.fsdecode(memory.place), error)
            continue
        found.append((memory.place, answer))
    return found


def _seconds(wait: float) -> float:
    """What a program may wait at most; no answer may take for ever."""
    if math.isnan(wait):
        raise InvalidArgument("wait takes a number of seconds")
    return min(max(wait, 0.0), SECONDS_MAX)


def _inside(path: bytes, place: bytes, memories: Sequence[Memory]) -> bytes | None:
    """What `path` is for the memory at `place`; None: it is not about that one."""
    if not place:
        others = any(it.place and (path == it.place or path.startswith(it.place + b"/")) for it in memories)
        return None if others else path
    if path in (b"", SPACES) or path == place:
        return b""
    return path[len(place) + 1 :] if path.startswith(place + b"/") else None


def _recalled(answers: Sequence[tuple[bytes, Message]]) -> Sequence[tuple[bytes, Recalled]]:
    return [(place, words.recalled_of(answer)) for place, answer in answers]


def _below(place: bytes, found: Iterable[Found]) -> tuple[Found, ...]:
    """With paths from the root of the home."""
    if not place:
        return tuple(found)
    return tuple(replace(it, path=f"{os.fsdecode(place)}/{it.path}") for it in found)
