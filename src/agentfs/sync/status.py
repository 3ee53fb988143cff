"""How the engine is doing, for people and for metrics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Times are nanoseconds since 1970 by this machine's clock; None: never."""

    head_sequence: int
    head_digest: bytes
    pending_inodes: int
    pending_names: int
    pending_bytes: int
    oldest_pending_age_s: float | None
    """Age of the oldest change that is not yet remote."""
    online: bool
    """The last exchange with the store worked."""
    broken: bool
    """The log does not continue what this replica holds; nothing is pushed or pulled (`last_error` says more)."""
    failing: bool
    """The last step failed, for the reason in `last_error`; it is tried again."""
    copied_ns: int | None
    """When this replica was found to be a restored or cloned one, and took a new id."""
    last_contact_ns: int | None
    last_error: str | None
    last_error_ns: int | None
    waiting_files: tuple[str, ...]
    """Files that could not be read for a commit, with the reason."""
    requests: int
    """To the store, since this engine started."""
    conflicts: int
    """Settled by this engine since it started."""
    commits_since_snapshot: int
