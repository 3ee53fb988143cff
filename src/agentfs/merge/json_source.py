"""JSON by keys, on its source: what did not change keeps its exact bytes, what did comes as its author wrote it."""

import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import NoReturn

from agentfs.merge.values import Leaf, Unusual, Value, frozen, naming_key

_SPACE = " \t\n\r"


def parse(text: str) -> Value:
    """Raises Unusual: not JSON, not an object or array, nested too deeply, or with a key twice in one object."""
    value = _parsed(text)
    if not isinstance(value, dict | list):
        raise Unusual("neither an object nor an array")
    return value


def valid(text: str) -> bool:
    """JSON at all, also with keys that come twice."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def write(merged: Value, earlier: str, later: str) -> str:
    """The source of `merged`, made of the two sources."""
    one, other = _Source.whole(earlier), _Source.whole(later)
    return earlier[: one.start] + _render(merged, one, other) + earlier[one.end :]


def _parsed(text: str) -> Value:
    try:
        value: Value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Unusual(str(error)) from error
    return value


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unusual("a key comes twice")
    return found


def _constant(name: str) -> NoReturn:
    raise Unusual(f"{name} is not JSON")


def _number(text: str) -> Leaf:
    return Leaf("number", text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_number, parse_int=_number, parse_constant=_constant
)


@dataclass(frozen=True, slots=True)
class _Member:
    lead: str
    """White space before it."""
    label: str
    """The key and its colon as written; empty in arrays."""
    key: str | None
    source: "_Source"


@dataclass(frozen=True)
class _Source:
    text: str
    start: int
    end: int
    value: Value

    @classmethod
    def whole(cls, text: str) -> "_Source":
        start = _skipped(text, 0)
        value, end = _DECODER.raw_decode(text, start)
        return cls(text, start, end, value)

    @property
    def written(self) -> str:
        return self.text[self.start : self.end]

    @cached_property
    def members(self) -> list[_Member]:
        return list(self._members())

    @cached_property
    def tail(self) -> str:
        """White space before the closing bracket."""
        inner = self.text[self.start + 1 : self.end - 1]
        return inner[len(inner.rstrip(_SPACE)) :]

    def _members(self) -> Iterator[_Member]:
        at = self.start + 1
        while True:
            begin = _skipped(self.text, at)
            if self.text[begin] in "]}":
                return
            lead, key, label_end = self.text[at:begin], None, begin
            if isinstance(self.value, dict):
                key, colon = scanstring(self.text, begin + 1)
                label_end = _skipped(self.text, _skipped(self.text, colon) + 1)
            value, end = _DECODER.raw_decode(self.text, label_end)
            yield _Member(lead, self.text[begin:label_end], key, _Source(self.text, label_end, end, value))
            at = _skipped(self.text, end)
            if self.text[at] != ",":
                return
            at += 1


def _skipped(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _render(merged: Value, one: _Source, other: _Source) -> str:
    for source in (one, other):
        if merged == source.value:
            return source.written
    if isinstance(merged, dict) and isinstance(one.value, dict) and isinstance(other.value, dict):
        return _enclosed("{}", _object_members(merged, one, other), one, other)
    if isinstance(merged, list) and isinstance(one.value, list) and isinstance(other.value, list):
        return _enclosed("[]", _array_members(merged, one, other), one, other)
    raise Unusual("a value that neither side has")


def _object_members(merged: dict[str, Value], one: _Source, other: _Source) -> Iterator[tuple[_Member, str]]:
    here, there = ({member.key: member for member in source.members} for source in (one, other))
    for key, value in merged.items():
        first, second = here.get(key), there.get(key)
        yield _chosen(value, first, second)


def _array_members(merged: list[Value], one: _Source, other: _Source) -> Iterator[tuple[_Member, str]]:
    assert isinstance(one.value, list) and isinstance(other.value, list)
    key = naming_key(merged, one.value, other.value)

    def name(value: Value) -> Hashable:
        return frozen(value[key]) if key is not None and isinstance(value, dict) else frozen(value)

    here, there = ({name(member.source.value): member for member in source.members} for source in (one, other))
    for value in merged:
        yield _chosen(value, here.get(name(value)), there.get(name(value)))


def _chosen(value: Value, first: _Member | None, second: _Member | None) -> tuple[_Member, str]:
    member = first or second
    if member is None:
        raise Unusual("a member that neither side has")
    return member, _render(value, (first or member).source, (second or member).source)


def _enclosed(brackets: str, members: Iterator[tuple[_Member, str]], one: _Source, other: _Source) -> str:
    """The members between brackets, set out like earlier's (later's if that has none)."""
    model = one if one.members else other
    first = model.members[0].lead if model.members else ""
    further = next((source.members[1].lead for source in (one, other) if len(source.members) > 1), None)
    if further is None:
        further = first if "\n" in first else " " if '": ' in one.text else ""
    parts = [(further if at else first) + member.label + written for at, (member, written) in enumerate(members)]
    if not parts:
        return brackets
    return brackets[0] + ",".join(parts) + (model.tail if model.members else "") + brackets[1]
