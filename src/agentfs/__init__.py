"""AgentFS: a home directory for AI agents."""
