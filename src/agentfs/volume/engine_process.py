"""The engine as a process of its own, child of a mount (docs/decisions/0001): started, watched, started again.

The child gets its settings through a pipe, never on the command line, and ends when that pipe closes: it cannot
outlive its parent, however that one dies.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, Unavailable
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.logs import private_file
from agentfs.volume.messages import Gone, Message, decode, error_of

_LOG = logging.getLogger(__name__)

_LIVED_WELL_SECONDS = 10.0
_REST_SECONDS_FIRST = 0.2
_REST_SECONDS_MAX = 15.0
_END_SECONDS_MAX = 15.0


class EngineProcess:
    """`start` is what `EngineLink` calls whenever nobody answers. `stop` ends the child."""

    def __init__(self, plan: EnginePlan, *, log_path: str, clock: Clock) -> None:
        self._plan = plan
        self._log_path = log_path
        self._clock = clock
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._rest_seconds = 0.0
        self._stopped = False
        self.problem = ""
        """Why the engine that was started last works without the store; empty when it has it."""

    def start(self) -> None:
        """Have a process run the engine: on return it listens, or somebody else's does.

        Raises what opening the store or the replica raised there, and `Unavailable` while a crashing engine rests.
        """
        with self._lock:
            if self._stopped:
                raise Unavailable("this mount is ending")
            if self._child is not None and self._child.poll() is None:
                return
            self._rest()
            self._started_at = self._clock.monotonic()
            self._spawn()

    def _rest(self) -> None:
        """After a crash, wait longer and longer before the next start."""
        if self._child is None:
            return
        code = self._child.returncode
        lived = self._clock.monotonic() - self._started_at
        if lived > _LIVED_WELL_SECONDS:
            self._rest_seconds = 0.0
        left = self._rest_seconds - lived
        if left > 0:
            raise Unavailable(f"the engine ended with code {code} and is started again in {left:.1f} s: see its log")
        if code != 0:
            _LOG.warning("the engine (process %d) ended with code %s; starting it again", self._child.pid, code)
        self._rest_seconds = min(max(self._rest_seconds * 2, _REST_SECONDS_FIRST), _REST_SECONDS_MAX)
        self._forget()

    def _spawn(self) -> None:
        with open(private_file(self._log_path), "ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "agentfs.volume.engine_main"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        self._child = child
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps({"plan": self._plan.as_message(), "log": self._log_path}).encode() + b"\n")
            child.stdin.flush()
            report = self._report(child)
        except OSError as error:
            raise AgentFSError(f"the engine ended while starting: see {self._log_path}") from error
        finally:
            child.stdout.close()
        if "error" in report:
            # The child ends by itself; it did not crash, so the next start need not rest.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_END_SECONDS_MAX)
            self._forget()
            raise error_of(report["error"])
        self.problem = str(report.get("problem") or "")

    def _report(self, child: subprocess.Popen[bytes]) -> Message:
        assert child.stdout is not None
        line = child.stdout.readline()
        try:
            return decode(line)
        except Gone:
            code = child.wait(_END_SECONDS_MAX)
            raise AgentFSError(f"the engine ended with code {code} while starting: see {self._log_path}") from None

    def _forget(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()

    @property
    def pid(self) -> int | None:
        """The child, while it lives."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def stop(self, *, seconds: float = _END_SECONDS_MAX) -> None:
        """End the child (it finishes what it is doing); kill it when that takes longer than `seconds`. Nothing that
        was acknowledged depends on it. Repeating it is harmless."""
        with self._lock:
            self._stopped = True
            child = self._child
            self._forget()
        if child is None:
            return
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            _LOG.warning("the engine (process %d) did not end in %.0f s; killing it", child.pid, seconds)
            child.kill()
            child.wait()


def engine_log_path(directory: str) -> str:
    """Where the engine process of a replica logs."""
    return os.path.join(directory, "engine.log")
