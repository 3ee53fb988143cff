"""What the engine does next, and when it looks again. Pure: times are seconds of one monotonic clock."""

import enum
from dataclasses import dataclass

from agentfs.sync.options import EngineOptions


class Step(enum.Enum):
    PULL = "pull"
    PUSH = "push"
    SNAPSHOT = "snapshot"
    PREFETCH = "prefetch"
    HOUSEKEEPING = "housekeeping"


@dataclass(slots=True)
class PlanState:
    """What the plan goes by. The engine keeps it up to date."""

    pending: bool = False
    """There is something to commit."""
    first_change_at: float = 0.0
    """When the oldest change that is not committed was noticed."""
    last_change_at: float = 0.0
    more: bool = False
    """The last push left something that can be committed at once."""
    stuck_until: float = 0.0
    """What is pending could not be committed (open files): not tried again before."""
    unsettled: bool = False
    """A commit of ours may or may not stand in the log: look before anything is pushed."""
    turn_at: float = float("-inf")
    """Nothing is put before: it is another writer's turn."""
    look_at: float = float("inf")
    """When something is due, the log is to be looked at then, because others write."""
    active_at: float = float("-inf")
    """When something last happened: a change here, a commit there, an access that wants to be fresh."""
    polled_at: float = float("-inf")
    poll_every_s: float = 1.0
    retry_at: float = float("-inf")
    """The store failed: not before."""
    broken: bool = False
    """The log does not continue what this replica holds: neither pull nor push."""
    snapshot_due: bool = False
    prefetch: bool = False
    """There are contents to fetch in the background."""
    prefetch_at: float = float("-inf")
    """Not before."""
    housekeeping_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[Step, ...]
    wait_s: float
    """Until the next look, if nothing wakes the engine before."""


def plan(state: PlanState, now: float, options: EngineOptions) -> Plan:
    """The steps that are due at `now`, in order."""
    steps: list[Step] = []
    online = not state.broken and now >= state.retry_at
    look = is_due(state, now, options) and now >= state.look_at
    push = online and state.pending and now >= push_at(state, options) and not look
    poll = now >= state.polled_at + poll_every(state, now, options)
    if online and (poll or look or (push and state.unsettled)):
        steps.append(Step.PULL)
    if push:
        steps.append(Step.PUSH)
    if online and not steps:
        if state.snapshot_due and not state.pending:
            steps.append(Step.SNAPSHOT)
        elif state.prefetch and now >= state.prefetch_at:
            steps.append(Step.PREFETCH)
    if now >= state.housekeeping_at:
        steps.append(Step.HOUSEKEEPING)
    return Plan(tuple(steps), next_look(state, now, options))


def is_due(state: PlanState, now: float, options: EngineOptions) -> bool:
    """Whether something waits only for its turn."""
    return state.pending and now >= due_at(state, options)


def push_at(state: PlanState, options: EngineOptions) -> float:
    """When what is pending is to be committed."""
    return max(due_at(state, options), state.turn_at)


def due_at(state: PlanState, options: EngineOptions) -> float:
    """When what is pending would be committed if nobody else wrote."""
    if state.more:
        return state.retry_at
    quiet = state.last_change_at + options.push_quiet_s
    return max(min(quiet, state.first_change_at + options.push_delay_max_s), state.stuck_until)


def poll_every(state: PlanState, now: float, options: EngineOptions) -> float:
    active = now - state.active_at < options.active_s
    return options.poll_active_s if active else max(options.poll_active_s, state.poll_every_s)


def after_poll(state: PlanState, now: float, options: EngineOptions, *, news: bool) -> None:
    """Remember a look at the log."""
    state.polled_at = now
    if news:
        state.active_at = now
    if now - state.active_at < options.active_s:
        state.poll_every_s = options.poll_active_s
    else:
        state.poll_every_s = min(options.poll_idle_max_s, 2 * max(state.poll_every_s, options.poll_active_s))


def next_look(state: PlanState, now: float, options: EngineOptions) -> float:
    """Seconds until something may be due, after the steps that are due at `now` were done."""
    active = state.pending or now - state.active_at < options.active_s
    look = now + (options.look_active_s if active else options.look_idle_s)
    times = [look, max(state.housekeeping_at, now)] if state.housekeeping_at > now else [look]
    if not state.broken:
        if state.pending:
            due = max(due_at(state, options), state.retry_at)
            times.append(max(due, min(state.turn_at, state.look_at)))
        times.append(max(state.polled_at + poll_every(state, now, options), state.retry_at))
        if state.snapshot_due and now >= state.retry_at:
            times.append(now)
        if state.prefetch and now >= state.retry_at:
            times.append(max(now, state.prefetch_at))
    return max(0.0, min(times) - now)
