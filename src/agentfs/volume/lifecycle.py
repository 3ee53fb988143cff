"""Lifecycle rules of an engine's volume: what is due by them, and doing it, a commit at a time.

By itself the engine looks once an hour, in quiet moments, and never sooner than an hour after rules were set. One
machine is enough: who sees another's rule at work waits for the next hour. Two that do not see each other do no harm,
because a place in the log is won by one (`retention.lifecycle_commit`).
"""

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, ClocksDisagree, FormatError, InvalidArgument, ReadOnly, Unavailable
from agentfs.format.layout import prefix_of, volume_name
from agentfs.history.last_changes import last_change
from agentfs.log.announcements import Announcements
from agentfs.log.lifecycle import LifecycleChain, RulesInForce
from agentfs.log.log import Appended
from agentfs.model.ignore import check_braces
from agentfs.model.lifecycle import Rule, Rules, parse_rules
from agentfs.model.records import Commit
from agentfs.replica.replica import Replica
from agentfs.retention.ages import store_time
from agentfs.retention.lifecycle import (
    SECOND_NS,
    Directory,
    Found,
    Step,
    Times,
    acts_on,
    begun_ns,
    could_be_due,
    due,
    file_at,
    files_of,
    why_it_waits,
)
from agentfs.retention.lifecycle_commit import AUTHOR, drafted
from agentfs.retention.policies import policy_of
from agentfs.sync.engine import Engine
from agentfs.sync.ground import EngineGround
from agentfs.tree.tree import Tree
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService
from agentfs.volume.messages import Message
from agentfs.volume.standing import is_standing

_LOG = logging.getLogger(__name__)

Progress = Callable[[Message], None]
Answer = Callable[[Engine, Message, Progress], Message]

GRACE_S = 3600.0
"""Engines leave new rules alone for so long, by the store's clock: who sees what they would do can take them back."""
CLOCK_TOLERANCE_S = 30.0
"""A machine whose clock differs from the store's by more does nothing."""
BATCH_MAX = 500
"""Files of one commit."""
_FIRST_LOOK_S = 600.0
_LOOK_S = 3600.0
_SLICE_S = 0.25
_CATCH_UP_STEP = 64
_TRIES_MAX = 3
_LISTED_MAX = 1000
_LISTED_BYTES_MAX = 400_000
_STEP_BYTES = 120
"""Of one in JSON, without its texts."""
_TOLD_FILES = 1000


@dataclass(slots=True)
class Tally:
    """What is due, or was done: in all, and the first of it."""

    rules: dict[Rule, tuple[int, int]] = field(default_factory=dict)
    """Files and bytes, by rule."""
    listed: list[Message] = field(default_factory=list)
    _listed_bytes: int = 0

    def add(self, step: Step) -> None:
        files, size_bytes = self.rules.get(step.rule, (0, 0))
        self.rules[step.rule] = files + 1, size_bytes + step.file.size_bytes
        if len(self.listed) < _LISTED_MAX and self._listed_bytes < _LISTED_BYTES_MAX:
            self._listed_bytes += 6 * (len(step.file.path) + len(step.rule.text)) + _STEP_BYTES
            self.listed.append(
                {
                    "path": os.fsdecode(step.file.path),
                    "action": step.action,
                    "rule": step.rule.text,
                    "age_s": step.age_s,
                    "size_bytes": step.file.size_bytes,
                }
            )

    @property
    def files(self) -> int:
        return sum(files for files, _ in self.rules.values())

    def message(self, rules: Rules, matches: Mapping[Rule | None, int] | None = None) -> Message:
        """`matches`: how many files each rule holds for, due or not."""
        each = [(rule, *self.rules.get(rule, (0, 0))) for rule in rules.rules]
        return {
            "rules": [
                {
                    "rule": rule.text,
                    "action": rule.action,
                    "matches": None if matches is None else matches.get(rule, 0),
                    "files": files,
                    "size_bytes": size,
                }
                for rule, files, size in each
            ],
            "steps": self.listed,
            "files": self.files,
            "size_bytes": sum(size for _, size in self.rules.values()),
        }


class LifecycleService:
    """Of one engine. `start` tells it which."""

    def __init__(self, plan: EnginePlan, replica: Replica, history: HistoryService, clock: Clock) -> None:
        self._plan = plan
        self._replica = replica
        self._history = history
        self._clock = clock
        self._volume = volume_name(plan.kind, plan.volume_id)
        self._engine: Engine | None = None
        self._run: Iterator[bool] | None = None
        self._at_work = False
        """What is observed now is our own."""
        self._look_at = clock.monotonic() + _FIRST_LOOK_S * (1 + self._share())

    def _share(self) -> float:
        """From 0 to 1, another for each machine: they do not look at one moment."""
        return int(str(self._replica.state("replica_id"))[:4], 16) / 65_536

    # ---- beside the engine's work ----

    def start(self, engine: Engine) -> None:
        self._engine = engine

    def observe(self, commit: Commit, _digest: bytes) -> None:
        """Another machine applies the rules: it need not be two."""
        if commit.author == AUTHOR and commit.cause and not self._at_work:
            self._run = None
            self._look_at = self._clock.monotonic() + _LOOK_S * (1 + self._share())

    def chore(self, ground: EngineGround) -> None:
        """See `sync.engine.Chore`: at most one commit, or a quarter of a second. Raises `StoreError`."""
        now = self._clock.monotonic()
        engine = self._engine
        if engine is None or self._plan.settings.read_only or ground.contention.waiting:
            return
        if self._run is None and now < self._look_at:
            return
        try:
            if self._run is None:
                self._look_at = now + _LOOK_S
                self._run = self._quietly(engine)
            run = self._run
            while self._run is run and self._clock.monotonic() < now + _SLICE_S:
                more = next(run, None)
                if more is None:
                    self._run = None
                elif not more:
                    return
        except (ClocksDisagree, FormatError) as error:
            self._run = None
            _LOG.warning("no lifecycle rule was applied: %s", error)
        except AgentFSError:
            self._run = None
            raise

    def _quietly(self, engine: Engine) -> Iterator[bool]:
        """Yields whenever a little was done; False after a commit: that is enough for this time."""
        chain = LifecycleChain(engine.ground.store, self._volume)
        force = chain.newest()
        if not force.rules.act:
            return
        now_s = self._store_now(engine)
        if now_s < force.set_at + GRACE_S:
            self._look_at = self._clock.monotonic() + force.set_at + GRACE_S - now_s
            return
        for batch in self._work(engine, force, int(now_s * SECOND_NS), patient=True).batches():
            if not batch:
                yield True
                continue
            done = self.apply(engine, chain, force, batch)
            if not done:
                return
            _LOG.info("%s: %d files", done[0].rule.text, len(done))
            yield False

    # ---- doing ----

    def apply(
        self, engine: Engine, chain: LifecycleChain, force: RulesInForce, steps: list[Step]
    ) -> tuple[Step, ...]:
        """Commit `steps`, which are of one rule. Returns what was done, remotely durable: nothing when the rules are
        others by now, or the log moves on all the time. Raises `StoreError`: then the commit may stand or not, and
        whoever looks finds out."""
        if self._plan.settings.read_only:
            raise ReadOnly("this home is read-only here: rules are applied on another machine")

        def turn(ground: EngineGround) -> tuple[Step, ...]:
            for _ in range(_TRIES_MAX):
                engine.pull_now()
                if chain.newest_number() != force.number:
                    return ()
                draft = drafted(
                    self._replica,
                    steps,
                    volume=self._volume,
                    commit_id=ground.entropy(16),
                    wall_ns=ground.clock.wall_ns(),
                    replica_name=f"lifecycle {self._replica.state('replica_id')}",
                )
                if draft is None:
                    return ()
                ground.failpoint("lifecycle.drafted")
                encoded = draft.encoded
                result = ground.log.append(encoded.commit.sequence, encoded.data, encoded.digest)
                ground.failpoint("lifecycle.appended")
                if isinstance(result, Appended):
                    engine.pull_now()
                    return draft.steps
            return ()

        def at_work(ground: EngineGround) -> tuple[Step, ...]:
            self._at_work = True
            try:
                return turn(ground)
            finally:
                self._at_work = False

        return engine.in_turn(at_work)

    def _store_now(self, engine: Engine) -> float:
        """The store's time, in seconds since 1970: ages are counted by it. Raises `ClocksDisagree`, `StoreError`."""
        theirs, here = store_time(engine.ground.store, prefix_of(self._volume), self._clock)
        if abs(here - theirs) > CLOCK_TOLERANCE_S:
            raise ClocksDisagree(
                f"the clock of the store and this machine's differ by {abs(here - theirs):.0f} s: correct the wrong "
                "one; no rule was applied"
            )
        return theirs

    # ---- words ----

    def answers(self) -> dict[str, Answer]:
        """By the word in `{"do": word}`."""
        return {
            "lifecycle-rules": self._rules,
            "lifecycle-set": self._set,
            "lifecycle-plan": self._planned,
            "lifecycle-run": self._done,
            "lifecycle-explain": self._explained,
        }

    def _rules(self, engine: Engine, _request: Message, _progress: Progress) -> Message:
        """The rules in force, who set them and when."""
        store = engine.ground.store
        force = LifecycleChain(store, self._volume).newest()
        record = force.record
        return {
            "volume": self._volume,
            "text": record.text if record is not None else "",
            "rules": [rule.text for rule in force.rules.rules],
            "set_by": record.author if record is not None else None,
            "set_ns": int(force.set_at * SECOND_NS) if record is not None else None,
            "acts_ns": int((force.set_at + GRACE_S) * SECOND_NS) if record is not None else None,
            "retention": policy_of(Announcements(store, self._volume))[0].text,
        }

    def _set(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`text`: make these the rules that count."""
        text = request.get("text")
        self._parsed(text)
        LifecycleChain(engine.ground.store, self._volume).set(str(text), author=self._plan.agent, clock=self._clock)
        return self._rules(engine, request, progress)

    @staticmethod
    def _parsed(text: object) -> Rules:
        if not isinstance(text, str):
            raise InvalidArgument("rules are a text")
        try:
            rules = parse_rules(text)
            for number, rule in enumerate(rules.rules, start=1):  # those that are set already stay as they are
                check_braces(rule.glob, where=f"rule {number}: ")
            return rules
        except ValueError as error:
            raise InvalidArgument(str(error)) from None

    def _planned(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`text` (null: the rules in force): what is due by these rules now. Changes nothing."""
        text = request.get("text")
        chain = LifecycleChain(engine.ground.store, self._volume)
        force = chain.newest() if text is None else RulesInForce(self._parsed(text), None, 0.0)
        tally = Tally()
        for batch in self._asked(engine, force, progress).batches():
            for step in batch or ():
                tally.add(step)
        files = files_of(self._replica, force.rules, everywhere=True)
        matches = Counter(force.rules.of(file.path) for file in files if file is not None)
        return tally.message(force.rules, matches)

    def _done(self, engine: Engine, _request: Message, progress: Progress) -> Message:
        """Do what is due by the rules in force. On return it is in the store."""
        chain = LifecycleChain(engine.ground.store, self._volume)
        force = chain.newest()
        tally, left = Tally(), 0
        for batch in self._asked(engine, force, lambda _looked: None).batches():
            if batch:
                done = self.apply(engine, chain, force, batch)
                for step in done:
                    tally.add(step)
                left += len(batch) - len(done)
                progress({"done": tally.files})
        return tally.message(force.rules) | {"left": left}

    def _asked(self, engine: Engine, force: RulesInForce, progress: Progress) -> "_Work":
        engine.pull_now()
        return self._work(engine, force, int(self._store_now(engine) * SECOND_NS), progress=progress)

    def _work(
        self,
        engine: Engine,
        force: RulesInForce,
        now_ns: int = 0,
        *,
        patient: bool = False,
        progress: Progress = lambda _facts: None,
    ) -> "_Work":
        tree = Tree(self._replica, hydrator=engine, clock=self._clock)
        return _Work(self._replica, self._history, tree, engine, force, now_ns, patient, progress)

    def _explained(self, engine: Engine, request: Message, progress: Progress) -> Message:
        """`path`: which rule holds for a file, and when it acts."""
        path = request.get("path")
        if not isinstance(path, str) or not path.strip("/"):
            raise InvalidArgument("say which file")
        name = os.fsencode(path.strip("/"))
        rules = LifecycleChain(engine.ground.store, self._volume).newest().rules
        rule = rules.of(name)
        answer: Message = {
            "path": os.fsdecode(name),
            "rule": None if rule is None else rule.text,
            "number": None if rule is None else rules.rules.index(rule) + 1,
            "action": None,
            "begun_ns": None,
            "due_ns": None,
            "waits": "",
        }
        acting = acts_on(rules, name)
        if acting is None:
            return answer
        answer["action"] = acting.action
        file = file_at(self._replica, name)
        if file is None:
            return answer | {"waits": "it is not in the log at this path, or has a change that is not there yet"}
        work = self._work(engine, RulesInForce(rules, None, 0.0), progress=progress)
        times = work.times(file)
        if times is not None:
            begun = begun_ns(acting, file.mtime_ns, times)
            answer |= {"begun_ns": begun, "due_ns": begun + acting.seconds * SECOND_NS}
        with self._replica.lock:
            waits = why_it_waits(self._replica.connection, file.ino)
        return answer | {"waits": waits or work.why_it_stays(file)}


@dataclass(slots=True)
class _Work:
    """One look at all files."""

    replica: Replica
    history: HistoryService
    tree: Tree
    engine: Engine
    force: RulesInForce
    now_ns: int
    patient: bool
    """What has to be read from the log first is read a little at a time."""
    progress: Progress
    _ready: bool = False

    def batches(self) -> Iterator[list[Step] | None]:
        """Steps that are due, each list of one rule; None between, whenever a little was looked at."""
        rules = self.force.rules
        waiting: dict[Rule, list[Step]] = defaultdict(list)
        looked = 0
        for file in files_of(self.replica, rules) if rules.act else ():
            if file is None:
                yield None
                continue
            looked += 1
            if looked % _TOLD_FILES == 0:
                self.progress({"done": looked})
            if not could_be_due(rules, file, self.now_ns):
                continue
            while not self._knows_all():
                self._read_history()
                yield None
            step = self._step(file)
            if step is not None:
                waiting[step.rule].append(step)
                if len(waiting[step.rule]) >= BATCH_MAX:
                    yield waiting.pop(step.rule)
            yield None
        yield from waiting.values()

    def _step(self, file: Found) -> Step | None:
        times = self.times(file)
        step = None if times is None else due(self.force.rules, file, times, self.now_ns)
        if step is None:
            return None
        with self.replica.lock:
            waits = why_it_waits(self.replica.connection, file.ino)
        return None if waits or self.why_it_stays(file) else step

    def times(self, file: Found) -> Times | None:
        """None: the history does not know the file so."""
        if not self._knows_all():
            self._read_history()
        names = [(file.directory.id, file.name, file.id)]
        directory: Directory | None = file.directory
        while directory is not None and directory.above is not None:
            names.append((directory.above.id, directory.name, directory.id))
            directory = directory.above
        with self.history.index.reading() as sql:
            found = last_change(sql, file.id, names)
        return None if found is None else Times(*found)

    def why_it_stays(self, file: Found) -> str:
        """What the file says about itself that no rule may override; empty: nothing."""
        try:
            standing = is_standing(self.tree, self.replica, file.ino, file.path, file.mtime_ns)
        except AgentFSError as error:
            return f"it cannot be read: {error}"
        return "it is pinned, or a standing instruction" if standing else ""

    def _knows_all(self) -> bool:
        """Whether the history has every commit that this replica has: a file that came back by the last one, with an
        old time, is not old."""
        return self._ready and self.history.index.head()[0] >= int(self.replica.state("head_sequence"))

    def _read_history(self) -> None:
        """Bring the history to the replica's head; with `patient` a little further."""
        if self.patient:
            self._ready = self.history.step(self.engine, _CATCH_UP_STEP)
            return
        _, behind = self.history.reader(self.engine, self.progress)
        if behind:
            raise Unavailable("the history is not known here while the store cannot be reached: try again later")
        self._ready = True
