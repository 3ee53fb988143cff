"""`Home`: an agent's home from Python, beside a mount of it or without one.

Every method is safe from any thread. Paths are from the root of the home, as `str` or `bytes`; `..` is refused and no
symbolic link leads out. What a call changed survives `kill -9` when it returns, and the loss of this machine after
`sync()`. Errors are those of `agentfs.errors`, and also Python's own where there is one (`FileNotFoundError`,
`FileExistsError`, `PermissionError`, else `OSError`).
"""

import contextlib
import dataclasses
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, cast

from agentfs.clock import Clock, SystemClock
from agentfs.config.settings import Settings, load
from agentfs.errors import (
    AgentIdInvalid,
    Attached,
    Exists,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    OtherVolume,
)
from agentfs.model.names import check_id, shown
from agentfs.model.records import Kind
from agentfs.sdk.curating import HomeCurating
from agentfs.sdk.editing import edit
from agentfs.sdk.errors import speaks_python, translated
from agentfs.sdk.files import HomeFile, open_flags
from agentfs.sdk.history import HomeHistory
from agentfs.sdk.lifecycle import HomeLifecycle
from agentfs.sdk.memory import HomeMemory
from agentfs.sdk.paths import ROOT, Path, Place, existing, parts, resolve, text
from agentfs.sdk.states import HomeStates
from agentfs.sdk.values import Change, Entry, EntryKind
from agentfs.sdk.volumes import Volumes
from agentfs.sdk.watching import watch
from agentfs.tree.values import Attributes, Caller, Handle
from agentfs.volume.reading import open_resident
from agentfs.volume.replacing import replace
from agentfs.volume.spaces import DIRECTORY as SPACES
from agentfs.volume.spaces import Attachment, open_space
from agentfs.volume.status import Status, SyncResult
from agentfs.volume.volume import EngineMode, ProgressCallback, Volume

if TYPE_CHECKING:
    from agentfs.sdk.locking import HeldLock, LockInForce

_KINDS: Mapping[Kind, EntryKind] = {
    Kind.FILE: "file",
    Kind.DIRECTORY: "directory",
    Kind.SYMLINK: "symlink",
    Kind.FIFO: "fifo",
    Kind.SOCKET: "socket",
    Kind.CHARACTER_DEVICE: "device",
    Kind.BLOCK_DEVICE: "device",
}


class Home(HomeHistory, HomeStates, HomeMemory, HomeCurating, HomeLifecycle):
    """An open home. Use `Home.open` as a context manager."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes
        self._volume = volumes.home
        self._tree = volumes.home.tree

    @classmethod
    @speaks_python
    def open(
        cls,
        agent_id: str | None = None,
        store: str | None = None,
        *,
        space: str | None = None,
        state_dir: str | None = None,
        cache_size: int | str | None = None,
        timeout: float | str | None = None,
        offline: bool = False,
        engine: EngineMode = "thread",
        settings: Settings | None = None,
        clock: Clock | None = None,
        session_kind: str = "sdk",
    ) -> "Home":
        """Open the home of `agent_id`; it is made when it does not exist. With `space` that shared space instead, on
        behalf of the agent: paths are then from the root of the space, which must exist (`NotFound`).

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
        clock = clock or SystemClock()
        if space is not None:
            volume = open_space(
                settings, space, agent=check_id(chosen), session_kind=session_kind, engine=engine, clock=clock
            )
        else:
            volume = Volume.open(
                settings, chosen, session_kind=session_kind, engine=engine, clock=clock, offline=offline
            )
        return cls(Volumes(volume, session_kind=session_kind, engine=engine, has_spaces=space is None))

    @property
    def agent_id(self) -> str:
        return self._volume.agent

    @property
    def space(self) -> str | None:
        """The shared space that was opened instead of a home."""
        return self._volume.volume_id if self._volume.kind == "space" else None

    def close(self, *, push: bool = True) -> None:
        """Push what is pending, waiting for the store up to the `timeout` setting, and leave.

        What could not be pushed is safe on this machine and goes with the next process that opens the home. Repeating
        it is harmless. Without `push` nothing is waited for."""
        with translated():
            self._volumes.close(push=push)

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
        place, _ = existing(self._volumes, path)
        handle = self._open(place, os.O_RDONLY, path, direct=True)
        try:
            # From the descriptor itself: it keeps the bytes that were opened when a pull replaces them meanwhile.
            with open(handle.fd, "rb", buffering=0, closefd=False) as file:
                return file.readall()
        finally:
            place.tree.release(handle)

    def read_text(self, path: Path, encoding: str = "utf-8") -> str:
        """`read`, decoded. Newlines are kept as they are."""
        return self.read(path).decode(encoding)

    @speaks_python
    def stat(self, path: Path, *, follow: bool = True) -> Entry:
        """Raises `NotFound`. `follow=False` looks at a symbolic link itself."""
        _, attributes = existing(self._volumes, path, follow=follow)
        return self._entry(attributes, parts(path))

    @speaks_python
    def exists(self, path: Path) -> bool:
        """Whether something is there (a dangling symbolic link is not)."""
        try:
            return resolve(self._volumes, path).attributes is not None
        except (NotFound, NotADirectory):
            return False

    @speaks_python
    def list(self, path: Path = "") -> Sequence[Entry]:
        """What is in a directory, sorted by name. Raises `NotFound` and `NotADirectory`."""
        place, _ = existing(self._volumes, path)
        return [entry for entry, _ in self._children(place, parts(path))]

    @speaks_python
    def walk(self, path: Path = "") -> Sequence[Entry]:
        """Everything below a directory, each directory before what is in it. Symbolic links are not followed, spaces
        are entered."""
        place, _ = existing(self._volumes, path)
        found: list[Entry] = []
        todo = [(place, parts(path))]
        while todo:
            directory, names = todo.pop()
            children = self._children(directory, names)
            found += [entry for entry, _ in children]
            for entry, child in reversed(children):
                if entry.is_directory:
                    below = (*names, os.fsencode(entry.name))
                    is_space = child.attributes is not None and child.attributes.kind is not Kind.DIRECTORY
                    todo.append((resolve(self._volumes, b"/".join(below)) if is_space else child, below))
        return sorted(found, key=lambda entry: os.fsencode(entry.path).split(b"/"))

    def _children(self, place: Place, names: tuple[bytes, ...]) -> Sequence[tuple[Entry, Place]]:
        """What is in a directory. A space is shown as the directory that it is, without opening it: its place is
        still that of the link."""
        directory, tree = place.attributes, place.tree
        if directory is None or directory.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"{shown(b'/'.join(names))} is not a directory")
        number = tree.open_directory(directory.ino)
        found: list[tuple[Entry, Place]] = []
        try:
            cookie = 0
            while rows := tree.read_directory_plus(number, cookie, 1000):
                cookie = rows[-1][0].cookie
                for row, attributes in rows:
                    if row.name in (b".", b".."):
                        continue
                    entry = self._entry(attributes, (*names, row.name))
                    if self._volumes.space_at(place.volume, directory.ino, attributes) is not None:
                        entry = dataclasses.replace(entry, kind="directory", mode=0o755, size_bytes=0)
                    found.append((entry, Place(place.volume, directory.ino, row.name, attributes)))
        finally:
            tree.release_directory(number)
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
    def write(
        self,
        path: Path,
        data: bytes | bytearray | memoryview | str,
        *,
        parents: bool = True,
        overwrite: bool = True,
    ) -> None:
        """Make `data` the whole content of a file. Readers see the old content or the new, never part of either.

        Text is UTF-8. `parents` makes missing directories. Raises `IsADirectory`, `NoSpace`, `NotFound`, and without
        `overwrite` `Exists` when anything is there.
        """
        if not overwrite:
            self._make(path, _bytes(data), parents=parents)
            return
        place = self._place(path, parents=parents)
        self._must_be_file(place, path)
        replace(
            place.volume.replica,
            place.tree,
            parent=place.parent,
            name=place.name,
            existing=place.attributes,
            data=_bytes(data),
        )

    @speaks_python
    def edit(self, path: Path, change: Callable[[bytes], bytes]) -> bytes:
        """Make what `change` makes of a file's content its new content, as one step; returns that. Others who change
        the file at the same time lose nothing: `change` is called again with what they wrote. Raises as `read` and
        `write`, and what `change` raises (nothing is written then)."""
        return edit(self._volumes, path, change)

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
                rest = rest[place.tree.write(handle, 0, rest) :]
            place.tree.flush(handle)
        finally:
            place.tree.release(handle)

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
        place = resolve(self._volumes, path)
        if place.attributes is None and not flags & os.O_CREAT:
            raise NotFound(f"{shown(os.fsencode(path))}: no such file or directory")
        if place.attributes is not None and flags & os.O_EXCL:
            raise Exists(f"{shown(os.fsencode(path))} exists")
        self._must_be_file(place, path)
        handle = self._open_place(place, flags, path)
        raw = HomeFile(place.tree, handle, name=text(parts(path)), mode=mode)
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
            place.tree.mkdir(place.parent, place.name, 0o755, Caller.process())
        elif place.attributes.kind is not Kind.DIRECTORY or not exist_ok:
            raise Exists(f"{shown(os.fsencode(path))} exists")

    @speaks_python
    def move(self, source: Path, target: Path, *, overwrite: bool = True, parents: bool = True) -> None:
        """Give a file or directory another name, atomically. A directory of any size is one change.

        Raises `NotFound`, `Exists` (`overwrite` is off), `NotEmpty` (the target directory is not), `OtherVolume` (it
        would lead into a space, or out of it: copy), `Attached` (it is where spaces are attached)."""
        old, moved = existing(self._volumes, source, follow=False)
        new = self._place(target, parents=parents, follow=False)
        if not old.name or not new.name:
            raise InvalidArgument("the root of a home, or of a space, cannot be moved")
        if old.volume is not new.volume:
            raise OtherVolume(f"{shown(os.fsencode(target))} is in another volume: copy it there and delete it here")
        self._has_no_spaces(old, moved)
        old.tree.rename(old.parent, old.name, new.parent, new.name, 0 if overwrite else 1)

    @speaks_python
    def copy(self, source: Path, target: Path, *, parents: bool = True) -> None:
        """Copy the content of a file, as `write(target, read(source))`."""
        self.write(target, self.read(source), parents=parents)

    @speaks_python
    def delete(self, path: Path, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """Delete a file, or an empty directory; with `recursive` a directory and all in it (others see it vanish
        piece by piece). Raises `NotFound` and `NotEmpty`."""
        try:
            place, attributes = existing(self._volumes, path, follow=False)
        except (NotFound, NotADirectory):
            if missing_ok:
                return
            raise
        if attributes.kind is not Kind.DIRECTORY:
            place.tree.unlink(place.parent, place.name)
            return
        if not place.name and parts(path):
            raise Attached(f"{shown(os.fsencode(path))} is an attached space: detach it, or delete what is in it")
        if recursive:
            self._empty(place)
        if not place.name:
            if not recursive:
                raise InvalidArgument("the root of a home cannot be deleted: recursive=True empties it")
            return
        try:
            place.tree.rmdir(place.parent, place.name)
        except NotEmpty:
            raise NotEmpty(f"{shown(os.fsencode(path))} is not empty: recursive=True deletes what is in it") from None

    def _empty(self, directory: Place) -> None:
        assert directory.attributes is not None
        self._has_no_spaces(directory, directory.attributes)
        for entry, place in self._children(directory, ()):
            if entry.is_directory:
                self._empty(place)
                place.tree.rmdir(place.parent, place.name)
            else:
                place.tree.unlink(place.parent, place.name)

    def _has_no_spaces(self, place: Place, attributes: Attributes) -> None:
        """Raise `Attached` for the directory that spaces are attached in."""
        if (
            place.volume is self._volume
            and self._volumes.attached()
            and (attributes.ino in (ROOT, self._volume.tree.lookup(ROOT, SPACES).ino))
        ):
            raise Attached("spaces are attached there: detach them first")

    # ---- spaces ----

    def spaces(self) -> Sequence[Attachment]:
        """The shared spaces that are attached to this home, each with its `space` and its `place` here."""
        with translated():
            return self._volumes.attached()

    @speaks_python
    def attach_space(self, space: str, *, at: str | bytes | None = None) -> Attachment:
        """Attach a shared space as the directory `spaces/<at>` (default: its own name), on every machine that opens
        the home. Repeating it is harmless. Raises `NotFound` (no such space), `Exists`, `StoreUnavailable`."""
        return self._volumes.attach(space, None if at is None else os.fsencode(at))

    @speaks_python
    def detach_space(self, which: str, *, force: bool = False) -> Attachment:
        """Take a space out of this home: by its name, or by the one that it is attached as. What is in it stays in
        the store. Raises `NotFound`, and `SyncTimedOut` when it has changes that are only here and cannot be pushed,
        unless `force`."""
        return self._volumes.detach(which, force=force)

    # ---- locks across machines ----

    def lock(
        self, path: Path, *, timeout: float | None = None, ttl: float | None = None
    ) -> "contextlib.AbstractContextManager[HeldLock]":
        """`with home.lock("state/x.json"):` while no other machine, and no other program with a lock of it here, can
        change the file. Inside, `read` gives its newest version; when the block ends, what was changed of it is in
        the store and the lock is free. A file that is not there is made, empty.

        `timeout`: seconds to wait for who has it (`LockHeld`; None: for as long as it takes). `ttl`: after how many
        seconds without a sign of life others may take the lock over; this process gives them by itself. Raises
        `NoLock` (the store is away), and at the end `LockLost`: another machine took it over, what was changed here
        was kept as a conflict copy."""
        from agentfs.sdk.locking import locked  # noqa: PLC0415 - who takes no lock does not wait for it

        return locked(self._volumes, path, timeout=timeout, ttl=ttl)

    def locks(self) -> Sequence["LockInForce"]:
        """The locks across machines that are in force in this home (not in its spaces), sorted by path."""
        from agentfs.sdk.locking import locks_in_force  # noqa: PLC0415 - as above

        return locks_in_force(self._volumes)

    def break_lock(self, path: Path) -> str | None:
        """End the lock of a file, whoever has it; that program has lost it then, and cannot write the file any more.
        Returns who it was; None when nobody had it. Raises `NotFound`, `StoreUnavailable`."""
        from agentfs.sdk.locking import break_lock  # noqa: PLC0415 - as above

        return break_lock(self._volumes, path)

    # ---- the store ----

    @speaks_python
    def sync(self, timeout: float | None = None) -> SyncResult:
        """Return when everything that was changed before the call, in attached spaces too, survives the loss of this
        machine.

        `timeout` in seconds (default: the setting). Raises `SyncTimedOut`: what is left is safe on this machine.
        """
        clock = self._volume.clock
        seconds = self._volume.settings.timeout_seconds if timeout is None else timeout
        deadline = clock.monotonic() + seconds
        result = self._volume.sync(timeout_seconds=seconds)
        for space in self._volumes.behind():
            space.sync(timeout_seconds=max(0.0, deadline - clock.monotonic()))
        return result

    @speaks_python
    def sync_all(self, *, progress: ProgressCallback | None = None) -> Sequence[Status]:
        """`sync` and `pull`, of the home and of the attached spaces that this machine has a copy of. What each is
        like then, the home first."""
        clock = self._volume.clock
        deadline = clock.monotonic() + self._volume.settings.timeout_seconds
        volumes = [self._volume, *self._volumes.here()]
        for volume in volumes:
            volume.sync(timeout_seconds=max(0.0, deadline - clock.monotonic()), progress=progress)
        for volume in volumes:
            volume.pull()
        return [volume.status() for volume in volumes]

    @property
    def is_fresh(self) -> bool:
        """Whether opening it has just brought this machine to the end of the log (another process's engine may
        lag behind by its interval)."""
        return self._volume.is_fresh

    @speaks_python
    def pull(self, timeout: float | None = None) -> None:
        """Return when every change that was in the store before the call is visible here, in the spaces that were
        used too. `timeout` in seconds (default: the setting), for each. Raises `StoreUnavailable`, `SyncTimedOut`."""
        for volume in (self._volume, *self._volumes.opened()):
            volume.pull(timeout_seconds=timeout)

    def _away(self) -> str:
        """Why the store is not reached just now, as far as anybody here knows; empty when it is."""
        return self._volume.away()

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
        none came for `timeout` seconds. `after`: start behind that `Change.sequence` (default: now). In an attached
        space when `path` leads into it; above it, the home's own changes.

        With `callback` it is called for each change, and the iterator is exhausted when this returns.
        """
        names, volume, above = parts(path), self._volume, 0
        if (
            len(names) > 1
            and (root := resolve(self._volumes, b"/".join(names[:2]), follow=False)).volume is not volume
        ):
            volume, above = root.volume, 2
        changes = watch(volume, names[above:], names[:above], timeout_seconds=timeout, after=after)
        if callback is None:
            return changes
        for change in changes:
            callback(change)
        return iter(())

    # ---- inside ----

    def _bare(self) -> "Home":
        """This home without its spaces: attaching links are links. It shares the volume, and is not closed."""
        return Home(self._volumes.without_spaces())

    def _of_space(self, space: str) -> "Home":
        """An attached space by itself. It shares the volume, and is not closed."""
        return Home(self._volumes.only(space))

    def _place(self, path: Path, *, parents: bool, follow: bool = True) -> Place:
        """Where `path` leads, its directories made when `parents`."""
        try:
            return resolve(self._volumes, path, follow=follow)
        except NotFound:
            if not parents:
                raise
        names = parts(path)
        for end in range(1, len(names)):
            above = resolve(self._volumes, b"/".join(names[:end]))
            if above.attributes is None:
                with contextlib.suppress(Exists):  # another process was faster: as good
                    above.tree.mkdir(above.parent, above.name, 0o755, Caller.process())
        return resolve(self._volumes, path, follow=follow)

    def _make(self, path: Path, data: bytes, *, parents: bool) -> Entry:
        """A new file, with its content at once. Raises `Exists`, and as `write`."""
        place = self._place(path, parents=parents)
        if place.attributes is not None:
            raise Exists(f"{shown(os.fsencode(path)) or '/'} exists")
        self._must_be_file(place, path)
        return self._entry(place.tree.make_file(place.parent, place.name, data, 0o644, Caller.process()), parts(path))

    def _must_be_file(self, place: Place, path: Path) -> None:
        if not place.name or (place.attributes is not None and place.attributes.kind is Kind.DIRECTORY):
            raise IsADirectory(f"{shown(os.fsencode(path)) or '/'} is a directory")
        if place.attributes is not None and place.attributes.kind is not Kind.FILE:
            raise InvalidArgument(f"{shown(os.fsencode(path))} is not a regular file")

    def _open(self, place: Place, flags: int, path: Path, *, direct: bool = False) -> Handle:
        attributes = place.attributes
        assert attributes is not None
        if attributes.kind is Kind.DIRECTORY:
            raise IsADirectory(f"{shown(os.fsencode(path)) or '/'} is a directory")
        if attributes.kind is not Kind.FILE:
            raise InvalidArgument(f"{shown(os.fsencode(path))} is not a regular file")
        return open_resident(place.tree, attributes.ino, flags, direct=direct)

    def _open_place(self, place: Place, flags: int, path: Path) -> Handle:
        """Open what is at `place`, made when it is missing."""
        if place.attributes is not None:
            return self._open(place, flags & ~(os.O_CREAT | os.O_EXCL), path)
        try:
            return place.tree.create(place.parent, place.name, 0o644, Caller.process(), flags)[1]
        except Exists:
            if flags & os.O_EXCL:
                raise
            there = Place(place.volume, place.parent, place.name, place.tree.lookup(place.parent, place.name))
            return self._open(there, flags & ~os.O_CREAT, path)


def _bytes(data: bytes | bytearray | memoryview | str) -> bytes:
    return data.encode("utf-8") if isinstance(data, str) else bytes(data)
