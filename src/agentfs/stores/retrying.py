"""Retries: what may be sent again is, within a budget; what may not (a create-only put) is sent once.

Time-outs belong to the backend (one per request); here is the budget over all tries of one call. The wait is
"full jitter": a random time up to an exponentially growing bound, so that writers that failed together do not
come back together.
"""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agentfs.clock import Clock, SystemClock
from agentfs.errors import OutcomeUnknown, StoreError, StoreUnavailable
from agentfs.stores.protocol import Entry, Store, StoredObject

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    tries_max: int = 8
    budget_seconds: float = 30.0
    """No new try starts later than this after the first one began."""
    delay_seconds_first: float = 0.1
    delay_seconds_max: float = 5.0

    def delay_seconds_bound(self, tries: int) -> float:
        """The bound of the wait after `tries` failed tries."""
        return float(min(self.delay_seconds_max, self.delay_seconds_first * 2 ** (tries - 1)))


class RetryingStore:
    """Repeats everything on `StoreUnavailable`, and a plain put on `OutcomeUnknown` too: the last one wins anyway.

    Of a create-only or replacing put `StoreUnavailable` means that the backend can prove that
    nothing was sent. `stop`, once set, ends all waiting: a call then fails with its last error.
    """

    def __init__(
        self,
        store: Store,
        *,
        policy: RetryPolicy | None = None,
        clock: Clock | None = None,
        entropy: random.Random | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._store = store
        self._policy = policy or RetryPolicy()
        self._clock = clock or SystemClock()
        self._entropy = entropy or random.Random()
        self._stop = stop or threading.Event()
        self.url = store.url

    def __repr__(self) -> str:
        return f"RetryingStore({self._store!r})"

    @property
    def name_bytes_max(self) -> int:
        """See `Store.name_bytes_max`."""
        return self._store.name_bytes_max

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """See `Store.get`."""
        return self._repeat(lambda: self._store.get(name, start=start, length=length))

    def put(
        self,
        name: str,
        data: bytes,
        *,
        create_only: bool = False,
        replacing: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """See `Store.put`."""

        def once() -> str:
            return self._store.put(name, data, create_only=create_only, replacing=replacing, attributes=attributes)

        return self._repeat(once, harmless_twice=not create_only and replacing is None)

    def head(self, name: str) -> StoredObject:
        """See `Store.head`."""
        return self._repeat(lambda: self._store.head(name))

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self._repeat(lambda: self._store.delete(name))

    def delete_many(self, names: Sequence[str]) -> None:
        """See `Store.delete_many`."""
        self._repeat(lambda: self._store.delete_many(names))

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        """See `Store.list`."""
        return self._repeat(lambda: self._store.list(prefix, after=after, limit=limit, foreign=foreign))

    def _repeat(self, call: Callable[[], _T], *, harmless_twice: bool = True) -> _T:
        deadline = self._clock.monotonic() + self._policy.budget_seconds
        doubt: OutcomeUnknown | None = None
        tries = 0
        while True:
            tries += 1
            try:
                return call()
            except OutcomeUnknown as error:
                if not harmless_twice:
                    raise
                doubt = error
                if not self._may_try_again(tries, deadline):
                    raise
            except StoreUnavailable:
                if not self._may_try_again(tries, deadline):
                    if doubt is None:
                        raise
                    raise doubt from None
            except StoreError:
                # "Nothing was written" would be a lie once an earlier try may have been.
                if doubt is None:
                    raise
                raise doubt from None

    def _may_try_again(self, tries: int, deadline: float) -> bool:
        """Wait before the next try; False if there is none."""
        if tries >= self._policy.tries_max:
            return False
        wait = self._entropy.uniform(0, self._policy.delay_seconds_bound(tries))
        if self._clock.monotonic() + wait > deadline:
            return False
        return not self._clock.wait(self._stop, wait)
