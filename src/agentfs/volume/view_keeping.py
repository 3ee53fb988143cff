"""The keeper of a volume's view at work: it takes over, follows the log, and has the objects written (docs/view.md,
V-60 ff.). For one thread at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agentfs.clock import Clock
from agentfs.errors import NotFound, Unavailable
from agentfs.format.layout import volume_name
from agentfs.format.limits import SEQUENCE_FIRST
from agentfs.model.records import Commit, InodeId
from agentfs.replica.replica import Replica
from agentfs.sync.engine import Engine
from agentfs.view.due import Due, expected
from agentfs.view.facts import time_text
from agentfs.view.log_files import LogFile, LogFiles
from agentfs.view.looking import Showing
from agentfs.view.mark import SIGN_S, Mark, MarkFile, encode
from agentfs.view.naming import OBJECT_NAME_BYTES_MAX, object_name, view_prefix
from agentfs.view.plan import Delete, Put, Wanted, steps
from agentfs.view.rules import FILE_BYTES_MAX, Policy, Rules
from agentfs.view.shown import ContentFact, Shown, ShownTable
from agentfs.view.writer import Done, Item, ViewWriter, path_of
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService
from agentfs.volume.view_import import forget_looks
from agentfs.volume.view_source import ViewSource

ROUND_FILES = 256
"""Of one step of work."""
AGE_S = 1.0
"""What has been due for so long is written …"""
LAZY_AGE_S = 300.0
"""… or for so long, in mode `lazy`."""
_READ_COMMITS_MAX = 1000
"""Who is further behind looks at everything."""
_PLACES_MAX = 50
_MARK_S = 60.0
_TRUST_S = 60.0
"""Objects are made and deleted by nobody who has not seen the mark and the end of the log for so long."""
_STUCK_S = 60.0
_SMALL_FILES = 100
_UNSHOWN_MAX = 1000
_PAGE = 1000


@dataclass(slots=True)
class Told:
    """What became of the work, for people."""

    put: int = 0
    deleted: int = 0
    stuck: dict[str, str] = field(default_factory=dict)
    """Objects that the store does not take, and why."""
    foreign: list[str] = field(default_factory=list)
    """Names that are no file's, as the last listing had them."""


class Keeper:
    """The mark, what is due, and the writer of one volume."""

    def __init__(
        self,
        plan: EnginePlan,
        replica: Replica,
        engine: Engine,
        history: HistoryService,
        table: ShownTable,
        *,
        clock: Clock,
        pause: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._replica = replica
        self._engine = engine
        self._table = table
        self._clock = clock
        ground = engine.ground
        self.volume = volume_name(plan.kind, plan.volume_id)
        self.prefix = view_prefix(plan.kind, plan.volume_id)
        self.tree = LogFiles(replica)
        self.marks = MarkFile(ground.store, self.volume)
        self._source = ViewSource(engine, self.tree, history, table, self.volume)
        self.writer = ViewWriter(
            ground.store,
            plan.kind,
            plan.volume_id,
            table=table,
            source=self._source,
            expected=lambda: expected(self.tree, table, self._name_of),
            is_fresh=self._is_fresh,
            renewed=self._renewed,
            pause=pause,
            failpoint=ground.failpoint,
        )
        self.due = Due(self.tree, table, self._name_of)
        self.told = Told()
        self.mark: Mark | None = None
        """As it was read or put last."""
        self._tag = ""
        self._token = ""
        """What the mark names while this is the keeper."""
        self.keeping = False
        self._rules = Rules()
        self._mark_at = 0.0
        self._told_of = 0
        """Objects that were written or deleted when the mark was put last: more are a sign of life."""
        self._looked_at, self._looked_wall_ns = 0.0, 0
        self._begun_at = 0
        """The commit up to which this keeper had to do what others had left."""
        self._leftovers: list[str] | None = []
        """Names that were lost while another kept the view: what still stands there may be of then. None: all."""

    def close(self) -> None:
        """Repeating it is harmless."""
        self.writer.close()
        self._source.close()
        self.tree.close()

    # ---- the mark ----

    def look(self) -> Mark | None:
        """Read the mark. Raises `Corrupt`, `NewerFormat`, `StoreError`."""
        mark, tag = self.marks.read()
        self._learn(mark, tag)
        return mark

    def _learn(self, mark: Mark | None, tag: str) -> None:
        self._looked_at, self._looked_wall_ns = self._clock.monotonic(), self._clock.wall_ns()
        if mark is not None and (self.mark is None or self.mark.rules != mark.rules):
            self._rules = Rules(mark.rules)
        self.mark, self._tag = mark, tag
        if mark is None or mark.keeper != self._token or mark.mode == "off":
            self.keeping = False

    def is_ours(self, mark: Mark) -> bool:
        """Whether the keeper that it names was an engine of this replica: it has ended, or there were two."""
        return bool(mark.keeper) and mark.keeper in (self._token, self._table.state("keeper"))

    def take_over(self, commits: Sequence[Commit]) -> bool:
        """Become the keeper, from the mark that was read last on; with none, of a new view. `commits`: what was seen
        of the log until now. False: another was faster. Raises what the store and the log raise."""
        before = self.mark
        if (before is not None and self.tree.head() < before.through) or self._engine.end_unseen_s >= _TRUST_S:
            self._engine.pull_now()  # what is written already must be known here, and what has gone since
        token = self._engine.ground.entropy(16).hex()
        wanted = Mark(self.volume, mode=self._plan.settings.view) if before is None else before
        wanted = replace(wanted, keeper=token, author=self._plan.agent, time=self._now())
        # What is known of the objects is all there is to know, if nobody else kept the view since we did.
        same = self._table.state("mark") == encode(before) if before is not None else True
        unfinished = self._table.state("leftovers") == 1
        trusted = before is None or (same and not unfinished)
        if not trusted or before is None:
            self._table.set_state("leftovers", int(not trusted))
        self._token = token
        if not self._put(wanted, over=self._tag if before is not None else None):
            return False
        self._table.set_state("keeper", token)
        lost = [] if trusted else self._unlearn()
        # What an earlier keeper of this replica forgot, and died before it wrote it, nobody knows any more.
        since = 0 if unfinished else wanted.through
        if trusted and before is not None:
            since = max(since, int(self._table.state("through") or 0))
        self._begin(since, commits, listing=before is not None, trusted=trusted)
        if before is None and self._table.counts()[0]:
            self.again()  # there was a view, and somebody has taken its mark away
        self.due.add(lost, now=self._clock.monotonic())
        self.keeping = True
        return True

    def _unlearn(self) -> list[InodeId]:
        """Another kept the view: forget the objects that do not stand there as they are known, so that none of them
        counts as deleted by another tool, and know of all that do. The files of the former, and those that have no
        object though nobody here knew of one; also forget that anybody looked here."""
        forget_looks(self._table, now_ns=self._clock.wall_ns())  # what was gone is written again
        tags = self.writer.listed()
        lost = self._forget_others(tags) + self.due.missing(tags)
        names = [name for name in tags if path_of(self.prefix, name) is not None and self._table.get(name) is None]
        through = self.mark.through if self.mark is not None else 0
        for start in range(0, len(names), _PAGE):
            paths = {name: path_of(self.prefix, name) or b"" for name in names[start : start + _PAGE]}
            there = self.tree.files_at(paths.values())
            # Without a digest and a tag: it is looked at before anything is put over it, or it is deleted. So much is
            # known of it: at least what the file was at `through` was shown there.
            self._table.put(
                Shown(name, there[path].file, through, b"", "", 0, None, 0.0)
                for name, path in paths.items()
                if path in there
            )
        return lost

    def _put(self, wanted: Mark, *, over: str | None) -> bool:
        tag = self.marks.put(wanted, over=over)
        if tag is None:
            return False
        self._learn(wanted, tag)
        self._mark_at = self._clock.monotonic()
        self._told_of = self.told.put + self.told.deleted
        self._table.set_state("mark", encode(wanted))
        return True

    def tell(self, *, ended: bool = False) -> None:
        """Put the mark if it is time to, or if this keeper ends: this tells others that it lives, and it whether they
        changed the rules. Raises as `look`."""
        now = self._clock.monotonic()
        if not self.keeping or self.mark is None:
            return
        through = self.due.through if self._leftovers == [] else self.mark.through
        # Before the first `through` all objects would be looked at by whoever comes next.
        if not ended and now - self._mark_at < _MARK_S and (self.mark.through or not through):
            return
        idle = through <= self.mark.through and self._told_of == self.told.put + self.told.deleted
        if not ended and idle and now - self._mark_at < SIGN_S:
            return
        keeper = "" if ended else self.mark.keeper
        wanted = replace(self.mark, through=max(through, self.mark.through), keeper=keeper, time=self._now())
        if self._put(wanted, over=self._tag):
            self.keeping = not ended
            return
        self._look_again()
        if self.keeping and ended and self.mark is not None:
            self._put(replace(self.mark, keeper="", time=self._now()), over=self._tag)
            self.keeping = False

    def _is_still_ours(self) -> bool:
        """Asked before objects are made or deleted: what an engine that had slept takes for new, or for lost, may
        have gone, or come back, since; the facts of objects do not tell. False also if the rules are others now."""
        rules = self._rules
        self._look_again()
        return self.keeping and self._rules is rules

    def _is_fresh(self) -> bool:
        """Whether the mark and the end of the log were seen a moment ago. An engine may have slept since anything:
        what it takes for new has gone, and another keeps the view. One of the clocks stands still meanwhile."""
        wall_s = abs(self._clock.wall_ns() - self._looked_wall_ns) / 1e9
        return max(self._clock.monotonic() - self._looked_at, wall_s, self._engine.end_unseen_s) < _TRUST_S

    def _renewed(self) -> bool:
        """See both again. Returns whether objects may be made. Raises as `look`."""
        if self._engine.end_unseen_s >= _TRUST_S / 2:
            self._engine.pull_now()
        return self._is_still_ours()

    def _look_again(self) -> None:
        """Somebody else may have changed the mark."""
        rules = self._rules.rules
        now = self.look()
        if not self.keeping or now is None:
            return
        self._table.set_state("mark", encode(now))
        if now.rules != rules:
            self._all_due()

    def changed(self, do: Callable[[Mark], Mark]) -> Mark:
        """Change what the volume shows: `rules` and `mode`. Makes the mark where there is none. Raises as `look`, and
        `Unavailable`."""
        rules = self._rules.rules

        def made(before: Mark | None) -> Mark:
            start = before if before is not None else Mark(self.volume, mode=self._plan.settings.view)
            after = replace(do(start), time=self._now())
            return replace(after, through=0) if after.rules != start.rules else after

        mark, tag = self.marks.change(made, mends=True)
        assert mark is not None
        ours = self.keeping and mark.keeper == self._token
        self._learn(mark, tag)
        if ours:
            self._table.set_state("mark", encode(mark))
        if self.keeping and mark.rules != rules:
            self._all_due()
        return mark

    # ---- what is due ----

    def _begin(self, since: int, commits: Sequence[Commit], *, listing: bool, trusted: bool) -> None:
        """Find what is due after `since`."""
        self.due.clear()
        self.due.seen = since
        self._leftovers = []
        now = self._clock.monotonic()
        self._settle_begun()
        missing = self._missing(since, commits) if since else None
        if missing is None:
            self._all_due()
            self.due.seen = max([self.due.seen, *(it.sequence for it in commits)])
            self._leftovers = None if listing and not trusted else []
        else:
            for commit in (*missing, *commits):
                if commit.sequence > self.due.seen:
                    self.due.commit(commit, now=now)
                    if not trusted:
                        self._leftovers += self._lost(commit)
        self._begun_at = self.due.seen

    def follow(self, commits: Iterable[Commit]) -> None:
        """Take in commits in the order of the log; what is missing between is read from it."""
        now = self._clock.monotonic()
        for commit in commits:
            if commit.sequence <= self.due.seen:
                continue
            if commit.sequence > self.due.seen + 1:
                missing = self._missing(self.due.seen, [commit])
                if missing is None:
                    self._all_due()
                for one in missing or ():
                    self.due.commit(one, now=now)
            self.due.commit(commit, now=now)

    def catch_up(self) -> None:
        """The replica is further than what was heard of: it began anew at a snapshot, say."""
        missing = self._missing(self.due.seen, ())
        if missing is None:
            self._all_due()
        else:
            self.follow(missing)

    def _missing(self, since: int, commits: Sequence[Commit]) -> list[Commit] | None:
        """The commits after `since` up to the first of these, or to the head; None: they are too many, or gone."""
        end = commits[0].sequence - 1 if commits else self.tree.head()
        return None if end - since > _READ_COMMITS_MAX else self._source.commits(since + 1, end)

    def _lost(self, commit: Commit) -> list[str]:
        """The names of the places that a commit took away, as far as they can be told from where things are now."""
        files = self.tree.files(it.child for it in commit.links)
        places = [(it.parent, it.name) for it in commit.unlinks]
        places += [(it.parent, it.name) for it in commit.links if it.child not in files]  # in the place of a file
        paths = [self.tree.path_of(*place) for place in places]
        names = [self._name_of(path) for path in paths if path is not None]
        return [name for name in names if name is not None]

    def _all_due(self) -> None:
        """Compare everything that is known with everything that should be."""
        now = self._clock.monotonic()
        self._table.set_state("through", 0)
        self.due.seen = self._begun_at = max(self.due.seen, self.tree.head())
        self.due.add(self.tree.below(), now=now - LAZY_AGE_S, sequence=SEQUENCE_FIRST)
        after = ""
        while page := self._table.page(after, _PAGE):
            self.due.add((row.file for row in page if row.file), now=now - LAZY_AGE_S, sequence=SEQUENCE_FIRST)
            self.due.strays.update(row.name for row in page if not row.file)
            after = page[-1].name

    def _settle_begun(self) -> None:
        """What was being put when an earlier keeper of this replica died: find out."""
        begun = self._table.begun()
        names = {it.row.name for it in begun}
        for name in names:
            rows = self.writer.settled(name)
            self._table.ended(rows, (), [name])
        self.due.add({it.row.file for it in begun}, now=self._clock.monotonic())

    # ---- working ----

    @property
    def is_settled(self) -> bool:
        """Whether everything that is known to be due is done."""
        return self.due.through == self.due.seen and self._leftovers == []

    @property
    def is_whole(self) -> bool:
        """Whether everything that was due when this keeper began is done: what stands there and is not known is
        another's, and no other keeper's."""
        return self.due.through >= self._begun_at and self._leftovers == []

    @property
    def is_fork(self) -> bool:
        return bool(self._engine.ground.log.origins)

    @property
    def is_small(self) -> bool:
        """Whether a command that ends in a moment may begin the view."""
        return len(self.tree.below()) <= _SMALL_FILES

    @property
    def name_bytes_max(self) -> int:
        return min(OBJECT_NAME_BYTES_MAX, self._engine.ground.store.name_bytes_max)

    @property
    def age_s(self) -> float:
        return LAZY_AGE_S if self.mark is not None and self.mark.mode == "lazy" else AGE_S

    def work(self, *, age_s: float | None = None, limit: int = ROUND_FILES) -> bool:
        """Write some of what is ripe. Returns whether there is more. Raises `StoreUnavailable`, `StoreDenied`,
        `BucketNotFound`, `NoSpace`, `Unavailable`: what was written by then is remembered."""
        now = self._clock.monotonic()
        files = self.due.ripe(now=now, age_s=self.age_s if age_s is None else age_s, limit=limit)
        if (files or self.due.strays) and not self._is_fresh():
            self._renewed()
        if files and self.keeping:
            self._write(files)
        if self.due.strays and self.keeping:
            self._clear_strays()
        if not self.keeping:
            return False
        if self.due.through >= self._begun_at:
            self._clear_leftovers()
            if self._leftovers == [] and self._table.state("leftovers") != 0:
                self._table.set_state("leftovers", 0)
        if self.due.through == self.due.seen and self._table.state("through") != self.due.seen:
            self._table.set_state("through", self.due.seen)
        return len(files) == limit

    def _clear_strays(self) -> None:
        """Objects that are known and are not known to be any file's, at names that changed."""
        rows = {name: row for name in self.due.strays if (row := self._table.get(name)) is not None and not row.file}
        owners = self._owners(rows)
        self.due.add(owners.values(), now=self._clock.monotonic())
        held = self._table.held()
        lost = [Delete(row) for name, row in rows.items() if name not in owners and name not in held]
        if lost and not self._is_still_ours():
            return
        done = Done()
        self.writer.delete(lost, done)
        self.told.deleted += done.deleted
        self.due.strays = set(done.stuck)

    def _write(self, files: Sequence[InodeId]) -> None:
        rules, log = self._rules, self.tree.files(files)
        wanted = [self._wanted(file, log.get(file)) for file in files]
        candidates = {name for it in log.values() for name, _ in self._names(it)}
        rows = {row.name: row for file in files for row in self._table.of_file(file)}
        rows |= {name: row for name in candidates if (row := self._table.get(name)) is not None}
        plan = steps(wanted, rows.values(), self._owners(rows), self._table.held())
        self.due.add(plan.again, now=self._clock.monotonic())
        done = Done()
        # An edit is put over the tag that is known; all else would do harm if another keeper knows better.
        news = plan.first or any(put.over is None or not put.over.etag for put in plan.puts)
        if news and not self._is_still_ours():
            return
        try:
            self.writer.delete(plan.first, done)
            self.writer.write(list(self._items(plan.puts, log, done)), done)
            if plan.deletes and not self._is_still_ours():
                return
            self.writer.delete(plan.deletes, done)
        finally:
            self.told.put += done.put
            self.told.deleted += done.deleted
        if self._rules is not rules:
            return  # they were seen to be others in the middle: all is due again
        self._ended(files, log, [*plan.puts, *(it.row for it in (*plan.first, *plan.deletes))], done)

    def _ended(
        self, files: Sequence[InodeId], log: Mapping[InodeId, LogFile], tried: Sequence[Put | Shown], done: Done
    ) -> None:
        stuck = {it.file for it in tried if it.name in done.stuck}
        for name in [*(it.name for it in tried), *(name for file in log.values() for name, _ in self._names(file))]:
            self.told.stuck.pop(name, None)
        self.told.stuck |= done.stuck
        again = self._clock.monotonic() + _STUCK_S
        for file in files:
            if file in done.again:
                continue
            if file in stuck:
                self.due.later(file, at=again)
            else:
                self.due.done(file)
        gone = [file for file in files if file not in log]
        if gone:
            self._table.forget_facts(gone)

    def _wanted(self, file: InodeId, found: LogFile | None) -> Wanted:
        if found is None:
            return Wanted(file, b"", 0)
        news = self.due.news.get(file)
        known = news is not None and news.fact.digest == found.content.digest
        return Wanted(
            file,
            found.content.digest,
            found.content.size_bytes,
            news.fact.sequence if news is not None and known else 0,
            {name: policy for name, policy in self._names(found) if policy != "none"},
        )

    def _names(self, file: LogFile) -> Iterator[tuple[str, Policy]]:
        """The names that an object of the file can have, and what the rules say of each."""
        for path in file.paths:
            name = self._name_of(path)
            if name is not None:
                yield name, "none" if file.content.size_bytes > FILE_BYTES_MAX else self._rules.policy(path)

    def _name_of(self, path: bytes) -> str | None:
        name = object_name(self._plan.kind, self._plan.volume_id, path, bytes_max=self.name_bytes_max)
        return None if name is None else name.removeprefix(self.prefix)

    def _owners(self, rows: Iterable[str]) -> dict[str, InodeId]:
        paths = {name: path for name in rows if (path := path_of(self.prefix, name)) is not None}
        found = self.tree.files_at(paths.values())
        return {
            name: found[path].file
            for name, path in paths.items()
            if path in found and dict(self._names(found[path])).get(name, "none") != "none"
        }

    def _items(self, puts: Iterable[Put], log: Mapping[InodeId, LogFile], done: Done) -> Iterator[Item]:
        for put in puts:
            file = log[put.file]
            path = path_of(self.prefix, put.name)
            assert path is not None
            found = self._fact(file, path)
            if found is None:
                done.stuck[put.name] = "its history is not known on this machine yet"
                continue
            fact, added, version = found
            yield Item(put, path, file, fact, added, version)

    def _fact(self, file: LogFile, path: bytes) -> tuple[ContentFact, int, int | None] | None:
        """What brought the file's content, how many contents came since the last put, and its number, where that is
        known."""
        news = self.due.news.get(file.file)
        rows = self._table.of_file(file.file)
        version = next((row.version for row in rows if row.version is not None), None)
        if news is not None and news.fact.digest == file.content.digest:
            if version is not None:
                version += news.added
            elif news.born:
                version = news.added
            return news.fact, news.added, version
        known = self._table.fact(file.file, file.content.digest)
        if known is not None and version is not None:
            return known, 0, version
        try:
            return self._source.told_by_history(file, path)
        except (Unavailable, NotFound):
            return None if known is None else (known, 0, version)

    # ---- what others left ----

    def _clear_leftovers(self) -> None:
        """Objects at names that files lost while another kept the view: it may have died before it deleted them."""
        names = self._leftovers
        if names == []:
            return
        self._look_for(names)

    def _look_for(self, names: list[str] | None) -> None:
        found: set[str] = set()
        if names is None or len(names) > _PLACES_MAX:
            found.update(self.writer.names_at(""))
            self.told.foreign = sorted(it for it in found if path_of(self.prefix, it) is None)[:_UNSHOWN_MAX]
        else:
            for name in dict.fromkeys(names):
                found.update(self.writer.names_at(name))
        paths = {name: path for name in found if (path := path_of(self.prefix, name)) is not None}
        there = self.tree.files_at(paths.values())
        lost = []
        for name, path in sorted(paths.items()):
            if self._table.get(name) is not None:
                continue
            if path in there:  # a file that the rules do not show
                if dict(self._names(there[path])).get(name, "none") == "none":
                    lost.append(name)
            elif names is None or any(name == it or name.startswith(f"{it}/") for it in names):
                lost.append(name)
        done = Done()
        if lost and not self._is_still_ours():
            return
        self.writer.delete_leftovers(lost, done)
        self.told.deleted += done.deleted
        self._leftovers = []

    def again(self) -> None:
        """Look at every name on the store, and make everything due: what is missing is written again, what is not
        what it was is looked at. Raises `StoreError`."""
        self._table.set_state("leftovers", 1)
        self._forget_others(self.writer.listed())
        self._all_due()
        self._leftovers = None

    def _forget_others(self, tags: Mapping[str, str]) -> list[InodeId]:
        """What is known of objects that do not stand there so: forget it. Their files."""
        self.told.foreign = sorted(it for it in tags if path_of(self.prefix, it) is None)[:_UNSHOWN_MAX]
        files: list[InodeId] = []
        after = ""
        while page := self._table.page(after, _PAGE):
            gone = [row for row in page if tags.get(row.name) != row.etag]
            self._table.forget(row.name for row in gone)
            files += [row.file for row in gone if row.file]
            after = page[-1].name
        return files

    # ---- for who looks ----

    def showing(self) -> Showing:
        """Reads the mark. Raises as `look`."""
        if self.keeping:
            self._look_again()
        else:
            self.look()
        mark = self.mark
        known = self.keeping or (mark is not None and self._table.state("mark") == encode(mark))
        return Showing(self.keeping, self._rules, known, 0 if mark is None else mark.through)

    def _now(self) -> str:
        return time_text(self._clock.wall_ns() // 1_000_000_000 * 1_000_000_000)
