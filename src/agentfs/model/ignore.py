"""Which names stay on this machine: a subset of gitignore's patterns, pure.

    *.swp               a name, in any directory; `*`, `?` and `[a-z]` do not match `/`
    node_modules/       a directory's name
    drafts/private      with a `/` inside (or in front): a path from the root
    **/.git/index.lock  a path below any directory
    !keep.swp           takes back what an earlier pattern ignored; the last pattern that matches decides
    # comment           and empty lines say nothing
    {a,b}               is the name `{a,b}`, as with git; who sets a pattern is asked what he means (`check_braces`)

Whatever is below an ignored directory is ignored; a `!` cannot bring it back. The caller sees to that.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

DEFAULT_PATTERNS: tuple[bytes, ...] = (
    b"**/.git/index.lock",
    b"*.swp",
    b"*.swx",
    b".DS_Store",
    b"node_modules/",
    b"__pycache__/",
    b".venv/",
    b"*.pyc",
    b".nfs*",
    b".fuse_hidden*",
    b"*-wal",
    b"*-shm",
    b"*.db-journal",
    b"*.db3-journal",
    b"*.sqlite-journal",
    b"*.sqlite3-journal",
)
"""What is ignored unless the configuration says otherwise. Not here: `*~` (it may be the only copy of an earlier
text), `4913` (vim's probe is gone before any push, and a note may be called so) and a bare `*-journal` (an agent
keeps a `travel-journal/`)."""


_BRACES = re.compile(r"(?<![\\\[])\{[^{}]*,[^{}]*\}")


@dataclass(frozen=True, slots=True)
class _Rule:
    ignores: bool
    directories_only: bool
    name: re.Pattern[bytes]
    """What the last component must match."""
    path: re.Pattern[bytes] | None
    """What the whole path must match; None: the name decides."""


def check_braces(pattern: str, *, where: str = "") -> None:
    """Raises `ValueError`, after `where`, for a glob with `{a,b}`, as a shell has it: here that would be a name."""
    found = _BRACES.search(pattern)
    if found is not None:
        raise ValueError(
            f"{where}braces are no choice here ({found[0]}): write a pattern for each, or \\{{ for the character"
        )


class IgnorePatterns:
    """Compiled patterns. Immutable, safe to share between threads."""

    def __init__(self, patterns: Iterable[bytes] = DEFAULT_PATTERNS) -> None:
        rules = [rule for line in patterns if (rule := _parse(line)) is not None]
        self._rules = tuple(reversed(rules))
        # One expression says of nearly every name, in under a microsecond, that no rule can match.
        self._any = re.compile(b"|".join(b"(?:%s)" % rule.name.pattern for rule in rules) or rb"(?!)", re.DOTALL)

    def matches(self, name: bytes, *, directory: bool, path: Callable[[], bytes]) -> bool:
        """Whether `name` is ignored. `path` gives its path from the root, without a leading slash; it is asked only
        when a pattern with a `/` could match."""
        if self._any.match(name) is None:
            return False
        for rule in self._rules:
            if rule.directories_only and not directory:
                continue
            if rule.name.match(name) is None:
                continue
            if rule.path is None or rule.path.match(path()):
                return rule.ignores
        return False

    def matches_path(self, path: bytes, *, directory: bool) -> bool:
        """Whether the file or directory at `path` (from the root, no leading slash) is ignored, by itself or because
        a directory above it is."""
        parts = path.split(b"/")
        for count in range(1, len(parts) + 1):
            above = b"/".join(parts[:count])
            is_directory = directory or count < len(parts)
            if self.matches(parts[count - 1], directory=is_directory, path=lambda: above):  # noqa: B023
                return True
        return False


def _parse(line: bytes) -> _Rule | None:
    pattern = line.strip()
    if not pattern or pattern.startswith(b"#"):
        return None
    ignores = not pattern.startswith(b"!")
    pattern = pattern if ignores else pattern[1:]
    directories_only = pattern.endswith(b"/")
    pattern = pattern.rstrip(b"/")
    anchored = b"/" in pattern
    pattern = pattern.lstrip(b"/")
    if not pattern:
        return None
    last = pattern.rpartition(b"/")[2]
    return _Rule(
        ignores=ignores,
        directories_only=directories_only,
        name=re.compile((rb".*" if last == b"**" else _translate(last)) + rb"\Z", re.DOTALL),
        path=re.compile(translate_path(pattern) + rb"\Z", re.DOTALL) if anchored else None,
    )


def translate_path(pattern: bytes) -> bytes:
    """The expression for a path's glob. `**` as a component stands for any number of directories (as the last one:
    for anything below)."""
    parts = pattern.split(b"/")
    made = b""
    for index, part in enumerate(parts):
        is_last = index == len(parts) - 1
        if part == b"**":
            made += rb".+" if is_last else rb"(?:[^/]+/)*"
        else:
            made += _translate(part) + (b"" if is_last else b"/")
    return made


def _translate(component: bytes) -> bytes:
    made, index = b"", 0
    while index < len(component):
        character = component[index : index + 1]
        index += 1
        if character == b"*":
            made += rb"[^/]*"
        elif character == b"?":
            made += rb"[^/]"
        elif character == b"[" and (end := component.find(b"]", index + 1)) > 0:
            made += _translate_set(component[index:end])
            index = end + 1
        elif character == b"\\" and index < len(component):
            made += re.escape(component[index : index + 1])
            index += 1
        else:
            made += re.escape(character)
    return made


def _translate_set(inside: bytes) -> bytes:
    """One byte of those between the brackets: bytes and ranges; `!` or `^` in front for all others."""
    others = inside[:1] in (b"!", b"^")
    inside = inside[1:] if others else inside
    chosen: set[int] = set()
    index = 0
    while index < len(inside):
        first = last = inside[index]
        if inside[index + 1 : index + 2] == b"-" and index + 2 < len(inside):
            last = inside[index + 2]
            index += 2
        chosen.update(range(first, last + 1))  # a range that runs backwards is empty, as with git
        index += 1
    if others:
        chosen = set(range(256)) - chosen - {ord("/")}
    if not chosen:
        return rb"(?!)"
    return b"[" + b"".join(b"\\x%02x" % value for value in sorted(chosen)) + b"]"
