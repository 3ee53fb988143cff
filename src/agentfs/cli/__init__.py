"""The `agentfs` command."""
