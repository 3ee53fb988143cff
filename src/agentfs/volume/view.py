"""The view of one engine's volume: who keeps it, when, and what others may ask of it (docs/view.md, V-60 ff.).

A thread of its own beside the engine's: nothing here is in the way of a commit, and it makes room while the engine
pushes or pulls. What it has not done when the engine ends, the next keeper does.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, InvalidArgument, ReadOnly, StoreDenied, Unavailable
from agentfs.model.records import Commit, InodeId
from agentfs.replica.replica import Replica
from agentfs.stores.protocol import Store
from agentfs.sync.engine import Engine
from agentfs.view.looking import Showing
from agentfs.view.mark import SIGN_S, Mark, MarkFile, mode_of
from agentfs.view.rules import RULES_MAX, Rule, Rules, checked_rule
from agentfs.view.shown import ShownTable
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService
from agentfs.volume.messages import Message
from agentfs.volume.view_keeping import Keeper
from agentfs.volume.view_looking import BucketLooks
from agentfs.volume.view_status import LISTED_MAX, away_because, mark_message, some, unshown
from agentfs.volume.view_words import VIEW_ACCEPT, VIEW_CHANGE, VIEW_LOOK, VIEW_REBUILD, VIEW_STATUS

_LOG = logging.getLogger(__name__)

Progress = Callable[[Message], None]
Answer = Callable[[Engine, Message, Progress], Message]

_FIRST_SECONDS = 1.0
"""A program that opens a home for a moment does not ask for the mark."""
_LOOK_SECONDS = 0.5
"""Between looks at what was committed."""
_IDLE_SECONDS = 30.0
_STANDBY_SECONDS = 60.0
"""Between two looks at the mark, while another's keeper seems to be behind …"""
_GIVEN_UP_SECONDS = 180.0
"""… and so long it must have done nothing."""
_SILENT_SECONDS = 2 * SIGN_S + 300.0
"""So long without a sign, a keeper lives no more."""
_OFF_SECONDS = 600.0
"""Between two looks at the mark of a volume that has no view."""
_TROUBLE_SECONDS = 5.0
_TROUBLE_SECONDS_MAX = 300.0
_GAP_SECONDS = 3.0
_END_SECONDS = 2.0
"""At the end what is due is written for so long."""
_LAST_FILES = 16
_ASK_SECONDS = 2.0
_BUSY_STEP_SECONDS = 0.005
_BUSY_SECONDS_MAX = 0.25
"""An object is written so often at least, however long the engine is at work."""
_COMMITS_MAX = 4096
"""More that nobody has taken in are read from the log when they are needed."""


class _OvertakenError(Unavailable):
    """Another engine has become the keeper."""


class ViewService:
    """Made with the engine's services; `start` begins the thread."""

    def __init__(
        self,
        plan: EnginePlan,
        replica: Replica,
        history: HistoryService,
        clock: Clock,
        *,
        hurried: Store | None = None,
    ) -> None:
        """`hurried`: the engine's store, but one that gives up early."""
        self._plan = plan
        self._hurried = hurried
        self._settings = plan.settings
        self._replica = replica
        self._history = history
        self._clock = clock
        self.table = ShownTable(replica.directory)
        self._news = threading.Lock()
        self._commits: deque[Commit] = deque(maxlen=_COMMITS_MAX)
        self._asked: set[InodeId] = set()
        self._work = threading.RLock()
        """Who writes."""
        self._looks = BucketLooks(
            plan, replica, history, self.table, clock=clock, due=self.due, showing=self._showing
        )
        self._keeper: Keeper | None = None
        self._thread: threading.Thread | None = None
        self._engine: Engine | None = None
        self._stop = threading.Event()
        self._awake = threading.Event()
        self._look_at = self._looked_at = float("-inf")
        self._watching = False
        """Another keeps the view, as far as is known."""
        self._heard: tuple[Mark, float] | None = None
        """Another's mark, and since when it says the same."""
        self._lagging_since: float | None = None
        """Since when it says so and is behind the log."""
        self._behind_since: float | None = None
        self._failures = 0
        self._by_itself = False
        """What looks now was not asked to."""
        self._held = 0
        """Names that are left alone, when it was counted last."""
        self._problem = ""
        self._ended = False

    # ---- for other parts ----

    @property
    def enabled(self) -> bool:
        """Whether this machine may keep the view."""
        return self._settings.view != "off" and not self._settings.read_only

    @property
    def keeping(self) -> bool:
        """Whether this engine is the keeper."""
        keeper = self._keeper
        return keeper is not None and keeper.keeping

    @property
    def settled(self) -> bool:
        """Whether this engine is the keeper and has written all that it knows to be due: what stands at a name and is
        not what the table says is another's doing."""
        keeper = self._keeper
        with self._news:
            news = bool(self._commits or self._asked)
        return keeper is not None and keeper.keeping and not news and keeper.is_settled

    def due(self, files: Iterable[InodeId]) -> None:
        """Look at the objects of these files again: they are made what they should be. From any thread."""
        with self._news:
            self._asked.update(files)
        self._awake.set()

    def wake(self) -> None:
        """Do not sleep until the next round. From any thread."""
        self._awake.set()

    def observe(self, commit: Commit, _digest: bytes) -> None:
        """See `sync.ground.Observer`."""
        if self.enabled:
            with self._news:
                self._commits.append(commit)
            self._awake.set()

    # ---- the thread ----

    def start(self, engine: Engine) -> None:
        """Begin to keep the view in the background; an engine that lives for one command only answers."""
        self._engine = engine
        if self.enabled and self._plan.prefetch:
            self._thread = threading.Thread(target=self._run, args=(engine,), name="view", daemon=True)
            self._thread.start()

    def _run(self, engine: Engine) -> None:
        seconds = _FIRST_SECONDS
        self._clock.wait(self._stop, seconds)
        while not self._stop.is_set():
            self._awake.clear()
            seconds = self._guarded(lambda: self.step(engine))
            if not self._stop.is_set():
                self._clock.wait(self._awake, seconds)

    def _guarded(self, do: Callable[[], float]) -> float:
        """Do it; what it raises becomes the problem. Returns the seconds until the next time."""
        try:
            with self._work:
                seconds = do()
        except AgentFSError as error:
            self._note(str(error))
        except Exception:  # noqa: BLE001 - the view is derived: an engine must not end with it
            if self._ended:  # what it works with was closed under it
                return 0.0
            _LOG.exception("keeping the view failed; trying again")
            self._note("keeping the view failed: see the engine's log")
        else:
            self._failures, self._problem = 0, ""
            return seconds
        self._failures += 1
        return min(_TROUBLE_SECONDS * float(2 ** min(self._failures - 1, 10)), _TROUBLE_SECONDS_MAX)

    def _note(self, problem: str) -> None:
        if problem != self._problem and not self._stop.is_set():
            _LOG.warning("the view: %s", problem)
        self._problem = problem

    def step(self, engine: Engine) -> float:
        """Do a little. Returns the seconds until there is more to do."""
        keeper = self._opened(engine)
        if not keeper.keeping:
            wait = self._stand_by(keeper)
            if not keeper.keeping:
                return wait
        self._take_news(keeper)
        more = keeper.work()
        self._held = len(self.table.held())
        keeper.tell()
        if more or not keeper.keeping:
            return 0.0
        if not keeper.is_whole:
            return min(self._until_due(keeper), _IDLE_SECONDS)
        self._by_itself = True
        try:
            look_s = self._looks.step(engine)
        except _OvertakenError:
            return 0.0
        finally:
            self._by_itself = False
        return min(look_s, self._until_due(keeper), _IDLE_SECONDS)

    def _until_due(self, keeper: Keeper) -> float:
        wait = keeper.due.next_s(now=self._clock.monotonic(), age_s=keeper.age_s)
        return _IDLE_SECONDS if wait is None else max(wait, 0.01)

    def _opened(self, engine: Engine) -> Keeper:
        if self._ended:
            raise Unavailable("this process is closing the home")
        if self._keeper is None:
            self._keeper = Keeper(
                self._plan,
                self._replica,
                engine,
                self._history,
                self.table,
                clock=self._clock,
                pause=lambda: self._give_way(engine),
            )
        return self._keeper

    def _give_way(self, engine: Engine) -> None:
        """Wait while the engine pushes or pulls, for a moment."""
        until = self._clock.monotonic() + _BUSY_SECONDS_MAX
        while engine.busy and not self._stop.is_set() and self._clock.monotonic() < until:
            self._clock.wait(self._stop, _BUSY_STEP_SECONDS)

    # ---- the keeper's place ----

    def _stand_by(self, keeper: Keeper) -> float:
        """Look whether the view has a keeper, and take its place if it has none. Returns the seconds until the next
        look."""
        now = self._clock.monotonic()
        if self._watching and self._has_news():
            self._look_at = min(self._look_at, self._looked_at + _STANDBY_SECONDS)
        if now < self._look_at:
            return self._look_at - now
        if not keeper.tree.head():
            return _IDLE_SECONDS  # nothing was ever committed, so there is nothing to ask for; a commit wakes us
        mark = keeper.look()
        self._looked_at, self._look_at = now, now + _OFF_SECONDS
        head = keeper.tree.head()
        self._watching = mark is not None and mark.mode != "off"
        if mark is None:
            # A fork of ten thousand files costs a few requests, its view ten thousand: somebody must want it.
            if head and not keeper.is_fork and (self._plan.prefetch or keeper.is_small):
                return self._take(keeper)
            return _OFF_SECONDS
        if mark.mode == "off":
            return _OFF_SECONDS
        if not mark.keeper or keeper.is_ours(mark):
            return self._take(keeper)
        self._forget_news(mark.through)
        left = self._believed_for(mark, behind=mark.through < head, age_s=keeper.age_s, now=now)
        if left <= 0:
            return self._take(keeper)
        return self._soon(min(left, _STANDBY_SECONDS if mark.through < head else _OFF_SECONDS))

    def _believed_for(self, mark: Mark, *, behind: bool, age_s: float, now: float) -> float:
        """How long another's mark, as it stands there now, says that its keeper lives and works, in seconds."""
        if self._heard is None or self._heard[0] != mark:
            self._heard, self._lagging_since = (mark, now), None
        if not behind:  # nothing is to be written, but what others do in the bucket waits for a keeper
            self._lagging_since = None
            return self._heard[1] + _SILENT_SECONDS - now
        if self._lagging_since is None:
            self._lagging_since = now
        return self._lagging_since + _GIVEN_UP_SECONDS + age_s - now  # a lazy one rightly says nothing for its age

    def _soon(self, seconds: float) -> float:
        self._look_at = self._clock.monotonic() + seconds
        return seconds

    def _has_news(self) -> bool:
        with self._news:
            return bool(self._commits)

    def _forget_news(self, through: int) -> None:
        """Another has written what these commits changed."""
        with self._news:
            while self._commits and self._commits[0].sequence <= through:
                self._commits.popleft()

    def _take(self, keeper: Keeper) -> float:
        with self._news:
            commits = list(self._commits)
            self._commits.clear()
        soon_s = self._soon(_LOOK_SECONDS)  # also if the store goes away in the middle
        if not keeper.take_over(commits):
            return soon_s
        self._heard = self._lagging_since = None
        return 0.0

    def _take_news(self, keeper: Keeper) -> None:
        with self._news:
            commits, asked = list(self._commits), set(self._asked)
            self._commits.clear()
            self._asked.clear()
        keeper.follow(commits)
        now = self._clock.monotonic()
        keeper.due.add(asked, now=now - keeper.age_s)
        # A jump to a snapshot is told to nobody; a commit is a moment after it is there.
        if keeper.tree.head() <= keeper.due.seen or commits:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = now
        elif now - self._behind_since > _GAP_SECONDS:
            self._behind_since = None
            keeper.catch_up()

    # ---- the end ----

    def close(self) -> None:
        """Write for a moment what is due, and let the place go. Repeating it is harmless."""
        self._stop.set()
        self._awake.set()
        until = self._clock.monotonic() + _END_SECONDS
        ending = threading.Thread(target=self._finish, args=(until,), name="view-end", daemon=True)
        ending.start()
        ending.join(_END_SECONDS + 0.5)
        self._ended = True
        keeper = self._keeper
        if keeper is not None:
            keeper.close()
        self._looks.close()
        self.table.close()

    def _finish(self, until: float) -> None:
        engine = self._engine
        if engine is None or self._ended or not self.enabled or not (self.keeping or self._committed()):
            return
        if not self._work.acquire(timeout=_END_SECONDS):
            return
        try:
            self._guarded(lambda: self._last(engine, until))
        finally:
            self._work.release()

    def _committed(self) -> bool:
        """Whether something was committed here that nobody has written yet."""
        with self._news:
            replicas = {commit.replica for commit in self._commits}
        return not self._problem and self._replica.state("replica_id") in replicas

    def _last(self, engine: Engine, until: float) -> float:
        keeper = self._opened(engine)
        if not keeper.keeping:
            self._look_at = float("-inf")
            self._stand_by(keeper)
        if keeper.keeping:
            self._take_news(keeper)
            while keeper.work(age_s=0.0, limit=_LAST_FILES) and self._clock.monotonic() < until:
                pass
            keeper.tell(ended=True)
        return 0.0

    def _showing(self) -> Showing:
        """See `BucketImport`."""
        keeper = self._keeper
        if keeper is None:
            return Showing(False, Rules(), known=False, through=0)
        showing = keeper.showing()
        if self._by_itself and not showing.keeps:  # what stands there and is not known may be the other keeper's
            raise _OvertakenError("another engine keeps the view now")
        return showing

    # ---- answers ----

    def answers(self) -> dict[str, Answer]:
        """By the word in `{"do": word}`."""
        return {
            VIEW_STATUS: self._status,
            VIEW_REBUILD: self._rebuild,
            VIEW_CHANGE: self._change,
            VIEW_LOOK: self._look,
            VIEW_ACCEPT: self._accept,
        }

    def facts(self) -> Message:
        """For `status`: never waits, and opens nothing."""
        if not self.enabled:
            return {"view": {"state": "off", "due": 0, "problem": ""}}
        keeper = self._keeper
        mark = keeper.mark if keeper is not None else None
        state = "keeping" if self.keeping else "off" if mark is not None and mark.mode == "off" else "standing by"
        due = len(keeper.due) if keeper is not None and keeper.keeping else 0
        return {
            "view": {
                "state": state,
                "mode": mark.mode if mark is not None else "",
                "due": due,
                "held": self._held,
                "stuck": len(keeper.told.stuck) if keeper is not None else 0,
                "put": keeper.told.put if keeper is not None else 0,
                "deleted": keeper.told.deleted if keeper is not None else 0,
                "problem": self._problem or self._looks.problem,
            }
        }

    def _status(self, engine: Engine, request: Message, _progress: Progress) -> Message:
        """`scan`: also which files have no object, and why."""
        free = self._work.acquire(timeout=_ASK_SECONDS)  # who writes may be waiting for the store
        try:
            keeper = self._opened(engine)
            mark, problem = keeper.mark, self._problem
        finally:
            if free:
                self._work.release()
        away = away_because(engine)
        try:
            now = mark if away else self._asked_now(engine)
            mark = mark if keeper.keeping else now
        except AgentFSError as error:
            away = str(error)
        problem = away or problem or self._looks.problem
        objects, size_bytes = self.table.counts()
        answer: Message = {
            "volume": keeper.volume,
            "place": keeper.prefix,
            "here": "off" if not self.enabled else "keeping" if keeper.keeping else "standing by",
            "head": keeper.tree.head(),
            "due": len(keeper.due) if keeper.keeping else None,
            "objects": objects,
            "size_bytes": size_bytes,
            "held": some(self.table.held()),
            "stuck": some(keeper.told.stuck),
            "foreign": keeper.told.foreign[:LISTED_MAX],
            "problem": problem,
        }
        answer |= self._looks.facts(objects) | mark_message(mark)
        if keeper.keeping and keeper.is_settled:  # the mark says so a minute later
            answer["through"] = max(answer["through"], keeper.due.through)
        if request.get("scan"):
            answer |= unshown(keeper, self._plan, Rules(mark.rules if mark is not None else ()))
        return answer

    def _asked_now(self, engine: Engine) -> Mark | None:
        """The mark. If the store is away, who asks hears it in a moment, and not after all retries. Raises as
        `MarkFile.read`."""
        return MarkFile(self._hurried or engine.ground.store, engine.ground.log.volume).read()[0]

    def _rebuild(self, engine: Engine, _request: Message, progress: Progress) -> Message:
        """Look at every object, and write what is not as it should be; on return all is. `progress`: files that are
        done, and how many there are."""
        self._must_be_enabled()
        with self._work:
            keeper = self._opened(engine)
            put, deleted = keeper.told.put, keeper.told.deleted
            if not keeper.keeping:
                mark = keeper.look()
                if mark is not None and mark.mode == "off":
                    raise InvalidArgument("this view is switched off: agentfs view on")
                if not keeper.take_over(()):
                    raise Unavailable("another machine took the view over in this moment: try again")
            self._take_news(keeper)
            keeper.again()
            most = len(keeper.due)
        more = True
        while more:
            with self._work:
                if self._stop.is_set() or not keeper.keeping:
                    raise Unavailable("the view has another keeper now, or the home is closing: agentfs view status")
                more = keeper.work(age_s=0.0)
                left = len(keeper.due)
                self._take_news(keeper)
            progress({"indexed": max(most - left, 0), "of": most})
        with self._work:
            keeper.tell()
            self._looks.written_again()
            objects, size_bytes = self.table.counts()
            return {
                "files": most,
                "put": keeper.told.put - put,
                "deleted": keeper.told.deleted - deleted,
                "objects": objects,
                "size_bytes": size_bytes,
                "held": some(self.table.held()),
                "stuck": some(keeper.told.stuck),
            }

    def _look(self, engine: Engine, _request: Message, _progress: Progress) -> Message:
        """Take in what other tools did in the bucket, now."""
        self._asked_now(engine)
        with self._work:
            self._do_what_was_left(engine)
            return self._looks.look(engine).message()

    def _accept(self, engine: Engine, _request: Message, _progress: Progress) -> Message:
        """As `view-look`, and believe the deletions that were too many."""
        self._asked_now(engine)
        with self._work:
            self._do_what_was_left(engine)
            return self._looks.accept(engine).message()

    def _do_what_was_left(self, engine: Engine) -> None:
        """Become the keeper, and write what the one before left: it must not be taken for another tool's doing."""
        keeper = self._opened(engine)
        if self.enabled and not keeper.keeping:
            self._look_at = float("-inf")
            self._stand_by(keeper)
            if not keeper.keeping and keeper.mark is not None and keeper.mark.mode != "off":
                self._take(keeper)
        if keeper.keeping:
            self._take_news(keeper)
            while keeper.work(age_s=0.0) and not keeper.is_whole:
                pass

    def _change(self, engine: Engine, request: Message, _progress: Progress) -> Message:
        """`mode`, `rules` (pairs of a pattern and a policy): what is given is changed, for every machine."""
        if self._settings.read_only:
            raise ReadOnly("this home is open for reading only")
        mode, rules = request.get("mode"), request.get("rules")
        wanted = None if mode is None else mode_of(str(mode))
        listed = None if rules is None else _rules_of(rules)

        def change(mark: Mark) -> Mark:
            mark = mark if wanted is None else replace(mark, mode=wanted)
            return mark if listed is None else replace(mark, rules=listed)

        with self._work:
            mark = self._opened(engine).changed(change)
        self._look_at = float("-inf")
        self._awake.set()
        return mark_message(mark)

    def _must_be_enabled(self) -> None:
        if self._settings.view == "off":
            raise InvalidArgument("this machine keeps no view: agentfs config set view on")
        if self._settings.read_only:
            raise StoreDenied("this home is open for reading only")


def _rules_of(rules: object) -> tuple[Rule, ...]:
    if not isinstance(rules, list) or len(rules) > RULES_MAX:
        raise InvalidArgument(f"rules are a list of at most {RULES_MAX} pairs")
    return tuple(checked_rule(*pair) if len(pair) == 2 else checked_rule("", "") for pair in rules)
