"""A store in memory that speaks enough of S3 for `open_store`, with a latency of its own, and cheap: what is measured
with many clients on few processors is the clients.

`python -m bench.near_store --latency-ms 25` prints one line of JSON with its endpoint, and runs until its standard
input closes. A request takes effect halfway through its latency, as on a store that is far away, and many are under
way at once. `GET /-/facts` tells what was asked, `POST /-/forget` begins anew.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_WHEN = "Sat, 01 Jan 2028 00:00:00 GMT"
_WHEN_LISTED = "2028-01-01T00:00:00.000Z"


@dataclass(slots=True)
class Objects:
    """Everything that is stored, and what was asked."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    bytes_put: dict[str, int] = field(default_factory=dict)

    def answer(self, method: str, target: str, headers: dict[bytes, bytes], body: bytes) -> tuple[str, str, bytes]:
        """Status, further headers, body."""
        parts = urlsplit(target)
        name, query = unquote(parts.path), parse_qs(parts.query)
        kind = f"{'LIST' if 'list-type' in query else method}{' log' if '/log/' in name else ''}"
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if "list-type" in query:
            return "200 OK", "", self._listed(name, query)
        if method == "PUT":
            self.bytes_put[kind] = self.bytes_put.get(kind, 0) + len(body)
            if headers.get(b"if-none-match") == b"*" and name in self.bodies:
                return "412 Precondition Failed", "", _error("PreconditionFailed")
            if name not in self.bodies:
                insort(self.names, name)
            self.bodies[name] = body
            return "200 OK", f"{_tag(body)}", b""
        if method == "DELETE":
            if self.bodies.pop(name, None) is not None:
                del self.names[bisect_left(self.names, name)]
            return "204 No Content", "", b""
        found = self.bodies.get(name)
        if found is None:
            return "404 Not Found", "", _error("NoSuchKey")
        facts = f"{_tag(found)}Last-Modified: {_WHEN}\r\n"
        asked = headers.get(b"range")
        if asked is None:
            return "200 OK", facts, found
        first, _, last = asked.decode().removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last) + 1 if last else len(found), len(found))
        return (
            "206 Partial Content",
            f"{facts}Content-Range: bytes {start}-{stop - 1}/{len(found)}\r\n",
            found[start:stop],
        )

    def _listed(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        base = bucket.rstrip("/") + "/"
        prefix = base + query.get("prefix", [""])[0]
        after = query.get("start-after", query.get("continuation-token", [""]))[0]
        limit = int(query.get("max-keys", ["1000"])[0])
        first = max(bisect_left(self.names, prefix), bisect_right(self.names, base + after) if after else 0)
        found = [name for name in self.names[first : first + limit] if name.startswith(prefix)]
        more = len(found) == limit
        items = "".join(
            f"<Contents><Key>{escape(name[len(base) :])}</Key><LastModified>{_WHEN_LISTED}</LastModified>"
            f'<ETag>"0"</ETag><Size>{len(self.bodies[name])}</Size></Contents>'
            for name in found
        )
        token = f"<NextContinuationToken>{escape(found[-1][len(base) :])}</NextContinuationToken>" if more else ""
        text = (
            f"<ListBucketResult><Name>b</Name><KeyCount>{len(found)}</KeyCount><MaxKeys>{limit}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>"
        )
        return text.encode()


def _tag(body: bytes) -> str:
    return f'ETag: "{md5(body, usedforsecurity=False).hexdigest()}"\r\n'


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


class Connection(asyncio.Protocol):
    """One client connection: requests one after the other."""

    def __init__(self, objects: Objects, latency_s: float) -> None:
        self._objects, self._half = objects, latency_s / 2
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).split(b"\r\n")
        headers = {
            key.strip().lower(): value.strip() for key, _, value in (line.partition(b":") for line in head[1:])
        }
        length = int(headers.get(b"content-length", b"0"))
        if len(self._buffer) < end + 4 + length:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        method, target, _ = head[0].decode("latin-1").split(" ", 2)
        if target.startswith("/-/"):
            self._control(target)
            return
        loop = asyncio.get_running_loop()
        loop.call_later(self._half, self._arrived, method, target, headers, body)

    def _control(self, target: str) -> None:
        objects = self._objects
        facts = json.dumps({"counts": objects.counts, "bytes": objects.bytes_put}).encode()
        if target == "/-/forget":
            objects.counts.clear()
            objects.bytes_put.clear()
        self._send("GET", "200 OK", "", facts)

    def _arrived(self, method: str, target: str, headers: dict[bytes, bytes], body: bytes) -> None:
        answer = self._objects.answer(method, target, headers, body)
        asyncio.get_running_loop().call_later(self._half, self._send, method, *answer)

    def _send(self, method: str, status: str, headers: str, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode()
        self._transport.write(head + (b"" if method == "HEAD" else body))


class NearStore:
    """The store in its own process, seen from here."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def _ask(self, path: str, *, data: bytes | None = None) -> Any:
        with urllib.request.urlopen(urllib.request.Request(self.endpoint + path, data), timeout=10) as answer:
            return json.load(answer)

    def facts(self) -> dict[str, dict[str, int]]:
        """`counts` of requests by kind (`PUT log`, `GET log`, `LIST`, …) and `bytes` put, since `forget`."""
        found: dict[str, dict[str, int]] = self._ask("/-/facts")
        return found

    def forget(self) -> None:
        self._ask("/-/forget", data=b"")


@contextmanager
def near_store(latency_ms: float) -> Iterator[NearStore]:
    """Ended at the end, and when this process dies: its input closes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.near_store", "--latency-ms", str(latency_ms)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield NearStore(json.loads(process.stdout.readline())["endpoint"])
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


async def _serve(latency_ms: float) -> None:
    objects, loop = Objects(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(objects, latency_ms / 1000), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(json.dumps({"endpoint": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="An S3 store in memory, so many milliseconds away.")
    parser.add_argument("--latency-ms", type=float, default=25.0)
    asyncio.run(_serve(parser.parse_args().latency_ms))


if __name__ == "__main__":
    main()
