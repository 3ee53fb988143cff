"""A few threads for work that waits. They start when needed, up to a limit, and end with the process or `close`."""

import queue
import threading
from collections.abc import Callable

Work = Callable[[], None]


class Pool:
    def __init__(self, threads_max: int, *, name: str) -> None:
        self._threads_max = threads_max
        self._name = name
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0
        """Work submitted and not yet done: more of it than threads means that one more thread helps."""

    def submit(self, work: Work) -> None:
        """Have `work` done on a thread of the pool. It must not raise. Never waits."""
        with self._lock:
            self._unfinished += 1
            start = self._unfinished > self._threads and self._threads < self._threads_max
            if start:
                self._threads += 1
                number = self._threads
        self._queue.put(work)
        if start:
            threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True).start()

    def close(self) -> None:
        """Let the threads end after what is queued. Does not wait for them: a hung download must not hold up an
        unmount, and what it would have answered is gone."""
        with self._lock:
            for _ in range(self._threads):
                self._queue.put(None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            finally:
                with self._lock:
                    self._unfinished -= 1
