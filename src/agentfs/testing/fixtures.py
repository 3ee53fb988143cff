"""pytest fixtures for the servers: load with `pytest_plugins = ["agentfs.testing.fixtures"]`.

Servers start once per session, at the first test that asks, and end with the session. A server that is not
installed skips the tests that need it, saying what to install.
"""

import itertools
from collections.abc import Callable, Iterator

import pytest

from agentfs.stores.open import open_store
from agentfs.stores.protocol import Store
from agentfs.stores.retrying import RetryPolicy
from agentfs.testing.azurite import AzureServer, azurite
from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.radosgw import radosgw
from agentfs.testing.servers import S3Server, ServerMissing, ministack, rclone_s3

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def ministack_server() -> Iterator[S3Server]:
    try:
        with ministack() as server:
            yield server
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def radosgw_server() -> Iterator[S3Server]:
    try:
        with radosgw() as server:
            yield server
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[S3Server]:
    try:
        with rclone_s3() as server:
            yield server
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[AzureServer]:
    try:
        with azurite() as server:
            yield server
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def bucket(ministack_server: S3Server) -> str:
    """A new, empty bucket on ministack."""
    return new_bucket(ministack_server)


@pytest.fixture
def s3_store(ministack_server: S3Server, bucket: str) -> Store:
    """A store in a new bucket of ministack, over real HTTP with checked signatures."""
    return open_store(ministack_server.url(bucket, "a/root"), environment=ministack_server.environment())


@pytest.fixture
def fault_proxy(ministack_server: S3Server) -> Iterator[FaultProxy]:
    """A proxy before ministack."""
    with FaultProxy(ministack_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def proxied_store(ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy) -> Callable[..., Store]:
    """Opens stores through `fault_proxy`, with short time-outs; keyword arguments go to `open_store`."""

    def opened(**options: object) -> Store:
        settings: dict[str, object] = {
            "environment": ministack_server.environment(),
            "timeout_seconds": 10.0,
            "retry": RetryPolicy(tries_max=4, budget_seconds=60, delay_seconds_first=0.01),
        }
        url = ministack_server.at(fault_proxy.endpoint).url(bucket, "root")
        return open_store(url, **(settings | options))  # type: ignore[arg-type]

    return opened


def new_bucket(server: S3Server) -> str:
    """Make a bucket with a name of its own."""
    name = f"bucket-{next(_numbers)}"
    server.create_bucket(name)
    return name
