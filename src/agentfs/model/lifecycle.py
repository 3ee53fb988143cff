"""Lifecycle rules: what becomes of files as time goes by, by glob. Pure.

    [[lifecycle]]
    glob = "logs/keep/**"
    keep = true                 # nothing happens to these

    [[lifecycle]]
    glob = "logs/**"
    expire = "30d"              # deleted, 30 days after their last change

    [[lifecycle]]
    glob = "daily/*.md"
    archive = "90d"             # moved to archive/daily/…
    to = "archive"              # the default

    [[lifecycle]]
    glob = "scratch/**"
    versions = 3                # of the history of these, three versions

The first rule whose glob matches a path decides, and no other. Globs are paths from the root: `*`, `?` and `[a-z]` do
not match `/`, `**` as a component stands for any number of directories. What would match every file is written `**`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentfs.model.ignore import translate_path

Action: TypeAlias = Literal["expire", "archive"]
Since: TypeAlias = Literal["changed", "created"]

TEXT_BYTES_MAX = 65_536
RULES_MAX = 200
GLOB_BYTES_MAX = 1024
VERSIONS_MAX = 10_000
_DAYS_MAX = 36_500
_KEYS = ("glob", "expire", "archive", "to", "since", "versions", "keep")
_AGE = re.compile(r"([0-9]{1,9}) ?(s|min|h|d|w|y)\Z")
"""No `m`: who means months must not get minutes."""
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. With neither an action nor `versions` it says that nothing happens to what it matches."""

    glob: str
    action: Action | None = None
    after: str = ""
    """How long after `since` the action is due, as it was written: `30d`."""
    seconds: int = 0
    """The same."""
    since: Since = "changed"
    """The last change of bytes, name or attributes; or when the file came to be."""
    to: str = ""
    """Of `archive`: the directory, from the root, without slashes around it."""
    versions: int | None = None

    @property
    def text(self) -> str:
        """In one line: `logs/** expire 30d`."""
        parts = [self.glob]
        if self.action is not None:
            parts += [self.action, self.after]
            if self.since == "created":
                parts.append("since created")
            if self.action == "archive" and self.to != _ARCHIVE:
                parts.append(f"to {self.to}")
        if self.versions is not None:
            parts.append(f"{self.versions} versions")
        return " ".join(parts if len(parts) > 1 else [*parts, "keep"])


class Rules:
    """Rules in their order, compiled. Immutable, safe to share between threads."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self._patterns = tuple(
            (re.compile(translate_path(os.fsencode(rule.glob)) + rb"\Z", re.DOTALL), rule) for rule in rules
        )
        self.archives = frozenset(os.fsencode(rule.to) for rule in rules if rule.action == "archive")
        """Where rules move files to. What is there is not moved again."""
        self._starts = tuple(_start(rule.glob) for rule in rules if rule.action is not None)

    def of(self, path: bytes) -> Rule | None:
        """The rule for the file at `path` (from the root, without a leading slash); None: there is none."""
        return next((rule for pattern, rule in self._patterns if pattern.match(path)), None)

    def acts_below(self, directory: bytes) -> bool:
        """Whether an action of any rule could be for a file below `directory`."""
        parts = directory.split(b"/") if directory else []
        return any(all(a == b for a, b in zip(parts, start, strict=False)) for start in self._starts)

    def versions_of(self, path: bytes) -> int | None:
        """How many versions of the file at `path` are wanted; None: no rule says."""
        rule = self.of(path)
        return None if rule is None else rule.versions

    @property
    def act(self) -> bool:
        """Whether any of them deletes or moves files."""
        return any(rule.action is not None for rule in self.rules)


NO_RULES = Rules(())


def parse_rules(text: str) -> Rules:
    """The rules in TOML. Raises `ValueError`, with one line that says which rule is wrong, and what is right."""
    if len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        raise ValueError(f"the rules are longer than {TEXT_BYTES_MAX} bytes")
    import tomllib  # noqa: PLC0415 - only where rules are read

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the rules are not TOML: {error}") from None
    unknown = sorted(document.keys() - {"lifecycle"})
    if unknown:
        raise ValueError(f"{unknown[0]!a} is not known: rules begin with [[lifecycle]]")
    tables = document.get("lifecycle", [])
    if not isinstance(tables, list) or not all(isinstance(it, dict) for it in tables):
        raise ValueError("write [[lifecycle]], in two brackets, before each rule")
    if len(tables) > RULES_MAX:
        raise ValueError(f"{len(tables)} rules are too many: {RULES_MAX} are the most")
    found: list[Rule] = []
    for number, table in enumerate(tables, start=1):
        try:
            found.append(_rule(table))
        except ValueError as error:
            raise ValueError(f"rule {number}: {error}") from None
    _check_reach(found)
    return Rules(tuple(found))


def _check_reach(rules: list[Rule]) -> None:
    """A rule that can never be the first to match is a mistake of order."""
    seen: dict[str, int] = {}
    for number, rule in enumerate(rules, start=1):
        earlier = seen.get("**") or seen.get(rule.glob)
        if earlier is not None:
            raise ValueError(
                f"rule {number} is never the first to match {rule.glob}, because rule {earlier} is: put it before "
                "that one, or say all in one rule"
            )
        seen[rule.glob] = number


def _rule(table: Mapping[str, object]) -> Rule:
    unknown = sorted(table.keys() - set(_KEYS))
    if unknown:
        raise ValueError(f"{unknown[0]!a} is not known: use {', '.join(_KEYS)}")
    glob = _glob(table.get("glob"))
    keep = table.get("keep", False)
    if type(keep) is not bool:
        raise ValueError("keep is true or false")
    actions: list[Action] = [it for it in ("expire", "archive") if it in table]
    versions = _versions(table["versions"]) if "versions" in table else None
    if keep:
        others = sorted(table.keys() - {"glob", "keep"})
        if others:
            raise ValueError(f"keep and {others[0]} contradict each other")
        return Rule(glob)
    if len(actions) > 1:
        raise ValueError("expire and archive are two rules: let another one, of the archive, expire")
    if not actions:
        extra = [it for it in ("to", "since") if it in table]
        if extra:
            raise ValueError(f"{extra[0]} says nothing without expire or archive")
        if versions is None:
            raise ValueError("say expire, archive, versions or keep")
        return Rule(glob, versions=versions)
    action = actions[0]
    if action == "expire" and "to" in table:
        raise ValueError("to is for archive")
    after, seconds = _age(action, table[action])
    to = _directory(table.get("to", _ARCHIVE)) if action == "archive" else ""
    return Rule(glob, action, after, seconds, _since(table.get("since", "changed")), to, versions)


def _glob(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError('say which files: glob = "logs/**"')
    glob = value.strip().removeprefix("/")
    if len(glob.encode("utf-8")) > GLOB_BYTES_MAX:
        raise ValueError(f"the glob is longer than {GLOB_BYTES_MAX} bytes")
    if any(ord(it) < 32 or ord(it) == 127 for it in glob):
        raise ValueError("the glob has a control character in it")
    if glob.startswith("!"):
        raise ValueError("a glob that begins with ! is written as a rule of its own before: keep = true")
    if glob.endswith("/"):
        raise ValueError(f"{glob} is a directory: write {glob}** for the files below it")
    parts = glob.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{value!a} is no path from the root: no empty part, no . and no ..")
    if any("**" in part and part != "**" for part in parts):
        raise ValueError(f"{value!a}: ** stands alone between slashes, as in logs/**/*.txt")
    if glob != "**" and all(not part.strip("*?") for part in parts):
        raise ValueError(f'{value!a} would match nearly everything: write glob = "**" if that is meant')
    return glob


def _age(action: Action, value: object) -> tuple[str, int]:
    match = _AGE.match(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{action} takes an age with a unit: {action} = "30d" (s, min, h, d, w or y)')
    seconds = int(match[1]) * _SECONDS[match[2]]
    if not 1 <= seconds <= _DAYS_MAX * 86_400:
        raise ValueError(f"{action} = {value!a} cannot be: 1s to {_DAYS_MAX}d can")
    return f"{int(match[1])}{match[2]}", seconds


def _since(value: object) -> Since:
    if value == "changed":
        return "changed"
    if value == "created":
        return "created"
    raise ValueError("since is changed or created")


def _directory(value: object) -> str:
    if not isinstance(value, str) or not value.strip("/ "):
        raise ValueError('to takes a directory: to = "archive"')
    path = value.strip().strip("/")
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(ord(it) < 32 or ord(it) == 127 for it in path):
        raise ValueError(f"{value!a} is no path from the root: no empty part, no . and no ..")
    if any(it in path for it in "*?["):
        raise ValueError(f"to takes a directory, not a glob: {value!a}")
    if any(len(part.encode("utf-8")) > 255 for part in parts) or len(path.encode("utf-8")) > GLOB_BYTES_MAX:
        raise ValueError("to is too long")
    return path


def _versions(value: object) -> int:
    if type(value) is not int or not 1 <= value <= VERSIONS_MAX:
        raise ValueError(f"versions takes a number from 1 to {VERSIONS_MAX}")
    return value


def _start(glob: str) -> tuple[bytes, ...]:
    """The components before the first with a wildcard, without the file's name."""
    found: list[bytes] = []
    for part in glob.split("/")[:-1]:
        if any(it in part for it in "*?[\\"):
            break
        found.append(os.fsencode(part))
    return tuple(found)
