"""The chain of a volume's lifecycle rules (docs/format.md, F-128). Numbers are won as log entries are."""

from dataclasses import dataclass

from agentfs.clock import Clock
from agentfs.errors import Unavailable
from agentfs.format import layout
from agentfs.format.lifecycle import LifecycleRecord, decode_lifecycle, encode_lifecycle
from agentfs.log.announcements import put_once
from agentfs.model.lifecycle import NO_RULES, Rules, parse_rules
from agentfs.stores.protocol import Store

_TRIES_MAX = 5


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """What a volume's newest record says."""

    rules: Rules
    record: LifecycleRecord | None
    """None: nobody ever set any."""
    set_at: float
    """When they came to the store, by its clock, in seconds since 1970."""

    @property
    def number(self) -> int:
        return 0 if self.record is None else self.record.number


class LifecycleChain:
    """Safe from any thread; no state."""

    def __init__(self, store: Store, volume: str) -> None:
        self._store = store
        self.volume = volume
        self.prefix = layout.prefix_of(volume)

    def newest(self) -> RulesInForce:
        """One list, and one get if there are any. Raises `Corrupt`, `NewerFormat`, `StoreError`: then nobody may act
        by any rule."""
        found = self._store.list(layout.lifecycle_prefix(self.prefix), limit=1)
        if not found:
            return RulesInForce(NO_RULES, None, 0.0)
        number = layout.parse_lifecycle_name(self.prefix, found[0].name)
        record = decode_lifecycle(self._store.get(found[0].name).data, volume=self.volume, number=number)
        return RulesInForce(parse_rules(record.text), record, found[0].modified_at)

    def newest_number(self) -> int:
        """0: there never were any. One list."""
        found = self._store.list(layout.lifecycle_prefix(self.prefix), limit=1)
        return layout.parse_lifecycle_name(self.prefix, found[0].name) if found else 0

    def set(self, text: str, *, author: str, clock: Clock) -> LifecycleRecord:
        """Make the rules in `text` the ones that count. On return every machine sees them. Raises `ValueError` for
        rules that are none, `Unavailable` when others keep setting them at the same time, `Corrupt`, `StoreError`."""
        parse_rules(text)
        for _ in range(_TRIES_MAX):
            number = self.newest_number() + 1
            record = LifecycleRecord(self.volume, number, text, author, clock.wall_ns())
            if put_once(self._store, layout.lifecycle_name(self.prefix, number), encode_lifecycle(record)):
                return record
        raise Unavailable("the lifecycle rules are being set by others at the same time: try again")
