"""S3, GCS and Azure: one class over obstore. What differs between providers is a value of `Quirks`.

obstore's own retries are switched off: it repeats a conditional put whose connection dropped, and our own
success then comes back as "already exists". `RetryingStore` repeats what may be repeated.
"""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from agentfs.errors import BucketNotFound, Corrupt, ObjectNotFound, StoreDenied, StoreError, StoreUnavailable
from agentfs.stores.cloud_errors import failure_of, put_error, read_error
from agentfs.stores.metering import Meter, RequestKind, unmetered
from agentfs.stores.names import (
    NAME_BYTES_MAX,
    check_attributes,
    check_object_name,
    is_object_name,
    join,
    name_bytes,
)
from agentfs.stores.protocol import BULK_NAMES, Entry, StoredObject
from agentfs.stores.replacement import Replacement, tag_of
from agentfs.stores.s3_listing import S3Listing

if TYPE_CHECKING:  # names of stub files, absent at run time
    from obstore import Attributes, GetOptions, GetResult, ObjectMeta, PutMode
    from obstore.store import ClientConfig, RetryConfig

NO_RETRIES: "RetryConfig" = {"max_retries": 0, "retry_timeout": timedelta(0)}
PAGE_ENTRIES = 1000
"""What the stores return for one listing request."""
_DELETES_AT_ONCE = 8
_NOT_IMPLEMENTED = 501
Client: TypeAlias = S3Store | GCSStore | AzureStore
_PUBLISHED_ATTRIBUTES = frozenset(("Content-Disposition", "Content-Language", "Cache-Control", "Storage-Class"))


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a provider departs from S3."""

    conflict_means_exists: bool = False
    """A create-only put of a taken name answers 409 (Azure). On S3 a 409 is a race that nobody has won yet."""
    identifier_attributes: bool = False
    """The names of attributes are identifiers (Azure): `-` travels as `_`, which our names never have."""
    replaces_by_generation: bool = False
    """A version is replaced by its number (GCS), which listings do not give: it is looked up before."""
    forbidden_names: str = ""
    """A regular expression: names that the store would silently change into others."""


S3 = Quirks()
GCS = Quirks(replaces_by_generation=True)
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
        self,
        client: Client,
        *,
        url: str,
        root: str = "",
        quirks: Quirks = S3,
        bulk_client: Client | None = None,
        listing: S3Listing | None = None,
        meter: Meter = unmetered,
    ) -> None:
        """`root` is the prefix within the bucket, without a slash at either end. `client` must not retry.
        `bulk_client` deletes many objects with one request, `listing` lists those of others too. `meter` hears of
        every request."""
        self._client = client
        self._bulk_client = bulk_client
        self._listing = listing
        self._replacement = Replacement(
            self._try_to_replace_nothing, by_generation=quirks.replaces_by_generation, url=url
        )
        self._meter = meter
        self._root = root
        self.quirks = quirks
        self.url = url

    def __repr__(self) -> str:
        return f"CloudStore({self.url!r})"

    @property
    def name_bytes_max(self) -> int:
        """See `Store.name_bytes_max`."""
        return NAME_BYTES_MAX - (name_bytes(self._root) + 1 if self._root else 0)

    def _path(self, name: str) -> str:
        path = check_object_name(join(self._root, check_object_name(name)))
        if self.quirks.forbidden_names and re.search(self.quirks.forbidden_names, path):
            raise StoreError(f"{self.url} cannot hold an object named {name!r}: it would change the name")
        return path

    def _failed(self, kind: RequestKind, name: str, error: Exception, *, sent_bytes: int = 0) -> None:
        """Tell the meter of a request that failed, unless it never reached the store."""
        failure = None if isinstance(error, FileNotFoundError) else failure_of(error)
        if failure is None or not (failure.nothing_sent or failure.credentials_missing):
            self._meter(kind, name, sent_bytes=sent_bytes, received_bytes=0)

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
            self._failed("get", name, error)
            failure = failure_of(error)
            if options and (failure.status == 416 or failure.not_understood):
                return self._get_past_end(name, path, start, length, read_error(error, name=name, url=self.url))
            raise read_error(error, name=name, url=self.url) from None
        self._meter("get", name, sent_bytes=0, received_bytes=len(data))
        stop = found.meta["size"] if length is None else start + length
        if len(data) != stop - start or found.range != (start, stop):
            raise Corrupt(f"{name} at {self.url} gave {len(data)} bytes where {stop - start} were asked for")
        return self._stored(found, data)

    def _stored(self, found: "GetResult", data: bytes) -> StoredObject:
        attributes = {
            self._attribute(key): value for key, value in found.attributes.items() if key not in _PUBLISHED_ATTRIBUTES
        }
        meta = found.meta
        return StoredObject(data, meta["size"], meta["last_modified"].timestamp(), attributes, tag_of(meta["e_tag"]))

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
            found = self._stored(obstore.get(self._client, path, options={"head": True}), b"")
        except (BaseError, OSError, ValueError) as error:
            self._failed("head", name, error)
            raise read_error(error, name=name, url=self.url) from None
        self._meter("head", name, sent_bytes=0, received_bytes=0)
        return found

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

    def head(self, name: str) -> StoredObject:
        """See `Store.head`."""
        return self._head(name, self._path(name))

    def put(
        self,
        name: str,
        data: bytes,
        *,
        create_only: bool = False,
        replacing: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """See `Store.put`."""
        path = self._path(name)
        headers = self._headers(check_attributes(attributes))
        if replacing is None:
            mode: PutMode = "create" if create_only else "overwrite"
            return self._send(name, path, data, headers, mode)
        return self._replacement.put(
            lambda mode: self._send(name, path, data, headers, mode), lambda: self._meta(name, path), replacing
        )

    def _send(self, name: str, path: str, data: bytes, headers: "Attributes", mode: "PutMode") -> str:
        try:
            done = obstore.put(self._client, path, data, attributes=headers or None, mode=mode, use_multipart=False)
        except (BaseError, OSError, ValueError) as error:
            self._failed("put", name, error, sent_bytes=len(data))
            raise put_error(
                error,
                name=name,
                url=self.url,
                create_only=mode == "create",
                replacing=isinstance(mode, dict),
                conflict_means_exists=self.quirks.conflict_means_exists,
            ) from None
        self._meter("put", name, sent_bytes=len(data), received_bytes=0)
        return tag_of(done["e_tag"])

    def _try_to_replace_nothing(self, mode: "PutMode") -> None:
        """Raises what replacing an object raises that is not there."""
        name = f".agentfs/probe/replace-{secrets.token_hex(8)}"
        self._send(name, self._path(name), b"", {}, mode)
        self.delete(name)

    def _meta(self, name: str, path: str) -> "ObjectMeta":
        try:
            found = obstore.head(self._client, path)
        except (BaseError, OSError, ValueError) as error:
            self._failed("head", name, error)
            raise read_error(error, name=name, url=self.url) from None
        self._meter("head", name, sent_bytes=0, received_bytes=0)
        return found

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self._delete(name, self._path(name))

    def _delete(self, name: str, path: str) -> None:
        try:
            obstore.delete(self._client, path)
            self._meter("delete", name, sent_bytes=0, received_bytes=0)
        except (BaseError, OSError, ValueError) as error:
            self._failed("delete", name, error)
            translated = read_error(error, name=name, url=self.url)
            if not isinstance(translated, ObjectNotFound):
                raise translated from None

    def delete_many(self, names: Sequence[str]) -> None:
        """See `Store.delete_many`. What a bulk request does not do is deleted one by one, for its errors are of
        unknown objects."""
        paths = {name: self._path(name) for name in names}
        for start in range(0, len(names), BULK_NAMES):
            batch = names[start : start + BULK_NAMES]
            if len(batch) > 1 and self._delete_bulk(batch[0], [paths[name] for name in batch]):
                continue
            with ThreadPoolExecutor(min(_DELETES_AT_ONCE, len(batch))) as pool:
                for _ in pool.map(lambda name: self._delete(name, paths[name]), batch):
                    pass

    def _delete_bulk(self, name: str, paths: list[str]) -> bool:
        """Whether all are gone now. Raises what deleting one by one would too."""
        if self._bulk_client is None:
            return False
        try:
            obstore.delete(self._bulk_client, paths)
        except (BaseError, OSError, ValueError) as error:
            self._failed("delete", name, error)
            translated = read_error(error, name=name, url=self.url)
            known = failure_of(error).status != _NOT_IMPLEMENTED
            if known and isinstance(translated, StoreUnavailable | StoreDenied | BucketNotFound):
                raise translated from None
            return False
        self._meter("delete", name, sent_bytes=0, received_bytes=0)
        return True

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        """See `Store.list`."""
        if limit < 1:
            return []
        base = self._root + "/" if self._root else ""
        if foreign and self._listing is not None:
            asked = partial(self._meter, "list", prefix, sent_bytes=0, received_bytes=0)
            listed = self._listing.list(base + prefix, base + after if after else "", limit, asked=asked)
            return [replace(entry, name=entry.name[len(base) :]) for entry in listed]
        found: list[Entry] = []
        for path, meta in self._metas(base + prefix, base + after if after else "", prefix):
            name = path[len(base) :]
            if name > after and (foreign or is_object_name(name)):
                found.append(Entry(name, meta["size"], meta["last_modified"].timestamp(), tag_of(meta["e_tag"])))
                if len(found) == limit:
                    break
        return found

    def _metas(self, wanted: str, after: str, prefix: str) -> "Iterator[tuple[str, ObjectMeta]]":
        """The objects whose path starts with `wanted`, from `after` on (roughly: the caller compares). The meter
        hears of `prefix`: each page is a request."""
        directory = wanted[: wanted.rfind("/") + 1]
        offset = listing_offset(directory, wanted, after)
        pages = 0
        try:
            for page in obstore.list(self._client, directory or None, offset=offset, chunk_size=PAGE_ENTRIES):
                pages += 1
                self._meter("list", prefix, sent_bytes=0, received_bytes=0)
                for meta in page:
                    path = meta["path"]
                    if path.startswith(wanted):
                        yield path, meta
                    elif path > wanted:
                        return
        except (BaseError, OSError, ValueError) as error:
            self._failed("list", prefix, error)
            raise read_error(error, name=wanted, url=self.url) from None
        if not pages:  # nothing was found, which had to be asked, too
            self._meter("list", prefix, sent_bytes=0, received_bytes=0)


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
