"""Servers and proxies for all tests; cases of the suites in `agentfs.testing` show their values when they fail."""

import pytest

for _topic in ("attributes", "binding", "bytes", "directories", "names", "programs"):
    pytest.register_assert_rewrite(f"agentfs.testing.file_behaviour_{_topic}")
pytest.register_assert_rewrite("agentfs.testing.store_contract")

pytest_plugins = ["agentfs.testing.fixtures"]
