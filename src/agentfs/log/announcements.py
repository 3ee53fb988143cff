"""The chain of announcements of what may go, and that of retention policies, of a volume (docs/format.md, F-115 f.).

Numbers are won as log entries are: by a create-only put. So everybody who decides what may go knows all that was
decided before.
"""

from collections.abc import Iterator

from agentfs.errors import Corrupt, ObjectExists, ObjectNotFound, OutcomeUnknown
from agentfs.format import layout
from agentfs.format.collection import (
    Announcement,
    PolicyRecord,
    decode_announcement,
    decode_policy,
    encode_announcement,
    encode_policy,
)
from agentfs.stores.protocol import Entry, Store

_PAGE = 1000
_TRIES_MAX = 3


class Announcements:
    """Safe from any thread; no state."""

    def __init__(self, store: Store, volume: str) -> None:
        self._store = store
        self.volume = volume
        self.prefix = layout.prefix_of(volume)

    def numbers(self, *, above: int = 0) -> Iterator[tuple[int, Entry]]:
        """The announcements that stand, newest first, down to the one after `above`: number and listing. One list for
        up to 1000 of them. Raises `Corrupt` for a name that is none, `StoreError`."""
        head, after = layout.announcement_prefix(self.prefix), ""
        while True:
            limit = _PAGE if above == 0 else min(_PAGE, 16)
            page = self._store.list(head, after=after, limit=limit)
            for entry in page:
                number = layout.parse_announcement_name(self.prefix, entry.name)
                if number <= above:
                    return
                yield number, entry
            if len(page) < limit:
                return
            after = page[-1].name

    def newest_number(self) -> int:
        """Of the newest announcement; 0: there never was one. Snapshots that are put after one must say so (F-119).
        One list."""
        found = self._store.list(layout.announcement_prefix(self.prefix), limit=1)
        return layout.parse_announcement_name(self.prefix, found[0].name) if found else 0

    def newest(self) -> Announcement | None:
        """One list; and one get if there is any. Raises `Corrupt`, `NewerFormat`, `StoreError`."""
        found = self._store.list(layout.announcement_prefix(self.prefix), limit=1)
        if not found:
            return None
        return self.read(layout.parse_announcement_name(self.prefix, found[0].name))

    def read(self, number: int) -> Announcement:
        """One get. Raises `Corrupt` (also when it is not there), `NewerFormat`, `StoreError`."""
        name = layout.announcement_name(self.prefix, number)
        try:
            data = self._store.get(name).data
        except ObjectNotFound as error:
            raise Corrupt(f"announcement {number} of {self.volume} is missing") from error
        return decode_announcement(data, volume=self.volume, number=number)

    def put(self, announcement: Announcement) -> bool:
        """Whether it stands now under its number; False: another does. Raises `OutcomeUnknown` when that cannot be
        found out, `StoreError`."""
        name = layout.announcement_name(self.prefix, announcement.number)
        return put_once(self._store, name, encode_announcement(announcement))

    # ---- policies ----

    def policy(self) -> PolicyRecord | None:
        """The newest retention policy: one list, and one get if there is any. Raises as `newest`."""
        found = self._store.list(layout.policy_prefix(self.prefix), limit=1)
        if not found:
            return None
        number = layout.parse_policy_name(self.prefix, found[0].name)
        return decode_policy(self._store.get(found[0].name).data, volume=self.volume, number=number)

    def put_policy(self, record: PolicyRecord) -> bool:
        """As `put`."""
        return put_once(self._store, layout.policy_name(self.prefix, record.number), encode_policy(record))

    def drop(self, number: int) -> None:
        """Delete an announcement; the caller knows that F-121 allows it."""
        self._store.delete(layout.announcement_name(self.prefix, number))


def put_once(store: Store, name: str, data: bytes) -> bool:
    """Put create-only and find out what stands there: whether it is `data`. Raises `OutcomeUnknown` when nothing can
    be read there after several tries (it may still come), `StoreError`."""
    for _ in range(_TRIES_MAX):
        try:
            store.put(name, data, create_only=True)
        except (ObjectExists, OutcomeUnknown):
            try:
                return store.get(name).data == data
            except ObjectNotFound:
                continue
        return True
    raise OutcomeUnknown(f"whether {name} was stored is not known yet: try again")
