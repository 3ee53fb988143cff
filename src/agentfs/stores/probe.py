"""`probe`: does this store do what keeps two writers apart? Asked of the real thing, with real racing puts.

Some stores accept `If-None-Match: *` and ignore it; two machines then both believe that they own a sequence.
"""

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agentfs.errors import (
    BucketNotFound,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreUnavailable,
    StoreUnsafe,
)
from agentfs.stores.prefixed import PrefixedStore
from agentfs.stores.protocol import Store

RACERS = 16
ROUNDS = 4
_NOT_A_VERDICT = (StoreUnavailable, StoreDenied, BucketNotFound)
"""These say that the store could not be asked, not that it answered wrongly: they pass through."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    name: str
    passed: bool
    detail: str = ""
    """What was seen instead, in one line; empty when passed."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What the probe found. A store that failed any check must not have a second writer."""

    url: str
    checks: tuple[CheckResult, ...]

    @property
    def safe(self) -> bool:
        return all(check.passed for check in self.checks)

    def raise_for_status(self) -> None:
        """Raise `StoreUnsafe` naming the first failed check."""
        for check in self.checks:
            if not check.passed:
                raise StoreUnsafe(f"{self.url} failed the check '{check.name}': {check.detail}")


def probe(
    store: Store, *, racers: int = RACERS, rounds: int = ROUNDS, token: Callable[[], str] | None = None
) -> ProbeReport:
    """Check the store with small objects under `.agentfs/probe/<random>/`, removed at the end.

    A failed check does not stop the others. Raises `StoreUnavailable`, `BucketNotFound`, or `StoreDenied` (a
    read-only key or directory shows at the first put): the store could not be asked.
    """
    random_part = (token or (lambda: secrets.token_hex(8)))()
    place = PrefixedStore(store, f".agentfs/probe/{random_part}")
    written: set[str] = set()
    prober = _Prober(place, written, racers, rounds)
    checks = (
        ("read-after-write", prober.read_after_write),
        ("create-only put", prober.create_only),
        ("racing create-only puts", prober.racing_creates),
        ("ranged get", prober.ranged_get),
        ("listing", prober.listing),
        ("empty listing", prober.empty_listing),
        ("delete", prober.deletion),
    )
    results: list[CheckResult] = []
    try:
        for name, check in checks:
            try:
                detail = check()
            except _NOT_A_VERDICT:
                raise
            except StoreError as error:
                detail = f"unexpected {error.code}: {error}"
            results.append(CheckResult(name, not detail, detail))
    finally:
        _clean(place, written)
    return ProbeReport(store.url, tuple(results))


def _clean(place: Store, written: set[str]) -> None:
    """Best effort: what cannot be removed is a few bytes in a place that nothing reads."""
    for name in sorted(written):
        try:
            place.delete(name)
        except StoreError:
            return


class _Prober:
    """The checks. Each returns what is wrong, or an empty string."""

    def __init__(self, store: Store, written: set[str], racers: int, rounds: int) -> None:
        self._store = store
        self._written = written
        self._racers = racers
        self._rounds = rounds

    def _put(self, name: str, data: bytes, *, create_only: bool = False) -> None:
        self._written.add(name)
        self._store.put(name, data, create_only=create_only)

    def read_after_write(self) -> str:
        for data in (b"first", b"the second, longer"):
            self._put("read", data)
            if self._store.get("read").data != data:
                return "a get right after a put returned other bytes"
        return ""

    def create_only(self) -> str:
        try:
            self._put("create", b"first", create_only=True)
        except OutcomeUnknown:
            if self._store.get("create").data != b"first":
                return "the object has other bytes than were put"
        try:
            self._put("create", b"second", create_only=True)
        except (ObjectExists, OutcomeUnknown):
            pass
        else:
            return "an existing object was accepted again (If-None-Match is ignored)"
        return "" if self._store.get("create").data == b"first" else "an existing object was replaced"

    def racing_creates(self) -> str:
        with ThreadPoolExecutor(self._racers) as pool:
            for number in range(self._rounds):
                detail = self._race(pool, f"race/{number}")
                if detail:
                    return detail
        return ""

    def _race(self, pool: ThreadPoolExecutor, name: str) -> str:
        barrier = threading.Barrier(self._racers)

        def racer(number: int) -> tuple[bool, bool]:
            """Whether this one won, and whether it knows."""
            barrier.wait()
            try:
                self._put(name, f"racer {number}".encode(), create_only=True)
            except ObjectExists:
                return False, True
            except OutcomeUnknown:
                return False, False
            return True, True

        outcomes = list(pool.map(racer, range(self._racers)))
        winners = [number for number, (won, _) in enumerate(outcomes) if won]
        if len(winners) > 1:
            return f"{len(winners)} of {self._racers} racing create-only puts of one name succeeded"
        try:
            data = self._store.get(name).data
        except ObjectNotFound:
            return "no racer wrote the object" if all(known for _, known in outcomes) or winners else ""
        doubtful = {f"racer {n}".encode() for n, (_, known) in enumerate(outcomes) if not known}
        if winners and data != f"racer {winners[0]}".encode():
            return "the object is not the winner's"
        return "" if winners or data in doubtful else "an object that every racer was refused exists"

    def ranged_get(self) -> str:
        self._put("range", b"0123456789")
        for start, length, expected in ((2, 3, b"234"), (7, None, b"789"), (9, 1, b"9")):
            found = self._store.get("range", start=start, length=length)
            if found.data != expected or found.size_bytes != 10:
                return "a part of an object came back wrong"
        return ""

    def listing(self) -> str:
        names = ["list/a", "list/a-b", "list/a.c", "list/b", "list/b0"]
        for name in reversed(names):
            self._put(name, b"x")
        if [entry.name for entry in self._store.list("list/")] != names:
            return "a listing was not complete or not in byte order"
        if [entry.name for entry in self._store.list("list/", after="list/a-b", limit=2)] != names[2:4]:
            return "a listing did not start where it was told to"
        if [entry.name for entry in self._store.list("list/a")] != names[:3]:
            return "a listing with a partial name was wrong"
        return ""

    def empty_listing(self) -> str:
        return "a listing of nothing returned something" if self._store.list("nothing/") else ""

    def deletion(self) -> str:
        self._put("delete", b"x")
        self._store.delete("delete")
        try:
            self._store.get("delete")
        except ObjectNotFound:
            pass
        else:
            return "a deleted object could still be read"
        if self._store.list("delete"):
            return "a deleted object was still listed"
        self._store.delete("delete")
        return ""
