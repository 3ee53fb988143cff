"""What a command does when what it prints has nowhere to go."""

import subprocess
from pathlib import Path

import pytest
from command import PROGRAM, Machine

from agentfs.cli import exits


@pytest.fixture
def one(tmp_path: Path) -> Machine:
    return Machine(tmp_path, str(tmp_path / "store"))


def said(one: Machine, redirections: str, **environment: str) -> tuple[int, str]:
    """`agentfs config` with the shell's redirections: its exit code, and its standard error."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *PROGRAM, "config"],
        env=one.environment | environment,
        stderr=subprocess.PIPE,
        check=False,
        timeout=90,
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_takes_nothing_is_one_line(one: Machine, unbuffered: str) -> None:
    full = (exits.FAILED, "agentfs: the output cannot be written: No space left on device\n")
    assert said(one, ">/dev/full", PYTHONUNBUFFERED=unbuffered) == full


def test_a_closed_output_is_a_failure_and_other_closed_descriptors_are_none(one: Machine) -> None:
    assert said(one, ">&-") == (exits.FAILED, "agentfs: the output cannot be written: Bad file descriptor\n")
    assert said(one, "<&- >/dev/null") == (exits.OK, "")
    assert said(one, "<&- >/dev/null 2>&-") == (exits.OK, "")


def test_a_state_directory_that_cannot_be_one_is_named(one: Machine) -> None:
    line = one.refused(exits.USAGE, "ls", "--state-dir", "/dev/null")
    assert "/dev/null/volumes cannot be made (Not a directory): set state_dir" in line
    assert one.run("status", "--state-dir", "/dev/null").code == exits.OK
