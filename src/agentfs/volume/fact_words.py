"""What is written to `:tags`, `:ttl` and `:meta` of a file, as changes of its facts. Pure.

:tags   `work, urgent` or one a line: these and no others; `+work -draft`: these more, these no more; `none`
:ttl    `7d`, `12h`, `P7D`: from now on so long; a date; `none`
:meta   `key: value` a line, as in frontmatter, or a JSON object; null takes a key away

What cannot be understood raises `InvalidArgument` with what would be: nothing is guessed.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentfs.errors import InvalidArgument
from agentfs.memory import moments

FACTS = "facts"
SET_FACTS = "set-facts"
"""Words of the engine's desk (`volume.facts`)."""

KEYS = ("title", "type", "tags", "importance", "pinned", "expires", "ttl", "created", "links")
_IN_ONE_LINE = frozenset(("importance", "pinned", "expires", "ttl", "created"))
"""Keys of which the value cannot go on in the next line."""
_YAML = frozenset("[{|>&*!'\"%@`?")
"""A value that begins so is left to who reads YAML."""
_NOTHING = frozenset(("", "none", "never", "null", "~"))
_TAGS_MAX = 1000
_TAG_CHARACTERS_MAX = 200
_TEXT_CHARACTERS_MAX = 1000
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_KEY = re.compile(r"([A-Za-z_]+)[ \t]*:(?=[ \t]|$)")
_ITEM = re.compile(r"(?m)^[ \t]*-[ \t]+")
"""Of a list as YAML has it."""

Value = str | float | bool | tuple[str, ...] | None
"""Of a fact; None takes it away."""


@dataclass(frozen=True, slots=True)
class TagChange:
    replace: tuple[str, ...] | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def of(self, tags: Sequence[str]) -> tuple[str, ...]:
        """The tags after the change. Case does not tell two tags apart."""
        kept = self.replace if self.replace is not None else tags
        removed = {it.casefold() for it in self.remove}
        found: dict[str, str] = {}
        for tag in (*kept, *self.add):
            if tag.casefold() not in removed:
                found.setdefault(tag.casefold(), tag)
        return tuple(found.values())


def parse_tags(text: str) -> TagChange:
    text = _ITEM.sub("", text)
    words = [word for word in re.split(r"[,\s]+", text) if word]
    signed = [word for word in words if word[0] in "+-"]
    if words and len(signed) == len(words):
        return TagChange(
            add=tuple(_tag(word[1:]) for word in words if word[0] == "+"),
            remove=tuple(_tag(word[1:]) for word in words if word[0] == "-"),
        )
    if signed:
        raise InvalidArgument("write either all tags (a, b) or what changes (+c -a), not both")
    listed = [part.strip() for part in re.split(r"[,\n]", text)]
    listed = [part for part in listed if part]
    if len(listed) == 1 and listed[0].casefold() in _NOTHING:
        listed = []
    if len(listed) > _TAGS_MAX:
        raise InvalidArgument(f"a file has at most {_TAGS_MAX} tags")
    return TagChange(replace=tuple(_tag(part) for part in listed))


def _tag(text: str) -> str:
    tag = text.strip().lstrip("#").strip()
    if not tag or len(tag) > _TAG_CHARACTERS_MAX or not tag.isprintable():
        raise InvalidArgument(f"a tag has 1 to {_TAG_CHARACTERS_MAX} characters that can be seen")
    return tag


def parse_ttl(text: str, *, now_ns: int) -> str | None:
    """When the file expires, in ISO 8601; None: never."""
    word = text.strip()
    if word.casefold() in _NOTHING:
        return None
    seconds_ns = moments.duration_ns(word)
    if seconds_ns is not None:
        return _date(now_ns + seconds_ns)
    found = moments.moment(word)
    if found is None:
        raise InvalidArgument(f"{_short(word)} is no time to live: write 7d, 12h, a date (2026-12-01), or none")
    if found.ns <= now_ns:
        raise InvalidArgument(f"{_short(word)} is past: remove the file, or write a time to come")
    return moments.written(found.ns)


def _date(ns: int) -> str:
    try:
        return moments.written(ns)
    except (ValueError, OverflowError, OSError):
        raise InvalidArgument("that is further away than a date can say: write none") from None


def parse_meta(text: str, *, now_ns: int) -> dict[str, Value]:
    """What is to be changed, by key. `ttl` comes as `expires`."""
    said = _of_json(text) if text.lstrip().startswith("{") else _of_lines(text)
    if not said:
        raise InvalidArgument("write `key: value` lines or a JSON object; the keys are " + ", ".join(KEYS))
    changes: dict[str, Value] = {}
    for key, value in said.items():
        if key not in KEYS:
            raise InvalidArgument(f"there is no fact {_short(key)}: the keys are {', '.join(KEYS)}")
        changes["expires" if key == "ttl" else key] = _value(key, value, now_ns)
    return changes


def _of_json(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"that is no JSON: {error}") from None
    return {str(key): value for key, value in found.items()}


def _of_lines(text: str) -> dict[str, object]:
    from agentfs.merge.yaml_keys import said  # noqa: PLC0415 - YAML is loaded where some is read

    lines = [line for line in text.splitlines() if line.strip() not in ("---", "...")]
    keys: dict[str, str] = {}
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#") or line[0] in " \t-":
            continue
        found = _KEY.match(line)
        if found is None:
            raise InvalidArgument(f"{_short(line)} is no `key: value`")
        keys.setdefault(found[1].lower(), line[found.end() :].strip())
    values = said("\n".join(lines) + "\n", frozenset(keys))
    for key, rest in keys.items():
        if values.get(key) is None and rest.casefold() not in _NOTHING:
            raise InvalidArgument(f"the value of {key} is neither a word, a number nor a list")
    return {key: values.get(key) for key in keys}


def _value(key: str, value: object, now_ns: int) -> Value:
    if value is None or value in ("", []):
        return None
    if key in ("tags", "links"):
        return _listed(key, value)
    if isinstance(value, list | dict):
        raise InvalidArgument(f"{key} is one value")
    text = str(value).strip()
    if key in ("expires", "ttl"):
        return parse_ttl(text, now_ns=now_ns)
    if key == "created":
        found = moments.moment(text)
        if found is None:
            raise InvalidArgument(f"{_short(text)} is no date: write 2026-11-21")
        return moments.written(found.ns)
    if key == "pinned":
        if text.lower() not in _TRUTH:
            raise InvalidArgument("pinned is true or false")
        return _TRUTH[text.lower()]
    if key == "importance":
        return _importance(text)
    if len(text) > _TEXT_CHARACTERS_MAX or not text.isprintable():
        raise InvalidArgument(f"{key} has at most {_TEXT_CHARACTERS_MAX} characters, in one line")
    return text


def _listed(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return parse_tags(value).of(()) if key == "tags" else (value.strip(),)
    if not isinstance(value, list) or not all(isinstance(it, str | int | float) for it in value):
        raise InvalidArgument(f"{key} is a list of words")
    words = tuple(str(it).strip() for it in value)
    if len(words) > _TAGS_MAX or any(len(it) > _TEXT_CHARACTERS_MAX or not it.isprintable() for it in words):
        raise InvalidArgument(f"{key} has at most {_TAGS_MAX} members, of {_TEXT_CHARACTERS_MAX} characters each")
    return TagChange(replace=tuple(map(_tag, words))).of(()) if key == "tags" else tuple(it for it in words if it)


def _importance(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise InvalidArgument("importance is a number from 0 to 1")
    return number


def check_tags(text: str) -> None:
    parse_tags(text)


def check_ttl(text: str, *, now_ns: int) -> None:
    parse_ttl(text, now_ns=now_ns)


def check_meta(text: str, *, now_ns: int) -> None:
    """Refuse lines that can never be right, whatever comes behind them: a list, and JSON, may go on."""
    if text.lstrip().startswith("{"):
        return
    for line in text.splitlines():
        if not line.strip() or line.startswith((" ", "\t", "-", "#", "...")):
            continue
        found = _KEY.match(line)
        if found is None:
            raise InvalidArgument(f"{_short(line)} is no `key: value`")
        key = found[1].lower()
        if key not in KEYS:
            raise InvalidArgument(f"there is no fact {_short(key)}: the keys are {', '.join(KEYS)}")
        value = f"{line[found.end() :]} ".partition(" #")[0].strip()
        if key in _IN_ONE_LINE and value.casefold() not in _NOTHING and value[0] not in _YAML:
            _value(key, value, now_ns)


def xattr_value(value: Value) -> bytes:
    """As an extended attribute holds it; not for None."""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, tuple):
        return json.dumps(list(value), ensure_ascii=False).encode()
    return str(value).encode()


def _short(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= 60 else words[:57] + "…")
