"""What processes of one machine say to each other: JSON objects, one a line, over a unix socket.

A request is `{"do": word, …}`. With an `"id"` it is answered: any number of `{"id", "progress": {…}}` lines, then
one `{"id", "result": {…}}` or `{"id", "error": {"code", "message"}}`. Without one nothing is sent back. Only
processes of the same user (or root) are heard.
"""

import contextlib
import functools
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from agentfs.errors import AgentFSError, ReplicaInUse

Message: TypeAlias = dict[str, Any]

LINE_BYTES_MAX = 1 << 20
_PATH_BYTES_MAX = 107
_HTTP_BYTES_MAX = 16 * 1024
_HTTP_SECONDS_MAX = 5.0


class Gone(Exception):
    """The other side is not there, or went away."""


class Connection:
    """One end of a conversation. `send` and `receive` may be used from one thread each."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._buffer = b""

    def send(self, message: Mapping[str, Any]) -> None:
        """Raises `Gone`."""
        try:
            self._stream.sendall(encode(message))
        except OSError as error:
            raise Gone(str(error)) from error

    def speaks_http(self) -> bool:
        """Whether the other side begins with a request of HTTP: messages begin with a brace. Waits for its start.
        Raises `Gone`."""
        try:
            return self._stream.recv(1, socket.MSG_PEEK) in (b"G", b"H", b"P")
        except OSError as error:
            raise Gone(str(error)) from error

    def answer_http(self, page: Callable[[str], tuple[str, str] | None]) -> None:
        """Read one request of HTTP and answer it with the type and the text of a page; `None`: there is no such page.
        Raises `Gone`."""
        method, path = self._http_request()
        found = page(path) if method in ("GET", "HEAD") else None
        status = "200 OK" if found is not None else "404 Not Found"
        kind, text = found or ("text/plain; charset=utf-8", f"there is no {method} {path} here\n")
        body = text.encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        head += "Connection: close\r\n\r\n"
        try:
            self._stream.sendall(head.encode() + (b"" if method == "HEAD" else body))
        except OSError as error:
            raise Gone(str(error)) from error

    def _http_request(self) -> tuple[str, str]:
        self._stream.settimeout(_HTTP_SECONDS_MAX)
        while b"\r\n\r\n" not in self._buffer:
            try:
                data = self._stream.recv(4096)
            except OSError as error:
                raise Gone(str(error)) from error
            if not data or len(self._buffer) > _HTTP_BYTES_MAX:
                raise Gone("not a request")
            self._buffer += data
        words = self._buffer.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3:
            raise Gone("not a request")
        return words[0], words[1].partition("?")[0]

    def receive(self, *, timeout_seconds: float | None = None) -> Message:
        """The next message. Raises `Gone` at the end and `TimeoutError`."""
        while b"\n" not in self._buffer:
            try:
                self._stream.settimeout(timeout_seconds)
                data = self._stream.recv(65536)
            except TimeoutError:
                raise
            except OSError as error:
                raise Gone(str(error)) from error
            if not data or len(self._buffer) > LINE_BYTES_MAX:
                raise Gone("the connection was closed")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return decode(line)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Raises `Gone` for what is not a message: the other side is not one of us."""
    try:
        message = json.loads(line)
    except ValueError:
        raise Gone("not a message") from None
    if not isinstance(message, dict):
        raise Gone("not a message")
    return message


# ---- addresses ----


@contextlib.contextmanager
def _address(path: str) -> Iterator[str]:
    """A name for `path` that fits a socket address (108 bytes), whatever the length of the directory's."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield path
        return
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


def connect(path: str, *, timeout_seconds: float = 2.0) -> Connection:
    """Raises `Gone` when nobody listens."""
    return Connection(connect_stream(path, timeout_seconds=timeout_seconds))


def connect_stream(path: str, *, timeout_seconds: float) -> socket.socket:
    """The bare socket. `timeout_seconds` 0: fail rather than wait. Raises `Gone`."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    stream.settimeout(timeout_seconds)
    try:
        with _address(path) as address:
            stream.connect(address)
        check_peer(stream)
    except (OSError, PermissionError) as error:
        stream.close()
        raise Gone(f"{path}: {error}") from error
    return stream


def listen(path: str) -> socket.socket:
    """Listen at `path`, in place of what a dead process left. Only the one who owns the place (by a lock) may."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _address(path) as address:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address)
            stream.bind(address)
            os.chmod(address, 0o600)
        stream.listen(64)
    except OSError as error:
        stream.close()
        raise ReplicaInUse(f"{path}: cannot listen there ({error.strerror}): check the state directory") from error
    return stream


def check_peer(stream: socket.socket) -> None:
    """Raise `PermissionError` unless the other process is this user's or root's."""
    credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    if uid not in (0, os.geteuid()):
        raise PermissionError(f"process of user {uid} is not heard")


# ---- errors across processes ----


def error_message(error: AgentFSError) -> Message:
    return {"code": error.code, "message": str(error)}


def error_of(message: Mapping[str, Any]) -> AgentFSError:
    """The error that `error_message` described, as its own class again."""
    code, text = str(message.get("code", "")), str(message.get("message", ""))
    kind = _classes().get(code, AgentFSError)
    try:
        return kind(text)
    except TypeError:  # it carries more than a text: nobody beyond its process can use that
        error = AgentFSError(text)
        error.code = code  # type: ignore[misc]
        return error


@functools.cache
def _classes() -> dict[str, type[AgentFSError]]:
    """Code → class, for every error there is."""
    found: dict[str, type[AgentFSError]] = {}
    todo: list[type[AgentFSError]] = [AgentFSError]
    while todo:
        kind = todo.pop(0)
        found.setdefault(kind.code, kind)
        todo += kind.__subclasses__()
    return found
