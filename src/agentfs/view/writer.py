"""Puts and deletes objects of the view, several at a time, and nothing unseen (docs/view.md, V-64, V-67).

What is about to be put is remembered before (`ShownTable.begin`), so that after a crash an object of ours is known
for what it is, on a store that keeps no metadata too. All that is not certain is looked at: a put that was refused, a
put whose answer was lost, an object that is to go.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from agentfs.errors import (
    BucketNotFound,
    Corrupt,
    InvalidArgument,
    NameNotListed,
    NoSpace,
    ObjectBusy,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from agentfs.format.layout import VolumeKind, volume_name
from agentfs.model.records import InodeId
from agentfs.stores.protocol import Store, StoredObject
from agentfs.view.facts import VERSION_MAX, ViewFacts, facts_in_metadata
from agentfs.view.judging import Expected, Judged, Verdict, judged, may_be, may_go
from agentfs.view.log_files import LogFile
from agentfs.view.naming import place_of, view_prefix
from agentfs.view.plan import Delete, Put
from agentfs.view.rendering import Rendered, rendered
from agentfs.view.restoring import restored
from agentfs.view.rules import FILE_BYTES_MAX
from agentfs.view.shown import Begun, ContentFact, Shown, ShownTable

PARALLEL: Final = 8
BATCH_FILES: Final = 64
BATCH_BYTES: Final = 32 * 1024 * 1024
"""Of what is held in memory at once; a larger file is put alone."""
_TRIES_MAX = 4
_HEADS_MAX = 2
"""So many objects are looked at one by one; more are listed."""
_PAGE = 1000
_OBJECT_BYTES_MAX = FILE_BYTES_MAX + 64 * 1024
_STOPPING = (StoreUnavailable, StoreDenied, BucketNotFound, NoSpace)
"""What ends a round: the next object would meet it, too."""

Failpoint = Callable[[str], None]


class Source(Protocol):
    """Where the files come from."""

    def bytes_of(self, files: Sequence[LogFile]) -> Mapping[InodeId, bytes]:
        """Exactly the log's; files whose bytes are damaged or gone are left out. Raises `StoreError`."""
        ...

    def files(self, numbers: Iterable[InodeId]) -> Mapping[InodeId, LogFile]:
        """Those of them that the log has now."""
        ...

    def head(self) -> int:
        """The sequence that all this is of."""
        ...

    def has(self, was: ViewFacts, modified_at: float) -> bool:
        """Whether the log has exactly that version, which an object written at that time says to show. From any
        thread. Raises `StoreError`."""
        ...

    def had_path(self, number: InodeId, path: bytes) -> bool:
        """Whether the log ever had that file at that path, as far as this machine knows."""
        ...

    def may_be_left(self, path: bytes, modified_at: float) -> bool:
        """Whether an object that was written at that time may be what a keeper left when the path's file went."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """A put with all that it takes."""

    put: Put
    path: bytes
    file: LogFile
    fact: ContentFact
    added: int
    """How many contents came since the last put, as far as is known."""
    version: int | None
    """The number of this content, where nothing stands at the name that says one."""


@dataclass(slots=True)
class Done:
    put: int = 0
    deleted: int = 0
    again: set[InodeId] = field(default_factory=set)
    """These have changed meanwhile."""
    stuck: dict[str, str] = field(default_factory=dict)
    """Why an object could not be put or deleted, by name."""
    held: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Made:
    item: Item
    data: bytes
    """The file's."""
    object: Rendered
    row: Shown
    digest: bytes
    """Of the object."""


class ViewWriter:
    """For one thread. `close` ends its pool."""

    def __init__(
        self,
        store: Store,
        kind: VolumeKind,
        volume_id: str,
        *,
        table: ShownTable,
        source: Source,
        expected: Callable[[], Iterable[str]] = tuple,
        is_fresh: Callable[[], bool] = lambda: True,
        renewed: Callable[[], bool] = lambda: True,
        pause: Callable[[], None] = lambda: None,
        failpoint: Failpoint = lambda _name: None,
    ) -> None:
        """`expected`: all names at which something may be known to stand. `is_fresh`: whether what the log has, and
        that this is the keeper's writer, was seen a moment ago; from any thread. `renewed` sees it again; False: it
        is not. `pause` is called before each request and may wait a moment: others come first."""
        self._expected = expected
        self._is_fresh = is_fresh
        self._renewed = renewed
        self._store = store
        self._volume = volume_name(kind, volume_id)
        self.prefix = view_prefix(kind, volume_id)
        self._table = table
        self._source = source
        self._pause = pause
        self._failpoint = failpoint
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def close(self) -> None:
        """Repeating it is harmless."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    # ---- puts ----

    def write(self, items: Sequence[Item], done: Done) -> None:
        """Put what is not there yet; on return `table` knows of all that was. `done` grows, also where this raises:
        `StoreUnavailable`, `StoreDenied`, `BucketNotFound`, `NoSpace`."""
        batch: list[Item] = []
        size_bytes = 0
        for item in items:
            size = item.file.content.size_bytes
            if batch and (len(batch) >= BATCH_FILES or size_bytes + size > BATCH_BYTES):
                self._write(batch, done)
                batch, size_bytes = [], 0
            batch.append(item)
            size_bytes += size
        if batch:
            self._write(batch, done)

    def _write(self, items: Sequence[Item], done: Done) -> None:
        self._pause()
        bytes_of = self._source.bytes_of([item.file for item in items])
        is_fresh = self._is_fresh() or self._renewed()  # the bytes may have been long under way
        now = self._source.files([item.file.file for item in items])
        made: list[_Made] = []
        for item in items:
            file = now.get(item.file.file)
            newest = file is not None and file.content.digest == item.fact.digest and item.path in file.paths
            if not newest or not (is_fresh or _is_edit(item)):
                done.again.add(item.file.file)
                continue
            data = bytes_of.get(item.file.file)
            if data is None:
                done.stuck[item.put.name] = "its bytes are damaged or missing in the store: run agentfs fsck"
                continue
            try:
                one = self._made(item, data, _version(item, item.put.over))
            except (ValueError, OverflowError) as error:  # one file must not be in the way of all
                done.stuck[item.put.name] = f"it cannot be shown: {error}"
                continue
            if one.object.fronted or not item.put.if_fronted:
                made.append(one)
        self._table.begin(Begun(it.row, it.digest) for it in made)
        self._failpoint("view.begun")
        self._finish(self._all(self._one, made), done)

    def _finish(self, outcomes: "list[tuple[_Made, _Put | BaseException | None]]", done: Done) -> None:
        rows: list[Shown] = []
        facts: list[ContentFact] = []
        names: list[str] = []
        gone: list[str] = []
        failed: BaseException | None = None
        for made, outcome in outcomes:
            name = made.item.put.name
            if isinstance(outcome, _TooOldError):
                done.again.add(made.item.put.file)
                continue
            if isinstance(outcome, BaseException):
                if isinstance(outcome, StoreError | InvalidArgument) and not isinstance(outcome, _STOPPING):
                    done.stuck[name] = str(outcome)
                    continue
                failed = failed or outcome
                continue
            if outcome is None or not outcome.doubtful:
                names.append(name)
            if outcome is None:
                gone.append(name)
                done.again.add(made.item.put.file)
                continue
            done.put += outcome.put
            if outcome.reason:
                self._table.hold(name, outcome.reason)
                done.held.add(name)
                continue
            rows.append(outcome.row)
            if outcome.row.file == made.item.fact.file and outcome.row.digest == made.item.fact.digest:
                facts.append(made.item.fact)
        self._table.forget(gone)
        self._table.ended(rows, facts, names)
        self._failpoint("view.tabled")
        if failed is not None:
            raise failed

    def _made(self, item: Item, data: bytes, version: int | None) -> _Made:
        fact, file = item.fact, item.file
        facts = ViewFacts(
            volume=self._volume,
            file=file.file,
            sequence=fact.sequence,
            digest=fact.digest,
            author=fact.author,
            version=None if version is None else min(version, VERSION_MAX),
            created_ns=file.birth_ns,
            modified_ns=fact.modified_ns,
        )
        made = rendered(item.path, data, facts)
        if item.put.policy == "plain" and made.fronted:
            made = replace(made, data=data, fronted=False)
        row = Shown(item.put.name, file.file, fact.sequence, fact.digest, "", len(made.data), version, 0.0)
        return _Made(item, data, made, row, hashlib.sha256(made.data).digest())

    def _one(self, made: _Made) -> "_Put | None":
        """Put one object; on return it is there, or what stands there is not to be replaced. None: what was to be
        replaced is gone."""
        self._pause()
        name = self.prefix + made.item.put.name
        over = made.item.put.over
        tag = over.etag if over is not None and _is_edit(made.item) else ""
        put = 0
        doubtful = False
        for _ in range(_TRIES_MAX):
            if self._closed:
                raise StoreUnavailable("this process is closing the home")
            if not tag and not self._is_fresh():
                raise _TooOldError
            attributes = {**made.object.metadata, "content-type": made.object.content_type}
            try:
                if tag:
                    new = self._store.put(name, made.object.data, replacing=tag, attributes=attributes)
                else:
                    new = self._store.put(name, made.object.data, create_only=True, attributes=attributes)
                self._failpoint("view.put")
                return _Put(replace(made.row, etag=new), put + 1, doubtful=doubtful)
            except (ObjectExists, ObjectChanged):
                pass
            except OutcomeUnknown:
                doubtful = doubtful or not tag
            found = self._look(name)
            if found is None and tag:
                return None  # whoever took it away may know better than we
            if found is None:
                continue
            it = self._judged(made, found)
            if it.verdict is Verdict.RIGHT:
                return _Put(it.row, put, doubtful=doubtful)
            if it.verdict is Verdict.CHANGED:
                return _Put(it.row, put, it.reason, doubtful=doubtful)
            if it.verdict is Verdict.AHEAD:
                raise StoreError(it.reason)
            tag = found.tag
            if it.row.version is not None:
                made = self._made(made.item, made.data, _version(made.item, it.row))
                self._table.begin([Begun(made.row, made.digest)])
        raise OutcomeUnknown(f"{name} changes all the time")

    def _judged(self, made: _Made, found: StoredObject) -> Judged:
        item = made.item
        if found.size_bytes > _OBJECT_BYTES_MAX:
            row = Shown(item.put.name, 0, 0, b"", found.tag, found.size_bytes, None, found.modified_at)
            return Judged(Verdict.CHANGED, row, "another tool put something larger than the view takes")
        facts = ViewFacts(self._volume, item.file.file, item.fact.sequence, item.fact.digest)

        def verdict(others: Iterable[InodeId]) -> Judged:
            return judged(
                item.put.name,
                item.path,
                found,
                Expected(facts, made.digest),
                known=item.put.over,
                begun=self._table.begun(item.put.name),
                others=others,
                head=self._source.head(),
                has=lambda was: self._source.has(was, found.modified_at),
            )

        first = verdict(())
        if first.verdict is Verdict.RIGHT and self._lacks_facts(found):
            return replace(first, verdict=Verdict.OLD)  # another tool put the same bytes
        other = first.row.file
        if first.verdict is Verdict.OLD and other not in (0, item.file.file) and self._source.files([other]):
            return first if self._source.had_path(other, item.path) else verdict([other])
        return first

    def _lacks_facts(self, found: StoredObject) -> bool:
        """Whether it has not the metadata that every object of ours has; a directory keeps none (V-21)."""
        return facts_in_metadata(found.attributes) is None and not self._store.url.startswith("file:")

    def _look(self, name: str) -> StoredObject | None:
        """The object; without its bytes if it is larger than any of ours. Raises `StoreError`; it is a plain one if
        only this object cannot be read."""
        try:
            facts = self._store.head(name)
            return facts if facts.size_bytes > _OBJECT_BYTES_MAX else self._store.get(name)
        except ObjectNotFound:
            return None
        except (StoreDenied, Corrupt) as error:
            raise StoreError(f"what stands there cannot be read: {error}") from error

    def settled(self, name: str) -> list[Shown]:
        """What stands at a name, if an earlier writer was putting it there when it died. Raises `StoreError`."""
        found = self._look(self.prefix + name)
        if found is None or self._lacks_facts(found):
            return []
        digest = hashlib.sha256(found.data).digest()
        was = restored(path_of(self.prefix, name) or b"", found.data, found.attributes).was
        return [
            replace(it.row, etag=found.tag, modified_at=found.modified_at)
            for it in self._table.begun(name)
            if it.object == digest and may_be(was, it.row)
        ]

    # ---- deletions ----

    def delete(self, deletes: Sequence[Delete], done: Done) -> None:
        """Delete objects that no file has any more, as far as they are what is known of them. Raises as `write`."""
        if not deletes:
            return
        self._pause()
        rows = {it.row.name: it.row for it in deletes}
        tags = self._tags(sorted(rows))
        going = [name for name, row in rows.items() if row.etag and tags.get(name) == row.etag]
        gone = [name for name in rows if name not in tags]
        doubtful = rows.keys() - set(going) - set(gone)
        self._delete(going, done)  # at once: what was seen grows old
        for name in sorted(doubtful):
            if self._may_go(name, rows[name], done):
                self._delete([name], done)
                going.append(name)
            elif name not in done.held:
                gone.append(name)
        self._table.forget(name for name in (*going, *gone) if name not in done.stuck)

    def _delete(self, names: Sequence[str], done: Done) -> None:
        """What a program is writing stays, and is `stuck`."""
        if not names:
            return
        self._failpoint("view.delete")
        busy: dict[str, str] = {}
        try:
            self._store.delete_many([self.prefix + name for name in names])
        except ObjectBusy:
            for name in names:  # the others are gone: this tells which are not
                try:
                    self._store.delete(self.prefix + name)
                except ObjectBusy as error:
                    busy[name] = str(error)
        self._failpoint("view.deleted")
        done.stuck |= busy
        done.deleted += len(names) - len(busy)

    def delete_leftovers(self, names: Iterable[str], done: Done) -> None:
        """Delete the objects at names that no file has, if they are versions that the log has, of files that had
        these names. What is something else is left for whoever takes it in. Raises as `write`."""
        for name in names:
            if self._may_go(name, None, None):
                self._delete([name], done)

    def _may_go(self, name: str, row: Shown | None, done: Done | None) -> bool:
        try:
            found = self._look(self.prefix + name)
        except _STOPPING:
            raise
        except StoreError as error:
            if done is not None:
                self._table.hold(name, str(error))
                done.held.add(name)
            return False
        if found is None:
            return False
        if found.size_bytes <= _OBJECT_BYTES_MAX:
            path = path_of(self.prefix, name) or b""
            it = may_go(
                name,
                path,
                found,
                volume=self._volume,
                head=self._source.head(),
                known=row,
                begun=self._table.begun(name),
                has=lambda was: self._source.has(was, found.modified_at),
            )
            if it.verdict is Verdict.OLD and (row is not None or self._was_left(it.row.file, path, found)):
                return True
        if done is not None:
            self._table.hold(name, "another tool changed it, and its file has gone")
            done.held.add(name)
        return False

    def _was_left(self, file: InodeId, path: bytes, found: StoredObject) -> bool:
        """What somebody put there long after the file had gone was put back, and is not a keeper's (V-81)."""
        return self._source.had_path(file, path) and self._source.may_be_left(path, found.modified_at)

    def _tags(self, names: Sequence[str]) -> dict[str, str]:
        """What stands at the names: the tag of each that is there."""
        if len(names) > _HEADS_MAX:
            common = _common(names[0], names[-1])
            found: dict[str, str] = {}
            wanted = set(names)
            after = ""
            for _ in range(1 + len(names) // _HEADS_MAX):
                try:
                    page = self._store.list(self.prefix + common, after=after, limit=_PAGE, foreign=True)
                except NameNotListed:
                    break
                found |= {it.name.removeprefix(self.prefix): it.tag for it in page}
                if len(page) < _PAGE or page[-1].name >= self.prefix + names[-1]:
                    return {name: tag for name, tag in found.items() if name in wanted}
                after = page[-1].name
            names = [name for name in names if self.prefix + name > after]
        else:
            found, wanted = {}, set(names)
        return {name: tag for name, tag in (found | self._heads(names)).items() if name in wanted}

    def _heads(self, names: Sequence[str]) -> dict[str, str]:
        """The tags of those that are there; one request for each."""

        def tag_of(name: str) -> str | None:
            try:
                return self._store.head(self.prefix + name).tag
            except ObjectNotFound:
                return None

        if len(names) <= _HEADS_MAX:
            tags = [tag_of(name) for name in names]
        else:
            with ThreadPoolExecutor(PARALLEL, "agentfs-heads") as pool:
                tags = list(pool.map(tag_of, names))
        return {name: tag for name, tag in zip(names, tags, strict=True) if tag is not None}

    def names_at(self, name: str) -> list[str]:
        """The objects that stand at a name and, as in a directory, below it; with "" all. One request for a
        thousand."""
        return [it for it in self.listed(name) if it == name or not name or it.startswith(f"{name}/")]

    def listed(self, start: str = "") -> dict[str, str]:
        """Everything whose name starts so, with its tag. Where another tool's name keeps the store's client from
        listing them: what is expected, with one request for each."""
        found: dict[str, str] = {}
        after = ""
        while True:
            try:
                page = self._store.list(self.prefix + start, after=after, limit=_PAGE, foreign=True)
            except NameNotListed:
                names = {name for name in (start, *self._expected()) if name and name.startswith(start)}
                return self._heads(sorted(names))
            found |= {it.name.removeprefix(self.prefix): it.tag for it in page}
            if len(page) < _PAGE:
                return found
            after = page[-1].name

    # ---- inside ----

    def _all(
        self, do: "Callable[[_Made], _Put | None]", items: Sequence[_Made]
    ) -> "list[tuple[_Made, _Put | BaseException | None]]":
        def guarded(item: _Made) -> "_Put | BaseException | None":
            try:
                return do(item)
            except Exception as error:  # noqa: BLE001 - it is raised again when what succeeded is written down
                return error

        if len(items) <= 1:
            return [(item, guarded(item)) for item in items]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(PARALLEL, "agentfs-view")
        return list(zip(items, self._pool.map(guarded, items), strict=True))


@dataclass(frozen=True, slots=True)
class _Put:
    row: Shown
    put: int
    reason: str = ""
    """Why it was left alone."""
    doubtful: bool = False
    """A put that makes the object if there is none may still arrive: also when its file has gone."""


class _TooOldError(Exception):
    """What was known when the object was to be made is not of now: it is looked at again."""


def _is_edit(item: Item) -> bool:
    """Whether it is put over exactly what is known to stand there: that does no harm, however late."""
    over = item.put.over
    return over is not None and bool(over.digest and over.etag)


def _common(first: str, last: str) -> str:
    """What both begin with."""
    length = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)
    return first[: min(len(first), len(last)) if length is None else length]


def _version(item: Item, row: Shown | None) -> int | None:
    """The number of this content where `row` stands or stood."""
    if row is None or row.version is None:
        return item.version
    if row.file == item.fact.file and row.digest == item.fact.digest:
        return row.version
    return row.version + max(item.added, 1)


def path_of(prefix: str, name: str) -> bytes | None:
    """The path of the file that has this object; None: no file can."""
    place = place_of(prefix + name)
    return None if place is None else place[2]
