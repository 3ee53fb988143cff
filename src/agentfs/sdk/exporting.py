"""`Home.export_memories`: JSON lines of what is in a home."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from agentfs.errors import InvalidArgument, NotFound
from agentfs.memory.documents import document
from agentfs.memory.interchange import FORMATS, File, Format, line, rows
from agentfs.sdk.file_home import FileHome
from agentfs.sdk.paths import Path
from agentfs.sdk.values import Entry
from agentfs.sdk.xattrs import xattrs_of

Told = Callable[[int, int], None]
"""Is called with how many files are left to do, and how many bytes."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    files: int
    """That have a row."""
    rows: int
    size_bytes: int


def export(
    home: FileHome,
    to: str | os.PathLike[str] | IO[bytes],
    path: Path,
    *,
    format: Format,
    since_ns: int | None,
    tags: Sequence[str],
    told: Told | None,
) -> Exported:
    """See `Home.export_memories`."""
    if format not in FORMATS:
        raise InvalidArgument(f"format is one of {', '.join(FORMATS)}")
    entries = _chosen(home, path, since_ns, hidden=format == "documents")
    lines = _lines(home, entries, format, {tag.lstrip("#").casefold() for tag in tags}, told)
    if not isinstance(to, str | os.PathLike):
        return _written(to, lines)
    with _whole_file(os.fspath(to)) as file:
        return _written(file, lines)


def _chosen(home: FileHome, path: Path, since_ns: int | None, *, hidden: bool) -> Sequence[Entry]:
    found = home.stat(path)
    entries = home.walk(path) if found.is_directory else [found]
    return [
        entry
        for entry in entries
        if entry.is_file
        and (since_ns is None or entry.modified_ns >= since_ns)
        and (hidden or not any(name.startswith(".") for name in entry.path.split("/")))
    ]


def _lines(
    home: FileHome, entries: Sequence[Entry], format_: Format, tags: set[str], told: Told | None
) -> Iterator[tuple[bytes, bool]]:
    """Each line, and whether it is the first one of its file."""
    now_ns = home._volume.clock.wall_ns()
    left = sum(entry.size_bytes for entry in entries)
    for number, entry in enumerate(entries):
        if told is not None:
            told(len(entries) - number, left)
        left -= entry.size_bytes
        try:
            xattrs = xattrs_of(home, entry.path)
            file = File(entry.path, home.read(entry.path), entry.modified_ns, entry.mode, xattrs)
        except NotFound:
            continue  # deleted since the list was made: it is not in the home any more
        found = document(os.fsencode(entry.path), file.data, xattrs, mtime_ns=entry.modified_ns)
        facts = None if found is None else found.facts
        if facts is not None and facts.expires_ns is not None and facts.expires_ns <= now_ns:
            continue
        if tags and (facts is None or not tags <= {tag.casefold() for tag in facts.tags}):
            continue
        first = True
        for row in rows(file, found, format_, agent=home.space or home.agent_id):
            yield line(row), first
            first = False


def _written(file: IO[bytes], lines: Iterator[tuple[bytes, bool]]) -> Exported:
    files = count = size_bytes = 0
    for data, is_first in lines:
        file.write(data)
        files, count, size_bytes = files + is_first, count + 1, size_bytes + len(data)
    file.flush()
    return Exported(files, count, size_bytes)


@contextlib.contextmanager
def _whole_file(path: str) -> Iterator[IO[bytes]]:
    """A file of this machine that appears when all of it is on the disk. Whatever ends it before, nothing is there,
    or what was there."""
    directory = os.path.dirname(os.path.abspath(path))
    try:
        fd, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", suffix=".part", dir=directory)
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        try:
            os.rename(temporary, path)
        except OSError as error:
            raise InvalidArgument(f"{path}: {error.strerror}") from None
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    """The process's, read where that changes nothing."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for row in status:
            if row.startswith("Umask:"):
                return int(row.split()[1], 8)
    return 0o077
