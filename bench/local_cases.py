"""The work that is measured on both sides, and how one round after the other alternates between them."""

import itertools
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Row, Summary, summarized
from bench.worker import LoopError, Worker

WARM = 2.0
CREATE = 3.0
_LARGE = ("sequential_write", "sequential_read", "sequential_read_dropped", "random_read", "random_write")
NATIVE = 1 / 0.9
"""At least 0.9 of the local throughput, as a ratio of times."""


@dataclass(frozen=True, slots=True)
class Work:
    name: str
    case: str
    """A loop of `bench.loops`."""
    count: int
    """Operations per round."""
    quick_count: int
    ratio_max: float | None = None
    passthrough_only: bool = False
    rounds: int = 5


# What deletes comes last (see `measured`).
WORKS: Sequence[Work] = (
    Work("create + write 1 KiB + close", "create", 400, 200, CREATE),
    Work("overwrite 1 KiB (truncate) + close", "overwrite", 400, 200),
    Work("append 1 KiB + close", "append", 400, 200),
    Work("append 1 KiB + fsync + close", "append_fsync", 100, 40),
    Work("append 1 KiB, file open", "write_open", 1000, 500),
    Work("read 1 KiB warm, file open", "read_open", 2000, 1000, WARM),
    Work("open + read 1 KiB warm + close", "read_warm", 400, 200, WARM),
    Work("stat warm", "stat", 1000, 500, WARM),
    Work("list 1000 (listdir)", "list_names", 20, 10, WARM),
    Work("list 1000 with stat (scandir)", "list_stat", 10, 5, WARM),
    Work("rename", "rename", 400, 200),
    Work("git clone, {files} files", "git_clone", 1, 1, None, False, 3),
    Work("SQLite transaction, WAL", "sqlite_wal", 1000, 250, None, False, 3),
    Work("64 MiB sequential write + close", "sequential_write", 2, 1, NATIVE, True, 3),
    Work("64 MiB sequential read", "sequential_read", 3, 2, NATIVE, True, 3),
    Work("64 MiB sequential read, pages dropped", "sequential_read_dropped", 2, 1, None, False, 3),
    Work("random 4 KiB read, open for writing", "random_read", 2000, 1000, NATIVE, True, 3),
    Work("random 4 KiB write", "random_write", 2000, 1000, NATIVE, True, 3),
    Work("SQLite transaction, rollback journal", "sqlite_rollback", 1000, 100, None, False, 2),
    Work("delete", "delete", 400, 200),
)


def measured(
    work: Work,
    sides: Mapping[str, Path],
    worker: Worker,
    settle: Callable[[str], None],
    *,
    quick: bool,
    environment: Mapping[str, str],
) -> Row:
    """Run one work on every side in turn, A B A B, and summarize all samples of a side.

    `settle(side)` waits until what the side does in the background is done, so that it does not run into the next.
    """
    count = work.quick_count if quick else work.count
    rounds = min(2, work.rounds) if quick else work.rounds
    samples: dict[str, list[float]] = {side: [] for side in sides}
    names = list(sides)
    for number in range(rounds):
        # The order turns, so that no side is always the one after a pause.
        for side in itertools.islice(itertools.cycle(names), number, number + len(names)):
            directory = sides[side] / f"{work.case}-{number}"
            try:
                taken = worker.run(work.case, directory, count, environment=environment)
            except LoopError as error:
                raise LoopError(f"{side}: {error}") from error
            samples[side] += [sample / 1000 for sample in taken]
            if work.case in _LARGE:
                # Only large files go at once. For five seconds ext4 passes over inodes that were just deleted, and a
                # create after many deletes costs it ten times as much: that would flatter every ratio.
                shutil.rmtree(directory)
            settle(side)
    summaries: dict[str, Summary] = {side: summarized(taken) for side, taken in samples.items()}
    name = work.name.format(files=environment["BENCH_REPOSITORY_FILES"])
    return Row(name, summaries, work.ratio_max, work.passthrough_only)


def make_repository(directory: Path, *, files: int, commits: int) -> None:
    """A git repository of small text files with some history, the same bytes each time."""
    directory.mkdir(parents=True)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false"]

    def git(*words: str) -> None:
        subprocess.run(["git", *identity, "-C", str(directory), *words], check=True, stdin=subprocess.DEVNULL)

    git("init", "--quiet", "--initial-branch=main")
    for number in range(files):
        path = directory / f"package-{number % 20:02d}" / f"module_{number:04d}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"def step_{number}_{line}(): return {line * number}\n" for line in range(60)))
    for commit in range(commits):
        touched = sorted(directory.glob("package-*/*.py"))[commit::commits]
        for path in touched:
            path.write_text(path.read_text() + f"# revision {commit}\n")
        git("add", "--all")
        git("commit", "--quiet", "--message", f"revision {commit}")
