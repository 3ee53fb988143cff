"""Days as the counts know them: numbers since 1970-01-01, in UTC, as providers bill."""

import calendar
from datetime import UTC, date, datetime, timedelta

_DAY_NS = 86_400 * 10**9
_FIRST = date(1970, 1, 1)


def day_of(time_ns: int) -> int:
    """The day of a moment, in nanoseconds since 1970."""
    return time_ns // _DAY_NS


def date_of(day: int) -> date:
    return _FIRST + timedelta(days=day)


def shown_day(day: int) -> str:
    """`2026-11-21`."""
    return date_of(day).isoformat()


def month_of(day: int) -> str:
    """`2026-11`."""
    return shown_day(day)[:7]


def days_of_month(month: str) -> range:
    """The days of `2026-11`. Raises `ValueError`."""
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
    start = (first - _FIRST).days
    return range(start, start + calendar.monthrange(first.year, first.month)[1])
