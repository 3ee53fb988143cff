"""Opening and closing, and what each close makes sure of.

Durability. An open for writing first commits a mark (`write_open`): after a crash, marked files are taken as changed.
`flush` (each close(2)) commits size and times. The mark stays until `release`: a flush need not be the last (a child
that inherited the descriptor ends, or the file stays mapped), and while the handle lives nobody may evict or replace
the backing file that it writes. `fsync` syncs the backing file, its directory entry once, and then the database.
Whether a *direct* handle, whose writes may bypass us, wrote is found by `fstat`.
"""

import contextlib
import fcntl
import os

from agentfs.errors import (
    AgentFSError,
    BadHandle,
    Exists,
    InvalidArgument,
    IsADirectory,
    NoSpace,
    NotFound,
    NotResident,
)
from agentfs.model.names import check_name
from agentfs.model.records import Kind
from agentfs.replica.database import Row
from agentfs.replica.detached import file_digest, settle_detached
from agentfs.replica.past import is_past, write_from
from agentfs.replica.transaction import KINDS, PENDING_CONTENT, RESIDENCY_LOCAL, RESIDENCY_REMOTE, Transaction
from agentfs.tree.entries import add_inode
from agentfs.tree.ground import COLUMN_COUNT, COLUMNS, Ground, OpenInode, stamp
from agentfs.tree.seen import ANONYMOUS
from agentfs.tree.translation import os_error
from agentfs.tree.values import Attributes, Caller, Handle

_OPEN = f"SELECT {COLUMNS}, residency, content_change, used_at_ns, pending FROM inode WHERE ino=?"
_RESIDENCY, _CONTENT_CHANGE, _USED_AT, _PENDING = range(COLUMN_COUNT, COLUMN_COUNT + 4)
_RACY_NS = 20_000_000
"""Two changes of a file within one tick of the kernel's clock (4 to 10 ms) may bear the same time."""
_USE_FORGOTTEN_NS = 3600 * 10**9
_USES_MAX = 64


class OpenFiles:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._lock = ground.lock
        self._opened = ground.opened
        self._files = ground.files
        self._uses: dict[int, int] = {}
        """When which inode was read, to be written down some time: eviction and access times need no more."""

    # ---- opening ----

    def create(
        self,
        parent: int,
        name: bytes,
        mode: int,
        caller: Caller,
        flags: int,
        *,
        direct: bool = False,
        reader: int = 0,
    ) -> tuple[Attributes, Handle]:
        """Make a file and open it. An existing one is opened instead, unless `O_EXCL` is among `flags`. `reader` is
        the thread that asks (`tree.seen`)."""
        check_name(name)
        ground = self._ground
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        fd, ino = -1, 0
        with self._lock:
            try:
                with ground.transaction() as tx:
                    place = ground.place(tx, parent, name)
                    if place.ino is None:
                        made = add_inode(ground, tx, parent, name, place, Kind.FILE, mode, caller, reader=reader)
                        ino = made.ino
                        fd = self._files.create(ino)
                        if writable:
                            tx.mark_write_open(ino)
            except BaseException:
                if fd >= 0:
                    os.close(fd)
                    ground.remove_unmade(ino)
                raise
            if fd >= 0:
                if flags & os.O_APPEND:
                    set_append(fd)
                handle = Handle(next(ground.numbers), ino, fd, flags, writable, direct, 1, reader)
                self._register(handle, made)
                return made, handle
        if flags & os.O_EXCL:
            raise Exists("the name is taken")
        assert place.ino is not None
        handle = self.open(place.ino, flags & ~os.O_CREAT, direct=direct, reader=reader)
        return ground.attributes(place.ino), handle

    def open(self, ino: int, flags: int, *, direct: bool = False, reader: int = 0, following: bool = False) -> Handle:
        """Open a file. `reader` is the thread that asks. Raises `NotResident` when its bytes must be fetched first
        (`O_TRUNC` never needs them).

        `following`: without `O_TRUNC` the handle is no writer before its first write, as after `let_go`; until then
        it follows the versions that the log brings."""
        truncate = bool(flags & os.O_TRUNC)
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        with self._lock:
            if not writable and not truncate:
                return self._open_for_reading(ino, flags, direct, reader)
            if truncate:  # which makes room
                handle = self._ground.replica.reserve.lend(
                    lambda: self._open_for_writing(ino, flags, direct, reader, truncate=True)
                )
            else:
                handle = self._open_for_writing(ino, flags, direct, reader, truncate=False, following=following)
            opened = self._opened[ino]
        if not writable:  # truncated by a handle that cannot write; here, because of the order of the locks
            with opened.lock:
                self._commit(opened, handle, unpin=True)
        return handle

    def _open_for_reading(self, ino: int, flags: int, direct: bool, reader: int) -> Handle:
        ground = self._ground
        row = self._checked(ground.select(_OPEN, (ino,)), ino)
        self._check_resident(row, ino)
        fd = self._backing(row, ino, write=False)
        handle = Handle(next(ground.numbers), ino, fd, flags, False, direct, row[_CONTENT_CHANGE], reader)
        ground.seen.note(reader, ino, row[_CONTENT_CHANGE])
        self._register(handle, _attributes(row))
        now = ground.clock.wall_ns()
        if now - row[_USED_AT] > _USE_FORGOTTEN_NS or row[9] <= row[10]:  # as relatime: not since the last change
            self._uses[ino] = now
            if len(self._uses) >= _USES_MAX:
                with contextlib.suppress(NoSpace):  # a full disk does not disturb who reads
                    self.write_uses()
        return handle

    def _open_for_writing(
        self, ino: int, flags: int, direct: bool, reader: int, *, truncate: bool, following: bool = False
    ) -> Handle:
        ground = self._ground
        fd, made = -1, False
        try:
            with ground.transaction() as tx:
                row = self._checked(tx.sql.one(_OPEN, (ino,)), ino)
                version = row[_CONTENT_CHANGE]
                reader = self._come_from(tx, ino, version, flags, reader, truncate=truncate)
                if row[_RESIDENCY] == RESIDENCY_LOCAL:
                    fd = self._backing(row, ino, write=True)
                elif truncate:
                    fd, made = self._files.create(ino), row[_RESIDENCY] == RESIDENCY_REMOTE
                    tx.content_written(ino, size_bytes=0, mtime_ns=tx.now_ns, ctime_ns=tx.now_ns)
                    version += 1
                else:
                    raise NotResident(ino)
                if not following:
                    tx.mark_write_open(ino)
        except BaseException:
            if fd >= 0:
                os.close(fd)
            if made:
                self._files.remove(ino)
            raise
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        handle = Handle(next(ground.numbers), ino, fd, flags, writable, direct, version, reader)
        ground.seen.note(reader, ino, version)
        opened = self._register(handle, _attributes(row), following=following)
        if truncate:
            # After the mark: a crash in between leaves the old bytes, which are then still the content.
            os.ftruncate(fd, 0)
            opened.pinned[handle.number] = handle
            written_now(ground, opened)
        if flags & os.O_APPEND:
            set_append(fd)
        return handle

    def _come_from(self, tx: Transaction, ino: int, version: int, flags: int, reader: int, *, truncate: bool) -> int:
        """A program opens `version` of a file for writing, and may have seen an earlier one last: what it writes
        comes from that, unless it can read what is there by this very handle. Returns who is to count as having seen
        what it writes: nobody where it goes on without having seen what came since."""
        if flags & os.O_ACCMODE == os.O_RDWR and not truncate:
            return reader
        seen = self._ground.seen.before(reader, ino, version)
        if seen is None or not is_past(tx, ino, seen):
            return reader
        if truncate or not flags & os.O_APPEND:  # what is only appended comes from nothing that was read
            write_from(tx, ino, seen)
        return reader if truncate else ANONYMOUS

    def _checked(self, row: Row | None, ino: int) -> Row:
        if row is None:
            raise NotFound(f"inode {ino} is gone")
        if row[1] == Kind.DIRECTORY:
            raise IsADirectory(f"inode {ino} is a directory")
        if row[1] != Kind.FILE:
            raise InvalidArgument(f"inode {ino} has no bytes to open")
        return row

    def _check_resident(self, row: Row, ino: int) -> None:
        if row[_RESIDENCY] != RESIDENCY_LOCAL:
            raise NotResident(ino)

    def _backing(self, row: Row, ino: int, *, write: bool) -> int:
        """A descriptor of the backing file of a resident inode."""
        try:
            return self._files.open(ino, write=write)
        except FileNotFoundError as error:
            if row[_PENDING] & PENDING_CONTENT:
                raise os_error(error, f"the backing file of inode {ino} is lost") from error
            # It was evicted or replaced between our look at the row and now: the engine settles which.
            raise NotResident(ino) from error

    def _register(self, handle: Handle, attributes: Attributes, *, following: bool = False) -> OpenInode:
        opened = self._opened.get(handle.ino)
        if opened is None:
            opened = self._opened[handle.ino] = OpenInode(handle.ino, attributes)
            if handle.ino in self._ground.unsettled:
                self._ground.unsettled.discard(handle.ino)
                written_now(self._ground, opened)
                following = False  # its mark stands, and its bytes are to be taken in
        opened.handles[handle.number] = handle
        if handle.writable and not following:
            self._pinned(opened, handle)
        return opened

    def _pinned(self, opened: OpenInode, handle: Handle) -> None:
        if not opened.pinned and not opened.dirty:
            rebase(self._ground, opened, os.fstat(handle.fd))
        opened.pinned[handle.number] = handle

    def write_uses(self) -> None:
        """Write down when inodes were read."""
        with self._lock:
            uses, self._uses = self._uses, {}
            if uses:
                with self._ground.transaction() as tx:
                    for ino, at_ns in uses.items():
                        tx.set_access_time(ino, at_ns, used_at_ns=at_ns)

    # ---- while open ----

    def current(self, handle: Handle) -> OpenInode:
        """The open inode of `handle`, whose descriptor shows the newest bytes on return: a pull may have replaced the
        backing file of one that nobody here was writing. Raises `NotResident`, `BadHandle`."""
        opened = self._opened.get(handle.ino)
        if opened is None or handle.number not in opened.handles:
            raise BadHandle(f"handle {handle.number} is not open")
        if handle.direct or handle.number in opened.pinned:
            return opened
        row = self._ground.select("SELECT content_change, residency FROM inode WHERE ino=?", (handle.ino,))
        if row is not None and row[0] != handle.content_change:
            with opened.lock:
                self._reopen(handle, row)
        return opened

    def _reopen(self, handle: Handle, row: Row) -> None:
        """Let the descriptor of `handle` (its number stays) show the backing file as it is now."""
        if row[1] != RESIDENCY_LOCAL:
            raise NotResident(handle.ino)
        try:
            fd = self._files.open(handle.ino, write=handle.writable)
        except FileNotFoundError as error:
            raise NotResident(handle.ino) from error
        try:
            os.dup2(fd, handle.fd, inheritable=False)
        finally:
            os.close(fd)
        if handle.flags & os.O_APPEND:
            set_append(handle.fd)
        handle.content_change = row[0]
        if handle.flags & os.O_ACCMODE != os.O_WRONLY:
            with self._lock:
                self._ground.seen.note(handle.reader, handle.ino, row[0])

    def pin(self, handle: Handle) -> OpenInode:
        """Make sure, before bytes change, that the inode is marked and its descriptor shows the newest bytes. The
        caller holds `OpenInode.lock`."""
        opened = self._opened.get(handle.ino)
        if opened is None or not handle.writable or handle.number not in opened.handles:
            raise BadHandle(f"handle {handle.number} is not open for writing")
        if handle.number in opened.pinned:
            return opened
        with self._lock:
            with self._ground.transaction() as tx:
                row = tx.sql.one("SELECT content_change, residency FROM inode WHERE ino=?", (handle.ino,))
                if row is not None:
                    if row[0] != handle.content_change and not opened.pinned:
                        self._reopen(handle, row)
                    tx.mark_write_open(handle.ino)
            self._pinned(opened, handle)
        return opened

    def let_go(self, ino: int) -> None:
        """Commit what was written to a file and end its mark, although handles that may write stay open: until the
        next write through one of them, all of them follow the versions that the log brings. Not those whose writes
        bypass us. On return what was written survives `kill -9`."""
        opened = self._opened.get(ino)
        if opened is None:
            return
        with opened.lock:
            for handle in list(opened.pinned.values()):
                if not handle.direct:
                    self._commit(opened, handle, unpin=True)

    # ---- what closing makes sure of ----

    def flush(self, handle: Handle) -> None:
        """What was written through `handle` survives `kill -9` on return. Called at each close(2)."""
        opened = self._opened.get(handle.ino)
        if opened is None or handle.number not in opened.handles:
            raise BadHandle(f"handle {handle.number} is not open")
        if not handle.writable:
            return
        with opened.lock:
            if handle.number in opened.pinned:
                self._commit(opened, handle, unpin=False)

    def fsync(self, handle: Handle, *, data_only: bool) -> None:
        """What was written to the file survives a power cut on return, with every earlier change of the replica."""
        opened = self._opened.get(handle.ino)
        if opened is None or handle.number not in opened.handles:
            raise BadHandle(f"handle {handle.number} is not open")
        try:
            os.fdatasync(handle.fd) if data_only else os.fsync(handle.fd)
            if not opened.name_synced:
                self._files.sync_directory(handle.ino)
                opened.name_synced = True
        except OSError as error:
            raise os_error(error, "fsync") from error
        with opened.lock:
            # Any descriptor of a file syncs what was written through all of them.
            writer = handle if handle.number in opened.pinned else next(iter(opened.pinned.values()), None)
            if writer is not None:
                self._commit(opened, writer, unpin=False, durable=True)
                return
        self._ground.replica.sync()

    def _commit(self, opened: OpenInode, handle: Handle, *, unpin: bool, durable: bool = False) -> None:
        """Commit size and times when bytes changed, and the end of the mark when this was the last that held it. The
        caller holds `opened.lock`. On an error nothing has changed, and the next flush tries again."""
        ground = self._ground
        info = os.fstat(handle.fd)
        bypassed = stamp(info) != opened.baseline or opened.baseline_racy
        changed = opened.dirty or (bypassed and any(other.direct for other in opened.pinned.values()))
        last = unpin and len(opened.pinned) == 1
        if changed or last or durable:
            ino = opened.ino
            with self._lock:
                with ground.transaction(durable=durable) as tx:
                    if changed:
                        mtime_ns, ctime_ns = opened.times(info)
                        tx.content_written(ino, size_bytes=info.st_size, mtime_ns=mtime_ns, ctime_ns=ctime_ns)
                    if last:
                        tx.clear_write_open(ino)
                    row = tx.sql.one("SELECT nlink, content_change FROM inode WHERE ino=?", (ino,))
                    if durable and not changed:  # an empty transaction would sync nothing
                        tx.sql.execute("INSERT OR REPLACE INTO state VALUES('synced_at_ns', ?)", (tx.now_ns,))
                if row is not None:
                    opened.unlinked = row[0] == 0
                    for pinned in opened.pinned.values():
                        pinned.content_change = row[1]
                    if changed:
                        ground.seen.note(handle.reader, ino, row[1])
            if changed:
                opened.dirty = False
                rebase(ground, opened, info)
        if unpin:
            del opened.pinned[handle.number]

    # ---- closing ----

    def release(self, handle: Handle) -> None:
        """The last close of this handle. As `flush`, and the end of an unlinked file's bytes."""
        opened = self._opened.get(handle.ino)
        if opened is None or handle.number not in opened.handles:
            return
        was_writable = handle.number in opened.pinned
        try:
            with opened.lock:
                if was_writable:
                    self._ground.replica.reserve.lend(lambda: self._commit(opened, handle, unpin=True))
        except AgentFSError:
            opened.pinned.pop(handle.number, None)
            if not opened.pinned:
                self._ground.unsettled.add(opened.ino)
            raise
        finally:
            with self._lock:
                del opened.handles[handle.number]
                os.close(handle.fd)
                handle.fd = -1
                if not opened.handles:
                    del self._opened[opened.ino]
            if not opened.handles and opened.unlinked:
                self._end(opened.ino)

    def _end(self, ino: int) -> None:
        """Nobody here has the unlinked inode open any more: keep it as a conflict copy if it was detached and then
        changed, else forget it."""
        ground = self._ground
        detached = ground.select("SELECT 1 FROM detached WHERE ino=?", (ino,)) is not None
        digest = file_digest(self._files, ino) if detached else None  # may take long: outside the transaction

        def end() -> bool:
            with self._lock, ground.transaction() as tx:
                kept = settle_detached(tx, ino, digest=digest, agent=ground.options.agent)
                return not kept and ground.purge(tx, ino)

        if ground.replica.reserve.lend(end):
            self._files.remove(ino)

    def close(self) -> None:
        """Release what is open, and write down what was left to be written."""
        for opened in list(self._opened.values()):
            for handle in list(opened.handles.values()):
                with contextlib.suppress(AgentFSError):  # the mark stays: the next opening of the replica recovers
                    self.release(handle)
        with contextlib.suppress(AgentFSError):
            self.write_uses()


def _attributes(row: Row) -> Attributes:
    return Attributes(row[0], KINDS[row[1]], *row[2:COLUMN_COUNT])


def rebase(ground: Ground, opened: OpenInode, info: os.stat_result) -> None:
    """Take the backing file as it is now for what is committed."""
    opened.baseline = stamp(info)
    opened.baseline_racy = abs(ground.clock.wall_ns() - info.st_ctime_ns) < _RACY_NS


def written_now(ground: Ground, opened: OpenInode) -> None:
    """Bytes of the backing file have just changed through us."""
    opened.dirty = True
    opened.mtime_ns = opened.ctime_ns = ground.clock.wall_ns()


def set_append(fd: int) -> None:
    """Let the kernel put every write at the end, whoever else appends."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)
