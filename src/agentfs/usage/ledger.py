"""Counting requests in memory, and adding the counts to `usage.db` at most once a minute and at the end.

Counting is a few microseconds and never waits for a disk. A process that is killed loses what it counted since its
last batch: a minute at most. Several processes add to the same file.
"""

import atexit
import contextlib
import logging
import os
import threading

from agentfs.clock import Clock
from agentfs.errors import AgentFSError
from agentfs.stores.metering import Meter, RequestKind
from agentfs.usage.days import day_of
from agentfs.usage.purposes import purpose_of
from agentfs.usage.usage_file import Count, Counted, StorePlace, add_counts, store_number, writing

_LOG = logging.getLogger(__name__)

BATCH_SECONDS = 60.0


class Ledger:
    """The counts of this process for one state directory. Made by `ledger_of`; safe from any thread."""

    def __init__(self, state_dir: str, *, batch_seconds: float = BATCH_SECONDS) -> None:
        self._state_dir = state_dir
        self._batch_seconds = batch_seconds
        self._lock = threading.Lock()
        self._counts: dict[StorePlace, dict[Counted, Count]] = {}
        self._writing = threading.Lock()
        self._due = False
        """A thread waits to write the next batch."""

    def meter(self, place: StorePlace, clock: Clock) -> Meter:
        """Counts the requests to one store; the days are those of `clock`."""

        def count(kind: RequestKind, name: str, *, sent_bytes: int, received_bytes: int) -> None:
            volume, purpose = purpose_of(name)
            at = Counted(day_of(clock.wall_ns()), volume, purpose, kind)
            one = Count(1, sent_bytes, received_bytes)
            with self._lock:
                counts = self._counts.setdefault(place, {})
                counts[at] = counts[at] + one if at in counts else one
                wait, self._due = not self._due, True
            if wait:
                with contextlib.suppress(RuntimeError):  # the interpreter is ending: what is counted is written then
                    threading.Thread(target=self._write_later, name="usage", daemon=True).start()

        return count

    def _write_later(self) -> None:
        threading.Event().wait(self._batch_seconds)
        with self._lock:
            self._due = False
        self.flush()

    def flush(self) -> bool:
        """Add everything that was counted to the file. False: it could not be written and waits for the next time."""
        with self._writing:
            with self._lock:
                taken, self._counts = self._counts, {}
            if not any(taken.values()):
                return True
            if not os.path.isdir(self._state_dir):
                return False  # it was removed, and what was counted there with it
            try:
                with writing(self._state_dir) as connection:
                    for place, counts in taken.items():
                        add_counts(connection, store_number(connection, place), counts)
            except (AgentFSError, OSError) as error:
                _LOG.warning("the counts of requests are not written yet: %s", error)
                self._put_back(taken)
                return False
        return True

    def forked(self) -> None:
        """In the child of a fork: what was counted before is its parent's to write, and the locks may be held by
        threads that are not here."""
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._counts, self._due = {}, False

    def _put_back(self, taken: dict[StorePlace, dict[Counted, Count]]) -> None:
        with self._lock:
            for place, counts in taken.items():
                here = self._counts.setdefault(place, {})
                for at, count in counts.items():
                    here[at] = here[at] + count if at in here else count


_ledgers: dict[str, Ledger] = {}
_ledgers_lock = threading.Lock()


def ledger_of(state_dir: str) -> Ledger:
    """The one of this process."""
    path = os.path.abspath(state_dir)
    with _ledgers_lock:
        if path not in _ledgers:
            _ledgers[path] = Ledger(path)
        return _ledgers[path]


def flush_all() -> None:
    """Write what this process has counted: it is about to end."""
    for ledger in list(_ledgers.values()):
        ledger.flush()


def _forked() -> None:
    global _ledgers_lock  # noqa: PLW0603 - see `Ledger.forked`
    _ledgers_lock = threading.Lock()
    for ledger in _ledgers.values():
        ledger.forked()


atexit.register(flush_all)
os.register_at_fork(after_in_child=_forked)
