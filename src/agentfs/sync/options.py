"""What can be set about the engine, with its defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Times in seconds, sizes in bytes."""

    push_quiet_s: float = 0.2
    """Push when nothing changed for this long …"""
    push_delay_max_s: float = 0.4
    """… or when this long has passed since the first change."""
    vacated_hold_s: float = 0.15
    """A file that was removed or moved away waits this long for another to take its name (but for `agentfs sync`)."""
    conflict_markers: bool = False
    """Merged text has markers around what both changed (`merge.contents`)."""
    poll_active_s: float = 1.0
    """Between looks at the log while something happens here or there."""
    poll_idle_max_s: float = 15.0
    """Between looks when nothing happens; doubled up to this."""
    turns: bool = True
    """Writers that meet at the log take turns. False: whoever was slower tries again at once."""
    active_s: float = 15.0
    """How long after the last change (or `touch`) a volume counts as active."""
    retry_max_s: float = 15.0
    """Between tries while the store fails."""
    look_active_s: float = 0.1
    """Between looks at this machine's database for changes of other processes that forgot to wake the engine."""
    look_idle_s: float = 1.0
    catch_up_after: int = 4
    """This many commits in a row are fetched one by one; then in parallel windows."""
    snapshot_every: int = 256
    """Commits between snapshots."""
    snapshot_on_stop: int = 32
    """When stopping, snapshot if this many commits came since the last one."""
    cache_bytes: int = 10 * 1024**3
    """Clean backing files are evicted, least recently used first, above this."""
    prefetch: bool = True
    """Fetch contents in the background, up to the size of the cache."""
    prefetch_batch: int = 64
    """Files fetched between two looks at other work."""
    parallel: int = 8
    """Requests at once for chunks and prefetch. 1: all in the engine's own thread."""
    large_slice_s: float = 1.0
    """Chunks of large files are put for so long, then what else is pending is committed; again and again."""
    open_quiet_s: float = 1.0
    """A file that stays open for writing is committed when it was not written for this long …"""
    open_long_s: float = 5.0
    """… and has been open for this long."""
    open_delay_max_s: float = 30.0
    """One that is written all the time is committed as it is, this long after the first write that is not yet."""
    pending_limit_s: float = 600.0
    """A change that is not remote for longer is a warning in the log, again and again."""
    housekeeping_s: float = 10.0
    """Between checkpoints, trimming and eviction."""
    journal_rows_max: int = 100_000
    """Journal rows kept for their readers."""
