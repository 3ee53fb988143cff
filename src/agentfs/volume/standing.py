"""Whether a file says of itself that it is to stay: pinned, or a standing instruction."""

import os

from agentfs.merge.forms import may_have_frontmatter
from agentfs.replica.replica import Replica
from agentfs.tree.tree import Tree
from agentfs.volume.reading import open_resident

_HEAD_BYTES = 256 * 1024
"""More than a frontmatter may be long."""


def is_standing(tree: Tree, replica: Replica, ino: int, path: bytes, mtime_ns: int) -> bool:
    """By its attributes, and by its frontmatter if it can have one: then its bytes are fetched, where they are not
    here. Raises `Unavailable`, `NotFound`."""
    from agentfs.memory.facts import XATTR_PREFIX, facts_of, front  # noqa: PLC0415 - only who applies rules needs it

    name = path.rpartition(b"/")[2]
    with replica.lock:
        rows = replica.connection.rows("SELECT name, value FROM xattr WHERE ino=?", (ino,))
    xattrs = {bytes(key): bytes(value) for key, value in rows if key.startswith(XATTR_PREFIX)}
    yaml = ""
    if may_have_frontmatter(name):
        handle = open_resident(tree, ino, os.O_RDONLY, direct=True)
        try:
            head = os.pread(handle.fd, _HEAD_BYTES, 0)
        finally:
            tree.release(handle)
        yaml = front(name, head.decode("utf-8", "surrogateescape"))[0]
    facts = facts_of(name, yaml, xattrs, mtime_ns=mtime_ns)
    return facts.pinned or facts.type.lower() == "instruction"
