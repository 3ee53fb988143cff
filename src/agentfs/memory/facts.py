"""What a document says about itself: keys of its frontmatter, and xattrs for the same facts on any file.

A value that cannot be read is not a fact, and never an error: a note with `expires: soon` never expires.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar
from urllib.parse import unquote

from agentfs.memory import moments
from agentfs.memory.passages import clean
from agentfs.merge.forms import may_have_frontmatter
from agentfs.merge.frontmatter import divided
from agentfs.merge.values import Unusual
from agentfs.merge.yaml_keys import Said, Setting, is_mapping, said, with_keys

XATTR_PREFIX = b"user.agentfs."
KEYS = (
    "title",
    "tags",
    "importance",
    "expires",
    "ttl",
    "type",
    "links",
    "created",
    "date",
    "pinned",
    "superseded_by",
)
"""The frontmatter keys that are facts; each is also an xattr, `user.agentfs.<key>`."""
_READ = frozenset((*KEYS, "name"))
_DATES = frozenset(("expires", "created", "date"))
_LISTS = ("tags", "links")
FRONTMATTER_MAX = 64 * 1024
"""Characters. More than that between two `---` is no frontmatter."""
LISTED_MAX = 1000
"""Tags of a document, and links. What comes after is left out."""
_TEXT_MAX = 1000
"""Characters of a title, a type, a tag or a link."""

Fact = TypeVar("Fact")

_WORDS = {
    **dict.fromkeys(("none", "trivial", "lowest"), 0.0), "low": 0.25, "minor": 0.25,
    **dict.fromkeys(("medium", "normal", "moderate", "default"), 0.5),
    **dict.fromkeys(("high", "important", "major"), 0.75),
    **dict.fromkeys(("critical", "highest", "urgent", "essential"), 1.0),
}  # fmt: skip
_TRUE, _FALSE = ("true", "yes", "on", "1", "y"), ("false", "no", "off", "0", "n")
_PINNED_TYPES = ("instruction", "instructions")
_WIKI = re.compile(r"\[\[([^\[\]\n|#]{1,500})(?:#[^\[\]\n|]{0,500})?(?:\|[^\[\]\n]{0,500})?\]\]")
_TARGET = re.compile(r"\]\((?:<([^<>\n]{1,1000})>|([^()\s<>]{1,1000}))(?:[ \t]+[\"'(][^\n)]{0,500})?\)")
_DEFINED = re.compile(r"^ {0,3}\[(?!\^)[^\[\]\n]{1,500}\]:[ \t]+(\S{1,1000})", re.MULTILINE)
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//|#")
_INLINE_TAG = re.compile(r"(?<![^\s(,;])(?<!\]\()#([^\W_][\w/-]{0,99})(?![\w/#-])")
_COLOUR = re.compile(r"(?=.*\d)(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)
_CODE = re.compile(r"(`+)[^`\n]*\1")
_OLD_NUMBER = re.compile(r"\d{9}|\d{12}")
_NAME_DATE = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")


@dataclass(frozen=True, slots=True)
class Facts:
    title: str = ""
    """From the xattr or the frontmatter, else the first heading, else ""."""
    tags: tuple[str, ...] = ()
    """Without `#`, in order, no doubles."""
    importance: float | None = None
    """0 to 1; None: not said."""
    expires_ns: int | None = None
    """From `expires` (a date) or `ttl` (a duration after the file's mtime); None: never."""
    type: str = ""
    """A free word: note, decision, preference, instruction, log, conversation."""
    links: tuple[str, ...] = ()
    """Paths or `[[wiki]]` targets, from the key and from the text."""
    created_ns: int | None = None
    """From `created` or `date`, else from a date in the file's name; None: not said."""
    pinned: bool = False
    """A standing instruction: `pinned: true`, or the type `instruction`."""
    superseded: bool = False
    """It says `superseded_by`: another note stands in its place."""


def front(name: bytes, text: str) -> tuple[str, int]:
    """The YAML of the frontmatter, and where the text behind it begins. ("", 0): there is none."""
    if not may_have_frontmatter(name) or not text.startswith(("---", "\ufeff---")):
        return "", 0
    opening, yaml, closing, _ = divided(text)
    if not opening or len(yaml) > FRONTMATTER_MAX or not is_mapping(yaml):
        return "", 0
    return yaml, len(opening) + len(yaml) + len(closing)


def facts_of(
    name: bytes,
    yaml: str,
    xattrs: Mapping[bytes, bytes],
    *,
    mtime_ns: int,
    heading: str = "",
    prose: Iterable[str] = (),
) -> Facts:
    """`yaml`: the frontmatter; `heading`: the first one; `prose`: the Markdown whose inline tags and links count.

    An xattr wins over the frontmatter; tags and links of both are united.
    """
    inner: dict[str, Said] = {key: value for key, value in said(yaml, _READ).items() if value} if yaml else {}
    outer = _of_xattrs(xattrs)
    tags, links = [*_tags(outer.get("tags")), *_tags(inner.get("tags"))], []
    for value in (outer.get("links"), inner.get("links")):
        links.extend(_links(value))
    for text in prose:
        _read_prose(text, tags, links)
    type_ = _text(outer.get("type")) or _text(inner.get("type"))
    pinned = _first(_truth(keys.get("pinned")) for keys in (outer, inner))
    title = _text(outer.get("title")) or _text(inner.get("title")) or _text(inner.get("name"))
    return Facts(
        title=clean(title or heading[:_TEXT_MAX]),
        tags=_distinct(tags),
        importance=_first(importance(keys.get("importance")) for keys in (outer, inner)),
        expires_ns=_first(_expiry(keys, mtime_ns) for keys in (outer, inner)),
        type=clean(type_),
        links=_distinct(links),
        created_ns=_created(name, outer, inner),
        pinned=type_.lower() in _PINNED_TYPES if pinned is None else pinned,
        superseded=any(_links(keys.get("superseded_by")) for keys in (outer, inner)),
    )


def created_ns(name: bytes, yaml: str, xattrs: Mapping[bytes, bytes]) -> int | None:
    """`Facts.created_ns` alone."""
    return _created(name, _of_xattrs(xattrs), said(yaml, ("created", "date")) if yaml else {})


def with_facts(name: bytes, data: bytes, changes: Mapping[str, object]) -> bytes | None:
    """Markdown with keys of its frontmatter set (None: removed), the rest byte for byte.

    A value is a string, a number, a bool, a date, or a list of strings. Of `expires` and `ttl`, setting one removes
    the other. Where nothing is left to say the block goes; one that was written empty stays. None: this file cannot
    hold them (no Markdown, or a frontmatter that is not plain YAML).
    Raises TypeError for a value of another kind.
    """
    name = name.rpartition(b"/")[2]
    settings = {key: _setting(value) for key, value in changes.items()}
    for key, other in (("expires", "ttl"), ("ttl", "expires")):
        if settings.get(key) is not None:
            settings.setdefault(other, None)
    if not may_have_frontmatter(name):
        return None
    text = data.decode("utf-8", "surrogateescape")
    yaml, body = front(name, text)
    ending = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    if body:
        opening, _, closing, _ = divided(text)
    else:
        opening, closing, body = f"{bom}---{ending}", f"---{ending}", len(bom)
        if all(value is None for value in settings.values()):
            return data
    before = yaml
    known = said(yaml, frozenset(key.lower() for key in settings))
    needed = {key: value for key, value in settings.items() if not _says(known, key, value)}
    try:
        yaml = with_keys(yaml, needed, ending=ending, dates=_DATES)
    except Unusual:
        return None
    if before.strip() and not yaml.strip():
        bare = bom + text[body:]
        if not divided(bare)[0]:  # else what follows would be read as frontmatter
            return bare.encode("utf-8", "surrogateescape")
    edited = (opening + yaml + closing + text[body:]).encode("utf-8", "surrogateescape")
    return edited if front(name, edited.decode("utf-8", "surrogateescape"))[0] == yaml else None


def importance(value: Said) -> float | None:
    """0 to 1. Above 1, up to 10: tenths; above 10, up to 100: hundredths. Also `80%`, `4/5` and words."""
    word = _text(value).lower()
    if word in _WORDS:
        return _WORDS[word]
    number, _, whole = word.removesuffix("%").partition("/")
    try:
        amount = float(number) / (100 if word.endswith("%") else float(whole) if whole else 1)
    except (ValueError, ZeroDivisionError):
        return None
    if not math.isfinite(amount) or not 0 <= amount <= 100 or (amount > 1 and (whole or word.endswith("%"))):
        return None
    return amount if amount <= 1 else amount / 10 if amount <= 10 else amount / 100


def _says(known: Mapping[str, Said], key: str, value: Setting | None) -> bool:
    """Whether this is what stands there already, in whatever form."""
    there = known.get(key.lower())
    if value is None or there is None:
        return False
    if isinstance(value, bool):
        return _truth(there) is value
    if isinstance(value, int | float):
        try:
            return float(_text(there)) == value
        except ValueError:
            return False
    if isinstance(value, str):
        return there == value and bool(value)
    return (_tags(there) if key == "tags" else there) == list(value)


def _setting(value: object) -> Setting | None:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Sequence) and all(isinstance(member, str) for member in value):
        return list(value)
    raise TypeError(f"a fact is a string, a number, a bool, a date or a list of strings, not {type(value).__name__}")


def _of_xattrs(xattrs: Mapping[bytes, bytes]) -> dict[str, Said]:
    found: dict[str, Said] = {}
    for name, value in xattrs.items():
        key = name.removeprefix(XATTR_PREFIX).decode("utf-8", "replace")
        if name.startswith(XATTR_PREFIX) and key in KEYS and value:
            text = value[:FRONTMATTER_MAX].decode("utf-8", "replace").strip("\0 \t\r\n")
            found[key] = _json_list(text) if key in _LISTS and text.startswith("[") else text
    return {key: value for key, value in found.items() if value}


def _json_list(text: str) -> Said:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return (
        [str(member) for member in value if isinstance(member, str | int | float)]
        if isinstance(value, list)
        else text
    )


def _text(value: Said) -> str:
    return " ".join(value.split())[:_TEXT_MAX] if isinstance(value, str) else ""


def _first(facts: Iterable[Fact | None]) -> Fact | None:
    """The first that could be read."""
    return next((fact for fact in facts if fact is not None), None)


def _truth(value: Said) -> bool | None:
    word = _text(value).lower()
    return True if word in _TRUE else False if word in _FALSE else None


def _expiry(keys: Mapping[str, Said], mtime_ns: int) -> int | None:
    """A date without a time lasts until its end. A number that would be a moment before 2001 means something else."""
    said_ = _text(keys.get("expires"))
    at = None if _OLD_NUMBER.fullmatch(said_) else moments.moment(said_)
    if at is not None:
        return at.ns + (moments.DAY_NS if at.day_only else 0)
    lasts = moments.duration_ns(_text(keys.get("ttl")))
    return None if lasts is None or mtime_ns + lasts > moments.NS_MAX else mtime_ns + lasts


def _created(name: bytes, *sources: Mapping[str, Said]) -> int | None:
    for keys in sources:
        for key in ("created", "date"):
            at = moments.moment(_text(keys.get(key)))
            if at is not None:
                return at.ns
    dated = _NAME_DATE.search(name.decode("utf-8", "replace"))
    named = None if dated is None else moments.moment(dated[0])
    return None if named is None else named.ns


def _tags(value: Said) -> list[str]:
    """A list; or a string with its tags between commas, or, where there are none, between blanks."""
    if isinstance(value, str):
        value = re.split(r"[,\n]" if "," in value else r"\s", value)
    return [tag for member in value or () if (tag := " ".join(member.split()).lstrip("#").strip()[:_TEXT_MAX])]


def _links(value: Said) -> list[str]:
    """A list; or a string with its links between commas."""
    if isinstance(value, str):
        value = [value] if "[[" in value or "](" in value else re.split(r"[,\n]", value)
    found: list[str] = []
    for member in value or ():
        inside = [one[1] for one in _WIKI.finditer(member)] + [
            _target(one[1] or one[2]) for one in _TARGET.finditer(member)
        ]
        found.extend(inside or [member if "://" in member else re.split(r"[|#]", member)[0]])
    return [link for one in found if (link := one.strip()[:_TEXT_MAX])]


def _read_prose(text: str, tags: list[str], links: list[str]) -> None:
    """The tags and links in a piece of Markdown, outside of inline code."""
    if "#" not in text and "[" not in text:
        return
    text = _CODE.sub(" ", text) if "`" in text else text
    for found in _INLINE_TAG.finditer(text):
        if len(tags) < 2 * LISTED_MAX and not found[1].isdigit() and not _COLOUR.fullmatch(found[1]):
            tags.append(found[1].rstrip("/-"))
    if "[" not in text or len(links) >= 2 * LISTED_MAX:
        return
    links.extend(found[1].strip() for found in _WIKI.finditer(text))
    for found in (*_TARGET.finditer(text), *_DEFINED.finditer(text)):
        target = next(filter(None, found.groups()))
        if not _ELSEWHERE.match(target):
            links.append(_target(target))


def _target(target: str) -> str:
    """The path that a Markdown link means."""
    return target if "://" in target else unquote(re.split(r"[#?]", target)[0])


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    """In order, each once (whatever its case)."""
    found: dict[str, str] = {}
    for word in map(clean, words):
        if word and len(found) < LISTED_MAX:
            found.setdefault(word.casefold(), word)
    return tuple(found.values())
