"""Logs of background processes: rotated files in the state directory."""

import logging
import os

_BYTES_MAX = 2 << 20
_FILES = 3


def private_file(path: str) -> str:
    """Make sure that `path` exists and that only its user can read it."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    return path


def log_to_file(path: str, level: str) -> None:
    """Send this process's log to `path` (private to the user), rotated at 2 MiB, three old ones kept."""
    import logging.handlers  # noqa: PLC0415 - 20 ms: not for a command

    handler = logging.handlers.RotatingFileHandler(
        private_file(path), maxBytes=_BYTES_MAX, backupCount=_FILES, encoding="utf-8"
    )
    _install(handler, level)


def log_to_stderr(level: str) -> None:
    _install(logging.StreamHandler(), level)


def _install(handler: logging.Handler, level: str) -> None:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
