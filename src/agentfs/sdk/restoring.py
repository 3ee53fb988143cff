"""Making a place of the tree what something was."""

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from agentfs.errors import Exists, InvalidArgument, NoAttribute, NotADirectory, NotFound
from agentfs.memory.facts import XATTR_PREFIX, facts_of, front, with_facts
from agentfs.model.names import shown
from agentfs.model.records import Kind
from agentfs.sdk.past import Restored, RestoredWhat, Was
from agentfs.sdk.past_home import PastHome
from agentfs.sdk.paths import existing, parts, resolve, text
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Attributes, Caller

_PARALLEL = 8
_ENDS = ("expires", "ttl")


class Restore:
    """Makes a place of the tree what something else was."""

    def __init__(
        self,
        home: PastHome,
        tree: Tree,
        top: Was,
        target: tuple[bytes, ...],
        *,
        exact: bool,
        keep: bool,
        now_ns: int,
    ) -> None:
        """`keep`: what is over at `now_ns` by what it says of itself is made to stay."""
        self._home = home
        self._tree = tree
        self._top = top
        self._target = target
        self._exact = exact
        self._keep = keep
        self._now_ns = now_ns
        self._done: dict[bytes, Restored] = {}

    def run(self, rows: Sequence[Was]) -> Sequence[Restored]:
        if self._top.kind != "directory":
            rows = [self._top]
        elif self._target:
            self._directory(self._target, self._top)
        wanted: set[tuple[bytes, ...]] = set()
        files: list[tuple[tuple[bytes, ...], Was]] = []
        for row in rows:
            place = self._place(row)
            wanted.add(place)
            if row.kind == "directory":
                self._directory(place, row)
            elif row.kind == "symlink":
                self._symlink(place, row)
            elif row.kind == "file":
                files.append((place, row))
        self._files(files)
        if self._exact and self._top.kind == "directory":
            self._delete_others(wanted)
        return list(self._done.values())

    def _note(self, place: tuple[bytes, ...], what: RestoredWhat, ended_ns: int | None = None) -> None:
        name = b"/".join(place)
        self._done.setdefault(name, Restored(text(place), what, ended_ns))

    def _place(self, row: Was) -> tuple[bytes, ...]:
        above = parts(self._top.path)
        return (*self._target, *parts(row.path)[len(above) :])

    def _directory(self, place: tuple[bytes, ...], row: Was) -> None:
        found = self._there(place)
        if found is not None and found.kind is not Kind.DIRECTORY:
            self._home.delete(b"/".join(place))
            found = None
        if found is None:
            self._home.mkdir(b"/".join(place))
            self._note(place, "created")
        self._mode(place, row)

    def _symlink(self, place: tuple[bytes, ...], row: Was) -> None:
        found = self._there(place)
        target = os.fsencode(row.target)
        if found is not None:
            if found.kind is Kind.SYMLINK and self._tree.readlink(found.ino) == target:
                return
            self._home.delete(b"/".join(place), recursive=True)
        parent = self._parent(place)
        self._tree.symlink(parent.ino, place[-1], target, Caller.process())
        self._note(place, "written" if found is not None else "created")

    def _files(self, files: Sequence[tuple[tuple[bytes, ...], Was]]) -> None:
        """Their bytes are fetched ahead, some at once, and written one after the other."""
        todo = [(place, row) for place, row in files if self._keep or not self._is_equal(place, row)]
        with ThreadPoolExecutor(_PARALLEL, "agentfs-restore") as pool:
            for start in range(0, len(todo), _PARALLEL):
                some = todo[start : start + _PARALLEL]
                for (place, _), data in zip(some, pool.map(self._home.bytes_of, [it[1] for it in some]), strict=True):
                    self._file(place, data)
        for place, row in files:
            self._mode(place, row)

    def _file(self, place: tuple[bytes, ...], data: bytes) -> None:
        found = self._there(place)
        if found is not None and found.kind is not Kind.FILE:
            self._home.delete(b"/".join(place), recursive=True)
            found = None
        ended_ns = self._ended_ns(place, data, found)
        if ended_ns is not None and self._keep:
            data, ended_ns = self._endless(place, data, found), None
        if found is not None and self._keep and self._home.read(b"/".join(place)) == data:
            return
        self._home.write(b"/".join(place), data)
        self._note(place, "created" if found is None else "written", ended_ns)

    def _ended_ns(self, place: tuple[bytes, ...], data: bytes, there: Attributes | None) -> int | None:
        """When what is made of these bytes, with the attributes of the file that is there, was over; None: it is not
        over."""
        yaml = front(place[-1], data.decode("utf-8", "surrogateescape"))[0]
        said = set() if there is None else set(self._tree.list_xattrs(there.ino))
        xattrs = {
            name: self._tree.get_xattr(there.ino, name)
            for name in (XATTR_PREFIX + key.encode() for key in _ENDS)
            if there is not None and name in said
        }
        ends_ns = facts_of(place[-1], yaml, xattrs, mtime_ns=self._now_ns).expires_ns
        return ends_ns if ends_ns is not None and ends_ns <= self._now_ns else None

    def _endless(self, place: tuple[bytes, ...], data: bytes, there: Attributes | None) -> bytes:
        """The bytes without an end; the file that is there has none any more."""
        edited = with_facts(place[-1], data, dict.fromkeys(_ENDS))
        edited = data if edited is None else edited
        if there is not None:
            for key in _ENDS:
                with contextlib.suppress(NoAttribute):
                    self._tree.remove_xattr(there.ino, XATTR_PREFIX + key.encode())
        if self._ended_ns(place, edited, None) is not None:
            raise InvalidArgument(
                f"the end of {shown(b'/'.join(place))} cannot be taken out of its frontmatter, for how that is "
                "written: restore it without keep, or read it and write it elsewhere"
            )
        return edited

    def _is_equal(self, place: tuple[bytes, ...], row: Was) -> bool:
        """Whether the bytes are there already: a restore that was cut short goes on where it was."""
        found = self._there(place)
        return found is not None and found.kind is Kind.FILE and self._home.is_as(b"/".join(place), row)

    def _mode(self, place: tuple[bytes, ...], row: Was) -> None:
        found = self._there(place)
        if found is not None and found.mode != row.mode:
            self._tree.set_attributes(found.ino, AttributeChange(mode=row.mode))
            self._note(place, "mode")

    def _delete_others(self, wanted: set[tuple[bytes, ...]]) -> None:
        keep = {place[:end] for place in wanted for end in range(len(place) + 1)}
        for entry in reversed(self._home.walk(b"/".join(self._target))):
            place = parts(os.fsencode(entry.path))
            if place not in keep:
                self._home.delete(b"/".join(place), missing_ok=True)
                self._note(place, "deleted")

    def _there(self, place: tuple[bytes, ...]) -> Attributes | None:
        try:
            return resolve(self._home._volumes, b"/".join(place), follow=False).attributes
        except (NotFound, NotADirectory):
            return None

    def _parent(self, place: tuple[bytes, ...]) -> Attributes:
        above = b"/".join(place[:-1])
        with contextlib.suppress(Exists):
            if above:
                self._home.mkdir(above)
        return existing(self._home._volumes, above)[1]
