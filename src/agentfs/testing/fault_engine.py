"""An HTTP proxy between a client and a real S3 server, which delays, breaks and counts on command.

Requests and responses pass byte for byte (the Host header too), so signatures hold. One connection to the
upstream per client connection, kept alive as long as the client's; TCP_NODELAY on both. Python API:

    with FaultProxy(server.endpoint) as proxy:
        proxy.inject(Fault.RESET_AFTER, method="PUT", times=1)

Benchmarks run it as its own process, so that it shares no interpreter lock with what is measured:
`agentfs.testing.fault_proxy.remote_fault_proxy`, or `python -m agentfs.testing.fault_proxy`.
"""

import asyncio
import enum
import random
import re
import socket
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

_HEAD_BYTES_MAX = 64 * 1024
_PIECE_BYTES = 256 * 1024
_T = TypeVar("_T")


class Fault(enum.Enum):
    """What can go wrong with one request."""

    ERROR_500 = "error-500"
    """Answer 500 without asking the upstream: the request had no effect."""
    ERROR_503 = "error-503"
    CONFLICT_409 = "conflict-409"
    """Answer as S3 does while another conditional put of the same name is under way."""
    ERROR_500_AFTER = "error-500-after"
    """The upstream does it, the client hears 500."""
    RESET_BEFORE = "reset-before"
    """Drop the connection once the request was read; the upstream never sees it."""
    RESET_AFTER = "reset-after"
    """The upstream does it and answers; the answer is lost and the connection reset."""
    TRUNCATE = "truncate"
    """Send the head and half of the response body, then close."""
    SLOW_BODY = "slow-body"
    """Send the response body in 16 pieces over `seconds`."""
    BLACK_HOLE = "black-hole"
    """Read the request and never answer; the upstream never sees it."""
    BLACK_HOLE_AFTER = "black-hole-after"
    """The upstream does it; the client never hears."""


@dataclass(slots=True)
class Rule:
    """A fault for the requests it matches, the first rule that matches and fires winning."""

    fault: Fault
    method: str = ""
    """Empty: every method."""
    path: str = ""
    """A regular expression searched in the path with its query."""
    times: int | None = None
    """How often it fires; None: for ever."""
    probability: float = 1.0
    seconds: float = 1.0

    def fires(self, request: "Request", entropy: random.Random) -> bool:
        if self.times == 0 or (self.method and self.method != request.method):
            return False
        if self.path and not re.search(self.path, request.path):
            return False
        if self.probability < 1.0 and entropy.random() >= self.probability:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the proxy saw it."""

    method: str
    path: str
    """With its query."""
    body_bytes: int = 0


@dataclass(slots=True)
class _Plan:
    """What the proxy is to do; touched only by its event loop."""

    entropy: random.Random
    latency_seconds: float = 0.0
    rules: list[Rule] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    down: bool = False
    silent: bool = False


class FaultProxy:
    """A proxy in a thread of this process, on a free port of 127.0.0.1. All methods are thread-safe."""

    def __init__(self, upstream: str, *, latency_ms: float = 0.0, seed: int = 0, port: int = 0) -> None:
        parts = urlsplit(upstream)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError("the upstream must be http://host:port")
        self._upstream = (parts.hostname, parts.port or 80)
        self._plan = _Plan(random.Random(seed), latency_seconds=latency_ms / 1000)
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    # ---- life ----

    def start(self) -> "FaultProxy":
        self._thread.start()
        self._call(self._listen())
        return self

    def close(self) -> None:
        """Stop listening, cut all connections, end the thread."""
        self._call(self._stop_listening())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> "FaultProxy":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # ---- commands ----

    def inject(
        self,
        fault: Fault,
        *,
        method: str = "",
        path: str = "",
        times: int | None = None,
        probability: float = 1.0,
        seconds: float = 1.0,
    ) -> None:
        """Add a rule (see `Rule`). Rules are asked in the order in which they were added."""
        rule = Rule(fault, method, path, times, probability, seconds)
        self._do(lambda: self._plan.rules.append(rule))

    def heal(self) -> None:
        """Forget all rules, be up, and answer. Latency stays."""

        async def heal() -> None:
            self._plan.rules.clear()
            self._plan.silent = False
            await self._listen()

        self._call(heal())

    def set_latency(self, latency_ms: float) -> None:
        """Every request is forwarded that much later (timers here are exact to about a millisecond)."""
        self._do(lambda: setattr(self._plan, "latency_seconds", latency_ms / 1000))

    def go_down(self) -> None:
        """Refuse connections and reset those that are open."""
        self._call(self._stop_listening())

    def come_up(self) -> None:
        self._call(self._listen())

    def black_hole(self, on: bool = True) -> None:
        """Accept and read, never answer (until `heal`)."""
        self._do(lambda: setattr(self._plan, "silent", on))

    def requests(self) -> list[Request]:
        """All requests since the start or the last `forget_requests`, those that were broken included."""
        return self._do(lambda: list(self._plan.requests))

    def forget_requests(self) -> None:
        self._do(self._plan.requests.clear)

    def count(self, method: str = "", path: str = "") -> int:
        """How many recorded requests have this method and match this regular expression."""
        found = self.requests()
        return sum((not method or r.method == method) and bool(re.search(path, r.path)) for r in found)

    # ---- the thread ----

    def _call(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def _do(self, function: Callable[[], _T]) -> _T:
        async def do() -> _T:
            return function()

        return self._call(do())

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self._port, limit=_HEAD_BYTES_MAX, backlog=1024, reuse_address=True
            )
            self._port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        connection = _Connection(self._plan, self._upstream, reader, writer)
        try:
            await connection.run()
        except (asyncio.CancelledError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            reset(writer)
        finally:
            self._connections.discard(task)
            connection.close()


class _Connection:
    """One client connection with its own upstream connection."""

    def __init__(
        self,
        plan: _Plan,
        upstream: tuple[str, int],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._plan = plan
        self._address = upstream
        self._reader, self._writer = reader, writer
        self._up: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        no_delay(writer)

    def close(self) -> None:
        self._writer.close()
        self._close_upstream()

    def _close_upstream(self) -> None:
        if self._up is not None:
            self._up[1].close()
            self._up = None

    async def run(self) -> None:
        """Serve requests until either side closes. Raises what breaks the connection."""
        while True:
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
                return
            if b"\r\nexpect: 100-continue" in head.lower():
                self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await read_body(self._reader, head)
            method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            request = Request(method, path, len(body))
            self._plan.requests.append(request)
            rule = next((rule for rule in self._plan.rules if rule.fires(request, self._plan.entropy)), None)
            if not await self._answer(request, head, body, rule):
                return

    async def _answer(self, request: Request, head: bytes, body: bytes, rule: Rule | None) -> bool:
        """Answer one request; False when the connection is done."""
        fault = rule.fault if rule else None
        if self._plan.silent or fault is Fault.BLACK_HOLE:
            await asyncio.Event().wait()
        if fault is Fault.RESET_BEFORE:
            reset(self._writer)
            return False
        if self._plan.latency_seconds:
            await asyncio.sleep(self._plan.latency_seconds)
        if fault in _CANNED:
            self._writer.write(_CANNED[fault])
            await self._writer.drain()
            return True
        answer, answer_body = await self._forward(request, head, body)
        if rule is not None:
            return await self._spoil(rule, answer, answer_body)
        self._writer.write(answer + answer_body)
        await self._writer.drain()
        return not _closes(answer)

    async def _spoil(self, rule: Rule, answer: bytes, body: bytes) -> bool:
        """What a fault makes of an answer that the upstream gave."""
        if rule.fault is Fault.BLACK_HOLE_AFTER:
            await asyncio.Event().wait()
        if rule.fault is Fault.RESET_AFTER:
            reset(self._writer)
            return False
        if rule.fault is Fault.ERROR_500_AFTER:
            self._writer.write(_CANNED[Fault.ERROR_500])
        elif rule.fault is Fault.TRUNCATE:
            self._writer.write(answer + body[: len(body) // 2])
            await self._writer.drain()
            return False
        else:
            self._writer.write(answer)
            step = max(1, -(-len(body) // 16))
            for start in range(0, len(body), step):
                await self._writer.drain()
                await asyncio.sleep(rule.seconds / 16)
                self._writer.write(body[start : start + step])
        await self._writer.drain()
        return not _closes(answer)

    async def _forward(self, request: Request, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        """The upstream's answer: head and body as they came."""
        if self._up is None or self._up[0].at_eof():
            self._close_upstream()
            self._up = await asyncio.open_connection(*self._address, limit=_HEAD_BYTES_MAX)
            no_delay(self._up[1])
        reader, writer = self._up
        writer.write(head + body)
        await writer.drain()
        answer = await reader.readuntil(b"\r\n\r\n")
        while answer.split(b" ", 2)[1].startswith(b"1"):
            answer = await reader.readuntil(b"\r\n\r\n")
        status = answer.split(b" ", 2)[1]
        if request.method == "HEAD" or status in (b"204", b"304"):
            return answer, b""
        answer_body = await read_body(reader, answer, until_close=True)
        if _closes(answer):
            self._close_upstream()
        return answer, answer_body


def no_delay(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, not FIN."""
    if writer.transport.is_closing():
        return  # its socket is gone: the other side was faster
    writer.transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
    )
    writer.transport.abort()


def header(head: bytes, name: bytes) -> bytes:
    """The value of a header, lower-case; empty if it is missing."""
    found = re.search(rb"\r\n" + name + rb":[ \t]*([^\r]*)", head, re.IGNORECASE)
    return found[1].strip().lower() if found else b""


def _closes(answer: bytes) -> bool:
    if header(answer, b"connection") == b"close":
        return True
    return (
        not header(answer, b"content-length")
        and not header(answer, b"transfer-encoding")
        and (answer.split(b" ", 2)[1] not in (b"204", b"304"))
    )


async def read_body(reader: asyncio.StreamReader, head: bytes, *, until_close: bool = False) -> bytes:
    """The raw bytes of a message's body (chunk marks included). Without a length: none, or all until the end."""
    if b"chunked" in header(head, b"transfer-encoding"):
        pieces = []
        while True:
            line = await reader.readuntil(b"\r\n")
            pieces.append(line)
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while line != b"\r\n":
                    line = await reader.readuntil(b"\r\n")
                    pieces.append(line)
                return b"".join(pieces)
            pieces.append(await reader.readexactly(size + 2))
    length = header(head, b"content-length")
    if length:
        return await reader.readexactly(int(length)) if length != b"0" else b""
    return await reader.read(-1) if until_close else b""


def _canned(status: str, code: str) -> bytes:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>injected</Message></Error>'
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


_CANNED: dict[Fault | None, bytes] = {
    Fault.ERROR_500: _canned("500 Internal Server Error", "InternalError"),
    Fault.ERROR_503: _canned("503 Service Unavailable", "SlowDown"),
    Fault.CONFLICT_409: _canned("409 Conflict", "ConditionalRequestConflict"),
}
