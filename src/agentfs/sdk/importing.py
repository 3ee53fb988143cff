"""`Home.import_memories`: bring files in, beside what is there and never over it."""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentfs.errors import AgentFSError, Exists, InvalidArgument, NotADirectory, NotFound
from agentfs.memory.interchange import Incoming
from agentfs.memory.names import beside
from agentfs.sdk.exporting import Told
from agentfs.sdk.file_home import FileHome
from agentfs.sdk.paths import parts
from agentfs.sdk.sources import Kind, Source
from agentfs.tree.values import Caller
from agentfs.volume.spaces import DIRECTORY as SPACES

ImportedWhat: TypeAlias = Literal["added", "beside", "there"]


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """What became, or would become, of one file of the source."""

    source: str
    path: str
    """In the home."""
    what: ImportedWhat
    """`added`; `beside` another file that has its name; or it was `there` already."""
    digest: str
    """Hex SHA-256 of its bytes."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do."""

    kind: Kind
    into: str
    files: Sequence[ImportedFile]
    left_out: Sequence[str]
    """What of a folder is not imported."""


def import_all(home: FileHome, source: Source, *, into: str | None, dry_run: bool, told: Told | None) -> Imported:
    """See `Home.import_memories`."""
    place = source.into if into is None else into.strip("/")
    plan = list(_planned(home, source, place))
    if not dry_run:
        left = sum(file.what != "there" for file in plan)
        for number, (file, incoming) in enumerate(itertools.zip_longest(plan, source.files())):
            if file is None or incoming is None or hashlib.sha256(incoming.data).hexdigest() != file.digest:
                raise InvalidArgument("the source has changed while it was imported: import it again")
            if file.what == "there":
                continue
            if told is not None:
                told(left, len(incoming.data))
            plan[number] = _brought_in(home, file, incoming)
            left -= 1
    return Imported(source.kind, place, plan, source.left_out)


def _planned(home: FileHome, source: Source, place: str) -> Iterator[ImportedFile]:
    """Raises `InvalidArgument` for a path that no file can have."""
    planned: dict[str, str] = {}
    for incoming in source.files():
        digest = hashlib.sha256(incoming.data).hexdigest()
        wanted = _inside(place, incoming)
        above = next((name for name in _above(wanted) if name in planned), None)
        if above is not None:
            raise InvalidArgument(f"{incoming.source}: {wanted}: {above} is a file of this source, and no directory")
        for path in beside(wanted):
            known = planned.get(path) or _digest(home, path)
            if known is None or known == digest:
                break
        if path not in planned and known == digest:
            what: ImportedWhat = "there"
        elif path in planned:
            what = "there"  # a double in the source
        else:
            what = "added" if path == wanted else "beside"
        planned.setdefault(path, digest)
        yield ImportedFile(incoming.source, path, what, digest)


def _inside(place: str, incoming: Incoming) -> str:
    path = f"{place}/{incoming.path}" if place else incoming.path
    try:
        names = parts(path)
    except AgentFSError as error:
        raise InvalidArgument(f"{incoming.source}: {error}") from None
    if not names or incoming.path.endswith("/"):
        raise InvalidArgument(f"{incoming.source}: {incoming.path!r} is no name of a file")
    if names[0] == SPACES:
        raise InvalidArgument(f"{incoming.source}: {path} would be in a shared space: import it there, with --space")
    return os.fsdecode(b"/".join(names))


def _digest(home: FileHome, path: str) -> str | None:
    """Of the file that is there; "" for anything else, None for nothing."""
    try:
        is_file = home.stat(path, follow=False).is_file
        return hashlib.sha256(home.read(path)).hexdigest() if is_file else ""
    except NotFound:
        return None
    except NotADirectory as error:
        raise InvalidArgument(f"{path} cannot be imported: {error}") from None


def _above(path: str) -> Iterator[str]:
    """The directories above a path."""
    while path := os.path.dirname(path):
        yield path


def _brought_in(home: FileHome, file: ImportedFile, incoming: Incoming) -> ImportedFile:
    path = file.path
    for path in beside(file.path):
        place = home._place(path, parents=True)
        if place.attributes is not None:
            continue
        with contextlib.suppress(Exists):  # another program was faster
            place.tree.make_file(
                place.parent,
                place.name,
                incoming.data,
                0o644 if incoming.mode is None else incoming.mode,
                Caller.process(),
                mtime_ns=incoming.modified_ns,
                xattrs=incoming.xattrs,
            )
            break
    what = file.what if path == file.path else "beside"
    return ImportedFile(file.source, path, what, file.digest)
