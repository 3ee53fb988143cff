"""What history costs: a file of 1000 versions, beside git with the same edits in the same run.

The file is 10 KiB of notes and each version changes one line of it. AgentFS keeps every version whole (a commit that
anybody can read by itself); git keeps zlib-packed objects and, after `git gc`, deltas.
"""

import os
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agentfs import Home
from agentfs.config.settings import Settings, load
from agentfs.format.layout import log_prefix, volume_prefix
from agentfs.stores.open import open_store
from bench.figures import Finding
from bench.mounts import AGENT, Machine
from bench.network_cases import Network

_LINES = 160
_LINE = "- {number:04d}: what was learned, and where it is written down ({seed:06x})"
_FILE = "notes.md"
_ROUNDS = 5


def versions(count: int) -> Iterator[bytes]:
    """The contents of a file over time: about 10 KiB, one line changed each time."""
    chance = random.Random(1)
    lines = [_LINE.format(number=number, seed=chance.getrandbits(24)) for number in range(_LINES)]
    for _ in range(count):
        at = chance.randrange(_LINES)
        lines[at] = _LINE.format(number=at, seed=chance.getrandbits(24))
        yield ("\n".join(lines) + "\n").encode()


def history(net: Network, *, quick: bool) -> list[Finding]:
    """How long `agentfs history` and `agentfs show` take, and what a version takes in the bucket and here."""
    count = 200 if quick else 1000
    store = net.place()
    maker = net.machine(store)
    with _secrets(maker):
        with Home.open(AGENT, settings=_settings(maker)) as home:
            for data in versions(count):
                home.write(_FILE, data)
                home.sync()
            assert len(home.history(_FILE).events) == count
        in_process = statistics.median(_first(maker) for _ in range(_ROUNDS))
        stored = _stored(maker, store)
        repository = _git(net.work / "history-git", count)
        findings = _times(maker, repository, count)
        findings.append(_ms(f"first Home.history of {count} versions in a home just opened, index warm", in_process))
        findings += _cold(net, store, count)
        findings += _sizes(maker, stored, repository, count)
    return findings


def _first(machine: Machine) -> float:
    with Home.open(AGENT, settings=_settings(machine)) as home:
        return _timed(lambda: home.history(_FILE))


@contextmanager
def _secrets(machine: Machine) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in machine.secrets}
    os.environ.update(machine.secrets)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _settings(machine: Machine) -> Settings:
    return load({"store": machine.store, "state_dir": str(machine.home / "state"), "timeout": 60}, environment={})


def _times(machine: Machine, repository: Path, count: int) -> list[Finding]:
    found = []
    middle = count // 2
    (machine.home / "config.toml").touch()
    opening = _median(lambda: machine.agentfs("ls"))
    for what, ours, theirs in (
        (
            f"agentfs history of {count} versions, index warm, against git log --follow",
            ["history", _FILE, "--json"],
            ["log", "--follow", "--format=%H %at %an %s", "--", _FILE],
        ),
        (
            f"agentfs show of version {middle}, against git show",
            ["show", _FILE, "--at", f"v{middle}"],
            ["show", f"HEAD~{count - middle}:{_FILE}"],
        ),
    ):
        mine = _median(lambda words=ours: machine.agentfs(*words))  # type: ignore[misc]
        other = _median(lambda words=theirs: _run_git(repository, *words))  # type: ignore[misc]
        found.append(
            _ms(
                what,
                mine,
                note=f"git {other * 1000:.0f} ms: {mine / other:.1f} ×; agentfs ls {opening * 1000:.0f} ms",
            )
        )
    return found


def _cold(net: Network, store: str, count: int) -> list[Finding]:
    """A machine that never saw the log: every entry is read once, in windows."""
    found = []
    for latency in (0, 12):
        newcomer = net.machine(store)
        net.proxy.set_latency(latency)
        with Home.open(AGENT, settings=_settings(newcomer)) as home:
            mark = net.mark()
            start = time.perf_counter()
            assert len(home.history(_FILE).events) == count
            seconds = time.perf_counter() - start
            counts = net.counted(since=mark)
        net.proxy.set_latency(0)
        found.append(
            Finding(
                f"first Home.history of {count} versions on a new machine, store {latency} ms away",
                "ms",
                seconds * 1000,
                requests=dict(counts),
                note=f"{seconds / count * 1000:.2f} ms a commit; each is read and verified once",
            )
        )
    return found


def _sizes(machine: Machine, stored: tuple[int, int], repository: Path, count: int) -> list[Finding]:
    content = sum(map(len, versions(count))) / count
    loose = _git_bytes(repository) / count
    _run_git(repository, "gc", "--quiet", "--prune=now")
    packed = _git_bytes(repository) / count
    objects, size = stored
    mine = size / count
    (index,) = (machine.home / "state" / "volumes").glob("*/history.db")
    local = sum(path.stat().st_size for path in index.parent.glob("history.db*")) / count
    return [
        Finding(
            f"stored in the bucket for one version of a {content / 1024:.1f} KiB file",
            "bytes",
            mine,
            note=f"{mine / content:.2f} × the content ({objects} entries of the log); git {loose:.0f} loose "
            f"({mine / loose:.1f} ×), {packed:.0f} after git gc ({mine / packed:.0f} ×)",
        ),
        Finding(
            "stored in history.db for one version", "bytes", local, note="on each machine that asks for histories"
        ),
    ]


def _stored(machine: Machine, store: str) -> tuple[int, int]:
    opened = open_store(store, environment=dict(machine.secrets))
    objects, size, after = 0, 0, ""
    while page := opened.list(log_prefix(volume_prefix("home", AGENT)), after=after):
        objects += len(page)
        size += sum(entry.size_bytes for entry in page)
        after = page[-1].name
    return objects, size


# ---- git ----


def _git(directory: Path, count: int) -> Path:
    """A repository with the same versions, one commit each, as `git commit` leaves it: loose objects."""
    if shutil.which("git") is None:
        raise OSError("git is not installed: it is what histories are compared with")
    directory.mkdir(parents=True)
    _run_git(directory, "init", "--quiet", "--initial-branch=main")
    stream = bytearray()
    for number, data in enumerate(versions(count), 1):
        stream += b"blob\nmark :%d\ndata %d\n%s\n" % (number, len(data), data)
        stream += b"commit refs/heads/main\nmark :%d\n" % (count + number)
        stream += b"committer bench <bench@localhost> %d +0000\ndata 1\nv\n" % (1_700_000_000 + number)
        if number > 1:
            stream += b"from :%d\n" % (count + number - 1)
        stream += b"M 100644 :%d %s\n\n" % (number, _FILE.encode())
    words = ("-c", f"fastimport.unpackLimit={10 * count}", "fast-import", "--quiet")
    _run_git(directory, *words, stdin=bytes(stream))
    return directory


def _run_git(directory: Path, *words: str, stdin: bytes = b"") -> bytes:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", "-C", str(directory), *words], input=stdin, capture_output=True, check=True, env=environment
    )
    return done.stdout


def _git_bytes(directory: Path) -> int:
    found = dict(line.split(": ") for line in _run_git(directory, "count-objects", "-v").decode().splitlines())
    objects = directory / ".git" / "objects"
    loose = sum(path.stat().st_size for path in objects.glob("[0-9a-f][0-9a-f]/*"))
    return loose + int(found["size-pack"]) * 1024


# ---- figures ----


def _median(do: Callable[[], object]) -> float:
    samples: Sequence[float] = [_timed(do) for _ in range(_ROUNDS)]
    return statistics.median(samples)


def _timed(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def _ms(name: str, seconds: float, *, note: str = "") -> Finding:
    return Finding(name, "ms", seconds * 1000, trials=_ROUNDS, note=note)
