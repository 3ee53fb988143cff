"""Objects below a directory in byte order of their full names, reading only what an answer needs.

The order of full names is not the order of a walk by parts: `a-b` < `a.b` < `a/b` < `ab`. A directory therefore
takes its place as `name/`, and its own object (`.agentfs-self`) as `name`.
"""

import heapq
import os
from collections.abc import Iterable, Iterator
from stat import S_ISDIR, S_ISLNK, S_ISREG

from agentfs.stores.names import is_object_name
from agentfs.stores.protocol import Entry

SELF = ".agentfs-self"
"""The file that holds the object whose name is a directory."""
TEMPORARY = ".agentfs-temporary"
"""The directory in the root for files that are not objects yet."""
_CANDIDATES_MAX = 4096
"""Up to this many entries of a directory a heap finds the first few; beyond, sorting all is as good."""


def walk(root: str, *, prefix: str, after: str, limit: int, foreign: bool = False) -> Iterator[Entry]:
    """Yield the objects under `root` that start with `prefix` and come after `after`, in order.

    `limit` is how many the caller will take: directories are then not sorted further than that.
    A missing directory has no objects. With `foreign`, files are listed whose names no object can have, and symbolic
    links. Raises `OSError`.
    """
    directory = prefix[: prefix.rfind("/") + 1]
    if any(part in ("", ".", "..") for part in directory[:-1].split("/")) and directory:
        return
    yield from _walk_directory(root, directory, prefix, after, limit, foreign=foreign)


def _walk_directory(root: str, base: str, prefix: str, after: str, limit: int, *, foreign: bool) -> Iterator[Entry]:
    """`base` is the directory's name with a slash at the end, or empty for the root."""
    keys = _keys(os.path.join(root, base), base, prefix, after)
    if not foreign:
        keys = (key for key in keys if is_object_name(key.removesuffix("/")))
    for key in _in_order(keys, limit):
        if key.endswith("/"):
            yield from _walk_directory(root, key, prefix, after, limit, foreign=foreign)
            continue
        entry = _entry(root, key, foreign=foreign)
        if entry is not None:
            yield entry


def _keys(path: str, base: str, prefix: str, after: str) -> Iterator[str]:
    """What a directory holds, as full names: `name` for what may be an object, `name/` for a directory."""
    try:
        entries = os.scandir(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if entry.name == SELF or (not base and entry.name == TEMPORARY):
                continue
            name = base + entry.name
            if name > after and name.startswith(prefix):
                yield name
            inside = name + "/"
            # Names inside start with `inside`: skip the directory if all of them come before `after`.
            if not (inside.startswith(prefix) or prefix.startswith(inside)):
                continue
            if (inside > after or after.startswith(inside)) and entry.is_dir(follow_symlinks=False):
                yield inside


def _in_order(keys: Iterable[str], limit: int) -> Iterator[str]:
    """Sorted; the first few of many without sorting all. A vanished file may use up a place: hence the rest."""
    if limit >= _CANDIDATES_MAX:
        yield from sorted(keys)
        return
    everything = list(keys)
    first = heapq.nsmallest(min(2 * limit + 16, len(everything)), everything)
    yield from first
    if len(first) < len(everything):
        last = first[-1]
        yield from sorted(key for key in everything if key > last)


def _entry(root: str, name: str, *, foreign: bool) -> Entry | None:
    """The object `name`, or None if there is none (a directory without an object of its own, a vanished file). A
    symbolic link is something foreign: it is spoken of, and not followed."""
    path = f"{root}/{name}"
    try:
        status = os.lstat(path)
        if S_ISDIR(status.st_mode):
            status = os.lstat(f"{path}/{SELF}")
    except OSError:
        return None
    if not S_ISREG(status.st_mode) and not (foreign and S_ISLNK(status.st_mode)):
        return None
    return Entry(name, status.st_size, status.st_mtime_ns / 1e9, tag_of(status))


def tag_of(status: os.stat_result) -> str:
    """The version of an object's file: another file, another time of modification or another size."""
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
