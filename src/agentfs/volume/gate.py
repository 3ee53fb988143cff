"""The gate of a store: `store.json` is checked before anything else is read, and written by who comes first."""

import json
import os

from agentfs.clock import Clock
from agentfs.errors import (
    NotFound,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreDenied,
    StoreUnavailable,
    StoreUnsafe,
)
from agentfs.format.layout import STORE_FILE, space_file_name
from agentfs.format.space_file import decode_space_file
from agentfs.format.store_file import StoreFile, decode_store_file, encode_store_file, new_store_file
from agentfs.stores.probe import ProbeReport, probe
from agentfs.stores.protocol import Store
from agentfs.volume.logs import private_file
from agentfs.volume.places import probe_path


def pass_gate(store: Store, *, store_url: str, state_dir: str, clock: Clock, may_create: bool = True) -> StoreFile:
    """The store's facts. An empty root is probed with racing puts and becomes a store; where it must not
    (`may_create` false: there was one) `StoreUnavailable` is raised.

    Raises `NewerFormat`, `Corrupt`, `StoreUnsafe` (the probe failed, now or before), `StoreUnavailable`,
    `StoreDenied`, `BucketNotFound`.
    """
    found = _read(store)
    if found is not None:
        return found
    if not may_create:
        raise StoreUnavailable(
            f"{store.url} is empty, but this machine has a copy of a home in it: is the disk mounted, is the address "
            "right?"
        )
    probed(store, store_url=store_url, state_dir=state_dir, clock=clock).raise_for_status()
    data = encode_store_file(new_store_file(clock.wall_ns()))
    try:
        store.put(STORE_FILE, data, create_only=True)
    except (ObjectExists, OutcomeUnknown):
        pass  # somebody's stands there, perhaps ours: what stands there counts
    except StoreDenied as error:
        raise StoreDenied(f"{store.url} is empty and may not be written to, so no home can be made there") from error
    found = _read(store)
    if found is None:
        raise StoreUnsafe(f"{store.url}: an object that was just written cannot be read back")
    return found


def check_space_file(store: Store, space: str) -> None:
    """Raises `NotFound` when the store has no such space, `NewerFormat` and `Corrupt` when it may not be used."""
    try:
        decode_space_file(store.get(space_file_name(space)).data, space=space)
    except ObjectNotFound:
        raise NotFound(f"there is no space {space} in this store: agentfs space create {space}") from None


def _read(store: Store) -> StoreFile | None:
    try:
        return decode_store_file(store.get(STORE_FILE).data)
    except ObjectNotFound:
        return None


def probed(store: Store, *, store_url: str, state_dir: str, clock: Clock) -> ProbeReport:
    """Probe the store now and remember the result on this machine."""
    report = probe(store)
    facts = {
        "store": store.url,
        "safe": report.safe,
        "probed_at_ns": clock.wall_ns(),
        "checks": [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in report.checks],
    }
    path = probe_path(state_dir, store_url)
    with open(private_file(f"{path}.new"), "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=2)
    os.rename(f"{path}.new", path)
    return report


def remembered(store_url: str, state_dir: str) -> dict[str, object] | None:
    """What the last probe of this store by this machine found; None when there was none."""
    try:
        with open(probe_path(state_dir, store_url), encoding="utf-8") as file:
            facts = json.load(file)
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None
