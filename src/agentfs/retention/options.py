"""What can be set about collecting, with its defaults."""

from dataclasses import dataclass

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class CollectorOptions:
    """Times in seconds by the store's clock, sizes in bytes. (A store may tell the time of one object to the second,
    and of another to the millisecond: below a few seconds no age means anything.)"""

    whole_s: float = _DAY_S
    """Whatever the policy: every state of this time is kept. Readers and writers that are not further behind never
    meet a stub."""
    chunk_grace_s: float = 7 * _DAY_S
    """Chunks that nothing refers to are left alone for so long: an upload may be under way."""
    announcements_kept_s: float = 30 * _DAY_S
    """A name that was announced to go is not used again for so long after it went."""
    clock_tolerance_s: float = 3600.0
    commits_min: int = 1
    """Collect only when at least this many commits may go."""
    tail_share: float = 0.0
    """… and at least this share of the commits after them, which must be read for that."""
    chunks_alone: bool = True
    """Look for chunks that nothing refers to also when no commit may go: the log must be read for that."""
    pack_bytes: int = 8 * 1024 * 1024
    pack_live_share: float = 0.5
    """A pack of which less than this is still kept is packed anew."""
    packs_small_max: int = 8
    """So many packs under a quarter of `pack_bytes` become one."""
    parallel: int = 8
    """Requests at once."""


QUIET = CollectorOptions(commits_min=64, tail_share=0.25, chunks_alone=False, parallel=4)
"""Of the engine's chore: it does little at a time, and only what pays."""
