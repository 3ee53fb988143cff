"""Curation: what could be tidied among notes, as a plan that a person reads, edits and applies.

Pure and deterministic; nothing here needs a model. Whoever has one, or rules of their own, puts them in as a
`Curator`: what it proposes becomes part of the same plan. A file is changed by one action at most; what is certain
goes before what is a guess.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias

from agentfs.memory.alike import alike
from agentfs.memory.moments import DAY_NS, moment, written
from agentfs.memory.names import ARCHIVE
from agentfs.memory.notes import Names, Note, days, is_named, keys_of, series, subject
from agentfs.memory.sameness import additions, differing, is_harmless, sentences
from agentfs.memory.superseding import superseded

Do: TypeAlias = Literal["merge", "archive", "delete", "facts", "look"]
Rest: TypeAlias = Literal["archive", "delete"]

IMPORTANCE = 0.5
"""Of a note that does not say its own."""
_IMPORTANCE_LEAST = 0.05
_STEP = 0.05
"""A decay of less is not worth a commit."""
_LOOKS_MAX = 50
_SHORT_WORDS = 6
_SUBJECTS = frozenset(("the", "a", "an", "user", "i", "we", "my", "our", "this"))
_BOOKKEEPING = frozenset(
    """tags tag keywords importance importance_at created updated modified expires ttl links aliases pinned source
    superseded_by supersedes agentfs""".split()  # noqa: SIM905 - as words
)
"""Keys of frontmatter in which two notes may differ and yet be one."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is proposed."""

    similarity: float = 0.8
    """Of all shingles of two notes, the share that both must have to be compared at all."""
    stale_after_ns: int = 180 * DAY_NS
    stale_importance: float = 0.2
    """At most this much must be left of a note's importance for it to be stale."""
    half_life_ns: int = 365 * DAY_NS
    """After this long half of a note's importance is left."""
    soon_ns: int = 7 * DAY_NS
    """What expires within this time is told."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as the plan saw it. An empty `sha256` is filled in."""

    path: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    merge    `files[0]` gets the text of all, without doubles (or `text`), and their facts; the others go (`rest`)
    archive  `files[0]` moves to `to` and gets `facts`; the others are why
    delete   `files[0]`
    facts    `files[0]` gets `facts`
    look     nothing: a person should look at `files`
    """

    do: Do
    cause: str
    """A word: duplicate, superseded, stale, decay, expires, differ, or a curator's own."""
    why: str
    """One line for a person."""
    files: tuple[Seen, ...]
    to: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    rest: Rest = "archive"
    text: str | None = None
    """What the merged file says, instead of the union."""

    @property
    def changes(self) -> frozenset[str]:
        """The paths that it changes."""
        if self.do == "look":
            return frozenset()
        return frozenset(seen.path for seen in (self.files if self.do == "merge" else self.files[:1]))


@dataclass(frozen=True, slots=True)
class Plan:
    made_ns: int
    volume: str
    """Whose it is: `home-<agent>` or `space-<name>`."""
    notes: int
    """How many notes were looked at."""
    actions: tuple[Action, ...]
    unshown: int = 0
    """Pairs to look at that are not listed: there are too many."""


class Curator(Protocol):
    """Something that proposes actions: other rules, or a language model. It is given the notes that live, and must
    name files by their paths among them; what it says of others is refused."""

    def propose(self, notes: Sequence[Note], now_ns: int) -> Iterable[Action]: ...


def propose(
    notes: Iterable[Note], policy: Policy, *, now_ns: int, volume: str = "", curator: Curator | None = None
) -> Plan:
    """The plan for these notes. Raises ValueError for a proposal of the curator that cannot be carried out."""
    living = sorted((note for note in notes if not _expired(note, now_ns)), key=lambda note: note.path)
    names = Names(living)
    same, different = _duplicates(living, names, policy)
    proposed = [] if curator is None else [_checked(it, names) for it in curator.propose(tuple(living), now_ns)]
    old = (
        Action("archive", "superseded", why, (_seen(note), _seen(newer)), archived(note.path),
               {"superseded_by": newer.path})
        for note, newer, why in superseded(living, names)
    )  # fmt: skip
    certain = [*same, *old, *proposed, *_stale(living, names, policy, now_ns), *_decayed(living, policy, now_ns)]
    actions = _apart(certain)
    gone = {path for action in actions for path in action.changes if action.do != "facts"}
    looks = [look for look in different if not {seen.path for seen in look.files} & gone]
    told = [*looks[:_LOOKS_MAX], *_expiring(living, policy, now_ns)]
    return Plan(now_ns, volume, len(living), (*actions, *told), len(looks[_LOOKS_MAX:]))


def archived(path: str) -> str:
    """Where a note goes that is archived."""
    return f"{ARCHIVE}/{path}"


def _seen(note: Note) -> Seen:
    return Seen(note.path, note.sha256)


def _expired(note: Note, now_ns: int) -> bool:
    return note.facts.expires_ns is not None and note.facts.expires_ns <= now_ns


def _apart(actions: Iterable[Action]) -> list[Action]:
    """Without those that touch what an earlier one changes, or change what an earlier one relies on."""
    changed: set[str] = set()
    relied: set[str] = set()
    kept = []
    for action in actions:
        changes = action.changes
        others = {seen.path for seen in action.files} - changes
        if changes & (changed | relied) or others & changed:
            continue
        changed |= changes
        relied |= others
        kept.append(action)
    return kept


def _checked(action: Action, names: Names) -> Action:
    """A curator's action with what the files are. Raises ValueError."""
    files = []
    for seen in action.files:
        note = names.at(seen.path)
        if note is None or seen.sha256 not in ("", note.sha256):
            raise ValueError(f"the curator speaks of {seen.path!r}, which is none of the notes that it was given")
        files.append(_seen(note))
    if not files or (action.do == "merge" and len(files) < 2):
        raise ValueError(f"the curator proposes to {action.do} too few files ({action.why!r})")
    to = action.to or (archived(files[0].path) if action.do == "archive" else "")
    return replace(action, files=tuple(files), to=to, why=" ".join(action.why.split()))


# ---- duplicates ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    """Notes that become one: the first stays."""

    notes: list[Note]
    share: float = 1.0


def _duplicates(notes: Sequence[Note], names: Names, policy: Policy) -> tuple[list[Action], list[Action]]:
    """What to merge, and what is so alike that a person should look at it."""
    said = {note.path: sentences(note.text) for note in notes}
    groups: list[_Group] = []
    looks: list[Action] = []
    namesakes: list[Action] = []
    for alikes in _equal(notes, said):
        groups += [_Group(group) for group in _agreeing(alikes, names)]
        namesakes += [_look(alikes[0], it, 1.0, said) for it in alikes[1:] if not _one_subject(alikes[0], it)]
    leading = {group.notes[0].path: group for group in groups}
    firsts = [group.notes[0] for group in groups]
    for pair in alike([said[note.path] for note in firsts], least=policy.similarity):
        one, other = firsts[pair.one], firsts[pair.other]
        less, more = (one, other) if len(said[one.path]) <= len(said[other.path]) else (other, one)
        added = additions(said[less.path], said[more.path])
        if added is None or not all(map(is_harmless, added)) or not _may_go_into(less, more):
            if said[less.path] != said[more.path]:
                looks.append(_look(less, more, pair.share, said))
        elif less.path in leading and more.path in leading:
            group = leading.pop(less.path)
            if all(_may_go_into(note, more) for note in group.notes):
                leading[more.path].notes += group.notes
                leading[more.path].share = min(leading[more.path].share, pair.share)
            else:
                leading[less.path] = group
    merges = [_merge(group) for group in leading.values() if len(group.notes) > 1]
    return sorted(merges, key=lambda it: it.files[0].path), looks + namesakes


def _equal(notes: Sequence[Note], said: Mapping[str, Sequence[str]]) -> Iterator[list[Note]]:
    """Notes that say the same, sentence by sentence; every note is in one list. One that says nothing is in none."""
    found: dict[tuple[str, ...], list[Note]] = defaultdict(list)
    for note in notes:
        if said[note.path]:
            found[tuple(said[note.path])].append(note)
    yield from found.values()


def _agreeing(alikes: Sequence[Note], names: Names) -> Iterator[list[Note]]:
    """Of notes with equal text those that are about one thing, the one that should stay first."""
    left = sorted(alikes, key=lambda note: _rank(note, names))
    while left:
        first = left[0]
        group = [first, *(note for note in left[1:] if _one_subject(first, note))]
        yield group
        left = [note for note in left[1:] if note not in group]


def _rank(note: Note, names: Names) -> tuple[object, ...]:
    facts = note.facts
    importance = IMPORTANCE if facts.importance is None else facts.importance
    since = facts.created_ns or note.modified_ns
    return not facts.pinned, -importance, -names.links_to(note), since, len(note.path), note.path


def _one_subject(one: Note, other: Note) -> bool:
    """Whether what stands around the texts lets them be one note: type, keys, and the names of the files."""
    if one.facts.type != other.facts.type and one.facts.type and other.facts.type:
        return False
    keys, others = keys_of(one.front), keys_of(other.front)
    if any(keys[key] != others[key] for key in keys.keys() & others.keys() if key not in _BOOKKEEPING):
        return False
    if series(one.path) != series(other.path):
        return False
    if is_named(one.path) or is_named(other.path):
        return subject(one.path) == subject(other.path)
    return (_speaks(one) and _speaks(other)) or subject(os.path.basename(one.path)) == subject(
        os.path.basename(other.path)
    )


def _speaks(note: Note) -> bool:
    """Whether a text says what it is about: `Likes tea.` needs the name of its file for that."""
    words = note.text.split()
    return len(words) >= _SHORT_WORDS or (bool(words) and words[0].strip("*_`").lower() in _SUBJECTS)


def _may_go_into(less: Note, more: Note) -> bool:
    return _one_subject(less, more) and (more.facts.pinned or not less.facts.pinned)


def _merge(group: _Group) -> Action:
    others = group.notes[1:]
    number = f"{len(others)} other note{'s' if len(others) > 1 else ''}"
    if group.share == 1.0:
        why = f"says the same as {number}, but for marks and spaces at most"
    else:
        why = f"says all that {number} say{'' if len(others) > 1 else 's'} (they share {group.share:.0%} of the text)"
    return Action("merge", "duplicate", why, tuple(_seen(note) for note in group.notes))


def _look(one: Note, other: Note, share: float, said: Mapping[str, Sequence[str]]) -> Action:
    first, second = differing(said[one.path], said[other.path])
    if first or second:
        what = f"they differ: “{_short(first)}” and “{_short(second)}”"
    elif share == 1.0:
        what = "only their names, or keys of their frontmatter, tell them apart"
    else:
        what = "the same sentences in another order"
    why = f"they share {share:.0%} of the text, and are not merged: {what}"
    return Action("look", "differ", why, (_seen(one), _seen(other)))


def _short(words: str) -> str:
    return words if len(words) <= 80 else words[:79].rstrip() + "…"


# ---- what time does -----------------------------------------------------------------------------------------


def importance(note: Note, half_life_ns: int, now_ns: int) -> float:
    """What is left of a note's importance: half of it after each half-life since it was written, or last decayed."""
    said = IMPORTANCE if note.facts.importance is None else note.facts.importance
    left = said * math.exp2(-max(0, now_ns - _weighed(note)) / half_life_ns)
    return max(min(said, _IMPORTANCE_LEAST), left)


def _weighed(note: Note) -> int:
    """When its importance was last said."""
    said = note.keys.get("importance_at")
    at = moment(said) if isinstance(said, str) else None
    return max(note.modified_ns, 0 if at is None else at.ns)


def _lasts(note: Note) -> bool:
    """Whether time does nothing to it: standing instructions, and the files that a directory is entered by."""
    return note.facts.pinned or note.facts.type.lower() == "instruction" or bool(_DOORS.match(note.stem))


_DOORS = re.compile(r"(?i)(readme|index|home|memory|agents|claude|gemini|soul|user|todo|changelog)\Z")


def _stale(notes: Sequence[Note], names: Names, policy: Policy, now_ns: int) -> Iterator[Action]:
    for note in notes:
        unchanged = now_ns - note.modified_ns
        left = importance(note, policy.half_life_ns, now_ns)
        if unchanged < policy.stale_after_ns or left > policy.stale_importance or _lasts(note):
            continue
        if names.links_to(note):
            continue
        said = "not said" if note.facts.importance is None else f"{note.facts.importance:g}"
        why = f"not changed for {days(unchanged)}, {left:.2f} is left of its importance ({said}), nothing links to it"
        yield Action("archive", "stale", why, (_seen(note),), archived(note.path))


def _decayed(notes: Sequence[Note], policy: Policy, now_ns: int) -> Iterator[Action]:
    for note in notes:
        said = note.facts.importance
        left = round(importance(note, policy.half_life_ns, now_ns), 2)
        if said is None or said - left < _STEP or _lasts(note):
            continue
        why = f"{days(now_ns - _weighed(note))} old: of importance {said:g} {left:g} is left"
        yield Action(
            "facts", "decay", why, (_seen(note),), facts={"importance": left, "importance_at": written(now_ns)}
        )


def _expiring(notes: Sequence[Note], policy: Policy, now_ns: int) -> Iterator[Action]:
    for note in notes:
        expires = note.facts.expires_ns
        if expires is not None and expires - now_ns <= policy.soon_ns:
            why = f"expires in {days(expires - now_ns)}: give it another date if it should stay"
            yield Action("look", "expires", why, (_seen(note),))
