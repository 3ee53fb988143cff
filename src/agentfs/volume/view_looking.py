"""When the keeper of a view looks for what other tools did, and what it says of it (docs/view.md, V-80, V-84)."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterable

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, NameNotListed, ReadOnly
from agentfs.format.layout import volume_name
from agentfs.model.records import InodeId
from agentfs.replica.replica import Replica
from agentfs.sync.engine import Engine
from agentfs.usage.budgets import money
from agentfs.view.log_files import LogFiles
from agentfs.view.looking import Showing, listings_per_day, signs_per_day
from agentfs.view.shown import ShownTable
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService
from agentfs.volume.messages import Message
from agentfs.volume.usage import usage_of
from agentfs.volume.view_import import BRAKE, LEFT, LOOKED_AT, BucketImport, LookReport, seconds_until_again

_LOG = logging.getLogger(__name__)

_FIRST_S = 5.0
"""After the keeper began: what happened while nobody looked."""
_HELD_S = 5.0
"""Between two looks at names that the writer found changed."""
_NEVER_S = 86_400.0
_MONTH_DAYS = 30


class BucketLooks:
    """Of one engine's volume. `step` is called by the keeper's thread, `look` and `accept` by any."""

    def __init__(
        self,
        plan: EnginePlan,
        replica: Replica,
        history: HistoryService,
        table: ShownTable,
        *,
        clock: Clock,
        due: Callable[[Iterable[InodeId]], None],
        showing: Callable[[], Showing],
    ) -> None:
        """See `BucketImport`."""
        self._plan = plan
        self._volume = volume_name(plan.kind, plan.volume_id)
        self._table = table
        self._clock = clock
        self._files = LogFiles(replica)
        self._bucket = BucketImport(plan, replica, table, self._files, history, clock=clock, due=due, showing=showing)
        self._look_at = clock.monotonic() + _FIRST_S
        self._held_at = float("-inf")
        self.problem = ""
        """Why other tools' changes cannot be looked for."""

    @property
    def interval_s(self) -> float:
        """Between two looks; 0: never by itself."""
        return self._plan.settings.view_look_seconds

    def step(self, engine: Engine) -> float:
        """Look, if it is time to. Returns the seconds until it is. Raises what the store and the log raise."""
        now = self._clock.monotonic()
        if not self.interval_s:
            return _NEVER_S
        if now >= self._look_at:
            self._look_at = now + max(self.interval_s, _HELD_S)  # also when it fails
            with contextlib.suppress(NameNotListed):  # it is said; all else goes on
                self.look(engine)
        elif now >= self._held_at:
            held = self._table.held()
            if held:
                self._held_at = now + _HELD_S
                report = self._bucket.look_at(engine, held)
                if report.waiting:
                    self._look_at = min(self._look_at, now + _HELD_S)
        held_s = max(self._held_at - now, 0.1) if self._table.held() else _NEVER_S
        return max(min(self._look_at - self._clock.monotonic(), held_s), 0.1)

    def look(self, engine: Engine) -> LookReport:
        """Look at everything now. Raises `ReadOnly`, and as `BucketImport.look`."""
        if self._plan.settings.read_only:
            raise ReadOnly("this home is open for reading only: what is in the bucket is taken in on another machine")
        return self._ended(lambda: self._bucket.look(engine))

    def accept(self, engine: Engine) -> LookReport:
        """As `look`, and believe what the brake holds."""
        if self._plan.settings.read_only:
            raise ReadOnly("this home is open for reading only: accept the deletions on another machine")
        return self._ended(lambda: self._bucket.accept(engine))

    def _ended(self, look: Callable[[], LookReport]) -> LookReport:
        try:
            report = look()
        except NameNotListed as error:
            problem = f"{error}; until then nothing is taken in that other tools do in the bucket"
            if problem != self.problem:
                _LOG.warning("the view: %s", problem)
            self.problem = problem
            raise
        self.problem = ""
        self._look_at = self._clock.monotonic() + seconds_until_again(report, self.interval_s or _NEVER_S)
        return report

    def written_again(self) -> None:
        """A rebuild answered the brake: say no more that objects are gone. If some are, the next look says so."""
        if self._table.state(BRAKE):
            self._table.set_state(BRAKE, "")

    def facts(self, objects: int) -> Message:
        """For `agentfs view status`."""
        braked, left = self._table.state(BRAKE), self._table.state(LEFT)
        names = json.loads(braked)["names"] if braked else []
        looked_at = self._table.state(LOOKED_AT)
        per_day = listings_per_day(objects, self.interval_s)
        return {
            "look_every_s": self.interval_s,
            "listings_per_day": per_day,
            "marks_per_day": signs_per_day(),
            "looks_cost_month": self._cost(listings=per_day * _MONTH_DAYS, puts=signs_per_day() * _MONTH_DAYS),
            "looked_at_ns": looked_at,
            "braked": len(names),
            "braked_names": names[:20],
            "left_alone": json.loads(left)["names"] if left else {},
            "left_alone_count": json.loads(left)["count"] if left else 0,
        }

    def _cost(self, *, listings: float, puts: float) -> str:
        """By the price table; "" where it does not say."""
        try:
            provider = usage_of(self._plan.settings, self._volume).provider
        except AgentFSError:
            return ""
        if provider is None:
            return ""
        cost = provider.request_cost("list", round(listings)) + provider.request_cost("put", round(puts))
        return money(cost, provider.currency)

    def close(self) -> None:
        """Repeating it is harmless."""
        self._files.close()
