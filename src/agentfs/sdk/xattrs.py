"""What belongs to a file besides its bytes, as curation, export and import want it: xattrs, times, the mode."""

import contextlib
import json
from collections.abc import Mapping

from agentfs.errors import NoAttribute, NotFound
from agentfs.memory.facts import XATTR_PREFIX
from agentfs.sdk.file_home import FileHome
from agentfs.sdk.paths import Path, existing
from agentfs.tree.values import AttributeChange

_USER = b"user."


def xattrs_of(home: FileHome, path: Path) -> Mapping[bytes, bytes]:
    """The `user.*` attributes of a file."""
    place, attributes = existing(home._volumes, path)
    found = {}
    for name in place.tree.list_xattrs(attributes.ino):
        if name.startswith(_USER):
            with contextlib.suppress(NoAttribute):  # removed meanwhile
                found[name] = place.tree.get_xattr(attributes.ino, name)
    return found


def set_xattrs(home: FileHome, path: Path, values: Mapping[bytes, bytes]) -> None:
    if not values:
        return
    place, attributes = existing(home._volumes, path)
    for name, value in values.items():
        place.tree.set_xattr(attributes.ino, name, value, 0)


def set_facts(home: FileHome, path: Path, facts: Mapping[str, object]) -> None:
    """Facts of a file that has no frontmatter, as xattrs; None removes one."""
    if not facts:
        return
    place, attributes = existing(home._volumes, path)
    for key, value in facts.items():
        name = XATTR_PREFIX + key.encode()
        if value is None:
            with contextlib.suppress(NoAttribute):
                place.tree.remove_xattr(attributes.ino, name)
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            place.tree.set_xattr(attributes.ino, name, text.encode(), 0)


def set_attributes(home: FileHome, path: Path, *, mtime_ns: int | None = None, mode: int | None = None) -> None:
    """Nothing happens when the file went away meanwhile."""
    with contextlib.suppress(NotFound):
        place, attributes = existing(home._volumes, path)
        place.tree.set_attributes(attributes.ino, AttributeChange(mtime_ns=mtime_ns, mode=mode))
