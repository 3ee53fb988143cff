"""What a volume keeps of its history: a policy as a value, and as text."""

import re
from dataclasses import dataclass

_DAYS_MAX = 36_500
_VERSIONS_MAX = 10_000
_DAYS = re.compile(r"([0-9]{1,9}) ?(?:days?|d)(?![a-z])")
_VERSIONS = re.compile(r"([0-9]{1,9}) ?versions?(?![a-z])")


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything, or: every state of the last `days`, and the last `versions` contents of every file. At least what
    is younger than a day is always whole."""

    everything: bool = True
    days: int = 0
    versions: int = 0

    @property
    def text(self) -> str:
        """As it is stored: `all`, `30d`, `10 versions`, `30d 10 versions`."""
        if self.everything:
            return "all"
        parts = [f"{self.days}d"] if self.days else []
        return " ".join(parts + ([f"{self.versions} versions"] if self.versions else []))

    def __or__(self, other: "Policy") -> "Policy":
        """What keeps all that either keeps."""
        if self.everything or other.everything:
            return KEEP_ALL
        return Policy(False, max(self.days, other.days), max(self.versions, other.versions))


KEEP_ALL = Policy()


def parse_policy(text: str) -> Policy:
    """The policy that `text` says: `all`; `30d` or `30 days`; `10 versions`; both, joined by a space, a comma or
    `and`. Raises `ValueError`, which says how it is written."""
    rest = " ".join(text.replace(",", " ").split())
    if rest == "all":
        return KEEP_ALL
    found: dict[str, int] = {}
    for name, pattern, most in (("days", _DAYS, _DAYS_MAX), ("versions", _VERSIONS, _VERSIONS_MAX)):
        match = pattern.match(rest)
        if match is not None:
            number = int(match[1])
            if not 1 <= number <= most:
                raise ValueError(f"{number} {name} cannot be kept: 1 to {most} can")
            found[name] = number
            rest = rest[match.end() :].removeprefix(" and").strip()
    if rest or not found:
        raise ValueError(f"{text!a} is not a policy: write all, 30d, '10 versions' or '30d 10 versions'")
    return Policy(False, found.get("days", 0), found.get("versions", 0))
