"""What time it is for ends of memories: this machine's clock, but never later than the store's.

A deletion is for everybody, and a machine's clock may be wrong. The store's is one for all, and asking it costs two
requests. So it is asked when something is going to end here, and holds for hours, while this machine's clock goes
evenly.
"""

import threading

from agentfs.errors import AgentFSError, Unavailable
from agentfs.retention.ages import store_time
from agentfs.sync.ground import EngineGround

_TOLERANCE_S = 30.0
"""Clocks that are kept by NTP agree far better; stores tell their time in whole seconds, and take time to answer."""
_HOLDS_S = 6 * 3600.0
_JUMP_S = 5.0
"""The wall clock went away from the monotonic one: it was set, or the machine slept."""
_AGAIN_S = 15.0
"""After the store did not answer."""
_TURN_S = 1.0
"""For somebody else who asks: a question does not wait for a slow store longer than that."""
_WAITS = "it waits for the store to say what time it is"
_NS = 1_000_000_000


class StoreClock:
    """Safe from any thread."""

    def __init__(self, ground: EngineGround) -> None:
        self._ground = ground
        self._clock = ground.clock
        self._lock = threading.Lock()
        self._known: tuple[float, float, float] | None = None
        """How far this machine was ahead, in seconds; the monotonic clock then, and the wall clock less that."""
        self._ask_at = float("-inf")

    def now_ns(self) -> int:
        """This machine's time; where that is known to be ahead of the store's by more than seconds, the store's."""
        return self.as_told_ns(self._clock.wall_ns())

    def as_told_ns(self, wall_ns: int) -> int:
        """What `now_ns` was when this machine's clock said `wall_ns`."""
        ahead_s = self._ahead_s()
        return wall_ns if ahead_s is None or ahead_s <= _TOLERANCE_S else wall_ns - int(ahead_s * _NS)

    def ask(self) -> None:
        """On return `now_ns` is not later than the store's clock. Raises `Unavailable` when the store cannot be asked
        now; it is tried once in 15 s."""
        if self._ahead_s() is not None:
            return
        if not self._lock.acquire(timeout=_TURN_S):
            raise Unavailable(_WAITS)
        try:
            if self._ahead_s() is None:
                self._ask()
        finally:
            self._lock.release()

    def _ask(self) -> None:
        if self._clock.monotonic() < self._ask_at or not self._ground.replica.state("online"):
            raise Unavailable(_WAITS)
        try:
            theirs, here = store_time(self._ground.store, self._ground.log.prefix, self._clock)
        except AgentFSError as error:
            self._ask_at = self._clock.monotonic() + _AGAIN_S
            raise Unavailable(f"{_WAITS}: {error}") from error
        now = self._clock.monotonic()
        self._known = here - theirs, now, self._clock.wall_ns() / _NS - now

    @property
    def problem(self) -> str:
        """In one line; empty: nothing is wrong, as far as is known."""
        ahead_s = self._ahead_s()
        if ahead_s is None or ahead_s <= _TOLERANCE_S:
            return ""
        return (
            f"this machine's clock is {ahead_s:.0f} s ahead of the store's: memories end by the store's clock here; "
            "set this one (NTP)"
        )

    def _ahead_s(self) -> float | None:
        """None: not known (any more)."""
        known = self._known
        if known is None:
            return None
        ahead_s, at, difference = known
        now = self._clock.monotonic()
        if now - at > _HOLDS_S or abs(self._clock.wall_ns() / _NS - now - difference) > _JUMP_S:
            return None
        return ahead_s
