"""What commands print: one JSON document, or text for people; progress on stderr, and only on a terminal."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from agentfs.config.values import about_size

_BAR_CHARACTERS = 24


def as_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """The one document of a `--json` run, on stdout. Keys are stable."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=True))


def warn(text: str) -> None:
    """One line on stderr that does not stop anything."""
    click.echo(f"agentfs: {text}", err=True)


def iso(time_ns: int | None) -> str | None:
    """Nanoseconds since 1970 as UTC text for JSON."""
    if time_ns is None:
        return None
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_time(time_ns: int) -> str:
    """Nanoseconds since 1970 in this machine's zone, for people."""
    try:
        return datetime.fromtimestamp(time_ns // 10**9).astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return f"@{time_ns // 10**9}"


def age(seconds: float) -> str:
    """A duration for people: `3 s`, `5 min`, `2 h`, `4 d`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


class Progress:
    """A line that is redrawn: `pushing ████░░ 12 of 40 (3.1 MiB left)`. Silent without a terminal."""

    def __init__(self, label: str, *, what: str = "changes") -> None:
        self._label = label
        self._what = what
        self._shown = sys.stderr.isatty()
        self._most = 0
        self._drawn = False

    def left(self, changes: int, size_bytes: int) -> None:
        """`changes` are still to do, with `size_bytes` of content."""
        if not self._shown:
            return
        self._most = max(self._most, changes, 1)
        done = self._most - changes
        full = _BAR_CHARACTERS * done // self._most
        bar = "█" * full + "░" * (_BAR_CHARACTERS - full)
        text = f"\r{self._label} {bar} {done} of {self._most} {self._what} ({about_size(size_bytes)} left)\x1b[K"
        click.echo(text, err=True, nl=False)
        self._drawn = True

    def done(self, count: int) -> None:
        """So many are done; how many there are nobody knows."""
        if self._shown:
            click.echo(f"\r{self._label}: {count} {self._what}\x1b[K", err=True, nl=False)
            self._drawn = True

    def close(self) -> None:
        if self._drawn:
            click.echo("\r\x1b[K", err=True, nl=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Columns aligned with two spaces between; the columns in `right` to the right."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
