"""Over standard input and output, as clients start a server of their own."""

from typing import Any

import anyio
from mcp.server import Server
from mcp.server.stdio import stdio_server

from agentfs.mcp.lifetime import serve


def serve_stdio(server: Server[Any]) -> None:
    """Return when the client has closed standard input, or this process is told to end. Nothing but messages goes to
    standard output meanwhile."""

    async def run() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    def body() -> None:
        try:
            anyio.run(run)
        except* (BrokenPipeError, anyio.BrokenResourceError):  # the client is gone, and no longer reads
            pass

    serve(body, stop=lambda: None)
