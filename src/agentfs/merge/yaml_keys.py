"""Keys of a YAML mapping read leniently and set byte for byte: what is not changed stays as it was written.

Reading looks at each top-level entry by itself, so that what one of them says is known even where another is broken.
Setting is strict: a mapping that is not plain YAML (`yaml_source`) is Unusual, and nobody edits it.
The parser is imported where something is parsed: a new frontmatter of plain words and dates needs none.
"""

import functools
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from agentfs.merge.values import Leaf, Unusual, Value

if TYPE_CHECKING:
    from agentfs.merge.yaml_source import Node

Said: TypeAlias = str | list[str] | None
"""What an entry says: a scalar's text, the scalars of a sequence (however nested), or None: nothing readable."""
Setting: TypeAlias = str | int | float | bool | Sequence[str]

_KEY = re.compile(r"""[ ]{0,8}(?:"([^"\n\\]*)"|'([^'\n]*)'|([^\W\d][^\s:#,\[\]{}"']*))[ \t]*:(?=[ \t\r\n]|\Z)""")
_ITEM = re.compile(r"[ \t]*-[ \t]+")
_PLAIN = re.compile(r"[^\W_][^:#\[\]{},&*!|>%@`\"'\n\\]*(?::[^\s:#\[\]{},\"'\\]+)*")
"""A plain scalar that needs no parser, whatever stands around it."""
_WRITTEN = re.compile(r"[^\W_][\w ./+@-]*(?::\d\d)*[\w.+-]*(?::\d\d)?")
"""What is written without quotes, if it is read as a string then."""
_QUOTED = re.compile(r"\"([^\"\\\n]*)\"|'([^'\n]*)'")
_CONTENT = re.compile(r"^(?![ \t\r]*(?:#|$))", re.MULTILINE)
_COMMENT = re.compile(r"[ \t]+#.*")
_NOTHING = ("", "~", "null", "Null", "NULL")
_UNSAFE = r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9 _-]*")
_NOT_ALWAYS_WORDS = ("yes", "no", "true", "false", "on", "off", "null")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ)?")


def is_mapping(text: str) -> bool:
    """Whether this looks like a mapping, broken as it may be: what it says first is a key, and of the lines at its
    left edge more are keys than prose."""
    first = _CONTENT.search(text)
    if first is None:
        return True
    if text[first.start()] == "{":
        return text.rstrip().endswith("}")
    if _KEY.match(text, first.start()) is None:
        return False
    lines = [line for line in text.split("\n") if line[:1] not in ("", " ", "\t", "\r", "#", "-", "]", "}")]
    return 2 * sum(_KEY.match(line) is not None for line in lines) >= len(lines) + (len(lines) > 0)


def said(text: str, keys: Collection[str]) -> dict[str, Said]:
    """What the entries of these keys (lower case; case does not matter) say. The first of a key counts."""
    found: dict[str, Said] = {}
    if text.lstrip().startswith("{"):
        return _said_in_flow(text, keys)
    for entry in _entries(text):
        if entry.key in keys and entry.key not in found:
            found[entry.key] = _entry_says(entry.rest, entry.below)
    return found


def _said_in_flow(text: str, keys: Collection[str]) -> dict[str, Said]:
    from agentfs.merge import yaml_source  # noqa: PLC0415 - see above

    try:
        value = yaml_source.parse(text)
    except Unusual:
        return {}
    members = value.items() if isinstance(value, dict) else ()
    return {key.lower(): _value_says(member) for key, member in members if key.lower() in keys}


def written_at(text: str, keys: Collection[str], *, column: int | None = None) -> list[tuple[int, int]]:
    """Where the entries of these keys stand: characters, whole lines.

    `column`: how far the mapping is indented; None: as far as its first key.
    """
    return [(entry.start, entry.end) for entry in _entries(text, column) if entry.key in keys]


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    """In lower case."""
    rest: str
    """What stands behind the colon."""
    below: list[str]
    """The lines under it."""
    start: int
    end: int


def _entries(text: str, column: int | None = None) -> Iterator[_Entry]:
    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    at = 0
    while at < len(lines):
        key = _KEY.match(lines[at])
        indent = len(lines[at]) - len(lines[at].lstrip(" "))
        if key is None or (column is not None and indent != column):
            at += 1
            continue
        column = indent
        stop = at + 1
        while stop < len(lines) and not _begins_entry(lines[stop], column):
            stop += 1
        name = (key[1] or key[2] or key[3] or "").lower()
        below = [line.rstrip("\r") for line in lines[at + 1 : stop]]
        rest = lines[at][key.end() :].strip(" \t\r")
        yield _Entry(name, rest, below, starts[at], min(starts[stop], len(text)))
        at = stop


def _begins_entry(line: str, column: int) -> bool:
    return line[column : column + 1] not in ("", " ", "\t", "-", "#", "\r", "]", "}") and not line[:column].strip()


def _entry_says(rest: str, below: Sequence[str]) -> Said:
    """`rest`: behind the colon; `below`: the lines under it. Simple forms take no parser (0.5 ms a note)."""
    content = [line for line in below if line.strip() and not line.lstrip().startswith("#")]
    value = _COMMENT.sub("", rest, count=1) if "#" in rest and rest[:1] not in "\"'[{|>" else rest
    if not content:
        if rest.startswith("#"):
            return rest if re.match(r"#\w", rest) else None
        simple = _simple(value)
        if simple is not None:
            return simple
        if value.startswith("[") and value.endswith("]"):
            members = [_simple(member.strip()) for member in value[1:-1].split(",")] if value[1:-1].strip() else []
            if None not in members:
                return [member for member in members if member]
    elif not value and all(_ITEM.match(line) for line in content):
        items = [_simple(_COMMENT.sub("", _ITEM.sub("", line, count=1)).strip()) for line in content]
        if None not in items:
            return [item for item in items if item]
    return _parsed(rest, below)


def _simple(value: str) -> str | None:
    """A scalar that needs no parser; "": nothing; None: it does need one."""
    if value in _NOTHING:
        return ""
    if _PLAIN.fullmatch(value):
        return value
    quoted = _QUOTED.fullmatch(value)
    return None if quoted is None else quoted[1] or quoted[2] or ""


def _parsed(rest: str, below: Sequence[str]) -> Said:
    from agentfs.merge import yaml_source  # noqa: PLC0415 - see above

    try:
        value = yaml_source.parse("\n".join(["x: " + rest, *below]) + "\n")
    except Unusual:
        # Not YAML, but it says something: `title: Berlin: a plan`.
        return rest.strip("\"'") if rest and rest[0] not in "[{|>&*!" else None
    return _value_says(value["x"]) if isinstance(value, dict) else None


def _value_says(value: Value) -> Said:
    if isinstance(value, Leaf):
        return None if value.kind == "null" else value.text
    return _scalars(value) if isinstance(value, list) else None


def _scalars(value: Value) -> list[str]:
    if isinstance(value, Leaf):
        return [] if value.kind == "null" else [value.text]
    return [text for member in value for text in _scalars(member)] if isinstance(value, list) else []


def with_keys(
    text: str, changes: Mapping[str, Setting | None], *, ending: str = "\n", dates: Collection[str] = ()
) -> str:
    """The mapping with these entries set (None: removed), every other byte as it was.

    A key that is there is found whatever its case, and keeps its place, its form and its comment where the new value
    allows; a new one comes last. `ending`: how new lines end. `dates`: keys whose values are written without quotes
    if they are dates. Raises Unusual: this text is not edited.
    """
    nothing = _says_nothing(text)
    if nothing and len({key.lower() for key in changes}) == len(changes):
        for key, value in changes.items():  # none is there yet: nothing has to be parsed
            text = _with_key(text, None, key, value, ending=ending, date=key in dates)
        return text
    from agentfs.merge import yaml_source  # noqa: PLC0415 - see above

    if not nothing and not isinstance(yaml_source.composed(text).value, dict):
        raise Unusual("not a mapping")
    for key, value in changes.items():
        top = None if nothing else yaml_source.composed(text)
        if top is not None and (not isinstance(top.value, dict) or top.flow):
            raise Unusual("not a block mapping")
        text = _with_key(text, top, key, value, ending=ending, date=key in dates)
        nothing = _says_nothing(text)
    return text


def _says_nothing(text: str) -> bool:
    return not re.sub(r"(?m)^[ \t]*#.*$", "", text).strip()


def _with_key(text: str, top: "Node | None", key: str, value: Setting | None, *, ending: str, date: bool) -> str:
    entries = [] if top is None else top.entries
    for name, node in entries:
        assert name is not None
        if isinstance(name.value, Leaf) and name.value.text.lower() == key.lower():
            return _edited(text, name, node, value, ending=ending, date=date)
    if value is None:
        return text
    if text and not text.endswith("\n"):
        raise Unusual("an unfinished line")
    column = "" if not entries or entries[0][0] is None else text[: entries[0][0].start].rpartition("\n")[2]
    if column.strip(" "):
        raise Unusual("not whole lines")
    return f"{text}{column}{_scalar(key, False)}: {_value(value, date)}{ending}"


def _edited(text: str, name: "Node", node: "Node", value: Setting | None, *, ending: str, date: bool) -> str:
    from agentfs.merge.yaml_source import line_end, line_start  # noqa: PLC0415 - see above

    begin = line_start(text, name.start)
    stop = line_end(text, len(text[: _end(name, node)].rstrip()))
    if text[begin : name.start].strip(" "):
        raise Unusual("not whole lines")
    if value is None:
        return text[:begin] + text[stop:]
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    if listed and node.entries and not node.flow:
        edited = _block_list(text, node, list(value), ending) if isinstance(value, Sequence) and value else None
        if edited is not None:
            return edited
    elif "\n" not in text[name.start : node.end] and isinstance(node.value, Leaf | list):
        new = _flow_list(text, node, value) if listed and node.flow else _value(value, date, text[node.start :])
        gap = " " if node.start == node.end else ""
        return text[: node.start] + gap + new + text[node.end :]
    return f"{text[: name.end]}: {_value(value, date)}{ending}{text[stop:]}"


def _end(name: "Node", node: "Node") -> int:
    """Where the entry's content ends."""
    if not node.entries and node.start == node.end:
        return max(name.end, node.end)
    from agentfs.merge.yaml_source import last_end  # noqa: PLC0415 - see above

    return last_end(node)


def _block_list(text: str, node: "Node", wanted: Sequence[str], ending: str) -> str | None:
    """The lines of a block sequence, those of the items that stay as they were. None: it has members that are none
    of this function's."""
    from agentfs.merge.yaml_source import last_end, line_end, line_start  # noqa: PLC0415 - see above

    starts = [line_start(text, member.start) for _, member in node.entries]
    lead = text[starts[0] : node.entries[0][1].start]
    if len(set(starts)) < len(starts) or not re.fullmatch(r" *- *", lead):
        return None
    stop = line_end(text, last_end(node.entries[-1][1]))
    have: dict[str, str] = {}
    for (_, member), start, after in zip(node.entries, starts, [*starts[1:], stop], strict=True):
        if not isinstance(member.value, Leaf) or text[start : member.start] != lead:
            return None
        have.setdefault(member.value.text, _whole(text[start:after], ending))
    lines = [have.get(item) or f"{lead}{_scalar(item, False)}{ending}" for item in wanted]
    return text[: starts[0]] + "".join(lines) + text[stop:]


def _whole(lines: str, ending: str) -> str:
    return lines if lines.endswith("\n") else lines + ending


def _flow_list(text: str, node: "Node", wanted: object) -> str:
    have = {
        member.value.text: text[member.start : member.end]
        for _, member in node.entries
        if isinstance(member.value, Leaf)
    }
    assert isinstance(wanted, Sequence)
    return "[" + ", ".join(have.get(item) or _scalar(item, False) for item in wanted) + "]"


def _value(value: Setting, date: bool, old: str = "") -> str:
    """`old`: the source that it replaces; its quotes are kept."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise Unusual("not a number")
        written = repr(value)
        # YAML takes 5e-7 for a word, and 5.0e-7 for a number.
        return written if "e" not in written or "." in written else written.replace("e", ".0e")
    if not isinstance(value, str):
        return "[" + ", ".join(_scalar(item, False) for item in value) + "]"
    if old.startswith("'") and not _is_unsafe(value):
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=_is_unsafe(value)) if old[:1] == '"' else _scalar(value, date)


def _scalar(value: str, date: bool) -> str:
    """Without quotes where every reader of YAML takes it for this string."""
    if _WRITTEN.fullmatch(value) and value == value.strip() and not _is_unsafe(value):
        kind = read_as(value)
        if kind == "str" or (date and kind == "timestamp"):
            return value
    return json.dumps(value, ensure_ascii=_is_unsafe(value))


def read_as(value: str) -> str:
    """What readers of YAML take a scalar without quotes for: str, bool, int, float, timestamp, null, …"""
    if _WORDS.fullmatch(value) and value.lower() not in _NOT_ALWAYS_WORDS:
        return "str"
    if _MOMENT.fullmatch(value):
        return "timestamp"
    import yaml  # noqa: PLC0415 - see above

    from agentfs.merge.yaml_source import RESOLVER  # noqa: PLC0415

    return str(RESOLVER.resolve(yaml.ScalarNode, value, (True, False)).rpartition(":")[2])


def _is_unsafe(value: str) -> bool:
    """Whether it has characters that YAML does not write as they are."""
    return not value.isprintable() if value.isascii() else _unsafe().search(value) is not None


@functools.cache
def _unsafe() -> re.Pattern[str]:
    return re.compile(_UNSAFE)  # 10 ms
