"""A small tree that changes at random, the commits that say so, and its history read off whole trees: slow and plain,
to judge the index by."""

import hashlib
from dataclasses import dataclass, field

from hypothesis import strategies as st

from agentfs.model.records import (
    ROOT_ID,
    Commit,
    InlineContent,
    InodeId,
    InodeRecord,
    Kind,
    Link,
    Unlink,
    inode_id,
)

NAMES = (b"a", b"b", b"c")
Path = tuple[bytes, ...]


@dataclass(frozen=True)
class Thing:
    """An inode, as far as histories tell them apart."""

    kind: Kind
    content: bytes
    mode: int

    @property
    def state(self) -> tuple[Kind, bytes]:
        return self.kind, self.content


@dataclass
class World:
    """One tree: inodes and names. The numbers of inodes are the log's."""

    things: dict[InodeId, Thing] = field(default_factory=lambda: {ROOT_ID: Thing(Kind.DIRECTORY, b"", 0o755)})
    names: dict[tuple[InodeId, bytes], InodeId] = field(default_factory=dict)

    def copy(self) -> "World":
        return World(dict(self.things), dict(self.names))

    def lookup(self, path: Path) -> InodeId | None:
        inode: InodeId | None = ROOT_ID
        for name in path:
            inode = self.names.get((inode, name)) if inode is not None else None
        return inode

    def places(self, inode: InodeId) -> list[tuple[InodeId, bytes]]:
        return sorted(place for place, child in self.names.items() if child == inode)

    def path(self, inode: InodeId) -> Path | None:
        names: list[bytes] = []
        while inode != ROOT_ID:
            places = self.places(inode)
            if not places:
                return None
            inode, name = places[0]
            names.insert(0, name)
        return tuple(names)

    def directories(self) -> list[InodeId]:
        return sorted(inode for inode, thing in self.things.items() if thing.kind is Kind.DIRECTORY)

    def clean(self) -> None:
        """What no name means is gone, and with a directory its names."""
        while True:
            named = {*self.names.values(), ROOT_ID}
            gone = [inode for inode in self.things if inode not in named]
            if not gone:
                return
            for inode in gone:
                del self.things[inode]
            self.names = {place: child for place, child in self.names.items() if place[0] in self.things}

    def is_below(self, inode: InodeId, above: InodeId) -> bool:
        while inode != ROOT_ID:
            if inode == above:
                return True
            inode = self.places(inode)[0][0]
        return False


def commit_between(before: World, after: World, sequence: int, parent: bytes) -> tuple[Commit, bytes]:
    """What leads from one tree to the other, as the engine says it: nothing of names inside a directory that goes."""
    records = [
        InodeRecord(
            inode, thing.kind, thing.mode, 0, 0, sequence, sequence, sequence,
            target=thing.content if thing.kind is Kind.SYMLINK else b"",
            content=content_of(thing, sequence),
        )
        for inode, thing in after.things.items()
        if before.things.get(inode) != thing
    ]  # fmt: skip
    unlinks = [
        Unlink(*place)
        for place in before.names
        if place not in after.names and place[0] in after.things
    ]  # fmt: skip
    links = [Link(*place, child) for place, child in after.names.items() if before.names.get(place) != child]
    digest = hashlib.sha256(b"%d" % sequence).digest()
    commit = Commit(
        "home-x", sequence, bytes(16), parent, sequence * 1000, f"agent{sequence % 2}", "r",
        tuple(records), tuple(unlinks), tuple(links),
    )  # fmt: skip
    return commit, digest


def content_of(thing: Thing, sequence: int) -> InlineContent | None:
    if thing.kind is not Kind.FILE:
        return None
    return InlineContent(len(thing.content), hashlib.sha256(thing.content).digest(), sequence, 100)


@dataclass
class History:
    """Trees after commits 0 to n, and the commits."""

    trees: list[World] = field(default_factory=lambda: [World()])
    commits: list[tuple[Commit, bytes]] = field(default_factory=list)

    def add(self, after: World) -> None:
        after.clean()
        parent = self.commits[-1][1] if self.commits else bytes(32)
        self.commits.append(commit_between(self.trees[-1], after, len(self.trees), parent))
        self.trees.append(after)


_CONTENTS = st.sampled_from((b"", b"1", b"22", b"333"))


@st.composite
def histories(draw: st.DrawFn, *, commits_max: int = 14) -> History:
    """A history in which names are taken, moved, replaced and freed all the time."""
    history = History()
    for _ in range(draw(st.integers(1, commits_max))):
        after = history.trees[-1].copy()
        made = 0
        for _ in range(draw(st.integers(1, 3))):
            made = _step(draw, after, len(history.trees), made)
        history.add(after)
    return history


def _step(draw: st.DrawFn, tree: World, sequence: int, made: int) -> int:
    place = (draw(st.sampled_from(tree.directories())), draw(st.sampled_from(NAMES)))
    what = draw(
        st.sampled_from(("create", "create", "mkdir", "write", "write", "mode", "move", "move", "link", "rm"))
    )
    there = tree.names.get(place)
    others = sorted(tree.names)
    if what in ("create", "mkdir"):
        inode = inode_id(sequence, made)
        kind = Kind.DIRECTORY if what == "mkdir" else draw(st.sampled_from((Kind.FILE, Kind.FILE, Kind.SYMLINK)))
        content = b"" if kind is Kind.DIRECTORY else draw(_CONTENTS)
        tree.things[inode] = Thing(kind, content or (b"t" if kind is Kind.SYMLINK else b""), 0o644)
        tree.names[place] = inode
        made += 1
    elif what == "write" and there is not None and tree.things[there].kind is Kind.FILE:
        tree.things[there] = Thing(Kind.FILE, draw(_CONTENTS), tree.things[there].mode)
    elif what == "mode" and there is not None:
        thing = tree.things[there]
        tree.things[there] = Thing(thing.kind, thing.content, draw(st.sampled_from((0o600, 0o644))))
    elif what in ("move", "link") and others:
        source = draw(st.sampled_from(others))
        inode = tree.names[source]
        is_directory = tree.things[inode].kind is Kind.DIRECTORY
        if source != place and not (is_directory and (what == "link" or tree.is_below(place[0], inode))):
            tree.names[place] = inode
            if what == "move":
                del tree.names[source]
    elif what == "rm":
        tree.names.pop(place, None)
    tree.clean()
    return made


@dataclass(frozen=True)
class Line:
    """One event of a path, as the naive reader sees it."""

    what: str
    sequence: int
    path: Path
    other: Path | None
    state: tuple[Kind, bytes]


def naive_events(history: History, path: Path) -> list[Line]:
    """The history of `path`, oldest first, by comparing whole trees."""
    found: list[Line] = []
    for at in range(len(history.trees) - 1, 0, -1):
        now, before = history.trees[at], history.trees[at - 1]
        here, was = now.lookup(path), before.lookup(path)
        if here is None:
            if was is not None:
                places = now.places(was)
                places.sort(key=lambda it: before.names.get(it) == was)
                lives = None if not places else (*_path(now, places[0][0]), places[0][1])
                found.append(Line("deleted", at, path, lives, before.things[was].state))
            continue
        state = now.things[here].state
        if was is not None:
            if before.things[was].state != state:
                found.append(Line("changed", at, path, None, state))
        elif here not in before.things:
            found.append(Line("created", at, path, None, state))
        else:
            directory = now.lookup(path[:-1])
            places = before.places(here)
            places.sort(key=lambda it: (it != (directory, path[-1]), now.names.get(it) == here))
            old = (*_path(before, places[0][0]), places[0][1])
            found.append(Line("renamed", at, path, old, state))
            path = old
    return found[::-1]


def _path(tree: World, inode: InodeId) -> Path:
    path = tree.path(inode)
    assert path is not None
    return path
