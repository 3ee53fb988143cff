"""Asking the memory of a home for one command: the engine that runs already, else one of our own.

Where a mount or a program has the home open, its engine is asked over its socket, and nothing else is loaded: that
takes a tenth of what opening the home takes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from agentfs.cli.options import agent_of, settings_of, words
from agentfs.cli.output import Progress, warn
from agentfs.clock import SystemClock
from agentfs.config.settings import Settings
from agentfs.errors import AgentFSError, InvalidArgument, SyncTimedOut
from agentfs.memory.results import Asked
from agentfs.volume.asking import Memory
from agentfs.volume.asking import Progress as Tell

if TYPE_CHECKING:
    from agentfs.sdk.home import Home

WAIT_SECONDS = 60.0
"""What an answer waits for files that were not indexed yet. Progress shows it; Ctrl-C ends it."""
_PULL_SECONDS = 2.0


@contextmanager
def memories(options: dict[str, str | None], *, fresh: bool = True) -> Iterator[Sequence[Memory]]:
    """The home's memory, or that of the space of the option --space, then those of the attached spaces. `fresh`: with
    what other machines did, where the store answers."""
    space = options.pop("space", None)
    settings = settings_of(dict(options))
    with ExitStack() as stack:

        def home(of: str | None) -> "Home":
            from agentfs.cli.homes import opened  # noqa: PLC0415 - where nothing runs

            return stack.enter_context(opened({**options, "space": of}, fresh=fresh))

        begun: list[str | None] = []

        def start(of: str | None) -> None:
            begun.append(of)
            home(of)._volume.link.ensure()

        found = _running(settings, agent_of(settings), space, start)
        if found is None:
            yield home(space)._memories()
            return
        if fresh:
            _pull(found, begun)
        yield found


def _pull(them: Sequence[Memory], begun: Sequence[str | None]) -> None:
    """Have the engines look at the log, if they can do so in a moment. What was `begun` meanwhile has looked."""
    for it in them:
        try:
            it.link().request("pull", timeout_seconds=_PULL_SECONDS)
        except SyncTimedOut:
            pass  # it pushes, or waits for the store: it looks again by itself
        except AgentFSError as error:
            if begun:
                continue
            warn(f"the store cannot be reached, this machine's copy is used: {error}")


def _running(
    settings: Settings, agent: str, space: str | None, start: Callable[[str | None], None]
) -> Sequence[Memory] | None:
    """Those whose engines run; None when one of them does not. `start`: runs that of a space, or of the home, when it
    ends before it has answered: another command's does with that command."""
    from agentfs.replica.lock_file import holder  # noqa: PLC0415 - usage errors must not wait for it
    from agentfs.volume.attached import DIRECTORY, peek_attachments  # noqa: PLC0415
    from agentfs.volume.engine_link import EngineLink  # noqa: PLC0415
    from agentfs.volume.places import replica_directory  # noqa: PLC0415

    def directory_of(name: str | None) -> str:
        if name is None:
            return replica_directory(settings.state_dir, "home", agent, settings.store)
        return replica_directory(settings.state_dir, "space", name, settings.store, author=agent)

    places = [(b"", space)]
    try:
        if space is None and os.path.exists(os.path.join(directory_of(None), "replica.db")):
            places += [(DIRECTORY + b"/" + it.name, it.space) for it in peek_attachments(directory_of(None))]
    except AgentFSError:
        return None  # opening it tells
    found = []
    for place, of in places:
        directory = directory_of(of)
        lock = os.path.join(directory, "engine.lock")
        if not os.path.exists(lock) or holder(lock) is None:
            return None
        link = EngineLink(directory, start=lambda of=of: start(of), clock=SystemClock())  # type: ignore[misc]
        found.append(Memory(place, lambda link=link: link))  # type: ignore[misc]
    return found


def question(query: str, *, tags: Sequence[str], path: str, since: str | None, **more: Any) -> Asked:
    """The question of a command's options. Raises `InvalidArgument`."""
    names = tuple(part for part in os.fsencode(path).split(b"/") if part not in (b"", b"."))
    if b".." in names:
        raise InvalidArgument(f"{path}: '..' is not allowed: give the path from the root of the home")
    return Asked(query, tags=words(tags), path=b"/".join(names), since_ns=_since_ns(since), **more)


def _since_ns(since: str | None) -> int | None:
    if since is None:
        return None
    from agentfs.history.moments import parse_moment  # noqa: PLC0415 - as above

    moment = parse_moment(since, now_ns=SystemClock().wall_ns(), day_begins=True)
    if moment.kind != "time":
        raise InvalidArgument(f"{since} is no time: write 2h, 3d, yesterday or 2026-11-21")
    return moment.number


@contextmanager
def progress(label: str = "indexing") -> Iterator[Tell]:
    """A bar for files that are being indexed."""
    with Progress(label, what="files") as bar:
        yield lambda done, most: bar.left(max(most - done, 0), 0)
