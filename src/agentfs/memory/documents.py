"""Bytes of a file → its document: the facts and the passages, or None where there is no text."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from agentfs.memory import markdown
from agentfs.memory.facts import Facts
from agentfs.memory.passages import Passage, located

BYTES_MAX = 8 << 20
"""Bytes. A larger file is no document."""
_HEAD = 8192


@dataclass(frozen=True, slots=True)
class Document:
    kind: str
    """markdown, text, json, jsonl, code, html, pdf."""
    facts: Facts
    passages: tuple[Passage, ...]
    extracted: bool = False
    """The text was made from the bytes (pdf, html): lines and bytes are of that text."""


def document(path: bytes, data: bytes, xattrs: Mapping[bytes, bytes], *, mtime_ns: int) -> Document | None:
    """None: no text in it (binary, too large). Never raises for what a file holds."""
    if len(data) > BYTES_MAX or b"\0" in data[:_HEAD]:
        return None
    text = data.decode("utf-8", "surrogateescape")
    kind = "markdown" if os.path.splitext(path)[1].lower() in (b".md", b".markdown") else "text"
    passages = located(text, markdown.spans(text, headed=kind == "markdown"))
    title = next((one.headings[0] for one in passages if one.headings), "")
    return Document(kind, Facts(title=title), passages)
