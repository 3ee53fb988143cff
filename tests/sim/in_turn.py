"""Pools that work on the calling thread: what several requests at once would do by chance of timing, one seed does in
one order."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from agentfs.log import log
from agentfs.view import writer
from agentfs.volume import log_bytes, view_commit, view_import

_MODULES: tuple[Any, ...] = (log, writer, log_bytes, view_commit, view_import)


class _Pool:
    def __init__(self, *_arguments: object) -> None:
        pass

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def submit(self, do: Callable[..., Any], *arguments: object) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(do(*arguments))
        except Exception as error:  # told by the future; a crash ends all
            future.set_exception(error)
        return future

    def map(self, do: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        return [do(item) for item in items]

    def shutdown(self, **_options: object) -> None:
        pass


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, log, view and import work on the calling thread."""
    real = [module.ThreadPoolExecutor for module in _MODULES]
    for module in _MODULES:
        module.ThreadPoolExecutor = _Pool
    try:
        yield
    finally:
        for module, pool in zip(_MODULES, real, strict=True):
            module.ThreadPoolExecutor = pool
