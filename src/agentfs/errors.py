"""Every error that AgentFS raises on purpose: one class per thing a caller can do about it.

Each class carries `errno`, which the FUSE face hands to the kernel, and `code`, a stable word for scripts
(`--json`) and for the documentation. The message is one line that says what to do. The core raises these;
faces translate them and add nothing.
"""

import errno as _errno
from typing import ClassVar


class AgentFSError(Exception):
    """The base of all errors raised on purpose. `str(error)` is one line for a person."""

    errno: ClassVar[int] = _errno.EIO
    code: ClassVar[str] = "error"


# ---- the tree: what a file operation can answer -------------------------------------------------------------


class TreeError(AgentFSError):
    """A file operation was refused; `errno` says why, as POSIX names it."""


class NotFound(TreeError):
    errno, code = _errno.ENOENT, "not-found"


class Exists(TreeError):
    errno, code = _errno.EEXIST, "exists"


class VersionGone(NotFound):
    """What was asked for of the history was collected, as the retention policy says."""

    code = "version-gone"


class NotADirectory(TreeError):
    errno, code = _errno.ENOTDIR, "not-a-directory"


class IsADirectory(TreeError):
    errno, code = _errno.EISDIR, "is-a-directory"


class NotEmpty(TreeError):
    errno, code = _errno.ENOTEMPTY, "not-empty"


class InvalidArgument(TreeError):
    errno, code = _errno.EINVAL, "invalid-argument"


class NameTooLong(TreeError):
    errno, code = _errno.ENAMETOOLONG, "name-too-long"


class NotPermitted(TreeError):
    errno, code = _errno.EPERM, "not-permitted"


class AccessDenied(TreeError):
    errno, code = _errno.EACCES, "access-denied"


class TooManyLinks(TreeError):
    errno, code = _errno.EMLINK, "too-many-links"


class BadHandle(TreeError):
    errno, code = _errno.EBADF, "bad-handle"


class NoAttribute(TreeError):
    errno, code = _errno.ENODATA, "no-attribute"


class TooSmall(TreeError):
    errno, code = _errno.ERANGE, "range"


class NotSupported(TreeError):
    errno, code = _errno.EOPNOTSUPP, "not-supported"


class NoSpace(TreeError):
    errno, code = _errno.ENOSPC, "no-space"


class FileTooBig(TreeError):
    errno, code = _errno.EFBIG, "file-too-big"


class ReadOnly(TreeError):
    errno, code = _errno.EROFS, "read-only"


class Unavailable(TreeError):
    """The bytes are not on this machine and the store cannot be reached now. Trying again later may work."""

    errno, code = _errno.EIO, "unavailable"


class NotResident(TreeError):
    """The bytes of inode `ino` must be fetched first: call `Tree.hydrate(ino)` where you may wait, and try again."""

    errno, code = _errno.EIO, "not-resident"

    def __init__(self, ino: int) -> None:
        super().__init__(f"the bytes of inode {ino} are not on this machine yet")
        self.ino = ino


class OtherVolume(TreeError):
    """A move or a hard link from one volume into another (home and space): copy instead, as `mv` does by itself."""

    errno, code = _errno.EXDEV, "other-volume"


class Attached(TreeError):
    """The name is where a space is attached: `agentfs space detach` takes it away."""

    errno, code = _errno.EBUSY, "attached"


class Detached(TreeError):
    """The space was detached while it was in use."""

    errno, code = _errno.ESTALE, "detached"


class FileBusy(TreeError):
    """A program has the file open for writing, so that nobody may change it beside that: try again when it is
    closed."""

    errno, code = _errno.EBUSY, "file-busy"


class TooBig(TreeError):
    errno, code = _errno.E2BIG, "too-big"


class BeyondEnd(TreeError):
    """There is nothing to find behind this offset."""

    errno, code = _errno.ENXIO, "beyond-end"


class Interrupted(TreeError):
    errno, code = _errno.EINTR, "interrupted"


class LockHeld(TreeError):
    """Somebody else has the lock, and was not to be waited for (any longer)."""

    errno, code = _errno.EAGAIN, "lock-held"


class NoLock(TreeError):
    """A lock across machines cannot be had now."""

    errno, code = _errno.ENOLCK, "no-lock"


class LockLost(TreeError):
    """Another machine took a lock over while it was held here. What was changed under it was kept aside."""

    errno, code = _errno.EIO, "lock-lost"


class IndexOff(TreeError):
    """Search and recall are switched off for this home (the setting `index`)."""

    errno, code = _errno.EOPNOTSUPP, "index-off"


class Replaced(TreeError):
    """The open file is not the one at its name any more: open it again."""

    errno, code = _errno.ESTALE, "replaced"


# ---- the store ----------------------------------------------------------------------------------------------


class StoreError(AgentFSError):
    """The object store did not do what was asked."""

    code = "store-error"


class ObjectNotFound(StoreError):
    errno, code = _errno.ENOENT, "object-not-found"


class ContentGone(ObjectNotFound):
    """Bytes that only the history still had were collected, as the retention policy says."""

    code = "content-gone"


class ObjectExists(StoreError):
    """A create-only put was refused because the name is taken. Nothing was written *by this call*, but an
    earlier try of the same call may have been what took the name: read the object to find out."""

    errno, code = _errno.EEXIST, "object-exists"


class ObjectChanged(StoreError):
    """A put that was to replace a certain version was refused: the object is another one by now, or gone. Nothing
    was written. Read it and decide again."""

    errno, code = _errno.ESTALE, "object-changed"


class NameNotListed(StoreError):
    """A name that another tool gave an object keeps the store's client from listing all those beside it (GCS and
    Azure). Rename or remove that object."""

    code = "name-not-listed"


class ObjectBusy(StoreError):
    """A program has the object's file open for writing, in a directory as a store: what it writes next would be lost.
    Nothing was changed. Try again when it has closed it."""

    errno, code = _errno.EBUSY, "object-busy"


class OutcomeUnknown(StoreError):
    """A put may or may not have taken effect (time-out, dropped connection, 5xx after the body was sent).
    Read the object back before deciding anything."""

    errno, code = _errno.EIO, "outcome-unknown"


class StoreUnavailable(StoreError):
    """The store could not be reached, or kept failing until the retry budget was spent. Nothing was written."""

    errno, code = _errno.EIO, "store-unavailable"


class StoreDenied(StoreError):
    """Credentials are missing, wrong, or not allowed to do this."""

    errno, code = _errno.EACCES, "store-denied"


class BucketNotFound(StoreError):
    """The bucket, container or directory of the store URL does not exist."""

    errno, code = _errno.ENOENT, "bucket-not-found"


class ClocksDisagree(StoreError):
    """The store's clock and this machine's are too far apart to tell how old anything is: correct the wrong one.
    Nothing was collected."""

    errno, code = _errno.EINVAL, "clocks-disagree"


class StoreUnsafe(StoreError):
    """The store failed the probe: it cannot keep two writers apart, so a second writer is refused."""

    errno, code = _errno.EPERM, "store-unsafe"


class StoreURLInvalid(StoreError):
    errno, code = _errno.EINVAL, "store-url-invalid"


# ---- bytes on the store -------------------------------------------------------------------------------------


class FormatError(AgentFSError):
    """Bytes that were read are not what the format says they must be."""

    code = "format-error"


class Corrupt(FormatError):
    """An object is damaged: wrong digest, wrong length, or not parseable. It was not used."""

    errno, code = _errno.EIO, "corrupt"


class NewerFormat(FormatError):
    """The object was written by a newer AgentFS. Nothing was changed; upgrade to read it."""

    errno, code = _errno.EPROTONOSUPPORT, "newer-format"


class HistoryBroken(FormatError):
    """The log does not continue what this replica holds: a commit's parent digest does not match. The replica
    was not changed; `agentfs fsck` says more."""

    errno, code = _errno.EIO, "history-broken"


class VolumeDeleted(HistoryBroken):
    """The fork was deleted (`agentfs fork delete`): nothing is written to it any more. What this machine has of it
    stays readable here."""

    errno, code = _errno.ENOENT, "volume-deleted"


class Collected(FormatError):
    """The log entry was collected: its commit is part of a snapshot, and only its digest still stands at its place.
    Whoever needs it starts from the newest snapshot."""

    errno, code = _errno.EIO, "collected"

    def __init__(self, message: str, *, sequence: int, commit_digest: bytes, snapshot: int) -> None:
        super().__init__(message)
        self.sequence = sequence
        self.commit_digest = commit_digest
        """Digest of the commit that stood there: one that was prepared here may be it."""
        self.snapshot = snapshot
        """A snapshot at this sequence, or a newer one, is on the store."""


# ---- this machine -------------------------------------------------------------------------------------------


class ConfigInvalid(AgentFSError):
    errno, code = _errno.EINVAL, "config-invalid"


class NotInstalled(AgentFSError):
    """What was asked for needs a package that is an extra of AgentFS, and is not installed."""

    errno, code = _errno.ENOPKG, "not-installed"


class AgentIdInvalid(AgentFSError):
    errno, code = _errno.EINVAL, "agent-id-invalid"


class ReplicaDamaged(AgentFSError):
    """The local replica fails its own checks. `agentfs fsck --repair` rebuilds what can be rebuilt."""

    code = "replica-damaged"


class ReplicaInUse(AgentFSError):
    """Another process holds what only one may hold (the engine's lock)."""

    errno, code = _errno.EBUSY, "replica-in-use"


class MountFailed(AgentFSError):
    code = "mount-failed"


class NotMounted(AgentFSError):
    errno, code = _errno.ENOENT, "not-mounted"


class SyncTimedOut(AgentFSError):
    """Some changes are not yet remote. They are safe on this machine and will be pushed later."""

    errno, code = _errno.ETIMEDOUT, "sync-timed-out"
