"""Somebody who is no machine of the volume and works on the view's objects with a client of the store: edits, puts,
deletes, moves, puts back what he read long ago, and asks nobody. And what must come of it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from changes import DIRECTORIES
from faults import VIEW
from logged import Logged
from oracle import Deed, Oracle
from programs import LOCKED
from record import Record
from texts import edited, kind_of, tokens

from agentfs.model.records import Commit
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import StoredObject
from agentfs.view.naming import object_name, place_of
from agentfs.view.restoring import restored

_SEEN_MAX = 12
_KINDS = ["new", "new", "edit", "edit", "edit", "edit", "stale", "delete", "move", "copy", "put_back", "empty"]


def path_of(name: str) -> bytes:
    """Of the file that an object of the view is."""
    place = place_of(name)
    return b"" if place is None else place[2]


@dataclass(frozen=True, slots=True)
class Read:
    """An object as he had it in hand."""

    name: str
    found: StoredObject
    text: bytes
    """The file that it means."""

    @property
    def front(self) -> bytes:
        """What stands before the file's own bytes."""
        data = self.found.data
        return data[: len(data) - len(self.text)] if data.endswith(self.text) else b""


@dataclass(frozen=True, slots=True)
class Standing:
    """What he put and nobody has taken in or replaced, as far as is known."""

    tag: str
    new: frozenset[bytes]
    """Tokens that only he has written."""
    text: bytes


@dataclass(slots=True)
class Outsider:
    store: MemoryStore
    random: Random
    oracle: Oracle
    record: Record
    fresh: Callable[[], bytes]
    names: list[str]
    exact: bool
    """All clocks agree: what does not say what it is of can be told by its time."""
    log: Callable[[str], None]
    complaints: list[str]
    owed: set[bytes] = field(default_factory=set)
    """Tokens that he wrote and did not overwrite himself: they must come to be in the log."""
    _standing: dict[str, Standing] = field(default_factory=dict)
    _seen: list[Read] = field(default_factory=list)
    _puts: set[tuple[str, bytes]] = field(default_factory=set)
    """Everything that he put: name below the prefix, and digest."""
    _unsaid: set[tuple[str, bytes]] = field(default_factory=set)
    """Those of them that do not say what they were made from."""
    _gone: dict[bytes, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """Paths whose objects he took away or emptied → digests of what he had seen there."""
    _saw: dict[bytes, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    _over: dict[str, bytes] = field(default_factory=dict)
    """What he has put over since a machine wrote there: deleting his own he deletes that."""
    _used: set[str] = field(default_factory=set)
    """Every name that ever had an object."""
    _moving: tuple[Read, str, Deed] | None = None

    # ---- what he does ----

    def act(self) -> None:
        if self._moving is not None and self.random.random() < 0.6:
            self._finish_move()
            return
        what = self.random.choice(_KINDS)
        getattr(self, f"_{what}")()

    def _names(self) -> list[str]:
        """Of all objects but that of the file that is changed under its lock only."""
        found = self.store.list(VIEW, limit=10_000, foreign=True)
        return [it.name for it in found if not it.name.endswith(LOCKED)]

    def _read(self, name: str) -> Read:
        found = self.store.get(name)
        read = Read(name, found, restored(path_of(name), found.data, found.attributes).data)
        self._seen.append(read)
        self._saw[path_of(name)].add(hashlib.sha256(read.text).digest())
        del self._seen[:-_SEEN_MAX]
        return read

    def _any(self) -> Read | None:
        names = self._names()
        return self._read(self.random.choice(names)) if names else None

    def _new_name(self) -> str:
        directory = self.random.choice(["", "", *DIRECTORIES, "new"])
        name = self.random.choice(
            [*self.names, f"n{self.random.randrange(4)}.md", f"n{self.random.randrange(4)}.txt"]
        )
        path = f"{directory}/{name}" if directory else name
        found = object_name("space", "sim", path.encode())
        assert found is not None
        return found

    def _new(self) -> None:
        name = self._new_name()
        if name in self._names():
            self._edit_object(self._read(name))
            return
        kind = kind_of(name)
        own: set[bytes] = set()
        text = self._edited(b"", kind, own)
        deed = self.oracle.deed(f"outsider new {name}", "outsider")
        self._wrote(deed, name, b"", text, own)
        self._put(name, text, {}, own, text)
        self._unsaid.add((name.removeprefix(VIEW), hashlib.sha256(text).digest()))
        self.log(f"outsider puts {name}")

    def _edit(self) -> None:
        read = self._any()
        if read is not None:
            self._edit_object(read)

    def _stale(self) -> None:
        if self._seen:
            self._edit_object(self.random.choice(self._seen), stale=True)

    def _edit_object(self, read: Read, *, stale: bool = False) -> None:
        name, kind = read.name, kind_of(read.name)
        own: set[bytes] = set()
        text = self._edited(read.text, kind, own)
        front = read.front if kind != "binary" else b""
        keeps = self.random.random() < 0.85 or stale or not self.exact
        if not keeps:
            front = b""
        attributes = dict(read.found.attributes) if keeps and (not front or self.random.random() < 0.7) else {}
        says = bool(attributes) or bool(front)
        deed = self.oracle.deed(f"outsider edit {name}", "outsider")
        self._wrote(deed, name, read.text, text, own)
        if not says:
            self._excuse_unseen(deed, name, text)
            self._unsaid.add((name.removeprefix(VIEW), hashlib.sha256(text).digest()))
        self._put(name, front + text, attributes, own, text)
        self.log(
            f"outsider edits {name}{'' if says else ' and leaves out what it is of'}{' (stale)' if stale else ''}"
        )

    def _delete(self) -> None:
        read = self._any()
        if read is not None:
            self._take_away(read)
            self.log(f"outsider deletes {read.name}")

    def _empty(self) -> None:
        """A tool that failed."""
        read = self._any()
        if read is None or self.random.random() < 0.7:
            return
        deed = self.oracle.deed(f"outsider empties {read.name}", "outsider")
        self.oracle.destroyed(deed, read.text + self._over.pop(read.name, b""))
        self._excuse_own(deed, read.name, b"")
        self._excuse_unseen(deed, read.name, b"")
        self._gone[path_of(read.name)] |= self._saw[path_of(read.name)]
        self._put(read.name, b"", {}, set(), b"")
        self._unsaid.add((read.name.removeprefix(VIEW), hashlib.sha256(b"").digest()))
        self.log(f"outsider empties {read.name}")

    def _move(self) -> None:
        """Copy, and later delete."""
        read = self._any()
        if read is not None and self._moving is None:
            self._moving = self._copied(read)

    def _copy(self) -> None:
        read = self._any()
        if read is not None:
            self._copied(read)

    def _copied(self, read: Read) -> tuple[Read, str, Deed] | None:
        ending = read.name.rpartition("/")[2].partition(".")[2]
        name = self._new_name()
        if name.rpartition("/")[2].partition(".")[2] != ending or name in self._used or name in self._names():
            return None
        deed = self.oracle.deed(f"outsider copies {read.name} to {name}", "outsider")
        self.oracle.copied |= tokens(read.text)
        mine = self._standing.get(read.name)
        own = set(mine.new) if mine is not None and mine.tag == read.found.tag else set()
        self._put(name, read.found.data, dict(read.found.attributes), own, read.text)
        self.log(f"outsider copies {read.name} to {name}")
        return read, name, deed

    def _finish_move(self) -> None:
        assert self._moving is not None
        (read, name, deed), self._moving = self._moving, None
        if read.name not in self._names():
            return
        now = self._read(read.name)
        if now.found.tag == read.found.tag:  # else he would see that it is another one
            self._take_away(now, deed)
            self.log(f"outsider has moved {read.name} to {name}")

    def _put_back(self) -> None:
        """What he has kept, as it was."""
        if not self._seen:
            return
        read = self.random.choice(self._seen)
        deed = self.oracle.deed(f"outsider puts back {read.name}", "outsider")
        if read.name in self._names():
            self._excuse_own(deed, read.name, read.text)
        attributes = dict(read.found.attributes)
        if not attributes and not read.front:
            return  # what says nothing is an edit like any other
        self.oracle.copied |= tokens(read.text)
        self._put(read.name, read.found.data, attributes, set(), read.text)
        self.log(f"outsider puts {read.name} back")

    # ---- what that means ----

    def _edited(self, text: bytes, kind: str, own: set[bytes]) -> bytes:
        def fresh() -> bytes:
            token = self.fresh()
            own.add(token)
            return token

        text = edited(text, kind, fresh, self.random)
        return text + bytes(140_000) if kind == "binary" and self.random.random() < 0.3 else text

    def _wrote(self, deed: Deed, name: str, before: bytes, text: bytes, own: set[bytes]) -> None:
        self.oracle.wrote(text, kind_of(name), but=before)
        self.oracle.reordered(before, text)
        self.oracle.destroyed(deed, before, text)
        self._excuse_own(deed, name, text)
        self.oracle.acknowledge(deed, text, own, "outsider")

    def _excuse_own(self, deed: Deed, name: str, text: bytes) -> None:
        """What he put there before, and nobody has taken in, he overwrites himself."""
        mine = self._standing.get(name)
        if mine is not None and mine.tag == self._tag(name):
            lost = mine.new - tokens(text) - self.record.committed
            self.oracle.lost_with_machine(deed, set(lost))
            self.owed -= lost

    def _excuse_unseen(self, deed: Deed, name: str, text: bytes) -> None:
        """An object that does not say what it is of replaces what was in the log some time before."""
        inode = self.record.logged.file_at(path_of(name))
        if inode is not None:
            self.oracle.destroyed(deed, self.record.bytes_of[self.record.logged.digests[inode]], text)

    def _tag(self, name: str) -> str:
        found = self.store._objects.get(name)
        return "" if found is None else found.tag

    def _put(self, name: str, data: bytes, attributes: dict[str, str], own: set[bytes], text: bytes) -> None:
        new = frozenset(own & tokens(text))
        mine = self._standing.get(name)
        if mine is not None and mine.tag == self._tag(name):
            new |= mine.new & tokens(text)
        found = self.store._objects.get(name)
        if found is not None:  # whether he has seen it or not
            over = restored(path_of(name), found.data, found.attributes).data
            self._saw[path_of(name)].add(hashlib.sha256(over).digest())
            self._over[name] = self._over.get(name, b"") + over
        tag = self.store.put(name, data, attributes=attributes)
        self._standing[name] = Standing(tag, new, text)
        self.owed |= own & tokens(text)
        self._used.add(name)
        self._puts.add((name.removeprefix(VIEW), hashlib.sha256(data).digest()))
        self.oracle.counts["outsider: puts"] += 1

    def _take_away(self, read: Read, moved: Deed | None = None) -> None:
        deed = moved or self.oracle.deed(f"outsider deletes {read.name}", "outsider")
        self._excuse_own(deed, read.name, b"" if moved is None else read.text)
        if moved is None:
            self.oracle.destroyed(deed, read.text + self._over.pop(read.name, b""))
        self._gone[path_of(read.name)] |= self._saw[path_of(read.name)]
        self.store.delete(read.name)
        self._standing.pop(read.name, None)
        self.oracle.counts["outsider: deletions"] += 1

    # ---- what must come of it ----

    def replaced(self, name: str) -> None:
        """A machine is about to put over, or delete, what stands at a name of the view."""
        self._used.add(name)
        mine = self._standing.pop(name, None)
        self._over.pop(name, None)
        if mine is not None and mine.tag == self._tag(name):
            unseen = mine.new - self.record.committed
            if unseen:
                self.complaints.append(f"{name} was replaced or deleted unseen: {unseen} are nowhere")

    def judge_import(self, commit: Commit, log: Logged) -> None:
        """`log`: the tree before a commit of the bucket's changes."""
        self.oracle.counts["imports"] += 1
        if not self.exact:
            self._excuse_guesses(commit, log)
        for it in commit.imported:
            self.oracle.counts["imports: objects"] += 1
            if (it.name, it.digest) not in self._puts:
                self.complaints.append(f"commit {commit.sequence} takes in {it.name}, which nobody put")
        links = {link.child for link in commit.links}
        for gone in commit.unlinks:
            place = (gone.parent, gone.name)
            path, child = log.path(place), log.names.get(place)
            self.oracle.counts[f"imports: {'renames' if child in links else 'deletions'}"] += 1
            if path is None or child is None or log.digests[child] not in self._gone[path]:
                self.complaints.append(f"commit {commit.sequence} deletes {path!r}, which nobody did as it was")

    def _excuse_guesses(self, commit: Commit, log: Logged) -> None:
        """Where clocks disagree, nobody knows what an object was made from that does not say it."""
        if not any((it.name, it.digest) in self._unsaid for it in commit.imported):
            return
        deed = self.oracle.deed(f"commit {commit.sequence} of the bucket", "outsider")
        for record in commit.inodes:
            before = log.digests.get(record.id)
            if record.content is not None and before is not None:
                after = self.record.bytes_of[record.content.digest]
                self.oracle.destroyed(deed, self.record.bytes_of[before], after)
                self.oracle.counts["imports: edits that say nothing, while clocks disagree"] += 1

    def judge_owed(self, left: set[bytes]) -> None:
        """`left`: tokens of objects that are left alone."""
        missing = self.owed - self.record.committed - left
        if missing:
            self.complaints.append(f"in the bucket, and never in the log: {sorted(missing)[:5]}")
