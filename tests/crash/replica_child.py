"""The process that the crash tests of the replica kill: a tree, with no engine. It acknowledges each operation by a
line on stdout, after it has returned.

`replica_child.py <replica> <seed> <operations> <direct> <failpoint or -> <count>`: killed by itself, with SIGKILL,
when the failpoint is reached for the count-th time.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from replica_load import operations, perform

from agentfs.clock import SystemClock
from agentfs.replica.replica import Replica
from agentfs.testing.file_behaviour_core import TreeFiles
from agentfs.tree.tree import Tree


def main() -> None:
    directory, seed, count, direct, failpoint, reached_max = sys.argv[1:]
    replica = Replica.open(
        directory, volume_kind="home", volume_id="crash", session_kind="mount", clock=SystemClock()
    )
    left = int(reached_max)

    def reached(name: str) -> None:
        nonlocal left
        if name == failpoint:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def between(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            reached(f"{name}.before")
            result = act(*arguments)
            reached(f"{name}.after")
            return result

        return watched

    replica.files.create = between("create", replica.files.create)
    replica.files.remove = between("remove", replica.files.remove)
    execute = replica.connection.execute
    commit = between("commit", lambda: execute("COMMIT"))
    replica.connection.execute = lambda sql, *rest: commit() if sql == "COMMIT" else execute(sql, *rest)

    files, slots = TreeFiles(Tree(replica), direct=direct == "direct"), {}
    print("ready", flush=True)
    for operation in operations(int(seed), int(count)):
        perform(files, slots, operation)
        print("done", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
