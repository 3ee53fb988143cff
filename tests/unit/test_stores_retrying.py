"""What is sent again, how often, and for how long: with a scripted store and a clock that we move."""

import random
import threading
from collections.abc import Mapping, Sequence

import pytest

from agentfs.errors import (
    BucketNotFound,
    Corrupt,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from agentfs.stores.protocol import Entry, StoredObject
from agentfs.stores.retrying import RetryingStore, RetryPolicy


class MovedClock:
    """Waiting moves it; nothing sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def wall_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return event.is_set()


class ScriptedStore:
    """Fails with the scripted errors, one a call, then answers. Each call takes `call_seconds`."""

    url = "scripted://"

    def __init__(self, clock: MovedClock, *errors: StoreError, call_seconds: float = 0.0) -> None:
        self.clock, self.errors, self.call_seconds = clock, list(errors), call_seconds
        self.calls = 0

    def _call(self) -> None:
        self.calls += 1
        self.clock.now += self.call_seconds
        if self.errors:
            raise self.errors.pop(0)

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        self._call()
        return StoredObject(b"", 0, 0)

    def put(
        self,
        name: str,
        data: bytes,
        *,
        create_only: bool = False,
        replacing: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        self._call()
        return "tag"

    def head(self, name: str) -> StoredObject:
        self._call()
        return StoredObject(b"", 0, 0)

    def delete(self, name: str) -> None:
        self._call()

    def delete_many(self, names: Sequence[str]) -> None:
        self._call()

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        self._call()
        return []


CALLS = {
    "get": lambda store: store.get("a"),
    "put": lambda store: store.put("a", b""),
    "create": lambda store: store.put("a", b"", create_only=True),
    "replace": lambda store: store.put("a", b"", replacing="tag"),
    "head": lambda store: store.head("a"),
    "delete many": lambda store: store.delete_many(["a", "b"]),
    "delete": lambda store: store.delete("a"),
    "list": lambda store: store.list(""),
}
UNAVAILABLE, UNKNOWN = StoreUnavailable("down"), OutcomeUnknown("perhaps")
POLICY = RetryPolicy(tries_max=5, budget_seconds=30)


def run(call: str, *errors: StoreError, policy: RetryPolicy = POLICY, call_seconds: float = 0.0):
    """The number of calls, the clock, and the error that came out (or None)."""
    clock = MovedClock()
    script = ScriptedStore(clock, *errors, call_seconds=call_seconds)
    store = RetryingStore(script, policy=policy, clock=clock, entropy=random.Random(1))
    try:
        CALLS[call](store)
    except StoreError as error:
        return script.calls, clock, error
    return script.calls, clock, None


@pytest.mark.parametrize("call", CALLS)
def test_unavailable_is_tried_again(call: str) -> None:
    calls, clock, error = run(call, UNAVAILABLE, UNAVAILABLE)
    assert (calls, error) == (3, None)
    assert len(clock.waits) == 2


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "error",
    [error("x") for error in (ObjectNotFound, ObjectExists, ObjectChanged, StoreDenied, BucketNotFound, StoreError)],
)
def test_what_trying_again_cannot_change_is_not_tried_again(call: str, error: StoreError) -> None:
    calls, clock, raised = run(call, error)
    assert (calls, raised, clock.waits) == (1, error, [])


def test_damage_is_not_tried_again() -> None:
    clock = MovedClock()
    script = ScriptedStore(clock)
    script.errors = [Corrupt("short")]  # type: ignore[list-item]
    with pytest.raises(Corrupt):
        RetryingStore(script, clock=clock).get("a")
    assert script.calls == 1


@pytest.mark.parametrize("call", ["create", "replace"])
def test_a_doubtful_conditional_put_is_never_sent_again(call: str) -> None:
    assert run(call, UNKNOWN)[::2] == (1, UNKNOWN)
    assert run(call, UNAVAILABLE, UNKNOWN)[::2] == (2, UNKNOWN)


def test_a_doubtful_plain_put_is_sent_again() -> None:
    assert run("put", UNKNOWN, UNKNOWN)[::2] == (3, None)


@pytest.mark.parametrize("last", [UNAVAILABLE, StoreDenied("no"), BucketNotFound("gone")])
def test_doubt_is_not_forgotten(last: StoreError) -> None:
    """After one try that may have been written, no error may say that nothing was."""
    policy = RetryPolicy(tries_max=2)
    assert run("put", UNKNOWN, last, policy=policy)[::2] == (2, UNKNOWN)


def test_the_tries_are_limited() -> None:
    calls, _, error = run("get", *[UNAVAILABLE] * 10)
    assert (calls, error) == (5, UNAVAILABLE)


def test_the_time_is_limited() -> None:
    policy = RetryPolicy(tries_max=1000, budget_seconds=20)
    calls, clock, error = run("get", *[UNAVAILABLE] * 1000, policy=policy, call_seconds=3)
    assert error is UNAVAILABLE
    assert clock.now <= 100 + 20 + 3, "no try starts after the budget"
    assert 3 <= calls <= 8


def test_the_waits_are_random_and_grow_to_a_bound() -> None:
    policy = RetryPolicy(tries_max=200, budget_seconds=1e9, delay_seconds_first=0.1, delay_seconds_max=2.0)
    _, clock, _ = run("get", *[UNAVAILABLE] * 199, policy=policy)
    waits = clock.waits
    assert all(wait <= min(2.0, 0.1 * 2**number) for number, wait in enumerate(waits))
    assert max(waits) > 1.8 and min(waits[10:]) < 0.2, "full jitter: from nothing to the bound"
    assert len(set(waits)) == len(waits)


def test_stopping_ends_the_waiting() -> None:
    clock, stop = MovedClock(), threading.Event()
    script = ScriptedStore(clock, *[UNAVAILABLE] * 5)
    stop.set()
    with pytest.raises(StoreUnavailable):
        RetryingStore(script, clock=clock, stop=stop).get("a")
    assert script.calls == 1
