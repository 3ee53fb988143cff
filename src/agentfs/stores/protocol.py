"""The object store as the rest of AgentFS sees it: six methods, each a contract.

Names are `/`-separated relative paths of Unicode without control characters and without empty, `.` or `..` parts, at
most 1024 bytes in UTF-8 together with the backend's own root (`name_bytes_max` without it). They are never normalized
or encoded: `%41`, `é` in two forms and `*` are what they are. Other names raise `InvalidArgument` before anything is
sent. All methods are synchronous, may be called from any thread, and never hold a lock of the caller. Any method may
raise `StoreUnavailable`, `StoreDenied`, `BucketNotFound` or a plain `StoreError` (the store refused, and will again)
besides what it names; on those nothing was written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

BULK_NAMES: Final = 1000
"""How many names one request of `delete_many` has, where there are such requests."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What `get` returns."""

    data: bytes
    """The bytes of the range that was asked for."""
    size_bytes: int
    """Size of the whole object, whatever the range."""
    modified_at: float
    """When it was written, in seconds since 1970 *by the store's clock*."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """User metadata and `content-type`, where the backend keeps them (see `Store.put`); `content-encoding`, where
    another tool gave one: the bytes are as they are stored."""
    tag: str = ""
    """The version: differs whenever the bytes differ. The same bytes put again may have the same (S3) or another. An
    ETag without its quotes; of a directory's file: inode, time and size. The same in `get`, `head`, `list`, `put`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What `list` returns for one object."""

    name: str
    size_bytes: int
    modified_at: float
    tag: str = ""
    """See `StoredObject.tag`."""


class Store(Protocol):
    """A root in an object store. Read-after-write, create-only puts and ordered listings are required; `probe`
    checks them on the real thing before a store is trusted with a second writer."""

    url: str
    """The root as the user wrote it, without secrets: for messages."""

    @property
    def name_bytes_max(self) -> int:
        """The longest name, in bytes of UTF-8."""
        ...

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or `length` bytes of it from `start`. Repeating it is harmless.

        The data is as long as asked for or the call fails: a short read raises `Corrupt`, never returns. A range
        that ends past the object raises `Corrupt`. Raises `ObjectNotFound`.
        """
        ...

    def head(self, name: str) -> StoredObject:
        """What `get` says of an object, without its bytes. One request. Raises `ObjectNotFound`, on cloud stores
        for a missing bucket too: the answer has no room for more."""
        ...

    def put(
        self,
        name: str,
        data: bytes,
        *,
        create_only: bool = False,
        replacing: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """Write an object whole; its new tag. On return it is durable in the store and visible to every reader.

        Readers never see part of it. With `create_only` an existing object is never replaced: raises
        `ObjectExists`, and is sent **once**: any doubt about whether it took effect is `OutcomeUnknown`,
        never a blind second try. With `replacing`, only the version with this tag is replaced: raises
        `ObjectChanged` if the object is another one or gone; also sent once. Without either, a put may be repeated
        (the last one wins), and `OutcomeUnknown` is raised when doubt remains after the last try. A full directory
        raises `NoSpace`.

        `replacing` is decided by the store itself on S3, Azure, GCS (one request more) and in memory. A directory
        compares and renames, which keeps this machine's AgentFS apart from itself; another program may come between,
        for microseconds. So it may on a store that cannot do it, where the object is looked at right before it is
        put; the first such put finds out which, with one request more.

        `attributes` (keys of lower-case letters, digits and `-`, printable ASCII values; `content-type` is the
        media type) are kept by S3, GCS, Azure and memory; a local directory drops them.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove an object. Removing what is not there succeeds. Repeating it is harmless."""
        ...

    def delete_many(self, names: Sequence[str]) -> None:
        """Remove any number of objects: like `delete` of each, with fewer requests where the store has them (S3: one
        for 1000 names). On return all are gone, durably. After an error any of them may be; repeating it is
        harmless."""
        ...

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        """Up to `limit` objects whose names start with the string `prefix`, in byte order of their names, only
        those whose name is greater than `after`. Fewer than `limit` means that there are no more. One request
        for `limit` up to 1000, on every backend.

        Objects that others put under names which ours cannot have (`a//b`, `folder/`, `..`, control characters) are
        left out, or make it fail (`StoreError`). With `foreign` they are listed like all others, under exactly their
        names (bytes that are not UTF-8 as Python's surrogates): only to be spoken of and to go on `after` them, as no
        other method takes them. GCS and Azure cannot: there, one whose name has an empty, `.` or `..` part or a
        control character makes it fail, naming it, and `folder/` is listed as `folder`, which cannot be read.
        """
        ...
