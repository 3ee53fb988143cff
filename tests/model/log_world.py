"""The world of the log's model: a store that loses answers and delays puts, and writers cut into small steps.

What is real: the bytes (`agentfs.format`), every decision (`log.settlement`), reading, appending and collecting
(`log.log`). What is modelled: the store, the replica's few persisted facts, and time: a writer stops after any
step and goes on whenever the test says so. A *change* is a name; a commit holds the changes that it captured.
"""

import copy
import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentfs.errors import ObjectExists, ObjectNotFound, OutcomeUnknown
from agentfs.format.commit import EncodedCommit, decode_commit, encode_commit
from agentfs.format.framing import ObjectKind, verify
from agentfs.format.limits import NO_PARENT
from agentfs.format.snapshot import encode_snapshot
from agentfs.format.stub import decode_stub
from agentfs.log.log import Log, Lost
from agentfs.log.settlement import (
    Append,
    Next,
    PutReply,
    Settled,
    Verdict,
    after_put,
    after_read,
    settle,
    unsettled,
)
from agentfs.model.records import ROOT_ID, Commit, InodeRecord, Kind, Link, Snapshot, inode_id
from agentfs.stores.protocol import Entry as Listed
from agentfs.stores.protocol import StoredObject

VOLUME = "home-model"


class Fault(enum.Enum):
    """What happens to a create-only put."""

    NONE = "none"
    ANSWER_LOST = "it takes effect, the writer is told that nobody knows"
    DELAYED = "the writer is told that nobody knows, it lands later or never"
    DROPPED = "the writer is told that nobody knows, it never lands"


class ModelStore:
    """A store in which every write is checked against the protocol's invariants as it takes effect."""

    def __init__(self) -> None:
        self.url = "model://"
        self.objects: dict[str, bytes] = {}
        self.in_flight: list[tuple[str, bytes]] = []
        self.faults: list[Fault] = []
        self.history: dict[int, bytes] = {}
        """Sequence → digest of the commit that ever stood there."""
        self.changes: dict[int, tuple[str, ...]] = {}
        """Sequence → changes in that commit."""
        self.log = Log(self, "home", "model")

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        if name not in self.objects:
            raise ObjectNotFound(name)
        data = self.objects[name]
        return StoredObject(data[start:][:length], len(data), 0.0)

    def put(
        self,
        name: str,
        data: bytes,
        *,
        create_only: bool = False,
        replacing: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        assert replacing is None  # the log replaces nothing
        del attributes
        fault = self.faults.pop(0) if create_only and self.faults else Fault.NONE
        if fault is Fault.DELAYED:
            self.in_flight.append((name, data))
        elif fault is not Fault.DROPPED:
            exists = create_only and name in self.objects
            if not exists:
                self._take_effect(name, data)
            if exists and fault is Fault.NONE:
                raise ObjectExists(name)
        if fault is not Fault.NONE:
            raise OutcomeUnknown(name)
        return "tag"

    def land(self, index: int) -> None:
        """A delayed put reaches the store at last."""
        name, data = self.in_flight.pop(index)
        if name not in self.objects:
            self._take_effect(name, data)

    def delete(self, name: str) -> None:
        self.objects.pop(name, None)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Listed]:
        del foreign
        names = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
        return [Listed(name, len(self.objects[name]), 0.0) for name in names[:limit]]

    def _take_effect(self, name: str, data: bytes) -> None:
        if "/log/" in name:
            sequence = int(name[-16:])
            kind, digest = verify(data)
            if kind is ObjectKind.COMMIT:
                self._commit_stands(sequence, data, digest)
            else:
                stub = decode_stub(data, volume=VOLUME, sequence=sequence)
                assert stub.commit_digest == self.history.get(sequence), "a stub tells another commit"
        self.objects[name] = data

    def _commit_stands(self, sequence: int, data: bytes, digest: bytes) -> None:
        assert sequence not in self.history, f"sequence {sequence} was won twice"
        commit, _ = decode_commit(data, volume=VOLUME, sequence=sequence)
        assert commit.parent == self.history.get(sequence - 1, NO_PARENT), "the chain of digests is broken"
        self.history[sequence] = digest
        self.changes[sequence] = tuple(link.name.decode() for link in commit.links)


@dataclass
class Prepared:
    """A row of the replica's `prepared` table."""

    sequence: int
    captured: tuple[str, ...]
    commit_id: bytes


@dataclass
class Persisted:
    """What a crash leaves of a writer: its replica."""

    base: int = 0
    base_digest: bytes = NO_PARENT
    tree: dict[str, int] = field(default_factory=dict)
    """Change → inode, as the log has it up to `base`."""
    pending: list[str] = field(default_factory=list)
    prepared: dict[bytes, Prepared] = field(default_factory=dict)
    counter: int = 0
    """The state of its source of randomness: a clone draws the same."""


@dataclass
class Memory:
    """What a crash takes: a push under way."""

    encoded: EncodedCommit
    captured: tuple[str, ...]
    state: Append | Verdict
    persisted: bool = False


class Writer:
    """One machine. `step` does the next small thing; the broken variants override one method each."""

    def __init__(self, store: ModelStore, seed: str) -> None:
        self.store = store
        self.seed = seed
        self.disk = Persisted()
        self.memory: Memory | None = None
        self.held: dict[bytes, tuple[str, ...]] = {}
        """Every commit that this machine ever persisted, put or inherited, for the checks only. (One that was only
        in memory when it crashed is not its own: a twin with the same randomness may put the same bytes.)"""

    def clone(self) -> "Writer":
        """A forked machine: disk, memory and randomness are the same."""
        twin = type(self)(self.store, self.seed)
        twin.disk = copy.deepcopy(self.disk)
        twin.memory = copy.deepcopy(self.memory)
        twin.held = dict(self.held)
        return twin

    def crash(self) -> None:
        self.memory = None

    # ---- pushing, step by step --------------------------------------------------------------------------

    def step(self) -> None:
        memory = self.memory
        if memory is None:
            if self.disk.pending:
                self.prepare()
        elif not memory.persisted:
            self.persist(memory)
        elif isinstance(memory.state, Append):
            if memory.state.next is Next.PUT:
                self.put(memory, memory.state)
            else:
                entry = self.store.log.entry(memory.encoded.commit.sequence)
                memory.state = after_read(memory.state, entry.digest if entry else None)
        else:
            self.conclude(memory, memory.state)

    def prepare(self) -> None:
        disk = self.disk
        sequence, captured = disk.base + 1, tuple(disk.pending)
        disk.counter += 1
        encoded = self.encode(sequence, captured, f"{self.seed}/{disk.counter}")
        self.memory = Memory(encoded, captured, Append(encoded.digest))

    def encode(self, sequence: int, captured: tuple[str, ...], entropy: str) -> EncodedCommit:
        inodes = tuple(fifo(inode_id(sequence, index)) for index in range(len(captured)))
        commit = Commit(
            volume=VOLUME,
            sequence=sequence,
            commit_id=hashlib.sha256(entropy.encode()).digest()[:16],
            parent=self.disk.base_digest,
            time_ns=sequence,
            author="model",
            replica=self.seed,
            inodes=inodes,
            links=tuple(Link(ROOT_ID, name.encode(), it.id) for name, it in zip(captured, inodes, strict=True)),
        )
        return encode_commit(commit, {})

    def persist(self, memory: Memory) -> None:
        commit = memory.encoded.commit
        self.disk.prepared[memory.encoded.digest] = Prepared(commit.sequence, memory.captured, commit.commit_id)
        memory.persisted = True
        self.held[memory.encoded.digest] = memory.captured

    def put(self, memory: Memory, state: Append) -> None:
        memory.state = after_put(state, self.send(memory))

    def send(self, memory: Memory) -> PutReply:
        self.held[memory.encoded.digest] = memory.captured
        name = self.store.log.name(memory.encoded.commit.sequence)
        try:
            self.store.put(name, memory.encoded.data, create_only=True)
        except ObjectExists:
            return PutReply.EXISTS
        except OutcomeUnknown:
            return PutReply.UNKNOWN
        return PutReply.DONE

    def conclude(self, memory: Memory, verdict: Verdict) -> None:
        """Adopt what was won; leave the rest to `pull` and to the next push."""
        self.memory = None
        if verdict is Verdict.OURS:
            self.adopt(memory.encoded.data, memory.encoded.commit.sequence)

    def append_whole(self) -> None:
        """The same push by the real `Log.append`."""
        self.memory = None
        if not self.disk.pending:
            return
        self.prepare()
        assert self.memory is not None
        memory: Memory = self.memory
        self.persist(memory)
        self.memory = None
        sequence = memory.encoded.commit.sequence
        try:
            result = self.store.log.append(sequence, memory.encoded.data, memory.encoded.digest)
        except OutcomeUnknown:
            return
        if not isinstance(result, Lost):
            self.adopt(memory.encoded.data, sequence)
        elif result.data is not None:
            self.adopt(result.data, sequence)

    # ---- pulling ----------------------------------------------------------------------------------------

    def pull(self) -> bool:
        """Take the next entry, or the newest snapshot where entries were collected. False: nothing new."""
        entry = self.store.log.entry(self.disk.base + 1)
        if entry is None:
            return False
        if entry.data is not None:
            self.adopt(entry.data, self.disk.base + 1)
        else:
            self.jump()
        return True

    def adopt(self, data: bytes, sequence: int) -> None:
        """Entry `sequence` stands: settle the rows prepared for it and apply it, in one transaction."""
        disk = self.disk
        if sequence != disk.base + 1:
            assert sequence <= disk.base, "a gap"
            return
        commit, digest = decode_commit(data, volume=VOLUME, sequence=sequence)
        assert commit.parent == disk.base_digest, "history broken"
        self.apply(self.settle(sequence, digest, commit.commit_id))
        disk.tree.update({link.name.decode(): link.child for link in commit.links})
        disk.base, disk.base_digest = sequence, digest

    def jump(self) -> None:
        """Start over from the newest snapshot, keeping what is pending; rows first."""
        disk = self.disk
        found = self.store.log.newest_snapshot().snapshot
        assert found is not None and found.sequence > disk.base
        rows = {digest: row.sequence for digest, row in disk.prepared.items()}
        for sequence in unsettled(rows, found.sequence):
            entry = self.store.log.entry(sequence)
            assert entry is not None, "a place below a snapshot is empty"
            self.apply(self.settle(sequence, entry.digest, entry.stub.commit_id if entry.stub else b""))
        disk.tree = {name.decode(): child for _, name, child in found.links}
        disk.base, disk.base_digest = found.sequence, found.commit_digest

    def settle(self, sequence: int, digest: bytes, commit_id: bytes) -> Settled:
        del commit_id
        return settle({key: row.sequence for key, row in self.disk.prepared.items()}, sequence, digest)

    def apply(self, settled: Settled) -> None:
        disk = self.disk
        if settled.committed is not None:
            captured = disk.prepared.pop(settled.committed).captured
            disk.pending = [change for change in disk.pending if change not in captured]
        for digest in settled.void:
            del disk.prepared[digest]

    # ---- collecting -------------------------------------------------------------------------------------

    def snapshot(self) -> None:
        disk = self.disk
        if disk.base:
            root = InodeRecord(ROOT_ID, Kind.DIRECTORY, 0o755, 0, 0, 0, 0, 0)
            data = encode_snapshot(
                Snapshot(
                    VOLUME,
                    disk.base,
                    disk.base_digest,
                    disk.base,
                    (root, *(fifo(inode) for inode in disk.tree.values())),
                    tuple(Link(ROOT_ID, name.encode(), inode) for name, inode in disk.tree.items()),
                )
            )
            self.store.log.put_snapshot(data)

    def collect(self, sequence: int, snapshot: int) -> None:
        self.store.log.collect(sequence, snapshot=snapshot)


def fifo(inode: int) -> InodeRecord:
    return InodeRecord(inode, Kind.FIFO, 0o644, 0, 0, 0, 0, 0)
