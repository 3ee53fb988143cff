"""What tests of AgentFS and of its extensions are made of: contract suites, real servers, faults."""
