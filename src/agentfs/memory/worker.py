"""From the journal to the index: the worker looks at every file that changed, and makes the index say what it is now.

It goes by states, not by events: a journal row only says which file to look at, and what it finds there is what
counts. So a row that is read twice does no harm, and after a crash it goes on at the index's `position`. Where the
journal cannot tell (a new index, rows that were trimmed, another boot of the machine), all files are compared with
what the index remembers of them; the newest are then looked at first.

What is indexed: see `memory.sources`. A file is looked at when a program closed it (or flushed it); one that stays
open and grows, when the engine takes it for its commit. Bytes that are not on this machine are fetched for the index
alone, without hydrating the file: the cache keeps what people use.

`Worker` has no thread. Its methods may be called from any; they take turns. Nothing here waits for a writer, and no
writer waits for it.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, Corrupt, Unavailable
from agentfs.format.carried import CarriedIndex
from agentfs.memory.carrying import Taking
from agentfs.memory.documents import BYTES_MAX, Document, document
from agentfs.memory.facts import facts_of
from agentfs.memory.index import Entry, Index, Looked
from agentfs.memory.sources import FACTS, Listed, Source, Sources
from agentfs.memory.stamps import ending, made_of
from agentfs.replica.journal import ChangeKind, JournalRow
from agentfs.replica.transaction import ROOT

Fetch = Callable[[Sequence[Source]], Mapping[int, bytes]]
"""The bytes of files that are not here, by inode, as the log has them; what the answer lacks cannot be had now.
Raises `AgentFSError` when the store cannot be asked."""


class Carrier(Protocol):
    """Brings what another machine made of this volume's files. Safe from any thread."""

    def bring(self, files: int) -> "Future[CarriedIndex | None] | None":
        """Begin to bring it, where so many files make that worth it."""

    def unusable(self, problem: str) -> None:
        """What was brought last is damaged."""


ENDS = frozenset((FACTS + b"expires", FACTS + b"ttl"))
_ROWS = 2000
_GROUP = 16
"""Files that are looked at between two looks at the clock; those that are indexed go in one transaction."""
_GROUP_PATIENT = 4
"""In the background: others wait for the interpreter for no longer than that takes."""
_AWAY_SECONDS = 15.0
"""After the store did not answer, files whose bytes are there wait so long."""
_WRITTEN_SECONDS = 2.0
"""A file that is being written is looked at again after so long, unless somebody asks."""
_COMING_SECONDS = 20.0
"""So long nothing is made here that may be on its way. What comes later is taken in all the same."""
_COMING_LOOK_SECONDS = 0.02
_SLOW_SECONDS = 0.2
_SLOW_REST = 10
"""A file that took longer is looked at again after ten times as long, unless somebody asks who has the time."""
_NO_TEXT = (
    " 7z aac ai apk avi avif bin bmp bz2 class dat db db3 deb dmg doc docx dylib eot exe flac flv gif gz h5 heic ico "
    "iso jar jpeg jpg lz4 m4a m4v mkv mov mp3 mp4 mpeg msgpack npy npz o obj odt ogg onnx opus otf parquet pickle "
    "pkl png ppt pptx psd pt pth pyc rar rpm safetensors so sqlite sqlite3 tar tgz tif tiff ttf wasm wav webm webp "
    "whl wmv woff woff2 xls xlsx xz zip zst "
)
"""Endings of files that are never fetched for their text."""


@dataclass(frozen=True, slots=True)
class _Rest:
    """For a file that was just looked at."""

    until: float
    seconds: float
    """What it took; 0: not much."""


class Worker:
    """See the module. Safe from any thread."""

    def __init__(
        self,
        sources: Sources,
        index: Index,
        *,
        fetch: Fetch,
        clock: Clock,
        era: str = "",
        rules: str = "",
        carrier: Carrier | None = None,
    ) -> None:
        """`era` changes whenever the journal's last rows may have been taken back (another boot). `rules` changes
        whenever the same file may make another document, or inodes may be others (a replica that was restored from a
        backup has a new id); the index is then made anew."""
        self._sources = sources
        self._index = index
        self._fetch = fetch
        self._clock = clock
        self._era = era
        self._rules = rules
        self._carrier = carrier
        self._coming: Future[CarriedIndex | None] | None = None
        self._coming_until = 0.0
        self._taking: Taking | None = None
        self.may_take = True
        """What another machine made may be worth having, is on its way, or is being taken in."""
        self._turn = threading.RLock()
        self._position = 0
        """The index's."""
        self._read_to = 0
        self._started = False
        self._heard: dict[int, int] = {}
        """Files to look at, and the first journal row that said so; what was heard of last is last."""
        self._backlog: dict[int, None] = {}
        """Files to look at that a comparison found, the most urgent last."""
        self._away: dict[int, None] = {}
        """Files of either kind whose bytes cannot be had now."""
        self._away_until = 0.0
        self._resting: dict[int, _Rest] = {}
        """Files that are not looked at again at once: they are being written, or took long."""
        self._asking = 0
        self.indexed = 0
        """Grows with everything that is put into the index."""
        self.taken = 0
        """Of these, documents that another machine made."""
        self.problem = ""
        """Why files are away; empty when none is."""

    # ---- hearing ----

    def look(self) -> int:
        """Read the journal's news. Returns how many files wait now."""
        with self._turn:
            oldest, newest = self._sources.journal_span()
            if not self._started or self._index.fact("era") != self._era:
                self._start(oldest, newest)
            elif oldest > self._read_to + 1:  # others trimmed what we had not read
                self._compare_all(newest)
            while self._read_to < newest:
                rows = self._sources.changes(self._read_to, _ROWS)
                if not rows or rows[0].id > self._read_to + 1:
                    oldest, newest = self._sources.journal_span()
                    if oldest > self._read_to + 1:  # trimmed in this moment
                        self._compare_all(newest)
                        break
                if not rows:
                    break
                self._hear(rows)
                self._read_to = rows[-1].id
            return self.behind

    @property
    def behind(self) -> int:
        """How many files wait to be looked at."""
        return len(self._waiting())

    def behind_of(self, hidden: Collection[int]) -> int:
        """How many that are none of these."""
        return len(self._waiting().difference(hidden)) if hidden else self.behind

    def _waiting(self) -> set[int]:
        return self._heard.keys() | self._backlog.keys() | self._away.keys()

    @property
    def away(self) -> int:
        """How many of these wait for the store."""
        return len(self._away)

    def away_of(self, hidden: Collection[int]) -> int:
        """How many that are none of these."""
        return len(self._away.keys() - set(hidden)) if hidden else self.away

    @property
    def settled(self) -> bool:
        """Whether nothing is left that could be done now."""
        return (
            not self._heard and not self._backlog and (not self._away or self._clock.monotonic() < self._away_until)
        )

    def again(self, inos: Iterable[int]) -> None:
        """Look at these files once more, whatever the index remembers of them."""
        with self._turn:
            for ino in inos:
                self._heard.setdefault(ino, self._read_to)

    def start_over(self) -> None:
        """Forget the index; all files are looked at again, here."""
        with self._turn:
            self._index.drop()
            self._started = False
            self._carrier = None

    def _start(self, oldest: int, newest: int) -> None:
        rules = self._index.fact("rules")
        if rules != self._rules:
            if rules is not None:  # a new one is empty, and may be asked already
                self._index.drop()
            self._index.set_facts({"rules": self._rules})
        position = self._position = self._index.position
        same = self._index.fact("era") == self._era
        self._heard.clear()
        self._backlog.clear()
        self._away.clear()
        self._coming = self._taking = None
        self._started = True
        if same and position > 0 and oldest - 1 <= position <= newest:
            self._read_to = position
            self.may_take = False
            return
        self._index.set_facts({"era": self._era})
        known = self._compare_all(newest)
        if self._carrier is not None and len(self._backlog) > known:
            self._coming = self._carrier.bring(len(self._backlog))
            self._coming_until = self._clock.monotonic() + _COMING_SECONDS
        self.may_take = self._coming is not None

    def _compare_all(self, newest: int) -> int:
        """Find what differs between the tree and the index. What happens after row `newest` is heard of. Returns how
        many files the index knew."""
        listed = self._sources.listing()
        known = self._index.all_looked()
        here = {it.ino for it in listed}
        self._backlog.update(dict.fromkeys(ino for ino in known if ino not in here))
        self._queue_differing(listed, known)
        self._read_to = newest
        return len(known)

    def _queue_differing(self, listed: Iterable[Listed], known: Mapping[int, Looked]) -> None:
        differing = [it for it in listed if not _is_known(it, known.get(it.ino))]
        differing.sort(key=lambda it: (it.mtime_ns, it.path))
        self._backlog.update(dict.fromkeys(it.ino for it in differing))

    def _hear(self, rows: Sequence[JournalRow]) -> None:
        linked = {row.ino for row in rows if row.kind is ChangeKind.LINK}
        directories = self._sources.directories_among(linked)
        for row in rows:
            if row.ino not in directories and row.ino != ROOT:
                self._heard[row.ino] = self._heard.pop(row.ino, row.id)
        for directory in directories:  # it was moved, or is new with all that is in it
            self._queue_moved(directory)

    def _queue_moved(self, directory: int) -> None:
        listed = self._sources.listing(directory)
        known = {it.ino: looked for it in listed if (looked := self._index.looked(it.ino)) is not None}
        for it in listed:
            looked_at = known.get(it.ino)
            if looked_at is None or looked_at.path is None or not _is_known(it, looked_at):  # or it may be one now
                self._heard.setdefault(it.ino, self._read_to + 1)
        here = {it.ino for it in listed}
        for ino in self._sources.files_below(directory):
            if ino not in here and self._index.looked(ino) is not None:  # it is where nothing is a document
                self._heard.setdefault(ino, self._read_to + 1)

    # ---- doing ----

    def catch_up(self, seconds: float) -> int:
        """Look at what changed, the latest first, for `seconds` at most. Returns how many files are left."""
        self.advance(seconds, left=seconds)
        return self.behind

    def advance(self, seconds: float, *, left: float) -> bool:
        """Look at what changed, the latest first, for about `seconds`, for somebody who waits for `left` seconds at
        most: files that are known to take longer are left. Returns whether more could be done at once."""
        with self._counted():
            self.look()
            return self.work(seconds, left=left)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    def work(
        self,
        seconds: float,
        *,
        patient: bool = False,
        pause: Callable[[], None] | None = None,
        left: float = float("inf"),
    ) -> bool:
        """Look at files that wait, for about `seconds`. Returns whether more could be done at once.

        `patient` leaves alone what is being written just now, or took long a moment ago, and makes room for those who
        ask. `pause` is called between files, and may wait. `left`: see `advance`."""
        start = self._clock.monotonic()
        deadline = start + seconds
        while True:
            if pause is not None:
                pause()
            rest = left - (self._clock.monotonic() - start)
            with self._turn:
                coming = self._is_coming() if rest > 0 else None
                did = coming is None and self._take()
                if not did and (group := self._next(None if patient else rest, backlog=coming is None)):
                    self._handle(group)
                    did = True
                self._remember()
                more = (did or coming is not None) and not self.settled
            if coming is not None and not did and more:
                wait([coming], max(0.0, min(_COMING_LOOK_SECONDS, deadline - self._clock.monotonic())))
            if not more or self._clock.monotonic() >= deadline or (patient and self._asking):
                return more

    def _next(self, left: float | None, *, backlog: bool = True) -> list[int]:
        """What to look at now: what was heard of last, then the backlog from its urgent end, then what was away.
        `left`: how long somebody waits; None: nobody does. Without `backlog` only what was heard of."""
        now = self._clock.monotonic()

        def rests(ino: int) -> bool:
            rest = self._resting.get(ino)
            return rest is not None and (now < rest.until if left is None else rest.seconds > left)

        heard = (ino for ino in reversed(self._heard) if not rests(ino))
        older = (ino for ino in reversed(self._backlog) if ino not in self._heard)
        found = list(islice(chain(heard, older if backlog else ()), _GROUP_PATIENT if left is None else _GROUP))
        if not found and backlog and self._away and now >= self._away_until:
            self._backlog.update(self._away)
            self._away.clear()
            found = list(islice(reversed(self._backlog), _GROUP))
        return found

    # ---- what another machine made ----

    def _is_coming(self) -> "Future[CarriedIndex | None] | None":
        """What is on its way, and worth waiting for."""
        coming = self._coming
        if coming is None or coming.done() or self._clock.monotonic() >= self._coming_until:
            return None
        return coming

    def _take(self) -> bool:
        """Take in a page of what came. Returns whether there was one."""
        if self._coming is not None and self._coming.done():
            coming, self._coming = self._coming, None
            carried = coming.result()
            self._taking = Taking(self._index, self._sources, carried) if carried is not None else None
            self.may_take = carried is not None
        if self._taking is None:
            return False
        before = self._taking.documents
        try:
            done = self._taking.step()
        except Corrupt as error:
            if self._carrier is not None:
                self._carrier.unusable(str(error))
            done = None
        if done is None:
            self._taking, self.may_take = None, False
            return False
        for ino in done:
            self._backlog.pop(ino, None)
        self.taken += self._taking.documents - before
        self.indexed += self._taking.documents - before
        return True

    # ---- one file after the other ----

    def _handle(self, inos: Sequence[int]) -> None:
        if self._taking is not None:
            self._taking.looked_at.update(inos)
        start = self._clock.monotonic()
        entries: list[Entry] = []
        looked: list[tuple[int, Looked]] = []
        gone: list[int] = []
        moved: list[tuple[int, bytes]] = []
        missing: list[Source] = []
        written: set[int] = set()
        for ino in inos:
            source = self._sources.source(ino)
            if source is None:
                gone.append(ino)
                continue
            if source.written:
                written.add(ino)
            known = self._index.looked(ino)
            now = Looked(source.change, _stamp(source))
            if known is not None and known.stamp == now.stamp:
                if known.path is not None and known.path != source.path:
                    moved.append((ino, source.path))
                looked.append((ino, now))
                continue
            data = self._bytes_here(source)
            if data is not None:
                entries += self._entry(source, data, now, gone, looked)
            else:
                missing.append(source)
        for source, data in self._fetched(missing):
            entries += self._entry(source, data, Looked(source.change, _stamp(source)), gone, looked)
        if moved:
            self._index.moved(moved)
        self._store(entries, looked, gone)
        self._rest(inos, written, entries, self._clock.monotonic() - start)
        for ino in inos:
            self._heard.pop(ino, None)
            self._backlog.pop(ino, None)

    def _rest(self, inos: Sequence[int], written: set[int], entries: Sequence[Entry], seconds: float) -> None:
        """Remember which of these files are not to be looked at again at once: a log of megabytes that grows by a
        line a second is made anew each time."""
        now = self._clock.monotonic()
        self._resting = {ino: it for ino, it in self._resting.items() if it.until > now or it.seconds}
        passages = {it.ino: len(it.document.passages) for it in entries}
        for ino in inos:
            share = seconds * passages.get(ino, 0) / max(sum(passages.values()), 1)
            took = share if share > _SLOW_SECONDS else 0.0
            pause = max(took * _SLOW_REST, _WRITTEN_SECONDS if ino in written else 0.0)
            if pause:
                self._resting[ino] = _Rest(now + pause, took)
            else:
                self._resting.pop(ino, None)

    def _store(self, entries: list[Entry], looked: list[tuple[int, Looked]], gone: list[int]) -> None:
        if entries or gone:  # at once: a file that takes the place of another is never missing
            self._index.put(entries, gone=gone)
            self.indexed += len(entries)
        if looked:
            self._index.set_looked(looked)

    def _entry(
        self, source: Source, data: bytes, now: Looked, gone: list[int], looked: list[tuple[int, Looked]]
    ) -> list[Entry]:
        """What is to be indexed of a file; a file without text is added to `gone` and `looked`."""
        found = made(source, data)
        if found is None:
            gone.append(source.ino)
            looked.append((source.ino, now))
            return []
        version = hashlib.sha256(data).digest()
        return [Entry(source.ino, source.path, version, source.mtime_ns, found, now)]

    def _remember(self) -> None:
        """Store up to where the index is true."""
        if self._backlog or self._away:
            return
        position = min(self._heard.values(), default=self._read_to + 1) - 1
        if position > self._position:
            self._index.position = self._position = position

    # ---- bytes ----

    def _bytes_here(self, source: Source) -> bytes | None:
        """The bytes, where this machine has them; empty for a file that is never read: it is too large, or nothing of
        it was closed or flushed yet."""
        if not 0 < source.size_bytes <= BYTES_MAX:
            return b""
        if not source.here:
            return b"" if is_never_text(source.path) else None
        data = self._sources.read(source, BYTES_MAX + 1)
        if data is None or source.trusted or source.content is None:
            return data
        return data if hashlib.sha256(data).digest() == source.content.digest else None

    def _fetched(self, missing: list[Source]) -> list[tuple[Source, bytes]]:
        """The files whose bytes were fetched; the others are away."""
        if not missing:
            return []
        found: Mapping[int, bytes] = {}
        if self._clock.monotonic() >= self._away_until:
            try:
                found = self._fetch(missing)
                self.problem = ""
            except AgentFSError as error:
                self.problem = f"the bytes of {len(missing)} files cannot be fetched now: {error}"
        away = [it.ino for it in missing if it.ino not in found]
        if away:
            self._away_until = self._clock.monotonic() + _AWAY_SECONDS
            self._away.update(dict.fromkeys(away))
        return [(it, found[it.ino]) for it in missing if it.ino in found]

    # ---- one file, now ----

    def read_now(self, source: Source) -> bytes:
        """The bytes of a file as `source` describes it. Raises `Unavailable` when they cannot be had."""
        data = self._bytes_here(source)
        if data is None:
            data = self._fetch([source]).get(source.ino)
        if data is None:
            raise Unavailable(f"the bytes of inode {source.ino} are not here and cannot be fetched now")
        return data


def made(source: Source, data: bytes) -> Document | None:
    """The document of a file; None: it holds no text. What holds none and expires is a document without passages."""
    facts = {name: value for name, value in source.xattrs.items() if name.startswith(FACTS)}
    found = document(source.path, data, facts, mtime_ns=source.mtime_ns) if data else None
    if found is None and not facts.keys().isdisjoint(ENDS):
        said = facts_of(os.path.basename(source.path), "", facts, mtime_ns=source.mtime_ns)
        found = Document("", said, ()) if said.expires_ns is not None else None
    return found


def is_never_text(path: bytes) -> bool:
    """By the ending of its name."""
    return f" {ending(path)} " in _NO_TEXT


def _stamp(source: Source) -> str:
    """What a document is made of: equal while it would come out equal."""
    return f"{source.content_change}.{made_of(source.path, source.xattrs, source.mtime_ns)}"


def _is_known(it: Listed, looked: Looked | None) -> bool:
    """A power cut takes numbers of changes back, and others get them: the times tell."""
    return (
        looked is not None
        and looked.change == it.change
        and looked.stamp.startswith(f"{it.content_change}.{it.mtime_ns}.")
        and looked.path in (None, it.path)
    )
