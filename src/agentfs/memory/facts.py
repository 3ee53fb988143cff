"""What a document says about itself: keys of its frontmatter, and xattrs for the same facts on any file."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    title: str = ""
    """From the xattr or the frontmatter, else the first heading, else ""."""
    tags: tuple[str, ...] = ()
    """Without `#`, in order, no doubles."""
    importance: float | None = None
    """0 to 1; None: not said."""
    expires_ns: int | None = None
    """From `expires` (a date) or `ttl` (a duration after the file's mtime); None: never."""
    type: str = ""
    """A free word: note, decision, preference, instruction, log, conversation."""
    links: tuple[str, ...] = ()
    """Paths or `[[wiki]]` targets, from the key and from the text."""
    created_ns: int | None = None
    """From `created` or `date`; None: not said."""
    pinned: bool = False
    """A standing instruction: `pinned: true`, or the type `instruction`."""


def with_facts(name: bytes, data: bytes, changes: Mapping[str, object]) -> bytes | None:
    """Markdown with its frontmatter edited, the rest byte for byte. None: this file cannot hold them."""
    return None
