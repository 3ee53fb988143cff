"""What lies beside a SQLite database when the log puts another version in its place.

A `-wal` or `-journal` that its program left belongs to the bytes beside it and to no others: SQLite, finding it
beside a newer version, would replay old pages into that, and the database is malformed. Its transactions are in the
commit that captured the database, or in the conflict copy that it follows.
"""

from collections.abc import Callable, Iterable

from agentfs.model.records import Kind
from agentfs.replica.apply_base import Name
from agentfs.replica.apply_show import Show

SUFFIXES = (b"-wal", b"-shm", b"-journal")


def beside(move: Show, place: Name) -> dict[bytes, int]:
    """Files that stay on this machine and are named after `place`: suffix → inode."""
    found = {}
    for suffix in SUFFIXES:
        row = move.tx.dentry(place[0], place[1] + suffix)
        if row is None or row.ino is None or row.base is not None or not row.local:
            continue
        if move.kind(row.ino) is Kind.FILE:
            found[suffix] = row.ino
    return found


def follow(move: Show, is_database: Callable[[int], bool], *, replaced: Iterable[int]) -> None:
    """Move what lies beside each database that lost its name along with it, and drop it where the database is gone
    or has other bytes now (`replaced`). `is_database` looks at the bytes that are still here."""
    for ino, place in list(move.left.items()):
        if move.shown(*place) != ino:
            _leave(move, is_database, ino, place, move.shown_at(ino))
    for ino in replaced:
        for place in move.shown_at(ino):
            _leave(move, is_database, ino, place, [])


def _leave(move: Show, is_database: Callable[[int], bool], ino: int, place: Name, to: list[Name]) -> None:
    files = beside(move, place)
    if not files or not is_database(ino):
        return
    for suffix, sibling in files.items():
        move.unshow(place[0], place[1] + suffix, sibling)
        if to and move.shown(to[0][0], to[0][1] + suffix) is None:
            move.show(to[0][0], to[0][1] + suffix, sibling)
        else:
            move.dropped.append(sibling)
