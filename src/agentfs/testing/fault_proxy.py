"""The fault proxy: in a thread of this process (`FaultProxy`), or in its own with a remote control.

`python -m agentfs.testing.fault_proxy --upstream http://127.0.0.1:9000 --latency-ms 12` prints one line of JSON
with `endpoint` and `control`, and runs until its standard input closes or it is ended. A command is
`POST <control>/<method>` with the keyword arguments of that `FaultProxy` method as JSON; the answer is JSON.
"""

import argparse
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agentfs.testing.fault_engine import Fault, FaultProxy, Request

__all__ = ["Fault", "FaultProxy", "RemoteFaultProxy", "Request", "remote_fault_proxy"]

_SECONDS_MAX = 60


def _commands(proxy: FaultProxy) -> dict[str, Callable[..., Any]]:
    return {
        "inject": lambda fault, **options: proxy.inject(Fault(fault), **options),
        "heal": proxy.heal,
        "set_latency": proxy.set_latency,
        "go_down": proxy.go_down,
        "come_up": proxy.come_up,
        "black_hole": proxy.black_hole,
        "requests": lambda: [asdict(request) for request in proxy.requests()],
        "forget_requests": proxy.forget_requests,
        "count": proxy.count,
    }


def _control_server(proxy: FaultProxy, port: int) -> ThreadingHTTPServer:
    commands = _commands(proxy)

    class Control(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arguments = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            try:
                result = commands[self.path.strip("/")](**json.loads(arguments or b"{}"))
                status, answer = 200, json.dumps(result)
            except (KeyError, TypeError, ValueError) as error:
                status, answer = 400, json.dumps(f"{type(error).__name__}: {error}")
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the output is the caller's."""

    return ThreadingHTTPServer(("127.0.0.1", port), Control)


class RemoteFaultProxy:
    """The methods of `FaultProxy`, performed by the process that listens at `control`."""

    def __init__(self, *, endpoint: str, control: str) -> None:
        self.endpoint = endpoint
        self._control = control

    def _ask(self, command: str, **arguments: Any) -> Any:
        request = urllib.request.Request(f"{self._control}/{command}", json.dumps(arguments).encode())
        with urllib.request.urlopen(request, timeout=_SECONDS_MAX) as answer:
            return json.load(answer)

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
        """See `FaultProxy.inject`."""
        options = {"times": times, "probability": probability, "seconds": seconds}
        self._ask("inject", fault=fault.value, method=method, path=path, **options)

    def heal(self) -> None:
        """See `FaultProxy.heal`."""
        self._ask("heal")

    def set_latency(self, latency_ms: float) -> None:
        """See `FaultProxy.set_latency`."""
        self._ask("set_latency", latency_ms=latency_ms)

    def go_down(self) -> None:
        """See `FaultProxy.go_down`."""
        self._ask("go_down")

    def come_up(self) -> None:
        """See `FaultProxy.come_up`."""
        self._ask("come_up")

    def black_hole(self, on: bool = True) -> None:
        """See `FaultProxy.black_hole`."""
        self._ask("black_hole", on=on)

    def requests(self) -> list[Request]:
        """See `FaultProxy.requests`."""
        return [Request(**request) for request in self._ask("requests")]

    def forget_requests(self) -> None:
        """See `FaultProxy.forget_requests`."""
        self._ask("forget_requests")

    def count(self, method: str = "", path: str = "") -> int:
        """See `FaultProxy.count`."""
        return int(self._ask("count", method=method, path=path))


@contextmanager
def remote_fault_proxy(upstream: str, *, latency_ms: float = 0.0, seed: int = 0) -> Iterator[RemoteFaultProxy]:
    """Run the proxy in a process of its own, ended at the end (and if this process dies: its input closes)."""
    command = [sys.executable, "-m", "agentfs.testing.fault_proxy", "--upstream", upstream]
    command += ["--latency-ms", str(latency_ms), "--seed", str(seed)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    try:
        places = json.loads(process.stdout.readline())
        yield RemoteFaultProxy(endpoint=places["endpoint"], control=places["control"])
    finally:
        process.stdin.close()
        try:
            process.wait(_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def main() -> None:
    """The program: see the module's docstring."""
    parser = argparse.ArgumentParser(description="A proxy that delays, breaks and counts requests to an S3 server.")
    parser.add_argument("--upstream", required=True, help="http://host:port of the server")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--control-port", type=int, default=0)
    options = parser.parse_args()
    with (
        FaultProxy(options.upstream, latency_ms=options.latency_ms, seed=options.seed, port=options.port) as proxy,
        _control_server(proxy, options.control_port) as control,
    ):
        threading.Thread(target=control.serve_forever, daemon=True).start()
        places = {"endpoint": proxy.endpoint, "control": f"http://127.0.0.1:{control.server_address[1]}"}
        sys.stdout.write(json.dumps(places) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        control.shutdown()


if __name__ == "__main__":
    main()
