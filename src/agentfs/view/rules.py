"""Which files are shown in the view, and how: rules of glob and policy (docs/view.md, V-70). Pure.

    *.log           none        no object
    checklists/     plain       the bytes as they are; the facts are metadata only
    *               block       what no rule matches: Markdown has the block

The last rule that matches a path counts. A pattern is one as in `ignore` (`model.ignore`); one that matches a
directory counts for everything below it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast, get_args

from agentfs.errors import InvalidArgument
from agentfs.model.ignore import IgnorePatterns

Policy: TypeAlias = Literal["block", "plain", "none"]
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A larger file has no object."""
RULES_MAX: Final = 1000
_PATTERN_BYTES_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: str
    policy: Policy


class Rules:
    """Compiled. Immutable, safe to share between threads."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._reversed = tuple(
            (IgnorePatterns((rule.pattern.encode("utf-8", "surrogateescape"),)), rule.policy)
            for rule in reversed(self.rules)
        )

    def policy(self, path: bytes) -> Policy:
        """Of the file at `path` (from the volume's root, no slash in front)."""
        for patterns, policy in self._reversed:
            if patterns.matches_path(path, directory=False):
                return policy
        return "block"


def checked_rule(pattern: object, policy: object) -> Rule:
    """Raises `InvalidArgument`."""
    if policy not in get_args(Policy):
        raise InvalidArgument(f"{policy} is no policy of the view: write {', '.join(get_args(Policy))}")
    if not isinstance(pattern, str) or not pattern.strip() or pattern.startswith(("!", "#")):
        raise InvalidArgument(f"{pattern!r} is no pattern: write a glob such as *.log or drafts/")
    if len(pattern.encode("utf-8", "surrogateescape")) > _PATTERN_BYTES_MAX or not pattern.isprintable():
        raise InvalidArgument("a pattern is printable, and at most 1024 bytes long")
    return Rule(pattern, cast(Policy, policy))
