"""The world of the model of collecting: a store that delays, loses answers and lets anybody do something between any
two requests of anybody else.

What is real: the collector, pins, names of chunks, reading, appending, every byte. What is modelled: the store, its
clock, and writers that know no more than a replica would. The store itself remembers what every commit meant, so the
checks need nobody's word for it.
"""

import copy
import enum
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agentfs.errors import (
    AgentFSError,
    ClocksDisagree,
    Corrupt,
    Exists,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreUnavailable,
    VersionGone,
)
from agentfs.format import layout
from agentfs.format.commit import decode_commit, encode_commit, inline_bytes
from agentfs.format.framing import ObjectKind, verify
from agentfs.format.limits import NO_PARENT
from agentfs.format.pin import Pin
from agentfs.format.snapshot import encode_snapshot, inode_record
from agentfs.log.announcements import Announcements
from agentfs.log.chunk_names import ChunkNames
from agentfs.log.contents import Contents
from agentfs.log.log import Appended, Log
from agentfs.log.pins import Pins
from agentfs.model.records import (
    ROOT_ID,
    ChunkedContent,
    Commit,
    Content,
    InlineContent,
    InodeRecord,
    Kind,
    Link,
    Snapshot,
    Unlink,
    inode_id,
)
from agentfs.model.retention import Policy
from agentfs.retention.collector import Collector
from agentfs.retention.options import CollectorOptions
from agentfs.stores.protocol import Entry as Listed
from agentfs.stores.protocol import StoredObject

VOLUME = "home-model"
PREFIX = layout.prefix_of(VOLUME)
DAY_S = 86_400.0
SMALL = [b"small %d" % number for number in range(3)]
LARGE = [bytes([number]) * 131_073 for number in range(3)]
BY_DIGEST = {hashlib.sha256(data).digest(): data for data in (*SMALL, *LARGE)}
NAMES = (b"a", b"b")


class Fault(enum.Enum):
    """What happens to a put or a delete."""

    NONE = "none"
    ANSWER_LOST = "it takes effect, and nobody is told"
    DELAYED = "nobody is told, and it takes effect later or never"


class ModelClock:
    """Moves when the world says so."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def wall_ns(self) -> int:
        return int(self.seconds * 1e9)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, _event: object, _seconds: float) -> bool:
        return False


@dataclass
class State:
    """The tree after a commit: name → bytes."""

    digest: bytes
    files: dict[bytes, bytes]


class ModelStore:
    """Remembers what every commit meant when it took effect."""

    def __init__(self, clock: ModelClock) -> None:
        self.url = "model://"
        self.clock = clock
        self.objects: dict[str, StoredObject] = {}
        self.in_flight: list[Callable[[], None]] = []
        self.fault: Callable[[], Fault] = lambda: Fault.NONE
        self.meanwhile: Callable[[], None] = lambda: None
        """Called before every request."""
        self.states: dict[int, State] = {0: State(NO_PARENT, {})}

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        self.meanwhile()
        if name not in self.objects:
            raise ObjectNotFound(name)
        found = self.objects[name]
        stop = found.size_bytes if length is None else start + length
        if stop > found.size_bytes:
            raise Corrupt(f"{name} has {found.size_bytes} bytes")
        return StoredObject(found.data[start:stop], found.size_bytes, found.modified_at)

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
        self.meanwhile()

        def effect() -> bool:
            if create_only and name in self.objects:
                return False
            self._stands(name, data)
            self.objects[name] = StoredObject(data, len(data), self.clock.seconds)
            return True

        fault = self.fault()
        if fault is Fault.DELAYED:
            self.in_flight.append(lambda: effect() and None)
        elif not effect() and fault is Fault.NONE:
            raise ObjectExists(name)
        if fault is not Fault.NONE:
            raise OutcomeUnknown(name)
        return "tag"

    def delete(self, name: str) -> None:
        self.meanwhile()
        fault = self.fault()
        if fault is Fault.DELAYED:
            self.in_flight.append(lambda: self.objects.pop(name, None) and None)
        else:
            self.objects.pop(name, None)
        if fault is not Fault.NONE:
            raise StoreUnavailable(name)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Listed]:
        del foreign
        self.meanwhile()
        names = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
        return [Listed(name, self.objects[name].size_bytes, self.objects[name].modified_at) for name in names[:limit]]

    def _stands(self, name: str, data: bytes) -> None:
        if "/log/" not in name or verify(data)[0] is not ObjectKind.COMMIT:
            return
        sequence = layout.parse_log_name(PREFIX, name)
        commit, digest = decode_commit(data, volume=VOLUME, sequence=sequence)
        before = self.states[sequence - 1]
        assert commit.parent == before.digest, "the chain is broken"
        assert sequence not in self.states or self.states[sequence].digest == digest, "a sequence was won twice"
        files = dict(before.files)
        bodies = {record.id: self._body(record.content, data) for record in commit.inodes}
        for unlink in commit.unlinks:
            del files[unlink.name]
        for link in commit.links:
            files[link.name] = bodies[link.child]
        self.states[sequence] = State(digest, files)

    def _body(self, content: Content | None, data: bytes) -> bytes:
        if isinstance(content, InlineContent):
            return inline_bytes(data, content)
        assert content is not None
        return BY_DIGEST[content.digest]


@dataclass
class Writer:
    """One machine: what its replica knows. The broken variants replace parts."""

    world: "World"
    base: int = 0
    digest: bytes = NO_PARENT
    tree: dict[bytes, tuple[int, Content]] = field(default_factory=dict)
    pending: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    names: ChunkNames | None = None

    def clone(self) -> "Writer":
        twin = copy.copy(self)
        twin.tree, twin.pending, twin.names = dict(self.tree), list(self.pending), None
        return twin

    def push(self) -> None:
        """Commit the first pending change: chunk, then commit."""
        if not self.pending:
            return
        base, digest = self.base, self.digest
        name, data = self.pending[0]
        if data is None and name not in self.tree:
            self.pending.pop(0)
            return
        contents: dict[int, bytes] = {}
        records: tuple[InodeRecord, ...] = ()
        new = inode_id(base + 1, 0)
        if data is not None:
            content: Content | None = None
            if len(data) > 131_072:
                content = self.put_chunk(data, base)
            else:
                contents[new] = data
            records = (InodeRecord(new, Kind.FILE, 0o644, 0, 0, 0, 0, 0, content=content),)
        commit = Commit(
            volume=VOLUME,
            sequence=base + 1,
            commit_id=self.world.entropy(16),
            parent=digest,
            time_ns=base + 1,
            author="model",
            replica="model",
            inodes=records,
            unlinks=(Unlink(ROOT_ID, name),) if data is None else (),
            links=(Link(ROOT_ID, name, new),) if data is not None else (),
        )
        encoded = encode_commit(commit, contents)
        result = self.world.log().append(base + 1, encoded.data, encoded.digest)
        if isinstance(result, Appended) and self.base == base:
            self.pending.pop(0)
            self.apply(encoded.commit, encoded.digest)

    def put_chunk(self, data: bytes, head: int) -> ChunkedContent:
        digest = hashlib.sha256(data).digest()
        if self.names is None:
            self.names = ChunkNames(self.world.store, VOLUME)
        self.world.store.put(self.names.name(digest, head=head), data)
        return ChunkedContent(len(data), digest, (digest,))

    def pull(self) -> None:
        for _ in range(100):
            entry = self.world.log().entry(self.base + 1)
            if entry is None:
                return
            if entry.data is None:
                self.jump()
            else:
                self.apply(*decode_commit(entry.data, volume=VOLUME, sequence=self.base + 1))

    def apply(self, commit: Commit, digest: bytes) -> None:
        if commit.sequence != self.base + 1:
            return
        records = {record.id: record for record in commit.inodes}
        for unlink in commit.unlinks:
            self.tree.pop(unlink.name, None)
        for link in commit.links:
            content = records[link.child].content
            assert content is not None
            self.tree[link.name] = (link.child, content)
        self.base, self.digest = commit.sequence, digest

    def jump(self) -> None:
        found = self.world.log().newest_snapshot().snapshot
        assert found is not None and found.sequence > self.base, "collected, and no snapshot after it"
        records = {row[0]: inode_record(row) for row in found.inodes}
        self.tree = {}
        for _, name, child in found.links:
            content = records[child].content
            assert content is not None
            self.tree[name] = (child, content)
        self.base, self.digest = found.sequence, found.commit_digest

    def snapshot(self) -> None:
        if self.base == 0:
            return
        root = InodeRecord(ROOT_ID, Kind.DIRECTORY, 0o755, 0, 0, 0, 0, 0)
        files = [InodeRecord(id_, Kind.FILE, 0o644, 0, 0, 0, 0, 0, content=it) for id_, it in self.tree.values()]
        links = [Link(ROOT_ID, name, id_) for name, (id_, _) in self.tree.items()]
        snapshot = Snapshot(VOLUME, self.base, self.digest, self.base, (root, *files), tuple(links))
        self.world.log().put_snapshot(encode_snapshot(snapshot))


WEIGHTS = {
    "change": 6, "push": 8, "pull": 2, "snapshot": 6, "days": 5, "collect": 4, "go_on": 20, "kill": 0.3, "pin": 3,
    "unpin": 2, "land": 2, "clone": 0.3,
}  # fmt: skip
"""How often each move is made: every walk makes its own of it (some do nothing but collect, some never pin …)."""


class World:
    """Everything, and what must hold."""

    collector_class: type[Collector] = Collector
    writer_class: type[Writer] = Writer
    pins_class: type[Pins] = Pins

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.clock = ModelClock()
        self.store = ModelStore(self.clock)
        self.writers = [self.writer_class(self) for _ in range(2)]
        self.runs: list[tuple[Collector, Iterator[None]]] = []
        self.held: dict[str, Pin] = {}
        self.weights = {move: weight * dice.choice((0.2, 1, 1, 4)) for move, weight in WEIGHTS.items()}
        self.busy = dice.choice((0.02, 0.1, 0.25))
        """How often somebody does something between two requests of somebody else."""
        self._made = 0
        self._busy: set[int] = set()
        """Who is in the middle of something: not to be called again before that ends."""

    def entropy(self, count: int) -> bytes:
        return self.dice.randbytes(count)

    def log(self) -> Log:
        return Log(self.store, "home", "model")

    # ---- moves ----

    def step(self, depth: int = 0) -> None:
        move = self.dice.choices(list(self.weights), list(self.weights.values()))[0]
        if depth < 2:
            self.store.meanwhile = lambda: self._between(depth + 1)
        else:
            self.store.meanwhile = lambda: None
        self.store.fault = self._fault
        try:
            getattr(self, move)()
        finally:
            self.store.meanwhile = (lambda: self._between(depth)) if depth else (lambda: None)

    def _between(self, depth: int) -> None:
        if self.dice.random() < self.busy:
            self.step(depth)

    def _fault(self) -> Fault:
        return self.dice.choices(list(Fault), (60, 1, 1))[0]

    def _alone(self, who: object, do: Callable[[], object]) -> None:
        if id(who) in self._busy:
            return
        self._busy.add(id(who))
        try:
            do()
        except (OutcomeUnknown, StoreUnavailable, ObjectNotFound):
            pass
        finally:
            self._busy.discard(id(who))

    def one(self) -> Writer:
        return self.dice.choice(self.writers)

    def change(self) -> None:
        writer = self.one()
        if len(writer.pending) < 3:
            data = self.dice.choice([None, None, *SMALL, *LARGE, *LARGE, *LARGE])
            writer.pending.append((self.dice.choice(NAMES), data))

    def push(self) -> None:
        writer = self.one()
        if self.dice.random() < 0.8:
            self._alone(writer, writer.pull)
        self._alone(writer, writer.push)

    def pull(self) -> None:
        writer = self.one()
        self._alone(writer, writer.pull)

    def snapshot(self) -> None:
        writer = self.one()
        self._alone(writer, writer.snapshot)

    def clone(self) -> None:
        if len(self.writers) < 4:
            self.writers.append(self.one().clone())

    def days(self) -> None:
        self.clock.seconds += self.dice.choice((0.5, 2, 2, 10)) * DAY_S

    def land(self) -> None:
        if self.store.in_flight:
            self.store.in_flight.pop(self.dice.randrange(len(self.store.in_flight)))()

    def collect(self) -> None:
        if len(self.runs) >= 3:
            return
        versions = self.dice.choice((0, 0, 1, 2))
        collector = self.collector_class(
            self.store,
            VOLUME,
            clock=self.clock,
            entropy=self.entropy,
            author="model",
            policy=Policy(False, 1, versions) if self.dice.random() < 0.9 else Policy(),
            options=CollectorOptions(
                chunk_grace_s=self.dice.choice((0.0, DAY_S)), announcements_kept_s=1e12, packs_small_max=2, parallel=1
            ),
        )
        self.runs.append((collector, collector.run()))

    def go_on(self) -> None:
        free = [it for it in self.runs if id(it[0]) not in self._busy]
        if free:
            collector, run = self.dice.choice(free)
            self._alone(collector, lambda: self._run_on((collector, run), self.dice.choice((1, 3, 10, 30, 200))))

    def _run_on(self, it: tuple[Collector, Iterator[None]], steps: int) -> None:
        try:
            for _ in range(steps):
                next(it[1])
        except (StopIteration, StoreUnavailable, OutcomeUnknown, ClocksDisagree):
            self.runs.remove(it)

    def kill(self) -> None:
        free = [it for it in self.runs if id(it[0]) not in self._busy]
        if free:
            self.runs.remove(self.dice.choice(free))

    def pin(self) -> None:
        """Of a tree that has a snapshot, as `agentfs snapshot create` and `agentfs fork` do."""
        prefix = layout.snapshot_prefix(PREFIX)
        sequences = [layout.parse_snapshot_name(PREFIX, it) for it in self.store.objects if it.startswith(prefix)]
        if not sequences or len(self.held) >= 3:
            return
        sequence = self.dice.choice(sequences)
        self._made += 1
        name = f"p{self._made}"
        pin = Pin(
            VOLUME, self.entropy(16), "snapshot", name, sequence, self.store.states[sequence].digest, 1, "model"
        )

        def put() -> None:
            try:
                self.held[name] = self.pins_class(self.store, VOLUME).put(pin)
            except (VersionGone, Exists):
                pass
            except Corrupt:  # the snapshot went before it was pinned
                pass

        self._alone(pin, put)

    def unpin(self) -> None:
        if self.held:
            name = self.dice.choice(sorted(self.held))
            del self.held[name]
            self._alone(name, lambda: Pins(self.store, VOLUME).delete("snapshot", name))

    # ---- what must hold ----

    def check(self) -> None:
        """Everything that is kept can be read."""
        meanwhile, fault = self.store.meanwhile, self.store.fault
        self.store.meanwhile, self.store.fault = (lambda: None), (lambda: Fault.NONE)
        try:
            newest = Announcements(self.store, VOLUME).newest()
            horizon = newest.horizon if newest is not None else 0
            last = max(self.store.states)
            self._check_from(horizon, last)
            for pin in self.held.values():
                self._check_pin(pin)
        finally:
            self.store.meanwhile, self.store.fault = meanwhile, fault

    def _check_from(self, horizon: int, last: int) -> None:
        """Every state from the horizon on."""
        reader = Writer(self)
        if horizon:
            found = self.log().snapshot_at(horizon)
            assert found is not None, f"the snapshot at the horizon {horizon} is gone"
            records = {row[0]: inode_record(row) for row in found.inodes}
            reader.tree = {name: (child, records[child].content) for _, name, child in found.links}  # type: ignore[misc]
            reader.base, reader.digest = horizon, found.commit_digest
        contents = Contents(self.store, self.log())
        while True:
            expected = self.store.states[reader.base].files
            assert reader.tree.keys() == expected.keys(), f"the tree at {reader.base} is another one"
            for name, (_, content) in reader.tree.items():
                self._check_content(contents, content, expected[name], f"{name!r} at {reader.base}")
            if reader.base == last:
                return
            entry = self.log().entry(reader.base + 1)
            assert entry is not None and entry.data is not None, f"entry {reader.base + 1} above the horizon is gone"
            reader.apply(*decode_commit(entry.data, volume=VOLUME, sequence=reader.base + 1))

    def _check_pin(self, pin: Pin) -> None:
        found = self.log().snapshot_at(pin.sequence)
        assert found is not None, f"the pinned snapshot at {pin.sequence} is gone"
        contents, expected = Contents(self.store, self.log()), self.store.states[pin.sequence].files
        records = {row[0]: inode_record(row) for row in found.inodes}
        for _, name, child in found.links:
            self._check_content(contents, records[child].content, expected[name], f"{name!r}, pinned")

    def _check_content(self, contents: Contents, content: Content | None, expected: bytes, what: str) -> None:
        assert content is not None
        try:
            assert contents.read(content) == expected, f"{what} has other bytes"
        except AgentFSError as error:
            raise AssertionError(f"{what} cannot be read: {error}") from error

    def settle(self) -> None:
        """All is well again: what is under way ends, everybody pushes and pulls, and a last collection runs."""
        self.store.meanwhile, self.store.fault = (lambda: None), (lambda: Fault.NONE)
        while self.store.in_flight:
            self.store.in_flight.pop(0)()
            self.check()
        for _, run in self.runs:
            for _ in run:
                pass
            self.check()
        for _ in range(2):
            for writer in self.writers:
                writer.pull()
                while writer.pending:
                    writer.push()
                    writer.pull()
        self.check()
        assert all(writer.base == max(self.store.states) for writer in self.writers)
        self.writers[0].snapshot()
        self.clock.seconds += 100 * DAY_S
        for _ in range(3):
            collector = Collector(
                self.store,
                VOLUME,
                clock=self.clock,
                entropy=self.entropy,
                author="model",
                policy=Policy(False, 1),
                options=CollectorOptions(announcements_kept_s=1e12, parallel=1),
            )
            for _ in collector.run():
                pass
            assert not collector.report.overtaken
            self.check()
