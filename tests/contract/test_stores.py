"""Every backend against the store contract."""

from pathlib import Path

import pytest

from agentfs.errors import BucketNotFound, StoreDenied, StoreError
from agentfs.stores.counted import CountedStore
from agentfs.stores.local import LocalStore
from agentfs.stores.memory import MemoryStore
from agentfs.stores.open import open_store
from agentfs.stores.prefixed import PrefixedStore
from agentfs.stores.protocol import Store
from agentfs.stores.retrying import RetryingStore
from agentfs.testing.azurite import AzureServer
from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.fixtures import new_bucket
from agentfs.testing.servers import S3Server
from agentfs.testing.store_contract import StoreContract


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore("contract")


class TestLocalDirectory(StoreContract):
    keeps_attributes = False

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(str(tmp_path / "root"))


class TestWrappers(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return RetryingStore(CountedStore(PrefixedStore(MemoryStore("wrapped"), "a/b")))


class TestMinistack(StoreContract):
    @pytest.fixture
    def store(self, s3_store: Store) -> Store:
        return s3_store


class TestMinistackThroughTheProxy(StoreContract):
    """The proxy changes nothing that it was not told to change."""

    @pytest.fixture
    def store(self, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy) -> Store:
        url = ministack_server.at(fault_proxy.endpoint).url(bucket)
        return open_store(url, environment=ministack_server.environment())


@pytest.mark.radosgw
class TestRadosgw(StoreContract):
    @pytest.fixture
    def store(self, radosgw_server: S3Server) -> Store:
        url = radosgw_server.url(new_bucket(radosgw_server), "root")
        return open_store(url, environment=radosgw_server.environment())


class TestAzurite(StoreContract):
    odd_names = tuple(name.replace("\\", "") for name in StoreContract.odd_names if not name.endswith("."))

    @pytest.fixture
    def store(self, azurite_server: AzureServer) -> Store:
        return open_store(azurite_server.new_container_url("root"), environment=azurite_server.environment())

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
