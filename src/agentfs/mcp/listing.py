"""A directory as `view` shows it: two levels deep, with sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from agentfs.errors import AgentFSError, NotADirectory, NotFound
from agentfs.mcp.pages import listed, size
from agentfs.mcp.paths import Root, printable
from agentfs.sdk.values import Entry

_LEVELS = 2
_COUNTED_MAX = 10_000
"""Files and directories that are looked at to find out how large directories are."""
_UNLISTED = frozenset({"node_modules"})


def directory(root: Root, path: str, inside: str) -> str:
    """The directory `inside` of the home, which the model calls `path`."""
    path = printable(path.rstrip("/"))
    walk = _Walk(root, spaces=frozenset(found.place for found in root.home.spaces()))
    total = walk.below(inside, path, level=1)
    lines = [f"{total}\t{path}", *walk.lines]
    return listed(_title(path), lines, hint="To see them, view a directory below.")


def empty(path: str) -> str:
    """A directory that nobody has written to yet."""
    return listed(_title(path), [f"0B\t{path}"], hint="")


def _title(path: str) -> str:
    what = f"the files and directories up to {_LEVELS} levels deep in {path}"
    return f"Here're {what}, excluding hidden items and node_modules:"


@dataclass
class _Total:
    size_bytes: int = 0
    partly: bool = False
    """More is there than was counted."""

    def __str__(self) -> str:
        return size(self.size_bytes) + ("+" if self.partly else "")


@dataclass
class _Walk:
    root: Root
    spaces: frozenset[str]
    """Where spaces are attached. Those are named, and not entered from above: opening one may wait for the store."""
    lines: list[str] = field(default_factory=list)
    left: int = _COUNTED_MAX

    def below(self, inside: str, path: str, *, level: int) -> _Total:
        """How much is in a directory; with lines for what is in it, down to the last level."""
        total = _Total()
        if level > _LEVELS and self.left <= 0:
            return _Total(partly=True)
        try:
            entries = visible(self.root.home.list(inside))
        except (NotFound, NotADirectory):
            if level == 1:
                raise
            return total  # somebody has just deleted it
        self.left -= len(entries)
        for entry in entries:
            shown, at = f"{path}/{printable(entry.name)}", len(self.lines)
            meant = self._followed(entry) if entry.kind == "symlink" else entry
            if meant is None:
                continue
            if meant.is_file:
                total.size_bytes += meant.size_bytes
                self._say(level, at, f"{size(meant.size_bytes)}\t{shown}")
            elif meant.is_directory and (meant is not entry or entry.path in self.spaces):
                self._say(level, at, f"-\t{shown}/")
            elif meant.is_directory:
                within = self.below(entry.path, shown, level=level + 1)
                total.size_bytes += within.size_bytes
                total.partly |= within.partly
                self._say(level, at, f"{within}\t{shown}/")
        return total

    def _say(self, level: int, at: int, line: str) -> None:
        if level <= _LEVELS:
            self.lines.insert(at, line)

    def _followed(self, link: Entry) -> Entry | None:
        """What a symbolic link means; None: nothing that can be viewed by it."""
        if self.root.directory:
            return None
        try:
            return self.root.home.stat(link.path)
        except AgentFSError:
            return None


def visible(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name not in _UNLISTED]
