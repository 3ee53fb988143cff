"""Standard input, for commands that take `-`."""

import sys
from typing import IO

from agentfs.errors import InvalidArgument


def standard_input() -> IO[bytes]:
    """Raises `InvalidArgument` where this process was started without one."""
    if sys.stdin is None:
        raise InvalidArgument("standard input is closed: give a file, or text through a pipe")
    return sys.stdin.buffer


def read_standard_input() -> bytes:
    """All of it. Raises `InvalidArgument`."""
    try:
        return standard_input().read()
    except OSError as error:
        raise InvalidArgument(f"standard input cannot be read: {error.strerror}") from None
