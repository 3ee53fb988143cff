"""What may be asked of an engine, from this process or another: words to calls, nothing else."""

import functools
import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from agentfs.clock import Clock
from agentfs.errors import BucketNotFound, InvalidArgument, StoreDenied
from agentfs.sync.engine import Engine
from agentfs.sync.status import EngineStatus
from agentfs.volume.messages import Message, error_of
from agentfs.volume.services import EngineServices, Progress
from agentfs.volume.usage import METRICS

_ECHO_SECONDS = 0.06
"""Pokes come at most every 50 ms (`engine_link`): a second look this much later sees what the last one hid."""
_HEARTBEAT_SECONDS = 15.0


class Announcer:
    """Tells subscribers that the journal has grown. Never waits for them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._closed = False

    def announce(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, seen: int, seconds: float) -> tuple[int, bool]:
        """The number of announcements, once it is not `seen` any more or after `seconds`; and whether it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._count != seen or self._closed, seconds)
            return self._count, self._closed


class EngineDesk:
    """Answers for `engine`. See `messages` for the protocol.

    wake      something changed here: push soon          touch     someone reads: look for news soon
    hydrate   fetch the bytes of `ino`                   sync      push all that is pending; progress lines
    pull      apply what is in the log now               status    facts
    subscribe a progress line whenever the journal grew  stop      push, then end the engine

    `services` adds words of other parts (`volume.services`).
    """

    def __init__(
        self,
        engine: Engine,
        announcer: Announcer,
        services: EngineServices,
        *,
        clock: Clock,
        on_stop: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._announcer = announcer
        self._clock = clock
        self._on_stop = on_stop
        self._echo = threading.Event()
        self._closed = threading.Event()
        self._answers: dict[str, Callable[[Message, Progress], Message]] = {
            "wake": self._wake,
            "touch": self._touch,
            "hydrate": self._hydrate,
            "sync": self._sync,
            "pull": self._pull,
            "status": self._status,
            "subscribe": self._subscribe,
            "stop": self._stop,
        }
        self._facts = tuple(services.facts)
        for word, answer in services.answers.items():
            self._answers[word] = functools.partial(answer, engine)
        threading.Thread(target=self._echoes, name="engine-echo", daemon=True).start()

    def answer(self, request: Message, progress: Progress) -> Message:
        """See `listener.Desk`."""
        do = request.get("do")
        handler = self._answers.get(do) if isinstance(do, str) else None
        if handler is None:
            raise InvalidArgument(f"the engine does not know {do!r}: all processes must be of one AgentFS version")
        return handler(request, progress)

    def page(self, path: str) -> tuple[str, str] | None:
        """What is there for who speaks HTTP: `/metrics`."""
        if path != "/metrics":
            return None
        answer = self.answer({"do": METRICS}, lambda _facts: None)
        return str(answer["content_type"]), str(answer["text"])

    def changed(self) -> None:
        """A process changed something: its journal rows are news to the others, too. Looks again a moment later."""
        self._engine.wake()
        self._announcer.announce()
        self._echo.set()

    def close(self) -> None:
        self._closed.set()
        self._echo.set()
        self._announcer.close()

    def _echoes(self) -> None:
        while True:
            self._echo.wait()
            if self._closed.is_set():
                return
            self._echo.clear()
            self._clock.wait(self._closed, _ECHO_SECONDS)
            self._engine.wake()
            self._announcer.announce()

    def _wake(self, _request: Message, _progress: Progress) -> Message:
        self.changed()
        return {}

    def _touch(self, _request: Message, _progress: Progress) -> Message:
        self._engine.touch()
        return {}

    def _hydrate(self, request: Message, _progress: Progress) -> Message:
        self._engine.hydrate(_integer(request, "ino"))
        return {}

    def _sync(self, request: Message, progress: Progress) -> Message:
        deadline = self._clock.monotonic() + float(request.get("seconds") or 0)
        seen = self._engine.status().last_error_ns

        def say(_inodes: int, _names: int) -> None:
            status = self._engine.status()
            self._refuse_to_wait(status, seen)
            progress(
                {
                    "changes": status.pending_inodes + status.pending_names,
                    "size_bytes": status.pending_bytes,
                }
            )

        self._engine.push_until_clean(deadline, say)
        return {"head_sequence": self._engine.status().head_sequence}

    def _refuse_to_wait(self, status: EngineStatus, seen: int | None) -> None:
        """Time does not heal everything: a wrong key or a bucket that is gone is said at once."""
        if status.online or not status.last_error or status.last_error_ns == seen:
            return
        code, _, text = status.last_error.partition(": ")
        if code in (StoreDenied.code, BucketNotFound.code):
            raise error_of({"code": code, "message": text})

    def _pull(self, _request: Message, _progress: Progress) -> Message:
        return {"commits": self._engine.pull_now()}

    def _status(self, _request: Message, _progress: Progress) -> Message:
        status = self._engine.status()
        facts = asdict(status)
        facts["head_digest"] = status.head_digest.hex()
        problem = status.last_error if status.broken or status.failing or not status.online else ""
        for more in self._facts:
            facts |= more()
        return {"pid": os.getpid(), "online": status.online, "problem": problem, **facts}

    def _subscribe(self, _request: Message, progress: Progress) -> Message:
        seen = -1
        while True:
            seen, over = self._announcer.wait(seen, _HEARTBEAT_SECONDS)
            if over:
                return {}
            progress({})

    def _stop(self, request: Message, progress: Progress) -> Message:
        result = self._sync(request, progress) if request.get("push") else {}
        self._on_stop()
        return result


def _integer(request: Message, name: str) -> int:
    value: Any = request.get(name)
    if not isinstance(value, int):
        raise InvalidArgument(f"{name} must be a number")
    return value
