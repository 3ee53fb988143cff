pytest_plugins = ["agentfs.testing.fixtures"]
