"""What every part of the engine stands on."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from agentfs.clock import Clock
from agentfs.log.chunk_names import ChunkNames
from agentfs.log.log import Log
from agentfs.model.records import Commit
from agentfs.replica.replica import Replica
from agentfs.stores.protocol import Store
from agentfs.sync.contention import Contention
from agentfs.sync.options import EngineOptions

_LOG = logging.getLogger(__name__)

Key = TypeVar("Key", str, bytes)

Failpoint = Callable[[str], None]
"""Called with a name between any two steps whose order matters; tests crash there."""


Observer = Callable[[Commit, bytes], None]
"""Called with every commit, its contents' places resolved, and its digest, once it is this replica's head and in the
order of the log. A crash may swallow a call, a jump to a snapshot many: whoever needs all reads the log where one is
missing. What it raises is logged and changes nothing."""


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
    observers: tuple[Observer, ...] = ()
    contention: Contention = field(init=False)
    """What is known of the other writers; touched in the engine's turn only."""
    _chunk_names: ChunkNames | None = field(default=None, init=False)
    _pool: ThreadPoolExecutor | None = field(default=None, init=False)
    _worker: threading.local = field(default_factory=threading.local, init=False)
    """On a thread of the pool, `is_one` is set."""

    def __post_init__(self) -> None:
        self.contention = Contention(self.entropy, turns=self.options.turns)

    def observed(self, commit: Commit, digest: bytes) -> None:
        """Tell the observers."""
        ours = commit.replica == self.replica.state("replica_id")
        self.contention.saw(commit.replica, commit.sequence, self.clock.monotonic(), ours=ours)
        for observer in self.observers:
            try:
                observer(commit, digest)
            except Exception:  # noqa: BLE001 - what watches the log must not stop it
                _LOG.exception("an observer of the log failed at entry %d", commit.sequence)

    def put_all(self, chunks: Iterable[tuple[bytes, bytes]]) -> None:
        """Put chunks (SHA-256, bytes), `options.parallel` at once and never more in memory. On return all are
        durable; the commit after the head that the replica had when this was called may refer to them."""
        head, names = int(self.replica.state("head_sequence")), self._names()

        def put(chunk: tuple[bytes, bytes]) -> None:
            if not names.is_stored(chunk[0], head=head):
                name = names.name(chunk[0], head=head)
                self.store.put(name, chunk[1])
                names.stored(chunk[0], name)

        self.each(put, chunks)

    def are_stored(self, digests: list[bytes]) -> bool:
        """Whether the commit after the head may refer to all these chunks, because this engine has put them. One list
        if the head has moved."""
        head, names = int(self.replica.state("head_sequence")), self._names()
        return all(names.is_stored(digest, head=head) for digest in digests)

    def forget_stored(self) -> None:
        """All that was put is in the log. What is known of the store is known for no longer than it must be."""
        if self._chunk_names is not None:
            self._chunk_names.forget_stored()

    def _names(self) -> ChunkNames:
        if self._chunk_names is None:
            self._chunk_names = ChunkNames(self.store, self.log.volume)
        return self._chunk_names

    def each(self, do: Callable[[tuple[Key, bytes]], None], items: Iterable[tuple[Key, bytes]]) -> None:
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
