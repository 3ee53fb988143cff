"""S3, GCS and Azure: one class over obstore. What differs between providers is a value of `Quirks`.

obstore's own retries are switched off: it repeats a conditional put whose connection dropped, and our own
success then comes back as "already exists". `RetryingStore` repeats what may be repeated.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from agentfs.errors import Corrupt, ObjectNotFound, StoreError
from agentfs.stores.cloud_errors import failure_of, put_error, read_error
from agentfs.stores.names import check_attributes, check_object_name, is_object_name, join
from agentfs.stores.protocol import Entry, StoredObject

if TYPE_CHECKING:  # names of stub files, absent at run time
    from obstore import Attributes, GetOptions, GetResult, ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

NO_RETRIES: "RetryConfig" = {"max_retries": 0, "retry_timeout": timedelta(0)}
PAGE_ENTRIES = 1000
"""What the stores return for one listing request."""
_PUBLISHED_ATTRIBUTES = frozenset(
    ("Content-Disposition", "Content-Encoding", "Content-Language", "Cache-Control", "Storage-Class")
)


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a provider departs from S3."""

    conflict_means_exists: bool = False
    """A create-only put of a taken name answers 409 (Azure). On S3 a 409 is a race that nobody has won yet."""
    identifier_attributes: bool = False
    """The names of attributes are identifiers (Azure): `-` travels as `_`, which our names never have."""
    forbidden_names: str = ""
    """A regular expression: names that the store would silently change into others."""


S3 = Quirks()
GCS = Quirks()
AZURE = Quirks(
    conflict_means_exists=True,
    identifier_attributes=True,
    forbidden_names=r"\\|\.(?:/|\Z)",  # a backslash becomes a slash, a dot at the end of a part is dropped
)


def client_options(*, timeout_seconds: float, connect_timeout_seconds: float, allow_http: bool) -> "ClientConfig":
    """obstore's client settings: time-outs for each single request."""
    return {
        "timeout": timedelta(seconds=timeout_seconds),
        "connect_timeout": timedelta(seconds=connect_timeout_seconds),
        "allow_http": allow_http,
        "user_agent": "agentfs",
    }


class CloudStore:
    """The store contract over one obstore client. Every call is one request (but see `get` with a range that
    starts at the very end, and `list` beyond 1000)."""

    def __init__(
        self, client: S3Store | GCSStore | AzureStore, *, url: str, root: str = "", quirks: Quirks = S3
    ) -> None:
        """`root` is the prefix within the bucket, without a slash at either end. `client` must not retry."""
        self._client = client
        self._root = root
        self.quirks = quirks
        self.url = url

    def __repr__(self) -> str:
        return f"CloudStore({self.url!r})"

    def _path(self, name: str) -> str:
        path = join(self._root, check_object_name(name))
        if self.quirks.forbidden_names and re.search(self.quirks.forbidden_names, path):
            raise StoreError(f"{self.url} cannot hold an object named {name!r}: it would change the name")
        return path

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """See `Store.get`."""
        path = self._path(name)
        if start < 0 or (length is not None and length < 0):
            raise Corrupt(f"the range {start}, {length} of {name} is not one")
        if length == 0:
            return self._get_nothing(name, path, start)
        options: GetOptions = {}
        if length is not None:
            options = {"range": (start, start + length)}
        elif start:
            options = {"range": {"offset": start}}
        try:
            found = obstore.get(self._client, path, options=options)
            data = bytes(found.bytes())
        except (BaseError, OSError, ValueError) as error:
            failure = failure_of(error)
            if options and (failure.status == 416 or failure.not_understood):
                return self._get_past_end(name, path, start, length, read_error(error, name=name, url=self.url))
            raise read_error(error, name=name, url=self.url) from None
        stop = found.meta["size"] if length is None else start + length
        if len(data) != stop - start or found.range != (start, stop):
            raise Corrupt(f"{name} at {self.url} gave {len(data)} bytes where {stop - start} were asked for")
        return self._stored(found, data)

    def _stored(self, found: "GetResult", data: bytes) -> StoredObject:
        attributes = {
            self._attribute(key): value for key, value in found.attributes.items() if key not in _PUBLISHED_ATTRIBUTES
        }
        meta = found.meta
        return StoredObject(data, meta["size"], meta["last_modified"].timestamp(), attributes)

    def _headers(self, attributes: dict[str, str]) -> "Attributes":
        """Our attributes under obstore's names."""
        headers: Attributes = {}
        for key, value in attributes.items():
            if key == "content-type":
                headers["Content-Type"] = value
            else:
                headers[key.replace("-", "_") if self.quirks.identifier_attributes else key] = value
        return headers

    def _attribute(self, key: str) -> str:
        return (key.replace("_", "-") if self.quirks.identifier_attributes else key).lower()

    def _head(self, name: str, path: str) -> StoredObject:
        try:
            return self._stored(obstore.get(self._client, path, options={"head": True}), b"")
        except (BaseError, OSError, ValueError) as error:
            raise read_error(error, name=name, url=self.url) from None

    def _get_nothing(self, name: str, path: str, start: int) -> StoredObject:
        """Zero bytes cannot be asked for by a Range header."""
        found = self._head(name, path)
        if start > found.size_bytes:
            raise Corrupt(f"{name} has {found.size_bytes} bytes; {start} is past its end")
        return found

    def _get_past_end(self, name: str, path: str, start: int, length: int | None, error: StoreError) -> StoredObject:
        """The store refused the range (S3: 416) or answered nonsense (Azure): find out which. `error` stands if
        the range lies inside the object."""
        found = self._head(name, path)
        if start == found.size_bytes and length is None:
            return found
        if start + (length or 0) > found.size_bytes:
            raise Corrupt(f"{name} has {found.size_bytes} bytes; the range from {start} ends past them")
        raise error

    def put(
        self, name: str, data: bytes, *, create_only: bool = False, attributes: Mapping[str, str] | None = None
    ) -> None:
        """See `Store.put`."""
        path = self._path(name)
        headers = self._headers(check_attributes(attributes))
        try:
            obstore.put(
                self._client,
                path,
                data,
                attributes=headers or None,
                mode="create" if create_only else "overwrite",
                use_multipart=False,
            )
        except (BaseError, OSError, ValueError) as error:
            raise put_error(
                error,
                name=name,
                url=self.url,
                create_only=create_only,
                conflict_means_exists=self.quirks.conflict_means_exists,
            ) from None

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        path = self._path(name)
        try:
            obstore.delete(self._client, path)
        except (BaseError, OSError, ValueError) as error:
            translated = read_error(error, name=name, url=self.url)
            if not isinstance(translated, ObjectNotFound):
                raise translated from None

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Entry]:
        """See `Store.list`."""
        if limit < 1:
            return []
        base = self._root + "/" if self._root else ""
        found: list[Entry] = []
        for path, meta in self._metas(base + prefix, base + after if after else ""):
            name = path[len(base) :]
            if name > after and is_object_name(name):
                found.append(Entry(name, meta["size"], meta["last_modified"].timestamp()))
                if len(found) == limit:
                    break
        return found

    def _metas(self, wanted: str, after: str) -> "Iterator[tuple[str, ObjectMeta]]":
        """The objects whose path starts with `wanted`, from `after` on (roughly: the caller compares)."""
        directory = wanted[: wanted.rfind("/") + 1]
        offset = listing_offset(directory, wanted, after)
        try:
            for page in obstore.list(self._client, directory or None, offset=offset, chunk_size=PAGE_ENTRIES):
                for meta in page:
                    path = meta["path"]
                    if path.startswith(wanted):
                        yield path, meta
                    elif path > wanted:
                        return
        except (BaseError, OSError, ValueError) as error:
            raise read_error(error, name=wanted, url=self.url) from None


def listing_offset(directory: str, wanted: str, after: str) -> str | None:
    """Where a listing of `directory` must start so that its first page holds the first names that start with
    `wanted` and come after `after`: a name before all of those, and after all others but improbable ones.

    obstore knows prefixes of whole path parts only; the rest of `wanted` becomes a start. Nothing below depends on
    the `~`s being enough: the caller compares every name.
    """
    before = after
    while before and not is_object_name(before):
        before = before[:-1]
    if wanted == directory:
        return before or None
    last = ord(wanted[-1]) - 1
    while last >= 0x20:
        just_before = f"{wanted[:-1]}{chr(last)}~~~~~~~~~~~~~~~~"
        if is_object_name(just_before):
            return max(just_before, before)
        last -= 1
    return before or None
