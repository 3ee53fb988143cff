"""What search and recall cost those who do not ask: a foreground write beside a busy index. And how soon a new
machine can be asked about everything."""

import json
import random
import subprocess
import time
from pathlib import Path

from bench.figures import Finding, summarized
from bench.mounts import Machine, mounted
from bench.worker import Worker

_WORDS = """release deploy rollback retry latency budget owner review quarter forecast invoice contract meeting
decision customer region cluster token session cache index vector passage memory agent prefers never always monday
friday database migration schema queue worker timeout alert dashboard metric export import license security
audit"""


def indexing(work: Path, worker: Worker, *, quick: bool) -> list[Finding]:
    """The same paced loop on two mounts, one without an index and one whose index has thousands of notes to go."""
    operations = 500 if quick else 1500
    rounds = 2 if quick else 4
    notes = 1500 if quick else 4000
    without: list[float] = []
    beside: list[float] = []
    done = 0
    for name in ("off", "on"):
        (work / f"store-{name}").mkdir(parents=True)
    off = Machine(work / "off", f"file://{work / 'store-off'}", secrets={"AGENTFS_INDEX": "off"})
    with mounted(off), mounted(Machine(work / "on", f"file://{work / 'store-on'}")) as machine:
        for number in range(rounds):
            for it in (off, machine):
                write_notes(it.mountpoint / f"notes-{number}", notes, seed=number)
                it.sync()
            without += _paced(worker, off.mountpoint / f"paced-{number}", operations)
            before = _documents(machine)
            beside += _paced(worker, machine.mountpoint / f"paced-{number}", operations)
            done += _documents(machine) - before
            json.loads(machine.agentfs("stats", "--json"))  # waits for the rest
    quiet, busy = summarized(without), summarized(beside)
    added = (busy.p99 - quiet.p99) / 1000
    return [
        Finding(
            "p99 of create + write + close while the index is busy, added",
            "ms",
            added,
            trials=len(beside),
            budget="≤ 1 ms",
            met=added <= 1.0 if done else None,
            note=f"p99 {quiet.p99:.0f} µs without an index, {busy.p99:.0f} µs beside it; medians {quiet.median:.0f} "
            f"and {busy.median:.0f} µs; {done} documents were indexed meanwhile",
        )
    ]


def first_recall(work: Path, *, quick: bool) -> list[Finding]:
    """A machine that has nothing: until a recall over many small notes is complete, made here and taken from another
    machine."""
    count = 2000 if quick else 10_000
    (work / "store").mkdir(parents=True)
    store = f"file://{work / 'store'}"
    with mounted(Machine(work / "maker", store, secrets={"AGENTFS_INDEX_CARRY": "on"})) as maker:
        write_notes(maker.mountpoint / "notes", count, seed=1)
        maker.sync()
        size, carried = _carried(maker, work / "store")
    findings = []
    seconds = {}
    for carry in ("off", "on"):
        made = f"{count} notes, " + ("a carried index" if carry == "on" else "its own index")
        with mounted(Machine(work / f"new-{carry}", store, secrets={"AGENTFS_INDEX_CARRY": carry})) as new:
            start = time.perf_counter()
            found = json.loads(new.agentfs("recall", "who owns the release", "--json", "--wait", "0"))
            findings.append(_s(f"first answer on a new machine, {made}", start, f"{found['behind']} notes to go"))
            found = json.loads(new.agentfs("recall", "who owns the release", "--json", "--wait", "600"))
            seconds[carry] = time.perf_counter() - start
            note = f"{carried >> 10} KiB on the store" if carry == "on" else f"{size >> 20} MiB on disk"
            findings.append(_s(f"until the answer is complete, {made}", start, note))
            assert found["behind"] == 0
            start = time.perf_counter()
            new.agentfs("recall", "who owns the release")
            findings.append(_s("agentfs recall beside a mount, the whole command", start, ""))
    findings.append(
        Finding(
            "the same, its own / carried", "×", seconds["off"] / seconds["on"], trials=1, note="docs/decisions/0210"
        )
    )
    start = time.perf_counter()
    Machine(work / "new-on", store).agentfs("recall", "who owns the release")
    findings.append(_s("agentfs recall without a mount, the whole command", start, ""))
    return findings


def _carried(maker: Machine, store: Path) -> tuple[int, int]:
    """Wait until the maker has put its index. Its bytes on disk, and on the store."""
    deadline = time.monotonic() + 600
    while True:
        stats = json.loads(maker.agentfs("stats", "--json"))
        if stats["carried_at"] or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return int(stats["size_bytes"]), sum(it.stat().st_size for it in store.rglob("indexes/*"))


def write_notes(directory: Path, count: int, *, seed: int) -> None:
    """Notes of about 1 KiB: a heading, a few paragraphs, a list."""
    chance = random.Random(seed)
    directory.mkdir(parents=True)
    for number in range(count):
        parts = [f"# {_sentence(chance, 4)} {number}"]
        parts += [" ".join(_sentence(chance, 12) + "." for _ in range(3)) for _ in range(2)]
        parts.append("\n".join(f"- {_sentence(chance, 6)}" for _ in range(5)))
        (directory / f"note-{number:05d}.md").write_text("\n\n".join(parts) + "\n")


def _sentence(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(_WORDS.split(), k=words)).capitalize()


def _paced(worker: Worker, directory: Path, operations: int) -> list[float]:
    return [sample / 1000 for sample in worker.run("paced", directory, operations)]


def _documents(machine: Machine) -> int:
    """How many were indexed since the engine started, as it says without being asked to catch up."""
    try:
        facts = json.loads(machine.agentfs("status", "--json"))
    except subprocess.SubprocessError:
        return 0
    return int(((facts["volumes"][0]["engine"] or {}).get("memory") or {}).get("indexed") or 0)


def _s(what: str, start: float, note: str) -> Finding:
    return Finding(what, "s", time.perf_counter() - start, trials=1, note=note)
