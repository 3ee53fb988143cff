"""`agentfs mcp` as clients start it and reach it: over stdio and over HTTP, beside mounts and other machines."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx2
import pytest
from command import PROGRAM, Machine, machine
from mcp import Client
from mcp_clients import memory, over_http, over_stdio, python, said, serving
from mounted import needs_mount

from agentfs import Home
from agentfs.cli import exits
from agentfs.cli.mcp import mcp as mcp_command
from agentfs.config.settings import load
from agentfs.errors import ConfigInvalid, InvalidArgument
from agentfs.mcp.server import make_server

TOKEN = "a-token-of-some-length"


@pytest.fixture
def me(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path, index=True) as made:
        yield made


@pytest.fixture
def elsewhere(me: Machine) -> Iterator[Machine]:
    """Another machine with the same home."""
    with machine(me.root, name="two", index=True) as made:
        yield made


def home_of(machine: Machine) -> Home:
    """The home as another program of that machine has it."""
    given = {"store": machine.store, "state_dir": str(machine.state_dir), "timeout": 30}
    return Home.open(
        machine.agent, settings=load(given, environment={"HOME": str(machine.root), "AGENTFS_VIEW": "off"})
    )


class Wire:
    """`agentfs mcp` over stdio, spoken to line by line."""

    def __init__(self, me: Machine, *options: str) -> None:
        self.child = subprocess.Popen(
            [*PROGRAM, "mcp", *options],
            env=me.environment,
            cwd=me.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.watchdog = threading.Timer(150, self.child.kill)
        self.watchdog.start()
        self.number = 0
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.greeting = self.ask("initialize", client)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message: dict[str, Any]) -> None:
        self.child.stdin.write(json.dumps(message) + "\n")
        self.child.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.number += 1
        self.send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        answer = json.loads(self.child.stdout.readline())
        assert answer["id"] == self.number, answer
        result: dict[str, Any] = answer["result"]
        return result

    def memory(self, **arguments: object) -> str:
        result = self.ask("tools/call", {"name": "memory", "arguments": arguments})
        assert not result.get("isError"), result
        text: str = result["content"][0]["text"]
        return text

    def close(self) -> None:
        self.watchdog.cancel()
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait(30)
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@pytest.fixture
def wire(me: Machine) -> Iterator[Wire]:
    made = Wire(me)
    try:
        yield made
    finally:
        made.close()


async def until_seen(client: Any, path: str, text: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while text not in (shown := (await said(client, "memory", command="view", path=path)).text):
        assert time.monotonic() < deadline, shown
        await asyncio.sleep(0.05)


# ---- stdio ----


def test_two_clients_see_each_others_writes(me: Machine, elsewhere: Machine) -> None:
    """Two of one machine at once, one of another machine within seconds."""

    async def talk() -> None:
        async with over_stdio(me) as one, over_stdio(me) as two, over_stdio(elsewhere) as far:
            await memory(one, "create", path="/memories/a.md", file_text="one\n")
            assert "one" in await memory(two, "view", path="/memories/a.md")
            assert (await two.read_resource("agentfs://me/a.md")).contents
            await memory(two, "insert", path="/memories/a.md", insert_line=1, insert_text="two")
            assert "two" in await memory(one, "view", path="/memories/a.md")
            await until_seen(far, "/memories/a.md", "two")
            await memory(far, "str_replace", path="/memories/a.md", old_str="one", new_str="1")
            await until_seen(one, "/memories/a.md", "1\t1")
            done = await said(far, "remember", text="The door code is a secret of the porter.")
            await until_seen(two, done.text.removeprefix("Remembered, in "), "door code")
            assert "secret of the porter" in (await said(two, "recall", query="Who knows the door code?")).text

    asyncio.run(talk())
    with home_of(me) as home:
        assert home.read("a.md") == b"1\ntwo\n"


def test_when_standard_input_ends(me: Machine, elsewhere: Machine, wire: Wire) -> None:
    assert wire.greeting["serverInfo"]["name"] == "agentfs"
    wire.memory(command="create", path="/memories/a.md", file_text="one\n")
    wire.child.stdin.close()
    assert wire.child.wait(30) == 0
    assert wire.child.stdout.read() == ""
    assert wire.child.stderr.read() == ""
    with home_of(elsewhere) as home:
        assert home.read("a.md") == b"one\n"


def test_when_it_is_told_to_end(elsewhere: Machine, wire: Wire) -> None:
    """Although it waits for standard input, which stays open."""
    wire.memory(command="create", path="/memories/a.md", file_text="one\n")
    wire.child.send_signal(signal.SIGTERM)
    assert wire.child.wait(30) == 0
    assert wire.child.stderr.read() == ""
    with home_of(elsewhere) as home:
        assert home.read("a.md") == b"one\n"


def test_killed_it_loses_nothing_that_was_answered(me: Machine, wire: Wire) -> None:
    wire.memory(command="create", path="/memories/a.md", file_text="0\n")
    for number in range(20):
        wire.memory(command="create", path=f"/memories/d/{number}.md", file_text=str(number))
        wire.memory(command="str_replace", path="/memories/a.md", old_str=f"{number}\n", new_str=f"{number + 1}\n")
    wire.child.send_signal(signal.SIGKILL)
    wire.child.wait(30)
    with home_of(me) as home:
        assert home.read("a.md") == b"20\n"
        assert {entry.name: home.read(entry.path) for entry in home.list("d")} == {
            f"{number}.md": str(number).encode() for number in range(20)
        }
    assert me.ok("fsck", "--json").json["findings"] == []


def test_without_the_store(me: Machine) -> None:
    """What this machine has is served, what is written waits."""
    with home_of(me) as home:
        home.write("a.md", "one\n")
    (me.root / "store").rename(me.root / "away")
    me.extra["AGENTFS_TIMEOUT"] = "1s"

    async def talk() -> None:
        async with over_stdio(me) as client:
            assert "one" in await memory(client, "view", path="/memories/a.md")
            await memory(client, "create", path="/memories/b.md", file_text="two\n")

    asyncio.run(talk())
    (me.root / "away").rename(me.root / "store")
    with home_of(me) as home:
        assert home.read("b.md") == b"two\n"


# ---- HTTP ----


def test_over_http(me: Machine, elsewhere: Machine) -> None:
    """Two clients of one server; no web page of a browser, and nobody without the token where there is one."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

    def status(url: str, **headers: str) -> int:
        return httpx2.post(url, json=body, headers=accept | headers, timeout=30).status_code

    async def talk(url: str, **headers: str) -> None:
        async with over_http(url, **headers) as one, over_http(url, mode="legacy", **headers) as two:
            await memory(one, "create", path="/memories/a.md", file_text="one\n")
            assert "one" in await memory(two, "view", path="/memories/a.md")
            assert [it.name for it in (await two.list_resources()).resources] == ["a.md"]

    (me.root / "token").write_text(TOKEN + "\n")
    with serving(me, "--token-file", str(me.root / "token"), "--allow-host", "memory.example") as served:
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert status(served.url) == 401
        assert status(served.url, Authorization=f"Bearer {TOKEN}x") == 401
        assert status(served.url, Authorization=f"Basic {TOKEN}") == 401
        assert status(served.url, **right, Host="evil.example") == 421
        assert status(served.url, **right, Origin="http://evil.example") == 403
        assert status(served.url, **right, Host="memory.example", Origin="https://memory.example") not in (
            401,
            403,
            421,
        )
        asyncio.run(talk(served.url, **right))
        listens = {"Accept": "text/event-stream", **right}
        with httpx2.Client(timeout=30) as client, client.stream("GET", served.url, headers=listens) as listening:
            assert listening.status_code == 200
            assert served.end(signal.SIGINT) == 0
        errors = served.process.stderr.read()
        assert TOKEN not in errors and "Traceback" not in errors
    with home_of(elsewhere) as home:
        assert home.read("a.md") == b"one\n"


def test_what_is_refused_before_anything_is_served(me: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "in use" in me.refused(exits.USAGE, "mcp", "--http", f"127.0.0.1:{port}")
    with home_of(me) as home:
        home.write("a.md", b"one\n")
    assert "not a directory" in me.refused(exits.USAGE, "mcp", "--root", "a.md")


@pytest.mark.parametrize(
    ("options", "token", "wrong"),
    [
        (["--allow-host", "x"], "", "are for --http"),
        (["--http", "localhost"], "", "HOST:PORT"),
        (["--http", "0.0.0.0:0"], "", "bearer token"),
        (["--http", "127.0.0.1:0"], "short", "too short"),
        (["--http", "127.0.0.1:0", "--token-file", "/none"], "", "cannot be read"),
        (["--http", "127.0.0.1:0", "--token-file", "/dev/null"], TOKEN, "is empty"),
    ],
)
def test_options_that_do_not_do(monkeypatch: pytest.MonkeyPatch, options: list[str], token: str, wrong: str) -> None:
    monkeypatch.setenv("AGENTFS_MCP_TOKEN", token)
    with pytest.raises((InvalidArgument, ConfigInvalid, click.UsageError), match=wrong):
        mcp_command.main(["--agent-id", "me", *options], standalone_mode=False)


def test_without_the_extra(me: Machine) -> None:
    """As where only `agentfs-home` is installed: one line that says what to install."""
    code = (
        "import sys\n"
        "for name in ('mcp', 'mcp_types', 'uvicorn', 'starlette', 'anyio', 'pydantic'): sys.modules[name] = None\n"
        "sys.argv = ['agentfs', 'mcp']\n"
        "from agentfs.cli.main import main\n"
        "main()\n"
    )
    done = python(me, code)
    assert (done.returncode, done.stdout) == (exits.FAILED, "")
    assert done.stderr == "agentfs: the MCP server needs the extra mcp: pip install 'agentfs-home[mcp]'\n"
    helped = python(me, code.replace("'mcp']\nfrom", "'mcp', '--help']\nfrom"))
    assert helped.returncode == 0 and "--http" in helped.stdout


# ---- beside mounts ----


@needs_mount
def test_beside_a_mount_of_the_same_machine(me: Machine) -> None:
    place = me.directory()
    me.ok("mount", str(place))

    async def talk() -> None:
        async with over_stdio(me) as client:
            await memory(client, "create", path="/memories/a.md", file_text="one\ntwo\n")
            assert (place / "a.md").read_text() == "one\ntwo\n"
            with open(place / "log.md", "a") as log:  # a program that goes on writing
                log.write("first\n")
                log.flush()
                await memory(client, "str_replace", path="/memories/log.md", old_str="first", new_str="1st")
                log.write("second\n")
            assert (place / "log.md").read_text() == "1st\nsecond\n"
            (place / "a.md").write_text("one\n2\n")
            await memory(client, "str_replace", path="/memories/a.md", old_str="one", new_str="1")
            assert (place / "a.md").read_text() == "1\n2\n"
            await memory(client, "rename", old_path="/memories/a.md", new_path="/memories/b.md")
            assert sorted(os.listdir(place)) == ["b.md", "log.md"]

    asyncio.run(talk())
    me.ok("unmount", str(place))
    assert me.ok("fsck", "--json").json["findings"] == []


@needs_mount
def test_two_agents_edit_one_file(me: Machine, elsewhere: Machine) -> None:
    """One over MCP, one on a mount of another machine, at the same time: all that both wrote is there."""
    lines = [f"line {number}\n" for number in range(40)]
    place = elsewhere.directory()
    note = place / "a.md"

    def theirs() -> None:
        for number in range(4):
            text = note.read_text()
            time.sleep(0.2)  # they think, and then write the whole file
            note.write_text(text.replace(f"line {number}\n", f"line {number} from the mount\n"))

    async def talk(home: Home) -> None:
        async with Client(make_server(home)) as client:
            thread = threading.Thread(target=theirs)
            thread.start()
            for number in range(20, 24):
                old, new = f"line {number}\n", f"line {number} over MCP\n"
                await memory(client, "str_replace", path="/memories/a.md", old_str=old, new_str=new)
                await asyncio.sleep(0.2)
            await asyncio.to_thread(thread.join)

    with home_of(me) as home:
        home.write("a.md", "".join(lines))
        home.sync()
        elsewhere.ok("mount", str(place))
        asyncio.run(talk(home))
        elsewhere.ok("sync")
        home.sync_all()
        elsewhere.ok("sync")
        ends = dict.fromkeys(range(4), " from the mount\n") | dict.fromkeys(range(20, 24), " over MCP\n")
        expected = "".join(line.replace("\n", ends.get(number, "\n")) for number, line in enumerate(lines))
        assert home.read_text("a.md") == expected
        assert note.read_text() == expected
        assert home.conflicts() == []
    elsewhere.ok("unmount", str(place))
