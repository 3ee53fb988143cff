"""Requests side by side, a few at a time."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

BATCH_MAX = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(
    do: Callable[[Item], Result], items: Iterable[Item], size: int
) -> Iterator[tuple[list[Item], list[Result]]]:
    """`do` for every item, `size` at once (at most `BATCH_MAX`): the items of each batch, in order, and what came of
    them. The first error of a batch is raised after all of it have ended. With `size` 1 all is done on the calling
    thread."""
    waiting = iter(items)
    while batch := list(islice(waiting, max(1, min(size, BATCH_MAX)))):
        if len(batch) == 1:
            yield batch, [do(batch[0])]
            continue
        with ThreadPoolExecutor(len(batch), "agentfs-collect") as pool:
            futures = [pool.submit(do, item) for item in batch]
        yield batch, [future.result() for future in futures]
