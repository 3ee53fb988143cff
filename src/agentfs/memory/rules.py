"""By which rules files become documents here. An index that was made by others is of no use to this machine."""

import unicodedata
from importlib import metadata
from importlib.util import find_spec

from agentfs.memory.index_file import SCHEMA_VERSION

DOCUMENT_RULES = 2
"""Add one whenever the same bytes make another document, other passages or other terms: a test says when."""
_LIBRARIES = ("PyStemmer", "selectolax", "pypdf")
"""Whose versions make a difference: of stems, of HTML, of PDF."""


def document_rules(counter: str) -> str:
    """`counter` names what counts the tokens."""
    made_with = [f"{name}-{version}" for name in _LIBRARIES if (version := _version(name))]
    unicode = f"unicode-{unicodedata.unidata_version}"
    return " ".join((f"{DOCUMENT_RULES}.{SCHEMA_VERSION}", counter, unicode, *made_with))


def _version(name: str) -> str:
    """Empty: it is not installed, or cannot be imported."""
    module = {"PyStemmer": "Stemmer"}.get(name, name)
    if find_spec(module) is None:
        return ""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"
