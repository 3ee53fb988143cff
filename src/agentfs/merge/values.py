"""Two versions of a structured value (JSON, TOML, YAML) and what both came from: one value, key by key."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

Value: TypeAlias = "dict[str, Value] | list[Value] | Hashable"
"""Objects, arrays, and leaves: whatever is hashable and equal exactly when it means the same."""
ABSENT: Final = object()

NAMING_KEYS = ("id", "key", "name")
"""An array whose objects all have one of these, each with its own value, is merged as an object with those keys."""
_SHOWN_MAX = 60
"""Characters of a value in a clash."""


class Unusual(Exception):
    """This content is not merged by keys: it does not parse, or has parts that could get lost."""


class Leaf(NamedTuple):
    """A value that Python would compare too loosely (1 == True == 1.0)."""

    kind: str
    text: str


class Named(NamedTuple):
    """The array's members by name, or None."""

    key: str
    members: dict[Hashable, "dict[str, Value]"]


def merge_values(base: Value, earlier: Value, later: Value) -> tuple[Value, list[str]]:
    """The merged value and what clashed. Any of the three may be ABSENT."""
    clashes: list[str] = []
    return _merge(base, earlier, later, "", clashes), clashes


def frozen(value: Value) -> Hashable:
    """Hashable, equal exactly when the values are."""
    if isinstance(value, dict):
        return ("object", frozenset((key, frozen(member)) for key, member in value.items()))
    if isinstance(value, list):
        return ("array", tuple(frozen(member) for member in value))
    return value


def naming_key(*arrays: Sequence[Value]) -> str | None:
    """The member that names the objects of all these arrays."""
    for key in NAMING_KEYS:
        if all(_names(array, key) is not None for array in arrays):
            return key
    return None


def _names(array: Sequence[Value], key: str) -> list[Hashable] | None:
    names = []
    for member in array:
        name = member.get(key, ABSENT) if isinstance(member, dict) else ABSENT
        if name is ABSENT or isinstance(name, dict | list):
            return None
        names.append(name)
    return names if len(set(names)) == len(names) else None


def _merge(base: Value, earlier: Value, later: Value, path: str, clashes: list[str]) -> Value:
    if later in (earlier, base):
        return earlier
    if earlier == base:
        return later
    if isinstance(earlier, dict) and isinstance(later, dict):
        return _merge_objects(base if isinstance(base, dict) else {}, earlier, later, path, clashes)
    if isinstance(earlier, list) and isinstance(later, list):
        merged = _merge_arrays(base if isinstance(base, list) else [], earlier, later, path, clashes)
        if merged is not None:
            return merged
    stays, other = (earlier, later) if later is ABSENT else (later, earlier)
    clashes.append(f"key {path or '(all)'}: {shown(stays)} stays, {shown(other)} was the other")
    return stays


def _merge_objects(
    base: Mapping[str, Value], earlier: Mapping[str, Value], later: Mapping[str, Value], path: str, clashes: list[str]
) -> dict[str, Value]:
    merged = {}
    for key in {**earlier, **later}:
        member = _merge(
            base.get(key, ABSENT),
            earlier.get(key, ABSENT),
            later.get(key, ABSENT),
            f"{path}.{key}".lstrip("."),
            clashes,
        )
        if member is not ABSENT:
            merged[key] = member
    return {key: merged[key] for key in ordered(list(base), list(earlier), list(later)) if key in merged}


def _merge_arrays(
    base: Sequence[Value], earlier: Sequence[Value], later: Sequence[Value], path: str, clashes: list[str]
) -> list[Value] | None:
    """None: the arrays are one value each."""
    name = naming_key(base, earlier, later)
    if name is not None and earlier and later:
        return _merge_named(name, (base, earlier, later), path, clashes)
    if _positional(base, earlier, later):
        return None
    old, one, other = ({frozen(member): member for member in array} for array in (base, earlier, later))
    if len(old) < len(base) or len(one) < len(earlier) or len(other) < len(later):
        return None
    replaced = any(isinstance(old[key], dict | list) for key in old if key not in one and key not in other)
    if replaced and one.keys() - old.keys() and other.keys() - old.keys():
        return None
    members = {**one, **other}
    alive = {key for key in members if (key in one and key in other) or key not in old}
    return [members[key] for key in ordered(list(old), list(one), list(other)) if key in alive]


def _merge_named(name: str, arrays: Sequence[Sequence[Value]], path: str, clashes: list[str]) -> list[Value]:
    """Arrays of objects, as objects of objects."""
    olds, ones, others = (
        {frozen(member[name]): member for member in array if isinstance(member, dict)} for array in arrays
    )
    merged: list[Value] = []
    for key in ordered(list(olds), list(ones), list(others)):
        versions = [members.get(key, ABSENT) for members in (olds, ones, others)]
        member = _merge(versions[0], versions[1], versions[2], f"{path}[{shown(key)}]", clashes)
        if member is not ABSENT:
            merged.append(member)
    return merged


def _positional(base: Sequence[Value], earlier: Sequence[Value], later: Sequence[Value]) -> bool:
    """Numbers whose places mean something (a position, a range): as many as before on both sides."""
    return (
        bool(base)
        and len(base) == len(earlier) == len(later)
        and all(
            isinstance(member, Leaf) and member.kind == "number"
            for array in (base, earlier, later)
            for member in array
        )
    )


def ordered(base: list[Hashable], earlier: list[Hashable], later: list[Hashable]) -> list[Hashable]:
    """All keys of both sides: in the order of the side that moved something (earlier's if both or none did). What the
    other side added stands behind what it stood behind there, and behind what was added at the same place."""
    frame, other = earlier, later
    if not _moved(base, earlier) and _moved(base, later):
        frame, other = later, earlier
    in_frame, in_other = set(frame), set(other)
    behind: dict[Hashable, list[Hashable]] = {}
    last: Hashable = ABSENT
    for key in other:
        if key in in_frame:
            last = key
        else:
            behind.setdefault(last, []).append(key)
    out: list[Hashable] = []
    waiting = behind.get(ABSENT, [])
    for key in frame:
        if key in in_other:
            out += waiting
            waiting = []
        out.append(key)
        waiting = waiting + behind.get(key, [])
    return out + waiting


def _moved(base: list[Hashable], side: list[Hashable]) -> bool:
    here, there = set(side), set(base)
    return [key for key in base if key in here] != [key for key in side if key in there]


def shown(value: Value) -> str:
    """A value for a person, short."""
    if value is ABSENT:
        return "nothing"
    text = value.text if isinstance(value, Leaf) else _plain(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def _plain(value: Value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(member)}" for key, member in list(value.items())[:8]) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(shown(member) for member in value[:8]) + "]"
    return repr(value)
