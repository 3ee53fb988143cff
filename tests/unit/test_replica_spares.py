"""Spare backing files: a create takes one, nothing else notices."""

import os
import time
from pathlib import Path

import pytest

from agentfs.replica.spares import SPARES_LOW, Spares


def wait_until_ready(spares: Spares, directory: Path) -> None:
    deadline = time.monotonic() + 20
    while len(list(directory.iterdir())) < SPARES_LOW:
        assert time.monotonic() < deadline, "no spares were made"
        time.sleep(0.001)


def test_without_a_keeper_there_are_none(tmp_path: Path) -> None:
    assert Spares(str(tmp_path)).take(str(tmp_path / "a")) is None
    assert not list(tmp_path.iterdir())


def test_a_spare_takes_the_name_and_is_new(tmp_path: Path) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    spares = Spares(str(staging))
    spares.keep()
    try:
        wait_until_ready(spares, staging)
        oldest = min(path.stat().st_mtime_ns for path in staging.iterdir())
        target = tmp_path / "file"
        target.write_bytes(b"what stood there")
        fd = spares.take(str(target))
        assert fd is not None
        with os.fdopen(fd, "r+b") as file:
            assert os.fstat(fd).st_ino == target.stat().st_ino
            assert file.read() == b""
            assert target.stat().st_mtime_ns > oldest, "the time of the create, not of the spare"
            file.write(b"bytes")
        assert target.read_bytes() == b"bytes"
    finally:
        spares.close()
    assert not list(staging.iterdir()), "what was not used is removed"


def test_more_are_made_when_they_run_low(tmp_path: Path) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    spares = Spares(str(staging))
    spares.keep()
    try:
        for round_number in range(3):
            wait_until_ready(spares, staging)
            for index in range(100):
                fd = spares.take(str(tmp_path / f"{round_number}-{index}"))
                assert fd is not None
                os.close(fd)
    finally:
        spares.close()


def test_a_spare_that_vanished_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    spares = Spares(str(staging))
    spares.keep()
    try:
        wait_until_ready(spares, staging)
        for path in staging.iterdir():
            path.unlink()
        assert spares.take(str(tmp_path / "a")) is None
        assert not (tmp_path / "a").exists()
    finally:
        spares.close()
