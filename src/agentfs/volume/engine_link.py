"""How a process reaches the engine of its replica: its own, another process's, or one that it starts.

Nobody has to care which. A request goes to the engine in this process, else over `engine.sock` to whoever holds the
lock, else `start` is asked for one. When the engine goes away, the attendant notices at once and asks again.
"""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, SyncTimedOut, Unavailable
from agentfs.volume.messages import Connection, Gone, Message, connect, connect_stream, encode, error_of

if TYPE_CHECKING:  # a mount's process never loads the engine
    from agentfs.volume.engine_host import EngineHost

_LOG = logging.getLogger(__name__)

POKE_SECONDS_MIN = 0.05
TOUCH_SECONDS_MIN = 1.0
_RECONNECT_SECONDS = 0.05
_RETRY_SECONDS_FIRST = 0.5
_RETRY_SECONDS_MAX = 15.0
_POKE_RETRY_SECONDS = 1.0

Start: TypeAlias = "Callable[[], EngineHost | None]"
"""Take the engine's lock and run it in this process (returns it), or see to it that a process does (returns None).
Raises what opening the engine raises. May be called again and again."""


class EngineLink:
    """Safe from any thread. `close` ends it."""

    def __init__(self, directory: str, *, start: Start, clock: Clock) -> None:
        self._socket = os.path.join(directory, "engine.sock")
        self._start = start
        self._clock = clock
        self._starting = threading.Lock()
        self._host: EngineHost | None = None
        self._closed = threading.Event()
        self._poking = threading.Lock()
        self._poked_at = -POKE_SECONDS_MIN
        self._touched_at = -TOUCH_SECONDS_MIN
        self._poke_again_at = 0.0
        self._poke_stream: socket.socket | None = None
        self._attending: Connection | None = None
        self._attendant: threading.Thread | None = None

    # ---- asking ----

    def request(
        self,
        do: str,
        *,
        timeout_seconds: float,
        progress: Callable[[Message], None] | None = None,
        **fields: Any,
    ) -> Message:
        """Ask and wait for the answer. Raises the engine's errors as if it were here, what starting one raises, and
        `SyncTimedOut` (the answer did not come in time)."""
        deadline = self._clock.monotonic() + timeout_seconds
        say = progress or (lambda _facts: None)
        message: Message = {"do": do, **fields}
        while True:
            host = self._host
            if host is not None and host.alive:
                return self._answer_here(host, message, say, deadline)
            try:
                with connect(self._socket) as connection:
                    return self._converse(connection, message, say, deadline)
            except Gone as error:
                if self._closed.is_set():
                    raise Unavailable("this process is closing the home") from error
            self.ensure()
            if self._clock.monotonic() > deadline:
                raise Unavailable("the engine of this home does not answer: see agentfs status")
            self._clock.wait(self._closed, _RECONNECT_SECONDS)

    def _answer_here(
        self, host: "EngineHost", message: Message, say: Callable[[Message], None], deadline: float
    ) -> Message:
        """On a thread of its own: a request to a store that hangs outlasts the deadline, and must not hold the
        caller."""
        ended = threading.Event()
        outcome: list[Message | BaseException] = []

        def run() -> None:
            try:
                outcome.append(host.desk.answer(message, lambda facts: None if given_up.is_set() else say(facts)))
            except BaseException as error:  # noqa: BLE001 - it is raised again where it was asked for
                outcome.append(error)
            ended.set()

        given_up = threading.Event()
        threading.Thread(target=run, name=f"engine-{message['do']}", daemon=True).start()
        if not self._clock.wait(ended, max(0.001, deadline - self._clock.monotonic())):
            given_up.set()
            raise SyncTimedOut(f"the engine did not finish '{message['do']}' in time")
        (result,) = outcome
        if isinstance(result, BaseException):
            raise result
        return result

    def _converse(
        self, connection: Connection, message: Message, say: Callable[[Message], None], deadline: float
    ) -> Message:
        connection.send({"id": 1, **message})
        while True:
            try:
                answer = connection.receive(timeout_seconds=max(0.001, deadline - self._clock.monotonic()))
            except TimeoutError:
                raise SyncTimedOut(f"the engine did not finish '{message['do']}' in time") from None
            if "error" in answer:
                raise error_of(answer["error"])
            if "result" in answer:
                result: Message = answer["result"]
                return result
            say(answer.get("progress", {}))

    def ensure(self) -> None:
        """See to it that there is an engine: here or elsewhere. Raises what starting it raises."""
        with self._starting:
            if self._closed.is_set() or (self._host is not None and self._host.alive):
                return
            self._host = self._start()

    @property
    def host(self) -> "EngineHost | None":
        """The engine, if it runs in this process."""
        host = self._host
        return host if host is not None and host.alive else None

    # ---- poking (the hot path: called after each transaction, under the replica's lock) ----

    def poke(self) -> None:
        """Say that something changed here. Never waits: at most every 50 ms, by a non-blocking send where the engine
        is another process; the engine looks again a little later, so that the last change is not forgotten."""
        now = self._clock.monotonic()
        if now - self._poked_at < POKE_SECONDS_MIN:
            return
        host = self._host
        if host is not None:
            self._poked_at = now
            host.wake()
        elif now >= self._poke_again_at:
            self._poked_at = now
            self._say(_WAKE, now)

    def touch(self) -> None:
        """Say that somebody reads here and wants to see news soon. Never waits; at most one a second is sent."""
        now = self._clock.monotonic()
        if now - self._touched_at < TOUCH_SECONDS_MIN:
            return
        self._touched_at = now
        host = self._host
        if host is not None:
            host.touch()
        elif now >= self._poke_again_at:
            self._say(_TOUCH, now)

    def _say(self, message: bytes, now: float) -> None:
        if not self._poking.acquire(blocking=False):
            return  # another thread is saying something: the engine hears of us
        try:
            if self._poke_stream is None:
                self._poke_stream = connect_stream(self._socket, timeout_seconds=0)
            self._poke_stream.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            pass  # the engine has pokes enough to read
        except (Gone, OSError):
            # A new engine pushes what is pending when it starts: nothing is forgotten.
            self._drop_poke_stream()
            self._poke_again_at = now + _POKE_RETRY_SECONDS
        finally:
            self._poking.release()

    def _drop_poke_stream(self) -> None:
        stream, self._poke_stream = self._poke_stream, None
        if stream is not None:
            stream.close()

    # ---- attending ----

    def attend(self, on_change: Callable[[], None]) -> None:
        """Call `on_change`, from a thread, whenever the journal may have rows of others; and keep an engine alive."""
        self._attendant = threading.Thread(target=self._attend, args=(on_change,), name="attendant", daemon=True)
        self._attendant.start()

    def _attend(self, on_change: Callable[[], None]) -> None:
        wait = _RETRY_SECONDS_FIRST
        while not self._closed.is_set():
            try:
                host = self.host
                if host is not None:
                    self._listen_here(host, on_change)
                else:
                    self._listen_there(on_change)
                wait = _RETRY_SECONDS_FIRST
            except Gone:
                pass
            if self._closed.is_set():
                return
            try:
                self.ensure()
                self._clock.wait(self._closed, _RECONNECT_SECONDS)
            except AgentFSError as error:
                _LOG.warning("the engine cannot be started: %s; trying again in %.1f s", error, wait)
                self._clock.wait(self._closed, wait)
                wait = min(wait * 2, _RETRY_SECONDS_MAX)

    def _listen_here(self, host: "EngineHost", on_change: Callable[[], None]) -> None:
        seen, over = -1, False
        while not over and not self._closed.is_set():
            on_change()
            seen, over = host.announcer.wait(seen, 1.0)

    def _listen_there(self, on_change: Callable[[], None]) -> None:
        with connect(self._socket) as connection:
            self._attending = connection
            try:
                connection.send({"id": 1, "do": "subscribe"})
                on_change()
                while not self._closed.is_set():
                    answer = connection.receive()
                    if "progress" not in answer:
                        return
                    on_change()
            finally:
                self._attending = None

    # ---- the end ----

    def close(self) -> None:
        """Stop asking. An engine in this process is closed too (without a last push: `request('sync')` before)."""
        self._closed.set()
        attending = self._attending
        if attending is not None:
            attending.close()
        self._drop_poke_stream()
        with self._starting:
            host, self._host = self._host, None
        if host is not None:
            host.close()
        if self._attendant is not None and self._attendant is not threading.current_thread():
            with contextlib.suppress(RuntimeError):
                self._attendant.join(5.0)


_WAKE = encode({"do": "wake"})
_TOUCH = encode({"do": "touch"})
