"""AgentFS: a home directory for AI agents."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentfs.sdk.asynchronous import AsyncHome
    from agentfs.sdk.home import Home

__all__ = ["AsyncHome", "Home"]

_LAZY = {"Home": "agentfs.sdk.home", "AsyncHome": "agentfs.sdk.asynchronous"}


def __getattr__(name: str) -> object:
    """`Home` and `AsyncHome`, imported when first used: `import agentfs.errors` must not cost SQLite and a store."""
    if name in _LAZY:
        import importlib  # noqa: PLC0415

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'agentfs' has no attribute {name!r}")
