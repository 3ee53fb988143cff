"""`Home`: an agent's home from Python, beside a mount of it or without one.

Every method is safe from any thread. Paths are from the root of the home, as `str` or `bytes`; `..` is refused and no
symbolic link leads out. What a call changed survives `kill -9` when it returns, and the loss of this machine after
`sync()`. Errors are those of `agentfs.errors`, and also Python's own where there is one (`FileNotFoundError`,
`FileExistsError`, `PermissionError`, else `OSError`).
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO, Any, cast

from agentfs.clock import Clock, SystemClock
from agentfs.config.settings import Settings, load
from agentfs.errors import AgentIdInvalid, Exists, InvalidArgument, IsADirectory, NotADirectory, NotEmpty, NotFound
from agentfs.model.names import shown
from agentfs.model.records import Kind
from agentfs.sdk.errors import speaks_python, translated
from agentfs.sdk.files import HomeFile, open_flags
from agentfs.sdk.history import HomeHistory
from agentfs.sdk.paths import Path, Place, existing, parts, resolve, text
from agentfs.sdk.values import Change, Entry, EntryKind
from agentfs.sdk.watching import watch
from agentfs.tree.values import Attributes, Caller, Handle
from agentfs.volume.reading import open_resident
from agentfs.volume.replacing import replace
from agentfs.volume.status import Status, SyncResult
from agentfs.volume.volume import EngineMode, Volume

_KINDS: Mapping[Kind, EntryKind] = {
    Kind.FILE: "file",
    Kind.DIRECTORY: "directory",
    Kind.SYMLINK: "symlink",
    Kind.FIFO: "fifo",
    Kind.SOCKET: "socket",
    Kind.CHARACTER_DEVICE: "device",
    Kind.BLOCK_DEVICE: "device",
}


class Home(HomeHistory):
    """An open home. Use `Home.open` as a context manager."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._tree = volume.tree

    @classmethod
    @speaks_python
    def open(
        cls,
        agent_id: str | None = None,
        store: str | None = None,
        *,
        state_dir: str | None = None,
        cache_size: int | str | None = None,
        timeout: float | str | None = None,
        offline: bool = False,
        engine: EngineMode = "thread",
        settings: Settings | None = None,
        clock: Clock | None = None,
        session_kind: str = "sdk",
    ) -> "Home":
        """Open the home of `agent_id`; it is made when it does not exist.

        What is not given comes from the environment, then the configuration file, then the defaults. Waits for the
        store when this machine has no copy of the home yet (`offline=True`: start empty and merge later); with a
        copy, an unreachable store is no error (`status().online` tells). `session_kind` is what `status` calls this
        process; a `cli` fetches nothing ahead. Raises `AgentIdInvalid`,
        `ConfigInvalid`, `StoreUnavailable`, `StoreDenied`, `BucketNotFound`, `StoreUnsafe`, `NewerFormat`,
        `ReplicaDamaged`.
        """
        if settings is None:
            flags = {
                "agent_id": agent_id,
                "store": store,
                "state_dir": state_dir,
                "cache_size": cache_size,
                "timeout": timeout,
            }
            settings = load(flags)
        chosen = agent_id or settings.agent_id
        if not chosen:
            raise AgentIdInvalid("no agent id was given: pass one, or set AGENTFS_AGENT_ID")
        volume = Volume.open(
            settings, chosen, session_kind=session_kind, engine=engine, clock=clock or SystemClock(), offline=offline
        )
        return cls(volume)

    @property
    def agent_id(self) -> str:
        return self._volume.volume_id

    def close(self, *, push: bool = True) -> None:
        """Push what is pending, waiting for the store up to the `timeout` setting, and leave.

        What could not be pushed is safe on this machine and goes with the next process that opens the home. Repeating
        it is harmless. Without `push` nothing is waited for."""
        with translated():
            self._volume.close(push=push)

    def __enter__(self) -> "Home":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- reading ----

    @speaks_python
    def read(self, path: Path) -> bytes:
        """The whole content of a file; fetched from the store when it is not here. Raises `NotFound`,
        `IsADirectory`, `Unavailable`."""
        _, attributes = existing(self._tree, path)
        handle = self._open(attributes, os.O_RDONLY, path, direct=True)
        try:
            # From the descriptor itself: it keeps the bytes that were opened when a pull replaces them meanwhile.
            with open(handle.fd, "rb", buffering=0, closefd=False) as file:
                return file.readall()
        finally:
            self._tree.release(handle)

    def read_text(self, path: Path, encoding: str = "utf-8") -> str:
        """`read`, decoded. Newlines are kept as they are."""
        return self.read(path).decode(encoding)

    @speaks_python
    def stat(self, path: Path, *, follow: bool = True) -> Entry:
        """Raises `NotFound`. `follow=False` looks at a symbolic link itself."""
        place, attributes = existing(self._tree, path, follow=follow)
        return self._entry(attributes, parts(path) or (place.name,) if place.name else ())

    @speaks_python
    def exists(self, path: Path) -> bool:
        """Whether something is there (a dangling symbolic link is not)."""
        try:
            return resolve(self._tree, path).attributes is not None
        except (NotFound, NotADirectory):
            return False

    @speaks_python
    def list(self, path: Path = "") -> Sequence[Entry]:
        """What is in a directory, sorted by name. Raises `NotFound` and `NotADirectory`."""
        _, attributes = existing(self._tree, path)
        return [entry for entry, _ in self._children(attributes, parts(path))]

    @speaks_python
    def walk(self, path: Path = "") -> Sequence[Entry]:
        """Everything below a directory, each directory before what is in it. Symbolic links are not followed."""
        _, attributes = existing(self._tree, path)
        found: list[Entry] = []
        todo = [(attributes, parts(path))]
        while todo:
            directory, names = todo.pop()
            children = self._children(directory, names)
            found += [entry for entry, _ in children]
            todo += [
                (child, (*names, os.fsencode(entry.name)))
                for entry, child in reversed(children)
                if child.kind is Kind.DIRECTORY
            ]
        return sorted(found, key=lambda entry: os.fsencode(entry.path).split(b"/"))

    def _children(self, directory: Attributes, names: tuple[bytes, ...]) -> Sequence[tuple[Entry, Attributes]]:
        if directory.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"{shown(b'/'.join(names))} is not a directory")
        number = self._tree.open_directory(directory.ino)
        found: list[tuple[Entry, Attributes]] = []
        try:
            cookie = 0
            while rows := self._tree.read_directory_plus(number, cookie, 1000):
                cookie = rows[-1][0].cookie
                for row, attributes in rows:
                    if row.name not in (b".", b".."):
                        found.append((self._entry(attributes, (*names, row.name)), attributes))
        finally:
            self._tree.release_directory(number)
        return sorted(found, key=lambda pair: os.fsencode(pair[0].name))

    def _entry(self, attributes: Attributes, names: tuple[bytes, ...]) -> Entry:
        return Entry(
            path=text(names),
            name=os.fsdecode(names[-1]) if names else "",
            kind=_KINDS[attributes.kind],
            size_bytes=attributes.size_bytes,
            mode=attributes.mode,
            uid=attributes.uid,
            gid=attributes.gid,
            links=attributes.nlink,
            modified_ns=attributes.mtime_ns,
            created_ns=attributes.birth_ns,
            ino=attributes.ino,
        )

    # ---- writing ----

    @speaks_python
    def write(self, path: Path, data: bytes | bytearray | memoryview | str, *, parents: bool = True) -> None:
        """Make `data` the whole content of a file. Readers see the old content or the new, never part of either.

        Text is UTF-8. `parents` makes missing directories. Raises `IsADirectory`, `NoSpace`, `NotFound`.
        """
        place = self._place(path, parents=parents)
        self._must_be_file(place, path)
        replace(
            self._volume.replica,
            self._tree,
            parent=place.parent,
            name=place.name,
            existing=place.attributes,
            data=_bytes(data),
        )

    @speaks_python
    def append(self, path: Path, data: bytes | bytearray | memoryview | str, *, parents: bool = True) -> None:
        """Add `data` at the end of a file, made when it is missing. One call's data stays in one piece, whichever
        processes of this machine append at the same time."""
        place = self._place(path, parents=parents)
        self._must_be_file(place, path)
        handle = self._open_place(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, path)
        try:
            rest = memoryview(_bytes(data))
            while rest:
                rest = rest[self._tree.write(handle, 0, rest) :]
            self._tree.flush(handle)
        finally:
            self._tree.release(handle)

    @speaks_python
    def open_file(
        self,
        path: Path,
        mode: str = "rb",
        *,
        encoding: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """A file object, as `open` makes one; what was written survives `kill -9` after its `close`."""
        flags, binary = open_flags(mode)
        if binary and encoding is not None:
            raise InvalidArgument("a binary file has no encoding")
        place = resolve(self._tree, path)
        if place.attributes is None and not flags & os.O_CREAT:
            raise NotFound(f"{shown(os.fsencode(path))}: no such file or directory")
        if place.attributes is not None and flags & os.O_EXCL:
            raise Exists(f"{shown(os.fsencode(path))} exists")
        self._must_be_file(place, path)
        handle = self._open_place(place, flags, path)
        raw = HomeFile(self._tree, handle, name=text(parts(path)), mode=mode)
        buffered: io.BufferedIOBase
        if raw.readable() and raw.writable():
            buffered = io.BufferedRandom(raw)
        else:
            buffered = io.BufferedWriter(raw) if raw.writable() else io.BufferedReader(raw)
        if binary:
            return cast(IO[Any], buffered)
        return io.TextIOWrapper(buffered, encoding=encoding or "utf-8", newline=newline)

    @speaks_python
    def mkdir(self, path: Path, *, parents: bool = True, exist_ok: bool = True) -> None:
        """Make a directory. Raises `Exists` (a file is there, or `exist_ok` is off) and `NotFound`."""
        place = self._place(path, parents=parents)
        if place.attributes is None:
            self._tree.mkdir(place.parent, place.name, 0o755, Caller.process())
        elif place.attributes.kind is not Kind.DIRECTORY or not exist_ok:
            raise Exists(f"{shown(os.fsencode(path))} exists")

    @speaks_python
    def move(self, source: Path, target: Path, *, overwrite: bool = True, parents: bool = True) -> None:
        """Give a file or directory another name, atomically. A directory of any size is one change.

        Raises `NotFound`, `Exists` (`overwrite` is off), `NotEmpty` (the target directory is not)."""
        old, _ = existing(self._tree, source, follow=False)
        new = self._place(target, parents=parents, follow=False)
        if not old.name or not new.name:
            raise InvalidArgument("the root of a home cannot be moved")
        self._tree.rename(old.parent, old.name, new.parent, new.name, 0 if overwrite else 1)

    @speaks_python
    def copy(self, source: Path, target: Path, *, parents: bool = True) -> None:
        """Copy the content of a file, as `write(target, read(source))`."""
        self.write(target, self.read(source), parents=parents)

    @speaks_python
    def delete(self, path: Path, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """Delete a file, or an empty directory; with `recursive` a directory and all in it (others see it vanish
        piece by piece). Raises `NotFound` and `NotEmpty`."""
        try:
            place, attributes = existing(self._tree, path, follow=False)
        except (NotFound, NotADirectory):
            if missing_ok:
                return
            raise
        if attributes.kind is not Kind.DIRECTORY:
            self._tree.unlink(place.parent, place.name)
            return
        if recursive:
            self._empty(attributes)
        if not place.name:
            if not recursive:
                raise InvalidArgument("the root of a home cannot be deleted: recursive=True empties it")
            return
        try:
            self._tree.rmdir(place.parent, place.name)
        except NotEmpty:
            raise NotEmpty(f"{shown(os.fsencode(path))} is not empty: recursive=True deletes what is in it") from None

    def _empty(self, directory: Attributes) -> None:
        for entry, attributes in self._children(directory, ()):
            name = os.fsencode(entry.name)
            if attributes.kind is Kind.DIRECTORY:
                self._empty(attributes)
                self._tree.rmdir(directory.ino, name)
            else:
                self._tree.unlink(directory.ino, name)

    # ---- the store ----

    @speaks_python
    def sync(self, timeout: float | None = None) -> SyncResult:
        """Return when everything that was changed before the call survives the loss of this machine.

        `timeout` in seconds (default: the setting). Raises `SyncTimedOut`: what is left is safe on this machine.
        """
        return self._volume.sync(timeout_seconds=timeout)

    @property
    def is_fresh(self) -> bool:
        """Whether opening it has just brought this machine to the end of the log (another process's engine may
        lag behind by its interval)."""
        return self._volume.is_fresh

    @speaks_python
    def pull(self) -> None:
        """Return when every change that was in the store before the call is visible here. Raises
        `StoreUnavailable`."""
        self._volume.pull()

    @speaks_python
    def status(self) -> Status:
        """What is pending, how old it is, whether the store answers."""
        return self._volume.status()

    def watch(
        self,
        path: Path = "",
        *,
        timeout: float | None = None,
        after: int | None = None,
        callback: Callable[[Change], None] | None = None,
    ) -> Iterator[Change]:
        """Changes below `path` as they happen, those of other machines included. Blocks for the next one; ends when
        none came for `timeout` seconds. `after`: start behind that `Change.sequence` (default: now).

        With `callback` it is called for each change, and the iterator is exhausted when this returns.
        """
        changes = watch(self._volume, parts(path), timeout_seconds=timeout, after=after)
        if callback is None:
            return changes
        for change in changes:
            callback(change)
        return iter(())

    # ---- inside ----

    def _place(self, path: Path, *, parents: bool, follow: bool = True) -> Place:
        """Where `path` leads, its directories made when `parents`."""
        try:
            return resolve(self._tree, path, follow=follow)
        except NotFound:
            if not parents:
                raise
        names = parts(path)
        for end in range(1, len(names)):
            above = resolve(self._tree, b"/".join(names[:end]))
            if above.attributes is None:
                with contextlib.suppress(Exists):  # another process was faster: as good
                    self._tree.mkdir(above.parent, above.name, 0o755, Caller.process())
        return resolve(self._tree, path, follow=follow)

    def _must_be_file(self, place: Place, path: Path) -> None:
        if not place.name or (place.attributes is not None and place.attributes.kind is Kind.DIRECTORY):
            raise IsADirectory(f"{shown(os.fsencode(path)) or '/'} is a directory")
        if place.attributes is not None and place.attributes.kind is not Kind.FILE:
            raise InvalidArgument(f"{shown(os.fsencode(path))} is not a regular file")

    def _open(self, attributes: Attributes, flags: int, path: Path, *, direct: bool = False) -> Handle:
        if attributes.kind is Kind.DIRECTORY:
            raise IsADirectory(f"{shown(os.fsencode(path)) or '/'} is a directory")
        if attributes.kind is not Kind.FILE:
            raise InvalidArgument(f"{shown(os.fsencode(path))} is not a regular file")
        return open_resident(self._tree, attributes.ino, flags, direct=direct)

    def _open_place(self, place: Place, flags: int, path: Path) -> Handle:
        """Open what is at `place`, made when it is missing."""
        if place.attributes is not None:
            return self._open(place.attributes, flags & ~(os.O_CREAT | os.O_EXCL), path)
        try:
            return self._tree.create(place.parent, place.name, 0o644, Caller.process(), flags)[1]
        except Exists:
            if flags & os.O_EXCL:
                raise
            return self._open(self._tree.lookup(place.parent, place.name), flags & ~os.O_CREAT, path)


def _bytes(data: bytes | bytearray | memoryview | str) -> bytes:
    return data.encode("utf-8") if isinstance(data, str) else bytes(data)
