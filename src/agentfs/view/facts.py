"""What a view object says of the version that it shows, as values and as texts (docs/view.md, V-20 ff.)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from agentfs.errors import AgentIdInvalid, Corrupt
from agentfs.format.layout import parse_volume_name
from agentfs.format.limits import DIGEST_BYTES, INTEGER_MAX, INTEGER_MIN, SEQUENCE_FIRST, SEQUENCE_MAX
from agentfs.model.names import check_id
from agentfs.model.records import INDEX_BITS, InodeId

KEYS: Final = ("version", "created", "modified", "author", "sequence", "volume", "file", "sha256")
"""In the order in which they are written."""
METADATA_PREFIX: Final = "agentfs-"
VERSION_MAX: Final = 10**12 - 1

_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INDEX_MASK = (1 << INDEX_BITS) - 1
_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
_FILE = re.compile(r"([0-9]{1,12})-([0-9]{1,8})", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.IGNORECASE | re.ASCII)
_TIME = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)(?:[Tt]|[ \t]+)(\d\d?):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?"
    r"(?:[ \t]*([Zz]|([+-])(\d\d?)(?::?(\d\d))?))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ViewFacts:
    """A version of a file. Read back from an object, each may be missing; then it is "", 0, b"" or None."""

    volume: str
    """Its name in the log: `home-ada`, `space-team`."""
    file: InodeId
    """The inode's number in the log."""
    sequence: int
    """The commit that this version came with."""
    digest: bytes
    """SHA-256 of exactly the file's bytes."""
    author: str = ""
    """Of that commit: the id of an agent."""
    version: int | None = None
    """As the file's history numbers it."""
    created_ns: int | None = None
    modified_ns: int | None = None

    @property
    def whole(self) -> bool:
        """Whether this says which file, which commit and which bytes."""
        return bool(self.volume and self.file and self.sequence and self.digest)


def texts_of(facts: ViewFacts) -> dict[str, str]:
    """The facts by key, in order, as printable ASCII. Raises ValueError for facts that no version has."""
    _check(facts)
    said = {
        "version": None if facts.version is None else str(facts.version),
        "created": None if facts.created_ns is None else time_text(facts.created_ns),
        "modified": None if facts.modified_ns is None else time_text(facts.modified_ns),
        "author": facts.author or None,
        "sequence": str(facts.sequence),
        "volume": facts.volume,
        "file": f"{facts.file >> INDEX_BITS}-{facts.file & _INDEX_MASK}",
        "sha256": facts.digest.hex(),
    }
    return {key: text for key, text in said.items() if text is not None}


def facts_of(texts: Mapping[str, str], *, whole: bool = False) -> ViewFacts | None:
    """The facts that these texts say. None: they do not say which version; `whole`: not by all four of file, volume,
    sequence and digest. What cannot be read is missing."""
    found = ViewFacts(
        volume=_volume(texts.get("volume", "")),
        file=_file(texts.get("file", "")),
        sequence=_sequence(texts.get("sequence", "")),
        digest=_digest(texts.get("sha256", "")),
        author=_author(texts.get("author", "")),
        version=_version(texts.get("version", "")),
        created_ns=time_ns(texts.get("created", "")),
        modified_ns=time_ns(texts.get("modified", "")),
    )
    if found.whole:
        return found
    named = bool(found.volume and found.file and found.sequence)
    return found if not whole and (named or found.digest) else None


def is_readable(key: str, text: str) -> bool:
    """Whether a fact of this key can say that."""
    return _READERS[key](text) not in ("", 0, b"", None)


def metadata_of(facts: ViewFacts) -> dict[str, str]:
    """The facts as an object's user metadata: lower-case keys, printable ASCII, less than 1 KiB in all."""
    return {METADATA_PREFIX + key: text for key, text in texts_of(facts).items()}


def facts_in_metadata(metadata: Mapping[str, str]) -> ViewFacts | None:
    """The reverse of `metadata_of`; other keys, and the case of keys, say nothing."""
    texts = {key.lower().removeprefix(METADATA_PREFIX): text.strip() for key, text in metadata.items()
             if key.lower().startswith(METADATA_PREFIX)}  # fmt: skip
    return facts_of(texts)


def time_text(ns: int) -> str:
    """`2026-11-21T17:52:03.5Z`: RFC 3339 in UTC, with as many digits after the point as are needed."""
    seconds, rest = divmod(ns, _NS)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def time_ns(text: str) -> int | None:
    """The reverse of `time_text`; also of what YAML tools make of it (a space, an offset, fewer digits)."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[place]) for place in range(1, 7))
    try:
        then = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    away = timedelta(hours=int(found[10] or 0), minutes=int(found[11] or 0)) * (-1 if found[9] == "-" else 1)
    ns = (then - _EPOCH - away) // timedelta(seconds=1) * _NS + int((found[7] or "").ljust(9, "0"))
    return ns if INTEGER_MIN <= ns <= INTEGER_MAX else None


def _check(facts: ViewFacts) -> None:
    if not _volume(facts.volume) or (facts.author and not _author(facts.author)):
        raise ValueError(f"{facts.volume!a} or {facts.author!a} is not the name of a volume or of an author")
    if not SEQUENCE_FIRST <= facts.sequence <= SEQUENCE_MAX or not 0 < facts.file <= INTEGER_MAX:
        raise ValueError(f"sequence {facts.sequence} or file {facts.file} is not possible")
    if len(facts.digest) != DIGEST_BYTES or not 0 <= (facts.version or 0) <= VERSION_MAX:
        raise ValueError("a digest has 32 bytes, a version at most 12 digits")
    for ns in (facts.created_ns, facts.modified_ns):
        if ns is not None and not INTEGER_MIN <= ns <= INTEGER_MAX:
            raise ValueError(f"{ns} ns is not a time")


def _volume(text: str) -> str:
    try:
        parse_volume_name(text)
    except Corrupt:
        return ""
    return text


def _author(text: str) -> str:
    try:
        return check_id(text)
    except AgentIdInvalid:
        return ""


def _sequence(text: str) -> int:
    number = int(text) if _NUMBER.fullmatch(text) else 0
    return number if number <= SEQUENCE_MAX else 0


def _file(text: str) -> InodeId:
    found = _FILE.fullmatch(text)
    if found is None or int(found[1]) > SEQUENCE_MAX or int(found[2]) > _INDEX_MASK:
        return 0
    return int(found[1]) << INDEX_BITS | int(found[2])


def _digest(text: str) -> bytes:
    return bytes.fromhex(text) if _DIGEST.fullmatch(text) else b""


def _version(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "version": _version, "created": time_ns, "modified": time_ns, "author": _author, "sequence": _sequence,
    "volume": _volume, "file": _file, "sha256": _digest,
}  # fmt: skip
