"""fsync of directories, shared between threads: many puts into one directory cost few fsyncs."""

import os
import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Turns:
    """The fsyncs of one directory. A caller is served by any fsync that *starts* after it asked."""

    condition: threading.Condition = field(default_factory=threading.Condition)
    running: bool = False
    started: int = 0
    ended: int = 0
    failed: dict[int, OSError] = field(default_factory=dict)
    waiting: int = 0


class DirectorySync:
    """Makes directory entries durable. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[str, _Turns] = {}

    def sync(self, path: str) -> None:
        """On return every entry that was in directory `path` at the call is durable. Raises `OSError`."""
        with self._lock:
            turns = self._turns.setdefault(path, _Turns())
            turns.waiting += 1
        try:
            self._take_turn(turns, path)
        finally:
            with self._lock:
                turns.waiting -= 1
                if not turns.waiting:
                    self._turns.pop(path, None)

    def _take_turn(self, turns: _Turns, path: str) -> None:
        with turns.condition:
            mine = turns.started + 1
            # An fsync that runs now may have looked before our entry was there: it does not count.
            while turns.running and turns.ended < mine:
                turns.condition.wait()
            if turns.ended >= mine:
                if mine in turns.failed:
                    raise OSError(*turns.failed[mine].args)
                return
            turns.running, turns.started = True, mine
        error: OSError | None = None
        try:
            fsync_directory(path)
        except OSError as raised:
            error = raised
        with turns.condition:
            turns.running, turns.ended = False, mine
            if error is not None:
                turns.failed[mine] = error
            turns.condition.notify_all()
        if error is not None:
            raise error


def fsync_directory(path: str) -> None:
    """fsync of a directory: its entries are durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
