"""Bytes of a file → its document: the facts and the passages, or None where there is no text."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agentfs.memory import code, html_text, json_text, markdown, pdf_text, table_rows
from agentfs.memory.facts import Facts, created_ns, facts_of, front
from agentfs.memory.passages import Passage, Span, joined, located
from agentfs.merge.forms import may_have_frontmatter
from agentfs.merge.yaml_keys import written_at

BYTES_MAX = 8 << 20
"""Bytes. A larger file is no document."""
UNITS_MAX = 10_000
"""A text of more units has its neighbouring ones joined to passages of full size."""

_HEAD = 8192
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\v\f\r\x1b"))
_CONTROLS_MAX = 0.02
"""The part of the first bytes that may be control characters."""
_HIGH_MAX = 0.3
"""The part of a text in an old encoding that may be letters with accents."""
_DAMAGED_MAX = 0.001
"""The part of a UTF-8 text that may be broken; its passages then end where it is."""
_DAMAGED_BYTES = 8
"""Or so many bytes, in a text that has as many characters of several bytes."""
LINES_MAX = 250_000
"""A text of more lines is cut into passages of full size, whatever stands in it."""
_SPOKEN_KEYS = ("description", "summary", "abstract")
"""Entries of a frontmatter that are sentences, and passages."""

_LEFT_OUT = frozenset(b"svg lock map pem crt key asc sig b64 ipynb rtf ps eps patch diff sum".split())
"""Endings of text that nobody wrote to be read, or that says it in another file."""
_LEFT_OUT_ENDS = (b".min.js", b".min.css", b"-lock.json", b"-lock.yaml")
_LEFT_OUT_DIRECTORIES = frozenset(b".git .hg .svn .obsidian node_modules __pycache__".split())
_JSON = frozenset(b"json geojson webmanifest".split())
_JSON_LINES = frozenset(b"jsonl ndjson jsonlines".split())
_HTML = frozenset(b"html htm xhtml".split())
_SETTINGS = frozenset(b"toml yaml yml ini cfg conf properties env xml plist".split())
_ROWS = frozenset(b"csv tsv psv".split())
_PROSE = frozenset(b"txt text".split())
_HEADED = re.compile(r"[\ufeff\s]*#{1,6} \S")
"""How plain text begins that is written as Markdown."""
_CODE = frozenset(
    (
        b"py pyi js mjs cjs jsx ts tsx go rs c h cc cpp cxx hpp hh java kt kts scala rb php pl pm lua r jl "
        b"swift m mm cs fs vb sh bash zsh fish ps1 sql css scss less vue svelte ex exs erl hrl hs ml mli clj "
        b"cljs el lisp scm zig nim dart groovy gradle proto graphql tf hcl cmake mk nix vim v sol asm s jinja "
        b"j2 tcl awk"
    ).split()
)
_CODE_NAMES = frozenset(b"makefile dockerfile justfile rakefile gemfile procfile".split())


@dataclass(frozen=True, slots=True)
class Document:
    kind: str
    """markdown, text, json, jsonl, code, html, pdf."""
    facts: Facts
    passages: tuple[Passage, ...]
    extracted: bool = False
    """The text was made from the bytes (pdf, html, not UTF-8): lines and bytes are of that text."""


def document(path: bytes, data: bytes, xattrs: Mapping[bytes, bytes], *, mtime_ns: int) -> Document | None:
    """None: no text in it (binary, too large, a kind that is left out). Never raises for what a file holds."""
    kind = kind_of(path)
    if kind is None or len(data) > BYTES_MAX:
        return None
    name = path.rpartition(b"/")[2]
    if kind == "pdf":
        return _pdf(name, data, xattrs, mtime_ns)
    read = readable(data)
    if read is None:
        return None
    text, extracted = read
    if kind == "html":
        return _html(name, data if not extracted else text.encode(), xattrs, mtime_ns)
    yaml, start = front(name, text)
    day_ns = created_ns(name, yaml, xattrs)
    marked = kind == "markdown" or (kind == "text" and _is_marked(name, text))
    spans = [*_front_spans(text, yaml, start), *_spans(name, kind, text, start, marked=marked, day_ns=day_ns)]
    prose = [text[span.start : span.end] for span in spans if not span.code] if marked else ()
    heading = markdown.first_heading(text, start) if marked else ""
    facts = facts_of(name, yaml, xattrs, mtime_ns=mtime_ns, heading=heading, prose=prose)
    return Document(kind, facts, _passages(text, spans), extracted)


def kind_of(path: bytes) -> str | None:
    """What a file of this name is read as. None: it is left out."""
    *directories, name = path.lower().split(b"/")
    if not _LEFT_OUT_DIRECTORIES.isdisjoint(directories) or name.endswith(_LEFT_OUT_ENDS):
        return None
    stem, dot, ending = name.rpartition(b".")
    ending = ending if dot and stem else b""
    if ending in _LEFT_OUT:
        return None
    if ending == b"pdf" or ending in _HTML:
        return "pdf" if ending == b"pdf" else "html"
    if may_have_frontmatter(name):
        return "markdown"
    if ending in _JSON or ending in _JSON_LINES:
        return "json" if ending in _JSON else "jsonl"
    return "code" if ending in _CODE or name in _CODE_NAMES else "text"


def unread_kinds() -> tuple[str, ...]:
    """The kinds that are not read here because their library (the extra `documents`) is not installed."""
    return tuple(kind for kind, module in (("html", html_text), ("pdf", pdf_text)) if not module.AVAILABLE)


def endings_of(kind: str) -> tuple[str, ...]:
    """The endings of names of what is read with a library: `pdf`, `html`."""
    return tuple(sorted(it.decode() for it in _HTML)) if kind == "html" else (kind,)


def readable(data: bytes) -> tuple[str, bool] | None:
    """The text of the bytes, and whether it had to be made of them. None: these bytes are no text.

    A text whose bytes stand for themselves is UTF-8; what is broken in it becomes lone surrogates, so that it can be
    turned back. UTF-16 with its mark, and one-byte encodings of the West, are made into text.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
        return (text, True) if text.count("\ufffd") <= len(text) * _DAMAGED_MAX else None
    head = data[:_HEAD]
    if b"\0" in head or len(head) - len(head.translate(None, _CONTROLS)) > len(head) * _CONTROLS_MAX:
        return None
    try:
        return data.decode("utf-8"), False
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")
    good = len(text.encode("utf-8", "ignore").decode())
    bad = len(text) - good
    wide = len(data) - bad - good
    if bad <= max(len(text) * _DAMAGED_MAX, min(wide, _DAMAGED_BYTES)):
        return text, False
    if bad + wide > len(data) * _HIGH_MAX:
        return None
    return data.decode("cp1252", "replace"), True


def _is_marked(name: bytes, text: str) -> bool:
    stem, _, ending = name.lower().rpartition(b".")
    return (not stem or ending in _PROSE) and _HEADED.match(text) is not None


def _spans(name: bytes, kind: str, text: str, start: int, *, marked: bool, day_ns: int | None) -> Iterable[Span]:
    if text.count("\n") > LINES_MAX:
        return [Span(start, len(text))]
    if kind == "json":
        return json_text.spans(text, start)
    if kind == "jsonl":
        return json_text.line_spans(text, start)
    ending = name.lower().rpartition(b".")[2]
    if kind == "code" or ending in _SETTINGS:
        return code.spans(text, start)
    if ending in _ROWS:
        return table_rows.spans(text, start)
    return markdown.spans(text, start, marked=marked, day_ns=day_ns)


def _front_spans(text: str, yaml: str, start: int) -> Iterable[Span]:
    """What the frontmatter says in sentences."""
    if not yaml:
        return
    opening = text.index("\n", 0, start) + 1
    for begin, end in written_at(yaml, _SPOKEN_KEYS):
        yield Span(opening + begin, opening + end, code=True)


def _passages(text: str, spans: Sequence[Span]) -> tuple[Passage, ...]:
    return located(text, joined(spans) if len(spans) > UNITS_MAX else spans)


def _html(name: bytes, data: bytes, xattrs: Mapping[bytes, bytes], mtime_ns: int) -> Document | None:
    read = html_text.text_of(data)
    if read is None:
        return None
    title, text = read
    spans = list(markdown.spans(text))
    facts = facts_of(name, "", xattrs, mtime_ns=mtime_ns, heading=title or markdown.first_heading(text, 0))
    return Document("html", facts, _passages(text, spans), True)


def _pdf(name: bytes, data: bytes, xattrs: Mapping[bytes, bytes], mtime_ns: int) -> Document | None:
    read = pdf_text.pages_of(data)
    if read is None:
        return None
    title, pages = read
    text = "\n\n".join(pages)
    spans, at = [], 0
    for number, page in enumerate(pages, 1):
        for span in markdown.spans(page, marked=False):
            headings = (f"page {number}", *span.headings)
            spans.append(replace(span, start=span.start + at, end=span.end + at, headings=headings))
        at += len(page) + 2
    facts = facts_of(name, "", xattrs, mtime_ns=mtime_ns, heading=title)
    return Document("pdf", facts, _passages(text, spans), True)
