"""Opening a home for one command, and pushing what the command changed."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentfs.cli.options import agent_of, settings_of
from agentfs.cli.output import warn
from agentfs.errors import StoreUnavailable, SyncTimedOut, Unavailable

if TYPE_CHECKING:
    from agentfs.sdk.home import Home

_PULL_SECONDS = 5.0
_AWAY_SECONDS = 3.0
"""What a change waits for a store that is known to be away."""


@contextmanager
def opened(options: dict[str, str | None], *, fresh: bool, push: bool = True) -> "Iterator[Home]":
    """The home, or the shared space of the option --space, with what other machines did in it where the store
    answers."""
    from agentfs.sdk.home import Home  # noqa: PLC0415 - help and usage errors must not wait for it

    space = options.pop("space", None)
    settings = settings_of(options)
    _warn_of_what_is_logged()
    home = Home.open(agent_of(settings), space=space, settings=settings, session_kind="cli")
    try:
        if fresh and not home.is_fresh:
            _catch_up(home)
        yield home
    finally:
        home.close(push=push)


def _catch_up(home: "Home") -> None:
    """Nobody waits long for a store that is away: what is here can be read."""
    try:
        if not (why := home._away()):
            home.pull(_PULL_SECONDS)
            return
    except SyncTimedOut:  # perhaps an engine that is busy
        warn(f"nothing was heard from the store for {_PULL_SECONDS:g} s, this machine's copy is used")
        return
    except (StoreUnavailable, Unavailable) as error:
        why = str(error)
    warn(f"the store cannot be reached, this machine's copy is used: {why}")


class _Lines(logging.Handler):
    """What the parts log, as lines of this command: Python would write them bare."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(" ".join(record.getMessage().split()))
        if record.exc_info:  # a fault of ours
            traceback.print_exception(record.exc_info[1])


def _warn_of_what_is_logged() -> None:
    """Unless somebody who runs this in his process has said where logs go."""
    if not logging.getLogger().handlers and not logging.getLogger("agentfs").handlers:
        logging.getLogger("agentfs").addHandler(_Lines(logging.WARNING))


def push(home: "Home", *, wait: bool) -> bool:
    """Push what was just changed. Whether it is in the store. Hardly waits for one that is known to be away, unless
    somebody said how long."""
    if not wait:
        return False
    away = "" if home._volume.settings.origins["timeout"] != "default" else home._away()
    try:
        home.sync(_AWAY_SECONDS if away else None)
    except StoreUnavailable as error:
        raise SyncTimedOut(f"the change is safe on this machine but not yet in the store: {error}") from error
    except SyncTimedOut as error:
        raise SyncTimedOut(f"{away}: {error}" if away else str(error)) from error
    return True
