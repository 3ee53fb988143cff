"""Search and recall of one engine's volume: the thread that feeds the index, and the words that ask it.

The thread works in small pieces, waits while the engine pushes or pulls, and sleeps in between: a program that uses
the home in this process must not feel it. A question first catches up with what changed, for a bounded time. The
libraries that this needs are loaded when there is something to index, or when somebody asks.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, IndexOff, NoSpace, Unavailable
from agentfs.memory.access import Hidden, Reader
from agentfs.memory.documents import endings_of, unread_kinds
from agentfs.memory.index_file import index_path
from agentfs.memory.results import HALF_LIFE_NS, Asked
from agentfs.memory.sources import Sources
from agentfs.replica.database import Connection, translated
from agentfs.replica.replica import Replica
from agentfs.replica.sessions import boot_id
from agentfs.sync.engine import Engine
from agentfs.tree.tree import Tree
from agentfs.volume import memory_words as words
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.log_bytes import LogBytes
from agentfs.volume.messages import Message
from agentfs.volume.store_clock import StoreClock

if TYPE_CHECKING:  # numpy, the tokenizer and the weights: half a second that not every engine needs
    from agentfs.memory.embedding import Embedder
    from agentfs.memory.expiry import Expiry
    from agentfs.memory.index import Index
    from agentfs.memory.tokens import TokenCounter
    from agentfs.memory.vectors import VectorFiller
    from agentfs.memory.worker import Worker
    from agentfs.volume.carried_index import CarriedIndexes

_LOG = logging.getLogger(__name__)

Progress = Callable[[Message], None]
Answer = Callable[[Engine, Message, Progress], Message]
Do = Callable[["Opened", Asked, Message], Message]

_FIRST_SECONDS = 1.0
"""A program that opens a home for a moment does not index it."""
_LOOK_SECONDS = 0.5
"""Between looks at the journal."""
_SLICE_SECONDS = 0.02
_REST_SECONDS = 0.01
"""Between slices: others want the interpreter, too."""
_BUSY_STEP_SECONDS = 0.005
_BUSY_SECONDS_MAX = 0.25
"""One file is indexed so often at least, however long the engine is at work."""
_USED_SECONDS = 0.1
_USED_SECONDS_MAX = 3.0
"""Beside a program that writes all the time, a few files are indexed so often; all of them when somebody asks."""
_TROUBLE_SECONDS = 5.0
_INDEX_FIRST_SECONDS = 20.0
"""So long, at most, nothing is fetched ahead because an index may be on its way."""
_TOLD_SECONDS = 0.3
"""Between two lines of progress."""
_VECTORS_ASKED = 32
"""A question makes the vectors of so many passages, of what just came. The others come in the background."""
_STATS_SECONDS = 5.0
_WAIT_SECONDS_MAX = 600.0
_OF_ALL = ("size_bytes", "carried", "carried_at", "carried_problem", "problem")
"""Of the stats."""
_NS = 1_000_000_000


@dataclass(slots=True)
class Opened:
    """What is there once the index is."""

    sources: Sources
    index: "Index"
    worker: "Worker"
    filler: "VectorFiller"
    expiry: "Expiry"
    embedder: "Embedder | None"
    counter: "TokenCounter"
    bytes_of: LogBytes
    time: StoreClock
    hidden: Hidden
    carried: "CarriedIndexes"

    def close(self) -> None:
        self.bytes_of.close()
        self.index.close()
        self.sources.close()


class MemoryService:
    """Made with the engine's services; `start` begins the thread."""

    def __init__(self, plan: EnginePlan, replica: Replica, clock: Clock) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._replica = replica
        self._clock = clock
        self._stop = threading.Event()
        self._opening = threading.Lock()
        self._ending = threading.Lock()
        """Who deletes what is over."""
        self._embedding = threading.Lock()
        """Who makes vectors: an embedder may take its time, and no question waits long for that."""
        self._opened: Opened | None = None
        self._thread: threading.Thread | None = None
        self._index_first_until: float | None = None
        """Until when nothing is fetched ahead; None: not known yet."""
        self._problem = ""
        self._embedder_problem = ""
        """Why there is no embedder, though the settings name one."""
        self._stats: tuple[float, Message] | None = None
        self._used = 0, float("-inf")
        """Where the journal ended, and since when."""

    # ---- the thread ----

    def start(self, engine: Engine) -> None:
        """On return what is known to be over is gone. Begin to index in the background; an engine that lives for one
        command only answers."""
        if not self._settings.index:
            return
        try:
            if self._is_something_over():
                self._end_what_is_over(engine, self.opened(engine))
        except AgentFSError as error:  # an index never keeps an engine from starting
            self._note(str(error))
        if self._plan.prefetch:
            self._thread = threading.Thread(target=self._run, args=(engine,), name="index", daemon=True)
            self._thread.start()

    def _run(self, engine: Engine) -> None:
        seconds = _FIRST_SECONDS
        while not self._clock.wait(self._stop, seconds):
            try:
                seconds = self._piece(engine)
                self._problem = ""
            except AgentFSError as error:
                if self._stop.is_set():
                    return
                self._note(str(error))
                seconds = _TROUBLE_SECONDS
            except Exception:  # noqa: BLE001 - the index is derived: an engine must not end with it
                _LOG.exception("indexing failed; trying again")
                self._note("indexing failed: see the engine's log")
                seconds = _TROUBLE_SECONDS

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            _LOG.warning("the index: %s", problem)
        self._problem = problem

    def _piece(self, engine: Engine) -> float:
        """Do a little. Returns the seconds until there is more to do."""
        if self._opened is None and not self._has_files():
            return _LOOK_SECONDS
        it = self.opened(engine)
        self._end_what_is_over(engine, it)
        it.expiry.prepare()
        it.worker.look()
        if it.worker.work(_SLICE_SECONDS, patient=True, pause=lambda: self._give_way(engine)):
            return _REST_SECONDS
        self._give_way(engine)
        with self._embedding:
            more = it.filler.work(_SLICE_SECONDS, indexed=it.worker.indexed)
        if more or (not it.worker.behind and it.carried.piece(it.index, it.sources)):
            return _REST_SECONDS
        if it.index.learn():  # ahead of questions
            return _REST_SECONDS
        over_ns = it.expiry.next_ns()
        if over_ns is None:
            return _LOOK_SECONDS
        return min(max((over_ns - it.time.now_ns()) / _NS, 0.001), _LOOK_SECONDS)

    def may_fetch_ahead(self) -> bool:
        """Not while a new machine waits for the index that another made: its first questions are answered with it,
        and files that are opened meanwhile are fetched all the same."""
        now = self._clock.monotonic()
        if self._index_first_until is None:
            self._index_first_until = now + _INDEX_FIRST_SECONDS if self._is_index_worth_waiting() else now
        if now < self._index_first_until and self._opened is not None and not self._opened.worker.may_take:
            self._index_first_until = now
        return now >= self._index_first_until

    def _is_index_worth_waiting(self) -> bool:
        settings = self._settings
        if not (settings.index and self._plan.prefetch) or settings.index_carry == "off":
            return False
        if os.path.exists(index_path(self._replica.directory)):
            return False
        from agentfs.volume.carried_index import documents_min  # noqa: PLC0415 - see above

        with self._replica.lock:
            row = self._replica.connection.one("SELECT count(*) FROM inode WHERE kind=1")
        return row is not None and row[0] >= documents_min(settings)

    def _give_way(self, engine: Engine) -> None:
        """Wait while the engine pushes or pulls, for a moment, and while the program whose process this is writes,
        for a little longer."""
        now = self._clock.monotonic()
        busy_until, used_until = now + _BUSY_SECONDS_MAX, now + _USED_SECONDS_MAX
        while not self._stop.is_set():
            now = self._clock.monotonic()
            if not (engine.busy and now < busy_until) and not (now < used_until and self._is_used(now)):
                return
            self._clock.wait(self._stop, _BUSY_STEP_SECONDS)

    def _is_used(self, now: float) -> bool:
        """Whether something changed here just now, and whoever did it wants the interpreter."""
        if self._plan.alone:
            return False
        end = self._replica.journal_end()
        if end != self._used[0]:
            self._used = end, now
        return now - self._used[1] < _USED_SECONDS

    def _has_files(self) -> bool:
        with self._replica.lock:
            return self._replica.connection.one("SELECT 1 FROM inode WHERE kind=1 LIMIT 1") is not None

    def _is_something_over(self) -> bool:
        """As the index knows it, without loading what reads it."""
        path = index_path(self._replica.directory)
        if self._settings.read_only or not os.path.exists(path):
            return False
        try:
            connection = Connection(path, read_only=True)
            try:
                with translated(path):
                    row = connection.one("SELECT min(expires_ns) FROM document WHERE expires_ns IS NOT NULL")
            finally:
                connection.close()
        except AgentFSError:  # damaged, or of another version: it is made anew when it is used
            return False
        return row is not None and row[0] is not None and row[0] <= self._clock.wall_ns()

    def _end_what_is_over(self, engine: Engine, it: Opened) -> None:
        with self._ending:
            if it.expiry.run():
                engine.wake()

    def close(self) -> None:
        """End the thread. Repeating it is harmless."""
        self._stop.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_TROUBLE_SECONDS)
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    # ---- opening ----

    def opened(self, engine: Engine) -> Opened:
        """The index and who feeds it, made at the first call. Raises `IndexOff`, and what opening it raises."""
        if not self._settings.index:
            raise IndexOff("search and recall are off here: agentfs config set index true, and mount again")
        with self._opening:
            if self._stop.is_set():
                raise Unavailable("this process is closing the home")
            if self._opened is None:
                self._opened = self._made(engine)
            return self._opened

    def _made(self, engine: Engine) -> Opened:
        from agentfs.memory.embedders import embedder_named  # noqa: PLC0415 - see above
        from agentfs.memory.expiry import Expiry  # noqa: PLC0415
        from agentfs.memory.index import Index  # noqa: PLC0415
        from agentfs.memory.rules import document_rules  # noqa: PLC0415
        from agentfs.memory.tokens import default_counter  # noqa: PLC0415
        from agentfs.memory.vectors import ForQuestions, VectorFiller  # noqa: PLC0415
        from agentfs.memory.worker import Worker  # noqa: PLC0415
        from agentfs.volume.carried_index import CarriedIndexes  # noqa: PLC0415

        settings, clock = self._settings, self._clock
        embedder = None
        if settings.embedder != "off":
            try:
                embedder = embedder_named(settings.embedder, url=settings.embedder_url)
            except AgentFSError as error:  # words answer all the same; the status says it
                self._embedder_problem = str(error)
                _LOG.warning("without vectors: %s", error)
        counter = default_counter()
        sources = Sources(self._replica, skipped=settings.index_ignore)
        index = Index(self._replica.directory, counter=counter)
        bytes_of = LogBytes(engine.ground)
        era = f"{boot_id()} {' '.join(settings.index_ignore)}"
        rules = f"{self._replica.state('replica_id')} {_rules()}"
        carried = CarriedIndexes(engine.ground, settings, rules=document_rules(counter.name))
        worker = Worker(sources, index, fetch=bytes_of.fetch, clock=clock, era=era, rules=rules, carrier=carried)
        tree = Tree(self._replica, clock=clock)

        def unlink(directory: int, name: bytes, ino: int, change: int) -> None:
            tree.unlink(directory, name, as_of=(ino, change), ended=True)

        time = StoreClock(engine.ground)
        expiry = Expiry(sources, index, worker, unlink=None if settings.read_only else unlink, time=time)
        filler = VectorFiller(index, embedder, clock=clock)
        asking = None if embedder is None else ForQuestions(embedder, filler)
        hidden = Hidden(sources)
        return Opened(sources, index, worker, filler, expiry, asking, counter, bytes_of, time, hidden, carried)

    # ---- answers ----

    def answers(self) -> dict[str, Answer]:
        """By the word in `{"do": word}`."""
        return {
            words.RECALL: self._asking(_recall),
            words.SEARCH: self._asking(_search),
            words.RELATED: self._asking(_related),
            words.TIMELINE: self._asking(_timeline),
            words.TOPICS: self._asking(_topics),
            words.TAGS: self._asking(_tags),
            words.LINKS: self._asking(_links),
            words.STATS: self._word_stats,
            words.REINDEX: self._reindex,
        }

    def _asking(self, do: Do) -> Answer:
        def answer(engine: Engine, request: Message, progress: Progress) -> Message:
            it = self.opened(engine)
            self._catch_up(engine, it, request, progress)
            # An old file may have 0: then all would be equally old, and nothing recent.
            half_life_ns = int(self._settings.recall_half_life_seconds * _NS) or HALF_LIFE_NS
            asked = words.asked_of(request, now_ns=it.time.now_ns(), half_life_ns=half_life_ns)
            asked = _with_reader(asked, request, it)
            found = it.index.steady(lambda: do(it, asked, request))
            return words.answered(
                found | {"behind": it.worker.behind_of({*asked.hidden, *it.expiry.staying})}, progress
            )

        return answer

    def _catch_up(self, engine: Engine, it: Opened, request: Message, progress: Progress) -> None:
        """On return what changed before the question is indexed, as far as its time allows."""
        wait = request.get("wait")
        seconds = float(wait) if isinstance(wait, int | float) else words.WAIT_SECONDS
        deadline = self._clock.monotonic() + min(max(seconds, 0.0), _WAIT_SECONDS_MAX)
        try:
            self._advance(engine, it, deadline, progress)
        except NoSpace as error:  # what is indexed answers
            self._note(str(error))

    def _advance(self, engine: Engine, it: Opened, deadline: float, progress: Progress) -> None:
        self._end_what_is_over(engine, it)
        more = it.worker.advance(0.0, left=deadline - self._clock.monotonic())
        most = it.worker.behind
        while more and (left := deadline - self._clock.monotonic()) > 0:
            more = it.worker.advance(min(_TOLD_SECONDS, left), left=left)
            progress({"indexed": max(most - it.worker.behind, 0), "of": most})
        # What was over before it was indexed is over all the same.
        self._end_what_is_over(engine, it)
        if self._embedding.acquire(timeout=_TOLD_SECONDS):
            try:
                with contextlib.suppress(Unavailable):
                    it.filler.work(0.0, indexed=it.worker.indexed, texts=_VECTORS_ASKED)
            finally:
                self._embedding.release()

    def _word_stats(self, engine: Engine, request: Message, progress: Progress) -> Message:
        it = self.opened(engine)
        self._catch_up(engine, it, request, progress)
        hidden = _hidden_from(request, it)
        found = self._stats_of(it, hidden)
        if hidden:  # they tell of all there is, and a problem may name a file
            found = {key: value for key, value in found.items() if key not in _OF_ALL}
        return found

    def _stats_of(self, it: Opened, hidden: Collection[int] = frozenset()) -> Message:
        stats = it.index.stats(hidden)
        unread = {kind: it.index.unread(endings_of(kind), hidden) for kind in unread_kinds()}
        unread = {kind: files for kind, files in unread.items() if files}
        return {
            "documents": stats.documents,
            "passages": stats.passages,
            "vectors": stats.vectors,
            "tokens": stats.tokens,
            "size_bytes": stats.size_bytes,
            "embedder": it.embedder.name if it.embedder is not None else "",
            "counter": it.counter.name,
            "behind": it.worker.behind_of({*hidden, *it.expiry.staying}),
            "away": it.worker.away_of(hidden),
            "vectorless": max(stats.passages - stats.vectors, 0) if it.embedder is not None else 0,
            "next_expiry_ns": it.index.next_expiry(hidden),
            "unread": unread,
            "unread_help": _unread_text(unread),
            "carried": it.worker.taken,
            "carried_at": it.carried.put_sequence,
            "carried_problem": it.carried.problem,
            "problem": self._trouble(it),
        }

    def _trouble(self, it: Opened | None) -> str:
        problems = [self._problem, self._embedder_problem]
        if it is not None:
            problems += [it.worker.problem, it.filler.problem, it.expiry.problem, it.time.problem]
        return next((problem for problem in problems if problem), "")

    def _reindex(self, engine: Engine, _request: Message, progress: Progress) -> Message:
        """Drop the index and make it anew. `progress`: files that are done, and how many there are."""
        it = self.opened(engine)
        it.worker.start_over()
        most = it.worker.look()
        more = True
        while more:
            more = it.worker.work(_TOLD_SECONDS)
            progress({"indexed": max(most - it.worker.behind, 0), "of": most})
            it.worker.look()
        more = True
        while more:
            with self._embedding:
                more = it.filler.work(_TOLD_SECONDS, indexed=it.worker.indexed)
            progress({"indexed": max(most - it.worker.behind, 0), "of": most})
        self._end_what_is_over(engine, it)
        return self._stats_of(it)

    # ---- status ----

    def facts(self) -> Message:
        """For `status`: never waits, and opens nothing."""
        it = self._opened
        if not self._settings.index:
            return {"memory": {"state": "off"}}
        if it is None:
            return {"memory": {"state": "waiting", "problem": self._problem}}
        now = self._clock.monotonic()
        if self._stats is None or now - self._stats[0] > _STATS_SECONDS:
            with contextlib.suppress(AgentFSError):
                self._stats = now, self._stats_of(it)
        stats = self._stats[1] if self._stats is not None else {}
        behind = it.worker.behind_of(it.expiry.staying)
        state = "indexing" if behind > it.worker.away else "ready"
        fresh = {
            "indexed": it.worker.indexed,
            "behind": behind,
            "away": it.worker.away,
            "problem": self._trouble(it),
        }
        return {"memory": {"state": state, **stats, **fresh}}


def _rules() -> str:
    """Of how files become documents: they change with AgentFS, and with the libraries that read HTML and PDF."""
    from importlib import metadata, util  # noqa: PLC0415

    readers = [name for name in ("pypdf", "selectolax") if util.find_spec(name) is not None]
    try:
        version = metadata.version("agentfs-home")
    except metadata.PackageNotFoundError:
        version = "source"
    return " ".join((version, *readers))


# ---- words ----


def _with_reader(asked: Asked, request: Message, it: Opened) -> Asked:
    """With what the caller may read. Without `uid` it is the volume's owner, who may read everything."""
    who = _who(request)
    if who is None:
        return asked
    reader = Reader(it.sources, uid=who[0], gids=who[1], owner=who[2])
    return replace(asked, readable=reader, hidden=it.hidden.of(*who))


def _hidden_from(request: Message, it: Opened) -> Collection[int]:
    who = _who(request)
    return frozenset() if who is None else it.hidden.of(*who)


def _who(request: Message) -> tuple[int, frozenset[int], tuple[int, int] | None] | None:
    """None: somebody who may read everything."""
    uid, gids, owner = request.get("uid"), request.get("gids") or [], request.get("owner")
    if not isinstance(uid, int) or uid == 0:
        return None
    seems = (int(owner[0]), int(owner[1])) if isinstance(owner, list) and len(owner) == 2 else None
    return uid, frozenset(map(int, gids)), seems


def _unread_text(unread: Mapping[str, int]) -> str:
    """One line; empty where all is read."""
    files = ", ".join(f"{many} {kind}" for kind, many in unread.items())
    return f"{files}: pip install 'agentfs-home[documents]'" if files else ""


def _recall(it: Opened, asked: Asked, _request: Message) -> Message:
    from agentfs.memory.recalling import recall  # noqa: PLC0415

    return dict(words.message_of(recall(it.index, it.embedder, it.counter, asked)))


def _search(it: Opened, asked: Asked, _request: Message) -> Message:
    from agentfs.memory.recalling import search  # noqa: PLC0415

    return {"found": words.message_of(search(it.index, it.embedder, it.counter, asked))}


def _related(it: Opened, asked: Asked, _request: Message) -> Message:
    from agentfs.memory.browsing import related  # noqa: PLC0415

    return {"found": words.message_of(related(it.index, it.embedder, it.counter, asked))}


def _timeline(it: Opened, asked: Asked, _request: Message) -> Message:
    from agentfs.memory.browsing import timeline  # noqa: PLC0415

    return {"found": words.message_of(timeline(it.index, it.embedder, it.counter, asked))}


def _topics(it: Opened, asked: Asked, _request: Message) -> Message:
    from agentfs.memory.browsing import topics  # noqa: PLC0415

    return {"topics": words.message_of(topics(it.index, asked))}


def _tags(it: Opened, asked: Asked, _request: Message) -> Message:
    from agentfs.memory.recalling import filters_of  # noqa: PLC0415

    return {"tags": words.message_of(it.index.tags(filters_of(asked)))}


def _links(it: Opened, asked: Asked, _request: Message) -> Message:
    from agentfs.memory.links import links  # noqa: PLC0415

    return dict(words.message_of(links(it.index, asked.path, now_ns=asked.now_ns, readable=asked.readable)))
