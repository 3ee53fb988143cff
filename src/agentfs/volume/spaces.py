"""Shared spaces: which a store has, and which are attached to a home (docs/spaces.md).

A space is a volume of its own. It exists when its file is on the store (F-14), and it is attached to a home by a
symbolic link in the home's log (F-15): so it is attached on every machine that shows the home, and two machines that
attach spaces at the same time merge as all names do. Nothing can be written below a link: what is meant for a space
can never fall into the home.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from agentfs.clock import Clock, SystemClock
from agentfs.config.settings import Settings
from agentfs.errors import (
    Exists,
    InvalidArgument,
    NotFound,
    ObjectExists,
    OutcomeUnknown,
)
from agentfs.format.layout import SPACES, parse_space_file_name, space_file_name
from agentfs.model.names import check_id, check_name, shown
from agentfs.model.records import Kind
from agentfs.tree.tree import Tree
from agentfs.tree.values import Caller
from agentfs.volume.attached import DIRECTORY, TARGET, Attachment, attachments_in, peek_attachments, space_of
from agentfs.volume.places import replica_directory
from agentfs.volume.volume import EngineMode, Volume

__all__ = ["DIRECTORY", "TARGET", "Attachment", "peek_attachments", "space_of"]

_ROOT = 1
_PAGE = 1000


# ---- on the store ----


@dataclass(frozen=True, slots=True)
class StoredSpace:
    """A space of a store."""

    space: str
    created_at_ns: int
    """By the store's clock."""


def create_space(settings: Settings, space: str, *, agent: str, clock: Clock | None = None) -> None:
    """Make a space; on return it is on the store. Raises `Exists`, `AgentIdInvalid`, and what opening a store
    raises."""
    # What asks the store is imported where it does: opening a home beside an engine takes none of it.
    from agentfs.format.space_file import encode_space_file, new_space_file  # noqa: PLC0415
    from agentfs.volume.gate import pass_gate  # noqa: PLC0415
    from agentfs.volume.opening import opened_store  # noqa: PLC0415

    clock = clock or SystemClock()
    data = encode_space_file(new_space_file(space, agent, clock.wall_ns()))
    store = opened_store(settings, clock=clock)
    pass_gate(store, store_url=settings.store, state_dir=settings.state_dir, clock=clock)
    name = space_file_name(space)
    try:
        store.put(name, data, create_only=True)
    except ObjectExists:
        raise Exists(f"there is a space {space} already: agentfs space attach {space}") from None
    except OutcomeUnknown:
        if store.get(name).data != data:
            raise Exists(f"there is a space {space} already: agentfs space attach {space}") from None


def list_spaces(settings: Settings, *, clock: Clock | None = None) -> Sequence[StoredSpace]:
    """The spaces of the store, by name: one request for each thousand. Raises what asking a store raises."""
    from agentfs.volume.opening import QUICK, opened_store  # noqa: PLC0415 - as above

    store = opened_store(settings, clock=clock or SystemClock(), retry=QUICK)
    found: list[StoredSpace] = []
    after = ""
    while True:
        page = store.list(SPACES, after=after, limit=_PAGE)
        found += [StoredSpace(parse_space_file_name(e.name), int(e.modified_at * 1e9)) for e in page]
        if len(page) < _PAGE:
            return found
        after = page[-1].name


def check_space(settings: Settings, space: str, *, clock: Clock | None = None) -> None:
    """Raises `NotFound` when the store has no such space, `NewerFormat` and `Corrupt` when it may not be used, and
    what asking a store raises."""
    from agentfs.volume.gate import check_space_file  # noqa: PLC0415 - as above
    from agentfs.volume.opening import QUICK, opened_store  # noqa: PLC0415

    check_space_file(opened_store(settings, clock=clock or SystemClock(), retry=QUICK), space)


# ---- open ----


def space_directory(settings: Settings, space: str, agent: str) -> str:
    """The replica of a space that belongs to an agent of this machine."""
    return replica_directory(settings.state_dir, "space", space, settings.store, author=agent)


def is_here(settings: Settings, space: str, agent: str) -> bool:
    """Whether this machine has a copy of the space."""
    return os.path.exists(os.path.join(space_directory(settings, space, agent), "replica.db"))


def open_space(
    settings: Settings,
    space: str,
    *,
    agent: str,
    session_kind: str,
    engine: EngineMode = "thread",
    mountpoint: bytes | None = None,
    clock: Clock | None = None,
) -> Volume:
    """See `Volume.open`. When this machine has no copy of the space yet, the store must be reached and have it (else
    `NotFound`)."""
    if not is_here(settings, space, agent):
        check_space(settings, space, clock=clock)
    return Volume.open(
        settings,
        space,
        kind="space",
        author=agent,
        session_kind=session_kind,
        engine=engine,
        mountpoint=mountpoint,
        clock=clock,
    )


# ---- attached ----


def attachments(home: Volume) -> list[Attachment]:
    """What is attached to a home, by name."""
    with home.replica.lock:
        return attachments_in(home.replica.connection)


def attach(home: Volume, space: str, name: bytes | None = None) -> Attachment:
    """Attach a space to a home at `spaces/<name>` (default: its own name). It survives `kill -9` on return, and is on
    other machines after the next push. Repeating it is harmless.

    Raises `Exists` when something else is there, or the space is attached at another name.
    """
    name = check_name(name if name is not None else check_id(space, what="space name").encode())
    target = TARGET + check_id(space, what="space name").encode()
    tree = home.tree
    for found in attachments(home):
        if found.space == space:
            if found.name == name:
                return found
            raise Exists(f"the space {space} is attached as {found.place} already: detach it there first")
    parent = _directory(tree)
    try:
        tree.symlink(parent, name, target, Caller.process())
    except Exists:
        place = shown(DIRECTORY + b"/" + name)
        raise Exists(f"there is something else at {place}: choose another name with --as") from None
    return Attachment(name, space)


def _directory(tree: Tree) -> int:
    try:
        return tree.mkdir(_ROOT, DIRECTORY, 0o755, Caller.process()).ino
    except Exists:
        found = tree.lookup(_ROOT, DIRECTORY)
    if found.kind is not Kind.DIRECTORY:
        raise InvalidArgument("the home has a file named spaces: rename it, spaces are attached in that directory")
    return found.ino


def detach(home: Volume, which: str | bytes) -> Attachment:
    """Take a space (its name, or the name that it is attached as) out of a home. The space, and this machine's copy
    of it, stay. Raises `NotFound`."""
    wanted = os.fsencode(which)
    found = attachments(home)
    chosen = next((each for each in found if each.name == wanted), None)
    chosen = chosen or next((each for each in found if each.space.encode() == wanted), None)
    if chosen is None:
        raise NotFound(f"no space {shown(wanted)} is attached to this home: see agentfs space list")
    home.tree.unlink(home.tree.lookup(_ROOT, DIRECTORY).ino, chosen.name)
    return chosen
