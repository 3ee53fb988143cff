"""The cost of a merge of contents, beside `git merge-file` on the same three versions in the same run."""

import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentfs.merge.contents import merge_contents
from bench.figures import Finding, Summary, summarized

_WORDS = ("agent", "memory", "note", "server", "client", "deploy", "review", "release", "budget", "invoice", "cache")
_KIB = 1024
_TYPICAL_MS_MAX = 100.0
"""One edit on each side of a document of 1 MiB."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Three versions of one file."""

    title: str
    name: str
    versions: tuple[bytes, bytes, bytes]
    """Base, earlier, later."""
    budget_ms: float | None = None
    git: bool = True


def merges(work: Path, *, quick: bool) -> Sequence[Finding]:
    """In milliseconds, in this process."""
    work.mkdir(parents=True)
    trials = 5 if quick else 15
    found = []
    for meeting in _meetings(random.Random(20260301)):
        ours = _timed(lambda meeting=meeting: merge_contents(meeting.name.encode(), *meeting.versions), trials)
        found.append(_finding(meeting, ours, _git(work, meeting, trials) if meeting.git else None, trials))
    return found


def _finding(meeting: Meeting, ours: Summary, git: Summary | None, trials: int) -> Finding:
    merged = merge_contents(meeting.name.encode(), *meeting.versions)
    note = "kept as two files" if merged is None else f"{len(merged.clashes)} clashes"
    if git is not None:
        note += f"; git merge-file {git.median:.1f} ms, ratio {ours.median / git.median:.2f}"
    met = None if meeting.budget_ms is None else ours.median <= meeting.budget_ms
    budget = "" if meeting.budget_ms is None else f"≤ {meeting.budget_ms:g} ms"
    return Finding(f"merge {meeting.title}", "ms", ours.median, ours.p99, trials, budget=budget, met=met, note=note)


def _timed(call: Callable[[], object], trials: int) -> Summary:
    samples = []
    for _ in range(trials):
        start = time.perf_counter()
        call()
        samples.append((time.perf_counter() - start) * 1000)
    return summarized(samples)


def _git(work: Path, meeting: Meeting, trials: int) -> Summary:
    """One process for each merge, as git offers it."""
    names = ("earlier", "base", "later")
    base, earlier, later = meeting.versions
    for name, version in zip(names, (earlier, base, later), strict=True):
        (work / name).write_bytes(version)
    words = ["git", "merge-file", "-p", *(str(work / name) for name in names)]
    return _timed(lambda: subprocess.run(words, capture_output=True, check=False, timeout=60), trials)


def _meetings(roll: random.Random) -> Iterator[Meeting]:
    for size, label in ((10 * _KIB, "10 KiB"), (_KIB * _KIB, "1 MiB")):
        base = _document(roll, size)
        typical = _TYPICAL_MS_MAX if size > 10 * _KIB else None
        yield Meeting(f"{label}, one edit each", "n.md", _encoded(base, _edit(base, 0.2), _edit(base, 0.8)), typical)
        yield Meeting(
            f"{label}, both append", "n.md", _encoded(base, [*base, "", "One."], [*base, "", "Two."]), typical
        )
        heavy = (_heavily(roll, base, 10), _heavily(roll, base, 10))
        yield Meeting(f"{label}, a tenth of the lines each", "n.md", _encoded(base, *heavy))
        yield Meeting(
            f"{label}, rewritten by both", "n.md", _encoded(base, _document(roll, size), _document(roll, size))
        )
    records = [json.dumps({"id": number, "text": _sentence(roll)}) for number in range(9000)]
    appended = ([*records, '{"id": "a"}'], [*records, '{"id": "b"}'])
    yield Meeting("1 MiB of JSON lines, both append", "l.jsonl", _encoded(records, *appended), _TYPICAL_MS_MAX)
    value = {f"key{number}": {"id": number, "text": _sentence(roll)} for number in range(800)}
    one, other = value | {"key1": "changed"}, value | {"key700": "changed", "new": 1}
    texts = tuple(json.dumps(version, indent=2).encode() for version in (value, one, other))
    yield Meeting("100 KiB of JSON, two keys", "s.json", (texts[0], texts[1], texts[2]), git=False)
    front = ["---", "title: Notes", "tags: [a, b]", "status: open", "---", *_document(roll, 10 * _KIB)]
    sides = (_tagged(front, "c"), _tagged(front, "d"))
    yield Meeting("10 KiB with frontmatter, two tags", "n.md", _encoded(front, *sides), git=False)


def _encoded(base: Sequence[str], earlier: Sequence[str], later: Sequence[str]) -> tuple[bytes, bytes, bytes]:
    one, two, three = ("".join(f"{line}\n" for line in lines).encode() for lines in (base, earlier, later))
    return one, two, three


def _sentence(roll: random.Random) -> str:
    return " ".join(roll.choices(_WORDS, k=roll.randint(5, 14))).capitalize() + "."


def _line(roll: random.Random) -> str:
    kind = roll.random()
    if kind < 0.25:
        return ""
    if kind < 0.3:
        return f"## {_sentence(roll)}"
    return f"- {_sentence(roll)}" if kind < 0.6 else f"{_sentence(roll)} {_sentence(roll)}"


def _document(roll: random.Random, size_bytes: int) -> list[str]:
    lines: list[str] = []
    size = 0
    while size < size_bytes:
        lines.append(_line(roll))
        size += len(lines[-1]) + 1
    return lines


def _edit(lines: Sequence[str], share: float) -> list[str]:
    edited = list(lines)
    edited[int(len(lines) * share)] = f"Changed at {share}."
    return edited


def _heavily(roll: random.Random, lines: Sequence[str], every: int) -> list[str]:
    edited = list(lines)
    for at in roll.sample(range(len(lines)), len(lines) // every):
        edited[at] = f"{edited[at]} {_sentence(roll)}" if roll.random() < 0.6 else _line(roll)
    return edited


def _tagged(lines: Sequence[str], tag: str) -> list[str]:
    return [line.replace("b]", f"b, {tag}]") if line.startswith("tags") else line for line in lines]
