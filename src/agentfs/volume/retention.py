"""Clean-up of a volume: now, for the command; a little at a time in quiet moments, for the engine.

Neither needs this machine's replica: a collector reads from the store all that it must know.
"""

import logging
import os
from collections.abc import Callable, Iterator

from agentfs.clock import Clock
from agentfs.config.settings import Settings
from agentfs.errors import AgentFSError, ClocksDisagree, FormatError, Unavailable
from agentfs.format.collection import PolicyRecord
from agentfs.format.layout import VolumeKind, volume_name
from agentfs.log.announcements import Announcements
from agentfs.log.lifecycle import LifecycleChain
from agentfs.model.lifecycle import NO_RULES
from agentfs.model.retention import Policy, parse_policy
from agentfs.retention.collector import Collector
from agentfs.retention.options import QUIET
from agentfs.retention.policies import agreed_policy, policy_of, set_policy
from agentfs.retention.report import CollectionReport
from agentfs.stores.protocol import Store
from agentfs.sync.ground import EngineGround
from agentfs.volume.gate import pass_gate
from agentfs.volume.opening import opened_store

_LOG = logging.getLogger(__name__)

_TRIES_MAX = 5
_FIRST_LOOK_S = 600.0
_LOOK_S = 86_400.0
RULES_GRACE_S = 86_400.0
"""Engines collect nothing for so long after somebody set lifecycle rules: they may be about versions, and what was
collected nobody can bring back."""
_SLICE_S = 0.25
"""Of an engine's quiet moments, every ten seconds: nobody waits for longer behind a clean-up."""


def wish_of(settings: Settings) -> Policy | None:
    """What this machine's settings want to be kept; None when they do not say."""
    return parse_policy(settings.retention) if settings.origins["retention"] != "default" else None


class Cleaning:
    """Clean-up of one volume by command."""

    def __init__(
        self, settings: Settings, volume_id: str, *, clock: Clock, author: str, kind: VolumeKind = "home"
    ) -> None:
        """Nothing is sent yet. Raises `StoreURLInvalid`, `StoreDenied`, `AgentIdInvalid`."""
        self.volume = volume_name(kind, volume_id)
        self._settings = settings
        self._clock = clock
        self._author = author
        self._store: Store = opened_store(settings, clock=clock)
        self._announcements = Announcements(self._store, self.volume)

    def policy(self) -> tuple[Policy, PolicyRecord | None]:
        """What the volume keeps, and the record that says so. Raises `Corrupt`, `NewerFormat`, `StoreError`."""
        self._pass_gate()
        return policy_of(self._announcements)

    def set_policy(self, policy: Policy) -> PolicyRecord:
        """Make it the one that counts, for every machine. Raises as `policy`, and `Unavailable`."""
        self._pass_gate()
        return set_policy(self._announcements, policy, author=self._author, clock=self._clock)

    def clean(self, *, dry_run: bool, progress: Callable[[CollectionReport], None]) -> CollectionReport:
        """Collect what the policy does not keep. `progress` hears of every step. Raises what `Collector.run` raises,
        and `Unavailable` when others collect all the time."""
        self._pass_gate()
        wish = None if dry_run else wish_of(self._settings)
        policy = agreed_policy(self._announcements, wish, author=self._author, clock=self._clock)
        rules = NO_RULES if policy.everything else LifecycleChain(self._store, self.volume).newest().rules
        for _ in range(_TRIES_MAX):
            collector = Collector(
                self._store,
                self.volume,
                clock=self._clock,
                entropy=os.urandom,
                author=self._author,
                policy=policy,
                rules=rules,
            )
            for _ in collector.run(dry_run=dry_run):
                progress(collector.report)
            if not collector.report.overtaken:
                return collector.report
        raise Unavailable(f"others clean up {self.volume} at the same time: try again later")

    def _pass_gate(self) -> None:
        settings = self._settings
        pass_gate(
            self._store,
            store_url=settings.store,
            state_dir=settings.state_dir,
            clock=self._clock,
            may_create=False,
        )


class RetentionChore:
    """Of an engine: looks once a day whether enough may go, and then works a quarter of a second at a time."""

    def __init__(self, settings: Settings, volume: str, *, author: str, clock: Clock) -> None:
        self._wish = wish_of(settings)
        self._volume = volume
        self._author = author
        self._clock = clock
        self._look_at = clock.monotonic() + _FIRST_LOOK_S
        self._collector: Collector | None = None
        self._run: Iterator[None] | None = None

    def __call__(self, ground: EngineGround) -> None:
        """See `sync.engine.Chore`. Raises `StoreError`."""
        now = self._clock.monotonic()
        if self._run is None and now < self._look_at:
            return
        try:
            if self._run is None:
                self._look_at = now + _LOOK_S
                self._begin(ground.store)
            self._go_on(now + _SLICE_S)
        except (ClocksDisagree, FormatError) as error:
            self._run = None
            _LOG.warning("nothing was cleaned up: %s", error)
        except AgentFSError:
            self._run = None
            raise

    def _begin(self, store: Store) -> None:
        policy = agreed_policy(Announcements(store, self._volume), self._wish, author=self._author, clock=self._clock)
        if policy.everything:
            return
        force = LifecycleChain(store, self._volume).newest()
        if force.record is not None and self._clock.wall_ns() / 1e9 < force.set_at + RULES_GRACE_S:
            return
        self._collector = Collector(
            store,
            self._volume,
            clock=self._clock,
            entropy=os.urandom,
            author=self._author,
            policy=policy,
            rules=force.rules,
            options=QUIET,
        )
        self._run = self._collector.run()

    def _go_on(self, until: float) -> None:
        while self._run is not None and self._collector is not None:
            if next(self._run, self) is self:
                self._run = None
                _log_report(self._collector.report)
            if self._clock.monotonic() >= until:
                return


def _log_report(report: CollectionReport) -> None:
    if report.commits or report.chunks or report.packs:
        _LOG.info(
            "cleaned up %s (%s): %d commits up to %d, %d snapshots, %d packs, %d chunks; %d bytes, %d requests",
            report.volume,
            report.policy,
            report.commits,
            report.horizon,
            report.snapshots,
            report.packs,
            report.chunks,
            report.freed_bytes,
            report.requests,
        )
