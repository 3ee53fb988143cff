"""Where the index of search is, and which version."""

import os

from agentfs.replica.derived_file import DerivedFile

SCHEMA_VERSION = 4
_CACHE_KIB = 32 * 1024


def index_path(directory: str) -> str:
    """Where the index of the replica in `directory` is."""
    return os.path.join(directory, "memory.db")


def index_file(directory: str, *, counter: str) -> DerivedFile:
    """`counter` names what counts its tokens: an index with another's counts is of another version."""
    return DerivedFile(
        index_path(directory),
        what="the index of search",
        schema="agentfs.memory",
        of={"schema_version": SCHEMA_VERSION, "counter": counter},
        start={"position": 0, "embedder": ""},
        cache_kib=_CACHE_KIB,
    )
