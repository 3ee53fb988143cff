"""`/memories/…`, as models say it, and the paths of a home.

`/memories` is the root of the home, or the directory that the server was told to keep to. Nothing leads out of it:
neither `..`, however it is written, nor, where the server keeps to a directory, a symbolic link.
"""

import os
from dataclasses import dataclass
from urllib.parse import unquote

from agentfs.errors import NotADirectory, NotFound
from agentfs.mcp.refusals import Refused
from agentfs.sdk.home import Home

TOP = "/memories"
_DECODINGS_MAX = 4


@dataclass(frozen=True, slots=True)
class Root:
    """Where `/memories` is."""

    home: Home
    directory: str = ""
    """From the root of the home, without slashes around it; empty: all of the home."""

    def inside(self, path: str) -> str:
        """The path in the home of a path that a model gave. Raises `Refused`."""
        below = path.removeprefix(TOP)
        if not path.startswith(TOP) or (below and not below.startswith("/")):
            raise Refused(f"Error: Path must start with {TOP}, got: {path}")
        if _climbs(path):
            raise Refused(f"Error: Path {path} would escape {TOP} directory")
        names = [name for name in below.split("/") if name not in ("", ".")]
        found = "/".join([self.directory, *names] if self.directory else names)
        if self.directory:
            self._keep_to(found, path)
        return found

    def outside(self, path: str) -> str:
        """How a model says a path of the home. Bytes that are no text are replaced; what leads nowhere outside is as
        it is."""
        if self.directory and path == self.directory:
            return TOP
        below = path.removeprefix(self.directory + "/") if self.directory else path
        return printable(f"{TOP}/{below}" if below else TOP)

    def holds(self, path: str) -> bool:
        """Whether a path of the home is at or below `/memories`."""
        return not self.directory or path == self.directory or path.startswith(self.directory + "/")

    def _keep_to(self, found: str, path: str) -> None:
        """Raise `Refused` for a path through a symbolic link: it could lead to another part of the home."""
        names = found.split("/")
        for end in range(1, len(names) + 1):
            try:
                if self.home.stat("/".join(names[:end]), follow=False).kind == "symlink":
                    raise Refused(f"Error: Path {path} would escape {TOP} directory via symlink")
            except (NotFound, NotADirectory):
                return


def _climbs(path: str) -> bool:
    """Whether `..` is a part of the path, also when it is written as `%2e%2e%2f` or with backslashes."""
    for _ in range(_DECODINGS_MAX):
        if ".." in path.replace("\\", "/").split("/"):
            return True
        decoded = unquote(path)
        if decoded == path:
            return False
        path = decoded
    return True


def printable(path: str) -> str:
    """A path in one line of text that can be sent."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
