"""What the killed process does, and its model repeats: operations that are each done or not done, never half."""

import os
from contextlib import suppress
from random import Random

from agentfs.testing.file_behaviour_binding import Files

NAMES = (b"a", b"b", b"c", b"d/a", b"d/b", b"d", b"e")
SLOTS = 4
Operation = tuple[str, bytes, bytes, int]
"""Verb, path, other path or bytes, number."""
VERBS = ("open", "open", "truncate", "append", "write", "write", "write", "close", "close", "rename", "rename",
         "exchange", "unlink", "link", "mkdir", "rmdir", "symlink", "chmod", "xattr", "fsync", "futime")  # fmt: skip


def operations(seed: int, count: int) -> list[Operation]:
    random = Random(seed)
    made: list[Operation] = [("mkdir", b"d", b"", 0)]
    for number in range(count):
        verb = random.choice(VERBS)
        other = b"<%d>" % number * random.choice((1, 100, 3000)) if verb == "write" else random.choice(NAMES)
        made.append((verb, random.choice(NAMES), other, random.randrange(SLOTS)))
    return made


def perform(files: Files, slots: dict[int, int], operation: Operation) -> None:
    """One operation; what the file system refuses is refused."""
    with suppress(OSError):
        _perform(files, slots, operation)


def _perform(files: Files, slots: dict[int, int], operation: Operation) -> None:
    verb, path, other, number = operation
    if verb in ("write", "close", "fsync", "futime"):
        if number not in slots:
            return
        if verb == "write":
            files.write(slots[number], other, 0)
        elif verb == "fsync":
            files.fsync(slots[number])
        elif verb == "futime":
            files.futime(slots[number], 10**9, 10**9)
        else:
            files.close(slots.pop(number))
    elif verb in ("open", "truncate", "append"):
        extra = {"open": 0, "truncate": os.O_TRUNC, "append": os.O_APPEND}[verb]
        if number not in slots:
            slots[number] = files.open(path, os.O_WRONLY | os.O_CREAT | extra, 0o644)
    elif verb in ("rename", "exchange"):
        files.rename(path, other, 2 if verb == "exchange" else 0)
    elif verb in ("unlink", "rmdir"):
        getattr(files, verb)(path)
    elif verb == "link":
        files.link(path, other)
    elif verb == "mkdir":
        files.mkdir(path, 0o755)
    elif verb == "symlink":
        files.symlink(b"nowhere/" + other, path)
    elif verb == "chmod":
        files.chmod(path, 0o640 + number)
    else:
        files.set_xattr(path, "user.a", other)
