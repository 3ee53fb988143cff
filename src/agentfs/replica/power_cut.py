"""What a power cut took from files that were not synced: found by their sizes, and kept away from the log.

A row can survive the cut (another file's fsync makes all rows durable) while the bytes it speaks of were still in the
page cache: the file system allocates late, so the backing file is then empty, short or missing. Such a rest must
never be committed over the version that the log has. That version takes the name again, and a rest that is not empty
is kept beside it as a conflict copy. A file that the log does not have keeps its name with what is left. Each case
is a row of `conflict`, for people.

Runs while no process has the replica open, in the transaction that recovers it. No backing file is moved: the rest
keeps its inode, the log's version becomes another one.
"""

import logging
from dataclasses import dataclass, field

from agentfs.model.names import shown
from agentfs.model.records import Kind
from agentfs.replica.apply_base import Name
from agentfs.replica.apply_show import Show
from agentfs.replica.backing import BackingFiles
from agentfs.replica.detached import file_digest
from agentfs.replica.journal import ChangeKind
from agentfs.replica.transaction import PENDING_CONTENT, InodeRow, Transaction

_LOG = logging.getLogger(__name__)
_DETAIL = "a power cut took bytes that had not been synced"
_BACK = f"{_DETAIL}; the version of the log is back"


@dataclass(slots=True)
class PowerCut:
    """What is to be done with backing files, after the commit."""

    stale: list[int] = field(default_factory=list)
    """Remove them: the log's version is to be fetched."""
    empty: list[int] = field(default_factory=list)
    """Make them: nothing is left."""


def take_stock(tx: Transaction, files: BackingFiles, *, marked: frozenset[int], agent: str) -> PowerCut:
    """Compare every file that has bytes of its own with its row. `marked`: those that were open for writing."""
    return _Stock(tx, files, marked, agent).run()


class _Stock:
    def __init__(self, tx: Transaction, files: BackingFiles, marked: frozenset[int], agent: str) -> None:
        self._tx = tx
        self._files = files
        self._marked = marked
        self._show = Show(tx, agent=agent, digests={})
        self._found = PowerCut()

    def run(self) -> PowerCut:
        rows = self._tx.sql.rows(
            "SELECT ino FROM inode WHERE kind=1 AND nlink>0 AND residency=1 AND (pending & 2 OR local)"
        )
        self._end_forks()
        inos = {row[0] for row in rows} | self._marked
        for ino in sorted(inos):
            row = self._tx.inode(ino)
            if row is not None and row.kind is Kind.FILE and row.residency == 1:
                self._look(row)
        self._show.tidy()
        self._tx.sql.executemany(
            "INSERT INTO conflict(kind,parent,name,kept_as,detail,sequence,at_ns) VALUES(?,?,?,?,?,NULL,?)",
            [(*it, self._tx.now_ns) for it in self._show.met],
        )
        for _, _, name, kept, detail in self._show.met:
            _LOG.warning("%s: %s%s", shown(name), detail, f" as {shown(kept)}" if kept else "")
        return self._found

    def _end_forks(self) -> None:
        """Of files whose bytes are all in the log's version, which would have taken their place: it does so now,
        unless they were written since."""
        for ino, base in self._tx.sql.rows(
            "SELECT ino, f.digest FROM fork f JOIN inode USING(ino) WHERE NOT pending & ?", (PENDING_CONTENT,)
        ):
            known, digest = self._tx.content(ino), file_digest(self._files, ino)
            if known is not None and digest == known.digest:
                self._tx.sql.execute("DELETE FROM fork WHERE ino=?", (ino,))
            elif digest is None or digest == base or ino not in self._marked:
                self._take_back(ino)

    def _look(self, row: InodeRow) -> None:
        facts = self._files.stat(row.ino)
        size = None if facts is None else facts.st_size
        if not row.nlink:
            if facts is not None and row.ino in self._marked:  # perhaps detached: it may come back
                self._resize(row.ino)
            return
        is_marked = row.ino in self._marked
        # Emptied by its program, and neither synced nor closed since (both write the size down): half a rewrite.
        half = is_marked and row.size_bytes == 0 and bool(size) and bool(row.pending & PENDING_CONTENT)
        # Bytes that were fetched were given the row's time; who wrote changed it.
        changed = bool(row.pending & PENDING_CONTENT) or (facts is not None and facts.st_mtime_ns != row.mtime_ns)
        if size is None or size < row.size_bytes or half:
            if not self._restore(row, (size or 0) if changed else 0):
                self._keep(row, size, half=half)
            return
        assert facts is not None
        if is_marked and size == row.size_bytes and self._is_clean(row, changed):
            return
        if size > row.size_bytes or is_marked:
            # Appended or changed since its row: what was synced is in it, and all before its end was written.
            self._tx.content_written(row.ino, size_bytes=size, mtime_ns=facts.st_mtime_ns, ctime_ns=facts.st_ctime_ns)

    def _is_clean(self, row: InodeRow, changed: bool) -> bool:
        """Look at the bytes of a file that was open for writing and may not have been written."""
        known = self._tx.content(row.ino)
        if row.local or row.pending & PENDING_CONTENT or known is None:
            return False
        if file_digest(self._files, row.ino) == known.digest:
            return True
        # Other bytes under the old time: fdatasync makes no time durable. Or they were fetched, and are half there.
        return not changed and self._restore(row, row.size_bytes)

    # ---- where the log has a version ----

    def _restore(self, row: InodeRow, rest: int) -> bool:
        """Let the log's version have the name. Returns False when the log has none."""
        known = self._tx.content(row.ino)
        if row.local and (known is None or known.size_bytes != row.size_bytes):
            return False
        if known is None:
            return self._restore_replaced(row, rest)
        if rest and not row.local:
            self._split(row)
        else:
            if row.pending & PENDING_CONTENT:
                self._show.meet("content", *self._show.shown_at(row.ino)[0], b"", _BACK)
            self._take_back(row.ino)
        return True

    def _take_back(self, ino: int) -> None:
        """The bytes of `ino` are those of its `content` row again. Changed times stay ours: pending."""
        self._tx.sql.execute("DELETE FROM fork WHERE ino=?", (ino,))
        self._tx.sql.execute(
            "UPDATE inode SET residency=0, size_bytes=(SELECT size_bytes FROM content WHERE content.ino=inode.ino), "
            "pending=pending & ~2, content_change=content_change+1, change=change+1 WHERE ino=?",
            (ino,),
        )
        self._tx.record(ChangeKind.CONTENT, ino)
        self._found.stale.append(ino)

    def _split(self, row: InodeRow) -> None:
        """The log's version becomes another inode with the names of this one, which is kept aside."""
        place = self._show.shown_at(row.ino)[0]
        self._show.part(row)
        self._tx.sql.execute("DELETE FROM fork WHERE ino=?", (row.ino,))
        self._aside(place, row.ino)

    def _restore_replaced(self, row: InodeRow, rest: int) -> bool:
        """A new file that was renamed over one of the log's (as most programs save): that one comes back."""
        tx, show = self._tx, self._show
        lost: Name | None = None
        for place in show.shown_at(row.ino):
            dentry = tx.dentry(*place)
            before = tx.inode(dentry.base) if dentry is not None and dentry.base is not None else None
            if before is None or before.kind is not Kind.FILE or before.nlink or tx.content(before.ino) is None:
                continue
            show.unshow(*place, row.ino)
            show.show(*place, before.ino)
            self._take_back(before.ino)
            lost = place
        if lost is None:
            return False
        if rest:
            self._aside(lost, row.ino)
        else:
            show.meet("content", *lost, b"", _BACK)
            if show.shown_at(row.ino):
                self._keep(row, None, half=False)
            # else recovery forgets it with all that nothing names
        return True

    # ---- what is left ----

    def _aside(self, place: Name, ino: int) -> None:
        kept = self._show.show_aside(*place, ino)
        self._resize(ino)
        self._show.meet("content", *place, kept, f"{_BACK}, the rest was kept aside")

    def _keep(self, row: InodeRow, size: int | None, *, half: bool) -> None:
        """The log has no version of it: what is left is the content."""
        if size is None:
            self._found.empty.append(row.ino)
        self._resize(row.ino, missing=size is None)
        if not half and row.size_bytes:
            place = self._show.shown_at(row.ino)[0]
            self._show.meet("content", *place, b"", f"{_DETAIL}: {size or 0} of {row.size_bytes} are left")

    def _resize(self, ino: int, *, missing: bool = False) -> None:
        facts = None if missing else self._files.stat(ino)
        now = self._tx.now_ns
        times = (now, now) if facts is None else (facts.st_mtime_ns, facts.st_ctime_ns)
        self._tx.content_written(
            ino, size_bytes=0 if facts is None else facts.st_size, mtime_ns=times[0], ctime_ns=times[1]
        )
