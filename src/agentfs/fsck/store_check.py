"""A volume on a store, checked from its first entry to its last: the log dense and chained, the commits fitting each
other, the snapshots equal to the replayed log, every content there."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from agentfs.errors import Corrupt, NewerFormat, ObjectNotFound, StoreError
from agentfs.format import layout
from agentfs.format.commit import decode_commit
from agentfs.format.framing import ObjectKind, verify
from agentfs.format.limits import NO_PARENT
from agentfs.format.snapshot import decode_snapshot_rows
from agentfs.format.snapshot_rows import SnapshotRows
from agentfs.format.store_file import decode_store_file
from agentfs.format.stub import Stub, decode_stub
from agentfs.fsck.findings import Findings
from agentfs.fsck.kept_check import KeptCheck
from agentfs.fsck.replay import LogTree
from agentfs.log.contents import Contents
from agentfs.log.log import Log
from agentfs.model.records import CHUNK_BYTES, ChunkedContent, InlineContent
from agentfs.stores.protocol import Store

Progress = Callable[[str, int, int], None]
"""(what, done, of)."""

_PAGE = 1000
_SHOWN_DIFFERENCES = 3
_UNKNOWN_TREE = ("log-gap", "log-entry-damaged", "chain-broken", "origin-damaged")


def _quiet(_what: str, _done: int, _of: int) -> None:
    pass


@dataclass(slots=True)
class StoreState:
    """What the check learned, for the check of a replica and for the repair."""

    findings: Findings
    last_sequence: int = 0
    digests: dict[int, bytes] = field(default_factory=dict)
    """Digest of the commit at each sequence, where it could be read."""
    tree: LogTree | None = field(default_factory=LogTree)
    """After the last entry; None when it cannot be known."""
    kept: LogTree | None = None
    """After the entry that was asked for."""
    missing_blobs: set[bytes] = field(default_factory=set)
    bad_snapshots: list[str] = field(default_factory=list)
    """Names of snapshots that are damaged or wrong: derived data, to be dropped."""


class StoreCheck:
    """One run over one volume. Reads only."""

    def __init__(
        self,
        store: Store,
        kind: layout.VolumeKind,
        volume_id: str,
        *,
        deep: bool = False,
        keep_at: int | None = None,
        progress: Progress = _quiet,
    ) -> None:
        """`deep` reads every chunk, and every content inside commits again where it is referred to from a later one;
        `keep_at` keeps the tree after that entry."""
        self._store = store
        self._volume = layout.volume_name(kind, volume_id)
        self._prefix = layout.volume_prefix(kind, volume_id)
        self._deep = deep
        self._keep_at = keep_at
        self._progress = progress
        self._state = StoreState(Findings())
        self._sections: set[tuple[int, int, int, bytes]] = set()
        self._snapshots: dict[int, SnapshotRows] = {}
        self._log = Log(store, kind, volume_id)
        self._contents_read = Contents(store, self._log)
        self._blobs: dict[bytes, tuple[str, int]] = {}
        self._inherited: dict[bytes, tuple[str, int]] | None = None
        """Chunks of the volumes that a fork comes from: name and size."""

    def run(self) -> StoreState:
        """Raises `StoreUnavailable`, `StoreDenied`, `BucketNotFound`, and `NewerFormat`; all else is a finding."""
        self._store_file()
        origin = self._origin()
        if origin is not None and origin.ended:
            self._add("volume-deleted", self._prefix, f"{self._volume} was deleted")
            return self._state
        self._read_snapshots()
        self._replay(origin)
        self._contents()
        KeptCheck(self._store, self._log, self._contents_read, self._state.findings, self._has_chunk).run()
        return self._state

    def _add(self, kind: str, place: str, detail: str) -> None:
        self._state.findings.add(kind, place, detail)

    def _listed(self, prefix: str) -> Iterator[tuple[str, int]]:
        after = ""
        while True:
            page = self._store.list(prefix, after=after, limit=_PAGE)
            for entry in page:
                yield entry.name, entry.size_bytes
            if len(page) < _PAGE:
                return
            after = page[-1].name

    # ---- one by one ----

    def _store_file(self) -> None:
        try:
            decode_store_file(self._store.get(layout.STORE_FILE).data)
        except NewerFormat:
            raise
        except (ObjectNotFound, Corrupt) as error:
            self._add("store-file", layout.STORE_FILE, str(error))

    def _origin(self) -> Stub | None:
        """What makes a fork one; where it is damaged, the check of entry 1 says so."""
        try:
            stub = self._log.origin()
        except Corrupt:
            return None
        if stub is not None:
            self._log.origins = stub.origins
        return stub

    def _read_snapshots(self) -> None:
        for name, _ in self._listed(layout.snapshot_prefix(self._prefix)):
            try:
                sequence = layout.parse_snapshot_name(self._prefix, name)
            except Corrupt as error:
                self._add("stray-object", name, str(error))
                continue
            try:
                snapshot = decode_snapshot_rows(self._store.get(name).data, volume=self._volume)
                if snapshot.sequence != sequence:
                    raise Corrupt(f"it is of entry {snapshot.sequence}")
            except Corrupt as error:
                self._add("snapshot-damaged", name, str(error))
                self._state.bad_snapshots.append(name)
            else:
                self._snapshots[sequence] = snapshot

    def _sequences(self) -> list[int]:
        found = []
        for name, _ in self._listed(layout.log_prefix(self._prefix)):
            try:
                found.append(layout.parse_log_name(self._prefix, name))
            except Corrupt as error:
                self._add("stray-object", name, str(error))
        return sorted(found)

    def _begin(self, origin: Stub) -> bytes:
        """A fork begins with the tree of its parent. The digest of the entry it begins after."""
        state, sequence = self._state, origin.snapshot
        state.last_sequence, state.digests[sequence] = sequence, origin.commit_digest
        try:
            snapshot = self._log.snapshot_at(sequence)
        except Corrupt as error:
            self._add("origin-damaged", origin.origins[0].volume, str(error))
            snapshot = None
        if snapshot is None or snapshot.commit_digest != origin.commit_digest:
            self._add("origin-damaged", origin.origins[0].volume, f"there is no right snapshot at {sequence}")
            state.tree = None
        else:
            state.tree = LogTree.of_snapshot(snapshot)
            state.kept = state.tree.copy() if sequence == self._keep_at else None
        self._compare_snapshot(sequence, origin.commit_digest)
        return origin.commit_digest

    def _replay(self, origin: Stub | None) -> None:
        state = self._state
        sequences = self._sequences()
        expected, parent = 1, NO_PARENT
        if origin is not None:
            expected, parent = self._log.first_own, self._begin(origin)
            sequences = [sequence for sequence in sequences if sequence != 1]
        for at, sequence in enumerate(sequences):
            self._progress("log", at, len(sequences))
            name = layout.log_name(self._prefix, sequence)
            if sequence != expected:
                self._add("log-gap", name, f"entries {expected} to {sequence - 1} are missing")
                state.tree, parent = None, b""
            found = self._entry(name, sequence, parent)
            parent = found or b""
            if found:
                state.digests[sequence] = found
            self._compare_snapshot(sequence, found)
            if sequence == self._keep_at and state.tree is not None:
                state.kept = state.tree.copy()
            state.last_sequence, expected = sequence, sequence + 1
        if self._keep_at == 0:
            state.kept = LogTree()
        begins = {origin.snapshot} if origin is not None else set()
        for sequence in self._snapshots.keys() - set(sequences) - begins:
            name = layout.snapshot_name(self._prefix, sequence)
            self._add("snapshot-wrong", name, f"the log has no entry {sequence}")
            state.bad_snapshots.append(name)
        if state.tree is None and not state.findings.of(*_UNKNOWN_TREE):
            self._add("snapshot-missing", self._prefix, "the tree cannot be known")
        self._progress("log", len(sequences), len(sequences))

    def _entry(self, name: str, sequence: int, parent: bytes) -> bytes | None:
        """Check one entry and apply it. Its digest; None when it cannot be read."""
        state = self._state
        try:
            data = self._store.get(name).data
            kind, _ = verify(data)
            if kind is ObjectKind.STUB:
                stub = decode_stub(data, volume=self._volume, sequence=sequence)
                self._chained(name, stub.parent, parent)
                state.tree = None
                return stub.commit_digest
            commit, digest = decode_commit(data, volume=self._volume, sequence=sequence)
        except (Corrupt, ObjectNotFound) as error:
            self._add("log-entry-damaged", name, str(error))
            state.tree = None
            return None
        self._chained(name, commit.parent, parent)
        for record in commit.inodes:
            content = record.content
            if isinstance(content, InlineContent) and content.sequence == sequence:
                self._sections.add((sequence, content.offset, content.size_bytes, content.digest))
        if state.tree is not None:
            for wrong in state.tree.apply(commit):
                self._add("commit-illegal", name, wrong)
            for it in state.tree.broken:
                self._add("fence-broken", name, f"inode {it.inode}: {it.reason}")
        return digest

    def _chained(self, name: str, parent: bytes, expected: bytes) -> None:
        if expected and parent != expected:
            self._add("chain-broken", name, "its parent's digest is not that of the entry before it")

    def _compare_snapshot(self, sequence: int, digest: bytes | None) -> None:
        """A snapshot is the tree where that is not known, and is judged where it is."""
        snapshot = self._snapshots.get(sequence)
        if snapshot is None:
            return
        name = layout.snapshot_name(self._prefix, sequence)
        wrong = []
        if digest and snapshot.commit_digest != digest:
            wrong = ["it was made after another commit"]
        elif self._state.tree is not None:
            wrong = self._state.tree.differences(snapshot)
        if wrong:
            self._add("snapshot-wrong", name, "; ".join(wrong[:_SHOWN_DIFFERENCES]))
            self._state.bad_snapshots.append(name)
        elif self._state.tree is None:
            self._state.tree = LogTree.of_snapshot(snapshot)

    # ---- contents ----

    def _contents(self) -> None:
        tree = self._state.tree
        blobs = self._blobs = self._list_blobs()
        if tree is None:
            return
        wanted: dict[bytes, int] = {}
        checked: set[tuple[int, int, int, bytes]] = set()
        for record in tree.inodes.values():
            content = record.content
            if isinstance(content, ChunkedContent):
                wanted.update(_chunk_sizes(content))
            elif isinstance(content, InlineContent) and content.size_bytes:
                self._section(record.id, content, checked)
        for at, (digest, size_bytes) in enumerate(sorted(wanted.items())):
            self._progress("contents", at, len(wanted))
            self._blob(digest, size_bytes)
        for digest in blobs.keys() - wanted.keys():
            self._add("blob-unused", blobs[digest][0], "no file refers to it now; the history may")
        self._progress("contents", len(wanted), len(wanted))

    def _list_blobs(self) -> dict[bytes, tuple[str, int]]:
        """Name and size by digest; the plain name first (F-122)."""
        found: dict[bytes, tuple[str, int]] = {}
        for name, size_bytes in self._listed(layout.blob_prefix(self._prefix)):
            try:
                found.setdefault(layout.parse_blob_name(self._prefix, name)[0], (name, size_bytes))
            except Corrupt as error:
                self._add("stray-object", name, str(error))
        return found

    def _has_chunk(self, digest: bytes) -> bool:
        return digest in self._blobs or digest in self._of_origins()

    def _section(self, inode: int, content: InlineContent, checked: set[tuple[int, int, int, bytes]]) -> None:
        """Sections were read with their commits; what refers to one only has to be in the list."""
        section = (content.sequence, content.offset, content.size_bytes, content.digest)
        if section in self._sections or section in checked:
            return
        checked.add(section)
        try:
            self._contents_read.inline(content)
        except (Corrupt, ObjectNotFound):
            name = self._log.name(content.sequence)
            self._add("section-missing", name, f"inode {inode}: {content.size_bytes} bytes at {content.offset}")

    def _blob(self, digest: bytes, size_bytes: int) -> None:
        name, known = self._blobs.get(digest) or self._of_origins().get(digest) or ("", None)
        if known is None:
            name = layout.blob_name(self._prefix, digest)
            self._add("blob-missing", name, f"{size_bytes} bytes")
            self._state.missing_blobs.add(digest)
        elif known != size_bytes or (self._deep and not self._intact(name, digest)):
            self._add("blob-damaged", name, f"it is not the {size_bytes} bytes that it should be")
            self._state.missing_blobs.add(digest)

    def _of_origins(self) -> dict[bytes, tuple[str, int]]:
        if self._inherited is None:
            self._inherited = {}
            for origin in self._log.origins:
                prefix = layout.prefix_of(origin.volume)
                for name, size_bytes in self._listed(layout.blob_prefix(prefix)):
                    with contextlib.suppress(Corrupt):
                        self._inherited.setdefault(layout.parse_blob_name(prefix, name)[0], (name, size_bytes))
        return self._inherited

    def _intact(self, name: str, digest: bytes) -> bool:
        try:
            return hashlib.sha256(self._store.get(name).data).digest() == digest
        except (Corrupt, ObjectNotFound):
            return False


def _chunk_sizes(content: ChunkedContent) -> dict[bytes, int]:
    full = dict.fromkeys(content.chunks[:-1], CHUNK_BYTES)
    return full | {content.chunks[-1]: content.size_bytes - CHUNK_BYTES * (len(content.chunks) - 1)}


def drop_bad_snapshots(store: Store, state: StoreState) -> list[str]:
    """Delete snapshots that are damaged or wrong: they can be made again from the log. Returns their names.

    Nothing is deleted while the log itself cannot be read from its beginning: then a snapshot may be all there is.
    """
    if state.tree is None or state.findings.of("log-gap", "log-entry-damaged", "chain-broken", "commit-illegal"):
        return []
    dropped = []
    for name in state.bad_snapshots:
        try:
            store.delete(name)
        except StoreError:
            continue
        dropped.append(name)
    return dropped
