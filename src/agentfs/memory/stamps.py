"""What a document is made of besides its bytes, in a word: equal words and equal bytes make equal documents."""

import os
import zlib
from collections.abc import Mapping

from agentfs.memory.documents import kind_of
from agentfs.memory.facts import created_ns
from agentfs.memory.sources import FACTS


def made_of(path: bytes, xattrs: Mapping[bytes, bytes], mtime_ns: int) -> str:
    """Of the attributes only those that are facts count."""
    facts = sorted((name, value) for name, value in xattrs.items() if name.startswith(FACTS))
    named = kind_of(path), created_ns(os.path.basename(path), "", {})
    return f"{mtime_ns}.{zlib.crc32(repr((facts, named)).encode())}.{ending(path)}"


def ending(path: bytes) -> str:
    """Of its name, in small letters and without the dot."""
    return os.path.splitext(path)[1][1:].lower().decode("latin-1")
