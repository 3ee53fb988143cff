"""`open_store`: from a URL to a store, with the wrappers that make it safe to use."""

import os
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from agentfs.clock import Clock
from agentfs.errors import InvalidArgument, StoreURLInvalid
from agentfs.stores.aws import s3_settings
from agentfs.stores.cloud import AZURE, GCS, NO_RETRIES, S3, CloudStore, client_options
from agentfs.stores.local import LocalStore
from agentfs.stores.memory import MemoryStore
from agentfs.stores.names import check_object_name
from agentfs.stores.prefixed import PrefixedStore
from agentfs.stores.protocol import Store
from agentfs.stores.retrying import RetryingStore, RetryPolicy

_QUERY_ALLOWED = {
    "s3": {"endpoint", "region", "profile", "anonymous", "style"},
    "gs": {"endpoint", "anonymous"},
    "az": {"account", "endpoint", "anonymous"},
    "memory": set[str](),
}

_GCS_VARIABLES = {
    "service_account": "GOOGLE_SERVICE_ACCOUNT",
    "service_account_key": "GOOGLE_SERVICE_ACCOUNT_KEY",
    "application_credentials": "GOOGLE_APPLICATION_CREDENTIALS",
}
_AZURE_VARIABLES = {
    "account_name": "AZURE_STORAGE_ACCOUNT_NAME",
    "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
    "sas_key": "AZURE_STORAGE_SAS_TOKEN",
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
                f"{scheme}://{bucket}: the prefix must be printable ASCII without '', '.' or '..' parts"
            ) from None
    return StoreURL(scheme, bucket, path, query)


def open_store(
    url: str,
    *,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 30.0,
    connect_timeout_seconds: float = 5.0,
    retry: RetryPolicy | None = None,
    clock: Clock | None = None,
    entropy: random.Random | None = None,
    stop: threading.Event | None = None,
) -> Store:
    """The store at `url`; nothing is sent yet, so a wrong key or bucket shows at the first call.

    Cloud stores come wrapped in `RetryingStore`; `timeout_seconds` bounds each request, `retry` all tries of one
    call, and `stop` ends waiting between tries. `environment` replaces `os.environ` for the settings read here.
    Raises `StoreURLInvalid`, or `StoreDenied` when there is nothing to sign requests with.
    """
    environment = os.environ if environment is None else environment
    parsed = parse_store_url(url, environment)
    if parsed.scheme == "file":
        return LocalStore(parsed.path)
    if parsed.scheme == "memory":
        shared = MemoryStore.shared(parsed.bucket)
        return PrefixedStore(shared, parsed.path) if parsed.path else shared
    timeouts = (timeout_seconds, connect_timeout_seconds)
    store = open_cloud_store(parsed, environment, timeouts=timeouts)
    return RetryingStore(store, policy=retry, clock=clock, entropy=entropy, stop=stop)


def open_cloud_store(
    parsed: StoreURL, environment: Mapping[str, str], *, timeouts: tuple[float, float]
) -> CloudStore:
    """The bare cloud store, without retries. `timeouts`: seconds for a request, and for its connection."""
    try:
        if parsed.scheme == "s3":
            return _open_s3(parsed, environment, timeouts)
        if parsed.scheme == "gs":
            return _open_gcs(parsed, environment, timeouts)
        return _open_azure(parsed, environment, timeouts)
    except (BaseError, ValueError) as error:
        # The text of the error may quote settings: only its kind is passed on.
        raise StoreURLInvalid(f"{parsed.shown} cannot be opened ({type(error).__name__})") from None


def _open_s3(parsed: StoreURL, environment: Mapping[str, str], timeouts: tuple[float, float]) -> CloudStore:
    settings = s3_settings(parsed.query, environment, url=parsed.shown)
    config: dict[str, Any] = {
        "region": settings.region,
        "virtual_hosted_style_request": settings.virtual_host,
        "skip_signature": settings.anonymous,
        "conditional_put": "etag",
        # One object is one DELETE: the bulk form answers 200 with the error inside, and not every store has it.
        "disable_bulk_delete": True,
    }
    if settings.endpoint:
        config["endpoint"] = config["aws_endpoint_url_s3"] = _endpoint(settings.endpoint, settings, parsed)
    if settings.has_key:
        config |= {"access_key_id": settings.access_key, "secret_access_key": settings.secret_key}
        # Never empty-handed: obstore would take AWS_SESSION_TOKEN of the environment, of another key.
        config["session_token"] = settings.session_token
    options = _options(timeouts, settings.endpoint)
    client = S3Store(parsed.bucket, config=config, client_options=options, retry_config=NO_RETRIES)  # type: ignore[arg-type]
    return CloudStore(client, url=parsed.shown, root=parsed.path, quirks=S3)


def _endpoint(endpoint: str, settings: Any, parsed: StoreURL) -> str:
    """With host style obstore wants the bucket in the endpoint already."""
    if not settings.virtual_host:
        return endpoint
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{parsed.bucket}.{host}"


def _open_gcs(parsed: StoreURL, environment: Mapping[str, str], timeouts: tuple[float, float]) -> CloudStore:
    config = _config(parsed, environment, _GCS_VARIABLES)
    endpoint = parsed.query.get("endpoint", "")
    if endpoint:
        config["base_url"] = endpoint
    options = _options(timeouts, endpoint)
    client = GCSStore(parsed.bucket, config=config, client_options=options, retry_config=NO_RETRIES)
    return CloudStore(client, url=parsed.shown, root=parsed.path, quirks=GCS)


def _open_azure(parsed: StoreURL, environment: Mapping[str, str], timeouts: tuple[float, float]) -> CloudStore:
    config = _config(parsed, environment, _AZURE_VARIABLES)
    endpoint = parsed.query.get("endpoint", "")
    if endpoint:
        config["endpoint"] = endpoint
    if "account" in parsed.query:
        config["account_name"] = parsed.query["account"]
    options = _options(timeouts, endpoint)
    client = AzureStore(parsed.bucket, config=config, client_options=options, retry_config=NO_RETRIES)
    return CloudStore(client, url=parsed.shown, root=parsed.path, quirks=AZURE)


def _config(parsed: StoreURL, environment: Mapping[str, str], variables: Mapping[str, str]) -> Any:
    """obstore's settings from our environment (which may not be the process's)."""
    found: dict[str, Any] = {
        key: environment[variable] for key, variable in variables.items() if environment.get(variable)
    }
    return found | {"skip_signature": parsed.query.get("anonymous", "").lower() in ("1", "true", "yes")}


def _options(timeouts: tuple[float, float], endpoint: str) -> Any:
    return client_options(
        timeout_seconds=timeouts[0],
        connect_timeout_seconds=timeouts[1],
        allow_http=endpoint.startswith("http://"),
    )
