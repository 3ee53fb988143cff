"""What lifecycle rules say about the files of a volume, as the log has them at this replica's head: which are due.

Read from the replica, changed nowhere: `retention.lifecycle_commit` makes commits of steps, and looks at each file
again in the moment it does. What differs here from the log (pending, being written, being merged) is passed over:
whatever is done about it is for a later time, or for nobody.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agentfs.model.lifecycle import Action, Rule, Rules
from agentfs.model.records import ROOT_ID, InodeId, Kind
from agentfs.replica.database import Connection, translated
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import ROOT

SECOND_NS = 1_000_000_000
_PAUSE_FILES = 500
_CHILDREN = (
    "SELECT d.name, i.ino, i.id, i.kind, i.change, i.pending, i.mtime_ns, i.size_bytes FROM dentry d "
    "JOIN inode i ON i.ino=d.ino WHERE d.parent=? AND d.base=d.ino AND d.pending=0 AND d.local=0 AND i.local=0 "
    f"AND i.id IS NOT NULL AND i.kind IN ({int(Kind.FILE)},{int(Kind.DIRECTORY)}) "
)
_WAITS = (
    ("SELECT 1 FROM inode WHERE ino=? AND pending!=0", "it has a change that is not in the log yet"),
    ("SELECT 1 FROM write_open WHERE ino=?", "it is open for writing"),
    ("SELECT 1 FROM fork WHERE ino=?", "it is being merged"),
    ("SELECT 1 FROM detached WHERE ino=?", "it is being merged"),
    ("SELECT 1 FROM left_with WHERE ino=?", "it is being merged"),
    ("SELECT 1 FROM live_database WHERE ino=?", "it is a database that a program has open"),
    ("SELECT 1 FROM lock l JOIN inode i ON i.id=l.id WHERE i.ino=?", "it is locked"),
)


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that stands here as it does in the log, with all above it."""

    path: bytes
    name: bytes
    ino: int
    id: InodeId
    above: "Directory | None"
    """None: the root."""


TOP = Directory(b"", b"", ROOT, ROOT_ID, None)


@dataclass(frozen=True, slots=True)
class Found:
    """A file that stands here as it does in the log."""

    path: bytes
    """From the root, without a leading slash."""
    name: bytes
    directory: Directory
    ino: int
    id: InodeId
    change: int
    """Grows with every change of the file."""
    mtime_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Times:
    """What the log tells of a file, by the hybrid-logical time of its commits: never earlier than the commit before,
    whatever clock the writer had."""

    changed_ns: int
    """Bytes, name, attributes, or the name of a directory above: the last change of any."""
    created_ns: int


@dataclass(frozen=True, slots=True)
class Step:
    """What is due for one file."""

    file: Found
    rule: Rule
    action: Action
    age_s: int
    """By which the rule judged."""


def begun_ns(rule: Rule, mtime_ns: int, times: Times) -> int:
    """When the age began that a rule goes by. A file that came a moment ago with an old time of modification (moved
    in, unpacked, restored) is as old as its commit; one whose time of modification lies later is as old as that."""
    return times.created_ns if rule.since == "created" else max(times.changed_ns, mtime_ns)


def acts_on(rules: Rules, path: bytes) -> Rule | None:
    """The rule that deletes or moves the file at `path`, some time; None: none does. What is in a rule's archive is
    not moved again."""
    rule = rules.of(path)
    if rule is None or rule.action is None:
        return None
    if rule.action == "archive" and any(path.startswith(it + b"/") for it in rules.archives):
        return None
    return rule


def due(rules: Rules, file: Found, times: Times, now_ns: int) -> Step | None:
    """The step for one file now; None: it stays. Pure."""
    rule = acts_on(rules, file.path)
    if rule is None or rule.action is None:
        return None
    age_ns = now_ns - begun_ns(rule, file.mtime_ns, times)
    if age_ns < rule.seconds * SECOND_NS:
        return None
    return Step(file, rule, rule.action, age_ns // SECOND_NS)


def plan(rules: Rules, files: Iterable[tuple[Found, Times]], now_ns: int) -> list[Step]:
    """The steps for `files` now, in their order. Pure."""
    return [step for file, times in files if (step := due(rules, file, times, now_ns)) is not None]


def could_be_due(rules: Rules, file: Found, now_ns: int) -> bool:
    """False: whatever the log tells of the file, it stays."""
    rule = acts_on(rules, file.path)
    if rule is None:
        return False
    return rule.since == "created" or now_ns - file.mtime_ns >= rule.seconds * SECOND_NS


def files_of(replica: Replica, rules: Rules, *, everywhere: bool = False) -> Iterator[Found | None]:
    """Files that some rule could act on (or `everywhere`), and None after every few that were looked at. Takes the
    replica's lock for one directory at a time: what changes meanwhile is seen or not."""
    work = [TOP]
    while work:
        directory = work.pop()
        if not everywhere and not rules.acts_below(directory.path):
            continue
        with replica.lock, translated(replica.connection.path):
            rows = replica.connection.rows(_CHILDREN + "ORDER BY d.name", (directory.ino,))
        below: list[Directory] = []
        for number, (name, ino, id_, kind, change, pending, mtime_ns, size_bytes) in enumerate(rows, start=1):
            path = directory.path + b"/" + name if directory.path else bytes(name)
            if kind == Kind.DIRECTORY:
                below.append(Directory(path, name, ino, id_, directory))
            elif not pending:
                yield Found(path, name, directory, ino, id_, change, mtime_ns, size_bytes)
            if number % _PAUSE_FILES == 0:
                yield None
        work += reversed(below)
        yield None


def file_at(replica: Replica, path: bytes) -> Found | None:
    """The file at a path, if it stands here as in the log, with all above it."""
    directory = TOP
    *above, last = path.split(b"/")
    with replica.lock, translated(replica.connection.path):
        for name in above:
            row = replica.connection.one(_CHILDREN + "AND d.name=?", (directory.ino, name))
            if row is None or row[3] != Kind.DIRECTORY:
                return None
            path_here = directory.path + b"/" + name if directory.path else name
            directory = Directory(path_here, name, row[1], row[2], directory)
        row = replica.connection.one(_CHILDREN + "AND d.name=?", (directory.ino, last))
    if row is None or row[3] != Kind.FILE or row[5]:
        return None
    return Found(path, last, directory, row[1], row[2], row[4], row[6], row[7])


def why_it_waits(sql: Connection, ino: int) -> str:
    """What keeps a rule from acting on a file now, in a few words; empty: nothing."""
    return next((why for query, why in _WAITS if sql.one(query, (ino,)) is not None), "")


def still_stands(sql: Connection, file: Found) -> bool:
    """Whether a file is at its path as it was found, in the log and here, and nothing is going on with it. The caller
    holds the replica's lock."""
    row = sql.one(_CHILDREN + "AND d.name=?", (file.directory.ino, file.name))
    if row is None or (row[1], row[4], row[5]) != (file.ino, file.change, 0) or why_it_waits(sql, file.ino):
        return False
    directory: Directory | None = file.directory
    while directory is not None and directory.above is not None:
        row = sql.one(_CHILDREN + "AND d.name=?", (directory.above.ino, directory.name))
        if row is None or row[1] != directory.ino:
            return False
        directory = directory.above
    return True
