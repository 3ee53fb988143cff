"""What kind of content a file's name promises, as far as merging cares."""

import enum


class Form(enum.Enum):
    PROSE = "prose"
    """Text for people: headings, paragraphs, lists, tables; sentences inside a line can be merged."""
    RECORDS = "records"
    """One record a line; the order of appending matters, nothing else does."""
    PLAIN = "plain"
    """Any other text (programs, settings): lines and nothing finer."""
    STRICT = "strict"
    """As plain, but two versions of a line side by side would break the file's syntax."""
    JSON = "json"
    TOML = "toml"
    YAML = "yaml"
    BINARY = "binary"
    """Never merged, whatever its bytes are."""


_BY_EXTENSION = {
    **dict.fromkeys(
        ("md", "markdown", "mdown", "mdx", "mdc", "qmd", "rmd", "txt", "text", "org", "rst", "adoc"), Form.PROSE
    ),
    **dict.fromkeys(("jsonl", "ndjson", "jsonlines", "log", "csv", "tsv", "psv"), Form.RECORDS),
    **dict.fromkeys(("xml", "svg", "xhtml", "plist", "rss", "atom", "json5", "jsonc"), Form.STRICT),
    **dict.fromkeys(("json", "geojson", "ipynb", "webmanifest"), Form.JSON),
    **dict.fromkeys(
        ("patch", "diff", "lock", "pem", "crt", "key", "asc", "sig", "b64", "svgz", "pdf", "rtf"), Form.BINARY
    ),
    "toml": Form.TOML,
    **dict.fromkeys(("yaml", "yml"), Form.YAML),
}
_FRONTED = {"md", "markdown", "mdown", "mdx", "mdc", "qmd", "rmd"}
_NOTES = {"readme", "notes", "todo", "changelog", "memory", "journal", "log"}
"""Names without an extension that people give to prose."""


def form_of(name: bytes) -> Form:
    extension = _extension(name)
    if not extension:
        return Form.PROSE if name.decode("utf-8", "replace").lower() in _NOTES else Form.PLAIN
    return _BY_EXTENSION.get(extension, Form.PLAIN)


def may_have_frontmatter(name: bytes) -> bool:
    return _extension(name) in _FRONTED


def _extension(name: bytes) -> str:
    stem, dot, extension = name.decode("utf-8", "replace").rpartition(".")
    return extension.lower() if dot and stem else ""
