"""JSON lines: documents and passages as rows that other programs read, and rows as files again.

A row of a document is the whole file: what comes back is the same bytes, mode, time and attributes. A row of a
passage stands for itself, and comes back as a note.
"""

import base64
import binascii
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from agentfs.memory.documents import Document
from agentfs.memory.facts import Facts, with_facts
from agentfs.memory.moments import moment, written
from agentfs.memory.names import slug
from agentfs.memory.passages import Passage

Format: TypeAlias = Literal["passages", "documents", "text"]
FORMATS: tuple[Format, ...] = get_args(Format)
_NS_MAX = 2**63 - 1
_MODE_BITS = 0o777
"""What a row may say of a file's mode: nobody brings in a file that runs as somebody else."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a home, with what is said of it."""

    path: str
    data: bytes
    modified_ns: int
    mode: int = 0o644
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file that is to be imported."""

    path: str
    """Below the directory that the import goes to."""
    data: bytes
    source: str
    """Where it comes from: a file, a line."""
    modified_ns: int | None = None
    mode: int | None = None
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)


# ---- out ----------------------------------------------------------------------------------------------------


def rows(file: File, document: Document | None, format_: Format, *, agent: str) -> Iterator[Mapping[str, object]]:
    """The rows of one file. `document`: None where it has no text; only a row of format `documents` has it then."""
    if format_ == "documents":
        yield _document_row(file, document, agent)
    elif document is None:
        return
    elif format_ == "text":
        text = _whole(file, document)
        if text.strip():
            yield {"text": text}
    else:
        version = hashlib.sha256(file.data).hexdigest()
        for passage in document.passages:
            yield _passage_row(file, document.facts, passage, agent, version)


def line(row: Mapping[str, object]) -> bytes:
    """A row as a line. Names that are not UTF-8 are escaped."""
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row).encode() + b"\n"


def _document_row(file: File, document: Document | None, agent: str) -> Mapping[str, object]:
    return {
        "agentfs": "document",
        "path": file.path,
        **_bytes_fields(file.data),
        **_said(document.facts if document else Facts()),
        "date": written(file.modified_ns),
        "modified_ns": file.modified_ns,
        "mode": f"{file.mode:04o}",
        "xattrs": {name.decode("utf-8", "replace"): _bytes_fields(value) for name, value in file.xattrs.items()},
        "version": hashlib.sha256(file.data).hexdigest(),
        "agent": agent,
    }


def _passage_row(file: File, facts: Facts, passage: Passage, agent: str, version: str) -> Mapping[str, object]:
    at = passage.said_ns or facts.created_ns or file.modified_ns
    return {
        "agentfs": "passage",
        "path": file.path,
        "lines": [passage.first_line, passage.last_line],
        "text": passage.text,
        "headings": list(passage.headings),
        **_said(facts),
        "date": written(at),
        "author": passage.author,
        "version": version,
        "agent": agent,
    }


def _said(facts: Facts) -> Mapping[str, object]:
    return {
        "title": facts.title,
        "tags": list(facts.tags),
        "importance": facts.importance,
        "type": facts.type,
    }


def _whole(file: File, document: Document) -> str:
    """The text of a document; of one whose text is made from its bytes, its passages."""
    if document.extracted:
        return "\n\n".join(passage.text for passage in document.passages)
    return file.data.decode("utf-8", "replace")


def _bytes_fields(data: bytes) -> Mapping[str, str]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


# ---- in -----------------------------------------------------------------------------------------------------


def of_row(row: Mapping[str, Any], source: str) -> Incoming:
    """The file that a row stands for. Raises ValueError that says what is wrong with it."""
    if row.get("agentfs") == "document":
        return _of_document(row, source)
    if row.get("agentfs") == "passage":
        return _of_passage(row, source)
    text = next((row[key] for key in ("text", "content", "memory", "body") if isinstance(row.get(key), str)), None)
    if text is None:
        raise ValueError("a row has a text: `text`, `content`, `memory` or `body`")
    made_ns = time_of(row, "date", "created", "created_at", "timestamp", "updated_at")
    facts = {
        "title": _string(row, "title"),
        "tags": _strings(row, "tags"),
        "importance": _number(row, "importance"),
        "type": _string(row, "type"),
        "created": None if made_ns is None else written(made_ns),
    }
    return note_of(text, facts, source, name=slug(_string(row, "title") or text), modified_ns=made_ns)


def note_of(
    text: str, facts: Mapping[str, object], source: str, *, name: str, modified_ns: int | None = None
) -> Incoming:
    """A Markdown note with those of the facts that say something. `name`: its path without the extension."""
    said = {key: value for key, value in facts.items() if value not in (None, "", [], {})}
    body = (text if text.endswith("\n") else text + "\n").encode("utf-8", "replace")
    if body.startswith((b"---", b"\xef\xbb\xbf---")):
        body = b"\n" + body  # what it begins with is its text, and no frontmatter
    data = with_facts(b"note.md", body, said) if said else body
    if data is None:
        raise AssertionError("Markdown can hold facts")
    return Incoming(f"{name}.md", data, source, modified_ns)


def time_of(row: Mapping[str, Any], *keys: str) -> int | None:
    """The first of these keys that is a time, as nanoseconds since 1970."""
    for key in keys:
        value = row.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            value = str(int(value))
        found = moment(value) if isinstance(value, str) else None
        if found is not None:
            return found.ns
    return None


def _of_document(row: Mapping[str, Any], source: str) -> Incoming:
    path = row.get("path")
    if not isinstance(path, str) or not path:
        raise ValueError("a document has a path")
    data = _data(row)
    version = row.get("version")
    if isinstance(version, str) and version and hashlib.sha256(data).hexdigest() != version:
        raise ValueError(f"the bytes of {path} are not those of its version: the row was damaged, or edited")
    modified_ns, mode, xattrs = row.get("modified_ns"), row.get("mode"), row.get("xattrs") or {}
    if not isinstance(xattrs, dict) or not all(isinstance(value, dict) for value in xattrs.values()):
        raise ValueError("xattrs are names with their values")
    try:
        number = int(mode, 8) & _MODE_BITS if isinstance(mode, str) else None
    except ValueError:
        raise ValueError(f"the mode {mode!r} is not octal") from None
    if isinstance(modified_ns, int) and not -_NS_MAX <= modified_ns <= _NS_MAX:
        raise ValueError(f"no file can be of the time {modified_ns}")
    return Incoming(
        path,
        data,
        source,
        modified_ns if isinstance(modified_ns, int) and not isinstance(modified_ns, bool) else None,
        number,
        {name.encode(): _data(value) for name, value in xattrs.items() if name.startswith("user.")},
    )


def _of_passage(row: Mapping[str, Any], source: str) -> Incoming:
    text, path, lines = row.get("text"), row.get("path"), row.get("lines")
    if not isinstance(text, str) or not isinstance(path, str) or not path:
        raise ValueError("a passage has a path and a text")
    if not isinstance(lines, list) or len(lines) != 2 or not all(isinstance(number, int) for number in lines):
        raise ValueError("the lines of a passage are two numbers")
    made_ns = time_of(row, "date")
    headings = _strings(row, "headings")
    facts = {
        "title": headings[-1] if headings else _string(row, "title"),
        "tags": _strings(row, "tags"),
        "importance": _number(row, "importance"),
        "type": _string(row, "type"),
        "created": None if made_ns is None else written(made_ns),
        "source": f"{path}:{lines[0]}-{lines[1]}",
    }
    author = _string(row, "author")
    if author and not text.lstrip("*_ -").startswith(author):
        facts["author"] = author
    name = f"{os.path.splitext(path)[0]}/{lines[0]}-{lines[1]}"
    return note_of(text, facts, source, name=name, modified_ns=made_ns)


def _data(fields: Mapping[str, Any]) -> bytes:
    text, encoded = fields.get("text"), fields.get("base64")
    try:
        if isinstance(text, str):
            return text.encode("utf-8")
        if isinstance(encoded, str):
            return base64.b64decode(encoded, validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ValueError(f"the bytes cannot be read: {error}") from None
    raise ValueError("it has no bytes: neither `text` nor `base64`")


def _string(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _strings(row: Mapping[str, Any], key: str) -> list[str]:
    value = row.get(key)
    values = value if isinstance(value, list) else [value]
    return [" ".join(one.split()) for one in values if isinstance(one, str) and one.strip()]


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 else None
    )
