"""Where a content's bytes are, as columns of the index. The one place that knows the kinds of places."""

from typing import TypeAlias

from agentfs.format.commit import split_digests
from agentfs.model.records import ChunkedContent, Content, InlineContent

ContentColumns: TypeAlias = tuple[bytes | None, int, int | None, int | None, bytes | None]
"""digest, size_bytes, at_sequence, at_offset, chunks."""
COLUMNS = "digest, size_bytes, at_sequence, at_offset, chunks"


def to_columns(content: Content | None) -> ContentColumns:
    """As the index keeps it."""
    if content is None:
        return None, 0, None, None, None
    if isinstance(content, InlineContent):
        return content.digest, content.size_bytes, content.sequence, content.offset, None
    return content.digest, content.size_bytes, None, None, b"".join(content.chunks)


def of_columns(columns: ContentColumns) -> Content | None:
    """The reverse."""
    digest, size_bytes, sequence, offset, chunks = columns
    if digest is None:
        return None
    if sequence is not None and offset is not None:
        return InlineContent(size_bytes, digest, sequence, offset)
    return ChunkedContent(size_bytes, digest, split_digests(chunks or b""))
