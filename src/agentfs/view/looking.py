"""What a listing of the view shows that is not as it was known: a comparison, pure (docs/view.md, V-80, V-84)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from agentfs.stores.protocol import Entry
from agentfs.view.mark import SIGN_S
from agentfs.view.rules import Rules
from agentfs.view.shown import Shown

VIEW_BYTES_MAX = 64 * 1024 * 1024
"""Of an object; a larger one is neither written nor taken in (V-70)."""
BRAKE_OBJECTS = 10
"""So many may be gone at once, however many there are, if some stay."""
_BRAKE_ALL = 2
"""So few may be all that there were."""
_BRAKE_SHARE = 10
YOUNG_S = 2.0
"""An object is taken in when it has been as it is for so long."""
CONFIRM_S = 5.0
"""Between the two looks that do not see an object."""


@dataclass(frozen=True, slots=True)
class Showing:
    """What an engine knows of the view, by the mark as it stands on the store."""

    keeps: bool
    """It is the keeper."""
    rules: Rules
    known: bool
    """What it knows of an object is all that was shown at its name: nobody else has kept the view since."""
    through: int
    """At least what the files were after that entry of the log was shown; 0: nobody knows of anything."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One look at all of a view's names."""

    differs: tuple[Entry, ...]
    """Objects with other bytes than those that are known, below the view's prefix, by name; those that are not known
    at all."""
    gone: tuple[Shown, ...]
    """Known objects that are not there."""
    left: Mapping[str, str]
    """Names that are no file's, and objects that are too large: why."""
    objects: int
    """In the listing."""


def looked(entries: Iterable[Entry], rows: Iterable[Shown], path_of: Callable[[str], bytes | None]) -> Looked:
    """`entries`: the whole listing, names below the view's prefix. `path_of`: the path that a name means."""
    known = {row.name: row for row in rows}
    differs: list[Entry] = []
    left: dict[str, str] = {}
    count = 0
    for entry in entries:
        count += 1
        row = known.pop(entry.name, None)
        if row is not None and is_as_known(entry, row):
            continue
        if path_of(entry.name) is None:
            left[entry.name] = "no file has such a name"
        elif entry.size_bytes > VIEW_BYTES_MAX:
            left[entry.name] = f"larger than {VIEW_BYTES_MAX >> 20} MiB"
        else:
            differs.append(entry)
    return Looked(tuple(differs), tuple(known[name] for name in sorted(known)), left, count)


def is_as_known(entry: Entry, row: Shown) -> bool:
    """By their tags; where the store has none, by size and time."""
    if entry.tag and row.etag:
        return entry.tag == row.etag
    return (entry.size_bytes, entry.modified_at) == (row.size_bytes, row.modified_at)


@dataclass(slots=True)
class Patience:
    """What was seen once and is believed when it was seen twice."""

    _since: dict[tuple[str, str], float] = field(default_factory=dict)

    def settled(self, entry: Entry, *, wall_s: float, now_s: float) -> bool:
        """Whether nobody seems to be at it: written a while ago, or seen so before. `wall_s` is this machine's clock,
        which may be wrong; `now_s` its monotonic one."""
        first = self._since.setdefault((entry.name, entry.tag or str(entry.modified_at)), now_s)
        return entry.modified_at <= wall_s - YOUNG_S or now_s - first >= YOUNG_S

    def confirmed(self, name: str, what: str, *, now_s: float) -> bool:
        """Whether that was seen before, long enough ago."""
        return now_s - self._since.setdefault((name, what), now_s) >= CONFIRM_S

    def keep(self, seen: Iterable[tuple[str, str]]) -> None:
        """Forget everything but these: what is seen again after a break is new."""
        kept = set(seen)
        self._since = {key: at for key, at in self._since.items() if key in kept}


def is_too_much(gone: int, known: int) -> bool:
    """Whether so many of the known objects are gone that something else may be wrong (V-84)."""
    return (gone > BRAKE_OBJECTS and gone * _BRAKE_SHARE > known) or (gone > _BRAKE_ALL and gone >= known)


def signs_per_day() -> float:
    """Puts of the mark of a keeper that has nothing to write: one for each time that it must tell that it lives."""
    return 86_400 / SIGN_S


def listings_per_day(objects: int, interval_s: float) -> float:
    """Requests of a day of looking: one for each thousand objects."""
    return 0.0 if interval_s <= 0 else 86_400 / interval_s * max(1, -(-objects // 1000))
