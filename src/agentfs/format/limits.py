"""Bounds of the format (docs/format.md, F-60 ff.): every length is compared with one of these before it is used.

A decoder refuses what is beyond them as `Corrupt`, so that a hostile object costs at most its own size in memory
(snapshots: `SNAPSHOT_RAW_RATIO_MAX` times that). Raising one is a new required feature.
"""

from agentfs.model.records import CHUNK_BYTES, INDEX_BITS

DIGEST_BYTES = 32
COMMIT_ID_BYTES = 16
NO_PARENT = bytes(DIGEST_BYTES)
"""The parent digest of the first commit."""

SEQUENCE_FIRST = 1
SEQUENCE_MAX = (1 << (63 - INDEX_BITS)) - 1
"""So that an inode's number fits a signed 64-bit integer (SQLite's, and most languages')."""
INTEGER_MAX = (1 << 63) - 1
INTEGER_MIN = -(1 << 63)
ID_32_MAX = (1 << 32) - 1

HEADER_BYTES_MAX = 64 * 1024 * 1024
OBJECT_BYTES_MAX = 1024 * 1024 * 1024
FILE_CHUNKS_MAX = 1024 * 1024
FILE_BYTES_MAX = FILE_CHUNKS_MAX * CHUNK_BYTES
"""1 TiB: its chunk digests (32 MiB) still fit a header."""

TARGET_BYTES_MAX = 4095
XATTR_NAME_BYTES_MAX = 255
XATTR_VALUE_BYTES_MAX = 64 * 1024
XATTRS_MAX = 1024
COMMIT_LINKS_MAX = 100_000
"""Of links, of unlinks and of conflicts, each."""
COMMIT_IMPORTED_MAX = 10_000
CAUSE_BYTES_MAX = 2048
VIEW_NAME_BYTES_MAX = 1024
COMMIT_LOCKS_MAX = 10_000
"""Of locks and of fences, each; also of the locks of a snapshot."""
HOLDER_CHARACTERS_MAX = 128
REPLICA_CHARACTERS_MAX = 128
CONFLICT_KIND_CHARACTERS_MAX = 32
CONFLICT_DETAIL_BYTES_MAX = 4096
MAP_KEYS_MAX = 1024
FEATURES_MAX = 64
FEATURE_CHARACTERS_MAX = 64
ORIGINS_MAX = 32
"""Forks of forks."""

PIN_NOTE_BYTES_MAX = 1024
ANNOUNCED_MAX = 100_000
"""Of blobs and of packs in one announcement, each."""
PACK_CONTENTS_MAX = 65_536
PACK_BYTES_MAX = 64 * 1024 * 1024
"""Of a pack's contents together; a writer makes them smaller."""
PACK_ROWS_MAX = 50_000
"""Of versions and of evidence in one pack, each."""

SNAPSHOT_PAGE_ROWS_MAX = 65_536
SNAPSHOT_PAGE_VARIABLE_BYTES = 64 * 1024 * 1024
"""An encoder starts a new page when the targets, xattrs and chunk lists of one are longer than this."""
SNAPSHOT_PAGE_BYTES_MAX = 256 * 1024 * 1024
"""Of one page after decompression: the above, one inode more (97 MiB), and the fixed columns (7 MiB) fit."""
SNAPSHOT_PAGES_MAX = 4096
SNAPSHOT_RAW_BYTES_MAX = 4 * 1024 * 1024 * 1024
SNAPSHOT_RAW_RATIO_MAX = 1040
"""deflate cannot expand by more than 1032."""

CARRIED_BYTES_MAX = 256 * 1024 * 1024
"""Of a carried index; a writer leaves out what would make it longer than a quarter of this."""
CARRIED_PAGES_MAX = 4096
CARRIED_PAGE_BYTES_MAX = 64 * 1024 * 1024
"""Of one page after decompression."""
CARRIED_PAGE_FILES_MAX = 1024
CARRIED_PAGE_PASSAGES_MAX = 65_536
CARRIED_RULES_BYTES_MAX = 1024
