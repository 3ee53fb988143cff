"""The way back: what other tools did in the bucket, looked for and committed (docs/view.md, V-80 ff.).

What it promises: an object that somebody put, changed or deleted becomes part of the log once, or is named in the
report. Each step can be repeated from the beginning: before the commit nothing was done; after it the commit itself
says which objects it took in; and what `view.db` says of an object is written last.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from agentfs.clock import Clock
from agentfs.errors import BucketNotFound, Corrupt, ObjectNotFound, StoreError, StoreUnavailable
from agentfs.format.layout import volume_name
from agentfs.model.records import InodeId
from agentfs.replica.replica import Replica
from agentfs.stores.protocol import Entry, Store, StoredObject
from agentfs.sync.engine import Engine
from agentfs.view.claims import LEFTOVER_NS, FoundObject, Stood, moved_from
from agentfs.view.content_encoding import ENCODING, EncodingUnknownError, decoded
from agentfs.view.growing import before
from agentfs.view.importing import GoneObject, Outcome, Taken
from agentfs.view.log_files import LogFile, LogFiles
from agentfs.view.looking import CONFIRM_S, YOUNG_S, Looked, Patience, Showing, is_as_known, is_too_much, looked
from agentfs.view.naming import view_prefix
from agentfs.view.restoring import restored
from agentfs.view.rules import FILE_BYTES_MAX, Rules
from agentfs.view.shown import Shown, ShownTable
from agentfs.view.writer import path_of
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService
from agentfs.volume.messages import Message
from agentfs.volume.view_commit import BucketCommits

_LOG = logging.getLogger(__name__)

_PARALLEL = 4
_PAGE = 1000
_BYTES_AT_ONCE = 64 * 1024 * 1024
_OBJECTS_AT_ONCE = 5000
"""Of objects that are in memory at once; the others are looked at in a moment."""
_TOLD = 20
_SECOND_NS = 1_000_000_000
_FUTURE_NS = 86_400 * _SECOND_NS
LOOKED_AT, LEFT, BRAKE, TAKEN_AT = "looked_at_ns", "left", "brake", "taken_at_ns"
"""Single facts of `view.db`: when the last whole look ended, by this machine's clock; names that are left alone, as
JSON; what the brake holds, as JSON; since when nobody else has kept the view."""
_CHANGED = frozenset({Taken.CREATED, Taken.EDITED, Taken.MERGED, Taken.KEPT_ASIDE, Taken.DELETED, Taken.RENAMED})
_LEFT_S = 3600.0
"""An object that was left alone is read again after so long."""


@dataclass(slots=True)
class LookReport:
    """What one look did."""

    objects: int | None = None
    """In the bucket; None: only some were looked at."""
    outcomes: list[Outcome] = field(default_factory=list)
    """Of everything that was not as it was known."""
    waiting: list[str] = field(default_factory=list)
    """Names that are looked at again in a moment."""
    braked: int = 0
    """Objects that are gone, and are too many to believe it (V-84)."""
    left: int = 0
    """Names that are left alone."""

    def message(self) -> Message:
        changed = [it for it in self.outcomes if it.taken in _CHANGED]
        return {
            "objects": self.objects,
            "imported": [{"name": it.name, "what": it.taken.value, "why": it.why} for it in changed],
            "waiting": self.waiting,
            "braked": self.braked,
            "left": self.left,
        }


@dataclass(frozen=True, slots=True)
class _Got:
    """An object with its bytes, and what it means."""

    entry: Entry
    found: FoundObject
    encoded: bool
    """It stands there in another encoding."""


class BucketImport:
    """Of one engine's volume; called by one thread at a time."""

    def __init__(
        self,
        plan: EnginePlan,
        replica: Replica,
        table: ShownTable,
        files: LogFiles,
        history: HistoryService,
        *,
        clock: Clock,
        due: Callable[[Iterable[InodeId]], None],
        showing: Callable[[], Showing],
    ) -> None:
        """`due` is told of the files whose objects are to be looked at by the writer."""
        self._volume = volume_name(plan.kind, plan.volume_id)
        self._prefix = view_prefix(plan.kind, plan.volume_id)
        self._commits = BucketCommits(plan, replica, history, clock=clock)
        self._table = table
        self._files = files
        self._clock = clock
        self._due = due
        self._showing = showing
        self._turn = threading.Lock()
        self._patience = Patience()
        self._accepted: frozenset[str] = frozenset()
        self._left: dict[tuple[str, str], str] = {}
        """Objects that are no file's, by name and tag: why. They are not read with every look."""
        self._placeless: dict[tuple[str, str], str] = {}
        """Likewise, for as long as the log has no place for such a file."""
        self._left_at = clock.monotonic()

    # ---- looking ----

    def look(self, engine: Engine) -> LookReport:
        """Look at all names, and take in what is to be taken in: on return it is remotely durable. Raises what the
        store and the log raise, and `Unavailable` when the log moves on all the time: nothing is lost, look again."""
        with self._turn:
            engine.pull_now()
            store = engine.ground.store
            rows = {row.name: row for row in self._rows()}
            found = looked(self._listed(store), rows.values(), self._path)
            taken_ns = self._table.state(TAKEN_AT) or 0  # an earlier keeper's put may still arrive
            known_whole = self._table.state(LOOKED_AT) is not None and self._clock.wall_ns() >= taken_ns + LEFTOVER_NS
            report = self._take_in(engine, found, rows, appeared=known_whole, whole=True)
            self._remember(found, report)
        return report

    def look_at(self, engine: Engine, names: Iterable[str]) -> LookReport:
        """As `look`, at these names only: one request for each."""
        with self._turn:
            engine.pull_now()
            store, rows, entries, wanted = engine.ground.store, dict[str, Shown](), list[Entry](), sorted(set(names))
            for name in wanted:
                row = self._table.get(name)
                if row is not None:
                    rows[name] = row
                try:
                    it = store.head(self._prefix + name)
                    entries.append(Entry(name, it.size_bytes, it.modified_at, it.tag))
                except ObjectNotFound:
                    continue
            # What is gone, or emptied, is for a look at all: the brake counts them.
            found = replace(looked(entries, rows.values(), self._path), gone=())
            report = self._take_in(engine, found, rows, appeared=False, whole=False)
            there = {it.name for it in entries}
            for name in wanted:
                if name not in there:
                    self._settled(name)
                    if name not in rows:  # no look at all will miss it
                        self._due(it.file for it in self._files.files_at([self._path(name) or b""]).values())
        return report

    def accept(self, engine: Engine) -> LookReport:
        """Believe the deletions that the brake holds. Raises as `look`."""
        with self._turn:
            self._accepted = self._braked()
        try:
            return self.look(engine)
        finally:
            self._accepted = frozenset()

    def _remember(self, found: Looked, report: LookReport) -> None:
        """What a whole look says, for the next one and for `agentfs view status`."""
        waiting = set(report.waiting)
        kept = [(it.name, it.tag or str(it.modified_at)) for it in found.differs]
        self._patience.keep([*kept, *((name, what) for name in waiting for what in ("gone", "empty"))])
        now = self._clock.monotonic()
        if now - self._left_at > _LEFT_S:
            self._left.clear()
            self._placeless.clear()
            self._left_at = now
        left = dict(found.left)
        for it in found.differs:
            if why := self._left.get((it.name, it.tag)) or self._placeless.get((it.name, it.tag)):
                left[it.name] = why
        report.objects, report.left = found.objects, len(left)
        self._table.set_state(LEFT, json.dumps({"count": len(left), "names": dict(list(left.items())[:_TOLD])}))
        self._table.set_state(LOOKED_AT, self._clock.wall_ns())

    def _rows(self) -> Iterable[Shown]:
        after = ""
        while page := self._table.page(after):
            yield from page
            after = page[-1].name

    def _listed(self, store: Store) -> Iterable[Entry]:
        after = ""
        while True:
            page = store.list(self._prefix, after=after, limit=_PAGE, foreign=True)
            for it in page:
                yield Entry(it.name.removeprefix(self._prefix), it.size_bytes, it.modified_at, it.tag)
            if len(page) < _PAGE:
                return
            after = page[-1].name

    def _path(self, name: str) -> bytes | None:
        return path_of(self._prefix, name)

    # ---- taking in ----

    def _take_in(
        self, engine: Engine, found: Looked, rows: dict[str, Shown], *, appeared: bool, whole: bool
    ) -> LookReport:
        report = LookReport()
        if not found.differs and not found.gone:
            if whole:
                self._brake([])
            return report
        showing = self._showing()
        keeps, rules = showing.keeps, showing.rules
        got = self._got(engine.ground.store, found.differs, rows, report, rules, appeared=appeared and keeps)
        bare = engine.ground.store.url.startswith("file:")  # a directory keeps no attributes
        got = [replace(it, found=replace(it.found, stood=self._stood(it.found, showing), bare=bare)) for it in got]
        gone = self._gone(found, rows, got, report, rules, keeps=keeps) if whole else []
        emptied = {it.entry.name for it in got if not self._believed_empty(it, rows, report, whole=whole)}
        moving = self._moving(found, got, report) if keeps and not report.braked else set[str]()
        report.waiting += sorted(moving - emptied)
        got = [it for it in got if it.entry.name not in emptied | moving]
        fresh = [it for it in got if not self._is_ours(it)]
        try:
            if fresh or gone:
                objects = [it.found for it in fresh]
                self._commits.take_in(engine, objects, gone, report.outcomes, accepted=bool(self._accepted))
        finally:
            self._settle({it.entry.name: it for it in fresh}, report, bare=bare)
        return report

    def _got(
        self,
        store: Store,
        entries: Iterable[Entry],
        rows: dict[str, Shown],
        report: LookReport,
        rules: Rules,
        *,
        appeared: bool,
    ) -> list[_Got]:
        """The objects that nobody seems to be writing, with their bytes."""
        wall_s, now_s = self._clock.wall_ns() / _SECOND_NS, self._clock.monotonic()
        wanted: list[Entry] = []
        size_bytes = 0
        for entry in entries:
            known = self._table.get(entry.name)
            if self._is_left(entry) or (known is not None and is_as_known(entry, known)):
                continue  # known by now: the writer was at it
            fits = not wanted or (size_bytes + entry.size_bytes <= _BYTES_AT_ONCE and len(wanted) < _OBJECTS_AT_ONCE)
            if self._patience.settled(entry, wall_s=wall_s, now_s=now_s) and fits:
                wanted.append(entry)
                size_bytes += entry.size_bytes
            else:
                report.waiting.append(entry.name)

        got: list[_Got] = []
        if not wanted:
            return got
        room = max(size_bytes, _BYTES_AT_ONCE)  # also for what is small in its encoding only
        with ThreadPoolExecutor(min(_PARALLEL, len(wanted)), "agentfs-look") as pool:
            for entry, it in zip(wanted, pool.map(lambda entry: self._read(store, entry), wanted), strict=True):
                if isinstance(it, str):
                    self._left[entry.name, entry.tag] = it
                elif it is None or room <= 0 or (it.tag and entry.tag and it.tag != entry.tag):
                    report.waiting.append(entry.name)
                else:
                    new = appeared and entry.name not in rows
                    try:
                        data = decoded(entry.name, it.data, it.attributes.get(ENCODING, ""), bytes_max=FILE_BYTES_MAX)
                    except EncodingUnknownError as error:
                        self._left[entry.name, entry.tag] = str(error)
                        continue
                    room -= len(data)
                    found = self._found(entry, it, data, rules, appeared=new)
                    got.append(_Got(entry, found, encoded=data is not it.data))
        return got

    def _is_left(self, entry: Entry) -> bool:
        key = entry.name, entry.tag
        if key in self._placeless and self._files.has_place(self._path(entry.name) or b""):
            del self._placeless[key]  # what was in the way has gone
        return key in self._left or key in self._placeless

    def _read(self, store: Store, entry: Entry) -> StoredObject | str | None:
        """The object; why it cannot be read, which must not keep the others waiting; None: it is gone."""
        try:
            return store.get(self._prefix + entry.name)
        except ObjectNotFound:
            return None
        except (StoreUnavailable, BucketNotFound):
            raise
        except (StoreError, Corrupt) as error:
            return f"it cannot be read: {error}"

    def _found(self, entry: Entry, it: StoredObject, data: bytes, rules: Rules, *, appeared: bool) -> FoundObject:
        path = self._path(entry.name) or b""
        means = restored(path, data, it.attributes)
        modified_ns = max(0, int(entry.modified_at)) * _SECOND_NS
        if modified_ns > self._clock.wall_ns() + _FUTURE_NS:
            modified_ns = 0  # a time that somebody made up must not become the log's
        return FoundObject(
            entry.name,
            path,
            hashlib.sha256(it.data).digest(),
            means.data,
            means.was,
            means.edited,
            modified_ns,
            max(0, int(entry.modified_at)),
            appeared,
            self._is_hidden(self._files.files_at([path]).get(path), path, rules),
            before=before(self._table.get(entry.name), path, it.data, it.attributes),
        )

    def _stood(self, found: FoundObject, showing: Showing) -> Stood | None:
        """What is known to have stood at the name, before another tool put something there."""
        if not showing.known:
            there = self._files.files_at([found.path]).get(found.path)
            return Stood(0 if there is None else there.file, showing.through)
        row = self._table.get(found.name)
        if row is None:
            return Stood(0, 0)
        return Stood(row.file, row.sequence) if row.file and (row.sequence or not row.digest) else None

    @staticmethod
    def _is_hidden(file: LogFile | None, path: bytes, rules: Rules) -> bool:
        """Whether the log has a file there that the view does not show."""
        return file is not None and (file.content.size_bytes > FILE_BYTES_MAX or rules.policy(path) == "none")

    def _is_ours(self, it: _Got) -> bool:
        """Whether a keeper wrote it, and the log still has it so. Remembers that."""
        entry, found = it.entry, it.found
        known = self._table.get(entry.name)
        if known is not None and is_as_known(entry, known):
            return True
        digest = hashlib.sha256(found.data).digest()
        begun = next((one.row for one in self._table.begun(entry.name) if one.object == found.digest), None)
        was = found.was
        if begun is not None:
            row = begun
        elif was is not None and not found.edited and was.whole and was.volume == self._volume and not it.encoded:
            there = self._files.files_at([found.path]).get(found.path)
            if there is None or there.file != was.file or there.content.digest != digest:
                return False
            row = Shown(entry.name, was.file, was.sequence, digest, "", 0, was.version, 0.0)
        else:
            return False
        self._table.put([_at(row, entry)])
        self._table.release(entry.name)
        self._due([row.file])
        return True

    def _gone(
        self,
        found: Looked,
        rows: dict[str, Shown],
        got: list[_Got],
        report: LookReport,
        rules: Rules,
        *,
        keeps: bool,
    ) -> list[GoneObject]:
        """Objects of files that the log has and the view shows, and that two looks did not see. Who does not keep the
        view cannot tell them from those that its keeper took away."""
        missing: list[tuple[Shown, bytes]] = []
        for row in found.gone:
            path = self._path(row.name)
            file = self._files.files_at([path]).get(path) if path is not None else None
            shown = file is not None and (file.file, file.content.digest) == (row.file, row.digest)
            if path is not None and shown and not self._is_hidden(file, path, rules):
                missing.append((row, path))
            else:  # the log has gone on as well
                self._table.forget([row.name])
                self._due([row.file] if file is None else [row.file, file.file])
        names = {row.name for row, _ in missing} | {it.entry.name for it in got if self._is_emptied(it, rows)}
        sizes = {name: row.size_bytes for name, row in rows.items()}
        names |= {it.name for it in found.differs if not it.size_bytes and sizes.get(it.name)}
        if not keeps:
            report.waiting += [row.name for row, _ in missing]
            return []
        # What was too much stays so until somebody says what it is: other objects that come are no answer.
        too_much = is_too_much(len(names), len(rows)) or not names.isdisjoint(self._braked())
        if too_much and not names <= self._accepted:
            report.braked = len(names)
            self._brake(sorted(names))
            return []
        self._brake([])
        now_s = self._clock.monotonic()
        believed = []
        for row, path in missing:
            if row.name in self._accepted or self._patience.confirmed(row.name, "gone", now_s=now_s):
                believed.append(GoneObject(row.name, path, row.file, row.digest))
            else:
                report.waiting.append(row.name)
        return believed

    @staticmethod
    def _moving(found: Looked, got: list[_Got], report: LookReport) -> set[str]:
        """Unedited copies of versions whose own objects seem to be gone: until that is believed they wait, so that a
        file is renamed and keeps what it is."""
        waiting = set(report.waiting)
        going = {(row.file, row.digest): row for row in found.gone if row.name in waiting}
        return {it.entry.name for it in got if moved_from(it.found, going) is not None} if going else set()

    def _braked(self) -> frozenset[str]:
        held = self._table.state(BRAKE)
        return frozenset(json.loads(held)["names"]) if held else frozenset()

    def _brake(self, names: list[str]) -> None:
        before = self._table.state(BRAKE)
        if not names:
            if before:
                self._table.set_state(BRAKE, "")
            return
        if not before:
            _LOG.warning(
                "%d objects of %s are gone from the bucket at once: nothing was deleted here. If it was meant: "
                "agentfs view accept; if not: agentfs view rebuild",
                len(names),
                self._volume,
            )
        self._table.set_state(BRAKE, json.dumps({"names": names}))

    @staticmethod
    def _is_emptied(it: _Got, rows: dict[str, Shown]) -> bool:
        row = rows.get(it.entry.name)
        return not it.found.data and row is not None and row.size_bytes > 0

    def _believed_empty(self, it: _Got, rows: dict[str, Shown], report: LookReport, *, whole: bool) -> bool:
        """A tool that failed leaves an empty object: it is believed when it is still empty."""
        if not self._is_emptied(it, rows):
            return True
        if report.braked:
            return False
        name, now_s = it.entry.name, self._clock.monotonic()
        if name in self._accepted or (whole and self._patience.confirmed(name, "empty", now_s=now_s)):
            return True
        report.waiting.append(it.entry.name)
        return False

    # ---- after it ----

    def _settle(self, fresh: dict[str, _Got], report: LookReport, *, bare: bool) -> None:
        """What is known of the objects now: the writer puts what they should be over exactly these."""
        files: set[InodeId] = set()
        for it in report.outcomes:
            got = fresh.get(it.name)
            if got is None and it.taken is Taken.WAITS:
                report.waiting.append(it.name)  # a deletion that is not forgotten, and nothing to be written again
                continue
            if got is None:
                self._table.forget([it.name])
                files.add(it.file)
                self._settled(it.name)
                continue
            was = got.found.was
            if it.taken is Taken.WAITS:
                self._table.hold(it.name, it.why)
                report.waiting.append(it.name)
                continue
            if it.taken is Taken.LEFT_ALONE:
                left = self._left if self._files.has_place(got.found.path) else self._placeless
                left[it.name, got.entry.tag] = it.why
                self._settled(it.name)
                continue
            there = self._files.files_at([got.found.path]).get(got.found.path)
            owner = it.file or (was.file if was is not None else 0)
            version = was.version if was is not None else None
            digest = hashlib.sha256(got.found.data).digest()
            # At its file's own name it is nobody's, so that it is written again over exactly this; elsewhere it goes.
            # Where there are no attributes to be written, the file's bytes stay: a program may be writing on.
            is_whole = bare and there is not None and got.found.digest == digest == there.content.digest
            file = owner if there is None else there.file if is_whole else 0
            self._table.put([_at(Shown(it.name, file, 0, digest, "", 0, version, 0.0), got.entry)])
            self._settled(it.name)
            files.add(there.file if there is not None else owner)
        if files:
            self._due(files)

    def _settled(self, name: str) -> None:
        self._table.release(name)


def forget_looks(table: ShownTable, *, now_ns: int) -> None:
    """Another kept the view until now: nobody here has looked at it, and nothing is known to be gone."""
    for key, value in ((LOOKED_AT, None), (BRAKE, ""), (TAKEN_AT, now_ns)):
        table.set_state(key, value)


def seconds_until_again(report: LookReport, interval_s: float) -> float:
    """When to look next, after that."""
    if not report.waiting:
        return interval_s
    soon = max(YOUNG_S, CONFIRM_S)
    return min(interval_s, soon) if interval_s > 0 else soon


def _at(row: Shown, entry: Entry) -> Shown:
    return Shown(
        row.name, row.file, row.sequence, row.digest, entry.tag, entry.size_bytes, row.version, entry.modified_at
    )
