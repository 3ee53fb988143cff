"""What was committed: every entry that reached the log, read at that moment, before anybody can collect it."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from logged import Logged
from oracle import Oracle
from texts import kind_of, tokens

from agentfs.errors import Corrupt
from agentfs.format import layout
from agentfs.format.commit import decode_commit, inline_bytes
from agentfs.format.framing import ObjectKind, peek
from agentfs.model.records import ChunkedContent, Commit, Content, InlineContent, InodeId

VOLUME = layout.volume_name("space", "sim")
PREFIX = layout.volume_prefix("space", "sim")


@dataclass(slots=True)
class Record:
    oracle: Oracle
    bytes_of: dict[bytes, bytes] = field(default_factory=lambda: {hashlib.sha256(b"").digest(): b""})
    """Digest of a content or a chunk → its bytes."""
    names: dict[InodeId, str] = field(default_factory=dict)
    """The last name that each inode got."""
    committed: set[bytes] = field(default_factory=set)
    """Tokens of all contents of all commits."""
    logged: Logged = field(default_factory=Logged)
    judges: list[Callable[[Commit], None]] = field(default_factory=list)
    """Each is asked of a commit before it is part of `logged`."""

    def written(self, name: str, data: bytes) -> None:
        """An object was put."""
        if name.startswith(layout.log_prefix(PREFIX)) and peek(data)[0] is ObjectKind.COMMIT:
            self._commit(layout.parse_log_name(PREFIX, name), data)
        elif name.startswith(layout.blob_prefix(PREFIX)):
            self.bytes_of[hashlib.sha256(data).digest()] = data

    def _commit(self, sequence: int, data: bytes) -> None:
        commit, _ = decode_commit(data, volume=VOLUME, sequence=sequence)
        counts = self.oracle.counts
        counts["commits"] += 1
        for link in commit.links:
            self.names[link.child] = link.name.decode()
        for record in commit.inodes:
            content = record.content
            if isinstance(content, ChunkedContent):
                self.committed |= tokens(self.content(content))
            if isinstance(content, InlineContent) and content.sequence == sequence:
                found = self.bytes_of[content.digest] = inline_bytes(data, content)
                name = self.names.get(record.id, "")
                self.committed |= tokens(found)
                self.oracle.judge_content(found, kind_of(name), f"commit {sequence} by {commit.author}, {name}")
        for conflict in commit.conflicts:
            kept = " (kept aside)" if conflict.kept_as else ""
            mergeable = kind_of(conflict.name.decode()) != "binary" and conflict.kind == "content" and kept
            counts["text kept aside" if mergeable else f"conflict {conflict.kind}{kept}"] += 1
            if mergeable:
                counts["  " + re.sub("[0-9]+", "…", conflict.detail)[:90]] += 1
        for sides in commit.sides:
            for side in (sides.base, sides.earlier, sides.later):
                if side is not None:
                    self.oracle.sides |= tokens(self.content(side))
        for judge in self.judges:
            judge(commit)
        self.logged.apply(commit)

    def content(self, content: Content) -> bytes:
        """Raises `Corrupt` when it was never put."""
        if isinstance(content, ChunkedContent) and content.digest not in self.bytes_of:
            if any(chunk not in self.bytes_of for chunk in content.chunks):
                raise Corrupt("a content was committed whose chunks were not put before")
            self.bytes_of[content.digest] = b"".join(self.bytes_of[chunk] for chunk in content.chunks)
        return self.bytes_of[content.digest]

    def by_digest(self, digest: bytes) -> bytes:
        return self.bytes_of.get(digest, b"")
