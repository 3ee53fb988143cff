"""Opening a home for one command, and pushing what the command changed."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentfs.cli.options import agent_of, settings_of
from agentfs.cli.output import warn
from agentfs.errors import StoreUnavailable, SyncTimedOut

if TYPE_CHECKING:
    from agentfs.sdk.home import Home


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
            try:
                home.pull()
            except StoreUnavailable as error:
                warn(f"the store cannot be reached, this machine's copy is used: {error}")
        yield home
    finally:
        home.close(push=push)


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
    """Push what was just changed. Whether it is in the store."""
    if not wait:
        return False
    try:
        home.sync()
    except StoreUnavailable as error:
        raise SyncTimedOut(f"the change is safe on this machine but not yet in the store: {error}") from error
    return True
