"""Opening the store of a run: wrappers, the gate, and the embedded default's directories."""

import contextlib
import os
import threading

from agentfs.clock import Clock
from agentfs.config.settings import Settings
from agentfs.format.store_file import StoreFile
from agentfs.stores.protocol import Store
from agentfs.stores.retrying import RetryPolicy
from agentfs.stores.url import parse_store_url
from agentfs.usage.ledger import ledger_of
from agentfs.usage.usage_file import StorePlace
from agentfs.volume.gate import pass_gate

QUICK = RetryPolicy(tries_max=2, budget_seconds=3.0)
"""For opening a home that this machine has a copy of: nobody should wait long to hear that the store is away."""


def opened_store(
    settings: Settings, *, clock: Clock, stop: threading.Event | None = None, retry: RetryPolicy | None = None
) -> Store:
    """The store of these settings, every request to it counted; nothing is sent yet. Raises `StoreURLInvalid` and
    `StoreDenied`."""
    # Loaded only where a store is opened: the client (30 MB) has no business in a mount's process.
    from agentfs.stores.open import open_store  # noqa: PLC0415

    if settings.origins["store"] == "default":
        # Nobody chose this place, so its parents are ours to make; a chosen one may be an unmounted disk.
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(parse_store_url(settings.store).path), mode=0o700, exist_ok=True)
    quick = retry is QUICK
    return open_store(
        settings.store,
        clock=clock,
        stop=stop,
        retry=retry,
        timeout_seconds=5.0 if quick else 30.0,
        connect_timeout_seconds=2.0 if quick else 5.0,
        meter=ledger_of(settings.state_dir).meter(place_of(settings), clock),
    )


def place_of(settings: Settings) -> StorePlace:
    """Which store these settings mean, as counts know it. Raises `StoreURLInvalid`."""
    return StorePlace.of(settings.store, os.environ)


def open_checked_store(settings: Settings, *, clock: Clock) -> StoreFile:
    """Make sure that there is a store that may be used. Raises what `pass_gate` raises."""
    store = opened_store(settings, clock=clock, retry=QUICK)
    return pass_gate(store, store_url=settings.store, state_dir=settings.state_dir, clock=clock)
