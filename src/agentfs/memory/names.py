"""Names of files that are made for notes."""

import itertools
import os
import re
import unicodedata
from collections.abc import Iterator

ARCHIVE = "archive"
"""The directory that archived notes go to."""

_APART = re.compile(r"[^\w]+")
_WORDS_MAX = 8
_CHARACTERS_MAX = 60
_NAME_BYTES_MAX = 255
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNWANTED = re.compile(r"[/\0-\x1f\x7f]+")


def is_archived(path: bytes) -> bool:
    """Whether it is the archive, or in it."""
    return path.partition(b"/")[0] == ARCHIVE.encode()


def beside(path: str) -> Iterator[str]:
    """`path`, then names beside it: `note-2.md`, `note-3.md`, …"""
    yield path
    directory, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    for number in itertools.count(2):
        mark = f"-{number}{extension}"
        yield os.path.join(directory, _cut(stem, _NAME_BYTES_MAX - len(os.fsencode(mark))) + mark)


def slug(text: str, *, wordless: str = "note") -> str:
    """The first words of a text, in any script, as a file's name, without an extension; `wordless` where it has
    none."""
    plain = unicodedata.normalize("NFC", _SURROGATE.sub(" ", text[:1000])).casefold()
    words = _APART.sub(" ", plain).replace("_", " ").split()[:_WORDS_MAX]
    name = "-".join(words)[:_CHARACTERS_MAX].strip("-")
    return _cut(name, _NAME_BYTES_MAX - 32) or wordless


def file_name(name: str, extension: str) -> str:
    """A name as it is, as far as a file can have it."""
    bare = _UNWANTED.sub("-", unicodedata.normalize("NFC", name)).strip().lstrip(".") or "note"
    return _cut(bare, _NAME_BYTES_MAX - 32 - len(extension)) + extension


def _cut(name: str, bytes_max: int) -> str:
    """At most so many bytes of a name, and no half character."""
    raw = os.fsencode(name)
    return name if len(raw) <= bytes_max else raw[:bytes_max].decode("utf-8", "ignore")
