"""Reading fields of untrusted headers: each function returns the value with its type and bounds checked, or
raises `Corrupt` with the field's name. `bool` is never an integer here, and no value is converted."""

from collections.abc import Mapping

from agentfs.errors import Corrupt


def required(header: Mapping[str, object], key: str) -> object:
    try:
        return header[key]
    except KeyError:
        raise Corrupt(f"the field '{key}' is missing") from None


def integer(value: object, what: str, *, low: int, high: int) -> int:
    if type(value) is not int:
        raise Corrupt(f"{what} is not an integer")
    if not low <= value <= high:
        raise Corrupt(f"{what} is {value}, not between {low} and {high}")
    return value


def octets(value: object, what: str, *, low: int = 0, high: int) -> bytes:
    """Bytes, `low` to `high` of them."""
    if type(value) is not bytes:
        raise Corrupt(f"{what} is not a byte string")
    if not low <= len(value) <= high:
        raise Corrupt(f"{what} is {len(value)} bytes long, not {low} to {high}")
    return value


def text(value: object, what: str, *, bytes_max: int) -> str:
    if type(value) is not str:
        raise Corrupt(f"{what} is not text")
    if len(value.encode()) > bytes_max:
        raise Corrupt(f"{what} is longer than {bytes_max} bytes")
    return value


def rows(value: object, what: str, *, count_max: int) -> list[object]:
    if type(value) is not list:
        raise Corrupt(f"{what} is not an array")
    if len(value) > count_max:
        raise Corrupt(f"{what} has {len(value)} rows; {count_max} are possible")
    return value


def row(value: object, what: str, *, width: int) -> list[object]:
    if type(value) is not list:
        raise Corrupt(f"a row of {what} is not an array")
    if len(value) != width:
        raise Corrupt(f"a row of {what} has {len(value)} columns, not {width}")
    return value
