"""What a virtual node `:word` is: the values that its text is made from, and what may be done with it."""

from collections.abc import Callable
from dataclasses import dataclass

from agentfs.volume.messages import Message
from agentfs.volume.virtual_names import Query

CHANGES = "changes"
CONFLICTS = "conflicts-text"
HISTORY = "history-text"
"""Words of the engine's desk (`volume.changes`)."""


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who asks."""

    uid: int
    gids: tuple[int, ...]
    """All groups, sorted."""
    owner: tuple[int, int] | None = None
    """User and group that every file is shown as (a mount with `owner=me`); None: its own."""

    def fields(self) -> Message:
        """For a question to an engine."""
        return {"uid": self.uid, "gids": list(self.gids), "owner": None if self.owner is None else list(self.owner)}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a word is asked about, and by whom."""

    path: bytes
    """From the root, without a slash at either end; empty: the root."""
    is_directory: bool
    ino: int = 0
    """0: it is no more."""
    who: Who | None = None
    """Only where the word says `by_caller`."""


Accept = Callable[[Asked, str], None]
"""Does what was written. May wait, and raise any `AgentFSError`."""


@dataclass(frozen=True, slots=True)
class Word:
    """A virtual node `:word`. Others are added to `VirtualNodes.words`."""

    text: Callable[[Asked, Query], str]
    """May wait, and raise any `AgentFSError`."""
    help: str
    """One line."""
    takes_query: bool = False
    of_deleted: bool = False
    """It also says something of paths that are no more, and raises `NotFound` for what never was."""
    by_caller: bool = False
    """What it says depends on who asks."""
    asks: bool = False
    """A query may also be written to it; the answer is then read on the same handle."""
    accept: Accept | None = None
    """What is written to the word of a file changes the file. None: nothing can be written."""
    check: Callable[[str], None] | None = None
    """Whether one whole line that was written can be accepted, as far as that can be told at once: raises
    `InvalidArgument`. Does not wait."""

    def takes_writes(self, asked: Asked) -> bool:
        return self.asks or (self.accept is not None and not asked.is_directory)
