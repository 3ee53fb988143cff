"""Prices: a table of providers in TOML, shipped and corrected by the user, and which of them a store is."""

import importlib.resources
import ipaddress
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from agentfs.errors import ConfigInvalid
from agentfs.stores.url import parse_store_url
from agentfs.usage.usage_file import Count, StorePlace

AUTO = "auto"
_PRIVATE = "private"
_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Provider:
    """What one provider charges. See prices.toml."""

    name: str
    title: str = ""
    currency: str = "USD"
    schemes: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    gb_bytes: int = 10**9
    storage_gb_month: float = 0.0
    put_1000: float = 0.0
    list_1000: float = 0.0
    get_1000: float = 0.0
    head_1000: float = 0.0
    delete_1000: float = 0.0
    egress_gb: float = 0.0
    ingress_gb: float = 0.0

    def request_cost(self, kind: str, requests: int) -> float:
        """Of requests of one kind, without the bytes they move."""
        return float(getattr(self, f"{kind}_1000", 0.0)) * requests / _THOUSAND

    def transfer_cost(self, count: Count) -> float:
        """Of the bytes that requests moved."""
        return (self.egress_gb * count.received_bytes + self.ingress_gb * count.sent_bytes) / self.gb_bytes

    def storage_cost(self, size_bytes: float, share_of_month: float) -> float:
        """Of bytes that are stored for a part of a month."""
        return self.storage_gb_month * size_bytes / self.gb_bytes * share_of_month


_PRICES = {field.name for field in fields(Provider) if field.type in ("float", float)}
_LISTS = {"schemes", "endpoints"}
_TEXTS = {"title", "currency"}


def shipped_path() -> str:
    return str(importlib.resources.files("agentfs.usage").joinpath("prices.toml"))


def users_path(setting: str, config_path: str) -> str:
    """Where the user's own table is, or would be: as the setting `prices` says, else beside the configuration."""
    return setting or os.path.join(os.path.dirname(config_path), "prices.toml")


def price_table(path: str, *, must_exist: bool) -> dict[str, Provider]:
    """All providers by name: the shipped ones, and those of the table at `path` in place of their namesakes. Raises
    `ConfigInvalid`, which names what is wrong."""
    table = _read(shipped_path())
    if must_exist or os.path.exists(path):
        table |= _read(path)
    return table


def provider_of(place: StorePlace, table: Mapping[str, Provider], wanted: str = AUTO) -> Provider | None:
    """Whose prices count for a store: those of the one that is `wanted`, else by the store's address; None: nobody's.
    Raises `ConfigInvalid` when the wanted one is not in the table."""
    if wanted != AUTO:
        if wanted not in table:
            raise ConfigInvalid(f"provider = {wanted!r} is not in the price table: there is {', '.join(table)}")
        return table[wanted]
    parsed = parse_store_url(place.url)
    host = urlsplit(place.endpoint or parsed.query.get("endpoint", "")).hostname or ""
    for provider in reversed(list(table.values())):  # the user's own come last, and count first
        if host:
            if any(_matches(host, pattern) for pattern in provider.endpoints):
                return provider
        elif parsed.scheme in provider.schemes:
            return provider
    return None


def _matches(host: str, pattern: str) -> bool:
    if pattern != _PRIVATE:
        return fnmatchcase(host, pattern.lower())
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan", ".localhost"))


def _read(path: str) -> dict[str, Provider]:
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError:
        raise ConfigInvalid(f"{path}: there is no price table: copy {shipped_path()} to it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path}: not valid TOML ({error}): correct it") from None
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read ({error.strerror}): check its permissions") from None
    return {name: _provider(path, name, table) for name, table in document.items()}


def _provider(path: str, name: str, table: object) -> Provider:
    if not isinstance(table, dict):
        raise ConfigInvalid(f"{path}: {name} must be a table: write [{name}]")
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in _PRICES and _is_price(value):
            values[key] = float(value)
        elif key in _LISTS and isinstance(value, list) and all(isinstance(part, str) for part in value):
            values[key] = tuple(value)
        elif (key in _TEXTS and isinstance(value, str)) or (
            key == "gb_bytes" and isinstance(value, int) and not isinstance(value, bool) and value > 0
        ):
            values[key] = value
        else:
            known = ", ".join(sorted(_PRICES | _LISTS | _TEXTS | {"gb_bytes"}))
            raise ConfigInvalid(f"{path} [{name}]: {key} = {value!r} cannot be used: known are {known}")
    currency = values.get("currency", "USD")
    if len(currency) != 3 or not currency.isascii() or not currency.isupper():
        raise ConfigInvalid(f"{path} [{name}]: currency = {currency!r} must be three letters, as USD")
    return Provider(name=name, **values)


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
