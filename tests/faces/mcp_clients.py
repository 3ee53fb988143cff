"""MCP clients for tests: the SDK's own, in the same process or over a real transport."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
from command import PROGRAM, Machine
from mcp import Client, types
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool answered."""

    text: str
    failed: bool
    meta: dict[str, Any]


async def said(client: Client, tool: str, **arguments: object) -> Said:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, types.CallToolResult)
    assert result.structured_content is None
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return Said(content.text, bool(result.is_error), dict(result.meta or {}))


async def memory(client: Client, command: str, **arguments: object) -> str:
    """What the tool `memory` answered, which must not be an error."""
    answer = await said(client, "memory", command=command, **arguments)
    assert not answer.failed, answer.text
    return answer.text


def over_stdio(machine: Machine, *options: str, mode: str = "auto") -> Client:
    """A client that starts `agentfs mcp` itself."""
    parameters = StdioServerParameters(
        command=PROGRAM[0], args=[*PROGRAM[1:], "mcp", *options], env=machine.environment, cwd=machine.root
    )
    return Client(parameters, mode=mode, read_timeout_seconds=60)


@dataclass(frozen=True, slots=True)
class Served:
    """A running `agentfs mcp --http`."""

    process: subprocess.Popen[str]
    url: str

    def end(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextlib.contextmanager
def serving(machine: Machine, *options: str, at: str = "127.0.0.1:0") -> Iterator[Served]:
    """`agentfs mcp --http` on a free port, killed at the end if it still runs."""
    child = subprocess.Popen(
        [*PROGRAM, "mcp", "--http", at, *options],
        env=machine.environment,
        cwd=machine.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(150, child.kill)
    watchdog.start()
    try:
        line = child.stderr.readline()
        assert " at http://" in line, line + child.stderr.read()
        yield Served(child, line.split()[-1])
    finally:
        watchdog.cancel()
        if child.poll() is None:
            child.kill()
        child.wait(30)
        child.stdout.close()
        child.stderr.close()


@contextlib.asynccontextmanager
async def over_http(url: str, *, mode: str = "auto", **headers: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, read_timeout_seconds=60) as client,
    ):
        yield client


def python(machine: Machine, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in an environment of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=machine.environment | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
