"""Listings of S3 as the store gives them, with names of any kind: obstore gives up at `a//b`, `..` or a control
character, and takes the slash off `folder/`.

obstore still signs, so every kind of credential works: the address of the request is signed as a link is, which
obstore does for objects only. It gets a "bucket" whose address already has the query; what it adds for the name of
the object, a slash, ends up in a parameter that S3 ignores (those that begin with `x-`).
"""

import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from agentfs.errors import StoreError
from agentfs.stores.cloud_errors import Failure, failure_of, failure_of_answer, read_failure
from agentfs.stores.names import encoded
from agentfs.stores.protocol import Entry

PAGE_ENTRIES = 1000
"""What S3 returns for one request."""
_SIGNED_FOR = timedelta(minutes=5)
_NO_XML = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
    r"|&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F]|[fF]{3}[eEfF])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]|6553[45]));"
)
"""What XML cannot have. Ceph repeats the last name in fields that it does not encode."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is another region or a portal: nothing that a signed request may follow."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class S3Listing:
    """Lists one bucket. Thread-safe; each page is one request, on a connection of its own."""

    bucket_address: str
    """Without a slash at the end: `https://bucket.s3.eu-north-1.amazonaws.com`, `http://127.0.0.1:9000/bucket`."""
    client_at: Callable[[str], S3Store]
    """A client whose bucket has that address, for its signature."""
    url: str
    """For messages."""
    anonymous: bool = False
    timeout_seconds: float = 30.0

    def list(self, prefix: str, after: str, limit: int, *, asked: Callable[[], None]) -> Sequence[Entry]:
        """Up to `limit` objects (in requests of 1000) whose keys start with `prefix` and come after `after`, in the
        order of their bytes. `asked` is called for each request that was sent. Raises as `Store.list` does."""
        found: list[Entry] = []
        while len(found) < limit:
            wanted = min(PAGE_ENTRIES, limit - len(found))
            page, more = self._page(prefix, after, wanted, asked)
            found += page
            if not page or not more:
                break
            after = page[-1].name
        return found

    def _page(self, prefix: str, after: str, limit: int, asked: Callable[[], None]) -> tuple[Sequence[Entry], bool]:
        answer = self._ask(prefix, after, limit, asked)
        try:
            entries, more = _parsed(answer)
        except (ElementTree.ParseError, ValueError, KeyError):
            raise read_failure(Failure(None, "", "", False), name=prefix, url=self.url) from None
        names = [entry.name for entry in entries]
        least = encoded(after)
        if any(not name.startswith(prefix) or encoded(name) <= least for name in names):
            raise StoreError(f"{self.url} listed other objects than it was asked for")
        return entries, more

    def _ask(self, prefix: str, after: str, limit: int, asked: Callable[[], None]) -> bytes:
        query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(limit))]
        query += [(key, value) for key, value in (("prefix", prefix), ("start-after", after)) if value]
        text = "&".join(f"{key}={quote(encoded(value), safe='')}" for key, value in query)
        address = f"{self.bucket_address}?{text}"
        try:
            if not self.anonymous:
                address = obstore.sign(self.client_at(f"{address}&x-agentfs="), "GET", "", _SIGNED_FOR)
            with _OPENER.open(address, timeout=self.timeout_seconds) as answer:
                data: bytes = answer.read()  # all: only then a missing end is an error
            asked()
            return data
        except (BaseError, ValueError) as error:
            failure = failure_of(error)
        except urllib.error.HTTPError as error:
            asked()
            with error:
                failure = failure_of_answer(error.code, _body(error))
        except (OSError, HTTPException) as error:
            failure = Failure(None, _kind(error), "", False)
            if not failure.nothing_sent:
                asked()
        raise read_failure(failure, name=prefix, url=self.url)


_OPENER = urllib.request.build_opener(_NoRedirect)


def _kind(error: Exception) -> str:
    """The kind of transport failure, as obstore calls it."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ConnectionRefusedError | socket.gaierror | ssl.SSLError):
        return "Connect"
    return "Timeout" if isinstance(reason, TimeoutError) else "Request"


def _body(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read(65536)
    except (OSError, HTTPException):
        return b""


def _parsed(answer: bytes) -> tuple[list[Entry], bool]:
    """The entries, and whether there are more. Raises `ParseError`, `ValueError` or `KeyError` for anything but a
    listing."""
    text, cleaned = _NO_XML.subn("\ufffd", answer.decode("utf-8", "replace"))
    root = ElementTree.fromstring(text)
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise ValueError("not a listing")
    fields = _fields(root)
    is_encoded = fields.get("EncodingType") == "url"
    if cleaned and not is_encoded:
        raise ValueError("a name may have been changed")
    entries = []
    for element in root:
        if element.tag.rpartition("}")[2] == "Contents":
            each = _fields(element)
            name = unquote_plus(each["Key"], errors="surrogateescape") if is_encoded else each["Key"]
            modified = datetime.fromisoformat(each["LastModified"]).timestamp()
            entries.append(Entry(name, int(each["Size"]), modified, each.get("ETag", "").strip('"')))
    return entries, fields["IsTruncated"] == "true"


def _fields(element: ElementTree.Element) -> dict[str, str]:
    return {child.tag.rpartition("}")[2]: child.text or "" for child in element}
