"""Time as a parameter. Nothing else in the project reads a clock directly (`tests/test_tidy.py` holds to it).

No wall clock decides about safety (DESIGN, HAZARDS): wall time is for people and for tie-free *labels*, the
order of changes comes from the log, and ages that protect data are measured by the store's own clock.
"""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the project asks of time. Implementations are thread-safe."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970 (UTC). May jump in either direction."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until `event` is set, or for `seconds`. Returns whether it is set."""
        ...


class SystemClock:
    """The machine's clock."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


def hybrid_time_ns(wall_ns: int, last_ns: int) -> int:
    """The hybrid-logical time of a commit after one stamped `last_ns`: the wall clock, but always later than the
    parent's. One number is enough because the log is a total order: the logical part only has to push a
    slow clock past its parent (Kulkarni et al., "Logical Physical Clocks", 2014)."""
    return max(wall_ns, last_ns + 1)
