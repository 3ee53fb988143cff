"""What the engine does next."""

from agentfs.sync.options import EngineOptions
from agentfs.sync.plan import PlanState, Step, plan

OPTIONS = EngineOptions()


def pending(**facts: float | bool) -> PlanState:
    """Something changed at 0, the log was looked at a moment ago."""
    state = PlanState(pending=True, polled_at=0.4, active_at=0.4, housekeeping_at=100.0)
    for name, value in facts.items():
        setattr(state, name, value)
    return state


def test_what_is_pending_is_put_when_it_is_quiet() -> None:
    assert plan(pending(), 0.1, OPTIONS).steps == ()
    assert plan(pending(), 0.5, OPTIONS).steps == (Step.PUSH,)
    busy = pending(last_change_at=0.35)
    assert plan(busy, 0.39, OPTIONS).steps == ()
    assert plan(busy, 0.4, OPTIONS).steps == (Step.PUSH,)


def test_nothing_is_put_before_its_turn() -> None:
    waits = pending(turn_at=0.8)
    made = plan(waits, 0.5, OPTIONS)
    assert made.steps == ()
    assert made.wait_s <= OPTIONS.look_active_s
    assert plan(waits, 0.75, OPTIONS).wait_s <= 0.8 - 0.75 + 1e-9
    assert plan(waits, 0.8, OPTIONS).steps == (Step.PUSH,)


def test_who_waits_for_others_looks_and_thinks_again() -> None:
    looks = pending(turn_at=0.8, look_at=0.6)
    assert plan(looks, 0.5, OPTIONS).steps == ()
    assert abs(plan(looks, 0.55, OPTIONS).wait_s - 0.05) < 1e-9
    assert plan(looks, 0.6, OPTIONS).steps == (Step.PULL,), "what it finds may make it another's turn"
    assert plan(pending(turn_at=0.5, look_at=0.5), 0.5, OPTIONS).steps == (Step.PULL,)


def test_nobody_looks_for_others_when_nothing_is_due() -> None:
    idle = pending(pending=False, turn_at=0.8, look_at=0.5)
    assert plan(idle, 0.6, OPTIONS).steps == ()
    early = pending(look_at=0.0, turn_at=0.0)
    assert plan(early, 0.1, OPTIONS).steps == ()


def test_a_store_that_fails_is_not_asked() -> None:
    fails = pending(retry_at=5.0, look_at=0.5, turn_at=0.5)
    assert plan(fails, 1.0, OPTIONS).steps == ()
    assert plan(pending(broken=True, look_at=0.5), 1.0, OPTIONS).steps == ()


def test_nothing_is_fetched_ahead_before_its_time() -> None:
    state = PlanState(prefetch=True, prefetch_at=0.3, polled_at=0.0, active_at=0.0, housekeeping_at=60.0)
    assert plan(state, 0.25, OPTIONS).steps == ()
    assert 0 < plan(state, 0.25, OPTIONS).wait_s <= 0.05 + 1e-9
    assert plan(state, 0.3, OPTIONS).steps == (Step.PREFETCH,)


def test_doubt_is_settled_before_anything_is_put() -> None:
    assert plan(pending(unsettled=True), 0.5, OPTIONS).steps == (Step.PULL, Step.PUSH)
