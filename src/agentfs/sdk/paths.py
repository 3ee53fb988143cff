"""Paths of a home: `/`-separated from its root, as text or bytes. Nothing can lead out of it."""

import os
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from agentfs.errors import AccessDenied, InvalidArgument, NotADirectory, NotFound
from agentfs.model.names import check_name, shown
from agentfs.model.records import Kind
from agentfs.sdk.volumes import Volumes
from agentfs.tree.tree import Tree
from agentfs.tree.values import Attributes
from agentfs.volume.volume import Volume

Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

ROOT = 1
_SYMLINKS_MAX = 40


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: the volume, the directory, the name in it, and what stands there."""

    volume: Volume
    parent: int
    name: bytes
    """Empty for the root, of the home or of a space."""
    attributes: Attributes | None
    """None: the directory is there, the name is free."""

    @property
    def tree(self) -> Tree:
        return self.volume.tree


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


def resolve(volumes: Volumes, path: Path, *, follow: bool = True) -> Place:
    """Walk to `path`, through spaces that are attached. `follow`: a symbolic link at the end is walked through too.

    Raises `NotFound` (a directory on the way is missing), `NotADirectory`, `AccessDenied` for a link that leads out
    of the home, and what opening a space raises.
    """
    left = deque(parts(path))
    trail: list[_Step] = []
    links = 0
    while left:
        name = left.popleft()
        if name == b"..":  # from a link's target only
            if not trail:
                raise AccessDenied(f"{shown(os.fsencode(path))}: a symbolic link leads out of the home")
            trail.pop()
            continue
        volume, directory = (trail[-1].place.volume, trail[-1].found) if trail else (volumes.home, None)
        if directory is not None and directory.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"{_joined(trail)} is not a directory")
        parent = directory.ino if directory else ROOT
        try:
            found = volume.tree.lookup(parent, name)
        except NotFound:
            if left:
                raise NotFound(f"{_joined(trail, name)}: no such directory") from None
            return Place(volume, parent, name, None)
        if (space := volumes.space_at(volume, parent, found)) is not None:
            trail.append(_Step(name, _root(volumes.enter(space))))
        elif found.kind is Kind.SYMLINK and (left or follow):
            links += 1
            left.extendleft(reversed(_target(volume.tree, found, path, links)))
        else:
            trail.append(_Step(name, Place(volume, parent, name, found)))
    return trail[-1].place if trail else _root(volumes.home)


@dataclass(frozen=True, slots=True)
class _Step:
    name: bytes
    """As the path has it."""
    place: Place

    @property
    def found(self) -> Attributes:
        assert self.place.attributes is not None
        return self.place.attributes


def _root(volume: Volume) -> Place:
    return Place(volume, ROOT, b"", volume.tree.attributes(ROOT))


def _target(tree: Tree, link: Attributes, path: Path, links: int) -> list[bytes]:
    if links > _SYMLINKS_MAX:
        raise InvalidArgument(f"{shown(os.fsencode(path))}: too many symbolic links")
    target = tree.readlink(link.ino)
    if target.startswith(b"/"):
        raise AccessDenied(f"{shown(os.fsencode(path))}: the symbolic link to {shown(target)} leads out of the home")
    return [part for part in target.split(b"/") if part not in (b"", b".")]


def existing(volumes: Volumes, path: Path, *, follow: bool = True) -> tuple[Place, Attributes]:
    """As `resolve`, for what must be there. Raises `NotFound`."""
    place = resolve(volumes, path, follow=follow)
    if place.attributes is None:
        raise NotFound(f"{shown(os.fsencode(path))}: no such file or directory")
    return place, place.attributes


def _joined(trail: list[_Step], *more: bytes) -> str:
    return shown(b"/".join([step.name for step in trail] + list(more)))
