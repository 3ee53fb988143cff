"""The words of search and recall on a mount: what they ask of the engine, and what is written to them.

Where spaces are attached at or below what is asked about, `:recall`, `:search` and `:tags` ask those, too, each its
own engine, and the answers are put together. Everything here may wait, and raises any `AgentFSError`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from agentfs.errors import InvalidArgument
from agentfs.history.moments import parse_moment
from agentfs.memory.results import Asked as Question
from agentfs.memory.results import Recalled, Strategy
from agentfs.model.names import shown
from agentfs.replica.replica import ROOT
from agentfs.volume import asking, memory_words
from agentfs.volume import virtual_texts as texts
from agentfs.volume.asking import SPACES, Memory
from agentfs.volume.fact_words import FACTS, SET_FACTS, check_meta, check_tags, check_ttl
from agentfs.volume.fusing import FUSE
from agentfs.volume.messages import LINE_BYTES_MAX, Message, encode
from agentfs.volume.virtual_names import Query
from agentfs.volume.virtual_words import CHANGES, Accept, Asked, Word
from agentfs.volume.volume import Volume

Spaces = Callable[[], Sequence[Memory]]
"""The spaces that are attached and open here."""

_OPTIONS = ("max_tokens", "strategy", "tags", "since", "path", "limit")
_SEARCH_LIMIT = 20
_TIMELINE_LIMIT = 50
_TOPICS_LIMIT = 30
_CHANGES_SINCE = "1d"
_OF_FILES = "this is about a file: write its name in front, as in notes.md:meta"
_ROOM_BYTES = 4096
"""Of a line, for what else a question has."""


def no_spaces() -> Sequence[Memory]:
    return ()


class MemoryWords:
    def __init__(self, volume: Volume, spaces: Spaces) -> None:
        self._volume = volume
        self._spaces = spaces

    def words(self) -> dict[str, Word]:
        return {
            "recall": Word(
                self._recall,
                "what serves a question best: :recall?query=green+tea&max_tokens=2000; or write the question to it",
                takes_query=True,
                by_caller=True,
                asks=True,
            ),
            "search": Word(
                self._search,
                "what a query finds, the best first: :search?q=green+tea; or write the query to it",
                takes_query=True,
                by_caller=True,
                asks=True,
            ),
            "related": Word(self._related, "what is like a file", by_caller=True),
            "timeline": Word(
                self._timeline,
                "what was said when, the earliest first: :timeline?since=2w; with ?q=green+tea what is about that",
                takes_query=True,
                by_caller=True,
            ),
            "topics": Word(self._topics, "what it is all about", by_caller=True),
            "links": Word(self._links, "what a file leads to, and what leads to it", by_caller=True),
            "stats": Word(self._stats, "how much is indexed here, and what is still to be", by_caller=True),
            "changes": Word(
                self._changes,
                "what changed since yesterday here; :changes?since=2h",
                takes_query=True,
                by_caller=True,
            ),
            "meta": Word(
                self._meta,
                "what a file says of itself; write `importance: 0.9` to change that, and null to take a key away",
                by_caller=True,
                accept=self._set("meta"),
                check=lambda text: check_meta(text, now_ns=self._volume.clock.wall_ns()),
            ),
            "tags": Word(
                self._tags,
                "tags of a file, or of all files below; write `a, b` to a file's, or `+c -a`",
                by_caller=True,
                accept=self._set("tags"),
                check=check_tags,
            ),
            "ttl": Word(
                self._ttl,
                "when a file expires; write `7d`, a date, or `none`",
                by_caller=True,
                accept=self._set("ttl"),
                check=lambda line: check_ttl(line, now_ns=self._volume.clock.wall_ns()),
            ),
        }

    # ---- asking for text ----

    def _recall(self, asked: Asked, query: Query) -> str:
        question = self._question(asked, query)
        if not question.query:
            return texts.RECALL_USAGE
        question = replace(question, max_tokens=max(question.max_tokens - 1, 0))  # for the end of the last line
        text = asking.recall(self._memories(asked), question, who=_who(asked), fuse=self._fused).text
        return text + "\n" if text else text

    def _fused(self, parts: Sequence[Recalled], max_tokens: int) -> Recalled:
        """By the engine: this process must not count tokens."""
        fields = {"parts": memory_words.message_of(parts), "max_tokens": max_tokens}
        if len(encode(fields)) > LINE_BYTES_MAX - _ROOM_BYTES:
            raise InvalidArgument("that is more than can be put together: ask with a smaller max_tokens")
        seconds = self._volume.settings.timeout_seconds
        return memory_words.recalled_of(memory_words.ask(self._volume.link, FUSE, timeout_seconds=seconds, **fields))

    def _search(self, asked: Asked, query: Query) -> str:
        question = self._question(asked, query, limit=_SEARCH_LIMIT)
        if not question.query:
            return texts.SEARCH_USAGE
        found, behind = asking.search(self._memories(asked), question, who=_who(asked))
        return texts.found_text(found, f"found for {texts.one_line(question.query)}", behind=behind)

    def _related(self, asked: Asked, _query: Query) -> str:
        if asked.is_directory:
            raise InvalidArgument(_OF_FILES)
        question = Question("", path=asked.path, limit=_SEARCH_LIMIT)
        found = asking.related(self._memories(asked), question, who=_who(asked))
        return texts.found_text(found, f"like {shown(asked.path)}")

    def _timeline(self, asked: Asked, query: Query) -> str:
        question = self._question(asked, query, limit=_TIMELINE_LIMIT)
        return texts.timeline_text(asking.timeline(self._memories(asked), question, who=_who(asked)))

    def _topics(self, asked: Asked, _query: Query) -> str:
        question = Question("", path=asked.path, limit=_TOPICS_LIMIT)
        return texts.topics_text(asking.topics(self._memories(asked), question, who=_who(asked)))

    def _memories(self, asked: Asked) -> Sequence[Memory]:
        """This volume, and the spaces that who asks may enter."""
        spaces = self._spaces()
        if spaces and not self._enters_spaces(asked):
            spaces = ()
        return [Memory(b"", lambda: self._volume.link), *spaces]

    def _enters_spaces(self, asked: Asked) -> bool:
        """Whether who asks may walk into the directory of the spaces: none of their engines knows it."""
        who = asked.who
        assert who is not None
        directory = self._volume.tree.lookup(ROOT, SPACES)
        uid, gid = who.owner or (directory.uid, directory.gid)
        bits = directory.mode >> 6 if uid == who.uid else directory.mode >> 3 if gid in who.gids else directory.mode
        return who.uid == 0 or bool(bits & 1)

    def _question(self, asked: Asked, query: Query, *, limit: int = 200) -> Question:
        """Raises `InvalidArgument`."""
        options = _options(query, *_OPTIONS)
        return Question(
            query=query.text.strip(),
            max_tokens=_number(options, "max_tokens", 2000),
            strategy=_strategy(options.get("strategy", "balanced")),
            tags=tuple(tag.strip().lstrip("#") for tag in options.get("tags", "").split(",") if tag.strip()),
            path=_path(asked.path, options.get("path", "")),
            since_ns=self._since(options["since"]) if options.get("since") else None,
            limit=_number(options, "limit", limit),
        )

    def _since(self, written: str) -> int:
        """A time that has passed, as `--since` takes it."""
        now_ns = self._volume.clock.wall_ns()
        moment = parse_moment(written, now_ns=now_ns, day_begins=True)
        if moment.kind != "time":
            raise InvalidArgument(f"since={_short(written)} is no time: write 2h, 3d, yesterday or 2026-11-21")
        return moment.number

    def _stats(self, asked: Asked, _query: Query) -> str:
        found = self._ask(memory_words.STATS, **_who(asked))
        if asked.who is None or asked.who.uid not in (0, os.getuid()):
            found = {key: value for key, value in found.items() if key != "problem"}  # it may name a file
        return texts.stats_text(found)

    # ---- facts of a file ----

    def _meta(self, asked: Asked, _query: Query) -> str:
        return texts.meta_text(self._facts(asked))

    def _tags(self, asked: Asked, _query: Query) -> str:
        if not asked.is_directory:
            return texts.tags_text(self._facts(asked))
        found = asking.tags(self._memories(asked), Question("", path=asked.path), who=_who(asked))
        return texts.tag_counts_text(found)

    def _ttl(self, asked: Asked, _query: Query) -> str:
        return texts.ttl_text(self._facts(asked), now_ns=self._volume.clock.wall_ns())

    def _links(self, asked: Asked, _query: Query) -> str:
        if asked.is_directory:
            raise InvalidArgument(_OF_FILES)
        question = Question("", path=asked.path)
        own = [Memory(b"", lambda: self._volume.link)]
        ((_, found),) = asking.ask_all(own, memory_words.LINKS, question, who=_who(asked))
        return texts.links_text(found, path=asked.path)

    def _facts(self, asked: Asked) -> Message:
        if asked.is_directory:
            raise InvalidArgument(_OF_FILES)
        return self._ask(FACTS, ino=asked.ino)

    def _set(self, word: str) -> Accept:
        def accept(asked: Asked, text: str) -> None:
            self._ask(SET_FACTS, ino=asked.ino, word=word, text=text)

        return accept

    # ---- what changed ----

    def _changes(self, asked: Asked, query: Query) -> str:
        written = _options(query, "since").get("since") or query.text or _CHANGES_SINCE
        found = self._ask(CHANGES, path=os.fsdecode(asked.path), since_ns=self._since(written), **_who(asked))
        return texts.changes_text(found, path=asked.path, since=written)

    # ---- asking ----

    def _ask(self, do: str, **fields: Any) -> Message:
        return self._volume.link.request(do, timeout_seconds=self._volume.settings.timeout_seconds, **fields)


def _who(asked: Asked) -> Message:
    assert asked.who is not None
    return asked.who.fields()


# ---- options ----


def _options(query: Query, *known: str) -> Mapping[str, str]:
    """What is said beside the query. Raises `InvalidArgument` for what means nothing here."""
    unknown = [name for name in query.options if name not in known]
    if unknown:
        raise InvalidArgument(
            f"there is no option {_short(unknown[0])} here, only {', '.join(known)}: write %26 for & and %3D for ="
        )
    return query.options


def _number(options: Mapping[str, str], name: str, default: int) -> int:
    written = options.get(name, "").strip()
    if not written:
        return default
    if not (written.isascii() and written.isdecimal() and len(written) <= 9):
        raise InvalidArgument(f"{name}={_short(written)} is no number")
    return int(written)


def _strategy(written: str) -> Strategy:
    if written not in memory_words.STRATEGIES:
        raise InvalidArgument(f"there is no strategy {_short(written)}: use {', '.join(memory_words.STRATEGIES)}")
    return cast(Strategy, written)


def _path(directory: bytes, written: str) -> bytes:
    """A path that is given from the place that is asked."""
    names = [name for name in os.fsencode(written).split(b"/") if name not in (b"", b".")]
    if b".." in names:
        raise InvalidArgument("path leads below the place that is asked, not above it")
    return b"/".join(name for name in (directory, *names) if name)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
