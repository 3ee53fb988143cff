"""New files with all their bytes at once.

The bytes are written to a staged file first. One transaction then makes inode, name and attributes, and gives the
staged file to the inode: nobody sees the file empty or half, and after `kill -9` it is there whole, or not at all.
What a killed process staged is removed by the next that opens the replica alone; a backing file that was given to an
inode whose transaction was not committed is a stray like that of any create (`Replica`).
"""

import contextlib
import os
from collections.abc import Mapping

from agentfs.errors import Exists
from agentfs.model.names import check_name
from agentfs.model.records import Kind
from agentfs.replica.journal import ChangeKind
from agentfs.replica.transaction import near_time
from agentfs.tree.entries import add_inode
from agentfs.tree.ground import Ground
from agentfs.tree.values import Attributes, Caller
from agentfs.tree.xattrs import ExtendedAttributes


class WholeFiles:
    def __init__(self, ground: Ground, xattrs: ExtendedAttributes) -> None:
        self._ground = ground
        self._xattrs = xattrs

    def make_file(
        self,
        parent: int,
        name: bytes,
        data: bytes,
        mode: int,
        caller: Caller,
        *,
        mtime_ns: int | None = None,
        xattrs: Mapping[bytes, bytes] | None = None,
    ) -> Attributes:
        """A new file with `data` in it, and these attributes. Survives `kill -9` on return. Raises `Exists` when the
        name is taken, whoever was faster, and `NoSpace`; nothing is left behind then."""
        check_name(name)
        mtime_ns = None if mtime_ns is None else near_time(mtime_ns)
        ground = self._ground
        staged = ground.files.stage_bytes(data)
        ino = 0
        try:
            with ground.transaction() as tx:
                place = ground.place(tx, parent, name)
                if place.ino is not None:
                    raise Exists("the name is taken")
                made = add_inode(
                    ground, tx, parent, name, place, Kind.FILE, mode, caller, size_bytes=len(data), mtime_ns=mtime_ns
                )
                for key, value in (xattrs or {}).items():
                    self._xattrs.set_in(tx, made.ino, key, value)
                tx.record(ChangeKind.CONTENT, made.ino)
                ino = made.ino
                ground.files.adopt(staged, ino)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)
            if ino:
                ground.remove_unmade(ino)
            raise
        with ground.lock:
            ground.seen.note(0, ino, 1)
        return made
