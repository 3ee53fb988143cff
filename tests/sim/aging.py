"""Lifecycle rules of a world, and whether each commit of a rule did what the rule says, and no more."""

from dataclasses import dataclass, field
from random import Random

from logged import Logged, Place
from oracle import Oracle
from programs import LOCKED

from agentfs.log.lifecycle import LifecycleChain
from agentfs.model.lifecycle import NO_RULES, Rule, Rules, parse_rules
from agentfs.model.records import Commit, InodeId, Link
from agentfs.stores.memory import MemoryStore

_GLOBS = ["**", "**", "**/*.md", "a/**", "b/**", "**/*.jsonl", "*.txt", "plan/*.md", "**/notes.md"]
_AGES = ["20s", "20s", "60s", "60s", "3min", "2h"]


def some_rules(random: Random) -> str:
    """As somebody may write them."""
    while True:
        text = _some(random)
        try:
            parse_rules(text)
        except ValueError:  # one is never the first to match
            continue
        return text


def _some(random: Random) -> str:
    found = [f'[[lifecycle]]\nglob = "{LOCKED}"\nkeep = true']
    for _ in range(random.choice([0, 1, 1, 2, 3])):
        lines = ["[[lifecycle]]", f'glob = "{random.choice(_GLOBS)}"']
        dice = random.random()
        if dice < 0.15:
            lines.append("keep = true")
        elif dice < 0.3:
            lines.append(f"versions = {random.choice([1, 2, 5])}")
        else:
            lines.append(f'{random.choice(["expire", "archive"])} = "{random.choice(_AGES)}"')
            if random.random() < 0.25:
                lines.append('since = "created"')
        found.append("\n".join(lines))
    return "\n".join(found)


@dataclass(slots=True)
class Aging:
    store: MemoryStore
    volume: str
    oracle: Oracle
    complaints: list[str]
    late: bool = False
    """What arrives now was sent some time ago."""
    _before: list[tuple[float, Rules]] = field(default_factory=lambda: [(0.0, NO_RULES)])
    """Since when, by the store's clock, which rules counted."""
    _log_at: float = 0.0
    """When the last commit reached the store."""
    _number: int = 0

    def rules(self) -> Rules:
        """In force now."""
        force = LifecycleChain(self.store, self.volume).newest()
        if force.number != self._number:
            self._number = force.number
            self._before.append((force.set_at, force.rules))
        return force.rules

    def judge(self, commit: Commit, log: Logged, now_ns: int, contents: dict[bytes, bytes]) -> None:
        """`log`: the tree before the commit."""
        now = self.rules()
        allowed = [now]
        if self.late:  # it was made right after the commit before it
            allowed += [rules for at, (_, rules) in enumerate(self._before) if self._until(at) >= self._log_at]
        moved = {link.child: link for link in commit.links}
        for it in commit.unlinks:
            place = (it.parent, it.name)
            child = log.names.get(place)
            why = "removes what is not there" if child is None else self._why_not(commit, place, log, allowed, now_ns)
            if child is None or why:
                self.complaints.append(f"commit {commit.sequence} ({commit.cause}), {it.name!r}: {why}")
                continue
            self.oracle.counts[f"lifecycle: files {'archived' if child in moved else 'expired'}"] += 1
            if child not in moved:
                deed = self.oracle.deed(f"{commit.cause} of {it.name!r}")
                self.oracle.destroyed(deed, contents[log.digests[child]])

    def arrived(self, at: float) -> None:
        """A commit reached the store."""
        self._log_at = at

    def _until(self, number: int) -> float:
        return self._before[number + 1][0] if number + 1 < len(self._before) else float("inf")

    def _why_not(self, commit: Commit, place: Place, log: Logged, allowed: list[Rules], now_ns: int) -> str:
        path = log.path(place) or b""
        said = commit.cause.removeprefix("rule ")
        rule = next((one for rules in allowed if (one := rules.of(path)) is not None and one.text == said), None)
        if rule is None or rule.action is None:
            return f"no such rule holds for {path!r}: {[it.text for it in allowed[0].rules]}"
        age_s = (now_ns - log.begun_ns(place, since=rule.since)) / 1e9
        if age_s < rule.seconds:
            return f"{path!r} is {age_s:.1f} s old"
        return self._why_not_moved(commit, place, log, rule)

    @staticmethod
    def _why_not_moved(commit: Commit, place: Place, log: Logged, rule: Rule) -> str:
        child: InodeId = log.names[place]
        links: list[Link] = [it for it in commit.links if it.child == child]
        names = sum(log.names.get((it.parent, it.name)) == child for it in commit.unlinks)
        if len(links) != (names if rule.action == "archive" else 0):
            return f"{len(links)} new names by a rule that says {rule.action}"
        taken = [it.name for it in links if (it.parent, it.name) in log.names]
        return f"the archive's names {taken} were taken" if taken else ""
