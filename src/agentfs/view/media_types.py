"""The media type of a file by its name and its first bytes. Python's own table is not used: it differs between its
versions and machines, and two mounts must write the same object."""

import codecs
from typing import Final

SEARCHED_BYTES: Final = 64 * 1024
"""Whether a file is text is decided by so many bytes."""
MARKDOWN: Final = "text/markdown"
OTHER: Final = "application/octet-stream"

_TYPES: Final = {
    MARKDOWN: "md markdown",
    "text/plain": "txt text log org rst adoc ini cfg conf env diff patch srt tex bib",
    "text/html": "html htm",
    "text/css": "css",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/calendar": "ics",
    "text/vcard": "vcf",
    "text/javascript": "js mjs cjs",
    "text/x-python": "py pyi",
    "text/x-shellscript": "sh bash zsh",
    "application/json": "json geojson webmanifest",
    "application/x-ndjson": "jsonl ndjson",
    "application/x-ipynb+json": "ipynb",
    "application/yaml": "yaml yml",
    "application/toml": "toml",
    "application/xml": "xml xsl xsd",
    "application/sql": "sql",
    "application/pdf": "pdf",
    "application/rtf": "rtf",
    "application/epub+zip": "epub",
    "application/zip": "zip",
    "application/gzip": "gz tgz",
    "application/x-bzip2": "bz2",
    "application/x-xz": "xz",
    "application/zstd": "zst",
    "application/x-tar": "tar",
    "application/x-7z-compressed": "7z",
    "application/vnd.sqlite3": "db sqlite sqlite3",
    "application/vnd.apache.parquet": "parquet",
    "application/wasm": "wasm",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "image/png": "png",
    "image/jpeg": "jpg jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/svg+xml": "svg",
    "image/bmp": "bmp",
    "image/tiff": "tif tiff",
    "image/vnd.microsoft.icon": "ico",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/ogg": "ogg oga opus",
    "audio/wav": "wav",
    "audio/flac": "flac",
    "video/mp4": "mp4 m4v",
    "video/webm": "webm",
    "video/quicktime": "mov",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "font/ttf": "ttf",
    "font/otf": "otf",
}
_BY_EXTENSION: Final = {extension: type_ for type_, extensions in _TYPES.items() for extension in extensions.split()}


def media_type(path: bytes, data: bytes) -> str:
    """With `charset=utf-8` for text that is UTF-8. A name that says nothing leaves it to the bytes."""
    text = is_text(data)
    type_ = _BY_EXTENSION.get(extension(path), "text/plain" if text else OTHER)
    return f"{type_}; charset=utf-8" if text and type_.startswith("text/") else type_


def is_markdown(path: bytes) -> bool:
    return _BY_EXTENSION.get(extension(path)) == MARKDOWN


def is_text(data: bytes) -> bool:
    """UTF-8 without NUL, as far as is looked."""
    head = data[:SEARCHED_BYTES]
    try:
        text, _ = codecs.utf_8_decode(head, "strict", len(head) == len(data))
    except UnicodeDecodeError:
        return False
    return "\0" not in text


def extension(path: bytes) -> str:
    """In lower case, without the dot; "" for `.env`."""
    stem, _, last = path.rpartition(b"/")[2].rpartition(b".")
    return last.decode("latin-1").lower() if stem else ""
