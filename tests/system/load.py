"""A load whose acknowledged changes are written down outside, and the question whether a tree holds them all.

    python load.py <directory> <log> <plan.json>

Performs random changes below <directory>. Each is announced in the log before it is asked for (`begin`) and noted
when the system acknowledged it (`done`): the bytes of a file at its close(2). Ends with code 0 at SIGTERM, with 3
when the directory fails (a killed mount), after the operation at hand. One change at a time: after a crash at most
one is in doubt.
"""

import json
import os
import random
import signal
import sys
from dataclasses import dataclass, field

Parts = list[list[int]]
"""A file's content: pieces of (key, bytes), each made by `piece`."""
Model = dict[str, Parts | str | None]
"""By path: a file's parts, None for a directory, a symbolic link's target."""


def piece(key: int, size: int) -> bytes:
    return random.Random(key).randbytes(size)


def content(parts: Parts) -> bytes:
    return b"".join(piece(key, size) for key, size in parts)


@dataclass
class Change:
    do: str
    path: str
    to: str = ""
    parts: Parts = field(default_factory=list)


def apply(model: Model, change: Change) -> None:
    if change.do in ("create", "replace"):
        model[change.path] = change.parts
    elif change.do == "append":
        old = model[change.path]
        assert isinstance(old, list)
        model[change.path] = [*old, *change.parts]
    elif change.do == "mkdir":
        model[change.path] = None
    elif change.do == "symlink":
        model[change.path] = change.to
    elif change.do in ("unlink", "rmdir"):
        del model[change.path]
    elif change.do == "rename":
        for path in [path for path in model if path == change.path or path.startswith(change.path + "/")]:
            model[change.to + path[len(change.path) :]] = model.pop(path)
    else:
        raise ValueError(change.do)


def directories(model: Model) -> list[str]:
    return ["", *(path for path, what in model.items() if what is None)]


def files(model: Model) -> list[str]:
    return [path for path, what in model.items() if isinstance(what, list)]


def choose(model: Model, entropy: random.Random, number: int) -> Change:
    """A change that must succeed."""

    def fresh() -> str:
        parent = entropy.choice(directories(model))
        name = f"n{number}"
        return f"{parent}/{name}" if parent else name

    def some_bytes() -> Parts:
        size = entropy.choice((0, 1, 100, 1000, 5000, 30_000, 127_000, 140_000, 1_200_000)) + entropy.randrange(50)
        return [[entropy.getrandbits(60), size]]

    have = files(model)
    roll = entropy.random()
    if roll < 0.3 or len(have) < 5:
        return Change("create", fresh(), parts=some_bytes())
    if roll < 0.5:
        return Change("replace", entropy.choice(have), parts=some_bytes())
    if roll < 0.6:
        small = [path for path in have if len(model[path] or []) < 20]
        if small:
            return Change("append", entropy.choice(small), parts=[[entropy.getrandbits(60), entropy.randrange(2000)]])
    if roll < 0.7:
        return Change("rename", entropy.choice(have), to=entropy.choice((fresh(), entropy.choice(have))))
    if roll < 0.76:
        return Change("mkdir", fresh())
    if roll < 0.8:
        return Change("symlink", fresh(), to=f"target-{number}")
    if roll < 0.84:
        moved = [path for path in directories(model) if path]
        if moved:
            source = entropy.choice(moved)
            parents = [p for p in directories(model) if p != source and not p.startswith(source + "/")]
            parent = entropy.choice(parents)
            return Change("rename", source, to=f"{parent}/n{number}" if parent else f"n{number}")
    if roll < 0.87:
        empty = [p for p in directories(model) if p and not any(other.startswith(p + "/") for other in model)]
        if empty:
            return Change("rmdir", entropy.choice(empty))
    if len(have) > 40 or roll > 0.93:
        return Change("unlink", entropy.choice(have))
    return Change("create", fresh(), parts=some_bytes())


def perform(top: str, change: Change, entropy: random.Random) -> None:
    path = os.path.join(top, change.path)
    if change.do == "create":
        _write(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, content(change.parts), entropy)
    elif change.do == "replace":
        if entropy.random() < 0.5:
            _write(path, os.O_TRUNC | os.O_WRONLY, content(change.parts), entropy)
        else:  # as editors do
            beside = os.path.join(top, f".new-{os.path.basename(change.path)}")
            _write(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, content(change.parts), entropy)
            os.rename(beside, path)
    elif change.do == "append":
        _write(path, os.O_APPEND | os.O_WRONLY, content(change.parts), entropy)
    elif change.do == "mkdir":
        os.mkdir(path)
    elif change.do == "symlink":
        os.symlink(change.to, path)
    elif change.do == "unlink":
        os.unlink(path)
    elif change.do == "rmdir":
        os.rmdir(path)
    elif change.do == "rename":
        os.rename(path, os.path.join(top, change.to))


def _write(path: str, flags: int, data: bytes, entropy: random.Random) -> None:
    fd = os.open(path, flags, 0o644)
    try:
        step = entropy.choice((len(data) or 1, 4096, 70_000))
        for at in range(0, len(data), step):
            rest = memoryview(data)[at : at + step]
            while rest:
                rest = rest[os.write(fd, rest) :]
        if entropy.random() < 0.05:
            os.fsync(fd)
    finally:
        os.close(fd)


def main() -> int:
    top, log_path, plan_path = sys.argv[1:]
    with open(plan_path) as file:
        plan = json.load(file)
    model: Model = plan["model"]
    entropy = random.Random(plan["seed"])
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ending.append(number))
    log = os.open(log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    number = plan["number"]
    while not ending and number < plan["number"] + plan["most"]:
        number += 1
        change = choose(model, entropy, number)
        line = {"number": number, "do": change.do, "path": change.path, "to": change.to, "parts": change.parts}
        os.write(log, json.dumps({"begin": line}).encode() + b"\n")
        try:
            perform(top, change, entropy)
        except OSError as error:
            os.write(log, json.dumps({"failed": number, "errno": error.errno}).encode() + b"\n")
            return 3
        os.write(log, json.dumps({"done": number}).encode() + b"\n")
        apply(model, change)
    return 0


if __name__ == "__main__":
    os._exit(main())  # a late SIGTERM must not change the code
