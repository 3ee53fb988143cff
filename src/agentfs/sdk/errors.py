"""Our errors, as Python's own too: `except FileNotFoundError` works beside `except agentfs.errors.NotFound`.

Inside the core the two families stay apart, so that an error of the machine's file system is never mistaken for an
answer of the tree; only what leaves the SDK is both.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from agentfs.errors import (
    AccessDenied,
    AgentFSError,
    Exists,
    IsADirectory,
    NotADirectory,
    NotFound,
    NotPermitted,
    SyncTimedOut,
)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_BUILTIN: dict[type[AgentFSError], type[OSError]] = {
    NotFound: FileNotFoundError,
    Exists: FileExistsError,
    NotADirectory: NotADirectoryError,
    IsADirectory: IsADirectoryError,
    AccessDenied: PermissionError,
    NotPermitted: PermissionError,
    SyncTimedOut: TimeoutError,
}


_MADE: dict[type[AgentFSError], type[AgentFSError]] = {}


def both(kind: type[AgentFSError]) -> type[AgentFSError]:
    """The class that is `kind` and the built-in error of the same meaning (`OSError` for all others)."""
    if kind not in _MADE:
        _MADE[kind] = _make(kind)
    return _MADE[kind]


def _make(kind: type[AgentFSError]) -> type[AgentFSError]:
    builtin = next((_BUILTIN[base] for base in kind.__mro__ if base in _BUILTIN), OSError)
    return type(kind.__name__, (kind, builtin), {"__module__": kind.__module__, "__doc__": kind.__doc__})


def friendly(error: AgentFSError) -> AgentFSError:
    """`error` as one that built-in handlers catch as well; `code`, `errno` and the text are kept."""
    if isinstance(error, OSError):
        return error
    kind = both(type(error))
    made = kind.__new__(kind, str(error))
    made.args = (str(error),)
    made.__dict__.update(error.__dict__)
    return made


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except AgentFSError as error:
        raise friendly(error) from error.__cause__


def speaks_python(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A method whose errors are both ours and Python's."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except AgentFSError as error:
            raise friendly(error) from error.__cause__

    return wrapped
