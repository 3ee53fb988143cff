"""`open_store`: from a URL to a store, with the wrappers that make it safe to use."""

import os
import random
import threading
from collections.abc import Mapping
from typing import Any

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from agentfs.clock import Clock
from agentfs.errors import StoreURLInvalid
from agentfs.stores.aws import S3Settings, s3_settings
from agentfs.stores.cloud import AZURE, GCS, NO_RETRIES, S3, CloudStore, client_options
from agentfs.stores.local import LocalStore
from agentfs.stores.memory import MemoryStore
from agentfs.stores.metering import Meter, MeteredStore, unmetered
from agentfs.stores.prefixed import PrefixedStore
from agentfs.stores.protocol import Store
from agentfs.stores.retrying import RetryingStore, RetryPolicy
from agentfs.stores.s3_listing import S3Listing
from agentfs.stores.url import StoreURL, parse_store_url

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
    meter: Meter = unmetered,
) -> Store:
    """The store at `url`; nothing is sent yet, so a wrong key or bucket shows at the first call.

    Cloud stores come wrapped in `RetryingStore`; `timeout_seconds` bounds each request, `retry` all tries of one
    call, and `stop` ends waiting between tries. `environment` replaces `os.environ` for the settings read here.
    `meter` hears of every request, retries included.
    Raises `StoreURLInvalid`, or `StoreDenied` when there is nothing to sign requests with.
    """
    environment = os.environ if environment is None else environment
    parsed = parse_store_url(url, environment)
    if parsed.scheme == "file":
        return _metered(LocalStore(parsed.path), meter)
    if parsed.scheme == "memory":
        shared = MemoryStore.shared(parsed.bucket)
        return _metered(PrefixedStore(shared, parsed.path) if parsed.path else shared, meter)
    timeouts = (timeout_seconds, connect_timeout_seconds)
    store = open_cloud_store(parsed, environment, timeouts=timeouts, meter=meter)
    return RetryingStore(store, policy=retry, clock=clock, entropy=entropy, stop=stop)


def _metered(store: Store, meter: Meter) -> Store:
    return store if meter is unmetered else MeteredStore(store, meter)


def open_cloud_store(
    parsed: StoreURL, environment: Mapping[str, str], *, timeouts: tuple[float, float], meter: Meter = unmetered
) -> CloudStore:
    """The bare cloud store, without retries. `timeouts`: seconds for a request, and for its connection."""
    try:
        if parsed.scheme == "s3":
            return _open_s3(parsed, environment, timeouts, meter)
        if parsed.scheme == "gs":
            return _open_gcs(parsed, environment, timeouts, meter)
        return _open_azure(parsed, environment, timeouts, meter)
    except (BaseError, ValueError) as error:
        # The text of the error may quote settings: only its kind is passed on.
        raise StoreURLInvalid(f"{parsed.shown} cannot be opened ({type(error).__name__})") from None


def _open_s3(
    parsed: StoreURL, environment: Mapping[str, str], timeouts: tuple[float, float], meter: Meter
) -> CloudStore:
    settings = s3_settings(parsed.query, environment, url=parsed.shown)
    config: dict[str, Any] = {
        "region": settings.region,
        "virtual_hosted_style_request": settings.virtual_host,
        "skip_signature": settings.anonymous,
        "conditional_put": "etag",
        # One object is one DELETE: the bulk form answers 200 with the error inside, and not every store has it. Many
        # objects have a client of their own.
        "disable_bulk_delete": True,
    }
    if settings.endpoint:
        config["endpoint"] = config["aws_endpoint_url_s3"] = _endpoint(settings.endpoint, settings, parsed)
    if settings.has_key:
        config |= {"access_key_id": settings.access_key, "secret_access_key": settings.secret_key}
        # Never empty-handed: obstore would take AWS_SESSION_TOKEN of the environment, of another key.
        config["session_token"] = settings.session_token
    options = _options(timeouts, settings.endpoint)

    def client(*, credential_provider: Any = None, **more: Any) -> S3Store:
        return S3Store(
            parsed.bucket,
            config=config | more,  # type: ignore[arg-type]
            client_options=options,
            retry_config=NO_RETRIES,
            credential_provider=credential_provider,
        )

    def client_at(address: str) -> S3Store:
        # In a signed address an empty token is one, and wrong.
        provider = (lambda: _credential(settings)) if settings.has_key else None
        place = {"endpoint": address, "aws_endpoint_url_s3": address, "virtual_hosted_style_request": True}
        return client(credential_provider=provider, **place)

    listing = S3Listing(
        _bucket_address(settings, parsed),
        client_at,
        url=parsed.shown,
        anonymous=settings.anonymous,
        timeout_seconds=timeouts[0],
    )
    many = client(disable_bulk_delete=False)
    return CloudStore(
        client(), url=parsed.shown, root=parsed.path, quirks=S3, bulk_client=many, listing=listing, meter=meter
    )


def _credential(settings: S3Settings) -> Any:
    """The key as obstore asks a provider for it."""
    return {
        "access_key_id": settings.access_key,
        "secret_access_key": settings.secret_key,
        "token": settings.session_token or None,
        "expires_at": None,
    }


def _bucket_address(settings: S3Settings, parsed: StoreURL) -> str:
    endpoint = _endpoint(settings.endpoint or f"https://s3.{settings.region}.amazonaws.com", settings, parsed)
    return endpoint if settings.virtual_host else f"{endpoint}/{parsed.bucket}"


def _endpoint(endpoint: str, settings: S3Settings, parsed: StoreURL) -> str:
    """With host style obstore wants the bucket in the endpoint already."""
    if not settings.virtual_host:
        return endpoint
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{parsed.bucket}.{host}"


def _open_gcs(
    parsed: StoreURL, environment: Mapping[str, str], timeouts: tuple[float, float], meter: Meter
) -> CloudStore:
    config = _config(parsed, environment, _GCS_VARIABLES)
    endpoint = parsed.query.get("endpoint", "")
    if endpoint:
        config["base_url"] = endpoint
    options = _options(timeouts, endpoint)
    client = GCSStore(parsed.bucket, config=config, client_options=options, retry_config=NO_RETRIES)
    return CloudStore(client, url=parsed.shown, root=parsed.path, quirks=GCS, meter=meter)


def _open_azure(
    parsed: StoreURL, environment: Mapping[str, str], timeouts: tuple[float, float], meter: Meter
) -> CloudStore:
    config = _config(parsed, environment, _AZURE_VARIABLES)
    endpoint = parsed.query.get("endpoint", "")
    if endpoint:
        config["endpoint"] = endpoint
    if "account" in parsed.query:
        config["account_name"] = parsed.query["account"]
    options = _options(timeouts, endpoint)
    client = AzureStore(parsed.bucket, config=config, client_options=options, retry_config=NO_RETRIES)
    return CloudStore(client, url=parsed.shown, root=parsed.path, quirks=AZURE, meter=meter)


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
