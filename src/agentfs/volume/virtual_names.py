"""What the name of a virtual node says. Pure.

notes.md:history       a word about a file, a directory, or with no base about the directory it is asked in
:recall?q=green+tea    a word with a query: `?q=…`, `?query=…` or bare words; `+` and `%XX` are decoded
notes.md@3, @v3        version 3 of the file
notes.md@@1234         the file right after commit 1234
notes.md@yesterday     the file at a moment: as `history.moments`, but that bare digits are a version
@yesterday, @1234      with no base, at the root: the whole tree at a moment; bare digits are a commit
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from agentfs.errors import AgentIdInvalid, InvalidArgument
from agentfs.history.moments import Moment, parse_moment
from agentfs.model.names import check_id

_DIGITS = re.compile(r"[0-9]{1,12}\Z")
_WORD = re.compile(rb":([a-z]+)(\?.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Query:
    """What stands behind `?`."""

    text: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    """What else was given as `name=value`, joined with `&`."""


@dataclass(frozen=True, slots=True)
class WordName:
    base: bytes
    word: str
    query: Query | None
    """None: there is no `?`."""


@dataclass(frozen=True, slots=True)
class MomentName:
    base: bytes
    moment: Moment

    @property
    def is_certain(self) -> bool:
        """Whether it can be nothing but a moment. Anything may be the name of a snapshot."""
        return self.moment.kind != "snapshot"


def parse_word(name: bytes, words: Collection[str]) -> WordName | None:
    """`name` as one of these words about something; None when it is not."""
    start = 0
    while (at := name.find(b":", start)) >= 0:
        match = _WORD.fullmatch(name, at)
        if match is not None and match[1].decode() in words:
            query = None if match[2] is None else parse_query(match[2][1:])
            return WordName(name[:at], match[1].decode(), query)
        start = at + 1
    return None


def parse_query(text: bytes) -> Query:
    """The text behind `?`. Bytes that are not UTF-8 are replaced: a query is words."""
    bare: list[str] = []
    options: dict[str, str] = {}
    for part in text.decode(errors="replace").split("&"):
        name, separator, value = part.partition("=")
        if separator and name.isidentifier():
            options[name] = unquote_plus(value)
        else:
            bare.append(unquote_plus(part))
    asked = options.pop("query", None), options.pop("q", None)
    return Query(next((it for it in reversed(asked) if it is not None), "&".join(bare)), options)


def parse_moment_name(name: bytes, *, now_ns: int) -> MomentName | None:
    """`name` as a file or the tree at a moment; None when it is not. `now_ns`: the wall clock."""
    base, separator, written = name.rpartition(b"@")
    if not separator:
        return None
    if base.endswith(b"@"):
        base, written = base[:-1], b"@" + written
    try:
        text = written.decode()
        if base and _DIGITS.match(text):
            text = "v" + text
        moment = parse_moment(text, now_ns=now_ns)
        if moment.kind == "snapshot":
            check_id(moment.text)
    except (UnicodeDecodeError, InvalidArgument, AgentIdInvalid):
        return None
    if moment.kind == "version" and not base:
        return None
    return MomentName(base, moment)
