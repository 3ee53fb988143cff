"""The bytes of contents that the log speaks of, wherever they are now: in commits, in chunks, in packs.

What a place says (`model.records.Content`) stays right for ever: where the commit was collected, its contents are
found in the volume's packs by their digest (docs/format.md, F-123).
"""

import hashlib
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from agentfs.errors import ContentGone, Corrupt, ObjectNotFound
from agentfs.format import layout
from agentfs.format.framing import PREAMBLE_BYTES, ObjectKind, peek
from agentfs.format.pack import Pack, decode_index, decode_pack, index_bytes
from agentfs.log.log import Log
from agentfs.model.records import CHUNK_BYTES, ChunkedContent, Content, InlineContent
from agentfs.stores.protocol import Store

_PAGE = 1000
_HEAD_BYTES = 64 * 1024
"""Of a pack, got to learn what is in it: holds the header of most."""
_WHOLE_AFTER = 4
"""A pack of which this many contents were wanted is got whole: whoever reads a tree reads its neighbours, too."""
_WHOLE_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class IndexedPack:
    """A pack, as far as its header tells. Not verified."""

    name: str
    size_bytes: int
    modified_at: float
    digest: bytes
    pack: Pack
    places: dict[bytes, tuple[int, int]]
    """Digest → offset in the object, size."""


@dataclass(slots=True)
class PackIndex:
    """What is in the packs of one volume, as far as it was asked for. Safe from any thread."""

    store: Store
    volume: str
    packs: dict[str, IndexedPack] = field(default_factory=dict)
    _where: dict[bytes, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _wanted: Counter[str] = field(default_factory=Counter)
    _whole: OrderedDict[str, dict[bytes, bytes]] = field(default_factory=OrderedDict)

    def refresh(self) -> None:
        """Learn of packs that came and went: one list, and one or two small gets for each new one. A damaged header
        is passed over: what is in that pack is missed where it is wanted. Raises `NewerFormat`, `StoreError`."""
        prefix = layout.pack_prefix(layout.prefix_of(self.volume))
        with self._lock:
            standing: dict[str, IndexedPack] = {}
            after = ""
            while True:
                page = self.store.list(prefix, after=after, limit=_PAGE)
                for entry in page:
                    known = self.packs.get(entry.name)
                    if known is None:
                        known = self._indexed(entry.name, entry.size_bytes, entry.modified_at)
                    if known is not None:
                        standing[entry.name] = known
                if len(page) < _PAGE:
                    break
                after = page[-1].name
            self.packs = standing
            self._where = {digest: name for name, it in standing.items() for digest in it.places}
            for name in self._whole.keys() - standing.keys():
                del self._whole[name]

    def _indexed(self, name: str, size_bytes: int, modified_at: float) -> IndexedPack | None:
        try:
            digest = layout.parse_pack_name(layout.prefix_of(self.volume), name)
            head = self.store.get(name, start=0, length=min(size_bytes, _HEAD_BYTES)).data
            needed = index_bytes(head)
            if needed > len(head):
                head = self.store.get(name, start=0, length=min(size_bytes, needed)).data
            pack, start = decode_index(head, volume=self.volume)
        except (Corrupt, ObjectNotFound):
            return None
        return IndexedPack(name, size_bytes, modified_at, digest, pack, pack.places(start))

    def holds(self, digest: bytes) -> bool:
        """Whether a pack that is known of has it. Asks nobody."""
        return digest in self._where

    def read(self, digest: bytes, size_bytes: int) -> bytes | None:
        """The verified bytes of a content, or None when no pack has them. One get where the pack is known of. Raises
        `Corrupt`, `NewerFormat`, `StoreError`."""
        for fresh in (False, True):
            if fresh:
                self.refresh()
            name = self._where.get(digest)
            if name is None:
                continue
            try:
                return self._from(self.packs[name], digest, size_bytes)
            except (ObjectNotFound, KeyError):
                continue  # another pack took its place
        return None

    def _from(self, pack: IndexedPack, digest: bytes, size_bytes: int) -> bytes:
        with self._lock:
            held = self._whole.get(pack.name)
            self._wanted[pack.name] += 1
            wanted = self._wanted[pack.name]
        if held is None and wanted >= _WHOLE_AFTER and pack.size_bytes <= _WHOLE_BYTES_MAX:
            held = self.whole(pack)
            with self._lock:
                self._whole.clear()
                self._whole[pack.name] = held
                self._wanted[pack.name] = 0
        if held is not None and digest in held:
            return held[digest]
        offset, length = pack.places[digest]
        data = self.store.get(pack.name, start=offset, length=length).data
        if len(data) != size_bytes or hashlib.sha256(data).digest() != digest:
            raise Corrupt(f"a file's content in {pack.name} does not match its digest; it was not used")
        return data

    def whole(self, pack: IndexedPack) -> dict[bytes, bytes]:
        """All contents of a pack, by digest, verified. One get. Raises `ObjectNotFound`, `Corrupt`, `StoreError`."""
        return self.verified(pack)[1]

    def verified(self, pack: IndexedPack) -> tuple[Pack, dict[bytes, bytes]]:
        """As `whole`, with what else stands in it."""
        return decode_pack(self.store.get(pack.name).data, volume=self.volume)


class Contents:
    """Safe from any thread. Remembers what is in packs."""

    def __init__(self, store: Store, log: Log) -> None:
        self._store = store
        self._log = log
        self._packs: dict[str, PackIndex] = {}

    def packs(self, volume: str) -> PackIndex:
        """The packs of `volume`: the log's own, or one that it comes from."""
        return self._packs.setdefault(volume, PackIndex(self._store, volume))

    def read(self, content: Content) -> bytes:
        """The verified bytes. Raises `ContentGone` when they were collected, `ObjectNotFound` when they are missing,
        `Corrupt` when what stands in their place is damaged, `NewerFormat`, `StoreError`."""
        if isinstance(content, InlineContent):
            return self.inline(content)
        return b"".join(self.chunk(content, at) for at in range(len(content.chunks)))

    def inline(self, content: InlineContent) -> bytes:
        """As `read`. One get; a few small ones more when its commit was collected and no pack is known of yet."""
        if content.size_bytes == 0:
            return b""
        packs = self.packs(self._log.volume_at(content.sequence))
        if packs.holds(content.digest):
            found = packs.read(content.digest, content.size_bytes)
            if found is not None:
                return found
        name = self._log.name(content.sequence)
        try:
            data = self._store.get(name, start=content.offset, length=content.size_bytes).data
            if len(data) == content.size_bytes and hashlib.sha256(data).digest() == content.digest:
                return data
        except Corrupt:
            pass  # a stub is shorter than the commit was
        if not self._is_stub(name):
            raise Corrupt(f"a file's content in commit {content.sequence} does not match its digest; it was not used")
        found = packs.read(content.digest, content.size_bytes)
        if found is None:
            raise ContentGone(f"commit {content.sequence} was collected, and this content of it was not kept")
        return found

    def chunk(self, content: ChunkedContent, at: int) -> bytes:
        """The verified bytes of the chunk with that place. Raises as `read`."""
        digest = content.chunks[at]
        data = self._log.chunk(digest)
        length = min(CHUNK_BYTES, content.size_bytes - at * CHUNK_BYTES)
        if len(data) != length or hashlib.sha256(data).digest() != digest:
            raise Corrupt(f"chunk {digest.hex()} does not match its digest; it was not used")
        return data

    def _is_stub(self, name: str) -> bool:
        head = self._store.get(name, start=0, length=PREAMBLE_BYTES).data
        return peek(head)[0] is ObjectKind.STUB
