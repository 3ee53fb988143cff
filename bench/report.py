"""The report as a table for people and as JSON for machines. Pure: strings and plain data."""

from collections.abc import Mapping, Sequence

from bench.figures import LOCAL, MOUNT, MOUNT_WITHOUT, Finding, Row, Summary

_NAME_WIDTH = 40


def _number(value: float) -> str:
    if value >= 100_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _verdict(met: bool | None) -> str:
    return "" if met is None else ("met" if met else "NOT MET")


def _cells(summary: Summary | None) -> str:
    return f"{'–':>10} {'–':>10}" if summary is None else f"{_number(summary.median):>10} {_number(summary.p99):>10}"


def _ratio(value: float | None) -> str:
    return f"{'–':>6}" if value is None else f"{value:>6.2f}"


def header(sides: Sequence[str]) -> str:
    first = f"{'median and 99th percentile in µs':<{_NAME_WIDTH}}"
    second = " " * _NAME_WIDTH
    for side in sides:
        wide = 21 if side == LOCAL else 28
        first += f"  {side:^{wide}}"
        second += f"  {'median':>10} {'p99':>10}" + ("" if side == LOCAL else f" {'ratio':>6}")
    return f"{first}\n{second}   budget"


def line(row: Row, sides: Sequence[str], *, passthrough: bool) -> str:
    text = f"{row.name:<{_NAME_WIDTH}}"
    for side in sides:
        text += "  " + _cells(row.sides.get(side))
        if side != LOCAL:
            text += " " + _ratio(row.ratio(side))
    budget = "" if row.ratio_max is None else f"≤ {row.ratio_max:.2f}"
    return f"{text}   {budget:<7} {_verdict(row.met(passthrough=passthrough))}".rstrip()


def finding_lines(finding: Finding) -> str:
    digits = 2 if finding.unit in ("s", "ms") else 1
    value = f"{finding.value:.{digits}f} {'µs' if finding.unit == 'us' else finding.unit}"
    if finding.p99 is not None:
        value += f" (p99 {finding.p99:.{digits}f})"
    text = f"{finding.name}: {value}"
    if finding.trials > 1:
        text += f", {finding.trials} trials"
    if finding.budget:
        text += f"; budget {finding.budget}: {_verdict(finding.met)}"
    if finding.requests:
        asked = ", ".join(f"{number:g} {kind}" for kind, number in sorted(finding.requests.items()))
        text += f"\n    requests: {asked}"
    if finding.note:
        text += f"\n    {finding.note}"
    return text


def closing(rows: Sequence[Row], findings: Sequence[Finding], *, passthrough: bool) -> str:
    """How many budgets are met, and which are not."""
    verdicts = {row.name: row.met(passthrough=passthrough) for row in rows} | {f.name: f.met for f in findings}
    judged = {name: met for name, met in verdicts.items() if met is not None}
    missed = [name for name, met in judged.items() if not met]
    text = f"{len(judged) - len(missed)} of {len(judged)} budgets met"
    return text + ("; not met: " + "; ".join(missed) if missed else "")


def document(
    machine: Mapping[str, object],
    rows: Sequence[Row],
    findings: Sequence[Finding],
    failures: Mapping[str, str],
    *,
    quick: bool,
    passthrough: bool,
) -> dict[str, object]:
    """All figures as plain data."""
    return {
        "format": 1,
        "quick": quick,
        "passthrough": passthrough,
        "machine": dict(machine),
        "rows": [
            {
                "name": row.name,
                "unit": "us",
                "sides": {side: _summary(summary) for side, summary in row.sides.items()},
                "ratios": {side: row.ratio(side) for side in (MOUNT, MOUNT_WITHOUT) if side in row.sides},
                "ratio_max": row.ratio_max,
                "met": row.met(passthrough=passthrough),
            }
            for row in rows
        ],
        "findings": [
            {
                "name": finding.name,
                "unit": finding.unit,
                "value": finding.value,
                "p99": finding.p99,
                "trials": finding.trials,
                "requests": dict(finding.requests),
                "budget": finding.budget,
                "met": finding.met,
                "note": finding.note,
            }
            for finding in findings
        ],
        "failures": dict(failures),
    }


def _summary(summary: Summary) -> dict[str, float]:
    return {"median": summary.median, "p99": summary.p99, "count": summary.count}
