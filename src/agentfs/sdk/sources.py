"""What can be imported: a folder, a vault, JSON lines, what another tool exported. Read twice: to plan, and to do."""

import errno
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Literal, TypeAlias, get_args

from agentfs.errors import InvalidArgument, NoSpace
from agentfs.memory.interchange import Incoming, of_row
from agentfs.memory.interchange_foreign import graph, graph_of, is_graph, is_list, is_mem0, listed, mem0
from agentfs.merge.forms import Form, form_of

Kind: TypeAlias = Literal["folder", "obsidian", "jsonl", "graph", "mem0", "list"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_VAULT = ".obsidian"
_HEAD = 4096
_INTO = {"jsonl": "", "graph": "memories/knowledge-graph", "mem0": "memories/mem0", "list": "memories/imported"}


@dataclass(frozen=True, slots=True)
class Source:
    """Something to import from."""

    kind: Kind
    into: str
    """Where it goes unless somebody says otherwise."""
    files: Callable[[], Iterator[Incoming]]
    """All that it has, in the same order each time. Raises `InvalidArgument`."""
    left_out: tuple[str, ...] = ()
    """What of a folder is not imported, for a person."""


@dataclass(frozen=True, slots=True)
class Named:
    """A file or directory of this machine, and what a person calls it."""

    path: str
    name: str

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.name


@contextmanager
def read_to_end(stream: IO[bytes]) -> Iterator[Named]:
    """What a stream has to say, as a file: an import reads its source twice. Raises `InvalidArgument`, `NoSpace`."""
    name = "standard input" if stream is getattr(sys.stdin, "buffer", None) else "the stream"
    with tempfile.NamedTemporaryFile(prefix="agentfs-import-") as file:
        try:
            shutil.copyfileobj(stream, file)
            file.flush()
        except OSError as error:
            kind = NoSpace if error.errno == errno.ENOSPC else InvalidArgument
            raise kind(f"{name} cannot be read into {file.name}: {error.strerror}") from None
        yield Named(file.name, name)


def source_of(path: Named, *, kind: Kind | None, attachments: bool | None) -> Source:
    """What is there. Raises `InvalidArgument`."""
    if kind is not None and kind not in KINDS:
        raise InvalidArgument(f"a source is one of {', '.join(KINDS)}")
    if os.path.isdir(path):
        if kind not in (None, "folder", "obsidian"):
            raise InvalidArgument(f"{path} is a directory, and no {kind}")
        return _directory(path.path, kind, attachments)
    if kind in ("folder", "obsidian"):
        raise InvalidArgument(f"{path} is not a directory")
    found = kind or _told_apart(path)
    return Source(found, _INTO[found], lambda: _checked(path, _FILES[found](path)))


# ---- folders ------------------------------------------------------------------------------------------------


def _directory(path: str, kind: Kind | None, attachments: bool | None) -> Source:
    found: Kind = kind or ("obsidian" if os.path.isdir(os.path.join(path, _VAULT)) else "folder")
    everything = found == "obsidian" if attachments is None else attachments
    names, left_out = _names(path, everything)
    into = os.path.basename(os.path.abspath(path))

    def files() -> Iterator[Incoming]:
        for name in names:
            where = os.path.join(path, name)
            try:
                with open(where, "rb") as file:
                    facts = os.fstat(file.fileno())
                    yield Incoming(name, file.read(), where, facts.st_mtime_ns, stat.S_IMODE(facts.st_mode) & 0o777)
            except OSError as error:
                raise InvalidArgument(f"{where}: {error.strerror}") from None

    return Source(found, into, files, tuple(left_out))


def _names(path: str, everything: bool) -> tuple[list[str], list[str]]:
    """The files of a folder, from its root, and what is not imported of it. Hidden names are settings of programs."""
    names, left_out = [], []

    def fail(error: OSError) -> None:
        raise InvalidArgument(f"{error.filename}: {error.strerror}") from None

    for directory, directories, files in os.walk(path, onerror=fail):
        linked = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted([*files, *linked]):
            where = os.path.join(directory, name)
            inside = os.path.relpath(where, path)
            if name.startswith("."):
                continue
            if os.path.islink(where) or not os.path.isfile(where):
                left_out.append(f"{inside} (no regular file)")
            elif everything or form_of(os.fsencode(name)) is Form.PROSE:
                names.append(inside)
            else:
                left_out.append(f"{inside} (no text: --attachments takes it)")
    return names, left_out


# ---- files --------------------------------------------------------------------------------------------------


def _told_apart(path: Named) -> Kind:
    """What a file is, by what it begins with."""
    begins = _begins(path)
    if not begins:
        raise InvalidArgument(f"{path} is empty")
    document = _document(path) if begins in (b"{", b"[") else None
    if isinstance(document, dict) and ("entities" in document or "relations" in document):
        return "graph"
    if document is not None or begins == b"{":
        return _kind_of_row(next(_rows(path), ({}, ""))[0])
    if is_list(_text(path)):
        return "list"
    if form_of(os.fsencode(os.path.basename(path))) is Form.PROSE:
        raise InvalidArgument(f"{path} is one note: agentfs put stores it, or say --from list for a list of memories")
    if path.name != path.path and _text(path):
        raise InvalidArgument(
            f"{path} is no JSON and no list of memories: agentfs remember - takes a note; or say --from list"
        )
    raise InvalidArgument(f"{path}: nobody knows what this is: say --from {', '.join(KINDS[2:])}")


def _begins(path: Named) -> bytes:
    """The first byte that is no space."""
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None


def _kind_of_row(row: dict[str, Any]) -> Kind:
    if "agentfs" in row:
        return "jsonl"
    return "graph" if is_graph(row) else "mem0" if is_mem0(row) else "jsonl"


def _text(path: Named) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path} is not UTF-8 text") from None


def _rows(path: Named) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of JSON lines, of a JSON list, or of the `results` of an object, with where they are."""
    try:
        with open(path, "rb") as file:
            document = _document(path)
            if isinstance(document, dict | list):
                within = document.get("results") if isinstance(document, dict) else document
                rows = within if isinstance(within, list) else [document]
                numbered = ((row, f"{path}: entry {number}") for number, row in enumerate(rows, 1))
            else:
                lines = enumerate(file, 1)
                numbered = ((_row(line, path, at), f"{path}, line {at}") for at, line in lines if line.strip())
            for row, where in numbered:
                if not isinstance(row, dict):
                    raise InvalidArgument(f"{where}: it is no object")
                yield row, where
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None


def _row(line: bytes, path: Named, number: int) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested without end
        raise InvalidArgument(f"{path}, line {number}: it is not JSON") from None


def _document(path: Named) -> Any:
    """The file as one JSON document; None: it is none, or lines of them. An object on one line is a line, unless it
    has `results`."""
    with open(path, "rb") as file:
        first = next((line for line in file if line.strip()), b"")
    try:
        if first.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
            row = json.loads(first.decode("utf-8-sig"))
            if not isinstance(row.get("results"), list) and "entities" not in row:
                return None
    except (ValueError, RecursionError):
        pass  # it goes on behind its first line
    try:
        return json.loads(_text(path).removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None


def _jsonl(path: Named) -> Iterator[Incoming]:
    for row, where in _rows(path):
        try:
            yield of_row(row, where)
        except ValueError as error:
            raise InvalidArgument(f"{where}: {error}") from None


def _mem0(path: Named) -> Iterator[Incoming]:
    return (mem0(row, where) for row, where in _rows(path))


def _graph(path: Named) -> Iterator[Incoming]:
    rows: Iterator[tuple[Mapping[str, Any], str]] = iter(_rows(path))
    document = _document(path)
    if isinstance(document, dict):
        rows = graph_of(document, str(path))
    return graph(rows)


def _listed(path: Named) -> Iterator[Incoming]:
    return listed(_text(path), str(path))


_FILES: dict[str, Callable[[Named], Iterator[Incoming]]] = {
    "jsonl": _jsonl,
    "graph": _graph,
    "mem0": _mem0,
    "list": _listed,
}


def _checked(path: Named, files: Iterator[Incoming]) -> Iterator[Incoming]:
    try:
        yield from files
    except ValueError as error:
        raise InvalidArgument(str(error) if str(path) in str(error) else f"{path}: {error}") from None
