"""Whose turn it is when many writers append to one log. Pure: times are seconds of one monotonic clock.

Each place of the log has one winner; the puts of all others are in vain. So writers that meet take turns, and the
log itself tells the order, without a coordinator and without a request more: everybody reads the same commits, and
keeps the same *line* of those who committed lately, the longest ago first. Who is first goes at once. The one behind
waits for as long as a turn takes and looks whether it was used, the one behind that a turn longer, and so on; a place
that nobody before it used is taken by the next, so nobody waits for long for those who have nothing to say, or are
dead: passed over twice in a row, a writer is out of the line.

Who is not in the line (new, late, or slower than the others wait) tries at once and, having lost, less and less
often in the places of the line, but first of all in *open places*: at every 32nd place of the log, longer at every
64th, and after a commit of somebody who was not in the line, those in the line let a moment pass. That is what keeps
a slow machine from losing every race.

All this is advice. Nothing depends on it for safety, two writers may well believe that it is their turn (a cloned
machine, a jump to a snapshot, another version of this program), and without others' commits while something of ours
was due there is no line at all: we put at once.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agentfs.model.records import COMMIT_BYTES_MAX

CALM_S = 5.0
"""Without a meeting for this long, writers go without a line again."""
PASSED_MAX = 2
"""Turns that a writer may leave unused before it is out of the line."""
LINE_MAX = 64
OPEN_PLACES = ((64, 10.0), (32, 2.0))
"""(every that many places, the line waits for so many turns)."""
OPEN_AFTER_NEW = 2.0
"""Turns that the line waits after a commit of somebody who was not in it: where one comes, there may be more."""
BUSY_TURNS = 1.4
"""The log is busy while its places are taken faster than one in that many turns. Else nobody is worth waiting for."""
QUIET_TURNS = 3.0
"""The log is quiet when a place is taken in more than so many turns: a slow machine finds gaps without our help."""
BYTES_MIN = 64 * 1024
"""No commit is made smaller than this for having lost."""
LOOK_SOONER = 0.45
"""Who waits looks after so much of the time that those before it should take: to be late costs everybody a turn."""
_WINDOW_MAX = 16
_ARRIVALS = 16
_TURN_FIRST_S = 0.1
_SMOOTH = 0.2


@dataclass(slots=True)
class Contention:
    """What one writer knows of the others. The engine tells it what it saw and did, and asks when to go on."""

    entropy: Callable[[int], bytes]
    """n → n random bytes."""
    turns: bool = True
    """False: never wait for others."""
    waiting: bool = False
    """Something of ours is due."""
    losses: int = 0
    """Puts in a row that another was faster than."""
    bytes_max: int = COMMIT_BYTES_MAX
    """Of inline contents in the next commit: a large put is slow, and loses to small ones."""
    _line: list[str] = field(default_factory=list)
    _passed: dict[str, int] = field(default_factory=dict)
    _me: str = ""
    _met_until: float = -math.inf
    _head_at: float = -math.inf
    _open_turns: float = 0.0
    _pause_turns: float = 0.0
    """Of the open turns those that the number of the place asks for."""
    _lost_open: int = 0
    _looked_at: float = -math.inf
    _window: int = 1
    _look_s: float = _TURN_FIRST_S / 2
    _put_s: float = _TURN_FIRST_S / 2
    _arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=_ARRIVALS))
    _chance: float = 0.0
    _patience: float = 0.0

    # ---- what happened ----

    def saw(self, writer: str, sequence: int, now: float, *, ours: bool) -> None:
        """A commit of the log was taken in (or put, when it is ours)."""
        known = writer in self._line
        before = self._line.index(writer) if known else 0
        for passed in self._line[:before]:
            self._passed[passed] += 1
        self._line = [it for it in self._line if it != writer and self._passed[it] < PASSED_MAX]
        self._line = [*self._line, writer][-LINE_MAX:]
        self._passed = {it: self._passed.get(it, 0) for it in self._line} | {writer: 0}
        if self._open_turns:  # the pause was of our own making: it says nothing about how busy the log is
            pause = max(0.0, now - self._head_at)
            self._arrivals = deque((at + pause for at in self._arrivals), maxlen=_ARRIVALS)
        self._arrivals.append(now)
        self._head_at = now
        self._pause_turns = next((turns for every, turns in OPEN_PLACES if sequence % every == 0), 0.0)
        self._open_turns = self._pause_turns if known else max(self._pause_turns, self._open_turns, OPEN_AFTER_NEW)
        if ours:
            self._me = writer
            self.losses = self._lost_open = 0
        elif self.waiting:
            self._met_until = now + CALM_S
        drawn = self.entropy(4)
        self._chance = int.from_bytes(drawn[:2], "big") / 65536
        self._patience = int.from_bytes(drawn[2:], "big") / 65536

    def looked(self, seconds: float, now: float, *, asked: int, found: int) -> None:
        """The log was read, `asked` places at first; `found` entries stood there."""
        self._looked_at = now
        self._window = min(_WINDOW_MAX, 2 * found) if found >= asked else max(1, found)
        if not found:
            self._look_s += _SMOOTH * (seconds - self._look_s)

    def put(self, seconds: float, now: float, size_bytes: int, *, lost: bool) -> None:
        """A commit of ours was put. Call it before `saw` with what stands there."""
        if size_bytes <= BYTES_MIN:
            self._put_s += _SMOOTH * (seconds - self._put_s)
        if lost:
            self.losses += 1
            self._lost_open += self._open_turns > 0
            self._met_until = now + CALM_S
            self._looked_at = now
            if self.turns and seconds > 1.5 * self._put_s:
                self.bytes_max = max(BYTES_MIN, min(self.bytes_max, size_bytes) // 2)
        elif self.met(now):
            self.bytes_max = min(COMMIT_BYTES_MAX, self.bytes_max + BYTES_MIN)
        else:
            self.bytes_max = COMMIT_BYTES_MAX

    # ---- what to do ----

    def met(self, now: float) -> bool:
        """Whether others commit while we want to."""
        return self.turns and now < self._met_until

    def put_at(self, now: float) -> float:
        """Not before this is something of ours to be put."""
        if not self.met(now):
            return -math.inf
        turn, place = self._turn_s(), self._place()
        if not self._is_busy():
            if place is not None and self._pause_turns and self._gap_s() < QUIET_TURNS * self._own_turn_s():
                return self._head_at + self._pause_turns * turn
            return self._head_at + self._patience * min(self._doubled(self.losses) - 1, 8) * turn / 4
        if place is not None:
            return self._head_at + (self._open_turns + (1 + place if place else 0)) * turn
        if not self.losses:
            return self._head_at
        if not self._open_turns:
            return self._head_at + self._patience * min(self._doubled(self.losses), len(self._line) + 1) * turn
        if self._pause_turns or self._chance * min(self._doubled(self._lost_open), 4) < 1:
            return self._head_at
        return self._head_at + self._patience * self._open_turns / 2 * turn

    def look_at(self, now: float) -> float:
        """When to look at the log next because of the others, if something of ours is due. Nothing is put without a
        look right before."""
        if not self.met(now):
            return math.inf
        put_at = self.put_at(now)
        if put_at <= now:
            return math.inf if now - self._looked_at < self._look_s / 2 else now
        return min(put_at, self._next_look())

    def window(self, now: float) -> int:
        """How many places to read at once."""
        place = self._place() if self._is_busy() else None
        if not self.met(now) or place == 0:
            return 1
        return self._window if place is None else min(_WINDOW_MAX, (place + 1) // 2)

    def _next_look(self) -> float:
        place = self._place()
        if not self._is_busy():
            return self._looked_at + self._turn_s() / 2
        soonest = self._looked_at + self._turn_s() / 16  # a near store answers at once: no reason to ask without end
        if place is None:
            return soonest
        start = max(self._head_at + self._open_turns * self._turn_s(), self._looked_at)
        return max(soonest, start + max(0, place - 1) * LOOK_SOONER * self._turn_s())

    # ---- what is known ----

    @staticmethod
    def _doubled(times: int) -> int:
        return 1 << min(times, 10)

    def _place(self) -> int | None:
        """Ours in the line, 0 is next; None when we are not in it."""
        return self._line.index(self._me) if self._me in self._line else None

    def _gap_s(self) -> float:
        """Between two commits of the log, lately."""
        known = len(self._arrivals) - 1
        return (self._arrivals[-1] - self._arrivals[0]) / known if known >= 4 else math.inf

    def _own_turn_s(self) -> float:
        return self._look_s + self._put_s

    def _is_busy(self) -> bool:
        return self._gap_s() < BUSY_TURNS * self._own_turn_s()

    def _turn_s(self) -> float:
        """How long one turn takes. For a machine slower than the others it is theirs that counts."""
        return max(min(self._own_turn_s(), 1.5 * self._gap_s()), 0.001)
