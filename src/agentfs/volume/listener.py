"""Answering requests on a unix socket: one thread accepts, one thread a connection."""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Protocol

from agentfs.errors import AgentFSError
from agentfs.volume.messages import Connection, Gone, Message, check_peer, error_message, listen

_LOG = logging.getLogger(__name__)
_CONNECTIONS_MAX = 64


class Desk(Protocol):
    """Who answers."""

    def answer(self, request: Message, progress: Callable[[Message], None]) -> Message:
        """The result of one request. May block; `progress` sends a line meanwhile and raises `Gone` when nobody
        listens any more. Raises `AgentFSError`."""
        ...


Page = Callable[[str], tuple[str, str] | None]
"""From the path of an HTTP request to the type and the text of the answer; None: there is nothing. May block."""


class Listener:
    """Listens at `path` until `close`, which also ends every conversation."""

    def __init__(self, path: str, desk: Desk, *, page: Page | None = None) -> None:
        """Where there is a `page`, who speaks HTTP instead of messages gets it (`curl --unix-socket`)."""
        self._path = path
        self._desk = desk
        self._page = page
        self._stream = listen(path)
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._answering = 0
        self._idle = threading.Condition(self._lock)
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="listener", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._stream.accept()
            except OSError:
                return
            try:
                check_peer(stream)
            except (OSError, PermissionError) as error:
                _LOG.warning("refused a connection: %s", error)
                stream.close()
                continue
            connection = Connection(stream)
            with self._lock:
                if self._closed or len(self._open) >= _CONNECTIONS_MAX:
                    connection.close()
                    continue
                self._open.add(connection)
            threading.Thread(target=self._converse, args=(connection,), name="conversation", daemon=True).start()

    def _converse(self, connection: Connection) -> None:
        try:
            if self._page is not None and connection.speaks_http():
                connection.answer_http(self._page_of)
                return
            while True:
                request = connection.receive()
                with self._lock:
                    self._answering += 1
                try:
                    self._answer(connection, request)
                finally:
                    with self._lock:
                        self._answering -= 1
                        self._idle.notify_all()
        except Gone:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _page_of(self, path: str) -> tuple[str, str] | None:
        try:
            return self._page(path) if self._page is not None else None
        except Exception as error:  # as for messages
            _LOG.exception("the page %s failed", path)
            raise Gone("no page") from error

    def _answer(self, connection: Connection, request: Message) -> None:
        number = request.pop("id", None)

        def say(**fields: Any) -> None:
            if number is not None:
                connection.send({"id": number, **fields})

        try:
            result = self._desk.answer(request, lambda facts: say(progress=facts))
        except AgentFSError as error:
            say(error=error_message(error))
        except Gone:
            raise
        except Exception as error:  # noqa: BLE001 - the other side waits for an answer whatever happened here
            _LOG.exception("request %r failed", request.get("do"))
            say(error={"code": "error", "message": f"the request failed ({type(error).__name__}): see the log"})
        else:
            say(result=result)

    def drain(self, seconds: float) -> bool:
        """Wait until every request has its answer, `seconds` at most. Whether that is so."""
        with self._lock:
            return self._idle.wait_for(lambda: self._answering == 0, seconds)

    def close(self) -> None:
        """Stop. Repeating it is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            conversations = list(self._open)
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        for connection in conversations:
            connection.close()
