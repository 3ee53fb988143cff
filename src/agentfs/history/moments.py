"""What `--at` says: a version, a sequence, a time, or the name of a snapshot. Pure.

v3                     version 3 of the file
@1234, 1234            right after commit 1234 of the log
2026-11-21T10:00       at this time (in this machine's zone, or with Z or +02:00)
2026-11-21, yesterday  at the end of that day
2h, 30min, 3d, 2w      so long ago (also `2h ago`)
now                    the newest commit
anything else          the name of a snapshot (`snapshot:NAME` where it looks like one of the above)
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, TypeAlias

from agentfs.errors import InvalidArgument

MomentKind: TypeAlias = Literal["version", "sequence", "time", "snapshot", "now"]

_VERSION = re.compile(r"v([0-9]{1,12})\Z")
_SEQUENCE = re.compile(r"@?([0-9]{1,15})\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9].*\Z")
_AGO = re.compile(r"([0-9]{1,9})\s*(s|sec|m|min|h|d|w)(\s+ago)?\Z")
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SECOND_NS = 10**9
_NS_MAX = 2**63 - 1
_SNAPSHOT = "snapshot:"


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in a volume's history, as somebody named it."""

    kind: MomentKind
    number: int
    """The version, the sequence, or nanoseconds since 1970; 0 for the others."""
    text: str
    """As it was given; for a snapshot its name."""


def parse_moment(text: str, *, now_ns: int, zone: tzinfo | None = None, day_begins: bool = False) -> Moment:
    """`now_ns` is the wall clock; `zone` where times without one are (None: this machine's). A day means its end, or
    with `day_begins` its beginning. Raises `InvalidArgument`."""
    words = text.strip()
    if not words:
        raise InvalidArgument(
            "a moment is empty: give a version (v3), a sequence (@1234), a time or a snapshot's name"
        )
    if words.startswith(_SNAPSHOT):
        return Moment("snapshot", 0, words.removeprefix(_SNAPSHOT))
    if words in ("now", "head"):
        return Moment("now", 0, words)
    if match := _VERSION.match(words):
        return Moment("version", int(match[1]), words)
    if match := _SEQUENCE.match(words):
        return Moment("sequence", int(match[1]), words)
    if match := _AGO.match(words):
        return Moment("time", storable(now_ns - int(match[1]) * _SECONDS[match[2]] * _SECOND_NS), words)
    if words in ("today", "yesterday"):
        today = datetime.fromtimestamp(now_ns // _SECOND_NS, zone).date()
        day = today - timedelta(days=1) if words == "yesterday" else today
        return Moment("time", _day(day.isoformat(), zone, day_begins), words)
    if _DATE.match(words):
        return Moment("time", _day(words, zone, day_begins), words)
    if _TIME.match(words):
        return Moment("time", storable(_nanoseconds(_parsed(words, zone))), words)
    return Moment("snapshot", 0, words)


def storable(time_ns: int) -> int:
    """Nearest to it what a database holds: the years 1677 to 2262. No commit is of another."""
    return min(max(time_ns, -_NS_MAX), _NS_MAX)


def _parsed(text: str, zone: tzinfo | None) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=zone) if zone is not None else found.astimezone()
        return found.astimezone(UTC)
    except (ValueError, OverflowError):  # also the first and the last day of the calendar, in another zone
        raise InvalidArgument(f"{text!r} is not a time: write 2026-11-21T10:00") from None


def _day(text: str, zone: tzinfo | None, begins: bool) -> int:
    try:
        day = datetime.fromisoformat(text) + timedelta(days=0 if begins else 1)
        local = day.replace(tzinfo=zone) if zone is not None else day.astimezone()
        return storable(_nanoseconds(local.astimezone(UTC)) - (0 if begins else 1))
    except (ValueError, OverflowError):
        raise InvalidArgument(f"{text!r} is not a date: write 2026-11-21") from None


def _nanoseconds(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000
