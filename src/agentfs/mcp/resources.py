"""Files as resources: `agentfs://<agent>/<path>`, percent-encoded, the path as it is below `/memories`.

The list is bounded: the files that were changed last. By the template any file can be read.
"""

import base64
import mimetypes
import os
from collections import deque
from urllib.parse import quote, unquote_to_bytes

from mcp import types

from agentfs.errors import AgentFSError
from agentfs.mcp.commands import shown
from agentfs.mcp.listing import visible
from agentfs.mcp.pages import size
from agentfs.mcp.paths import TOP, Root
from agentfs.mcp.refusals import Refused, one_line, refusing
from agentfs.sdk.values import Entry

SCHEME = "agentfs://"
LISTED_MAX = 200
_LOOKED_AT_MAX = 10_000
"""Entries that are looked at to find the newest files."""
READ_BYTES_MAX = 1 << 20


class Resources:
    """Safe from any thread."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._home = root.home
        self._prefix = f"{SCHEME}{root.home.space or root.home.agent_id}/"

    def templates(self) -> list[types.ResourceTemplate]:
        return [
            types.ResourceTemplate(
                uri_template=self._prefix + "{+path}",
                name="file",
                title="A file of the memory",
                description=f"Any file of the memory, by its path below {TOP}.",
            )
        ]

    def listed(self) -> list[types.Resource]:
        """The files that were changed last, the newest first."""
        with refusing():
            files = sorted(self._files(), key=lambda entry: (-entry.modified_ns, entry.path))
        return [
            types.Resource(
                uri=self._prefix + quote(os.fsencode(self._below(entry))),
                name=self._root.outside(entry.path).removeprefix(TOP + "/"),
                mime_type=_kind(entry.name),
                size=entry.size_bytes,
                annotations=types.Annotations(last_modified=entry.modified.isoformat(timespec="seconds")),
            )
            for entry in files[:LISTED_MAX]
        ]

    def read(self, uri: str) -> types.ReadResourceResult:
        """Raises `Refused`."""
        if not uri.startswith(self._prefix):
            raise Refused(f"{one_line(uri)}: resources of this server begin with {self._prefix}")
        below = os.fsdecode(unquote_to_bytes(uri.removeprefix(self._prefix)))
        inside = self._root.inside(f"{TOP}/{below}")
        with refusing():
            entry = self._home.stat(inside)
            if not entry.is_file:
                raise Refused(f"{one_line(uri)} is a {entry.kind}: only files can be read")
            if entry.size_bytes > READ_BYTES_MAX:
                raise Refused(f"{one_line(uri)} is too large to be sent whole ({size(entry.size_bytes)}): view it")
            data = self._home.read(inside)
        kind = _kind(entry.name)
        if b"\0" in data:
            blob = base64.b64encode(data).decode()
            return types.ReadResourceResult(contents=[types.BlobResourceContents(uri=uri, mime_type=kind, blob=blob)])
        text = shown(data.decode("utf-8", "surrogateescape"))
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, mime_type=kind, text=text)])

    def _below(self, entry: Entry) -> str:
        return entry.path.removeprefix(self._root.directory + "/") if self._root.directory else entry.path

    def _files(self) -> list[Entry]:
        """The files of as many directories as may be looked at, those near the root first. Attached spaces are not
        entered: opening one may wait for the store."""
        found: list[Entry] = []
        spaces = {space.place for space in self._home.spaces()}
        todo, left = deque([self._root.directory]), _LOOKED_AT_MAX
        while todo and left > 0:
            try:
                entries = visible(self._home.list(todo.popleft()))
            except AgentFSError:  # deleted a moment ago
                continue
            left -= len(entries)
            found += [entry for entry in entries if entry.is_file]
            todo += [entry.path for entry in entries if entry.is_directory and entry.path not in spaces]
        return found


def _kind(name: str) -> str:
    if name.endswith((".md", ".markdown")):
        return "text/markdown"
    return mimetypes.guess_type(name)[0] or "text/plain"
