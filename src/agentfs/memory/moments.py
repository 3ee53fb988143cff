"""Dates, times and durations as people and programs write them. Without a zone they are UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_NS = 1_000_000_000
DAY_NS = 24 * 3600 * _NS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NS_MAX = 2**63 - 1
"""What SQLite holds: the year 2262. A later date is not read."""
_MARGIN_NS = 3 * DAY_NS
"""What a time, its zone and the end of the day add to a date."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_DATE = re.compile(
    rf"""
    (?<![\d.]) (?P<y>\d{{4}}) (?P<sep>[-/.]) (?P<m>\d{{1,2}}) (?P=sep) (?P<d>\d{{1,2}}) (?![\d])
    | (?<!\d) (?P<cy>\d{{4}}) \s? [年년] \s? (?P<cm>\d{{1,2}}) \s? [月월] \s? (?P<cd>\d{{1,2}}) \s? [日일]
    | (?<![\w.]) (?P<gd>\d{{1,2}}) \. (?P<gm>\d{{1,2}}) \. (?P<gy>\d{{4}}) (?!\d|\.\d)
    | (?<!\w) (?P<ed>\d{{1,2}}) (?:st|nd|rd|th)? \.? [ ]? (?:of[ ])? (?P<em>{_MONTH})
      \.? ,? [ -] (?P<ey>\d{{4}}) (?!\d)
    | (?<!\w) (?P<um>{_MONTH}) \.? [ ] (?P<ud>\d{{1,2}}) (?:st|nd|rd|th)? ,? [ ] (?P<uy>\d{{4}}) (?!\d)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_STAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]{1,9}))?Z?(?![\w+:-]| ?[ap+-])",
    re.IGNORECASE,
)
"""As programs write it, in UTC: logs have one in each line."""
_TIME = r"""
    (?: (?P<hour>\d{1,2}) : (?P<minute>\d{2}) (?: : (?P<second>\d{2}) (?: [.,] (?P<fraction>\d{1,9}) )? )?
        (?: [ ]? (?P<half>[ap])\.?m\b\.? )?
      | (?P<hour_only>\d{1,2}) [ ]? (?P<half_only>[ap])\.?m\b\.? )
    (?: [ ]? (?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}) (?!\w) )? (?!\d)
    """
_TIME_AFTER = re.compile(
    rf"(?: T | ,? [ ]? (?:at|um|@|[-–—|]) [ ] | ,? [ ]{{1,2}} | [_] ) {_TIME}", re.VERBOSE | re.I
)
_TIME_BEFORE = re.compile(rf"(?<![\d:]) {_TIME} (?: ,? [ ] (?:on[ ])? | [ ]?[-–—][ ] ) \Z", re.VERBOSE | re.I)
_TIME_FIRST = re.compile(_TIME, re.VERBOSE | re.I)
_BEFORE_MAX = 32
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*(?:,|and)?\s*", re.I)
_MINUTES_OR_MONTHS = re.compile(r"^[^Pp]*\d\s*M(?![A-Za-z])")
_ISO_DURATION = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.I
)
_ISO_SECONDS = (365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1)
_UNITS = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 7 * 86400),
    **dict.fromkeys(("mo", "month", "months"), 30 * 86400),
    **dict.fromkeys(("y", "yr", "year", "years"), 365 * 86400),
}
_WORD_MAX = 64
"""Characters. A longer value is no date and no duration."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in a text."""

    ns: int
    """Since 1970, UTC. The start of the day where no time is said."""
    day_only: bool
    start: int
    """Where it is written: characters of the text."""
    end: int


def moment_in(text: str) -> Moment | None:
    """The first date in a line, with the time beside it."""
    found = _DATE.search(text)
    return None if found is None else _moment(text, found)


def moment_at(text: str, at: int) -> Moment | None:
    """The date that begins at `at`."""
    stamp = _STAMP.match(text, at)
    if stamp is not None:
        year, month, day, hour, minute, second, fraction = stamp.groups("0")
        start = _day(year, month, day)
        if start is not None and hour < "24" and minute < "60" and second < "60":
            seconds = int(hour) * 3600 + int(minute) * 60 + int(second)
            return Moment(start + seconds * _NS + int(fraction.ljust(9, "0")), False, at, stamp.end())
    found = _DATE.match(text, at)
    return None if found is None else _moment(text, found)


def time_at(text: str, at: int, day_ns: int) -> Moment | None:
    """The time of day that begins at `at`, on the day that begins at `day_ns`."""
    found = _TIME_FIRST.match(text, at)
    after = None if found is None else _time_ns(found)
    return None if found is None or after is None else Moment(day_ns + after, False, found.start(), found.end())


def moment(value: str) -> Moment | None:
    """A value that is a date, and nothing else: ISO 8601, a date in words, or seconds (milliseconds) since 1970."""
    value = value.strip()
    if len(value) > _WORD_MAX:
        return None
    if value.isdecimal() and value.isascii() and len(value) in (9, 10, 12, 13):
        ns = int(value) * (_NS if len(value) <= 10 else 1_000_000)
        return Moment(ns, False, 0, len(value)) if ns <= NS_MAX else None
    found = moment_in(value)
    if found is not None and found.start == 0 and found.end == len(value):
        return found
    try:
        then = datetime.fromisoformat(value)
    except ValueError:
        return None
    at_ns = _ns(then if then.tzinfo is not None else then.replace(tzinfo=UTC))
    return (
        None
        if at_ns is None
        else Moment(at_ns, len(value) <= 8 or (len(value) == 10 and "W" in value), 0, len(value))
    )


def duration_ns(value: str) -> int | None:
    """`7d`, `12h`, `90m`, `2w`, `1d 12h`, `3 months`, `P7D`, or seconds. None: none, or not above zero; and
    `3M`, which some read as minutes and some as months."""
    if not value.strip() or len(value) > _WORD_MAX or _MINUTES_OR_MONTHS.search(value):
        return None
    value = value.strip().lower()
    seconds = 0.0
    iso = _ISO_DURATION.fullmatch(value)
    if iso is not None:
        seconds = sum(int(count) * unit for count, unit in zip(iso.groups("0"), _ISO_SECONDS, strict=True))
    else:
        at = 0
        while at < len(value):
            found = _DURATION.match(value, at)
            if found is None or found[2] not in _UNITS or (not found[2] and (at or found.end() < len(value))):
                return None
            seconds += float(found[1]) * _UNITS[found[2]]
            at = found.end()
    return int(seconds * _NS) if 0 < seconds * _NS <= NS_MAX else None


def _moment(text: str, found: re.Match[str]) -> Moment | None:
    day = _day_ns(found)
    if day is None:
        return None
    start, end = found.span()
    after = _TIME_AFTER.match(text, end)
    if after is not None and (time := _time_ns(after)) is not None:
        return Moment(day + time, False, start, after.end())
    before = _TIME_BEFORE.search(text, max(0, start - _BEFORE_MAX), start)
    if before is not None and (time := _time_ns(before)) is not None:
        return Moment(day + time, False, before.start(), end)
    return Moment(day, True, start, end)


def _day_ns(found: re.Match[str]) -> int | None:
    for year, month, day in (("y", "m", "d"), ("ey", "em", "ed"), ("uy", "um", "ud"), ("cy", "cm", "cd")):
        if found[year] is not None:
            return _day(found[year], found[month], found[day])
    return _day(found["gy"], found["gm"], found["gd"])


@lru_cache(maxsize=256)
def _day(year: str, month: str, day: str) -> int | None:
    number = int(month) if month.isdecimal() else _MONTHS.index(month[:3].lower()) + 1
    try:
        return _ns(datetime(int(year), number, int(day), tzinfo=UTC))
    except ValueError:
        return None


def _time_ns(found: re.Match[str]) -> int | None:
    """Nanoseconds from midnight UTC; a zone may take it to another day."""
    hour = int(found["hour"] or found["hour_only"])
    half = (found["half"] or found["half_only"] or "").lower()
    minute, second = int(found["minute"] or 0), int(found["second"] or 0)
    if minute > 59 or second > 60 or hour > 24 or (half and not 1 <= hour <= 12):
        return None
    if (found["zone"] or "Z")[0] in "+-" and (found["zone"][1:3] > "14" or found["zone"][-2:] > "59"):
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    zone = found["zone"] or "Z"
    offset = 0
    if zone[0] in "+-":
        offset = (int(zone[1:3]) * 60 + int(zone[-2:])) * (-60 if zone[0] == "-" else 60)
    fraction = int((found["fraction"] or "").ljust(9, "0"))
    return (hour * 3600 + minute * 60 + second - offset) * _NS + fraction


def _ns(then: datetime) -> int | None:
    ns = (then - _EPOCH) // timedelta(microseconds=1) * 1000
    return ns if abs(ns) <= NS_MAX - _MARGIN_NS else None


def written(ns: int) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(ns // _NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
