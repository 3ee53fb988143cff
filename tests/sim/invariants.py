"""What must hold of every replica between any two transactions."""

from collections import Counter, defaultdict

from agentfs.replica.replica import Replica
from agentfs.sync.contents import file_digest


def broken(replica: Replica) -> list[str]:
    """One line for each rule that is broken."""
    sql = replica.connection
    found: list[str] = []
    inodes = {
        row[0]: row for row in sql.rows("SELECT ino,id,kind,nlink,residency,pending,local,content_change FROM inode")
    }
    dentries = sql.rows("SELECT parent,name,ino,base,pending,local FROM dentry")
    contents = {row[0]: row for row in sql.rows("SELECT ino,digest,size_bytes FROM content")}
    changing = {row[0] for row in sql.rows("SELECT ino FROM write_open UNION SELECT ino FROM fork")}
    shown, based, subdirectories = defaultdict(list), defaultdict(list), Counter()
    for parent, name, ino, base, pending, local in dentries:
        where = f"{parent}/{name!r}"
        for number in (parent, ino, base):
            if number is not None and number not in inodes:
                found.append(f"{where}: inode {number} is missing")
                return found
        if ino is None and base is None:
            found.append(f"{where}: means nothing")
        if bool(pending) != (ino != base and not local):
            found.append(f"{where}: pending is {pending}: ino {ino} base {base} local {local}")
        if ino is not None:
            shown[ino].append(parent)
            if inodes[ino][2] == 2:
                subdirectories[parent] += 1
            if inodes[parent][3] == 0:
                found.append(f"{where}: shown in a directory that is not")
        if base is not None:
            based[base].append(parent)
            if inodes[base][1] is None:
                found.append(f"{where}: base {base} has no number in the log")
            if inodes[parent][1] is None:
                found.append(f"{where}: its directory has no number in the log")
    for ino, id_, kind, nlink, residency, pending, local, _change in inodes.values():
        if ino != 1:
            want = len(shown[ino]) + (1 + subdirectories[ino] if kind == 2 and shown[ino] else 0)
            if nlink != want:
                found.append(f"inode {ino}: nlink {nlink}, not {want}")
            if (id_ is not None) != bool(based[ino]):
                found.append(f"inode {ino}: id {id_}, in the log at {based[ino]}")
            if kind == 2 and (len(shown[ino]) > 1 or len(based[ino]) > 1):
                found.append(f"directory {ino} is in {shown[ino]}, log {based[ino]}")
            if id_ is None and shown[ino] and not pending and not local:
                found.append(f"inode {ino}: new and not pending")
        if kind == 1 and id_ is not None and ino not in contents:
            found.append(f"file {ino}: in the log without a content")
        if kind == 1 and nlink and residency == 1 and replica.files.stat(ino) is None:
            found.append(f"file {ino}: its bytes are missing")
        clean = kind == 1 and nlink and residency == 1 and not pending & 2 and not local and ino not in changing
        if clean and ino in contents and file_digest(replica.files.path(ino)) != contents[ino][1]:
            found.append(f"file {ino}: clean, and its bytes are not the log's")
    found += _circles("shown", shown, inodes) + _circles("log", based, inodes)
    return found


def _circles(what: str, parents: dict[int, list[int]], inodes: dict[int, tuple]) -> list[str]:
    found = []
    for start, row in inodes.items():
        at, steps = start, 0
        while row[2] == 2 and at != 1 and parents[at] and steps < 10_000:
            at, steps = parents[at][0], steps + 1
        if steps >= 10_000:
            found.append(f"{what}: directory {start} is in a circle")
    return found
