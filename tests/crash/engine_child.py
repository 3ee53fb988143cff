"""The process that the crash tests kill: an engine and a tree over a directory store. It says on stdout what it
begins (`begin write a-0 …`) and what is done (`write a-0 …`).

`engine_child.py <replica> <store> <name> <failpoint or -> <count> <seed>`: killed by itself, with SIGKILL, when the
failpoint is reached for the count-th time.
"""

import os
import signal
import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node, TestClock

from agentfs.stores.local import LocalStore


def main() -> None:
    directory, root, name, failpoint, count, seed = sys.argv[1:]
    left = int(count)

    def reached(point: str) -> None:
        nonlocal left
        if point == failpoint:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    random = Random(int(seed))
    clock = TestClock()
    clock.now_s = float(seed)
    node = Node(Path(directory), LocalStore(root), clock, agent=name, failpoint=reached)
    node.engine.bootstrap()
    print("ready", flush=True)
    for number in range(1000):
        path = f"{name}-{random.randrange(6)}"
        token = f"<{name}.{seed}.{number}>"
        choice = random.randrange(5)
        if choice <= 1:
            done = ("write", path, token)
            print("begin", *done, flush=True)
            node.write(path, token.encode())
            print(*done, flush=True)
        elif choice == 2:
            node.write("shared", token.encode())
            print("shared", "shared", token, flush=True)
        elif choice == 3 and path in node.names():
            done = ("rename", path, path + ".moved")
            print("begin", *done, flush=True)
            node.rename(path, path + ".moved")
            print(*done, flush=True)
        node.clock.now_s += 0.5
        node.engine.tick()
        if number % 5 == 4:
            node.sync()
            print("synced", number, "-", flush=True)
            node.engine.evict(cache_bytes=0)
            node.show()


if __name__ == "__main__":
    main()
