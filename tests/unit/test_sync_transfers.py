"""Transfers side by side: a transfer may have transfers of its own."""

import threading
from typing import Any, cast

import pytest

from agentfs.sync.ground import EngineGround
from agentfs.sync.options import EngineOptions

NOTHING = cast(Any, None)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("parallel", [1, 4])
def test_items_that_have_items_of_their_own_do_not_wait_for_each_other(parallel: int) -> None:
    """Many large files fetched ahead at once: each thread of the pool holds a file and wants its chunks."""
    ground = EngineGround(
        replica=NOTHING,
        store=NOTHING,
        log=NOTHING,
        clock=NOTHING,
        options=EngineOptions(parallel=parallel),
        author="",
        entropy=bytes,
        mountpoint=lambda: None,
    )
    chunks: list[str] = []
    all_busy = threading.Barrier(parallel)

    def fetch_file(file: tuple[str, bytes]) -> None:
        all_busy.wait()
        ground.each(lambda chunk: chunks.append(chunk[0]), ((f"{file[0]}/{n}", b"") for n in range(3)))

    try:
        ground.each(fetch_file, ((str(number), b"") for number in range(parallel * 2)))
    finally:
        ground.close()
    assert sorted(chunks) == sorted(f"{file}/{n}" for file in range(parallel * 2) for n in range(3))
