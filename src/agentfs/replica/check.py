"""What must hold of a replica between any two transactions, as rules that can be run. `fsck` and the tests do.

Only the replica itself is read: whether it agrees with the log, and whether clean bytes have the right digest, is
fsck's to ask. Backing files can only be judged while nobody changes the replica.
"""

from dataclasses import dataclass

from agentfs.replica.backing import BackingFiles
from agentfs.replica.database import Connection, translated
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import PENDING_ENDED, ROOT


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold."""

    rule: str
    place: str
    """`inode 7`, `name b'a' in 7`, or a path."""


_NAMES = (
    (
        "a name is in a directory that does not exist",
        "SELECT d.parent, d.name FROM dentry d LEFT JOIN inode p ON p.ino=d.parent WHERE p.ino IS NULL",
    ),
    (
        "a name is in something that is not a directory",
        "SELECT d.parent, d.name FROM dentry d JOIN inode p ON p.ino=d.parent WHERE p.kind!=2",
    ),
    (
        "a name means an inode that does not exist",
        "SELECT d.parent, d.name FROM dentry d LEFT JOIN inode i ON i.ino=d.ino "
        "WHERE d.ino IS NOT NULL AND i.ino IS NULL",
    ),
    (
        "the log's inode of a name does not exist",
        "SELECT d.parent, d.name FROM dentry d LEFT JOIN inode i ON i.ino=d.base "
        "WHERE d.base IS NOT NULL AND i.ino IS NULL",
    ),
    ("a name is kept for nothing", "SELECT parent, name FROM dentry WHERE ino IS NULL AND base IS NULL"),
    (
        "a name's pending mark is not the difference between here and the log",
        "SELECT parent, name FROM dentry WHERE (pending != 0) != (ino IS NOT base AND local=0) "
        f"OR pending NOT IN (0, 1) AND NOT (pending = {PENDING_ENDED} AND ino IS NULL)",
    ),
    (
        "a name is shown in a directory that is unlinked",
        "SELECT d.parent, d.name FROM dentry d JOIN inode p ON p.ino=d.parent WHERE d.ino IS NOT NULL AND p.nlink=0",
    ),
    (
        "a name that leaves this machine is in a directory that does not",
        "SELECT d.parent, d.name FROM dentry d JOIN inode p ON p.ino=d.parent "
        "WHERE p.local=1 AND d.local=0 AND d.ino IS NOT NULL",
    ),
    (
        "a name that leaves this machine means an inode that does not",
        "SELECT d.parent, d.name FROM dentry d JOIN inode i ON i.ino=d.ino WHERE d.local=0 AND i.local=1",
    ),
)
_INODES = (
    (
        "the number of links is wrong",
        "SELECT i.ino FROM inode i WHERE i.kind!=2 AND i.nlink != (SELECT count(*) FROM dentry d WHERE d.ino=i.ino)",
    ),
    (
        "a directory's number of links is wrong",
        "SELECT i.ino FROM inode i WHERE i.kind=2 AND i.nlink != "
        "CASE WHEN i.ino!=1 AND NOT EXISTS (SELECT 1 FROM dentry d WHERE d.ino=i.ino) THEN 0 ELSE 2 + "
        "(SELECT count(*) FROM dentry d JOIN inode c ON c.ino=d.ino AND c.kind=2 WHERE d.parent=i.ino) END",
    ),
    (
        "a directory has several names",
        "SELECT d.ino FROM dentry d JOIN inode i ON i.ino=d.ino WHERE i.kind=2 GROUP BY d.ino HAVING count(*) > 1",
    ),
    (
        "an inode is new and not pending",
        "SELECT ino FROM inode WHERE id IS NULL AND nlink>0 AND pending=0 AND local=0",
    ),
    ("an inode is pending and never leaves this machine", "SELECT ino FROM inode WHERE local=1 AND pending!=0"),
    (
        "content is pending and the bytes are not here",
        "SELECT ino FROM inode WHERE kind=1 AND pending & 2 AND residency!=1 AND nlink>0",
    ),
    (
        "the bytes are neither here nor in the log",
        "SELECT i.ino FROM inode i LEFT JOIN content c USING(ino) "
        "WHERE i.kind=1 AND i.nlink>0 AND i.residency!=1 AND c.ino IS NULL",
    ),
    (
        "a clean file's size is not its content's",
        "SELECT i.ino FROM inode i JOIN content c USING(ino) WHERE i.kind=1 AND NOT i.pending & 2 AND i.local=0 "
        "AND i.size_bytes!=c.size_bytes AND NOT EXISTS (SELECT 1 FROM fork f WHERE f.ino=i.ino)",
    ),
    (
        "a file is to be merged whose bytes are not here, or that the log does not have",
        "SELECT f.ino FROM fork f JOIN inode i USING(ino) LEFT JOIN content c USING(ino) "
        "WHERE c.ino IS NULL OR i.residency!=1 OR i.id IS NULL OR i.local",
    ),
    (
        "content of something that is not a file",
        "SELECT c.ino FROM content c JOIN inode i USING(ino) WHERE i.kind!=1",
    ),
    ("a symbolic link without a target", "SELECT ino FROM inode WHERE kind=3 AND target IS NULL"),
    ("a digest is not 32 bytes long", "SELECT ino FROM content WHERE length(digest)!=32"),
    (
        "a content has no place, or two",
        "SELECT ino FROM content WHERE (sequence IS NULL) = (chunks IS NULL) "
        "OR (sequence IS NULL) != (offset IS NULL)",
    ),
    *(
        (f"a row of {table} for an inode that does not exist",
         f"SELECT DISTINCT ino FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM inode i WHERE i.ino=t.ino)")
        for table in ("content", "xattr", "detached", "write_open", "live_database", "fork", "left_with", "past")
    ),
)  # fmt: skip


def check(replica: Replica) -> list[Finding]:
    """Every rule that does not hold; empty when all is well."""
    with replica.lock, translated(replica.connection.path):
        return check_connection(replica.connection, replica.files)


def check_connection(connection: Connection, files: BackingFiles) -> list[Finding]:
    """As `check`, on a bare database."""
    return check_rows(connection) + _backing(connection, files)


def check_rows(connection: Connection) -> list[Finding]:
    """The rules of the rows alone: one moment of the database, also while the replica is in use."""
    found = [
        Finding(rule, f"name {bytes(name)!r} in {parent}")
        for rule, sql in _NAMES
        for parent, name in connection.rows(sql)
    ]
    found += [Finding(rule, f"inode {row[0]}") for rule, sql in _INODES for row in connection.rows(sql)]
    return found + _circles(connection)


def _circles(connection: Connection) -> list[Finding]:
    """Directories that a walk from the root does not meet, though they have a name."""
    below: dict[int, list[int]] = {}
    named = set()
    for parent, ino in connection.rows(
        "SELECT d.parent, d.ino FROM dentry d JOIN inode i ON i.ino=d.ino WHERE i.kind=2"
    ):
        below.setdefault(parent, []).append(ino)
        named.add(ino)
    reached, work = {ROOT}, [ROOT]
    while work:
        for ino in below.get(work.pop(), ()):
            if ino not in reached:
                reached.add(ino)
                work.append(ino)
    return [Finding("a directory is not reachable from the root", f"inode {ino}") for ino in sorted(named - reached)]


def _backing(connection: Connection, files: BackingFiles) -> list[Finding]:
    found = []
    sizes: dict[int, int] = dict(connection.rows("SELECT ino, size_bytes FROM inode WHERE kind=1 AND residency=1"))
    open_now = {row[0] for row in connection.rows("SELECT ino FROM write_open")}
    for ino, size_bytes in sizes.items():
        facts = files.stat(ino)
        if facts is None:
            found.append(Finding("a backing file is missing", f"inode {ino}"))
        elif facts.st_size != size_bytes and ino not in open_now:
            found.append(Finding("a backing file's size is not the inode's", f"inode {ino}"))
    known = sizes.keys() | {row[0] for row in connection.rows("SELECT ino FROM inode WHERE kind=1 AND residency=2")}
    found += [Finding("a backing file of nothing", files.path(ino)) for ino in files.numbers() if ino not in known]
    return found
