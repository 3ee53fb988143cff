"""What a check finds, typed: for people, for JSON and for the repair."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["note", "damage", "loss"]
"""`note`: harmless. `damage`: something is wrong that can be derived again. `loss`: bytes or history are gone."""

FINDINGS: dict[str, tuple[Severity, str]] = {
    "store-file": ("damage", "store.json is missing or damaged"),
    "volume-deleted": ("note", "the fork was deleted; only what keeps its names taken is left"),
    "origin-damaged": ("loss", "what a fork begins with is damaged or missing in the volume that it comes from"),
    "stray-object": ("note", "an object under the volume's prefix has a name that is not of the format"),
    "log-gap": ("loss", "an entry of the log is missing"),
    "log-entry-damaged": ("loss", "an entry of the log is damaged"),
    "chain-broken": ("loss", "an entry does not continue the one before it"),
    "commit-illegal": ("loss", "a commit does not fit the tree before it"),
    "fence-broken": ("note", "a faulty writer changed what another had locked (history has both versions)"),
    "snapshot-missing": ("loss", "the log starts with collected entries and no whole snapshot covers them"),
    "snapshot-damaged": ("damage", "a snapshot is damaged"),
    "snapshot-wrong": ("damage", "a snapshot is not what the log says"),
    "section-missing": ("loss", "a file's content lies in a commit that does not hold it"),
    "blob-missing": ("loss", "a chunk of a file's content is missing"),
    "blob-damaged": ("loss", "a chunk of a file's content is damaged"),
    "blob-unused": ("note", "a chunk that nothing refers to"),
    "pack-damaged": ("loss", "a pack of small contents is damaged"),
    "index-damaged": ("note", "an index that a machine put for others is damaged: they make their own; delete it"),
    "pin-damaged": ("loss", "a pin cannot be read: nobody knows what it keeps, and nothing can be collected"),
    "pin-broken": ("loss", "what a named snapshot or a fork keeps is not there"),
    "pin-unheld": ("note", "a pin that was never finished"),
    "announcement-damaged": ("damage", "an announcement of a collection is damaged: nothing can be collected"),
    "policy-damaged": ("damage", "a retention policy is damaged: nothing can be collected; set it again"),
    "rules-damaged": ("damage", "lifecycle rules are damaged: none acts, nothing can be collected; set them again"),
    "replica-damaged": ("damage", "the replica's database is damaged"),
    "replica-check": ("damage", "the replica contradicts itself"),
    "replica-head": ("damage", "the replica stands at an entry that the log does not have"),
    "replica-content": ("damage", "the replica takes a file's content for another than the log has"),
    "replica-tree": ("damage", "the replica takes a name for another than the log has"),
    "backing-damaged": ("damage", "bytes on this machine are not what the log says they are"),
}
"""Kind → severity and meaning (docs/errors.md)."""


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    place: str
    """Where: an object's name, a path, a file."""
    detail: str
    repaired: bool = False

    @property
    def severity(self) -> Severity:
        return FINDINGS[self.kind][0]


@dataclass(slots=True)
class Findings:
    """Collects findings, each kind up to a bound: a store full of damage must not fill the memory."""

    found: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    each_max: int = 1000

    def add(self, kind: str, place: str, detail: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= self.each_max:
            self.found.append(Finding(kind, place, detail))

    def of(self, *kinds: str) -> list[Finding]:
        return [finding for finding in self.found if finding.kind in kinds]

    @property
    def damaged(self) -> bool:
        return any(FINDINGS[kind][0] != "note" for kind in self.counts)
