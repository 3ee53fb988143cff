"""Every backend against the store contract."""

from pathlib import Path

import pytest

from agentfs.stores.counted import CountedStore
from agentfs.stores.local import LocalStore
from agentfs.stores.memory import MemoryStore
from agentfs.stores.open import open_store
from agentfs.stores.prefixed import PrefixedStore
from agentfs.stores.protocol import Store
from agentfs.stores.retrying import RetryingStore
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
