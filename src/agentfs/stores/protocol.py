"""The object store as the rest of AgentFS sees it: four methods, each a contract.

Names are `/`-separated relative paths of printable ASCII without empty, `.` or `..` parts, at most 1024 bytes; the
backend adds its own root. Other names raise `InvalidArgument` before anything is sent. All methods are synchronous,
may be called from any thread, and never hold a lock of the caller. Any method may raise `StoreUnavailable`,
`StoreDenied`, `BucketNotFound` or a plain `StoreError` (the store refused, and will again) besides what it names; on
those nothing was written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


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
    """User metadata and `content-type`, where the backend keeps them (see `Store.put`)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What `list` returns for one object."""

    name: str
    size_bytes: int
    modified_at: float


class Store(Protocol):
    """A root in an object store. Read-after-write, create-only puts and ordered listings are required; `probe`
    checks them on the real thing before a store is trusted with a second writer."""

    url: str
    """The root as the user wrote it, without secrets: for messages."""

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or `length` bytes of it from `start`. Repeating it is harmless.

        The data is as long as asked for or the call fails: a short read raises `Corrupt`, never returns. A range
        that ends past the object raises `Corrupt`. Raises `ObjectNotFound`.
        """
        ...

    def put(
        self, name: str, data: bytes, *, create_only: bool = False, attributes: Mapping[str, str] | None = None
    ) -> None:
        """Write an object whole. On return it is durable in the store and visible to every reader.

        Readers never see part of it. With `create_only` an existing object is never replaced: raises
        `ObjectExists`, and is sent **once**: any doubt about whether it took effect is `OutcomeUnknown`,
        never a blind second try. Without it, a put may be repeated (the last one wins), and `OutcomeUnknown` is
        raised when doubt remains after the last try. A full directory raises `NoSpace`.
        `attributes` (keys of lower-case letters, digits and `-`, printable ASCII values; `content-type` is the
        media type) are kept by S3, GCS, Azure and memory; a local directory drops them.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove an object. Removing what is not there succeeds. Repeating it is harmless."""
        ...

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Entry]:
        """Up to `limit` objects whose names start with the string `prefix`, in byte order of their names, only
        those whose name is greater than `after`. Fewer than `limit` means that there are no more. One request
        for `limit` up to 1000, on every backend."""
        ...
