"""Which documents a document leads to, and which lead to it.

A link is a path, from the document's directory or from the root, with or without its ending; or a name alone, as
`[[wiki]]` links have it, which means the document of that name that is nearest to the root.
"""

import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agentfs.memory.index import Index

_ENDINGS = (b"", b".md", b".markdown", b".txt")


@dataclass(frozen=True, slots=True)
class Link:
    target: str
    """As it was written."""
    path: str
    """Of the document that it leads to; empty: it leads to none."""


@dataclass(frozen=True, slots=True)
class Links:
    out: tuple[Link, ...]
    back: tuple[str, ...]
    """Paths of documents with a link that leads here."""


def links(index: Index, path: bytes, *, now_ns: int, readable: Callable[[int], bool] | None = None) -> Links:
    """Links of the document at `path`; none, where there is no document. What may not be read is not there."""
    places = _Places({bytes(it): ino for ino, it in index.named(now_ns=now_ns)}, readable)
    ino = places.inode(path)
    document = None if ino is None else index.document(ino)
    out = [Link(it, os.fsdecode(places.meant(it, path))) for it in document.facts.links] if document else []
    stem = os.fsdecode(posixpath.splitext(posixpath.basename(path))[0])
    back: dict[bytes, None] = {}
    for other, at, target in index.linking(stem, now_ns=now_ns):
        if bytes(at) != path and places.may_read(other) and places.meant(target, bytes(at)) == path:
            back[bytes(at)] = None
    return Links(tuple(out), tuple(map(os.fsdecode, back)))


class _Places:
    def __init__(self, inodes: Mapping[bytes, int], readable: Callable[[int], bool] | None) -> None:
        self._inodes = inodes
        self._readable = readable
        self._named: dict[bytes, bytes] | None = None

    def may_read(self, ino: int) -> bool:
        return self._readable is None or self._readable(ino)

    def inode(self, path: bytes) -> int | None:
        ino = self._inodes.get(path)
        return ino if ino is not None and self.may_read(ino) else None

    def meant(self, target: str, source: bytes) -> bytes:
        """The path of the document that a link in `source` leads to; empty: none."""
        written = os.fsencode(target).strip()
        if not written or b"://" in written:
            return b""
        beside = b"" if written.startswith(b"/") else posixpath.dirname(source)
        for directory in dict.fromkeys((beside, b"")):
            path = posixpath.normpath(posixpath.join(b"/", directory, written.lstrip(b"/"))).lstrip(b"/")
            for ending in _ENDINGS:
                if self.inode(path + ending) is not None:
                    return path + ending
        return b"" if b"/" in written else self._of_name(written)

    def _of_name(self, name: bytes) -> bytes:
        if self._named is None:
            self._named = {}
            for path in sorted(self._inodes, key=lambda it: (it.count(b"/"), it)):
                if self.inode(path) is not None:
                    base = posixpath.basename(path).lower()
                    self._named.setdefault(base, path)
                    self._named.setdefault(posixpath.splitext(base)[0], path)
        return self._named.get(name.lower(), b"")
