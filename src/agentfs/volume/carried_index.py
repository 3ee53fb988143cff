"""The index that travels (docs/format.md, F-140): put by a machine whose index is whole, brought to one without.

All of it is for speed. What cannot be had, used or put is logged and said in the stats, and changes nothing else.
"""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from agentfs.config.settings import Settings
from agentfs.errors import AgentFSError, Corrupt, NewerFormat, ObjectNotFound
from agentfs.format import layout
from agentfs.format.carried import CarriedHeader, CarriedIndex, StoredPage, decode_carried, encode_carried
from agentfs.memory.carrying import pages_of
from agentfs.memory.index import Index
from agentfs.memory.sources import Sources
from agentfs.replica.bulk import has_pending
from agentfs.stores.protocol import Entry
from agentfs.sync.ground import EngineGround

_LOG = logging.getLogger(__name__)

DOCUMENTS_MIN = 2000
"""With `auto`. Fewer are indexed in seconds."""
_FIRST_LOOK_SECONDS = 60.0
_LOOK_SECONDS = 600.0
_ON_LOOK_SECONDS = 2.0
"""With `on`."""
_AGE_SECONDS = 86_400.0
_CHANGED_SHARE = 0.25
"""Of the documents: so much has changed since the newest one was put that another is worth it."""
_CHANGED_SHARE_OF_OLD = 0.01
"""The same once it is a day old."""
KEPT = 2
"""Whoever reads the last one has the time that it takes to make two more."""
_LISTED = 100


def documents_min(settings: Settings) -> int:
    """How many are worth it."""
    return 1 if settings.index_carry == "on" else DOCUMENTS_MIN


@dataclass(frozen=True, slots=True)
class _Standing:
    """One on the store."""

    name: str
    sequence: int
    tag: str
    modified_at: float


class CarriedIndexes:
    """Of one volume, on one machine. `bring` is safe from any thread; let one at a time call `piece`."""

    def __init__(self, ground: EngineGround, settings: Settings, *, rules: str) -> None:
        """`rules`: by which documents are made here (`memory.rules`)."""
        self._ground = ground
        self._rules = rules
        self._tag = layout.parse_index_name("", layout.index_name("", 1, rules))[1]
        self._wish = settings.index_carry
        self._may_put = self._wish != "off" and not settings.read_only
        self._least = documents_min(settings)
        first = 0.0 if self._wish == "on" else _FIRST_LOOK_SECONDS
        self._look_at = ground.clock.monotonic() + first
        self._newest: _Standing | None = None
        """Of our rules, as far as it is known."""
        self._was_listed = False
        self._unusable: set[str] = set()
        """Damaged ones: another may be put in their place."""
        self._read_last = ""
        self._giving: Iterator[None] | None = None
        self.put_sequence = 0
        """At which the last one was put from here; 0: none was."""
        self.problem = ""
        """Why the last one was not put or not used; empty when it was."""

    # ---- bringing ----

    def bring(self, files: int) -> "Future[CarriedIndex | None] | None":
        """Begin to fetch the newest one that this machine can use, where `files` are worth it. One list, one get."""
        if self._wish == "off" or files < self._least:
            return None
        found: Future[CarriedIndex | None] = Future()

        def fetch() -> None:
            try:
                found.set_result(self._fetched())
            except BaseException as error:  # noqa: BLE001 - whoever waits for it must not wait for ever
                found.set_exception(error)

        threading.Thread(target=fetch, name="carried-index", daemon=True).start()
        return found

    def _fetched(self) -> CarriedIndex | None:
        """None: there is none, or none that can be used."""
        log = self._ground.log
        try:
            for volume in (log.volume, *(origin.volume for origin in log.origins)):
                for it in self._listed(volume):
                    if it.tag == self._tag and (found := self._read(volume, it)) is not None:
                        _LOG.info("a carried index of %s is taken in, with %d files", volume, found.files)
                        return found
        except AgentFSError as error:
            self._note(f"no carried index can be had: {error}")
        return None

    def _read(self, volume: str, it: _Standing) -> CarriedIndex | None:
        self._read_last = it.name
        try:
            found = decode_carried(self._ground.store.get(it.name).data, volume=volume, sequence=it.sequence)
        except ObjectNotFound:  # a newer one was put in its place
            return None
        except Corrupt as error:
            self.unusable(str(error))
            return None
        except NewerFormat as error:
            self._note(f"a carried index of {volume} was not used: {error}")
            return None
        return found if found.header.rules == self._rules else None

    def unusable(self, problem: str) -> None:
        """What was brought last is damaged."""
        self._unusable.add(self._read_last)
        self._note(problem)

    def _listed(self, volume: str) -> list[_Standing]:
        """The newest first. What has another name is somebody else's."""
        prefix = layout.prefix_of(volume)
        entries = self._ground.store.list(layout.index_prefix(prefix), limit=_LISTED)
        return [it for entry in entries if (it := _standing(prefix, entry)) is not None]

    # ---- putting ----

    def piece(self, index: Index, sources: Sources) -> bool:
        """Called when there is nothing left to index. Does a little, where an index should be put. Returns whether
        there is more to do."""
        if not self._may_put:
            return False
        try:
            if self._giving is None:
                if not self._is_due(index):
                    return False
                self._giving = self._give(index, sources)
            if next(self._giving, self) is self:
                self._giving = None
        except AgentFSError as error:
            self._giving = None
            self._note(f"the index was not put: {error}")
        return self._giving is not None

    def _is_due(self, index: Index) -> bool:
        """At most one list, and that only when what is known here says that one should be put."""
        clock, replica = self._ground.clock, self._ground.replica
        now = clock.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + (_ON_LOOK_SECONDS if self._wish == "on" else _LOOK_SECONDS)
        if int(replica.state("head_sequence")) == 0 or has_pending(replica):
            return False
        documents = index.stats().documents
        if documents < self._least or (self._was_listed and not self._is_old(documents)):
            return False
        standing = [it for it in self._listed(self._ground.log.volume) if it.tag == self._tag]
        self._newest = next((it for it in standing if it.name not in self._unusable), None)
        self._was_listed = True
        return self._is_old(documents)

    def _is_old(self, documents: int) -> bool:
        newest = self._newest
        if newest is None:
            return True
        replica = self._ground.replica
        with replica.lock:
            row = replica.connection.one("SELECT count(*) FROM content WHERE sequence>?", (newest.sequence,))
        changed = int(row[0]) if row is not None else 0
        age = self._ground.clock.wall_ns() / 1e9 - newest.modified_at
        share = _CHANGED_SHARE_OF_OLD if age >= _AGE_SECONDS else _CHANGED_SHARE
        return changed > 0 and changed >= documents * share

    def _give(self, index: Index, sources: Sources) -> Iterator[None]:
        ground, volume = self._ground, self._ground.log.volume
        header = CarriedHeader(
            volume, int(ground.replica.state("head_sequence")), ground.clock.wall_ns(), ground.author, self._rules
        )
        pages: list[StoredPage] = []
        for page in pages_of(index, sources):
            if page is not None:
                pages.append(page)
            yield
        data = encode_carried(header, pages)
        name = layout.index_name(ground.log.prefix, header.sequence, self._rules)
        ground.store.put(name, data)
        self._unusable.discard(name)
        self._newest = _Standing(name, header.sequence, self._tag, ground.clock.wall_ns() / 1e9)
        self.put_sequence, self.problem = header.sequence, ""
        _LOG.info("the index of %d files was put, %d bytes", sum(it.files for it in pages), len(data))
        ground.failpoint("carried.put")
        for it in self._listed(volume)[KEPT:]:
            ground.store.delete(it.name)
            ground.failpoint("carried.dropped")

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            _LOG.warning("%s", problem)
        self.problem = problem


def _standing(prefix: str, entry: Entry) -> _Standing | None:
    try:
        sequence, tag = layout.parse_index_name(prefix, entry.name)
    except Corrupt:
        return None
    return _Standing(entry.name, sequence, tag, entry.modified_at)
