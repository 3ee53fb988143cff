"""A version of a file as an object of the view (docs/view.md, V-30 ff.)."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from agentfs.merge import yaml_source
from agentfs.merge.frontmatter import divided
from agentfs.merge.values import Unusual, Value
from agentfs.merge.yaml_keys import with_keys
from agentfs.view import block
from agentfs.view.facts import ViewFacts, metadata_of
from agentfs.view.media_types import SEARCHED_BYTES, is_markdown, is_text, media_type

_FENCE = "---"
_OTHER_FRONT = re.compile(rb"(?:---|\+\+\+[ \t]*\r?\n|\{[ \t]*\r?\n)")
"""What begins like a frontmatter. Nothing is put in front of it: other tools would not find it any more."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An object, as it is put."""

    data: bytes
    content_type: str
    metadata: Mapping[str, str]
    """User metadata: lower-case keys, printable ASCII, less than 1 KiB in all."""
    fronted: bool
    """Whether `data` has our block; else it is the file's bytes."""


def rendered(path: bytes, data: bytes, facts: ViewFacts) -> Rendered:
    """The object of the file at `path` that holds `data`. The same for the same arguments, on every machine.

    The file's own bytes are all there, in order: at most one piece was put between them, and `restored` takes
    exactly that out again. Raises ValueError: `facts` are of other bytes, or are none that a version has.
    """
    if hashlib.sha256(data).digest() != facts.digest:
        raise ValueError(f"the facts are of other bytes than those of {path!r}")
    fronted = _fronted(data, facts) if is_markdown(path) else None
    return Rendered(
        data=data if fronted is None else fronted,
        content_type=media_type(path, data),
        metadata=metadata_of(facts),
        fronted=fronted is not None,
    )


def _fronted(data: bytes, facts: ViewFacts) -> bytes | None:
    """With the block; None: byte for byte."""
    ending = "\r\n" if data[: data.find(b"\n") + 1].endswith(b"\r\n") else "\n"
    lines = block.written(facts, ending)
    start = len(block.BOM) if data.startswith(block.BOM) else 0
    # The author's own text may have what would be taken for our block. Ours goes in front of everything then, so that
    # it is the one that is found, whatever becomes of the metadata.
    has_block = block.found(data) is not None
    if not has_block and not is_text(data):
        return None
    if not has_block and _OTHER_FRONT.match(data, start):
        at = _place(data, lines, ending)
        if at is None:
            return None
    else:
        at = start
        lines = f"{_FENCE}{ending}{lines}{_FENCE}{ending}"
    made = data[:at] + lines.encode("ascii") + data[at:]
    back = block.found(made)
    return made if back is not None and back.facts == facts and data in back.rests else None


def _place(data: bytes, lines: str, ending: str) -> int | None:
    """Where the file's own frontmatter takes the block: behind its last line. None: it is not plain YAML, has a key
    of that name, or would say something else with the block."""
    head = data[:SEARCHED_BYTES].decode("utf-8", "ignore")
    opening, yaml, _, _ = divided(head)
    if not opening:
        return None
    try:
        probe = with_keys(yaml, {block.KEY: "x"}, ending=ending)
        if probe != f"{yaml}{block.KEY}: x{ending}":
            return None
        value = yaml_source.parse(yaml + lines)
    except Unusual:
        return None
    if not isinstance(value, dict) or value.pop(block.KEY, None) is None or value != _own(yaml):
        return None
    return len((opening + yaml).encode("utf-8"))


def _own(yaml: str) -> Value:
    """What the frontmatter says without the block; nothing but comments is an empty mapping."""
    try:
        return yaml_source.parse(yaml)
    except Unusual:
        return {}
