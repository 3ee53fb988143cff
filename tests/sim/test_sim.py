"""156 seeds in every test run, one of four with a view; `make sim` runs many (`run.py`)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from run import run_seed


@pytest.mark.parametrize("seed", range(156))
def test_machines_converge_and_nothing_is_lost(seed: int) -> None:
    run_seed(seed, 110)
