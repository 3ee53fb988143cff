"""What an engine answers about locks across machines. The other end is `volume.locks`.

lock        take the lock of `ino`, waiting up to `wait` seconds for who holds it
unlock      commit the file's changes and give its lock back
break-lock  end a lock, whoever holds it
locks       which locks are in force
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from agentfs.errors import AgentFSError, InvalidArgument, LockHeld
from agentfs.model.names import shown
from agentfs.replica.locks import LockUse, lock_facts
from agentfs.sync.engine import Engine
from agentfs.sync.lock_steps import Granted
from agentfs.volume.messages import Message

Progress: TypeAlias = Callable[[Message], None]
Answer: TypeAlias = Callable[[Engine, Message, Progress], Message]

_LOOK_SECONDS = (0.05, 0.4)
"""Between looks whether a lock is free: the first, and the longest. Each is one request to the store."""


def lock_answers() -> Mapping[str, Answer]:
    """The words of this module, for the engine's desk."""
    return {"lock": _lock, "unlock": _unlock, "break-lock": _break, "locks": _locks}


def _lock(engine: Engine, request: Message, progress: Progress) -> Message:
    use = _use(request)
    clock = engine.ground.clock
    deadline = clock.monotonic() + float(request.get("wait") or 0)
    pause, longest = _LOOK_SECONDS
    never = threading.Event()
    while True:
        found = engine.in_turn(lambda _ground: engine.locks.take(use))
        if isinstance(found, Granted):
            break
        if clock.monotonic() >= deadline:
            raise LockHeld(f"the file is locked by {found.holder}")
        progress({})
        clock.wait(never, min(pause, max(0.0, deadline - clock.monotonic())))
        pause = min(longest, pause * 1.5)
    try:
        engine.hydrate(use.ino)
    except AgentFSError:
        with contextlib.suppress(AgentFSError):
            engine.in_turn(lambda _ground: engine.locks.give_back(use, found.epoch))
        raise
    return {"token": found.token, "epoch": found.epoch}


def _unlock(engine: Engine, request: Message, _progress: Progress) -> Message:
    use, epoch = _use(request), _integer(request, "epoch")
    engine.in_turn(lambda _ground: engine.locks.give_back(use, epoch))
    return {}


def _break(engine: Engine, request: Message, _progress: Progress) -> Message:
    ino = _integer(request, "ino")
    return {"holder": engine.in_turn(lambda _ground: engine.locks.break_lock(ino))}


def _locks(engine: Engine, _request: Message, _progress: Progress) -> Message:
    replica = engine.ground.replica
    with replica.lock:
        facts = lock_facts(replica.connection)
    ages = engine.in_turn(lambda _ground: [engine.locks.unchanged_s(it.id) for it in facts])
    return {
        "locks": [
            {
                "path": None if it.path is None else shown(it.path),
                "holder": it.holder,
                "token": it.token,
                "seconds": it.seconds,
                "unchanged_s": age,
                "here": it.is_ours,
                "session": it.used_by,
            }
            for it, age in zip(facts, ages, strict=True)
        ]
    }


def _use(request: Message) -> LockUse:
    return LockUse(
        _integer(request, "ino"),
        _integer(request, "session"),
        _integer(request, "number"),
        _integer(request, "seconds"),
    )


def _integer(request: Message, name: str) -> int:
    value: Any = request.get(name)
    if not isinstance(value, int):
        raise InvalidArgument(f"{name} must be a number")
    return value
