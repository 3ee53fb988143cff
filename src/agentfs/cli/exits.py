"""Exit codes: one per thing that a script would do differently (docs/cli.md)."""

from agentfs.errors import (
    AccessDenied,
    AgentFSError,
    AgentIdInvalid,
    BucketNotFound,
    ConfigInvalid,
    Corrupt,
    HistoryBroken,
    IndexOff,
    InvalidArgument,
    NameTooLong,
    NotFound,
    NotMounted,
    NotPermitted,
    OutcomeUnknown,
    ReadOnly,
    ReplicaDamaged,
    StoreDenied,
    StoreUnavailable,
    StoreURLInvalid,
    SyncTimedOut,
    Unavailable,
    VolumeDeleted,
)

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
DENIED = 5
STILL_LOCAL = 6
DAMAGED = 7
INTERRUPTED = 130

MEANINGS = {
    OK: "it worked",
    FAILED: "it did not work",
    USAGE: "the command line, a setting or a name is not valid",
    NOT_FOUND: "a file, a mount or a bucket is not there",
    UNREACHABLE: "the store cannot be reached",
    DENIED: "the store, or the file's mode, denies it",
    STILL_LOCAL: "time was up and some changes are not yet in the store (they are safe on this machine)",
    DAMAGED: "damage was found",
    INTERRUPTED: "interrupted with Ctrl-C",
}

_CODES: tuple[tuple[tuple[type[AgentFSError], ...], int], ...] = (
    ((NotFound, NotMounted, BucketNotFound, VolumeDeleted), NOT_FOUND),
    ((StoreUnavailable, Unavailable, OutcomeUnknown), UNREACHABLE),
    ((StoreDenied, AccessDenied, NotPermitted, ReadOnly), DENIED),
    ((SyncTimedOut,), STILL_LOCAL),
    ((Corrupt, HistoryBroken, ReplicaDamaged), DAMAGED),
    ((ConfigInvalid, AgentIdInvalid, StoreURLInvalid, InvalidArgument, NameTooLong, IndexOff), USAGE),
)


def exit_code(error: AgentFSError) -> int:
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), FAILED)
