"""What every part of the engine stands on."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from agentfs.clock import Clock
from agentfs.replica.replica import Replica
from agentfs.stores.protocol import Store
from agentfs.sync.log import Log
from agentfs.sync.options import EngineOptions

Failpoint = Callable[[str], None]
"""Called with a name between any two steps whose order matters; tests crash there."""


def no_failpoint(_name: str) -> None:
    pass


@dataclass(slots=True)
class EngineGround:
    replica: Replica
    store: Store
    log: Log
    clock: Clock
    options: EngineOptions
    author: str
    entropy: Callable[[int], bytes]
    """n → n random bytes."""
    mountpoint: Callable[[], str | None]
    """Where the replica is mounted on this machine now."""
    failpoint: Failpoint = no_failpoint
    _pool: ThreadPoolExecutor | None = field(default=None, init=False)
    _worker: threading.local = field(default_factory=threading.local, init=False)
    """On a thread of the pool, `is_one` is set."""

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Put objects, `options.parallel` at once and never more in memory. On return all are durable."""
        self.each(lambda it: self.store.put(it[0], it[1]), objects)

    def each(self, do: Callable[[tuple[str, bytes]], None], items: Iterable[tuple[str, bytes]]) -> None:
        """Call `do` for every item; the first error is raised after all that were started have ended.

        Called from within (a file that is fetched beside others fetches its chunks) it works on the calling thread:
        threads of the pool that waited for each other's items would wait for ever.
        """
        if self.options.parallel <= 1 or getattr(self._worker, "is_one", False):
            for item in items:
                do(item)
            return
        pending = iter(items)
        running: set[Future[None]] = set()
        pool = self.pool()
        failed: BaseException | None = None
        while True:
            started = [] if failed else list(islice(pending, max(0, self.options.parallel - len(running))))
            running |= {pool.submit(do, item) for item in started}
            if not running:
                break
            done = next(self._ended(running))
            running.discard(done)
            failed = failed or done.exception()
        if failed is not None:
            raise failed

    @staticmethod
    def _ended(running: set[Future[None]]) -> Iterator[Future[None]]:
        from concurrent.futures import FIRST_COMPLETED, wait  # noqa: PLC0415

        yield from wait(running, return_when=FIRST_COMPLETED).done

    def pool(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(
                self.options.parallel, "agentfs-transfer", lambda: setattr(self._worker, "is_one", True)
            )
        return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
