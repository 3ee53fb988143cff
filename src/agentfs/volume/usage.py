"""Use and cost of this machine's volumes: for `agentfs usage` and `status`, and the part of an engine that keeps it.

The engine notes once a day how many bytes the files of its volume have, looks at the budgets, and says in its log
when one is near or over, once in the budget's period. A budget never stops anything.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agentfs.clock import Clock
from agentfs.config.settings import Settings
from agentfs.errors import AgentFSError
from agentfs.format.layout import volume_name
from agentfs.replica.lock_file import holder
from agentfs.usage.budgets import Budgets, BudgetState, judged
from agentfs.usage.days import day_of
from agentfs.usage.ledger import ledger_of
from agentfs.usage.prices import Provider, price_table, provider_of, users_path
from agentfs.usage.prometheus import CONTENT_TYPE
from agentfs.usage.report import VolumeUsage
from agentfs.usage.stored import Live, live_of, measure, requests_to_measure
from agentfs.usage.usage_file import (
    Stored,
    StorePlace,
    counts_of,
    first_warning,
    keep_stored,
    reading,
    store_number,
    stored_of,
    stores,
    volumes_of,
    writing,
)
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.messages import Gone, Message, connect
from agentfs.volume.metrics import metrics_text
from agentfs.volume.opening import opened_store, place_of
from agentfs.volume.places import store_key
from agentfs.volume.status import peek
from agentfs.volume.status import reading as reading_replica

if TYPE_CHECKING:  # a command that only shows what was counted needs no engine
    from agentfs.replica.replica import Replica
    from agentfs.sync.engine import Engine
    from agentfs.sync.ground import EngineGround

_LOG = logging.getLogger(__name__)

COUNTED = "usage"
"""The word that has an engine write what it has counted."""
METRICS = "metrics"
"""The word that it answers with the text for Prometheus."""
_ASK_SECONDS_MAX = 2.0
_LOOK_S = 300.0


# ---- what is known ----


def prices_of(settings: Settings) -> tuple[str, dict[str, Provider]]:
    """Where the user's price table is, or would be, and all prices. Raises `ConfigInvalid`."""
    path = users_path(settings.prices, settings.config_path)
    return path, price_table(path, must_exist=bool(settings.prices))


def budgets_of(settings: Settings) -> Budgets:
    return Budgets(settings.budget_month, settings.budget_requests_per_day)


def usages(settings: Settings, wanted: Callable[[StorePlace, str], bool]) -> list[VolumeUsage]:
    """What this machine knows of every volume that is `wanted`, in every store. Raises `ConfigInvalid`,
    `NewerFormat`, `ReplicaDamaged`."""
    _, table = prices_of(settings)
    with reading(settings.state_dir) as connection:
        if connection is None:
            return []
        return [
            VolumeUsage(
                volume,
                place,
                provider_of(place, table, settings.provider),
                counts_of(connection, number, volume),
                stored_of(connection, number, volume),
            )
            for number, place in stores(connection)
            for volume in volumes_of(connection, number)
            if wanted(place, volume)
        ]


def usage_of(settings: Settings, volume: str) -> VolumeUsage:
    """Of one volume in the store of these settings; empty when nothing is known. Raises as `usages`."""
    here = place_of(settings)
    found = usages(settings, lambda place, name: place.url == here.url and name == volume)
    if found:
        return found[0]
    return VolumeUsage(volume, here, provider_of(here, prices_of(settings)[1], settings.provider))


def budget_states(settings: Settings, directory: str, volume: str, now_ns: int) -> list[BudgetState]:
    """The budgets of the volume whose replica is in `directory`. Raises as `usages`."""
    budgets = budgets_of(settings)
    if not budgets:
        return []
    key = os.path.basename(directory).rpartition("@")[2].partition(".")[0]
    found = usages(settings, lambda place, name: name == volume and store_key(place.url) == key)
    return [state for usage in found for state in judged(budgets, usage, now_ns)]


def judge_home(settings: Settings, agent_id: str, now_ns: int) -> list[BudgetState]:
    """The budgets of an agent's home in the store of these settings. Raises as `usages`."""
    return judged(budgets_of(settings), usage_of(settings, volume_name("home", agent_id)), now_ns)


def with_live(usage: VolumeUsage, directories: Sequence[str], now_ns: int) -> VolumeUsage:
    """With what the volume's files are now, where one of these replicas knows it."""
    today = day_of(now_ns)
    for directory in directories:
        name, _, key = os.path.basename(directory).rpartition("@")
        if name != usage.volume or key.partition(".")[0] != store_key(usage.place.url):
            continue
        with contextlib.suppress(AgentFSError), reading_replica(os.path.join(directory, "replica.db")) as connection:
            live = live_of(connection)
            earlier = [it for it in usage.stored if (it.part, it.day) != ("live", today)]
            return replace(usage, stored=[*earlier, Stored(today, "live", live.size_bytes, live.files, now_ns)])
    return usage


def ask_for_counts(settings: Settings, directories: Sequence[str]) -> None:
    """Have this process, and the engines of these replicas, write what they have counted: those that run and answer
    at once."""
    ledger_of(settings.state_dir).flush()
    for directory in directories:
        if holder(os.path.join(directory, "engine.lock")) is None:
            continue
        with contextlib.suppress(Gone, TimeoutError), connect(os.path.join(directory, "engine.sock")) as connection:
            connection.send({"id": 1, "do": COUNTED})
            connection.receive(timeout_seconds=_ASK_SECONDS_MAX)


# ---- measuring ----


class Measurement:
    """What a volume has in its store, found by listing it: a request for each thousand objects."""

    def __init__(self, settings: Settings, volume: str, directories: Sequence[str], *, clock: Clock) -> None:
        """`directories` are this machine's replicas of it, if there are any: what the files are now is known from the
        first. Nothing is sent yet. Raises `AgentFSError`."""
        self._settings = settings
        self._volume = volume
        self._clock = clock
        self._live = Live(0, 0, 0)
        for directory in directories[:1]:
            with reading_replica(os.path.join(directory, "replica.db")) as connection:
                self._live = live_of(connection)
        self.requests = requests_to_measure(self._live, usage_of(settings, volume).stored)
        """About how many listings it takes."""

    def take(self, progress: Callable[[int], None]) -> None:
        """Measure and remember. Raises `StoreError`."""
        now_ns = self._clock.wall_ns()
        store = opened_store(self._settings, clock=self._clock)
        found = measure(store, self._volume, self._live, day=day_of(now_ns), seen_ns=now_ns, progress=progress)
        _keep(self._settings, self._volume, found)


def _keep(settings: Settings, volume: str, found: list[Stored]) -> None:
    with writing(settings.state_dir) as connection:
        keep_stored(connection, store_number(connection, place_of(settings)), volume, found)


# ---- of an engine ----


class UsageService:
    """See the module."""

    def __init__(self, plan: EnginePlan, replica: "Replica", *, clock: Clock) -> None:
        self._settings = plan.settings
        self._volume = volume_name(plan.kind, plan.volume_id)
        self._replica = replica
        self._clock = clock
        self._look_at = clock.monotonic()
        self._noted_day = -1
        self._said = ""

    def chore(self, _ground: "EngineGround") -> None:
        """See `sync.engine.Chore`. Does not raise: what is only counted must not be taken for trouble with the
        store."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_S
        try:
            self._look(self._clock.wall_ns())
        except (AgentFSError, OSError) as error:
            if str(error) != self._said:
                self._said = str(error)
                _LOG.warning("use and budgets are not looked at: %s", error)

    def _look(self, now_ns: int) -> None:
        today = day_of(now_ns)
        if today != self._noted_day:
            with self._replica.lock:
                live = live_of(self._replica.connection)
            seen = Stored(today, "live", live.size_bytes, live.files, now_ns)
            _keep(self._settings, self._volume, [seen])
            self._noted_day = today
        if not budgets_of(self._settings):
            return
        ledger_of(self._settings.state_dir).flush()
        usage = usage_of(self._settings, self._volume)
        for state in judged(budgets_of(self._settings), usage, now_ns):
            if state.level in ("near", "over") and self._first(usage.place, state, now_ns):
                _LOG.warning("the budget of %s is %s: %s", self._volume, state.level, state.text)

    def _first(self, place: StorePlace, state: BudgetState, now_ns: int) -> bool:
        with writing(self._settings.state_dir) as connection:
            return first_warning(
                connection,
                store_number(connection, place),
                self._volume,
                budget=state.budget,
                period=state.period,
                level=state.level,
                seen_ns=now_ns,
            )

    def count(self, _engine: "Engine", _request: Message, _progress: Callable[[Message], None]) -> Message:
        """The answer to `COUNTED`: on return what this process has counted is in the file."""
        return {"written": ledger_of(self._settings.state_dir).flush()}

    def metrics(self, _engine: "Engine", _request: Message, _progress: Callable[[Message], None]) -> Message:
        """The answer to `METRICS`: of this volume. Raises `ConfigInvalid` (a price table that cannot be read)."""
        ledger_of(self._settings.state_dir).flush()
        text = metrics_text(
            [usage_of(self._settings, self._volume)],
            [peek(self._replica.directory)],
            budgets=budgets_of(self._settings),
            now_ns=self._clock.wall_ns(),
        )
        return {"text": text, "content_type": CONTENT_TYPE}

    def close(self) -> None:
        """Write what was counted. Repeating it is harmless."""
        ledger_of(self._settings.state_dir).flush()
