"""Paths of a home: `/`-separated from its root, as text or bytes. Nothing can lead out of it."""

import os
from collections import deque
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from agentfs.errors import AccessDenied, InvalidArgument, NotADirectory, NotFound
from agentfs.model.names import check_name, shown
from agentfs.model.records import Kind
from agentfs.tree.values import Attributes

Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

ROOT = 1
_SYMLINKS_MAX = 40


class Names(Protocol):
    """What resolving needs of a tree."""

    def lookup(self, parent: int, name: bytes) -> Attributes: ...
    def attributes(self, ino: int) -> Attributes: ...
    def readlink(self, ino: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: the directory, the name in it, and what stands there."""

    parent: int
    name: bytes
    """Empty for the root."""
    attributes: Attributes | None
    """None: the directory is there, the name is free."""


def parts(path: Path) -> tuple[bytes, ...]:
    """The names of a path. A leading `/` means the root of the home. Raises `InvalidArgument` and `NameTooLong`."""
    raw = os.fsencode(path)
    found = tuple(part for part in raw.split(b"/") if part not in (b"", b"."))
    for part in found:
        if part == b"..":
            raise InvalidArgument(f"{shown(raw)}: '..' is not allowed: give the path from the root of the home")
        check_name(part)
    return found


def text(names: tuple[bytes, ...]) -> str:
    """As Python shows file names: bytes that are not UTF-8 become surrogates, and `os.fsencode` turns them back."""
    return os.fsdecode(b"/".join(names))


def resolve(tree: Names, path: Path, *, follow: bool = True) -> Place:
    """Walk to `path`. `follow`: a symbolic link at the end is walked through too.

    Raises `NotFound` (a directory on the way is missing), `NotADirectory`, and `AccessDenied` for a link that
    leads out of the home.
    """
    left = deque(parts(path))
    trail: list[tuple[int, bytes, Attributes]] = []
    links = 0
    while left:
        name = left.popleft()
        if name == b"..":  # from a link's target only
            if not trail:
                raise AccessDenied(f"{shown(os.fsencode(path))}: a symbolic link leads out of the home")
            trail.pop()
            continue
        directory = trail[-1][2] if trail else None
        if directory is not None and directory.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"{_joined(trail)} is not a directory")
        parent = directory.ino if directory else ROOT
        try:
            found = tree.lookup(parent, name)
        except NotFound:
            if left:
                raise NotFound(f"{_joined(trail, name)}: no such directory") from None
            return Place(parent, name, None)
        if found.kind is Kind.SYMLINK and (left or follow):
            links += 1
            left.extendleft(reversed(_target(tree, found, path, links)))
        else:
            trail.append((parent, name, found))
    if not trail:
        return Place(ROOT, b"", tree.attributes(ROOT))
    return Place(*trail[-1])


def _target(tree: Names, link: Attributes, path: Path, links: int) -> list[bytes]:
    if links > _SYMLINKS_MAX:
        raise InvalidArgument(f"{shown(os.fsencode(path))}: too many symbolic links")
    target = tree.readlink(link.ino)
    if target.startswith(b"/"):
        raise AccessDenied(f"{shown(os.fsencode(path))}: the symbolic link to {shown(target)} leads out of the home")
    return [part for part in target.split(b"/") if part not in (b"", b".")]


def existing(tree: Names, path: Path, *, follow: bool = True) -> tuple[Place, Attributes]:
    """As `resolve`, for what must be there. Raises `NotFound`."""
    place = resolve(tree, path, follow=follow)
    if place.attributes is None:
        raise NotFound(f"{shown(os.fsencode(path))}: no such file or directory")
    return place, place.attributes


def _joined(trail: list[tuple[int, bytes, Attributes]], *more: bytes) -> str:
    return shown(b"/".join([name for _, name, _ in trail] + list(more)))
