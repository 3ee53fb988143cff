"""How a mount behaves: what the user may choose, with its defaults."""

from dataclasses import dataclass
from typing import Literal

HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseOptions:
    allow_other: bool = False
    """Users other than the mounting one may look in (an unprivileged mount needs `user_allow_other` in
    /etc/fuse.conf for this)."""
    read_only: bool = False
    passthrough: Literal["auto", "off"] = "auto"
    """Let the kernel read and write backing files directly while a file is open for writing, where it can
    (Linux 6.9, CAP_SYS_ADMIN). What is seen is the same either way."""
    entry_seconds: float = HOUR
    """How long the kernel may believe what a name means. Changes from elsewhere are told to it at once."""
    attribute_seconds: float = HOUR
    negative_seconds: float = HOUR
    """How long the kernel may believe that a name means nothing. 0: it asks every time."""
    owner: Literal["preserve", "me"] = "preserve"
    """`preserve` shows the stored owners; `me` shows every file as the mounting user's."""
    locks: bool = False
    """Do all `flock` and `fcntl` locks here, so that some can hold across machines; else the kernel does them."""
    workers: int = 16
    """Threads at most for requests that may wait for the network or the disk; they start when needed."""
