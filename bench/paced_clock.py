"""A clock that jumps: engines live through a day as fast as their requests are answered.

Threads with a paced name wait in simulated time. When all of them wait and none has been woken, the clock goes to
the next moment at which one of them wants to go on; while one works, it stands still. So every step of an engine is
the real one, at the moment in which it would be, and takes no time of its own. Everybody else waits in real time.
"""

import threading
import time
from dataclasses import dataclass

_POLL_SECONDS = 0.0005
"""Between looks whether somebody set an event: setting one tells no clock."""
_STUCK_SECONDS = 120.0


@dataclass(slots=True, eq=False)
class _Waiter:
    until_s: float
    event: threading.Event

    def goes_on(self, now_s: float) -> bool:
        return self.until_s <= now_s or self.event.is_set()


class PacedClock:
    """See the module. `agentfs.clock.Clock`."""

    def __init__(self, names: frozenset[str]) -> None:
        """`names` are those of the paced threads."""
        self.now_s = 0.0
        self._names = names
        self._start_ns = time.time_ns()
        self._changed = threading.Condition()
        self._waiters: dict[threading.Thread, _Waiter] = {}
        self._paced: set[threading.Thread] = set()

    def wall_ns(self) -> int:
        return self._start_ns + int(self.now_s * 1e9)

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, event: threading.Event, seconds: float) -> bool:
        me = threading.current_thread()
        if me.name not in self._names:
            return event.wait(seconds)
        with self._changed:
            self._paced.add(me)
            waiter = self._waiters[me] = _Waiter(self.now_s + max(0.0, seconds), event)
            self._changed.notify_all()
            while not waiter.goes_on(self.now_s):
                self._changed.wait(_POLL_SECONDS)
            del self._waiters[me]
        return event.is_set()

    def run_until(self, until_s: float) -> None:
        """Let the paced threads live until then."""
        with self._changed:
            while True:
                self._settle()
                if self.now_s >= until_s:
                    return
                self.now_s = min(min((it.until_s for it in self._waiters.values()), default=until_s), until_s)
                self._changed.notify_all()

    def _settle(self) -> None:
        """Wait, in real time, until every paced thread waits and nothing has woken it."""
        deadline = time.monotonic() + _STUCK_SECONDS
        while True:
            self._paced = {thread for thread in self._paced if thread.is_alive()}
            if self._waiters.keys() >= self._paced and not any(
                it.goes_on(self.now_s) for it in self._waiters.values()
            ):
                return
            if time.monotonic() > deadline:
                busy = [thread.name for thread in self._paced if thread not in self._waiters]
                raise OSError(f"the engines do not come to rest: {busy}")
            self._changed.wait(_POLL_SECONDS)
