"""The view of one engine's volume: who keeps it, when, and what others may ask of it (docs/view.md, V-60 ff.)."""

import threading
from collections.abc import Iterable

from agentfs.clock import Clock
from agentfs.model.records import InodeId
from agentfs.replica.replica import Replica
from agentfs.view.shown import ShownTable
from agentfs.volume.engine_plan import EnginePlan


class ViewService:
    """Made with the engine's services; `start` begins the thread."""

    def __init__(self, plan: EnginePlan, replica: Replica, clock: Clock) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._replica = replica
        self._clock = clock
        self.table = ShownTable(replica.directory)
        self._news = threading.Lock()
        self._due: dict[InodeId, float] = {}
        """Files, and since when, by the monotonic clock."""
        self._wake = threading.Event()

    def due(self, files: Iterable[InodeId]) -> None:
        """Look at the objects of these files again: they are made what they should be. From any thread."""
        now = self._clock.monotonic()
        with self._news:
            for file in files:
                self._due.setdefault(file, now)

    def wake(self) -> None:
        """Do not sleep until the next round. From any thread."""
        self._wake.set()

    def close(self) -> None:
        """Repeating it is harmless."""
        self.table.close()
