"""Where things are on the store: object names and their parsers (docs/format.md, F-10 ff.).

A *prefix* here is what `volume_prefix` returns, with its trailing slash; every name is relative to the store's root.
"""

import hashlib
import re
from typing import Final, Literal, TypeAlias, get_args

from agentfs.errors import AgentIdInvalid, Corrupt
from agentfs.format.limits import DIGEST_BYTES, SEQUENCE_FIRST, SEQUENCE_MAX
from agentfs.model.names import check_id

VolumeKind: TypeAlias = Literal["home", "space"]

STORE_FILE: Final = ".agentfs/store.json"
VOLUMES: Final = ".agentfs/volumes/"
SPACES: Final = ".agentfs/spaces/"

_DIGITS: Final = 16
_INVERT: Final = 10**_DIGITS - 1
_NUMBER = re.compile(r"[0-9]{16}\Z")
_BLOB = re.compile(r"([0-9a-f]{2})/([0-9a-f]{64})(?:-([0-9]{16}))?\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_TAG_CHARACTERS: Final = 16
_INDEX = re.compile(r"([0-9]{16})-([0-9a-f]{16})\Z")


def volume_name(kind: VolumeKind, volume_id: str) -> str:
    """`home-myagent`: what commits and snapshots carry as their `volume`. Raises `AgentIdInvalid`."""
    if kind not in get_args(VolumeKind):
        raise ValueError(f"a volume is a home or a space, not {kind!r}")
    return f"{kind}-{check_id(volume_id, what='agent id' if kind == 'home' else 'space name')}"


def parse_volume_name(name: str) -> tuple[VolumeKind, str]:
    """The reverse of `volume_name`. Raises `Corrupt`."""
    kind, _, volume_id = name.partition("-")
    try:
        check_id(volume_id, what="volume id")
    except AgentIdInvalid as error:
        raise Corrupt(f"{name!a} is not the name of a volume: {error}") from error
    if kind == "home":
        return "home", volume_id
    if kind == "space":
        return "space", volume_id
    raise Corrupt(f"{name!a} is not the name of a volume: it starts neither with 'home-' nor with 'space-'")


def space_file_name(space: str) -> str:
    """The object that says that a space exists. Raises `AgentIdInvalid`."""
    return f"{SPACES}{check_id(space, what='space name')}.json"


def parse_space_file_name(name: str) -> str:
    """The space of a space file's name. Raises `Corrupt`."""
    space = name.removeprefix(SPACES).removesuffix(".json")
    try:
        if space_file_name(space) == name:
            return space
    except AgentIdInvalid:
        pass
    raise Corrupt(f"{name!a} is not the name of a space's file")


def volume_prefix(kind: VolumeKind, volume_id: str) -> str:
    """`.agentfs/volumes/home-myagent/`: under this is everything of the volume but its view."""
    return f"{VOLUMES}{volume_name(kind, volume_id)}/"


def prefix_of(volume: str) -> str:
    """The prefix of the volume with this name. Raises `Corrupt`."""
    return volume_prefix(*parse_volume_name(volume))


def log_prefix(prefix: str) -> str:
    return f"{prefix}log/"


def log_name(prefix: str, sequence: int) -> str:
    """The object of log entry `sequence`."""
    return f"{prefix}log/{_checked(sequence):016d}"


def parse_log_name(prefix: str, name: str) -> int:
    """The sequence of a log entry's name. Raises `Corrupt`."""
    return _sequence(_number(log_prefix(prefix), name, "a log entry"), name)


def snapshot_prefix(prefix: str) -> str:
    return f"{prefix}snapshots/"


def snapshot_name(prefix: str, sequence: int) -> str:
    """The object of the snapshot at `sequence`; newer ones come first in a listing."""
    return f"{prefix}snapshots/{_INVERT - _checked(sequence):016d}"


def parse_snapshot_name(prefix: str, name: str) -> int:
    """The sequence of a snapshot's name. Raises `Corrupt`."""
    return _sequence(_INVERT - _number(snapshot_prefix(prefix), name, "a snapshot"), name)


def merge_prefix(prefix: str) -> str:
    return f"{prefix}merges/"


def merge_name(prefix: str, sequence: int) -> str:
    """The note that a fork, as it was after entry `sequence`, was merged."""
    return f"{prefix}merges/{_checked(sequence):016d}"


def parse_merge_name(prefix: str, name: str) -> int:
    """The sequence of a note's name. Raises `Corrupt`."""
    return _sequence(_number(merge_prefix(prefix), name, "a merge"), name)


def blob_prefix(prefix: str) -> str:
    return f"{prefix}blobs/"


def blob_name(prefix: str, digest: bytes, suffix: int = 0) -> str:
    """The object of the chunk whose SHA-256 is `digest`; with the number of an announcement as `suffix`, the one that
    is put while its plain name may be deleted (F-122)."""
    shown = _checked_digest(digest).hex()
    return f"{prefix}blobs/{shown[:2]}/{shown}" + (f"-{_checked(suffix):016d}" if suffix else "")


def parse_blob_name(prefix: str, name: str) -> tuple[bytes, int]:
    """The digest and the suffix (0: none) in a blob's name. Raises `Corrupt`."""
    head = blob_prefix(prefix)
    match = _BLOB.match(name[len(head) :]) if name.startswith(head) else None
    if match is None or not match[2].startswith(match[1]) or match[3] == "0" * _DIGITS:
        raise Corrupt(f"{name!a} is not the name of a blob under {head}")
    return bytes.fromhex(match[2]), int(match[3] or 0)


def pack_prefix(prefix: str) -> str:
    return f"{prefix}packs/"


def pack_name(prefix: str, digest: bytes) -> str:
    """The object of the pack with this digest."""
    return f"{prefix}packs/{_checked_digest(digest).hex()}"


def parse_pack_name(prefix: str, name: str) -> bytes:
    """The digest in a pack's name. Raises `Corrupt`."""
    head = pack_prefix(prefix)
    if not name.startswith(head) or not _DIGEST.match(name[len(head) :]):
        raise Corrupt(f"{name!a} is not the name of a pack under {head}")
    return bytes.fromhex(name[len(head) :])


def pin_prefix(prefix: str, kind: str = "") -> str:
    """Of all pins, or of those of one kind."""
    return f"{prefix}pins/{kind}/" if kind else f"{prefix}pins/"


def pin_name(prefix: str, kind: str, name: str) -> str:
    """The object of a pin. Raises `AgentIdInvalid` when `name` cannot name one."""
    return f"{pin_prefix(prefix, kind)}{check_id(name, what='name')}"


def parse_pin_name(prefix: str, name: str) -> tuple[str, str]:
    """Kind and name of a pin. Raises `Corrupt`."""
    head = pin_prefix(prefix)
    kind, _, rest = name[len(head) :].partition("/") if name.startswith(head) else ("", "", "")
    try:
        if kind in ("snapshot", "fork"):
            return kind, check_id(rest, what="name")
    except AgentIdInvalid as error:
        raise Corrupt(f"{name!a} is not the name of a pin: {error}") from error
    raise Corrupt(f"{name!a} is not the name of a pin under {head}")


def clock_name(prefix: str) -> str:
    """The object that is put to learn the store's time; what it holds means nothing."""
    return f"{prefix}clock"


def policy_prefix(prefix: str) -> str:
    return f"{prefix}retention/"


def policy_name(prefix: str, number: int) -> str:
    """The object of a retention policy; newer ones come first in a listing."""
    return f"{prefix}retention/{_INVERT - _checked(number):016d}"


def parse_policy_name(prefix: str, name: str) -> int:
    """The number of a retention policy's name. Raises `Corrupt`."""
    return _sequence(_INVERT - _number(policy_prefix(prefix), name, "a retention policy"), name)


def lifecycle_prefix(prefix: str) -> str:
    return f"{prefix}lifecycle/"


def lifecycle_name(prefix: str, number: int) -> str:
    """The object of a volume's lifecycle rules; newer ones come first in a listing."""
    return f"{prefix}lifecycle/{_INVERT - _checked(number):016d}"


def parse_lifecycle_name(prefix: str, name: str) -> int:
    """The number of the name of lifecycle rules. Raises `Corrupt`."""
    return _sequence(_INVERT - _number(lifecycle_prefix(prefix), name, "lifecycle rules"), name)


def announcement_prefix(prefix: str) -> str:
    return f"{prefix}collections/"


def announcement_name(prefix: str, number: int) -> str:
    """The object of an announcement of a collection; newer ones come first in a listing."""
    return f"{prefix}collections/{_INVERT - _checked(number):016d}"


def parse_announcement_name(prefix: str, name: str) -> int:
    """The number of an announcement's name. Raises `Corrupt`."""
    return _sequence(_INVERT - _number(announcement_prefix(prefix), name, "an announcement"), name)


def index_prefix(prefix: str) -> str:
    return f"{prefix}indexes/"


def index_name(prefix: str, sequence: int, rules: str) -> str:
    """The object of the index at `sequence` that was made by `rules`; newer ones come first in a listing."""
    tag = hashlib.sha256(rules.encode()).hexdigest()[:_TAG_CHARACTERS]
    return f"{prefix}indexes/{_INVERT - _checked(sequence):016d}-{tag}"


def parse_index_name(prefix: str, name: str) -> tuple[int, str]:
    """The sequence of an index's name, and what tells its rules from others. Raises `Corrupt`."""
    head = index_prefix(prefix)
    match = _INDEX.match(name[len(head) :]) if name.startswith(head) else None
    if match is None:
        raise Corrupt(f"{name!a} is not the name of an index under {head}")
    return _sequence(_INVERT - int(match[1]), name), match[2]


def view_mark_name(prefix: str) -> str:
    """The mark of the volume's view (docs/view.md, V-61)."""
    return f"{prefix}view"


def _checked_digest(digest: bytes) -> bytes:
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"a digest is {DIGEST_BYTES} bytes long, not {len(digest)}")
    return digest


def _number(head: str, name: str, what: str) -> int:
    digits = name[len(head) :]
    if not name.startswith(head) or not _NUMBER.match(digits):
        raise Corrupt(f"{name!a} is not the name of {what}: {head} and 16 digits")
    return int(digits)


def _sequence(number: int, name: str) -> int:
    if not SEQUENCE_FIRST <= number <= SEQUENCE_MAX:
        raise Corrupt(f"{name!a} names sequence {number}; {SEQUENCE_FIRST} to {SEQUENCE_MAX} are possible")
    return number


def _checked(sequence: int) -> int:
    if not SEQUENCE_FIRST <= sequence <= SEQUENCE_MAX:
        raise ValueError(f"sequence {sequence} is not between {SEQUENCE_FIRST} and {SEQUENCE_MAX}")
    return sequence
