"""The six commands of Anthropic's memory tool (`memory_20250818`), over a home.

What they do and what they say is what its documentation describes, and models are trained on. Each returns its text
or raises `Refused`. What was changed survives `kill -9` on return.
"""

from collections.abc import Sequence

from agentfs.errors import Exists, NotADirectory, NotFound, OtherVolume
from agentfs.mcp import listing
from agentfs.mcp.edits import inserted, replaced
from agentfs.mcp.pages import page, size
from agentfs.mcp.paths import TOP, Root
from agentfs.mcp.refusals import Refused, refusing
from agentfs.sdk.values import Entry

TEXT_BYTES_MAX = 32 << 20


class Commands:
    """Safe from any thread."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._home = root.home

    def view(self, path: str, view_range: Sequence[int] | None = None) -> str:
        inside = self._root.inside(path)
        with refusing():
            entry = self._entry(inside)
            if entry is None and path.rstrip("/") == TOP:
                return listing.empty(TOP)
            if entry is None:
                raise Refused(f"The path {path} does not exist. Please provide a valid path.")
            if entry.is_directory:
                return listing.directory(self._root, path, inside)
            return page(path, shown(decoded(path, self._read(path, entry))), view_range)

    def create(self, path: str, file_text: str) -> str:
        inside = self._root.inside(path)
        if inside == self._root.directory:
            raise Refused(f"Error: File {path} already exists")
        with refusing():
            try:
                self._home.write(inside, file_text.encode(), overwrite=False)
            except Exists:
                raise Refused(f"Error: File {path} already exists") from None
        return f"File created successfully at: {path}"

    def str_replace(self, path: str, old_str: str, new_str: str = "") -> str:
        inside = self._root.inside(path)
        around = ""

        def change(data: bytes) -> bytes:
            nonlocal around
            after, around = replaced(path, decoded(path, data), old_str, new_str)
            return encoded(after)

        with refusing():
            new_str.encode()
            self._must_be_file(inside, f"Error: The path {path} does not exist. Please provide a valid path.")
            self._home.edit(inside, change)
        head = "The memory file has been edited. Here is the snippet showing the change (with line numbers):"
        return f"{head}\n{shown(around)}"

    def insert(self, path: str, insert_line: int, insert_text: str) -> str:
        inside = self._root.inside(path)

        def change(data: bytes) -> bytes:
            return encoded(inserted(decoded(path, data), insert_line, insert_text))

        with refusing():
            insert_text.encode()
            self._must_be_file(inside, f"Error: The path {path} does not exist")
            self._home.edit(inside, change)
        return f"The file {path} has been edited."

    def delete(self, path: str) -> str:
        inside = self._root.inside(path)
        if inside == self._root.directory:
            raise Refused(f"Error: Cannot delete the {TOP} directory itself")
        with refusing():
            try:
                self._home.delete(inside, recursive=True)
            except (NotFound, NotADirectory):
                raise Refused(f"Error: The path {path} does not exist") from None
        return f"Successfully deleted {path}"

    def rename(self, old_path: str, new_path: str) -> str:
        old, new = self._root.inside(old_path), self._root.inside(new_path)
        if old == self._root.directory:
            raise Refused(f"Error: Cannot rename the {TOP} directory itself")
        with refusing():
            if self._entry(old, follow=False) is None:
                raise Refused(f"Error: The path {old_path} does not exist")
            if new == self._root.directory:
                raise Refused(f"Error: The destination {new_path} already exists")
            try:
                self._home.move(old, new, overwrite=False)
            except Exists:
                raise Refused(f"Error: The destination {new_path} already exists") from None
            except NotFound:
                raise Refused(f"Error: The path {old_path} does not exist") from None
            except OtherVolume:
                raise Refused(
                    f"Error: {old_path} and {new_path} are in different spaces: create it there with the same text, "
                    "then delete it here"
                ) from None
        return f"Successfully renamed {old_path} to {new_path}"

    def _entry(self, inside: str, *, follow: bool = True) -> Entry | None:
        try:
            return self._home.stat(inside, follow=follow)
        except (NotFound, NotADirectory):
            return None

    def _must_be_file(self, inside: str, otherwise: str) -> None:
        entry = self._entry(inside)
        if entry is None or not entry.is_file:
            raise Refused(otherwise)
        if entry.size_bytes > TEXT_BYTES_MAX:
            raise Refused(f"Error: The file is too large to edit here ({size(entry.size_bytes)})")

    def _read(self, path: str, entry: Entry) -> bytes:
        if not entry.is_file:
            raise Refused(f"Error: {path} is a {entry.kind}: only files and directories can be viewed")
        if entry.size_bytes > TEXT_BYTES_MAX:
            raise Refused(f"Error: {path} is too large to view ({size(entry.size_bytes)}): use search or recall")
        return self._home.read(entry.path)


def decoded(path: str, data: bytes) -> str:
    """The text of a file; bytes that are not UTF-8 come back unchanged by `encoded`. Raises `Refused`."""
    if b"\0" in data:
        raise Refused(f"Error: {path} is not a text file ({size(len(data))})")
    return data.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """As it can be sent: bytes that are not UTF-8 are replaced."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
