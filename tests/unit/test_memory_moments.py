"""Dates and durations as people and programs write them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfs.memory.moments import duration_ns, moment, moment_at, moment_in, written

SAID = "2023-05-08T13:56:00Z"


@pytest.mark.parametrize(
    ("text", "at", "found"),
    [
        ("1:56 pm on 8 May, 2023", SAID, "1:56 pm on 8 May, 2023"),
        ("Session 1 — 8th of May 2023, 13:56", SAID, "8th of May 2023, 13:56"),
        ("May 8, 2023 at 1:56 pm", SAID, "May 8, 2023 at 1:56 pm"),
        ("on 2023-05-08T15:56:00+02:00 it", SAID, "2023-05-08T15:56:00+02:00"),
        ("2023年5月8日 13:56 会議", SAID, "2023年5月8日 13:56"),
        ("2023/05/08 13:56", SAID, "2023/05/08 13:56"),
        ("8.5.2023 13:56", SAID, "8.5.2023 13:56"),
        ("13:56 - 8 May 2023", SAID, "13:56 - 8 May 2023"),
        ("12 am on 8 May 2023", "2023-05-08T00:00:00Z", "12 am on 8 May 2023"),
        ("12:30 p.m. on 8 May 2023", "2023-05-08T12:30:00Z", "12:30 p.m. on 8 May 2023"),
        ("Mon, 8 May 2023 13:56:00 GMT", SAID, "8 May 2023 13:56:00 GMT"),
        ("8 sept. 2023", "2023-09-08T00:00:00Z", "8 sept. 2023"),
    ],
)
def test_dates_in_a_line(text: str, at: str, found: str) -> None:
    said = moment_in(text)
    assert said is not None
    assert (written(said.ns), text[said.start : said.end]) == (at, found)
    assert said.day_only == ("8 sept" in text)


@pytest.mark.parametrize(
    "text",
    ["5/8/2023", "2023-13-01", "2023-02-30", "v1.2.2023.4", "12023-05-08", "May 2023", "8 May", "the year 2023",
     "10:30", "9999-12-31", "1.5.20", "mayor 8, 2023", "0000-01-01", "2023-05-089"],
)  # fmt: skip
def test_what_is_no_date(text: str) -> None:
    assert moment_in(text) is None


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2026-12-01", "2026-12-01T00:00:00Z"), (" 2026-12-01 ", "2026-12-01T00:00:00Z"),
        ("20261201", "2026-12-01T00:00:00Z"), ("2026-W10-1", "2026-03-02T00:00:00Z"),
        ("1700000000", "2023-11-14T22:13:20Z"), ("1700000000000", "2023-11-14T22:13:20Z"),
        ("2026-12-01T10:00:00.5", "2026-12-01T10:00:00Z"), ("2026-12-01 10:00 pm", "2026-12-01T22:00:00Z"),
        ("on 2026-12-01", None), ("2026-12-01 or so", None), ("soon", None), ("", None), ("2026", None),
        ("1 December 2026", "2026-12-01T00:00:00Z"), ("x" * 1000, None), ("٣", None),
        ("9" * 9, "2001-09-09T01:46:39Z"),
    ],
)  # fmt: skip
def test_a_value_that_is_a_date(said: str, at: str | None) -> None:
    found = moment(said)
    assert (None if found is None else written(found.ns)) == at


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7d", 604800), ("12h", 43200), ("90m", 5400), ("2w", 1209600), ("3600", 3600), ("1.5h", 5400),
        ("1d12h", 129600), ("1 day and 2 hours", 93600), ("30 days", 2592000), ("P7D", 604800), ("PT1H30M", 5400),
        ("3 Months", 7776000), ("0", None), ("-1d", None), ("7x", None), ("P", None), ("10 20", None), ("d", None),
        ("", None), ("1e9", None), ("9" * 60 + "y", None), ("1h ago", None),
    ],
)  # fmt: skip
def test_durations(said: str, seconds: int | None) -> None:
    found = duration_ns(said)
    assert (None if found is None else found / 10**9) == seconds


MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2261, 1, 1), timezones=st.just(UTC))


@settings(max_examples=100, deadline=None)
@given(then=MOMENTS, tail=st.sampled_from(["", " INFO", " - x", ": y"]))
def test_what_is_written_is_read(then: datetime, tail: str) -> None:
    """By the pattern for logs and by the one for people."""
    whole = then.replace(microsecond=0)
    ns = int(whole.timestamp()) * 10**9
    assert written(ns) == whole.strftime("%Y-%m-%dT%H:%M:%SZ")
    for text in (
        written(ns),
        whole.strftime("%Y-%m-%d %H:%M:%S"),
        whole.strftime("%d %B %Y, %H:%M:%S"),
        whole.isoformat(),
    ):
        at, inside = moment_at(text + tail, 0), moment_in(text + tail)
        assert at is not None
        assert inside is not None
        assert (at.ns, at.end) == (inside.ns, inside.end) == (ns, len(text))


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60))
def test_no_text_fails(text: str) -> None:
    moment_in(text)
    moment(text)
    duration_ns(text)
