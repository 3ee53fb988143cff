"""`python -m tests.sim.run --seeds 10000 [--first 0] [--steps 150] [--processes 2]`: run the simulation, print the
seeds that fail and what happened how often. `--verbose` prints what happens, step by step."""

import argparse
import contextlib
import logging
import multiprocessing
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from file_times import steady
from world import World

from agentfs.replica import backing

STEPS = 150
VIEW_EVERY = 4
"""One seed of so many has a view."""
_TELL_EVERY_S = 60.0


def run_seed(seed: int, steps: int = STEPS, *, verbose: bool = False, view_every: int = VIEW_EVERY) -> Counter[str]:
    """One history; what happened how often. Raises `oracle.Broken`, or whatever the code under test should not have
    raised."""
    directory = Path(tempfile.mkdtemp(prefix="agentfs-sim-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    world, backing.DIRECTORIES = None, 4  # to make, copy and remove 256 for every machine took a quarter of a run
    try:
        with steady(directory):
            world = World(seed, directory, verbose=verbose, view=seed % view_every == view_every - 1)
            world.run(steps)
        return world.oracle.counts
    finally:
        if world is not None:
            with contextlib.suppress(Exception):
                world.close()
        shutil.rmtree(directory, ignore_errors=True)
        backing.DIRECTORIES = 256


def _tried(steps: int, verbose: bool, view_every: int, seed: int) -> tuple[int, Counter[str], str]:
    try:
        return seed, run_seed(seed, steps, verbose=verbose, view_every=view_every), ""
    except Exception as error:
        if verbose:
            traceback.print_exc()
        return seed, Counter(), f"{type(error).__name__}: {str(error)[:800]}"


def _quiet() -> None:
    logging.disable(logging.CRITICAL)


def _results(arguments: argparse.Namespace) -> Iterator[tuple[int, Counter[str], str]]:
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    try_one = partial(_tried, arguments.steps, arguments.verbose, arguments.view_every)
    if arguments.processes == 1:
        _quiet()
        yield from map(try_one, seeds)
        return
    with multiprocessing.get_context("fork").Pool(arguments.processes, _quiet, maxtasksperchild=500) as pool:
        yield from pool.imap_unordered(try_one, seeds, chunksize=4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--view-every", type=int, default=VIEW_EVERY, help="one seed of so many has a view; 1: all")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    started = told = time.monotonic()
    failed, done, counts = [], 0, Counter[str]()
    with contextlib.suppress(KeyboardInterrupt):  # then what was done until now is told
        for seed, found, error in _results(arguments):
            done += 1
            counts += found
            if error:
                failed.append(seed)
                print(f"seed {seed}: {error}", flush=True)
            if time.monotonic() - told > _TELL_EVERY_S:
                told = time.monotonic()
                print(f"… {done} seeds in {told - started:.0f} s, {len(failed)} failed", flush=True)
    seconds = time.monotonic() - started
    for what, times in sorted(counts.items()):
        print(f"{times:9d}  {what}")
    print(f"{done} seeds of {arguments.steps} steps in {seconds:.0f} s; failed: {sorted(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
