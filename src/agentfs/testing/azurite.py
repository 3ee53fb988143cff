"""Azurite, Microsoft's emulator of Azure Blob Storage: `npm install -g azurite` puts `azurite-blob` on the path."""

import base64
import hashlib
import hmac
import itertools
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate

from agentfs.testing.servers import (
    ServerMissing,
    answers_http,
    await_ready,
    bare_environment,
    free_port,
    start,
    stop,
    temporary_home,
)

_VERSION = "2021-08-06"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class AzureServer:
    """Where it listens, and its account."""

    endpoint: str
    account: str
    key: str

    def url(self, container: str, prefix: str = "") -> str:
        """The store URL of `prefix` in `container`; it carries no secret."""
        path = f"{container}/{prefix}".rstrip("/")
        return f"az://{path}?account={self.account}&endpoint={self.endpoint}/{self.account}"

    def environment(self) -> dict[str, str]:
        return {"AZURE_STORAGE_ACCOUNT_KEY": self.key}

    def new_container_url(self, prefix: str = "") -> str:
        """Make a container with a name of its own; the URL of `prefix` in it."""
        container = f"container-{next(_numbers)}"
        date = formatdate(usegmt=True)
        resource = f"/{self.account}/{self.account}/{container}\nrestype:container"
        signed = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{_VERSION}\n{resource}"
        digest = hmac.new(base64.b64decode(self.key), signed.encode(), hashlib.sha256).digest()
        headers = {
            "x-ms-date": date,
            "x-ms-version": _VERSION,
            "Content-Length": "0",
            "Authorization": f"SharedKey {self.account}:{base64.b64encode(digest).decode()}",
        }
        place = f"{self.endpoint}/{self.account}/{container}?restype=container"
        with urllib.request.urlopen(urllib.request.Request(place, method="PUT", headers=headers)):
            return self.url(container, prefix)


@contextmanager
def azurite() -> Iterator[AzureServer]:
    """A server with one account, its objects in memory. Raises `ServerMissing`."""
    program = shutil.which("azurite-blob")
    if program is None:
        raise ServerMissing("azurite-blob is not installed: npm install -g azurite")
    port = free_port()
    key = base64.b64encode(b"key of an account in tests only").decode()
    server = AzureServer(f"http://127.0.0.1:{port}", "tests", key)
    with temporary_home("azurite") as home:
        log = home / "log"
        command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
        command += ["--skipApiVersionCheck", "--silent", "--disableTelemetry"]
        environment = bare_environment(home) | {"AZURITE_ACCOUNTS": f"{server.account}:{server.key}"}
        process = start(command, log=log, environment=environment)
        try:
            await_ready(lambda: answers_http(server.endpoint), process, log=log, what="azurite")
            yield server
        finally:
            stop(process)
