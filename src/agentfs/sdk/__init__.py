"""The Python API that people import: `from agentfs import Home, AsyncHome`."""
