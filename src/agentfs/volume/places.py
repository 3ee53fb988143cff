"""Where things of this machine are, below the state directory.

volumes/<kind>-<id>@<12 hex of the store URL's SHA-256>/    a replica (replica/replica.py)
mounts/<16 hex of the mountpoint's SHA-256>.json|.sock|.log  a mount: facts, control socket, log
stores/<12 hex>.json                                        what the probe of a store found
"""

import hashlib
import os

from agentfs.format.layout import VolumeKind, volume_name
from agentfs.stores.url import parse_store_url


def store_key(url: str) -> str:
    """A short name for a store: equal for two spellings of one URL. Raises `StoreURLInvalid`."""
    return hashlib.sha256(parse_store_url(url).shown.encode()).hexdigest()[:12]


def replica_directory(state_dir: str, kind: VolumeKind, volume_id: str, store_url: str) -> str:
    """Raises `AgentIdInvalid` and `StoreURLInvalid`."""
    return os.path.join(state_dir, "volumes", f"{volume_name(kind, volume_id)}@{store_key(store_url)}")


def probe_path(state_dir: str, store_url: str) -> str:
    return os.path.join(state_dir, "stores", f"{store_key(store_url)}.json")


def mounts_directory(state_dir: str) -> str:
    return os.path.join(state_dir, "mounts")


def mount_key(mountpoint: str) -> str:
    """A short name for a mountpoint, which must be a real path."""
    return hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:16]
