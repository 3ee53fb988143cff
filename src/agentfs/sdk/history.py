"""What was in a home: `history`, `read_version`, `log`, `restore`, `conflicts`, `resolve`.

A moment is given as text: `v3` (a version of the file), `@1234` or `1234` (right after that commit), a time
(`2026-11-21T10:00`, `2h`, `yesterday`), the name of a snapshot, or `now`; as an `int` (a sequence) or as a
`datetime`. While the store cannot be reached what this machine knows is answered.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentfs.errors import AgentFSError, InvalidArgument, NotFound, OtherVolume
from agentfs.history.moments import Moment, parse_moment, storable
from agentfs.model.names import shown
from agentfs.model.records import Kind
from agentfs.sdk.comparing import Compared, compared
from agentfs.sdk.errors import speaks_python
from agentfs.sdk.past import (
    KEEPS,
    Event,
    History,
    Keep,
    LoggedCommit,
    MetConflict,
    Moments,
    Restored,
    Side,
    Was,
    below,
    commit_of,
    event_of,
    was_of,
)
from agentfs.sdk.paths import Path, existing, parts, text
from agentfs.sdk.values import Entry
from agentfs.sdk.volumes import Volumes
from agentfs.tree.tree import Tree
from agentfs.volume.messages import Message
from agentfs.volume.past_messages import moment_message
from agentfs.volume.spaces import DIRECTORY as SPACES
from agentfs.volume.volume import Volume

_SECONDS_MAX = 600.0
"""A question may read a whole log first."""
_TRIES_MAX = 5
_SECOND_NS = 10**9


class HomeHistory:
    """The part of `Home` that looks back."""

    _volume: Volume
    _tree: Tree
    _volumes: Volumes

    if TYPE_CHECKING:  # what a `Home` has besides

        def _bare(self) -> "HomeHistory": ...
        def _of_space(self, space: str) -> "HomeHistory": ...
        def read(self, path: Path) -> bytes: ...
        def write(self, path: Path, data: bytes | str, *, parents: bool = True) -> None: ...
        def mkdir(self, path: Path, *, parents: bool = True, exist_ok: bool = True) -> None: ...
        def delete(self, path: Path, *, recursive: bool = False, missing_ok: bool = False) -> None: ...
        def walk(self, path: Path = "") -> Sequence[Entry]: ...
        def stat(self, path: Path, *, follow: bool = True) -> Entry: ...

    # ---- looking ----

    @speaks_python
    def history(self, path: Path, *, attributes: bool = False) -> History:
        """Every version of a path and what became of it, the newest first; renames are followed. With `attributes`
        also changes of mode, owner and times alone. Raises `NotFound` when the log never had it."""
        inside, above, path = self._into(path)
        if above:
            found = inside.history(path, attributes=attributes)
            return replace(found, events=[below(above, it) for it in found.events])
        events: list[Event] = []
        while True:
            answer = self._asked("history", path=_sent(path), attributes=attributes, skip=len(events))
            events += [event_of(it) for it in answer["events"]]
            if not answer["more"]:
                return History(events, answer["pending"], answer["behind"])

    @speaks_python
    def read_version(self, path: Path, at: Moments) -> bytes:
        """The bytes of a file as it was. Raises `NotFound`, `VersionGone` (they were collected) and `Unavailable`
        (they are not here and the store cannot be reached)."""
        with self.open_version(path, at) as file:
            data: bytes = file.read()
        return data

    @speaks_python
    def open_version(self, path: Path, at: Moments) -> Any:
        """As `read_version`, as a binary file object."""
        inside, above, path = self._into(path)
        if above:
            return inside.open_version(path, at)
        was, file = self._was(path, at, with_bytes=True)
        if was.kind == "symlink":
            raise InvalidArgument(f"{shown(os.fsencode(path))} was a symbolic link to {was.target}")
        if file is None:
            raise InvalidArgument(f"{shown(os.fsencode(path))} was a {was.kind} then: ls --at lists a directory")
        return file

    @speaks_python
    def was(self, path: Path, at: Moments) -> Was:
        """What a path was."""
        inside, above, path = self._into(path)
        if above:
            return below(above, inside.was(path, at))
        return self._was(path, at, with_bytes=False)[0]

    @speaks_python
    def list_at(self, path: Path, at: Moments, *, recursive: bool = False) -> Sequence[Was]:
        """What was in a directory, with `recursive` everything below it; for a file, itself."""
        return self.listing(path, at, recursive=recursive)[1]

    @speaks_python
    def log(
        self,
        path: Path = "",
        *,
        limit: int | None = None,
        before: int | None = None,
        since: Moments | None = None,
        author: str | None = None,
        paths: int = 3,
    ) -> Iterator[LoggedCommit]:
        """Commits, the newest first: all, or those that changed something at or below `path`. `before` is a sequence;
        `paths` is how many changes of each are told."""
        inside, above, path = self._into(path)
        if above:
            commits = inside.log(path, limit=limit, before=before, since=since, author=author, paths=paths)
            return (replace(it, changes=[below(above, change) for change in it.changes]) for it in commits)
        since_ns = self._since_ns(since)
        return self._commits(limit, before, path=_sent(path), since_ns=since_ns, author=author, paths=paths)

    def _commits(
        self,
        limit: int | None,
        before: int | None,
        *,
        path: str = "",
        since_ns: int | None = None,
        author: str | None = None,
        paths: int = 0,
    ) -> Iterator[LoggedCommit]:
        left = limit
        while left is None or left > 0:
            count = 500 if left is None else min(500, left)
            answer = self._asked(
                "history-log", path=path, before=before, limit=count, since_ns=since_ns, author=author, paths=paths
            )
            yield from (commit_of(it) for it in answer["commits"])
            before = answer["next"]
            if before is None:
                return
            if left is not None:
                left -= len(answer["commits"])

    @speaks_python
    def compare(self, path: Path, a: str | None = None, b: str | None = None) -> Compared:
        """The files that differ from `a` (default: the version before) to `b` (default: what is here), with their
        bytes. `history.differences` makes lines of them."""
        inside, above, path = self._into(path)
        if above:
            found = inside.compare(path, a, b)
            return replace(found, pairs=[replace(it, path=text((*above, *parts(it.path)))) for it in found.pairs])
        return compared(self, path, a, b)

    def is_as(self, path: Path, was: Was) -> bool:
        """Whether a file of the tree has just the bytes that `was` had."""
        place, attributes = existing(self._volumes, path)
        if attributes.kind is not Kind.FILE or attributes.size_bytes != was.size_bytes:
            return False
        replica = place.volume.replica
        inode, content = replica.inode(attributes.ino), replica.content(attributes.ino)
        if inode is None or content is None or inode.pending:
            return self.read(path) == self.bytes_of(was)
        return bool(content.digest.hex() == was.digest)

    # ---- restoring ----

    @speaks_python
    def restore(
        self, path: Path, at: Moments, *, to: Path | None = None, exact: bool = False, keep: bool = False
    ) -> Sequence[Restored]:
        """Make a file or a directory what it was, or write what it was at `to`; returns what was changed. It is a new
        change like any other: `sync` makes it durable, the version from before stays in the history.

        What came into a directory since stays; with `exact` it is deleted. A file that says `expires`, and that this
        has passed, goes again after its commit, and `Restored.ended_ns` tells so; with `keep` its end is taken out of
        its frontmatter, and it stays. Raises as `read_version`."""
        inside, above, path = self._into(path)
        other = self._into(to) if to is not None else None
        if other is not None and other[1] != above:
            raise OtherVolume("a space is restored within itself: restore it there, and copy what you need")
        if above:
            done = inside.restore(path, at, to=None if other is None else other[2], exact=exact, keep=keep)
            return [below(above, it) for it in done]
        from agentfs.sdk.restoring import Restore  # noqa: PLC0415 - reads YAML: not all who open a home wait for it

        top, rows = self.listing(path, at, recursive=True)
        target = parts(path if to is None else to)
        now_ns = self._volume.clock.wall_ns()
        return Restore(self._bare(), self._tree, top, target, exact=exact, keep=keep, now_ns=now_ns).run(rows)

    # ---- conflicts ----

    @speaks_python
    def conflicts(self, path: Path = "", *, resolved: bool = False) -> Sequence[MetConflict]:
        """What met at or below `path` and is not settled, the newest first; with `resolved` also what is."""
        inside, above, path = self._into(path)
        if above:
            return [below(above, it) for it in inside.conflicts(path, resolved=resolved)]
        found: list[MetConflict] = []
        while True:
            answer = self._asked("conflicts", path=_sent(path), all=resolved, skip=len(found))
            found += [MetConflict(**it) for it in answer["conflicts"]]
            if not answer["more"]:
                return found

    @speaks_python
    def read_side(self, conflict: str, side: Side) -> bytes:
        """The bytes of one side of a conflict. Raises `NotFound` when it has none."""
        with self._opened("conflict-side", id=conflict, side=side)[1] as file:
            data: bytes = file.read()
        return data

    @speaks_python
    def resolve(self, what: str, *, keep: Keep = "both") -> Sequence[str]:
        """Say that a conflict, by its id, or the conflicts of a path are settled; returns their ids.

        `keep`: `earlier` or `later` writes that version at the path and removes the conflict copy; `merged` keeps
        what is at the path and removes the copy; `both` leaves everything. In the log with the next `sync`."""
        if keep not in KEEPS:
            raise InvalidArgument(f"keep is one of {', '.join(KEEPS)}")
        inside, above, path = self._into(what)
        if above:
            return inside.resolve(os.fsdecode(path), keep=keep)
        chosen = self._conflicts_of(what)
        for conflict in chosen:
            self._keep(conflict, keep)
        self._asked("resolve", ids=[conflict.id for conflict in chosen])
        return [conflict.id for conflict in chosen]

    def _conflicts_of(self, what: str) -> Sequence[MetConflict]:
        found = self.conflicts(resolved=True)
        named = [it for it in found if it.id == what]
        if not named:
            path = text(parts(what))
            named = [it for it in found if path in (it.path, it.copy) and it.resolved is None]
        if not named:
            raise NotFound(f"{what}: no conflict has this id or path: agentfs conflicts lists them")
        waiting = [it.id for it in named if it.sequence is None]
        if waiting:
            raise InvalidArgument(f"conflict {waiting[0]} is not in a commit yet: run agentfs sync first")
        return named

    def _keep(self, conflict: MetConflict, keep: Keep) -> None:
        if keep in ("earlier", "later"):
            if keep not in conflict.sides:
                raise NotFound(f"conflict {conflict.id} has no bytes of the {keep} version: it was {conflict.kind}")
            data = self.read_side(conflict.id, keep)
            if not self._has(conflict.path, data):
                self.write(conflict.path, data)
        if keep != "both" and conflict.copy is not None:
            self.delete(conflict.copy, missing_ok=True)

    def _has(self, path: str, data: bytes) -> bool:
        try:
            return self.read(path) == data
        except AgentFSError:
            return False

    # ---- inside ----

    def _into(self, path: Path) -> tuple["HomeHistory", tuple[bytes, ...], Path]:
        """Who knows the history of a path: this home and the path itself, or a space that is attached to it, where,
        and the path there."""
        names = parts(path)
        if len(names) > 1 and names[0] == SPACES:
            for found in self._volumes.attached():
                if found.name == names[1]:
                    return self._of_space(found.space), names[:2], b"/".join(names[2:])
        return self, (), path

    def _asked(self, word: str, **fields: Any) -> Message:
        return self._volume.link.request(word, timeout_seconds=_SECONDS_MAX, **fields)

    def _opened(self, word: str, **fields: Any) -> tuple[Message, Any]:
        """The answer, and the file that it names, opened; None where it names none."""
        for _ in range(_TRIES_MAX):
            answer = self._asked(word, **fields)
            if "file" not in answer:
                return answer, None
            with contextlib.suppress(FileNotFoundError):  # it had to make room: it is fetched again
                return answer, open(answer["file"], "rb")
        raise NotFound("the cache of versions is too small for what is read at once: try again")

    def _moment(self, at: Moments) -> Moment:
        now_ns = self._volume.clock.wall_ns()
        if isinstance(at, datetime):
            since = (at if at.tzinfo else at.astimezone()).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
            number = (since.days * 86400 + since.seconds) * _SECOND_NS + since.microseconds * 1000
            return Moment("time", storable(number), at.isoformat())
        return parse_moment(f"@{at}" if isinstance(at, int) else at, now_ns=now_ns)

    def _since_ns(self, since: Moments | None) -> int | None:
        if since is None:
            return None
        if isinstance(since, str):
            moment = parse_moment(since, now_ns=self._volume.clock.wall_ns(), day_begins=True)
        else:
            moment = self._moment(since)
        if moment.kind == "time":
            return moment.number
        if moment.kind != "sequence":
            raise InvalidArgument(f"{since}: since takes a time (2026-11-21, 2h) or a sequence (@1234)")
        return next((it.time_ns for it in self._commits(1, moment.number + 1)), None)

    def _was(self, path: Path, at: Moments, *, with_bytes: bool) -> tuple[Was, Any]:
        moment = moment_message(self._moment(at))
        answer, file = self._opened("history-at", path=_sent(path), moment=moment, bytes=with_bytes)
        return was_of(answer, answer["sequence"]), file

    def listing(self, path: Path, at: Moments, *, recursive: bool) -> tuple[Was, list[Was]]:
        """What a path was, and what was in it: as `list_at`."""
        inside, above, path = self._into(path)
        if above:
            top, found = inside.listing(path, at, recursive=recursive)
            return below(above, top), [below(above, it) for it in found]
        moment = self._moment(at)
        rows: list[Was] = []
        while True:
            answer = self._asked(
                "history-list", path=_sent(path), moment=moment_message(moment), recursive=recursive, skip=len(rows)
            )
            sequence = answer["sequence"]
            rows += [was_of(it, sequence) for it in answer["rows"]]
            if not answer["more"]:
                return was_of(answer["top"], sequence), rows
            moment = Moment("sequence", sequence, "")

    def bytes_of(self, was: Was) -> bytes:
        """The bytes of what `list_at` or `was` gave. Raises as `read_version`."""
        inside, above, _ = self._into(was.path)
        if above:
            return inside.bytes_of(was)
        with self._opened("history-file", inode=was.inode, sequence=was.sequence)[1] as file:
            data: bytes = file.read()
        return data


def _sent(path: Path) -> str:
    return text(parts(path))
