"""What a request is for, as far as the name of its object tells: a volume, and a purpose."""

from typing import Final

from agentfs.format.layout import VOLUMES

PURPOSES: Final = ("log", "blobs", "packs", "snapshots", "upkeep", "view", "store")
"""`upkeep` is what else a volume has (pins, policies, announcements, its clock), `store` what belongs to no volume:
the store's own file, the files of spaces, probes."""
STORE_ITSELF: Final = ""
"""The volume of what belongs to none."""
VIEW_ROOTS: Final = {"agents/": "home", "spaces/": "space"}
_PARTS: Final = frozenset(("log", "blobs", "packs", "snapshots"))


def purpose_of(name: str) -> tuple[str, str]:
    """Volume and purpose of an object's name, or of the prefix of a listing."""
    if name.startswith(VOLUMES):
        volume, _, rest = name[len(VOLUMES) :].partition("/")
        part = rest.partition("/")[0]
        return (volume, part if part in _PARTS else "upkeep") if volume else (STORE_ITSELF, "store")
    for root, kind in VIEW_ROOTS.items():
        if name.startswith(root):
            volume_id = name[len(root) :].partition("/")[0]
            return (f"{kind}-{volume_id}" if volume_id else STORE_ITSELF), "view"
    return STORE_ITSELF, "store"


def prefixes_of(volume: str) -> tuple[str, str]:
    """Under which names a volume has everything but its view, and its view."""
    kind, _, volume_id = volume.partition("-")
    root = next(root for root, its in VIEW_ROOTS.items() if its == kind)
    return f"{VOLUMES}{volume}/", f"{root}{volume_id}/"
