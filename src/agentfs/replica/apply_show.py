"""Changing what is shown because the log changed: names, directories that must be there, conflict copies."""

from collections.abc import Mapping

from agentfs.errors import ReplicaDamaged
from agentfs.merge.conflict_names import conflict_name
from agentfs.merge.rebase import NameChoice, Thing, collide, mode_of_both
from agentfs.model.records import InodeRecord, Kind
from agentfs.replica.apply_base import BaseMove, Name, content_of
from agentfs.replica.journal import ChangeKind
from agentfs.replica.transaction import PENDING_ATTRIBUTES, PENDING_CONTENT, ROOT, InodeRow, Transaction


class Show(BaseMove):
    """The shown side of one step of the log."""

    def __init__(self, tx: Transaction, *, agent: str, digests: Mapping[int, tuple[int, bytes]]) -> None:
        super().__init__(tx)
        self._agent = agent
        self._digests = digests
        self.met: list[tuple[str, int, bytes, bytes, str]] = []
        """Conflicts that were settled here: kind, parent, name, kept_as, detail."""
        self.left: dict[int, Name] = {}
        """Where inodes stood first that lost a name."""
        self.dropped: list[int] = []
        """Inodes of ours that lost their name to equal bytes, or were emptied by a union."""

    # ---- what is there ----

    def shown(self, parent: int, name: bytes) -> int | None:
        return self.tx.child(parent, name)

    def pending_digest(self, row: InodeRow) -> bytes | None:
        """SHA-256 of the pending bytes of a file, if somebody computed it and they did not change since."""
        change, digest = self._digests.get(row.ino, (0, None))
        return digest if change == row.content_change else None

    def thing(self, ino: int) -> Thing:
        row = self.tx.inode(ino)
        assert row is not None
        digest = None
        if row.kind is Kind.FILE and not (row.nlink and self.tx.is_write_open(ino)):
            known = self.tx.content(ino)
            if row.pending & PENDING_CONTENT:
                digest = self.pending_digest(row)
            elif known is not None:
                digest = known.digest
        return Thing(row.kind, digest, row.target, row.rdev)

    def _traits(self, ino: int) -> tuple[object, ...]:
        """Mode and extended attributes."""
        mode = self.tx.sql.one("SELECT mode FROM inode WHERE ino=?", (ino,))
        return mode, self.tx.sql.rows("SELECT name, value FROM xattr WHERE ino=? ORDER BY name", (ino,))

    # ---- the two primitive changes ----

    def show(self, parent: int, name: bytes, ino: int) -> None:
        """Let `name`, which is free here, mean `ino`."""
        directory = self.kind(ino) is Kind.DIRECTORY
        tx = self.tx
        tx.sql.execute(
            "INSERT INTO dentry(parent,name,ino,local) VALUES(?1,?2,?3,(SELECT local FROM inode WHERE ino=?3)) "
            "ON CONFLICT(parent,name) DO UPDATE SET ino=?3, local=(base IS NULL AND excluded.local)",
            (parent, name, ino),
        )
        self._links(parent, ino, 1, directory=directory)
        tx.record(ChangeKind.LINK, ino, parent, name)
        self.touched.add((parent, name))

    def unshow(self, parent: int, name: bytes, ino: int) -> None:
        """Take `name`, which means `ino`, away."""
        self.left.setdefault(ino, (parent, name))
        self.tx.sql.execute("UPDATE dentry SET ino=NULL WHERE parent=? AND name=?", (parent, name))
        self._links(parent, ino, -1, directory=self.kind(ino) is Kind.DIRECTORY)
        self.tx.record(ChangeKind.UNLINK, ino, parent, name)
        self.touched.add((parent, name))

    def _links(self, parent: int, ino: int, by: int, *, directory: bool) -> None:
        update = "UPDATE inode SET nlink=nlink+?2, change=change+1 WHERE ino=?1"
        self.tx.sql.execute(update, (ino, by * (1 + directory)))
        if directory:
            self.tx.sql.execute(update, (parent, by))

    def detach(self, ino: int, place: Name, digest: bytes | None) -> None:
        """An inode that is open for writing lost its names: whoever closes it last decides what becomes of it."""
        self.tx.sql.execute(
            "INSERT OR IGNORE INTO detached VALUES(?,?,?,?,?)", (ino, place[0], place[1], digest, self.tx.now_ns)
        )

    def meet(self, kind: str, parent: int, name: bytes, kept_as: bytes, detail: str) -> None:
        self.met.append((kind, parent, name, kept_as, detail))

    # ---- placing ----

    def place(self, parent: int, name: bytes, ino: int) -> None:
        """Show `ino`, which is not shown elsewhere unless it is a file, at `name`, where the log has it. What
        stands there gives way."""
        self.ensure_shown(parent, child=ino if self.kind(ino) is Kind.DIRECTORY else None)
        ours = self.shown(parent, name)
        if ours == ino:
            return
        if ours is None:
            self.show(parent, name, ino)
            return
        choice = collide(self.thing(ours), self.thing(ino))
        if choice is NameChoice.ONE and self._stay_one(parent, name, ours, ino):
            return
        if choice is NameChoice.ASIDE:
            if self.unify(parent, name, ours, ino):
                return
            kept = self.show_aside(parent, name, ours, moving=True)
            self.show(parent, name, ino)
            same = self.kind(ours) is self.kind(ino) is Kind.FILE
            kind = "content" if same else "name"
            self.meet(
                kind, parent, name, kept, "the name was taken by two; the version that came later was kept aside"
            )
            return
        if self._traits(ours) != self._traits(ino):
            self.meet("attributes", parent, name, b"", "made twice; mode and attributes are the first's")
        self.unshow(parent, name, ours)
        self.show(parent, name, ino)
        self._keep_private(ino, ours)
        if choice is NameChoice.UNITE:
            self._unite(ours, ino)
        self.dropped.append(ours)

    def _keep_private(self, ino: int, second: int) -> None:
        """Let nobody read `ino` whom `second`, which was made at the same name and is now that, did not let."""
        first_mode, second_mode = (
            self.tx.sql.one("SELECT mode FROM inode WHERE ino=?", (it,))[0]  # type: ignore[index] # both are there
            for it in (ino, second)
        )
        mode = mode_of_both(first_mode, second_mode)
        if mode != first_mode:
            self.tx.sql.execute(
                "UPDATE inode SET mode=?2, change=change+1, "
                "pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?3 END, pending=pending|?4 WHERE ino=?1",
                (ino, mode, self.tx.now_ns, PENDING_ATTRIBUTES),
            )
            self.tx.record(ChangeKind.ATTRIBUTES, ino)

    def _stay_one(self, parent: int, name: bytes, ours: int, ino: int) -> bool:
        """Of two files that hold the same bytes, let `ours` be the log's `ino` if a program may have it open for its
        lock across machines: what it writes then must not go nowhere. So it may if the lock is used or asked for
        here, and if the file is empty: programs make such to lock them, and ask next."""
        row = self.tx.inode(ours)
        if row is None or row.kind is not Kind.FILE:
            return False
        used = self.tx.sql.one("SELECT 1 FROM lock_use WHERE ino=?", (ours,)) is not None
        return (used or not row.size_bytes) and self.unify(parent, name, ours, ino, made_twice=True, equal=True)

    def show_aside(self, parent: int, name: bytes, ino: int, *, moving: bool = False) -> bytes:
        """Show `ino` under the name of a conflict copy beside `name` (`moving`: it stands at `name` now)."""
        kept = conflict_name(
            name,
            agent=self._agent,
            at_ns=self.tx.now_ns,
            taken=lambda it: (
                self.tx.sql.one("SELECT 1 FROM dentry WHERE parent=? AND name=?", (parent, it)) is not None
            ),
        )
        if moving:
            self.unshow(parent, name, ino)
        self.show(parent, kept, ino)
        return kept

    def unify(
        self, parent: int, name: bytes, ours: int, theirs: int, *, made_twice: bool = False, equal: bool = False
    ) -> bool:
        """Let two files that want one name be one, to be merged later. Returns False where they cannot
        (`forks.Forks` does it; here nothing can be merged)."""
        del parent, name, ours, theirs, made_twice, equal
        return False

    def part(self, row: InodeRow) -> int:
        """Let the log's version of a file be another inode, with the names of this one, which becomes a new file
        without a name. Changed attributes go with the names. Returns the other's number."""
        tx, old = self.tx, row.ino
        in_log, places = self.names_of(old), self.shown_at(old)
        record = log_record(tx, row)
        tx.sql.execute("UPDATE inode SET id=NULL WHERE ino=?", (old,))
        new = self.insert(record)
        for parent, name in in_log:
            tx.sql.execute("UPDATE dentry SET base=? WHERE parent=? AND name=?", (new, parent, name))
            self.touched.add((parent, name))
        for place in places:
            self.unshow(*place, old)
            self.show(*place, new)
        tx.sql.execute("UPDATE inode SET pending=1, pending_at_ns=? WHERE ino=?", (tx.now_ns, new))
        tx.sql.execute("UPDATE changed_field SET ino=? WHERE ino=?", (new, old))
        tx.sql.execute("DELETE FROM content WHERE ino=?", (old,))
        return new

    def _unite(self, source: int, target: int) -> None:
        """Move what the directory `source` (itself not shown) shows into `target`; what is there keeps its name."""
        work = [(source, target)]
        while work:
            source, target = work.pop()
            for name, ino in self.tx.sql.rows(
                "SELECT name, ino FROM dentry WHERE parent=? AND ino IS NOT NULL", (source,)
            ):
                self.unshow(source, name, ino)
                there = self.shown(target, name)
                if there is None:
                    self.show(target, name, ino)
                    continue
                choice = collide(self.thing(ino), self.thing(there))
                if choice is NameChoice.ASIDE:
                    if self.unify(target, name, ino, there, made_twice=True):
                        continue
                    kept = self.show_aside(target, name, ino)
                    self.meet("name", target, name, kept, "two directories were united; this name was in both")
                    continue
                if choice is NameChoice.ONE and self._stay_one(target, name, ino, there):
                    continue
                if choice is NameChoice.UNITE:
                    work.append((ino, there))
                self._keep_private(there, ino)
                self.dropped.append(ino)

    def ensure_shown(self, directory: int, *, child: int | None = None) -> None:
        """Show a directory of the log that we had removed, and those above it: something came into it.

        `child` is a directory that is about to be shown in it: a move of ours that put `directory` inside `child` is
        undone, as it comes later than the log's.
        """
        path = self._climb(directory, child)
        while path[-1][1][0] != ROOT:
            self._undo_move(path)
            path = self._climb(directory, child)
        for missing, _, is_shown in reversed(path):
            if not is_shown and missing != ROOT and not self.shown_at(missing):
                parent, name = self.names_of(missing)[0]
                self.place(parent, name, missing)

    def _climb(self, directory: int, child: int | None) -> list[tuple[int, Name, bool]]:
        """From `directory` up: each with its place, and whether it is shown there (else the log has it there). Ends
        at the root, at `child`, or where it would come round again (the last place is then in that directory)."""
        path: list[tuple[int, Name, bool]] = [(directory, (ROOT, b""), True)] if directory == ROOT else []
        seen: set[int] = set()
        while directory not in (ROOT, child) and directory not in seen:
            seen.add(directory)
            places = self.shown_at(directory)
            is_shown = bool(places)
            places = places or self.names_of(directory)
            if not places:
                raise ReplicaDamaged(f"directory {directory} is neither shown nor in the log")
            path.append((directory, places[0], is_shown))
            directory = places[0][0]
        return path

    def _undo_move(self, path: list[tuple[int, Name, bool]]) -> None:
        numbers = [directory for directory, _, _ in path]
        again = path[-1][1][0]  # where it comes round, unless that is the child
        for directory, place, is_shown in path[numbers.index(again) if again in numbers else 0 :]:
            row = self.tx.dentry(*place)
            if is_shown and row is not None and row.base != directory and self.names_of(directory):
                self.unshow(*place, directory)
                self.meet(
                    "cycle", *place, b"", "two moves would have put directories into each other; this was undone"
                )
                return
        raise ReplicaDamaged(f"directories {numbers} are in each other")


def log_record(tx: Transaction, row: InodeRow) -> InodeRecord:
    """An inode with the log's content, and attributes as they are here."""
    known = tx.content(row.ino)
    assert (known is not None or row.kind is Kind.DIRECTORY) and row.id is not None
    xattrs = tx.sql.rows("SELECT name, value FROM xattr WHERE ino=? ORDER BY 1", (row.ino,))
    return InodeRecord(
        id=row.id,
        kind=row.kind,
        mode=row.mode,
        uid=row.uid,
        gid=row.gid,
        mtime_ns=row.mtime_ns,
        ctime_ns=row.ctime_ns,
        birth_ns=row.birth_ns,
        xattrs=tuple((name, value) for name, value in xattrs),
        content=None if known is None else content_of(known),
    )
