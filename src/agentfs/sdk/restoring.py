"""Making a place of the tree what something was."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from agentfs.errors import Exists, InvalidArgument, NoAttribute, NotADirectory, NotFound, NotPermitted
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
_END_NAMES = frozenset(XATTR_PREFIX + key.encode() for key in _ENDS)


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
        self._above()
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

    def _above(self) -> None:
        """The directories above, with the modes that they had: what was private then is not for all now."""
        names = parts(self._top.path)
        for end in range(1, len(self._target)):
            place = self._target[:end]
            if place != names[:end]:
                return
            if self._there(place) is None:
                was, _ = self._home.listing(b"/".join(place), f"@{self._top.sequence}", recursive=False)
                self._directory(place, was)

    def _directory(self, place: tuple[bytes, ...], row: Was) -> None:
        found = self._there(place)
        if found is not None and found.kind is not Kind.DIRECTORY:
            self._home.delete(b"/".join(place))
            found = None
        if found is None:
            made = self._tree.mkdir(self._parent(place).ino, place[-1], row.mode, Caller.process())
            self._note(place, "created")
            found = made
        self._mode(place, row)
        if found is not None and row.xattrs is not None and self._say(found.ino, row.xattrs):
            self._note(place, "attributes")

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
                for (place, row), data in zip(
                    some, pool.map(self._home.bytes_of, [it[1] for it in some]), strict=True
                ):
                    self._file(place, row, data)
        for place, row in files:
            self._mode(place, row)

    def _file(self, place: tuple[bytes, ...], row: Was, data: bytes) -> None:
        found = self._there(place)
        if found is not None and found.kind is not Kind.FILE:
            self._home.delete(b"/".join(place), recursive=True)
            found = None
        said = row.xattrs
        if said is None:  # nobody knows them any more: those that are there stay
            said = {} if found is None else self._said(found.ino)
        ended_ns = self._ended_ns(place, data, said)
        if ended_ns is not None and self._keep:
            ended_ns, data = None, self._endless(place, data)
            said = {name: value for name, value in said.items() if name not in _END_NAMES}
        if found is None:
            parent = self._parent(place)
            self._tree.make_file(parent.ino, place[-1], data, row.mode, Caller.process(), xattrs=_settable(said))
            self._note(place, "created", ended_ns)
            return
        if found.mode & ~row.mode:  # before its bytes are there: others must not read them meanwhile
            self._tree.set_attributes(found.ino, AttributeChange(mode=found.mode & row.mode))
            self._note(place, "mode")
        changed = self._say(found.ino, said)  # first: what is over as it stands may be deleted at any moment
        if found.size_bytes != len(data) or self._home.read(b"/".join(place)) != data:
            self._home.write(b"/".join(place), data)
            self._note(place, "written", ended_ns)
        elif changed:
            self._note(place, "attributes", ended_ns)

    def _ended_ns(self, place: tuple[bytes, ...], data: bytes, said: Mapping[bytes, bytes]) -> int | None:
        """When a file of these bytes and extended attributes was over; None: it is not over."""
        yaml = front(place[-1], data.decode("utf-8", "surrogateescape"))[0]
        ends = {name: value for name, value in said.items() if name in _END_NAMES}
        ends_ns = facts_of(place[-1], yaml, ends, mtime_ns=self._now_ns).expires_ns
        return ends_ns if ends_ns is not None and ends_ns <= self._now_ns else None

    def _endless(self, place: tuple[bytes, ...], data: bytes) -> bytes:
        """The bytes without an end."""
        edited = with_facts(place[-1], data, dict.fromkeys(_ENDS))
        edited = data if edited is None else edited
        if self._ended_ns(place, edited, {}) is not None:
            raise InvalidArgument(
                f"the end of {shown(b'/'.join(place))} cannot be taken out of its frontmatter, for how that is "
                "written: restore it without keep, or read it and write it elsewhere"
            )
        return edited

    def _is_equal(self, place: tuple[bytes, ...], row: Was) -> bool:
        """Whether the bytes and the extended attributes are there already: a restore that was cut short goes on where
        it was."""
        found = self._there(place)
        return (
            found is not None
            and found.kind is Kind.FILE
            and (row.xattrs is None or _settable(row.xattrs) == _settable(self._said(found.ino)))
            and self._home.is_as(b"/".join(place), row)
        )

    # ---- attributes ----

    def _said(self, ino: int) -> dict[bytes, bytes]:
        """The extended attributes that are there, of those that this process may read."""
        found = {}
        for name in self._tree.list_xattrs(ino):
            with contextlib.suppress(NoAttribute, NotPermitted):
                found[name] = self._tree.get_xattr(ino, name)
        return found

    def _say(self, ino: int, said: Mapping[bytes, bytes]) -> bool:
        """Make the extended attributes `said`. Returns whether they were others."""
        had, wanted = _settable(self._said(ino)), _settable(said)
        for name in had.keys() - wanted.keys():
            with contextlib.suppress(NoAttribute):
                self._tree.remove_xattr(ino, name)
        changed = [name for name, value in wanted.items() if had.get(name) != value]
        for name in sorted(changed, key=lambda it: len(wanted[it]) - len(had.get(it, b""))):  # room is made first
            self._tree.set_xattr(ino, name, wanted[name], 0)
        return had != wanted

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


def _settable(said: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Those that this process may set: `security.*` and `trusted.*` are for root."""
    return {name: value for name, value in said.items() if name.startswith(b"user.") or os.geteuid() == 0}
