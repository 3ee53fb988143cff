"""Every backend against the store contract."""

from pathlib import Path

import pytest

from agentfs.errors import BucketNotFound, StoreDenied, StoreError
from agentfs.stores.counted import CountedStore
from agentfs.stores.local import LocalStore
from agentfs.stores.memory import MemoryStore
from agentfs.stores.metering import MeteredStore, unmetered
from agentfs.stores.open import open_store
from agentfs.stores.prefixed import PrefixedStore
from agentfs.stores.protocol import Store
from agentfs.stores.retrying import RetryingStore
from agentfs.testing.azurite import AzureServer
from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.fixtures import new_bucket
from agentfs.testing.servers import S3Server
from agentfs.testing.store_contract import Plant, StoreContract


def planting(server: S3Server, bucket: str, root: str = "") -> Plant:
    """Puts objects with boto3."""
    client = server.client()
    return lambda name, data: client.put_object(Bucket=bucket, Key=root + name, Body=data) and None


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore("contract")

    @pytest.fixture
    def plant(self, store: MemoryStore) -> Plant:
        return store.plant


class TestLocalDirectory(StoreContract):
    keeps_attributes = False
    foreign_names = ("a\nb", "a\x01b", "a\\b", "a\x7f/x", "a\x7f/y\x80", "b\udcff.md")

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(str(tmp_path / "root"))

    @pytest.fixture
    def plant(self, tmp_path: Path) -> Plant:
        def plant(name: str, data: bytes) -> None:
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

        return plant


class TestWrappers(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        self.below = MemoryStore("wrapped")
        return RetryingStore(CountedStore(PrefixedStore(MeteredStore(self.below, unmetered), "a/b")))

    @pytest.fixture
    def plant(self, store: Store) -> Plant:
        return lambda name, data: self.below.plant(f"a/b/{name}", data)


class TestMinistack(StoreContract):
    @pytest.fixture
    def store(self, s3_store: Store) -> Store:
        return s3_store

    @pytest.fixture
    def plant(self, ministack_server: S3Server, bucket: str) -> Plant:
        return planting(ministack_server, bucket, "a/root/")


class TestMinistackThroughTheProxy(StoreContract):
    """The proxy changes nothing that it was not told to change."""

    @pytest.fixture
    def store(self, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy) -> Store:
        url = ministack_server.at(fault_proxy.endpoint).url(bucket)
        return open_store(url, environment=ministack_server.environment())

    @pytest.fixture
    def plant(self, ministack_server: S3Server, bucket: str) -> Plant:
        return planting(ministack_server, bucket)


@pytest.mark.radosgw
class TestRadosgw(StoreContract):
    many = 1100

    @pytest.fixture
    def store(self, radosgw_server: S3Server) -> Store:
        self.bucket = new_bucket(radosgw_server)
        url = radosgw_server.url(self.bucket, "root/ö")
        return open_store(url, environment=radosgw_server.environment())

    @pytest.fixture
    def plant(self, radosgw_server: S3Server, store: Store) -> Plant:
        return planting(radosgw_server, self.bucket, "root/ö/")


class TestAzurite(StoreContract):
    odd_names = tuple(name.replace("\\", "") for name in StoreContract.odd_names if not name.endswith("."))
    foreign_names = ()

    @pytest.fixture
    def store(self, azurite_server: AzureServer) -> Store:
        return open_store(azurite_server.new_container_url("root"), environment=azurite_server.environment())

    @pytest.fixture
    def plant(self, store: Store) -> Plant:
        return lambda name, data: store.put(name, data) and None

    def test_names_that_azure_would_change_are_refused(self, store: Store) -> None:
        for name in ("a\\b", "a./b", "a."):
            with pytest.raises(StoreError, match="cannot hold"):
                store.put(name, b"x")

    def test_errors_say_what_to_set_right(self, store: Store, azurite_server: AzureServer) -> None:
        wrong_key = azurite_server.environment() | {"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="}
        denied = open_store(azurite_server.new_container_url("root"), environment=wrong_key)
        missing = open_store(azurite_server.url("no-such-container"), environment=azurite_server.environment())
        for other, expected in ((denied, StoreDenied), (missing, BucketNotFound)):
            for call in (lambda s: s.get("a"), lambda s: s.put("a", b""), lambda s: s.list("")):
                with pytest.raises(expected):
                    call(other)
