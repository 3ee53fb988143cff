"""Moments, differences and texts of the history: no I/O."""

import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfs.errors import InvalidArgument
from agentfs.history.conflicts import ConflictLine
from agentfs.history.differences import difference
from agentfs.history.events import PathEvent
from agentfs.history.moments import parse_moment
from agentfs.history.rendering import LINES_MAX, conflicts_text, history_text
from agentfs.model.records import ConflictId, Kind

NOW = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 10**9
HOUR_NS = 3600 * 10**9


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("v3", "version", 3),
        ("@1234", "sequence", 1234),
        ("1234", "sequence", 1234),
        ("2026", "sequence", 2026),
        ("now", "now", 0),
        ("head", "now", 0),
        ("2h", "time", NOW_NS - 2 * HOUR_NS),
        ("90 min ago", "time", NOW_NS - 90 * 60 * 10**9),
        ("3d", "time", NOW_NS - 72 * HOUR_NS),
        ("2w", "time", NOW_NS - 14 * 24 * HOUR_NS),
        ("2026-11-21T10:00", "time", NOW_NS - 11 * HOUR_NS // 2),
        ("2026-11-21 10:00:00", "time", NOW_NS - 11 * HOUR_NS // 2),
        ("2026-11-21T10:00Z", "time", NOW_NS - 11 * HOUR_NS // 2),
        ("2026-11-21T12:00+02:00", "time", NOW_NS - 11 * HOUR_NS // 2),
        ("2026-11-20", "time", NOW_NS - 31 * HOUR_NS // 2 - 1),
        ("yesterday", "time", NOW_NS - 31 * HOUR_NS // 2 - 1),
        ("today", "time", NOW_NS + 17 * HOUR_NS // 2 - 1),
        ("999999999w", "time", -(2**63 - 1)),
        ("9999-12-30", "time", 2**63 - 1),
        ("0001-01-01", "time", -(2**63 - 1)),
        ("before-the-move", "snapshot", 0),
        ("snapshot:v3", "snapshot", 0),
        ("v3.1", "snapshot", 0),
    ],
)
def test_a_moment(text: str, kind: str, number: int) -> None:
    found = parse_moment(text, now_ns=NOW_NS, zone=UTC)
    assert (found.kind, found.number) == (kind, number)
    assert found.text == text.removeprefix("snapshot:")


def test_moments_are_where_the_machine_is() -> None:
    zone = timezone(timedelta(hours=2))
    assert parse_moment("2026-11-21T12:00", now_ns=NOW_NS, zone=zone).number == NOW_NS - 11 * HOUR_NS // 2
    assert parse_moment("2026-11-21", now_ns=NOW_NS, zone=zone, day_begins=True).number == NOW_NS - 35 * HOUR_NS // 2


@pytest.mark.parametrize(
    "text", ["", "2026-13-01", "2026-11-21T99:00", "2026-02-30", "0001-01-01T00:00+05:00", "9999-12-31T23:00-05:00"]
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_moment(text, now_ns=NOW_NS)


def test_the_first_day_of_the_calendar_has_no_beginning_in_the_east() -> None:
    with pytest.raises(InvalidArgument):
        parse_moment("0001-01-01", now_ns=NOW_NS, zone=timezone(timedelta(hours=2)), day_begins=True)


_TEXT = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "ä\n", "\r\n"]), max_size=40).flatmap(
    lambda lines: st.sampled_from([lines, [*lines, "end"]])
)


@given(_TEXT, _TEXT)
def test_a_difference_leads_from_one_text_to_the_other(old: list[str], new: list[str]) -> None:
    """As `patch` reads it, but for the newline at the end."""
    found = difference("".join(old).encode(), "".join(new).encode())
    assert not found.binary
    assert found.is_equal == (old == new)
    before = [line.removesuffix("\n") for line in old]
    result: list[str] = []
    at = 0
    for line in found.lines:
        if line.startswith("@@"):
            start, _, length = line.split()[1][1:].partition(",")
            begin = int(start) - (0 if length == "0" else 1)
            result += before[at:begin]
            at = begin
        elif line[0] in " -":
            assert before[at] == line[1:]
            at += 1
        if line[0] in " +":
            result.append(line[1:])
    result += before[at:]
    assert result == [line.removesuffix("\n") for line in new]
    assert sum(line.startswith("+") for line in found.lines) == found.added
    assert sum(line.startswith("-") for line in found.lines) == found.removed


def test_patch_reads_our_diffs(tmp_path: Path) -> None:
    old = "".join(f"line {number}\n" for number in range(100)) + "no newline"
    new = old.replace("line 7\n", "").replace("line 50\n", "line fifty\nand more\n") + " at the end\n"
    (tmp_path / "f").write_text(old)
    lines = difference(old.encode(), new.encode()).lines
    patch = "--- a/f\n+++ b/f\n" + "\n".join(lines) + "\n"
    done = subprocess.run(["git", "apply", "-"], input=patch.encode(), cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f").read_text() == new


def test_what_is_no_text_is_binary() -> None:
    for data in (b"\0", b"\xff\xfe", b"a\n\x80"):
        assert difference(data, b"text").binary
        assert difference(b"text", data).binary
        assert difference(data, data).is_equal


def event(number: int, **fields: object) -> PathEvent:
    given: dict[str, object] = {
        "version": number, "sequence": 10 * number, "what": "changed", "path": (b"notes.md",), "other": None,
        "inode": 5, "kind": Kind.FILE, "mode": 0o644, "mtime_ns": 0, "content": None, "target": b"",
        "content_changed": True, "size_bytes": 2048, "time_ns": NOW_NS, "author": "ann", **fields,
    }  # fmt: skip
    return PathEvent(**given)  # type: ignore[arg-type]


def test_the_text_of_a_history() -> None:
    events = [
        event(1, what="created"),
        event(1, what="renamed", other=(b"old", b"notes.md"), content_changed=False, sequence=15),
        event(2, conflict=ConflictId(20, 0), what="merged"),
        event(2, version=None, what="deleted", sequence=25),
    ]
    assert history_text((b"notes.md",), events, zone=UTC) == (
        "# History of notes.md: 2 versions\n\n"
        "- -- · 2026-11-21 15:30 · ann · deleted · @25\n"
        "- v2 · 2026-11-21 15:30 · ann · merged (conflict 20.0) · 2.0 KiB · @20\n"
        "- v1 · 2026-11-21 15:30 · ann · renamed from old/notes.md · 2.0 KiB · @15\n"
        "- v1 · 2026-11-21 15:30 · ann · created · 2.0 KiB · @10\n"
    )
    long = history_text((b"f",), [event(number) for number in range(1, LINES_MAX + 11)], zone=UTC)
    assert long.endswith("- … 10 older lines: agentfs history f\n")
    assert len(long.splitlines()) == LINES_MAX + 3


def test_the_text_of_conflicts() -> None:
    line = ConflictLine(
        "12.0", "content", (b"d", b"f.bin"), (b"d", b"f.conflict.bin"), "both changed", 12, NOW_NS, "ann", "bob", 11,
        None, ("earlier", "later"),
    )  # fmt: skip
    assert conflicts_text([line], zone=UTC) == (
        "# 1 open conflict\n\n## d/f.bin (12.0)\n\n- content: both changed\n"
        "- 2026-11-21 15:30, ann (commit 11), then bob (commit 12)\n"
        "- kept beside it: d/f.conflict.bin\n"
        "- to see a side: agentfs conflicts show 12.0 --side earlier|later\n"
        "- when it is settled: agentfs resolve 12.0\n"
    )
    assert conflicts_text([], path=(b"d",)) == "# No open conflicts at d\n"
