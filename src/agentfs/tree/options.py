"""What a tree can be told."""

from dataclasses import dataclass, field

from agentfs.model.ignore import IgnorePatterns


@dataclass(frozen=True, slots=True)
class TreeOptions:
    ignore: IgnorePatterns = field(default_factory=IgnorePatterns)
    """What stays on this machine."""
    links_max: int = 65_000
    """Hard links of one file (as ext4 has it)."""
    agent: str = "local"
    """Whose name a conflict copy made here carries."""
