"""What is to be put and deleted, so that the view shows what the log has: a comparison, pure (docs/view.md, V-63)."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from agentfs.model.records import InodeId
from agentfs.view.media_types import is_markdown
from agentfs.view.rules import Policy
from agentfs.view.shown import Shown


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is due, as the log has it now."""

    file: InodeId
    digest: bytes
    size_bytes: int
    sequence: int = 0
    """The commit that brought this content; 0: not known."""
    names: Mapping[str, Policy] = field(default_factory=dict)
    """Where it is shown (below the view's prefix), and how; none: nowhere, or it has gone."""


@dataclass(frozen=True, slots=True)
class Put:
    """Put the object `name` of the file."""

    name: str
    file: InodeId
    policy: Policy
    over: Shown | None
    """What is known to stand there; None: nothing is."""
    if_fronted: bool = False
    """It is as it should be, unless the file's own bytes let it have a block."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object that no file has any more."""

    row: Shown


@dataclass(frozen=True, slots=True)
class Steps:
    first: tuple[Delete, ...]
    """They go before anything is put: a directory comes in the place of a file, or the other way round."""
    puts: tuple[Put, ...]
    deletes: tuple[Delete, ...]
    """They go when the new names are there."""
    again: frozenset[InodeId]
    """Files that turned out to be due as well."""
    left: tuple[str, ...]
    """Names that are held, and left alone."""


def steps(
    wanted: Iterable[Wanted], rows: Iterable[Shown], owners: Mapping[str, InodeId], held: Container[str]
) -> Steps:
    """`rows`: everything known of the objects of these files and of those at these names. `owners`: which file is to
    be shown at the name of a row, whether it is due or not; 0 or missing: none."""
    due = {it.file: it for it in wanted}
    known = {row.name: row for row in rows}
    puts: list[Put] = []
    left: set[str] = set()
    for it in due.values():
        for name, policy in it.names.items():
            if name in held:
                left.add(name)
                continue
            row = known.get(name)
            if row is None or not _shows(row, it):
                puts.append(Put(name, it.file, policy, row))
                continue
            fronted = row.size_bytes != it.size_bytes
            may_be_fronted = policy == "block" and is_markdown(name.encode())
            if fronted and not may_be_fronted:
                puts.append(Put(name, it.file, policy, row))
            elif may_be_fronted and not fronted:
                puts.append(Put(name, it.file, policy, row, if_fronted=True))
    deletes: list[Delete] = []
    again: set[InodeId] = set()
    for name, row in known.items():
        owner = owners.get(name, 0)
        if owner in due:
            continue
        if owner:
            again.add(owner)
        elif name in held:
            left.add(name)
        else:
            deletes.append(Delete(row))
    first = [it for it in deletes if _in_the_way(it.row.name, puts)]
    gone = {it.row.name for it in first}
    return Steps(
        tuple(first),
        tuple(sorted(puts, key=lambda it: it.name)),
        tuple(it for it in deletes if it.row.name not in gone),
        frozenset(again),
        tuple(sorted(left)),
    )


def _shows(row: Shown, wanted: Wanted) -> bool:
    if row.file != wanted.file or row.digest != wanted.digest:
        return False
    return not (wanted.sequence and row.sequence) or row.sequence >= wanted.sequence


def _in_the_way(name: str, puts: Iterable[Put]) -> bool:
    """Whether a directory cannot have both."""
    return any(it.name.startswith(f"{name}/") or name.startswith(f"{it.name}/") for it in puts)
