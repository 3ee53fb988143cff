"""Settings' values as people write them: sizes, durations, switches, words, lists."""

import re
from collections.abc import Callable
from typing import TypeAlias, cast

from agentfs.model.ignore import check_braces
from agentfs.model.retention import parse_policy

Value: TypeAlias = str | int | float | bool | tuple[str, ...]
Parse: TypeAlias = Callable[[object], Value]
"""From what a flag, a variable or the file holds to the value. Raises `ValueError` whose text says what is right."""

_UNITS = {
    "": 1, "b": 1,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
    "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*\Z")
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_SHOWN = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_BYTES_MAX = 1 << 62
_EMBEDDERS = {"static": False, "minilm": False, "sentence-transformers": True, "openai": True}
"""The kinds of the setting `embedder`, and whether a model is named with them."""


def size(value: object) -> int:
    """Bytes, from `10GiB`, `500MB`, `4096` or a number."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _BYTES_MAX:
        return value
    match = _NUMBER.match(value) if isinstance(value, str) else None
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or float(match[1]) * unit > _BYTES_MAX:
        raise ValueError("use a size such as 10GiB, 500MB or 4096")
    return int(float(match[1]) * unit)


def shown_size(size_bytes: int) -> str:
    """`size_bytes` as a person writes it, exact: `10GiB`, or plain bytes where no unit divides it."""
    for unit, factor in _SHOWN:
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


def about_size(size_bytes: int) -> str:
    """`size_bytes` rounded, for people: `1.4 MiB`."""
    for unit, factor in _SHOWN:
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} B"


def seconds(value: object) -> float:
    """Seconds, from `90`, `90s`, `1.5m` or a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
        return float(value)
    match = _NUMBER.match(value) if isinstance(value, str) else None
    unit = _SECONDS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError("use a duration such as 30s, 5m or 90")
    return float(match[1]) * unit


def shown_seconds(value: float) -> str:
    days, rest = divmod(value, 86400)
    return f"{days:.0f}d" if days and not rest else f"{value:.15g}s"


def switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError("use true or false")


def money(value: object) -> str:
    """An amount, with its currency if it was given: `5`, `0.50 EUR`. Empty: none."""
    given = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else text(value)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]{3})?", given)
    if given and match is None:
        raise ValueError("use an amount such as 5 or '5 USD'")
    return " ".join(part for part in (match[1], (match[2] or "").upper()) if part) if match else ""


def count(value: object) -> int:
    """A whole number, not below 0."""
    given = value.strip() if isinstance(value, str) else value
    if isinstance(given, str) and given.isascii() and given.isdigit():
        given = int(given)
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 1 << 60:
        return given
    raise ValueError("use a whole number")


def one_of(*words: str) -> Parse:
    def parse(value: object) -> str:
        if isinstance(value, str) and value.strip().lower() in words:
            return value.strip().lower()
        raise ValueError(f"use {' or '.join(words)}")

    return parse


def text(value: object) -> str:
    if isinstance(value, str) and "\0" not in value:
        return value.strip()
    raise ValueError("use text")


def policy(value: object) -> str:
    """What is kept of the history, as `model.retention` writes it."""
    return parse_policy(text(value)).text


def path(value: object) -> str:
    """An absolute path; `~` is left for the loader, which knows the home directory."""
    found = text(value)
    if not found.startswith(("/", "~")):
        raise ValueError("use an absolute path")
    return found


def path_if_any(value: object) -> str:
    """As `path`; empty: none."""
    return path(value) if text(value) else ""


def embedder_kind(name: str) -> tuple[str, str]:
    """The kind and the model that the setting `embedder` names. Raises `ValueError`. Whether it is installed shows
    when it is used."""
    kind, _, model = name.partition(":")
    if kind not in _EMBEDDERS or bool(model) != _EMBEDDERS[kind]:
        known = [f"{it}:<model>" if with_model else it for it, with_model in _EMBEDDERS.items()]
        raise ValueError(f"write {', '.join(known)} or off")
    return kind, model


def check_embedder(value: Value) -> None:
    if value != "off":
        embedder_kind(str(value))


def check_half_life(value: Value) -> None:
    if float(cast(float, value)) < 1:
        raise ValueError("use a time of 1s or more, such as 30d")


def check_globs(value: Value) -> None:
    check_braces(",".join(cast("tuple[str, ...]", value)))


def globs(value: object) -> tuple[str, ...]:
    """A list of patterns; in the environment and in flags separated by commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return tuple(value)
    raise ValueError("use a list of patterns")
