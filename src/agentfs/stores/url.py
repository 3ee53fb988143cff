"""Store URLs: taken apart without loading anything that speaks to a store (a mount's process never does)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from agentfs.errors import InvalidArgument, StoreURLInvalid
from agentfs.stores.names import check_object_name

_QUERY_ALLOWED = {
    "s3": {"endpoint", "region", "profile", "anonymous", "style"},
    "gs": {"endpoint", "anonymous"},
    "az": {"account", "endpoint", "anonymous"},
    "memory": set[str](),
}


@dataclass(frozen=True, slots=True)
class StoreURL:
    """A store URL in its parts. `shown` is what messages say; a URL never carries a secret."""

    scheme: str
    bucket: str
    """Bucket, container or name; empty for a directory."""
    path: str
    """The prefix in the bucket, without slashes at its ends; for `file`, the absolute directory."""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        if self.scheme == "file":
            return f"file://{quote(self.path)}"
        base = f"{self.scheme}://{self.bucket}" + (f"/{self.path}" if self.path else "")
        query = "&".join(f"{key}={quote(value, safe=':/')}" for key, value in sorted(self.query.items()))
        return f"{base}?{query}" if query else base


def parse_store_url(url: str, environment: Mapping[str, str] | None = None) -> StoreURL:
    """Take a URL apart. `/dir` and `~/dir` are directories too. Raises `StoreURLInvalid`."""
    environment = os.environ if environment is None else environment
    if url.startswith("~/") or url == "~":
        url = environment.get("HOME", "~") + url[1:]
    if url.startswith("/"):
        return StoreURL("file", "", os.path.normpath(url))
    try:
        parts = urlsplit(url)
    except ValueError:
        raise StoreURLInvalid("the store URL cannot be parsed") from None
    if "@" in parts.netloc:
        raise StoreURLInvalid("a store URL must not carry a user or password: use the environment")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise StoreURLInvalid(f"{url}: a directory is file:///absolute/path (three slashes)")
        return StoreURL("file", "", os.path.normpath(unquote(parts.path)))
    if parts.scheme not in _QUERY_ALLOWED:
        raise StoreURLInvalid(
            "the store must be s3://, gs://, az://, file:///, memory:// or an absolute path, "
            f"not {parts.scheme or 'a relative path'!r}"
        )
    return _bucket_url(parts.scheme, parts.netloc, unquote(parts.path).strip("/"), parts.query)


def _bucket_url(scheme: str, bucket: str, path: str, query_text: str) -> StoreURL:
    query = dict(parse_qsl(query_text, keep_blank_values=True))
    unknown = sorted(set(query) - _QUERY_ALLOWED[scheme])
    if unknown:
        # The value is not repeated: it may be a key that someone put there.
        raise StoreURLInvalid(
            f"{scheme}://{bucket}: unknown option {unknown[0]!r}; known: {', '.join(sorted(_QUERY_ALLOWED[scheme]))}"
        )
    if not bucket:
        raise StoreURLInvalid(f"{scheme}:// needs a name after it")
    endpoint = query.get("endpoint", "http://")
    if not endpoint.startswith(("http://", "https://")) or "@" in endpoint or "?" in endpoint:
        raise StoreURLInvalid(
            f"{scheme}://{bucket}: an endpoint is http(s)://host:port, without keys or tokens in it"
        )
    if path:
        try:
            check_object_name(path)
        except InvalidArgument:
            raise StoreURLInvalid(
                f"{scheme}://{bucket}: the prefix must be without control characters and '', '.' or '..' parts"
            ) from None
    return StoreURL(scheme, bucket, path, query)
