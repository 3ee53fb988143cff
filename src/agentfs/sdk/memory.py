"""Memory: the part of `Home` that remembers, and that finds what was remembered.

A memory is a file. `remember` writes one, and whatever else is written to the home is found in the same way. What was
written before a question is found by it. A home's attached spaces are asked too, each its own index.
"""

import contextlib
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from agentfs.errors import Exists, InvalidArgument, IsADirectory, NotFound
from agentfs.memory.results import Asked, Found, Recalled, Strategy, Topic
from agentfs.model.names import shown
from agentfs.model.records import Kind
from agentfs.sdk.errors import speaks_python
from agentfs.sdk.past import Moments
from agentfs.sdk.paths import Path, existing, parts
from agentfs.sdk.values import Entry
from agentfs.sdk.volumes import Volumes
from agentfs.volume import asking
from agentfs.volume import memory_words as words
from agentfs.volume.asking import Memory, Progress
from agentfs.volume.messages import Message
from agentfs.volume.spaces import DIRECTORY as SPACES
from agentfs.volume.volume import Volume

if TYPE_CHECKING:
    from agentfs.memory.facts import Facts

_SECONDS_MAX = 600.0


class HomeMemory:
    """The part of `Home` that is a memory."""

    _volume: Volume
    _volumes: Volumes

    if TYPE_CHECKING:  # what a `Home` has besides

        def read(self, path: Path) -> bytes: ...
        def _make(self, path: Path, data: bytes, *, parents: bool) -> Entry: ...
        def delete(self, path: Path, *, recursive: bool = False, missing_ok: bool = False) -> None: ...
        def _since_ns(self, since: Moments | None) -> int | None: ...

    # ---- remembering ----

    @speaks_python
    def remember(
        self,
        text: str,
        *,
        title: str = "",
        importance: float | None = None,
        tags: Sequence[str] = (),
        ttl: str | float | timedelta | datetime | None = None,
        type: str = "",
        pinned: bool | None = None,
        space: str | None = None,
        path: Path | None = None,
    ) -> Entry:
        """Write a memory: a Markdown file `memories/<year-month>/<title, or first words>.md`, or `path`, with what is
        given as its frontmatter. Survives `kill -9` on return, as every write.

        `importance` is 0 to 1. `ttl`: how long it lives (`7d`, seconds, a `timedelta`), or until when (a `datetime`,
        a date); then it is deleted on every machine. `space` writes into that attached space. Raises
        `InvalidArgument`, `Exists` (there is a file at `path`), and `NotFound` (no such space is attached)."""
        from agentfs.sdk.remembering import directory_of, memory_bytes, names  # noqa: PLC0415 - reads facts

        now_ns = self._volume.clock.wall_ns()
        facts = {"title": title, "type": type, "tags": tuple(tags), "importance": importance}
        data = memory_bytes(text, facts | {"pinned": pinned, "expires": ttl}, now_ns=now_ns)
        above = self._space_place(space) if space is not None else b""
        if path is not None:
            place = above + b"/".join(parts(path))
            try:
                return self._make(place, data, parents=True)
            except Exists:
                taken = shown(place) or "/"
                raise Exists(f"{taken} exists, and remember makes new files: choose another path") from None
        directory = above + directory_of(now_ns)
        for name in names(text, title):
            with contextlib.suppress(Exists):
                return self._make(directory + b"/" + name, data, parents=True)
        raise Exists(f"{shown(directory)} has ten thousand memories that are called so: give a title, or a path")

    def _space_place(self, space: str) -> bytes:
        """Where a space is attached, with a `/` behind: by its name, or by the one that it is attached as."""
        if self._volume.kind == "space" and self._volume.volume_id == space:
            return b""
        for found in self._volumes.attached():
            if space.encode() in (found.space.encode(), found.name):
                return SPACES + b"/" + found.name + b"/"
        raise NotFound(f"the space {space} is not attached to this home: agentfs space attach {space}")

    @speaks_python
    def forget(self, path: Path) -> None:
        """Delete a memory: it is found no more. The history keeps it (`history`, `restore`). Raises `NotFound`, and
        `IsADirectory`."""
        if existing(self._volumes, path, follow=False)[1].kind is Kind.DIRECTORY:
            raise IsADirectory(f"{shown(os.fsencode(path))} is a directory: forget takes files, delete what is in it")
        self.delete(path)

    # ---- facts ----

    @speaks_python
    def facts(self, path: Path) -> "Facts":
        """What a file says about itself: title, tags, importance, when it expires, … Raises `NotFound`,
        `IsADirectory`."""
        from agentfs.memory.documents import document  # noqa: PLC0415 - readers of every kind of file
        from agentfs.memory.facts import XATTR_PREFIX, Facts  # noqa: PLC0415

        place, attributes = existing(self._volumes, path)
        if attributes.kind is not Kind.FILE:
            raise IsADirectory(f"{shown(os.fsencode(path))} is no file: only files have facts")
        tree, ino = place.tree, attributes.ino
        xattrs = {name: tree.get_xattr(ino, name) for name in tree.list_xattrs(ino) if name.startswith(XATTR_PREFIX)}
        found = document(b"/".join(parts(path)), self.read(path), xattrs, mtime_ns=attributes.mtime_ns)
        return Facts() if found is None else found.facts

    @speaks_python
    def set_facts(self, path: Path, **changes: object) -> None:
        """Change what a file says about itself: `title`, `type`, `tags`, `importance`, `pinned`, `expires`, `ttl`,
        `created`, `links`; None takes one away. In its frontmatter where it can hold them, else as extended
        attributes; the rest of the file stays byte for byte. Survives `kill -9` on return. Raises `InvalidArgument`,
        `NotFound`, and `FileBusy` (somebody has it open for writing)."""
        from agentfs.sdk.remembering import meta_text  # noqa: PLC0415 - reads facts
        from agentfs.volume.fact_words import SET_FACTS  # noqa: PLC0415

        if not changes:
            return
        place, attributes = existing(self._volumes, path)
        place.volume.link.request(
            SET_FACTS, timeout_seconds=_SECONDS_MAX, ino=attributes.ino, word="meta", text=meta_text(changes)
        )

    # ---- finding ----

    @speaks_python
    def recall(  # noqa: PLR0917 - the contract with its callers
        self,
        query: str,
        max_tokens: int = 2000,
        strategy: Strategy = "balanced",
        tags: Sequence[str] = (),
        path: Path = "",
        since: Moments | None = None,
        *,
        wait: float | None = None,
        progress: Progress | None = None,
    ) -> Recalled:
        """The passages that serve a question best and fit into `max_tokens`, verbatim; `text` is what an agent reads.
        When nothing is relevant it says so (`relevant` is False).

        Only documents with all of `tags`, at or below `path`, and passages of `since` or later (a time as text, `2h`,
        `yesterday`, or a `datetime`). `wait`: seconds that may be spent on what was not indexed yet (2 by default);
        `behind` tells how many files are left. Raises `IndexOff`, `InvalidArgument`, `Unavailable`."""
        asked = self._question(query, tags, path, since, max_tokens=max_tokens, strategy=strategy)
        return asking.recall(self._memories(), asked, wait=wait, progress=progress)

    @speaks_python
    def search(
        self,
        query: str,
        limit: int = 20,
        *,
        tags: Sequence[str] = (),
        path: Path = "",
        since: Moments | None = None,
        strategy: Strategy = "balanced",
        wait: float | None = None,
    ) -> Sequence[Found]:
        """The passages that match best, the best first; as `recall`, but a list, and no budget."""
        asked = self._question(query, tags, path, since, limit=limit, strategy=strategy)
        return asking.search(self._memories(), asked, wait=wait)[0]

    @speaks_python
    def related(self, path: Path, limit: int = 20) -> Sequence[Found]:
        """Other documents like a file, and those that it links to or that link to it; the best passage of each. Empty
        for what is no document."""
        return asking.related(self._memories(), self._question("", (), path, None, limit=limit))

    @speaks_python
    def timeline(
        self,
        query: str = "",
        limit: int = 50,
        *,
        tags: Sequence[str] = (),
        path: Path = "",
        since: Moments | None = None,
    ) -> Sequence[Found]:
        """What came when, the earliest first: what serves a question, or without one the newest documents."""
        return asking.timeline(self._memories(), self._question(query, tags, path, since, limit=limit))

    @speaks_python
    def topics(self, path: Path = "", limit: int = 50) -> Sequence[Topic]:
        """What the documents at or below `path` are about, the largest topic first."""
        return asking.topics(self._memories(), self._question("", (), path, None, limit=limit))

    @speaks_python
    def tags(self, path: Path = "") -> Sequence[tuple[str, int]]:
        """The tags of all documents at or below `path`, and how many have each; the most frequent first."""
        return asking.tags(self._memories(), self._question("", (), path, None))

    @speaks_python
    def memory_stats(self) -> Message:
        """What is indexed of this home (not of its spaces): `documents`, `passages`, `behind`, `size_bytes`, …"""
        return asking.ask_one(self._memories()[0], words.STATS)

    @speaks_python
    def reindex(self, *, progress: Progress | None = None) -> Message:
        """Drop the index of this home on this machine, and make it anew. Returns as `memory_stats`."""
        return asking.ask_one(self._memories()[0], words.REINDEX, progress=progress)

    # ---- asking ----

    def _question(self, query: str, tags: Sequence[str], path: Path, since: Moments | None, **more: Any) -> Asked:
        if not isinstance(query, str):
            raise InvalidArgument("a question is text")
        return Asked(query, tags=tuple(tags), path=b"/".join(parts(path)), since_ns=self._since_ns(since), **more)

    def _memories(self) -> Sequence[Memory]:
        """This home's own, then those of its spaces."""
        home, volumes = self._volume, self._volumes
        found = [Memory(b"", lambda: home.link)]
        for it in volumes.attached():
            found.append(Memory(SPACES + b"/" + it.name, lambda space=it.space: volumes.enter(space).link))  # type: ignore[misc]
        return found
