"""`python -m agentfs.volume.engine_main`: the engine process of a mount.

Reads one line from standard input (the plan), writes one line to standard output (ready, held by another, or an
error), and then works until standard input closes, SIGTERM comes, or somebody asks it to stop over its socket.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from dataclasses import replace

from agentfs.clock import SystemClock
from agentfs.errors import AgentFSError
from agentfs.volume.engine_host import EngineHost
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.logs import log_to_file
from agentfs.volume.messages import Message, decode, error_message

_LOG = logging.getLogger(__name__)


def main() -> int:
    # Before anything imports numpy: search multiplies on one core, and leaves the others to those who do not ask.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the mount, which then closes our pipe
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    request = decode(sys.stdin.buffer.readline())
    plan = replace(EnginePlan.of_message(request["plan"]), alone=True)
    log_to_file(request["log"], plan.settings.log_level)
    clock = SystemClock()
    try:
        host = EngineHost.claim(plan, clock=clock, on_end=ended.set)
    except AgentFSError as error:
        _LOG.warning("cannot start: %s", error)
        _report({"error": error_message(error)})
        return 0
    if host is None:
        _report({"held": True})
        return 0
    _LOG.info("engine of %s-%s started", plan.kind, plan.volume_id)
    _report({"ready": True, "problem": host.problem})
    threading.Thread(target=_await_parent, args=(ended,), name="parent", daemon=True).start()
    ended.wait()
    host.close()
    _LOG.info("engine ended")
    return 0


def _report(message: Message) -> None:
    """Tell the parent, and give up standard output: the parent closes its end."""
    with contextlib.suppress(OSError):  # the parent is gone already; standard input says so too
        os.write(1, json.dumps(message).encode() + b"\n")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _await_parent(ended: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    ended.set()


if __name__ == "__main__":
    sys.exit(main())
