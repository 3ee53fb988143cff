"""Where a file is in the view: its path in a volume ↔ the name of its object (docs/view.md, V-10 ff.).

A component that every store and tool takes is written as it is. Any other is written as `%%` and the component with
what is troublesome as `%XX`; so is one that begins with `%%` itself. A `%` elsewhere means nothing.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from agentfs.errors import AgentIdInvalid, InvalidArgument, NameTooLong
from agentfs.format.layout import VolumeKind
from agentfs.model.names import check_id, check_name
from agentfs.model.records import NAME_BYTES_MAX

OBJECT_NAME_BYTES_MAX: Final = 1024
"""S3, GCS and Azure; the root's own prefix counts."""
ROOTS: Final[dict[VolumeKind, str]] = {"home": "agents/", "space": "spaces/"}

_MARK = "%%"
_NONCHARACTERS = "\ufdd0-\ufdef\ufffe\uffff" + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}"
                                                       for plane in range(1, 17))  # fmt: skip
_TROUBLE = re.compile(f"[\\x00-\\x1f\\\\\\x7f-\\x9f\u2028\u2029\ud800-\udfff{_NONCHARACTERS}]")
"""Control characters, what no XML listing can carry, a backslash (a slash to some stores), and what is not UTF-8."""
_PLAIN = re.compile(r"(?!%%|\.agentfs-| ).*(?<![. ])", re.DOTALL)
"""Of the rest, names that a store or a tool would trim or needs for itself are not plain."""


def view_prefix(kind: VolumeKind, volume_id: str) -> str:
    """`agents/ada/`, `spaces/team/`: under this is the view of the volume. Raises `AgentIdInvalid`."""
    return f"{ROOTS[kind]}{check_id(volume_id)}/"


def object_name(
    kind: VolumeKind, volume_id: str, path: bytes, *, bytes_max: int = OBJECT_NAME_BYTES_MAX
) -> str | None:
    """The name of the object of the file at `path` (from the volume's root, no slash in front). Raises
    `AgentIdInvalid`.

    None: the file is not shown, because the name would be longer than `bytes_max` (UTF-8; the longest name without
    the root's prefix) or a component of it longer than 255, or because `path` is none.
    """
    parts = [_written(part) for part in path.split(b"/")]
    if None in parts:
        return None
    name = view_prefix(kind, volume_id) + "/".join(filter(None, parts))
    return name if len(name.encode()) <= bytes_max else None


def place_of(name: str) -> tuple[VolumeKind, str, bytes] | None:
    """Kind, id and path of the file whose object has this name: exactly the reverse of `object_name`. None: no file
    has such an object."""
    for kind, root in ROOTS.items():
        if name.startswith(root):
            volume_id, slash, rest = name.removeprefix(root).partition("/")
            parts = [_read(part) for part in rest.split("/")]
            if not slash or None in parts or not _is_id(volume_id):
                return None
            return kind, volume_id, b"/".join(part for part in parts if part is not None)
    return None


def _written(component: bytes) -> str | None:
    if not _can_be_named(component):
        return None
    text = component.decode("utf-8", "surrogateescape")
    if _is_plain(text):
        return text
    escaped = _TROUBLE.sub(_escape, text.replace("%", "%25"))
    if escaped.endswith((".", " ")):
        escaped = f"{escaped[:-1]}%{ord(escaped[-1]):02X}"
    written = _MARK + escaped
    return written if len(written.encode()) <= NAME_BYTES_MAX else None


def _read(part: str) -> bytes | None:
    """The component that is written so; None: none is."""
    try:
        component = unquote_to_bytes(part.removeprefix(_MARK)) if part.startswith(_MARK) else part.encode()
    except UnicodeEncodeError:
        return None
    return component if _written(component) == part else None


def _is_plain(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and _TROUBLE.search(text) is None


def _escape(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))


def _can_be_named(component: bytes) -> bool:
    try:
        check_name(component)
    except (InvalidArgument, NameTooLong):
        return False
    return True


def _is_id(text: str) -> bool:
    try:
        check_id(text)
    except AgentIdInvalid:
        return False
    return True
