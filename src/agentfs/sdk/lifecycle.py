"""Lifecycle rules from Python: what becomes of a home's files as time goes by (docs/lifecycle.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agentfs.errors import InvalidArgument
from agentfs.model.lifecycle import Action
from agentfs.sdk.errors import speaks_python
from agentfs.sdk.paths import Path, parts, text
from agentfs.volume.messages import Message
from agentfs.volume.spaces import DIRECTORY as SPACES
from agentfs.volume.volume import Volume

_SECONDS_MAX = 3600.0
"""All files are looked at, and the log may have to be read first."""

Told = Callable[[int], None]
"""Called with the number of files that are done."""


@dataclass(frozen=True, slots=True)
class LifecycleRules:
    """The rules of a home or a space, which count on every machine."""

    volume: str
    text: str
    """TOML, as it was written; empty: there are none."""
    rules: Sequence[str]
    """Each in one line, in their order: the first that matches a path decides."""
    set_by: str | None
    set_ns: int | None
    """By the store's clock. None: nobody ever set any."""
    acts_ns: int | None
    """Mounts go by them from then on."""
    retention: str
    """What the history keeps of what goes (`agentfs retention`)."""


@dataclass(frozen=True, slots=True)
class LifecycleStep:
    """What is due, or was done, for one file."""

    path: str
    action: Action
    rule: str
    age_s: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RuleReport:
    """The same, for all files of one rule."""

    rule: str
    action: Action | None
    matches: int | None
    """Files that it holds for, due or not; None: they were not counted."""
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LifecycleReport:
    """What is due, or was done."""

    rules: Sequence[RuleReport]
    """All of them, in their order."""
    steps: Sequence[LifecycleStep]
    """The first thousand or so."""
    files: int
    size_bytes: int
    left: int = 0
    """Files that had to stay: they changed in this moment, or their archive cannot be made."""


@dataclass(frozen=True, slots=True)
class LifecycleOf:
    """What the rules say about one path."""

    path: str
    rule: str | None
    number: int | None
    """Its place among the rules, from 1."""
    action: Action | None
    """None: the file stays."""
    begun_ns: int | None
    """When the age began by which the rule goes."""
    due_ns: int | None
    waits: str
    """Why the file stays all the same; empty: nothing keeps it."""


class HomeLifecycle:
    """The part of `Home` that deletes and moves by rules. Attached spaces have rules of their own
    (`Home.open(space=…)`)."""

    _volume: Volume

    @speaks_python
    def lifecycle(self) -> LifecycleRules:
        """The rules. Raises `StoreUnavailable`, `Corrupt`."""
        return _rules(self._asked_lifecycle("lifecycle-rules"))

    @speaks_python
    def set_lifecycle(self, rules: str) -> LifecycleRules:
        """Make these the rules, for every machine; on return all see them. Mounts go by them an hour later;
        `apply_lifecycle` does at once. Raises `InvalidArgument`, `StoreUnavailable`."""
        return _rules(self._asked_lifecycle("lifecycle-set", text=rules))

    @speaks_python
    def plan_lifecycle(self, rules: str | None = None, *, told: Told | None = None) -> LifecycleReport:
        """What is due now, by the rules that are set, or by others. Changes nothing. Raises `InvalidArgument`,
        `ClocksDisagree`, `Unavailable`, `StoreUnavailable`."""
        return _report(self._asked_lifecycle("lifecycle-plan", told=told, text=rules))

    @speaks_python
    def apply_lifecycle(self, *, told: Told | None = None) -> LifecycleReport:
        """Do what is due now by the rules that are set, as commits of their own; on return it is in the store.
        `restore` takes it back. Raises as `plan_lifecycle`, and `ReadOnly`."""
        return _report(self._asked_lifecycle("lifecycle-run", told=told))

    @speaks_python
    def lifecycle_of(self, path: Path) -> LifecycleOf:
        """Which rule holds for a file, and when it acts. Raises as `plan_lifecycle`."""
        if parts(path)[:1] == (SPACES,):
            raise InvalidArgument("an attached space goes by rules of its own: ask it by itself, with --space")
        return LifecycleOf(**self._asked_lifecycle("lifecycle-explain", path=text(parts(path))))

    def _asked_lifecycle(self, word: str, *, told: Told | None = None, **fields: Any) -> Message:
        def heard(facts: Message) -> None:
            if told is not None and "done" in facts:
                told(facts["done"])

        return self._volume.link.request(word, timeout_seconds=_SECONDS_MAX, progress=heard, **fields)


def _rules(answer: Message) -> LifecycleRules:
    return LifecycleRules(**answer)


def _report(answer: Message) -> LifecycleReport:
    return LifecycleReport(
        rules=[RuleReport(**it) for it in answer["rules"]],
        steps=[LifecycleStep(**it) for it in answer["steps"]],
        files=answer["files"],
        size_bytes=answer["size_bytes"],
        left=answer.get("left", 0),
    )
