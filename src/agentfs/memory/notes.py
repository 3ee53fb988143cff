"""A note as curation sees it, and what the names of notes say."""

import functools
import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentfs.memory.documents import kind_of, readable
from agentfs.memory.facts import XATTR_PREFIX, Facts, facts_of, front
from agentfs.memory.markdown import first_heading
from agentfs.memory.moments import DAY_NS
from agentfs.memory.names import ARCHIVE
from agentfs.memory.sameness import unfenced
from agentfs.merge import yaml_source
from agentfs.merge.forms import Form, form_of
from agentfs.merge.values import Unusual, Value
from agentfs.merge.yaml_keys import Said, said

KEYS = frozenset(("supersedes", "replaces", "superseded_by", "importance_at"))
"""What curation reads besides the facts."""

_FILED = re.compile(r"\Amemories/\d{4}-\d{2}/")
"""The month in which a memory was written says nothing about it."""
_COPY = re.compile(r"(?: \(\d{1,2}\)|[ _.-]copy(?: ?\d{1,2})?| \d{1,2}|-[2-9])\Z", re.IGNORECASE)
"""What programs put behind the name of a copy."""
_NUMBER = re.compile(r"\d+")
_COUNT = re.compile(r"\D+\d{1,3}")
_WORD = re.compile(r"[^\W\d_]+")
_NAMED = frozenset(
    """people person persons contacts users user customers clients team members agents projects project companies
    company orgs accounts hosts servers services repos products sites places countries cities""".split()  # noqa: SIM905
)
_GENERIC = frozenset(
    """note notes memo memory file doc document text draft copy duplicate dup backup original orig new old first
    second third one two three final version untitled temp tmp test inbox""".split()  # noqa: SIM905 - as words
)
_CONFLICT = re.compile(r"\.conflict-[A-Za-z0-9._-]+-\d{8}T\d{6}Z")


@dataclass(frozen=True, slots=True)
class Note:
    """A text file that curation may propose something for."""

    path: str
    """From the root of the volume."""
    sha256: str
    """Hex, of the file's bytes."""
    text: str
    """Without the frontmatter."""
    facts: Facts
    modified_ns: int
    keys: Mapping[str, Said] = field(default_factory=dict)
    """Those of `KEYS` that it has."""
    front: str = ""
    """The YAML of its frontmatter."""

    @property
    def stem(self) -> str:
        return os.path.splitext(os.path.basename(self.path))[0]


def note(path: str, data: bytes, xattrs: Mapping[bytes, bytes], *, mtime_ns: int) -> Note | None:
    """The note that a file is. None: it is none, but a program, data, or no UTF-8 text."""
    name = os.fsencode(path)
    base = os.path.basename(name)
    kind = kind_of(name)
    if form_of(base) is not Form.PROSE or kind not in ("markdown", "text"):
        return None
    read = readable(data)
    if read is None or read[1]:
        return None
    text = data.decode("utf-8", "replace")
    yaml, body = front(base, text)
    is_markdown = kind == "markdown"
    # Not `document`: the passages are not needed, and take as long as all the rest.
    facts = facts_of(
        base,
        yaml,
        xattrs,
        mtime_ns=mtime_ns,
        heading=first_heading(text, body) if is_markdown else "",
        prose=[unfenced(text[body:])] if is_markdown else (),
    )
    keys = said(yaml, KEYS) if yaml else {}
    for key in KEYS:
        if value := xattrs.get(XATTR_PREFIX + key.encode()):
            keys[key] = value.decode("utf-8", "replace")
    return Note(path, hashlib.sha256(data).hexdigest(), text[body:], facts, mtime_ns, keys, yaml)


@functools.lru_cache(maxsize=4096)
def keys_of(yaml: str) -> Mapping[str, Value]:
    """The keys of a frontmatter, in lower case. One that is not plain YAML is one key with all of it."""
    if not yaml.strip():
        return {}
    try:
        found = yaml_source.parse(yaml)
    except Unusual:
        found = None
    return {key.lower(): value for key, value in found.items()} if isinstance(found, dict) else {"": yaml}


def is_curated(path: str) -> bool:
    """Whether notes at this path are: not hidden ones, what is archived, or conflict copies (`agentfs resolve`)."""
    names = path.split("/")
    return names[0] != ARCHIVE and not any(name.startswith(".") for name in names) and not _CONFLICT.search(names[-1])


def series(path: str) -> tuple[str, ...]:
    """The numbers in a path: notes with different ones (days, chapters, versions) are members of a series. The number
    of a copy is none of them, nor is that of `note17`."""
    directory, name = os.path.split(_stem(path))
    words = _WORD.findall(name)
    counted = len(words) == 1 and not subject(name) and _COUNT.fullmatch(name)
    return tuple(_NUMBER.findall(directory if counted else _stem(path)))


def is_named(path: str) -> bool:
    """Whether it is in a directory of things that have names: a person's, a project's notes are about that one."""
    return not _NAMED.isdisjoint(part.casefold() for part in path.split("/")[:-1])


def subject(path: str) -> frozenset[str]:
    """The words of a name, or of a path, that say what a note is about."""
    words = (word.casefold() for word in _WORD.findall(_stem(path)))
    return frozenset(word for word in words if len(word) > 1 and word not in _GENERIC)


def _stem(path: str) -> str:
    stem = os.path.splitext(_FILED.sub("", path))[0]
    return _COPY.sub("", stem)


class Names:
    """Which note a link means, and how many notes link to one."""

    def __init__(self, notes: Sequence[Note]) -> None:
        self._paths = {note.path: note for note in notes}
        found: dict[str, list[Note]] = defaultdict(list)
        for note in notes:
            for name in {note.stem.casefold(), os.path.basename(note.path).casefold()}:
                found[name].append(note)
        self._names = {name: some[0] for name, some in found.items() if len(some) == 1}
        self._links: Counter[str] = Counter()
        for note in notes:
            targets = {target.path for link in note.facts.links if (target := self.meant(link, note)) is not None}
            self._links.update(targets - {note.path})

    def at(self, path: str) -> Note | None:
        return self._paths.get(path)

    def links_to(self, note: Note) -> int:
        """How many other notes link to it."""
        return self._links[note.path]

    def meant(self, link: str, source: Note) -> Note | None:
        """The note that a link of `source` leads to: `[[name]]`, `[[name|text]]`, `name.md`, a path from the root or
        from where `source` is. None: no note, or several."""
        bare = link.strip().removeprefix("[[").removesuffix("]]")
        bare = re.split(r"[|#]", bare, maxsplit=1)[0].strip().strip("`\"'<>")
        if not bare:
            return None
        here = os.path.normpath(os.path.join(os.path.dirname(source.path), bare))
        for path in (bare.lstrip("/"), here):
            for tried in (path, f"{path}.md"):
                if tried in self._paths:
                    return self._paths[tried]
        return self._names.get(os.path.basename(bare).casefold())


def days(duration_ns: int) -> str:
    """A duration for people."""
    count = duration_ns // DAY_NS
    if count:
        return f"{count} day{'s' if count > 1 else ''}"
    return f"{max(0, duration_ns) // (3600 * 10**9)} h"


def texts(said: Said) -> Sequence[str]:
    """The texts of a key that has one, or a list of them."""
    return [said] if isinstance(said, str) else said or []
