"""What a tool answers instead of doing what it was asked: one line, written for the model that reads it."""

from collections.abc import Iterator
from contextlib import contextmanager

from agentfs.errors import AgentFSError


class Refused(Exception):
    """Becomes a result with `isError`, and this text."""


@contextmanager
def refusing() -> Iterator[None]:
    """Errors of a home, as refusals."""
    try:
        yield
    except AgentFSError as error:
        raise Refused(f"Error: {one_line(str(error))}") from error
    except UnicodeEncodeError as error:
        raise Refused("Error: the text is not valid Unicode: it has half of a surrogate pair") from error


def one_line(text: str) -> str:
    return " ".join(text.split())
