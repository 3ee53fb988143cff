"""Words of the engine's desk for the facts of one file: what it says about itself, and saying it anew.

Facts are read from the bytes of the file as they are now, not from the index. They are set where the file can hold
them: in the frontmatter of Markdown, else in extended attributes `user.agentfs.*`. Setting is an ordinary change:
the bytes that were read are what it is made of, and when somebody else wrote meanwhile, it is made anew of those.
"""

import hashlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agentfs.errors import FileBusy, InvalidArgument, IsADirectory, NoAttribute, NotFound
from agentfs.memory import moments
from agentfs.memory.documents import BYTES_MAX, Document, document
from agentfs.memory.facts import XATTR_PREFIX, Facts, facts_of, front, with_facts
from agentfs.model.names import shown
from agentfs.model.records import Kind
from agentfs.replica.replica import Replica
from agentfs.sync.engine import Engine
from agentfs.tree.tree import Tree
from agentfs.tree.values import Attributes
from agentfs.volume.fact_words import FACTS, SET_FACTS, Value, parse_meta, parse_tags, parse_ttl, xattr_value
from agentfs.volume.history import Answer
from agentfs.volume.messages import Message
from agentfs.volume.reading import open_resident
from agentfs.volume.replacing import replace_version

_TRIES_MAX = 20
_PAUSE_SECONDS = 0.05
"""Together one second, for whoever has the file open for writing."""
_LINKS_MAX = 1000
_TAKEN = ("expires", "tags", "importance", "type")
"""Facts that come from nowhere but the frontmatter and the attributes."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A file as it was in one moment."""

    path: bytes
    parent: int
    name: bytes
    attributes: Attributes
    version: int
    """`Handle.content_change`."""
    data: bytes | None
    """None: it was not read, for it is no document."""
    xattrs: Mapping[bytes, bytes]

    def document(self) -> Document | None:
        if self.data is None:
            return None
        return document(self.path, self.data, self.xattrs, mtime_ns=self.attributes.mtime_ns)

    def facts(self) -> Facts:
        """Also of a file without text."""
        found = self.document()
        return self.said() if found is None else found.facts

    def said(self) -> Facts:
        """What the frontmatter and the attributes say, and not the prose."""
        text = "" if self.data is None else self.data.decode("utf-8", "surrogateescape")
        yaml = front(self.name, text)[0]
        return facts_of(self.name, yaml, self.xattrs, mtime_ns=self.attributes.mtime_ns)


class FileFacts:
    """For one engine's replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._never = threading.Event()

    def facts(self, engine: Engine, request: Message) -> Message:
        """`ino`: what is known of a file, as `:meta` shows it. Raises `NotFound`, `IsADirectory`."""
        found = self._read(self._tree(engine), _ino(request))
        about = found.document()
        return {
            "path": os.fsdecode(found.path),
            "facts": facts_message(found.facts()),
            "kind": about.kind if about is not None else "",
            "passages": len(about.passages) if about is not None else 0,
            "size_bytes": found.attributes.size_bytes,
            "mtime_ns": found.attributes.mtime_ns,
            "version": hashlib.sha256(found.data).hexdigest() if found.data is not None else "",
        }

    def set_facts(self, engine: Engine, request: Message) -> Message:
        """`ino`, `word` (tags, ttl, meta), `text`: do what was written to the word. On return it survives `kill -9`.

        Raises `InvalidArgument`, `NotFound`, `FileBusy` (somebody has the file open for writing and does not close
        it)."""
        ino, word, text = _ino(request), request.get("word"), request.get("text")
        if not isinstance(text, str):
            raise InvalidArgument("text must be a text")
        tree = self._tree(engine)
        for attempt in range(_TRIES_MAX):
            found = self._read(tree, ino)
            changes = self._changes(found, word, text)
            if not changes or self._write(tree, found, changes):
                engine.wake()
                return {"changed": sorted(changes)}
            if attempt:  # at once when it was only changed
                self._replica.clock.wait(self._never, _PAUSE_SECONDS)
        raise FileBusy(f"{shown(found.path)} is being written: close it, or wait until it is closed, and try again")

    def answers(self) -> dict[str, Answer]:
        """By the word in `{"do": word}`."""
        return {
            FACTS: lambda engine, request, _: self.facts(engine, request),
            SET_FACTS: lambda engine, request, _: self.set_facts(engine, request),
        }

    # ---- inside ----

    def _tree(self, engine: Engine) -> Tree:
        return Tree(self._replica, hydrator=engine)

    def _read(self, tree: Tree, ino: int) -> _Read:
        attributes = tree.attributes(ino)
        if attributes.kind is Kind.DIRECTORY:
            raise IsADirectory("only files have facts")
        if attributes.kind is not Kind.FILE:
            raise InvalidArgument("only files have facts")
        with self._replica.lock:
            place = self._replica.connection.one(
                "SELECT parent, name FROM dentry WHERE ino=? ORDER BY parent, name LIMIT 1", (ino,)
            )
        path = self._replica.path_of(ino)
        if place is None or path is None:
            raise NotFound("the file is gone")
        data, version = None, 0
        if attributes.size_bytes <= BYTES_MAX and not _is_never_text(path):  # else it is not fetched for this
            handle = open_resident(tree, ino, os.O_RDONLY, direct=True)
            try:
                version = handle.content_change
                with open(handle.fd, "rb", buffering=0, closefd=False) as file:
                    data = file.readall()
            finally:
                tree.release(handle)
        xattrs = {name: tree.get_xattr(ino, name) for name in tree.list_xattrs(ino) if name.startswith(XATTR_PREFIX)}
        return _Read(path, place[0], bytes(place[1]), attributes, version, data, xattrs)

    def _changes(self, found: _Read, word: object, text: str) -> dict[str, Value]:
        """What is not so already, by key."""
        now_ns = self._replica.clock.wall_ns()
        facts, said = found.facts(), found.said()
        if word == "tags":
            change = parse_tags(text)
            wanted: dict[str, Value] = {"tags": change.of(said.tags) or None}
        elif word == "ttl":
            wanted = {"expires": parse_ttl(text, now_ns=now_ns)}
        elif word == "meta":
            wanted = parse_meta(text, now_ns=now_ns)
        else:
            raise InvalidArgument("what is written is tags, ttl or meta")
        shown_now = facts_message(facts)
        stands = facts_message(said)
        return {key: value for key, value in wanted.items() if not _is(shown_now.get(key), stands.get(key), value)}

    def _write(self, tree: Tree, found: _Read, changes: Mapping[str, Value]) -> bool:
        """False: the file changed, or is being written; nothing was done."""
        settings = dict(changes)
        if "expires" in settings:
            settings["ttl"] = None
        if "created" in settings and settings["created"] is None:
            settings["date"] = None
        edited = with_facts(found.name, found.data, settings) if found.data is not None else None
        ino = found.attributes.ino
        self._goes(found, edited, changes)
        if edited is None:
            self._set_xattrs(tree, ino, settings)
            return True
        if edited != found.data and not replace_version(
            self._replica, parent=found.parent, name=found.name, ino=ino, version=found.version, data=edited
        ):
            return False
        # An attribute would win over what the file says now.
        self._set_xattrs(tree, ino, dict.fromkeys(settings))
        return True

    def _goes(self, found: _Read, edited: bytes | None, changes: Mapping[str, Value]) -> None:
        """Raise `InvalidArgument` where a fact that is to be taken away would stay, in a frontmatter that nobody
        edits by program."""
        after = replace(found, data=found.data if edited is None else edited, xattrs={})
        left = facts_message(after.said())
        for key in _TAKEN:
            if key in changes and changes[key] is None and left[key] not in (None, "", []):
                raise InvalidArgument(
                    f"{key} cannot be taken out of the frontmatter of {shown(found.path)}, for how that is written: "
                    "edit it by hand"
                )

    def _set_xattrs(self, tree: Tree, ino: int, settings: Mapping[str, Value]) -> None:
        for key, value in settings.items():
            name = XATTR_PREFIX + key.encode()
            if value is not None:
                tree.set_xattr(ino, name, xattr_value(value), 0)
            else:
                try:
                    tree.remove_xattr(ino, name)
                except NoAttribute:
                    continue


def facts_message(facts: Facts) -> Message:
    """By the keys of frontmatter."""
    return {
        "title": facts.title,
        "type": facts.type,
        "tags": list(facts.tags),
        "importance": facts.importance,
        "pinned": facts.pinned,
        "expires": None if facts.expires_ns is None else moments.written(facts.expires_ns),
        "created": None if facts.created_ns is None else moments.written(facts.created_ns),
        "links": list(facts.links)[:_LINKS_MAX],
    }


def _is(shown_now: object, stands: object, wanted: Value) -> bool:
    """Whether a fact is so already: as it is shown, however that came to be; to take one away, as it stands there."""
    if wanted is None:
        return stands in (None, "", [], False)
    return shown_now == (list(wanted) if isinstance(wanted, tuple) else wanted)


def _ino(request: Message) -> int:
    ino = request.get("ino")
    if not isinstance(ino, int) or isinstance(ino, bool):
        raise InvalidArgument("ino must be a number")
    return ino


def _is_never_text(path: bytes) -> bool:
    from agentfs.memory.worker import is_never_text  # noqa: PLC0415 - loads the index

    return is_never_text(path)
