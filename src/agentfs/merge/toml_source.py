"""TOML by keys: earlier's document, its comments and order included, with later's changes put in."""

import tomllib
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from agentfs.merge.values import Leaf, Unusual, Value, frozen, naming_key

_FAILURES = (TOMLKitError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What the libraries raise for documents that they cannot read or edit."""


BYTES_MAX = 256 * 1024
"""Characters. A larger file is merged as text."""


def parse(text: str) -> Value:
    """Raises Unusual if it is not TOML, or too large."""
    if len(text) > BYTES_MAX:
        raise Unusual("too large")
    try:
        return _value(tomllib.loads(text, parse_float=lambda number: Leaf("number", number)))
    except (ValueError, RecursionError) as error:
        raise Unusual(str(error)) from error


def valid(text: str) -> bool:
    try:
        parse(text)
    except Unusual:
        return False
    return True


def write(merged: Value, earlier: str, later: str) -> str:
    """The source of `merged`. Raises Unusual if the document cannot be edited in place."""
    try:
        document, other = tomlkit.parse(earlier), tomlkit.parse(later)
        _put(document, merged, parse(earlier), other, parse(later))
        return tomlkit.dumps(document)
    except _FAILURES as error:
        raise Unusual(str(error)) from error


def _value(parsed: Any) -> Value:
    if isinstance(parsed, dict):
        return {key: _value(member) for key, member in parsed.items()}
    if isinstance(parsed, list):
        return [_value(member) for member in parsed]
    if isinstance(parsed, Leaf | str):
        return parsed
    if isinstance(parsed, int) and not isinstance(parsed, bool):
        return Leaf("number", str(parsed))
    return Leaf(type(parsed).__name__, str(parsed))


def _put(table: Any, merged: Value, value: Value, other: Any, other_value: Value) -> None:
    """Makes `table` (which is `value`) `merged`, with items of `other`."""
    if not (isinstance(merged, dict) and isinstance(value, dict) and isinstance(other_value, dict)):
        raise Unusual("not a table")
    for key in [key for key in value if key not in merged]:
        del table[key]
    for key, wanted in merged.items():
        if key in value and value[key] == wanted:
            continue
        if key in other_value and other_value[key] == wanted:
            table[key] = other[key]
        elif isinstance(wanted, dict):
            _put(table[key], wanted, value[key], other[key], other_value[key])
        elif isinstance(wanted, list):
            _put_array(table[key], wanted, value[key], other[key], other_value[key])
        else:
            raise Unusual("a value that neither side has")


def _put_array(array: Any, merged: list[Value], value: Value, other: Any, other_value: Value) -> None:
    if not isinstance(value, list) or not isinstance(other_value, list):
        raise Unusual("not an array")
    name = naming_key(merged, value, other_value)
    if name is not None and merged:
        raise Unusual("tables with names are edited as text")
    wanted = {frozen(member) for member in merged}
    for at in range(len(value) - 1, -1, -1):
        if frozen(value[at]) not in wanted:
            del array[at]
    present = [frozen(member) for member in value if frozen(member) in wanted]
    theirs = {frozen(member): item for member, item in zip(other_value, other, strict=True)}
    for at, member in enumerate(merged):
        if at >= len(present) or present[at] != frozen(member):
            if frozen(member) in present:
                raise Unusual("moved inside the array")
            array.insert(at, theirs[frozen(member)])
            present.insert(at, frozen(member))
