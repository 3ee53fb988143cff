"""The frame around every binary object: what stands before and after the body (docs/format.md, F-20 ff.).

0   8  magic            89 41 46 53 0D 0A 1A 0A
8   2  format version   unsigned, big-endian
10  1  kind             1 commit, 2 snapshot, 3 stub, 4 pack, 5 pin, 6 announcement, 7 policy, 8 index, 9 lifecycle
11  1  zero
12  4  header length    unsigned, big-endian
16  8  body length      unsigned, big-endian
24     header           msgpack map with text keys
       body
-32 32 digest           SHA-256 of all bytes before it; the object's identity
"""

import enum
import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgpack

from agentfs.errors import Corrupt, NewerFormat
from agentfs.format.fields import rows, text
from agentfs.format.limits import (
    COMMIT_LINKS_MAX,
    DIGEST_BYTES,
    FEATURE_CHARACTERS_MAX,
    FEATURES_MAX,
    HEADER_BYTES_MAX,
    MAP_KEYS_MAX,
    OBJECT_BYTES_MAX,
)

MAGIC = b"\x89AFS\r\n\x1a\n"
"""As PNG's: shows 8-bit damage, newline conversion and truncation at a glance."""
FORMAT_VERSION = 1
LOCKS_FEATURE = "locks"
"""Locks and fences (F-90): who does not know them must not write."""
COLLECTION_FEATURE = "collection"
"""Stubs whose contents are in packs, chunks under other names (F-116): who does not know it would miss bytes."""
FEATURES_KNOWN: frozenset[str] = frozenset({"origin", LOCKS_FEATURE, COLLECTION_FEATURE})
"""Required features that this version understands (F-71)."""

_PREAMBLE = struct.Struct(">8sHBBIQ")
PREAMBLE_BYTES = _PREAMBLE.size
FRAME_BYTES_MIN = PREAMBLE_BYTES + 1 + DIGEST_BYTES

FEATURE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")


class ObjectKind(enum.IntEnum):
    COMMIT = 1
    SNAPSHOT = 2
    STUB = 3
    PACK = 4
    PIN = 5
    ANNOUNCEMENT = 6
    POLICY = 7
    INDEX = 8
    LIFECYCLE = 9


@dataclass(frozen=True, slots=True)
class Frame:
    """A verified object: magic, version, lengths, digest and required features are right."""

    kind: ObjectKind
    header: Mapping[str, object]
    body_start: int
    body_end: int
    digest: bytes


def seal(kind: ObjectKind, header: Mapping[str, object], sections: Iterable[bytes] = ()) -> tuple[bytes, bytes]:
    """The whole object and its digest. Raises `ValueError` when it is beyond the format's limits."""
    packed = pack(header)
    parts = list(sections)
    body_bytes = sum(map(len, parts))
    if len(packed) > HEADER_BYTES_MAX:
        raise ValueError(f"the header is {len(packed)} bytes long; {HEADER_BYTES_MAX} is the most")
    if PREAMBLE_BYTES + len(packed) + body_bytes + DIGEST_BYTES > OBJECT_BYTES_MAX:
        raise ValueError(f"the object is longer than {OBJECT_BYTES_MAX} bytes")
    preamble = _PREAMBLE.pack(MAGIC, FORMAT_VERSION, kind, 0, len(packed), body_bytes)
    whole = b"".join((preamble, packed, *parts))
    digest = hashlib.sha256(whole).digest()
    return whole + digest, digest


def verify(data: bytes) -> tuple[ObjectKind, bytes]:
    """The kind and the digest of an object, verified but for its header's content.

    Raises `Corrupt` for damage and `NewerFormat` for an intact object of a later format. The magic, the place of
    the version and the trailing digest are the same in every version (F-22), so damage is never taken for news.
    """
    kind, _, _, digest = _outside(data)
    return kind, digest


def open_frame(data: bytes, *, kind: ObjectKind) -> Frame:
    """Verify `data` and read its header. Raises `Corrupt` or `NewerFormat`."""
    found, header_bytes, body_bytes, digest = _outside(data)
    if found is not kind:
        raise Corrupt(f"it is a {found.name.lower()}, not a {kind.name.lower()}")
    body_start = PREAMBLE_BYTES + header_bytes
    header = unpack_map(data[PREAMBLE_BYTES:body_start], "the header")
    check_features(header.get("requires", []))
    return Frame(kind, header, body_start, body_start + body_bytes, digest)


def peek(data: bytes) -> tuple[ObjectKind, int]:
    """The kind and the header's length of an object of which only the first bytes are known: *not verified*. Raises
    `Corrupt`, `NewerFormat`."""
    if len(data) < PREAMBLE_BYTES:
        raise Corrupt(f"it is only {len(data)} bytes long")
    magic, version, kind, _, header_bytes, _ = _PREAMBLE.unpack_from(data)
    if magic != MAGIC or not version:
        raise Corrupt("it does not start with the magic of an AgentFS object")
    if version > FORMAT_VERSION:
        raise NewerFormat(f"it has format version {version}; this AgentFS reads up to {FORMAT_VERSION}: upgrade it")
    if header_bytes > HEADER_BYTES_MAX:
        raise Corrupt("its header is longer than the format allows")
    try:
        return ObjectKind(kind), header_bytes
    except ValueError:
        raise Corrupt(f"it is of unknown kind {kind}") from None


def unverified_header(head: bytes) -> dict[str, object]:
    """The header out of the first bytes of an object, as far as that can be checked. Raises `Corrupt`,
    `NewerFormat`."""
    _, header_bytes = peek(head)
    header = unpack_map(head[PREAMBLE_BYTES : PREAMBLE_BYTES + header_bytes], "the header")
    check_features(header.get("requires", []))
    return header


def _outside(data: bytes) -> tuple[ObjectKind, int, int, bytes]:
    if len(data) < FRAME_BYTES_MIN:
        raise Corrupt(f"it is only {len(data)} bytes long")
    magic, version, kind, zero, header_bytes, body_bytes = _PREAMBLE.unpack_from(data)
    if magic != MAGIC:
        raise Corrupt("it does not start with the magic of an AgentFS object")
    digest = bytes(data[-DIGEST_BYTES:])
    if hashlib.sha256(memoryview(data)[:-DIGEST_BYTES]).digest() != digest:
        raise Corrupt("its digest does not match its bytes")
    if version > FORMAT_VERSION:
        raise NewerFormat(
            f"it has format version {version}; this AgentFS reads up to {FORMAT_VERSION}: upgrade AgentFS"
        )
    if version == 0 or zero != 0:
        raise Corrupt("its preamble is not valid")
    if len(data) > OBJECT_BYTES_MAX or header_bytes > HEADER_BYTES_MAX:
        raise Corrupt("it is longer than the format allows")
    if PREAMBLE_BYTES + header_bytes + body_bytes + DIGEST_BYTES != len(data):
        raise Corrupt("its lengths do not add up")
    try:
        return ObjectKind(kind), header_bytes, body_bytes, digest
    except ValueError:
        raise Corrupt(f"it is of unknown kind {kind}") from None


def check_features(value: object, known: frozenset[str] = FEATURES_KNOWN) -> None:
    """Raise `NewerFormat` if `value`, a list of required features, names one that is not known."""
    for feature in rows(value, "'requires'", count_max=FEATURES_MAX):
        name = text(feature, "a required feature", bytes_max=FEATURE_CHARACTERS_MAX)
        if not FEATURE.match(name):
            raise Corrupt("a required feature's name is not valid")
        if name not in known:
            raise NewerFormat(f"it needs the feature '{name}', which this AgentFS does not know: upgrade AgentFS")


def pack(value: object) -> bytes:
    """msgpack, as the format writes it: shortest forms, text as str, bytes as bin."""
    packed = msgpack.packb(value, use_bin_type=True)
    assert isinstance(packed, bytes)
    return packed


def unpack_map(data: bytes | memoryview, what: str) -> dict[str, object]:
    """The msgpack map with text keys that fills `data` exactly. Raises `Corrupt`.

    Strings are bounded by the length of `data`, arrays and maps by the format's limits *before* they are
    allocated (the unpacker trusts a declared count); extension types and repeated keys are refused.
    """
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_unique,
            max_array_len=COMMIT_LINKS_MAX,
            max_map_len=MAP_KEYS_MAX,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise Corrupt(f"{what} is not valid msgpack: {type(error).__name__}") from error
    if type(value) is not dict or not all(type(key) is str for key in value):
        raise Corrupt(f"{what} is not a map with text keys")
    return value


def _unique(pairs: list[tuple[object, object]]) -> dict[object, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one map")
    return found
