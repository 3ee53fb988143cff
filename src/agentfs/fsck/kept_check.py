"""What a volume keeps beside its log and its newest tree: pins and what they keep, packs, announcements, policies,
lifecycle rules."""

from collections.abc import Callable, Iterator

from agentfs.errors import Corrupt, NewerFormat, NotFound, ObjectNotFound
from agentfs.format import layout
from agentfs.format.carried import decode_carried
from agentfs.format.collection import decode_policy
from agentfs.format.lifecycle import decode_lifecycle
from agentfs.format.pack import decode_pack
from agentfs.format.pin import Pin
from agentfs.format.snapshot import inode_record
from agentfs.fsck.findings import Findings
from agentfs.log.announcements import Announcements
from agentfs.log.contents import Contents
from agentfs.log.log import Log
from agentfs.log.pins import Pins
from agentfs.model.records import ChunkedContent, InlineContent
from agentfs.stores.protocol import Store

HasChunk = Callable[[bytes], bool]

_PAGE = 1000
_SHOWN = 3


class KeptCheck:
    """One run over one volume. Reads only."""

    def __init__(self, store: Store, log: Log, contents: Contents, findings: Findings, has_chunk: HasChunk) -> None:
        self._store = store
        self._log = log
        self._contents = contents
        self._findings = findings
        self._has_chunk = has_chunk
        self._seen: set[InlineContent] = set()

    def run(self) -> None:
        """Raises `StoreError` and `NewerFormat`; all else is a finding."""
        self._packs()
        self._indexes()
        self._chains()
        for name in self._names(layout.pin_prefix(self._log.prefix)):
            self._pin(name)

    def _names(self, prefix: str) -> Iterator[str]:
        after = ""
        while True:
            page = self._store.list(prefix, after=after, limit=_PAGE)
            yield from (entry.name for entry in page)
            if len(page) < _PAGE:
                return
            after = page[-1].name

    def _packs(self) -> None:
        for name in self._names(layout.pack_prefix(self._log.prefix)):
            try:
                digest = layout.parse_pack_name(self._log.prefix, name)
            except Corrupt as error:
                self._findings.add("stray-object", name, str(error))
                continue
            try:
                data = self._store.get(name).data
                decode_pack(data, volume=self._log.volume)
                if data[-len(digest) :] != digest:
                    raise Corrupt("it is another pack than its name says")
            except ObjectNotFound:
                continue  # a collection is under way
            except Corrupt as error:
                self._findings.add("pack-damaged", name, str(error))

    def _indexes(self) -> None:
        """Derived: only the newest is read, and what is wrong with it harms nobody."""
        newest = None
        for name in self._names(layout.index_prefix(self._log.prefix)):
            try:
                sequence, _ = layout.parse_index_name(self._log.prefix, name)
            except Corrupt as error:
                self._findings.add("stray-object", name, str(error))
                continue
            newest = newest or (name, sequence)
        if newest is None:
            return
        try:
            data = self._store.get(newest[0]).data
            for _ in decode_carried(data, volume=self._log.volume, sequence=newest[1]).pages():
                pass
        except Corrupt as error:
            self._findings.add("index-damaged", newest[0], str(error))
        except (ObjectNotFound, NewerFormat):
            pass  # a newer one was put in its place, or another version's

    def _chains(self) -> None:
        announcements = Announcements(self._store, self._log.volume)
        horizon = None
        try:
            for number, _ in announcements.numbers():
                found = announcements.read(number)
                if horizon is not None and found.horizon > horizon:
                    raise Corrupt(f"announcement {number + 1} has a horizon below that of the one before it")
                horizon = found.horizon
        except Corrupt as error:
            self._findings.add("announcement-damaged", layout.announcement_prefix(self._log.prefix), str(error))
        for name in self._names(layout.policy_prefix(self._log.prefix)):
            try:
                number = layout.parse_policy_name(self._log.prefix, name)
                decode_policy(self._store.get(name).data, volume=self._log.volume, number=number)
            except Corrupt as error:
                self._findings.add("policy-damaged", name, str(error))
        for name in self._names(layout.lifecycle_prefix(self._log.prefix)):
            try:
                number = layout.parse_lifecycle_name(self._log.prefix, name)
                decode_lifecycle(self._store.get(name).data, volume=self._log.volume, number=number)
            except Corrupt as error:
                self._findings.add("rules-damaged", name, str(error))

    # ---- pins ----

    def _pin(self, object_name: str) -> None:
        try:
            kind, name = layout.parse_pin_name(self._log.prefix, object_name)
            pin = Pins(self._store, self._log.volume).read("fork" if kind == "fork" else "snapshot", name)
        except NotFound:
            return  # it went meanwhile
        except Corrupt as error:
            self._findings.add("pin-damaged", object_name, str(error))
            return
        if not pin.held:
            self._findings.add("pin-unheld", object_name, "somebody stopped while putting it; delete it")
            return
        wrong = self._wrong(pin)
        if wrong:
            more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            self._findings.add("pin-broken", object_name, "; ".join(wrong[:_SHOWN]) + more)

    def _wrong(self, pin: Pin) -> list[str]:
        """What a pin should keep and does not."""
        try:
            tree = self._log.snapshot_at(pin.sequence)
        except Corrupt as error:
            return [str(error)]
        if tree is None:
            return [f"there is no snapshot at {pin.sequence}"]
        if tree.commit_digest != pin.digest:
            return [f"the snapshot at {pin.sequence} was made after another commit"]
        wrong = []
        for row in tree.inodes:
            content = inode_record(row).content
            if isinstance(content, InlineContent) and not self._readable(content):
                wrong.append(f"inode {row[0]}: {content.size_bytes} bytes of commit {content.sequence} are gone")
            elif isinstance(content, ChunkedContent):
                lost = sum(not self._has_chunk(chunk) for chunk in content.chunks)
                if lost:
                    wrong.append(f"inode {row[0]}: {lost} of {len(content.chunks)} chunks are gone")
        return wrong

    def _readable(self, content: InlineContent) -> bool:
        if content in self._seen:
            return True
        try:
            self._contents.inline(content)
        except (Corrupt, ObjectNotFound):
            return False
        self._seen.add(content)
        return True
