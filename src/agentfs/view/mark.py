"""The mark of a volume's view: who keeps it, how far it is, what it shows (docs/view.md, V-61)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from agentfs.errors import (
    Corrupt,
    InvalidArgument,
    NewerFormat,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    Unavailable,
)
from agentfs.format import layout
from agentfs.format.limits import SEQUENCE_MAX
from agentfs.stores.protocol import Store
from agentfs.view.rules import RULES_MAX, Rule, checked_rule

Mode: TypeAlias = Literal["on", "lazy", "off"]
FORMAT: Final = 1
SIGN_S: Final = 600.0
"""A keeper puts the mark so often at least, in seconds: a sign of life, also when there is nothing to write."""
_BYTES_MAX: Final = 1024 * 1024
_TRIES_MAX: Final = 8
_OWN = frozenset(("agentfs", "format", "volume", "through", "keeper", "author", "rules", "mode", "time"))


@dataclass(frozen=True, slots=True)
class Mark:
    volume: str
    """`home-ada`."""
    through: int = 0
    """Every object of the tree at this sequence was written, or was found as it should be."""
    keeper: str = ""
    """Random text that the keeper chose; "": it has ended."""
    author: str = ""
    """On whose behalf the keeper works: for people."""
    mode: Mode = "on"
    rules: tuple[Rule, ...] = ()
    time: str = ""
    """When it was put, by the keeper's clock: for people."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Members that this version does not know."""


def encode(mark: Mark) -> bytes:
    document = {
        "agentfs": "view",
        "format": FORMAT,
        "volume": mark.volume,
        "through": mark.through,
        "keeper": mark.keeper,
        "author": mark.author,
        "mode": mark.mode,
        "rules": [[rule.pattern, rule.policy] for rule in mark.rules],
        "time": mark.time,
    }
    return json.dumps({**mark.more, **document}, indent=1).encode() + b"\n"


def decode(data: bytes, *, volume: str) -> Mark:
    """Raises `Corrupt`, `NewerFormat`."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("agentfs") != "view":
            raise ValueError("it is no mark of a view")
        if isinstance(document.get("format"), int) and document["format"] > FORMAT:
            raise NewerFormat(f"the view of {volume} is kept by a newer AgentFS: upgrade agentfs")
        if document.get("volume") != volume:
            raise ValueError(f"it is of {document.get('volume')!a}")
        rules = document.get("rules", [])
        if not isinstance(rules, list) or len(rules) > RULES_MAX:
            raise ValueError("its rules are no list")
        mark = Mark(
            volume=volume,
            through=document["through"],
            keeper=document["keeper"],
            author=document.get("author", ""),
            mode=document["mode"],
            rules=tuple(checked_rule(pattern, policy) for pattern, policy in rules),
            time=document.get("time", ""),
            more={key: value for key, value in document.items() if key not in _OWN},
        )
        texts = (mark.keeper, mark.author, mark.time)
        is_number = isinstance(mark.through, int) and not isinstance(mark.through, bool)
        if not is_number or not 0 <= mark.through <= SEQUENCE_MAX or not all(isinstance(it, str) for it in texts):
            raise ValueError("it has a member of a wrong type")
        if mark.mode not in get_args(Mode):
            raise ValueError(f"its mode is {mark.mode!a}")
    except (ValueError, KeyError, TypeError, RecursionError, InvalidArgument) as error:
        raise Corrupt(
            f"the mark of the view of {volume} cannot be read ({error}): agentfs view on writes it anew"
        ) from error
    return mark


class MarkFile:
    """The mark on a store. Safe from any thread."""

    def __init__(self, store: Store, volume: str) -> None:
        self._store = store
        self.volume = volume
        self.name = layout.view_mark_name(layout.prefix_of(volume))

    def read(self) -> tuple[Mark | None, str]:
        """The mark, and its tag; None where the volume has no view. One get. Raises `Corrupt`, `NewerFormat`,
        `StoreError`."""
        try:
            found = self._store.get(self.name)
        except ObjectNotFound:
            return None, ""
        if found.size_bytes > _BYTES_MAX:
            raise Corrupt(f"the mark of the view of {self.volume} is too large: agentfs view on writes it anew")
        return decode(found.data, volume=self.volume), found.tag

    def put(self, mark: Mark, *, over: str | None) -> str | None:
        """Put it over the mark with the tag `over`; None: where none is. Its tag; None: another one stands there now,
        or it may. One put. Raises `StoreError`."""
        try:
            if over is None:
                return self._store.put(self.name, encode(mark), create_only=True)
            return self._store.put(self.name, encode(mark), replacing=over)
        except (ObjectExists, ObjectChanged, OutcomeUnknown):
            return None

    def change(self, do: Callable[[Mark | None], Mark | None], *, mends: bool = False) -> tuple[Mark | None, str]:
        """Make it what `do` makes of it; None: it is left as it is. Others' changes are kept: `do` is called again
        with what they made. `mends`: a mark that cannot be read counts as none. Returns what stands there, with its
        tag. Raises as `read`, and `Unavailable` when others change it all the time."""
        for _ in range(_TRIES_MAX):
            try:
                before, tag = self.read()
            except Corrupt:
                if not mends:
                    raise
                before, tag = None, self._store.head(self.name).tag
            wanted = do(before)
            if wanted is None or (before is not None and wanted == replace(before, time=wanted.time)):
                return before, tag
            put = self.put(wanted, over=tag if before is not None or tag else None)
            if put is not None:
                return wanted, put
        raise Unavailable(f"others change the mark of the view of {self.volume} all the time: try again")


def mode_of(text: str) -> Mode:
    """Raises `InvalidArgument`."""
    if text not in get_args(Mode):
        raise InvalidArgument(f"{text} is no mode of a view: {', '.join(get_args(Mode))}")
    return cast(Mode, text)
