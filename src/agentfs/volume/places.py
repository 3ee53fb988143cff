"""Where things of this machine are, below the state directory.

volumes/home-<id>@<12 hex of the store URL's SHA-256>/      a replica (replica/replica.py)
volumes/space-<id>@<12 hex>.<12 hex of the agent's SHA-256>/ one of a space: each agent has its own
mounts/<16 hex of the mountpoint's SHA-256>.json|.sock|.log  a mount: facts, control socket, log
stores/<12 hex>.json                                        what the probe of a store found
usage.db                                                    what stores were asked (usage/usage_file.py)
merges/<16 hex>/                                            a replica that merges a fork, while it does
"""

import hashlib
import os

from agentfs.errors import AgentIdInvalid
from agentfs.format.layout import VolumeKind, volume_name
from agentfs.model.names import check_id
from agentfs.stores.url import parse_store_url


def store_key(url: str) -> str:
    """A short name for a store: equal for two spellings of one URL. Raises `StoreURLInvalid`."""
    return hashlib.sha256(parse_store_url(url).shown.encode()).hexdigest()[:12]


def replica_directory(
    state_dir: str, kind: VolumeKind, volume_id: str, store_url: str, *, author: str | None = None
) -> str:
    """`author` is the agent who works on a space: commits bear the name of who made them, so agents of one machine do
    not share a replica. Raises `AgentIdInvalid` and `StoreURLInvalid`."""
    name = f"{volume_name(kind, volume_id)}@{store_key(store_url)}"
    if kind == "space":
        if not author:
            raise AgentIdInvalid("a space is opened on behalf of an agent: give its id")
        name += f".{_agent_key(author)}"
    return os.path.join(state_dir, "volumes", name)


def is_replica_of(directory_name: str, agent_id: str) -> bool:
    """Whether a directory below `volumes/` is the agent's home or its copy of a space."""
    if directory_name.startswith("space-"):
        return directory_name.endswith(f".{_agent_key(agent_id)}")
    return directory_name.startswith(f"home-{agent_id}@")


def _agent_key(agent_id: str) -> str:
    """Hashed: two ids and a key are too long for one name."""
    return hashlib.sha256(check_id(agent_id).encode()).hexdigest()[:12]


def merge_directory(state_dir: str, fork: str, into: str, store_url: str) -> str:
    """Where the volume `fork` is merged into the volume `into`."""
    key = hashlib.sha256(f"{fork}/{into}/{store_key(store_url)}".encode()).hexdigest()[:16]
    return os.path.join(state_dir, "merges", key)


def probe_path(state_dir: str, store_url: str) -> str:
    return os.path.join(state_dir, "stores", f"{store_key(store_url)}.json")


def mounts_directory(state_dir: str) -> str:
    return os.path.join(state_dir, "mounts")


def mount_key(mountpoint: str) -> str:
    """A short name for a mountpoint, which must be a real path."""
    return hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:16]
