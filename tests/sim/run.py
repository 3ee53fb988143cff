"""`python tests/sim/run.py --seeds 1000 [--first 0] [--steps 150]`: run the simulation; print the seeds that fail."""

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from world import World


def run_seed(seed: int, steps: int, *, verbose: bool = False) -> None:
    """One history. Raises `world.Violation`, or whatever the code under test should not have raised."""
    directory = Path(tempfile.mkdtemp(prefix="agentfs-sim-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    world = None
    try:
        world = World(seed, directory, verbose=verbose)
        world.run(steps)
    finally:
        if world is not None:
            with contextlib.suppress(Exception):
                world.close()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    started, failed = time.monotonic(), []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        try:
            run_seed(seed, arguments.steps, verbose=arguments.verbose)
        except Exception as error:
            failed.append(seed)
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:400]}", flush=True)
            if arguments.verbose:
                traceback.print_exc()
    seconds = time.monotonic() - started
    print(f"{arguments.seeds} seeds of {arguments.steps} steps in {seconds:.0f} s; failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
