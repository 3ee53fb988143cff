"""`.agentfs/store.json`: what says that a store root is AgentFS's, and which version may use it (F-12).

Written once, create-only, by whoever opens an empty root first; never changed after that.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from agentfs.errors import Corrupt, NewerFormat
from agentfs.format.fields import integer, required, text
from agentfs.format.framing import FORMAT_VERSION, check_features

STORE_FILE_BYTES_MAX = 64 * 1024
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")


@dataclass(frozen=True, slots=True)
class StoreFile:
    """Facts about a store root."""

    format_version: int
    created: str
    """When, for people: `2026-01-31T12:00:00Z`, by the clock of the machine that created it."""
    requires: tuple[str, ...] = ()
    """Features without which the store must not be opened."""


def new_store_file(created_ns: int) -> StoreFile:
    """For a root that is created at `created_ns` (nanoseconds since 1970). It requires nothing: the objects that need
    a feature say so themselves."""
    return StoreFile(FORMAT_VERSION, shown_time(created_ns))


def shown_time(time_ns: int) -> str:
    """Nanoseconds since 1970 as `TIME` has it."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode_store_file(store: StoreFile) -> bytes:
    """JSON for people and programs, one line per fact. Deterministic."""
    fields = {
        "agentfs": "store",
        "format": store.format_version,
        "created": store.created,
        "requires": list(store.requires),
    }
    return json.dumps(fields, indent=2).encode() + b"\n"


def decode_store_file(data: bytes) -> StoreFile:
    """Raises `NewerFormat` if this version must not touch the store, `Corrupt` if it is not a store file."""
    try:
        return _store_file(data)
    except NewerFormat as error:
        raise NewerFormat(f"this store cannot be opened: {error}") from error
    except Corrupt as error:
        raise Corrupt(f".agentfs/store.json is damaged: {error}") from error


def _store_file(data: bytes) -> StoreFile:
    if len(data) > STORE_FILE_BYTES_MAX:
        raise Corrupt(f"it is longer than {STORE_FILE_BYTES_MAX} bytes")
    try:
        header = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Corrupt("it is not JSON") from error
    if type(header) is not dict or header.get("agentfs") != "store":
        raise Corrupt("it is not an AgentFS store file")
    version = integer(required(header, "format"), "'format'", low=1, high=1 << 31)
    if version > FORMAT_VERSION:
        raise NewerFormat(
            f"it has format version {version}; this AgentFS reads up to {FORMAT_VERSION}: upgrade AgentFS"
        )
    requires = header.get("requires", [])
    check_features(requires)
    created = text(required(header, "created"), "'created'", bytes_max=64)
    if not TIME.match(created):
        raise Corrupt("'created' is not a time")
    return StoreFile(version, created, tuple(requires))
