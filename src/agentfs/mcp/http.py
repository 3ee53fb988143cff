"""Over streamable HTTP: one server for several clients of one home.

Only programs of this machine reach it by default, and never a web page that a browser of this machine shows (the
`Host` and `Origin` of each request are checked). Other machines need a bearer token.
"""

import functools
import hmac
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn
from mcp.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from agentfs.errors import InvalidArgument
from agentfs.mcp.lifetime import serve

PATH = "/mcp"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_TOKEN_LENGTH_MIN = 16
_GRACE_SECONDS = 2
_BODY_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Listening:
    """Where, and for whom."""

    host: str
    port: int
    """0: one that is free."""
    token: str = ""
    names: Sequence[str] = ()
    """Other names that clients may call this machine by."""

    def __post_init__(self) -> None:
        if self.token and len(self.token) < _TOKEN_LENGTH_MIN:
            raise InvalidArgument(f"the bearer token is too short: at least {_TOKEN_LENGTH_MIN} characters")
        if self.is_loopback:
            return
        if not self.token:
            raise InvalidArgument(
                f"{self.host} is reached from other machines: give a bearer token (--token-file, AGENTFS_MCP_TOKEN), "
                "or listen on 127.0.0.1"
            )
        if self._is_everywhere and not self.names:
            raise InvalidArgument(f"{self.host} is every address: say by --allow-host what clients call this machine")

    @classmethod
    def at(cls, where: str, *, token: str = "", names: Sequence[str] = ()) -> "Listening":
        """`HOST:PORT`, `[::1]:PORT`, or a port of this machine alone. Raises `InvalidArgument`."""
        host, _, port = where.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not port.isdecimal() or int(port) > 0xFFFF or (":" in host and bare == host):
            raise InvalidArgument(f"{where} is not HOST:PORT: for example 127.0.0.1:8765")
        return cls(bare or "127.0.0.1", int(port), token, names)

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def _is_everywhere(self) -> bool:
        return self.host in ("0.0.0.0", "::")

    def security(self) -> TransportSecuritySettings:
        """What `Host` and `Origin` may say, with any port."""
        own = [] if self.is_loopback or self._is_everywhere else [_bracketed(self.host)]
        hosts = [*_LOOPBACK, *own, *self.names]
        origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
        return TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=[*hosts, *(f"{host}:*" for host in hosts)],
            allowed_origins=[*origins, *(f"{origin}:*" for origin in origins)],
        )


def serve_http(server: Server[Any], listening: Listening, *, report: Callable[[str], None]) -> None:
    """Return when this process is told to end. `report` gets the URL once clients can connect, on another thread.
    Raises `InvalidArgument` when the address cannot be had."""
    bound = _bound(listening)
    app: ASGIApp = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,  # nothing is kept for a client, so none has to notice that the server was started anew
        transport_security=listening.security(),
        max_request_body_size=_BODY_BYTES_MAX,
    )
    if listening.token:
        app = _OnlyWithToken(app, listening.token)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", ws="none", timeout_graceful_shutdown=_GRACE_SECONDS
    )
    serving = uvicorn.Server(config)
    ended = threading.Event()

    def run() -> None:
        try:
            report(f"http://{_bracketed(listening.host)}:{bound.getsockname()[1]}{PATH}")
            serving.run(sockets=[bound])
        finally:
            ended.set()

    # Clients that listen are cut off at the end: that is no error, and no reason for a traceback.
    logging.getLogger("uvicorn.error").addFilter(lambda _record: not serving.should_exit)

    def stop() -> None:
        serving.should_exit = True
        ended.wait(2 * _GRACE_SECONDS)

    with bound:
        serve(run, stop)


def _bound(listening: Listening) -> socket.socket:
    """A listening socket: from now on clients can connect, and wait."""
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    try:
        return socket.create_server((listening.host, listening.port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidArgument(f"cannot listen on {_bracketed(listening.host)}:{listening.port}: {reason}") from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _OnlyWithToken:
    """Lets requests through that bear the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._is_right = functools.partial(hmac.compare_digest, f"Bearer {token}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_right(Headers(scope=scope).get("authorization", "").encode()):
            refused = PlainTextResponse("a bearer token is needed", 401, {"WWW-Authenticate": "Bearer"})
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)
