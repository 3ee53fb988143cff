"""The process that applies lifecycle rules, and kills itself with SIGKILL at a failpoint.

`lifecycle_child.py <replica> <store> <failpoint>`
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node

from agentfs.clock import SystemClock
from agentfs.config.settings import load
from agentfs.stores.local import LocalStore
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService
from agentfs.volume.lifecycle import LifecycleService


def node_and_service(directory: Path, root: Path, failpoint: str) -> tuple[Node, LifecycleService]:
    clock = SystemClock()
    kept: list[HistoryService] = []

    def reached(point: str) -> None:
        if point == failpoint:
            os.kill(os.getpid(), signal.SIGKILL)

    node = Node(
        directory,
        LocalStore(str(root)),
        clock,  # type: ignore[arg-type]
        failpoint=reached,
        observers=(lambda commit, digest: [it.observe(commit, digest) for it in kept],),
    )
    history = HistoryService(node.replica, author="agent")
    kept.append(history)
    settings = load({}, environment={"HOME": "/nowhere"})
    plan = EnginePlan(settings, "space", "sim", str(directory), offline=False, author="agent")
    return node, LifecycleService(plan, node.replica, history, clock)


if __name__ == "__main__":
    made, service = node_and_service(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    service.answers()["lifecycle-run"](made.engine, {}, lambda _facts: None)
