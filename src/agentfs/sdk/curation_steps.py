"""Carrying out a plan of curation: each action checks that its files are still what the plan saw.

The order inside an action is such that a kill between two steps loses nothing: what a merged file says is written
before the others go, and a note is moved before it is marked.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentfs.errors import Exists, NoSpace, NotFound, Replaced, TreeError, Unavailable
from agentfs.memory.curation import Action, Plan, Seen, archived
from agentfs.memory.facts import XATTR_PREFIX, with_facts
from agentfs.memory.names import beside
from agentfs.memory.uniting import Part, united, with_text
from agentfs.sdk.file_home import FileHome
from agentfs.sdk.paths import existing
from agentfs.sdk.xattrs import set_attributes, set_facts, set_xattrs, xattrs_of
from agentfs.tree.values import Caller

What: TypeAlias = Literal["done", "skipped", "look"]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an action."""

    action: Action
    what: What
    detail: str
    """Where files went; why it was skipped."""


class _Changed(Exception):
    """A file is not what the plan saw."""


class CurationSteps:
    """Carries out plans in one home."""

    def __init__(self, home: FileHome) -> None:
        self._home = home

    def run(self, plan: Plan) -> Sequence[Done]:
        return [self._carried_out(action) for action in plan.actions]

    def _carried_out(self, action: Action) -> Done:
        if action.do == "look":
            return Done(action, "look", "")
        steps: Mapping[str, Callable[[Action], str]] = {
            "merge": self._merge,
            "archive": self._archive,
            "delete": self._delete,
            "facts": self._facts,
        }
        try:
            for seen in action.files:
                self._unchanged(seen)
            return Done(action, "done", steps[action.do](action))
        except _Changed as changed:
            return Done(action, "skipped", str(changed))
        except (NoSpace, Unavailable):
            raise
        except (TreeError, TypeError) as error:  # a plan that was edited: a name that cannot be, a fact of no kind
            return Done(action, "skipped", str(error))

    def _unchanged(self, seen: Seen) -> bytes:
        """Its bytes. Raises _Changed."""
        try:
            data = self._home.read(seen.path)
        except NotFound:
            raise _Changed(f"{seen.path} is gone") from None
        return _same(seen, data)

    def _merge(self, action: Action) -> str:
        first, *others = action.files
        self._are_apart(action.files)
        self._are_as_private(first, others)
        name = os.fsencode(first.path)
        rest = [self._part(seen, self._unchanged(seen)) for seen in others]
        modified_ns = max(part.modified_ns for part in (self._part(first, b""), *rest))
        facts: Mapping[str, object] = {}

        def merged(now: bytes) -> bytes:
            nonlocal facts
            _same(first, now)
            found = united(name, [self._part(first, now), *rest])
            if found is None:
                raise _Changed(f"{first.path} cannot be merged with the others: merge them by hand")
            facts = found.facts
            return found.data if action.text is None else with_text(name, found.data, action.text)

        self._home.edit(first.path, merged)
        set_facts(self._home, first.path, facts)
        self._inherit(first, others)
        set_attributes(self._home, first.path, mtime_ns=modified_ns)
        gone = []
        for seen in others:
            self._unchanged(seen)
            if action.rest == "delete":
                self._remove(seen)
                gone.append(f"{seen.path} was deleted")
            else:
                gone.append(f"{seen.path} is now {self._moved(seen.path, archived(seen.path))}")
        return ", ".join(gone)

    def _are_apart(self, files: Sequence[Seen]) -> None:
        """Raises _Changed where two paths mean one file, by whatever names: it would go, and stay nowhere."""
        known: dict[tuple[int, int], str] = {}
        for seen in files:
            place, attributes = existing(self._home._volumes, seen.path)
            at = id(place.volume), attributes.ino
            if at in known:
                raise _Changed(f"{known[at]} and {seen.path} are one file")
            known[at] = seen.path

    def _are_as_private(self, first: Seen, others: Sequence[Seen]) -> None:
        """Raises _Changed where others than the owner may read the first, and not what would be written into it."""
        shared = self._shared(first.path)
        for seen in others:
            if shared & ~self._shared(seen.path):
                raise _Changed(f"{seen.path} is more private than {first.path}: merge them by hand")

    def _shared(self, path: str) -> int:
        """What of a file's mode lets its group and others read it, with the directories that lead to it."""
        shared = self._home.stat(path).mode & 0o044
        while path := os.path.dirname(path):
            mode = self._home.stat(path).mode
            shared &= (0o777 if mode & 0o010 else ~0o070) & (0o777 if mode & 0o001 else ~0o007)
        return shared

    def _part(self, seen: Seen, data: bytes) -> Part:
        return Part(data, self._home.stat(seen.path).modified_ns, xattrs_of(self._home, seen.path))

    def _inherit(self, first: Seen, others: Sequence[Seen]) -> None:
        """Attributes, other than facts, that only the others have."""
        known = xattrs_of(self._home, first.path)
        for seen in others:
            more = xattrs_of(self._home, seen.path)
            new = {name: value for name, value in more.items() if name not in known}
            set_xattrs(self._home, first.path, {n: v for n, v in new.items() if not n.startswith(XATTR_PREFIX)})
            known = {**more, **known}

    def _archive(self, action: Action) -> str:
        seen = action.files[0]
        target = self._moved(seen.path, action.to)
        if action.facts:
            self._say(Seen(target, seen.sha256), action.facts)
        return f"now {target}"

    def _delete(self, action: Action) -> str:
        self._remove(action.files[0])
        return ""

    def _remove(self, seen: Seen) -> None:
        """Delete a file that is what the plan saw: not one that somebody changes in this moment, or is writing."""
        self._unchanged(seen)  # fetches its bytes, where they are not here
        place, attributes = existing(self._home._volumes, seen.path, follow=False)
        self._unchanged(seen)
        try:
            place.tree.unlink(place.parent, place.name, as_of=(attributes.ino, attributes.change))
        except Replaced:
            raise _Changed(f"{seen.path} is being changed") from None

    def _facts(self, action: Action) -> str:
        self._say(action.files[0], action.facts)
        return ""

    def _say(self, seen: Seen, facts: Mapping[str, object]) -> None:
        """Write facts, in the frontmatter or as xattrs. The file's time stays: what it says is as old as before."""
        modified_ns = self._home.stat(seen.path).modified_ns
        name = os.fsencode(seen.path)
        held = with_facts(name, self._unchanged(seen), facts)
        if held is None:
            set_facts(self._home, seen.path, facts)
            return
        self._home.edit(seen.path, lambda now: with_facts(name, _same(seen, now), facts) or now)
        set_facts(self._home, seen.path, dict.fromkeys(facts))  # an attribute would win over what the file says now
        set_attributes(self._home, seen.path, mtime_ns=modified_ns)

    def _moved(self, path: str, to: str) -> str:
        self._make_directories(path, to)
        self._make_directories(path, to)
        for target in beside(to):
            try:
                self._home.move(path, target, overwrite=False)
            except Exists:
                continue
            return target
        raise AssertionError("there is always another name")

    def _make_directories(self, path: str, to: str) -> None:
        """Those of an archive: with the owner and mode of the ones that the file was in."""
        here, there = os.path.dirname(path), os.path.dirname(to)
        names = there.split("/") if there else []
        for end in range(1, len(names) + 1):
            directory, below = "/".join(names[:end]), "".join(f"/{it}" for it in names[end:])
            model = here.removesuffix(below)
            if f"{model}{below}" != here or os.path.basename(model) != names[end - 1]:
                continue
            _, like = existing(self._home._volumes, model)
            place = self._home._place(directory, parents=True)
            if place.attributes is None:
                with contextlib.suppress(Exists):  # another process was faster: as good
                    place.tree.mkdir(place.parent, place.name, like.mode & 0o777, Caller(like.uid, like.gid))


def _same(seen: Seen, data: bytes) -> bytes:
    if hashlib.sha256(data).hexdigest() != seen.sha256:
        raise _Changed(f"{seen.path} has changed since the plan was made")
    return data
