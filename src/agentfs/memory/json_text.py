"""JSON and JSON Lines → units: records, and parts of values with the keys above them, verbatim as in the source."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentfs.memory import moments
from agentfs.memory.passages import TARGET, Span

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
_SAID_MAX = 64 * 1024
"""Characters. Of a longer record nobody asks who says it, and when."""
_RECORD_MAX = 600
"""Characters of a record that stays whole."""
_DEPTH_MAX = 64
"""What is nested deeper is cut without looking at it."""
_NAME_MAX = 80
_AUTHOR_KEYS = ("author", "speaker", "role", "sender", "from", "name", "user", "username", "agent")
_SPEECH_KEYS = ("content", "text", "message", "body", "parts", "utterance", "msg")
"""A record that has none of these is nobody's words."""
_TIME_KEYS = ("timestamp", "created_at", "createdAt", "created", "date", "time", "datetime", "ts", "sent_at")


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    above: "_Open | None"
    opener: str
    key: str
    start: int
    """Of its key, where it has one."""
    units: int
    """How many units there were before it."""
    record: bool
    member: int = -1
    """Where the member that is being read begins; -1: none."""
    member_key: str = ""


@dataclass(slots=True)
class _Unit:
    start: int
    stop: int
    inside: _Open | None
    record: tuple[int, int] | None = None
    """The record that it is, or is a part of."""


def line_spans(text: str, start: int = 0) -> Iterator[Span]:
    """A record a line."""
    for found in _LINE.finditer(text, start):
        begin, end = found.span()
        if found[0].isspace():
            continue
        author, said_ns = _said(found[0])
        if end - begin <= _RECORD_MAX:
            yield Span(begin, end, (), author, said_ns, True)
        else:
            for span in spans(text, begin, end):
                yield Span(span.start, span.end, span.headings, author or span.author, said_ns or span.said_ns, True)


def spans(text: str, start: int = 0, end: int | None = None) -> Iterator[Span]:
    """Members together up to a passage's size, larger ones by their own members; a record of an array for itself."""
    end = len(text) if end is None else end
    units = _units(text, start, end)
    at = start
    record: tuple[int, int] | None = None
    said: tuple[str, int | None] = ("", None)
    for number, unit in enumerate(units):
        if unit.record is None:
            said = ("", None)
        elif unit.record != record:
            said = _said(text[slice(*unit.record)])
        record = unit.record
        stop = units[number + 1].start if number + 1 < len(units) else end
        yield Span(at, stop, _path(unit.inside), *said, True)
        at = stop
    if at < end:
        yield Span(at, end, code=True)


def _units(text: str, start: int, end: int) -> list[_Unit]:
    """In ascending order. Each begins where the first of the collections begins that it is the start of."""
    units: list[_Unit] = []
    top: _Open | None = None
    depth = deeper = 0
    for found in _TOKEN.finditer(text, start, end):
        token = found[0]
        first = token[0]
        if first in "{[":
            if depth >= _DEPTH_MAX:
                deeper += 1
                continue
            top, depth = _opened(top, token, found.start(), len(units)), depth + 1
        elif first in "}]":
            if deeper:
                deeper -= 1
            elif top is not None:
                _closed(top, found.end(), units)
                top, depth = top.above, depth - 1
        elif deeper or first == ":":
            continue
        elif first == ",":
            if top is not None:
                top.member = -1
        elif top is not None and top.opener == "{" and top.member < 0:
            top.member, top.member_key = found.start(), token.strip('"')[:_NAME_MAX]
        else:
            _scalar(top, found.start(), found.end(), units)
    return units


def _opened(above: _Open | None, opener: str, at: int, units: int) -> _Open:
    if above is None:
        return _Open(None, opener, "", at, units, False)
    start = above.member if above.opener == "{" and above.member >= 0 else at
    key = above.member_key if above.opener == "{" else ""
    return _Open(above, opener, key, start, units, opener == "{" and above.opener == "[")


def _closed(closing: _Open, stop: int, units: list[_Unit]) -> None:
    """A short collection is one unit; of a long one its members are, and the first begins where it does."""
    record = (closing.start, stop) if closing.record else None
    inside = units[closing.units :] if stop - closing.start > (_RECORD_MAX if record else TARGET) else []
    if inside:
        inside[0].start = closing.start
        for unit in inside if record else ():
            unit.record = unit.record or record
        return
    del units[closing.units :]
    above = closing.above
    if record is None:
        _scalar(above, closing.start, stop, units)
    else:
        units.append(_Unit(closing.start, stop, above, record))


def _scalar(inside: _Open | None, start: int, stop: int, units: list[_Unit]) -> None:
    if inside is not None and inside.opener == "{" and inside.member >= 0:
        start = inside.member
    last = units[-1] if len(units) > (0 if inside is None else inside.units) else None
    if last is not None and last.inside is inside and last.record is None and stop - last.start <= TARGET:
        last.stop = stop
    else:
        units.append(_Unit(start, stop, inside))


def _path(inside: _Open | None) -> tuple[str, ...]:
    keys = []
    while inside is not None:
        if inside.key:
            keys.append(inside.key)
        inside = inside.above
    return tuple(reversed(keys))


def _said(source: str) -> tuple[str, int | None]:
    """Who says a record, and when, if it tells."""
    if len(source) > _SAID_MAX or "{" not in source:
        return "", None
    try:
        value = json.loads(source)
    except (ValueError, RecursionError):
        return "", None
    if not isinstance(value, dict):
        return "", None
    inner = value.get("message")
    members = {**inner, **value} if isinstance(inner, dict) else value
    if not any(isinstance(members.get(key), str | list) for key in _SPEECH_KEYS):
        return "", _moment(members)
    author = next((name for key in _AUTHOR_KEYS if isinstance(name := members.get(key), str) and name.strip()), "")
    return author.strip()[:_NAME_MAX], _moment(members)


def _moment(members: dict[str, object]) -> int | None:
    for key in _TIME_KEYS:
        stamp = members.get(key)
        if isinstance(stamp, float) and abs(stamp) < 1e13:
            stamp = int(stamp)
        found = moments.moment(str(stamp)) if isinstance(stamp, str | int) else None
        if found is not None:
            return found.ns
    return None
