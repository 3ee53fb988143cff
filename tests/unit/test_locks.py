"""Locks across machines: who has one, what others may not do meanwhile, and what becomes of who lost it."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from faults import FaultyStore, Network
from invariants import broken
from node import Node, TestClock

from agentfs.errors import LockLost, OutcomeUnknown, Replaced, StoreUnavailable
from agentfs.format.commit import decode_commit, encode_commit
from agentfs.format.layout import log_name, volume_prefix
from agentfs.fsck.store_check import StoreCheck
from agentfs.merge.fencing import after_commit
from agentfs.model.records import Commit, Fence, Lock, LockState
from agentfs.replica.locks import LockUse, lock_facts, lock_table
from agentfs.stores.counted import CountedStore
from agentfs.stores.memory import MemoryStore
from agentfs.sync.lock_steps import Granted, Held
from agentfs.sync.options import EngineOptions

Make = Callable[..., Node]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where that can be: every commit syncs."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="agentfs-locks-", dir=memory) as directory:
        yield Path(directory)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def store() -> CountedStore:
    return CountedStore(MemoryStore())


@pytest.fixture
def node(tmp_path: Path, clock: TestClock, store: CountedStore) -> Iterator[Make]:
    made: list[Node] = []

    def make(name: str, **options: object) -> Node:
        options = {"store": store, "clock": clock, **options}
        made.append(Node(tmp_path / name, options.pop("store"), options.pop("clock"), agent=name, **options))
        return made[-1]

    yield make
    for it in made:
        if it.replica.session:
            assert not broken(it.replica)
            it.close()


_uses: dict[tuple[int, int], LockUse] = {}


def take(it: Node, path: str = "f", seconds: int = 30) -> Granted | Held:
    use = LockUse(it.at(path), it.replica.session, 1, seconds)
    found = it.engine.in_turn(lambda _ground: it.engine.locks.take(use))
    if isinstance(found, Granted):
        _uses[id(it), found.epoch] = use
    return found


def give(it: Node, granted: Granted) -> None:
    it.engine.in_turn(lambda _ground: it.engine.locks.give_back(_uses[id(it), granted.epoch], granted.epoch))


def two(node: Make, **options: object) -> tuple[Node, Node]:
    a, b = node("a", **options), node("b", **options)
    a.write("f", b"0")
    a.sync()
    b.engine.pull_now()
    return a, b


def copies(it: Node) -> list[str]:
    return sorted(name for name in it.names() if ".conflict-" in name)


def tables(*nodes: Node) -> list[dict]:
    return [lock_table(it.replica.connection) for it in nodes]


def test_one_at_a_time_and_the_next_reads_what_the_last_wrote(node: Make) -> None:
    a, b = two(node)
    machines = [a, b]
    for turn in range(10):
        it, other = machines[turn % 2], machines[1 - turn % 2]
        granted = take(it)
        assert isinstance(granted, Granted)
        held = take(other)
        assert isinstance(held, Held)
        assert not held.is_here
        assert held.holder.startswith("ab"[turn % 2] + "@")
        it.write("f", b"%d" % (int(it.read("f")) + 1))
        give(it, granted)
    assert a.read("f") == b"10" or b.read("f") == b"10"
    a.engine.pull_now()
    assert a.read("f") == b.read("f") == b"10"
    assert tables(a, b) == [{}, {}]
    assert not copies(a)


def test_a_cycle_is_two_puts_and_an_idle_machine_makes_none(node: Make, store: CountedStore) -> None:
    a, _ = two(node)
    before = store.counts
    granted = take(a)
    a.write("f", b"1")
    give(a, granted)
    done = store.counts - before
    assert (done.creates, done.puts, done.gets) == (2, 0, 0)
    before = store.counts
    a.settle(60)
    done = store.counts - before
    assert done.creates == 0
    assert done.requests <= 60 / 4 + 15  # the poll of these tests, and nothing else


def test_a_new_file_is_made_and_locked_by_one_commit(node: Make, store: CountedStore) -> None:
    a = node("a")
    a.write("f", b"0")
    before = store.counts
    assert isinstance(take(a), Granted)
    assert (store.counts - before).creates == 1


def test_the_lock_is_renewed_while_it_is_held(node: Make, store: CountedStore) -> None:
    a, b = two(node)
    granted = take(a)
    before = store.counts
    for _ in range(30):
        a.settle(3)
        assert isinstance(take(b), Held)
    renewals = (store.counts - before).creates
    assert 90 / 10 - 1 <= renewals <= 90 / 10 + 2
    give(a, granted)
    assert isinstance(take(b), Granted)


def test_whoever_does_not_give_back_is_released_by_its_engine(node: Make) -> None:
    """As after `kill -9` of the program that held it: its session is dead."""
    a, b = two(node)
    it = LockUse(a.at("f"), 9999, 1, 30)
    assert isinstance(a.engine.in_turn(lambda _ground: a.engine.locks.take(it)), Granted)
    a.write("f", b"1")
    a.settle(3)
    assert isinstance(take(b), Granted)
    assert b.read("f") == b"1"


def test_taken_over_when_nothing_is_heard(node: Make, clock: TestClock) -> None:
    a, b = two(node)
    assert isinstance(take(a), Granted)
    assert isinstance(take(b), Held)
    clock.now_s += 29
    assert isinstance(take(b), Held)
    clock.now_s += 2
    assert isinstance(take(b), Granted)


def lose(a: Node, b: Node, clock: TestClock, *, change: Callable[[], None] | None = None) -> Granted:
    """a takes the lock and sleeps; b takes over, writes, and gives back."""
    mine = take(a)
    assert isinstance(mine, Granted)
    if change is not None:
        change()
    assert isinstance(take(b), Held)
    clock.now_s += 31
    other = take(b)
    assert isinstance(other, Granted)
    b.write("f", b"theirs")
    give(b, other)
    return mine


def test_what_a_paused_holder_changed_is_put_aside(node: Make, clock: TestClock) -> None:
    a, b = two(node)
    mine = lose(a, b, clock, change=lambda: a.write("f", b"mine"))
    with pytest.raises(LockLost):
        give(a, mine)
    a.sync()
    b.engine.pull_now()
    assert a.show() == b.show()
    assert a.read("f") == b"theirs"
    (copy,) = copies(a)
    assert a.read(copy) == b"mine"
    facts = a.replica.connection.rows("SELECT kind, name, kept_as FROM conflict")
    assert facts == [("content", b"f", copy.encode())]


def test_what_a_paused_holder_had_open_goes_aside_when_it_writes(node: Make, clock: TestClock) -> None:
    a, b = two(node)
    handle = a.open("f", os.O_RDWR)
    mine = lose(a, b, clock)
    a.engine.pull_now()
    assert a.replica.connection.one("SELECT 1 FROM lost_lease WHERE epoch=?", (mine.epoch,))
    a.tree.write(handle, 0, b"late")
    a.tree.flush(handle)
    a.tree.release(handle)
    a.sync()
    assert a.read("f") == b"theirs"
    assert [a.read(copy) for copy in copies(a)] == [b"late"]


def test_a_replacement_by_a_paused_holder_is_put_aside(node: Make, clock: TestClock) -> None:
    a, b = two(node)

    def replace() -> None:
        a.write("new", b"mine")
        a.rename("new", "f")

    mine = lose(a, b, clock, change=replace)
    with pytest.raises(LockLost):
        give(a, mine)
    a.sync()
    assert a.read("f") == b"theirs"
    assert [a.read(copy) for copy in copies(a)] == [b"mine"]


def test_a_deletion_by_a_paused_holder_is_undone(node: Make, clock: TestClock) -> None:
    a, b = two(node)
    ino = a.at("f")
    mine = take(a)
    a.unlink("f")
    assert isinstance(take(b), Held)
    clock.now_s += 31
    other = take(b)
    a.engine.pull_now()
    assert a.read("f") == b"0"
    b.write("f", b"theirs")
    give(b, other)
    a.sync()
    assert a.read("f") == b"theirs"
    with pytest.raises(LockLost):
        a.engine.in_turn(lambda _g: a.engine.locks.give_back(LockUse(ino, a.replica.session, 1, 30), mine.epoch))


def test_the_loser_learns_it_from_a_snapshot_too(node: Make, clock: TestClock, store: CountedStore) -> None:
    """The log between was collected: the locks are in the snapshot."""
    a, b = two(node)
    mine = take(a)
    a.write("f", b"mine")
    assert isinstance(take(b), Held)
    clock.now_s += 31
    assert isinstance(take(b), Granted)
    b.write("f", b"theirs")
    b.sync()
    assert b.engine.snapshot()
    a.engine.in_turn(lambda ground: a.engine._pull.restart_from(ground.log.newest_snapshot().snapshot))
    with pytest.raises(LockLost):
        give(a, mine)
    assert a.read("f") == b"theirs"
    assert [a.read(copy) for copy in copies(a)] == [b"mine"]
    assert tables(a) == tables(b)
    c = node("c")
    c.engine.bootstrap()
    assert tables(c) == tables(b) != [{}]


def test_a_change_without_the_lock_waits_until_it_is_free(node: Make) -> None:
    a, b = two(node)
    granted = take(a)
    b.write("f", b"from b, later\n")
    b.engine.pull_now()
    b.settle(3)
    status = b.engine.status()
    assert status.pending_inodes == 1
    assert "locked" in status.waiting_files[0]
    a.write("f", b"from a\n")
    give(a, granted)
    b.settle(5)
    assert b.engine.status().pending_inodes == 0
    a.engine.pull_now()
    assert a.show() == b.show()
    everything = b"".join(data for _, _, data in a.show().values())
    assert b"from a" in everything
    assert b"from b, later" in everything


@pytest.mark.parametrize("how", ["write", "unlink", "rename", "replace", "directory"])
def test_a_change_that_waits_for_a_holder_who_died_ends_the_lock(node: Make, clock: TestClock, how: str) -> None:
    """Its machine was lost, or goes on under another name; nobody else asks for the lock."""
    a, b, c = node("a"), node("b"), node("c")
    a.mkdir("d")
    a.write("d/f", b"0\n")
    a.sync()
    b.engine.pull_now()
    assert isinstance(take(a, "d/f"), Granted)
    a.write("d/f", b"never given back\n")
    b.engine.pull_now()
    changed(b, how)
    b.settle(3)
    assert b.engine.status().pending_names + b.engine.status().pending_inodes > 0
    clock.now_s += 31
    b.settle(6)
    assert b.engine.status().pending_names + b.engine.status().pending_inodes == 0
    c.engine.pull_now()
    assert c.show() == b.show()
    assert tables(b, c) == [{}, {}]
    assert not c.replica.connection.rows("SELECT * FROM lock_breach")
    a.engine.pull_now()
    a.sync()
    b.engine.pull_now()
    assert a.show() == b.show()
    assert b"never given back\n" in [data for _, _, data in b.show().values()]


def test_a_holder_who_lives_keeps_the_lock_from_a_change_that_waits(node: Make, clock: TestClock) -> None:
    """Also from one whose machine heard nothing for long."""
    a, b = two(node)
    granted = take(a)
    assert isinstance(granted, Granted)
    b.engine.pull_now()
    b.write("f", b"b\n")
    b.settle(3)
    for _ in range(5):
        clock.now_s += 12
        a.engine.tick()
    b.settle(3)
    assert b.engine.status().pending_inodes == 1
    a.write("f", b"a\n")
    give(a, granted)
    b.settle(5)
    assert set(b.read("f").split()) == {b"a", b"b"}


def changed(it: Node, how: str) -> None:
    """One change of `d/f`, of its bytes or of a name."""
    if how == "write":
        it.write("d/f", b"from b\n")
    elif how == "unlink":
        it.unlink("d/f")
    elif how == "rename":
        it.rename("d/f", "d/g")
    elif how == "replace":
        it.write("d/new", b"b")
        it.rename("d/new", "d/f")
    else:
        it.unlink("d/f")
        it.rmdir("d")


@pytest.mark.parametrize("how", ["unlink", "rename", "replace", "directory"])
def test_names_of_a_locked_file_wait_too(node: Make, how: str) -> None:
    a, b = node("a"), node("b")
    a.mkdir("d")
    a.write("d/f", b"0")
    a.sync()
    b.engine.pull_now()
    granted = take(a, "d/f")
    b.engine.pull_now()
    changed(b, how)
    b.write("other", b"is not held up")
    b.settle(3)
    a.engine.pull_now()
    assert a.read("other") == b"is not held up"
    assert a.read("d/f") == b"0"
    assert b.engine.status().pending_names + b.engine.status().pending_inodes > 0
    give(a, granted)
    b.settle(6)
    a.engine.pull_now()
    assert a.show() == b.show()
    assert b.engine.status().pending_names == 0
    assert not a.replica.connection.rows("SELECT * FROM lock_breach")


def test_of_two_clones_that_hold_one_lock_only_one_goes_on(node: Make, tmp_path: Path, clock: TestClock) -> None:
    import shutil  # noqa: PLC0415

    a, _ = two(node)
    granted = take(a)
    a.close()
    shutil.copytree(tmp_path / "a", tmp_path / "twin")
    a, twin = node("a"), node("twin")
    a.write("f", b"one")
    twin.write("f", b"two")
    a.sync()
    theirs = LockUse(twin.at("f"), twin.replica.session, 1, 30)
    with pytest.raises(LockLost):
        twin.engine.in_turn(lambda _g: twin.engine.locks.give_back(theirs, granted.epoch))
    twin.sync()
    a.engine.pull_now()
    assert a.read("f") == twin.read("f") == b"one"
    assert [twin.read(copy) for copy in copies(twin)] == [b"two"]


def test_offline_no_lock_is_granted_but_what_is_held_is_kept(node: Make, tmp_path: Path, clock: TestClock) -> None:
    network = Network(MemoryStore(), Random(1), fault_chance=0.0)
    mine = FaultyStore(network)
    a = node("a", store=mine)
    b = node("b", store=FaultyStore(network))
    a.write("f", b"0")
    a.sync()
    b.engine.pull_now()
    mine.partition = True
    with pytest.raises(StoreUnavailable):
        take(a)
    mine.partition = False
    granted = take(a)
    assert isinstance(granted, Granted)
    mine.partition = True
    a.write("f", b"1")
    with pytest.raises(StoreUnavailable):
        give(a, granted)
    assert isinstance(take(b), Held)
    mine.partition = False
    a.settle(40)
    assert isinstance(take(b), Granted)
    assert b.read("f") == b"1"


def test_a_lock_is_broken_by_hand(node: Make) -> None:
    a, b = two(node)
    mine = take(a)
    a.write("f", b"mine")
    who = b.engine.in_turn(lambda _g: b.engine.locks.break_lock(b.at("f")))
    assert who is not None
    assert who.startswith("a@")
    assert b.engine.in_turn(lambda _g: b.engine.locks.break_lock(b.at("f"))) is None
    with pytest.raises(LockLost):
        give(a, mine)
    assert [a.read(copy) for copy in copies(a)] == [b"mine"]
    assert a.read("f") == b"0"


def test_the_lock_goes_with_its_file(node: Make) -> None:
    a, b = two(node)
    ino = a.at("f")
    mine = take(a)
    a.unlink("f")
    a.engine.in_turn(lambda _g: a.engine.locks.give_back(LockUse(ino, a.replica.session, 1, 30), mine.epoch))
    a.sync()
    b.engine.pull_now()
    assert b.names() == []
    assert tables(a, b) == [{}, {}]


def test_a_file_that_lost_its_name_is_not_locked(node: Make) -> None:
    a, _ = two(node)
    ino = a.at("f")
    a.unlink("f")
    with pytest.raises(Replaced):
        a.engine.in_turn(lambda _g: a.engine.locks.take(LockUse(ino, a.replica.session, 1, 30)))


def test_two_programs_of_one_machine(node: Make) -> None:
    a, _ = two(node)
    granted = take(a)
    other = LockUse(a.at("f"), a.replica.session, 2, 30)
    held = a.engine.in_turn(lambda _g: a.engine.locks.take(other))
    assert isinstance(held, Held)
    assert held.is_here
    (facts,) = lock_facts(a.replica.connection)
    assert (facts.path, facts.is_ours, facts.used_by) == (b"f", True, a.replica.session)
    give(a, granted)
    assert isinstance(a.engine.in_turn(lambda _g: a.engine.locks.take(other)), Granted)


def test_a_breach_is_applied_ends_the_lock_and_is_reported(node: Make, store: CountedStore) -> None:
    a, b = two(node)
    mine = take(a)
    a.write("f", b"mine")
    b.engine.pull_now()
    sequence, parent = b.engine._pull.head()
    raw = store.get(log_name(volume_prefix("space", "sim"), 1)).data
    first, _ = decode_commit(raw, volume="space-sim", sequence=1)
    record = next(it for it in first.inodes if it.content is not None)
    faulty = Commit(
        volume="space-sim", sequence=sequence + 1, commit_id=bytes(16), parent=parent,
        time_ns=first.time_ns + 10**15, author="faulty", replica="faulty", inodes=(record,),
    )  # fmt: skip
    store.put(log_name(volume_prefix("space", "sim"), sequence + 1), encode_commit(faulty, {record.id: b"bad"}).data)
    with pytest.raises(LockLost):
        give(a, mine)
    b.engine.pull_now()
    a.engine.pull_now()
    assert a.read("f") == b.read("f") == b"bad"
    assert [a.read(copy) for copy in copies(a)] == [b"mine"]
    for it in (a, b):
        ((at, inode),) = it.replica.connection.rows("SELECT sequence, id FROM lock_breach")
        assert (at, inode) == (sequence + 1, record.id)
    found = StoreCheck(store, "space", "sim").run().findings.of("fence-broken")
    assert [it.place for it in found] == [log_name(volume_prefix("space", "sim"), sequence + 1)]
    assert isinstance(take(b), Granted)


def test_a_put_whose_answer_is_lost_takes_the_lock_once(node: Make) -> None:
    for seed in range(20):
        network = Network(MemoryStore(), Random(seed), fault_chance=0.0)
        a = node(f"a{seed}", store=FaultyStore(network))
        b = node(f"b{seed}", store=FaultyStore(network))
        a.write("f", b"0")
        a.sync()
        b.engine.pull_now()
        network.fault_chance = 0.5
        granted = {}
        for _ in range(8):
            for it in (a, b):
                try:
                    found = take(it)
                except StoreUnavailable:
                    continue
                except OutcomeUnknown:  # a doubt is settled by the next look
                    continue
                if isinstance(found, Granted):
                    granted[it] = found
            assert len(granted) <= 1
        network.fault_chance = 0.0
        for it in (a, b):
            it.engine.pull_now()


def test_an_engine_without_locks_in_the_log_looks_at_nothing(node: Make, store: CountedStore) -> None:
    a, _ = two(node, options=EngineOptions(parallel=1, poll_idle_max_s=4))
    a.write("f", b"2")
    before = store.counts
    a.settle(1)
    assert (store.counts - before).creates == 1
    assert not a.engine._leases.due()


def test_who_opened_before_the_lock_reads_what_came_since(node: Make) -> None:
    """Also a file that cannot be merged keeps its inode, and its handles follow, while nothing is written."""
    a, b = node("a"), node("b")
    a.write("x.lock", b"0")
    a.sync()
    b.engine.pull_now()
    handle = a.tree.open(a.at("x.lock"), os.O_RDWR, following=True)
    granted = take(b, "x.lock")
    b.write("x.lock", b"1")
    give(b, granted)
    granted = take(a, "x.lock")
    a.engine.hydrate(handle.ino)
    assert a.at("x.lock") == handle.ino
    assert a.tree.read(handle, 0, 10) == b"1"
    a.tree.write(handle, 0, b"2")
    a.tree.let_go(handle.ino)
    give(a, granted)
    granted = take(b, "x.lock")
    assert b.read("x.lock") == b"2"
    b.write("x.lock", b"3")
    give(b, granted)
    a.engine.pull_now()
    a.engine.hydrate(handle.ino)
    assert a.tree.read(handle, 0, 10) == b"3"
    a.tree.release(handle)
    assert not copies(a)
    assert not copies(b)


@pytest.mark.parametrize("name", ["x.lock", "counter", "made/x.lock"])
def test_a_file_that_two_make_to_lock_it_is_one(node: Make, name: str) -> None:
    """As programs on two machines do at the same moment; what another made comes between `open` and `flock`."""
    a, b = node("a"), node("b")
    if "/" in name:
        for it in (a, b):
            it.mkdir(os.path.dirname(name))
    handles = {it: it.open(name, os.O_CREAT | os.O_RDWR) for it in (a, b)}
    for it, handle in handles.items():
        it.tree.let_go(handle.ino)  # as before each time that the lock is asked for
    a.sync()
    b.engine.pull_now()
    for number, it in enumerate((b, a, b)):
        granted = take(it, name)
        assert isinstance(granted, Granted)
        assert it.at(name) == handles[it].ino
        it.engine.hydrate(handles[it].ino)
        assert it.tree.read(handles[it], 0, 10) == (b"%d" % number if number else b"")
        it.tree.write(handles[it], 0, b"%d" % (number + 1))
        it.tree.let_go(handles[it].ino)
        give(it, granted)
    for it, handle in handles.items():
        it.tree.release(handle)
        assert not copies(it)
        assert not it.replica.connection.rows("SELECT kind FROM conflict")


# ---- the rules themselves -------------------------------------------------------------------------------------

HELD = LockState("who", 5, 30)


@pytest.mark.parametrize(
    ("locks", "fences", "changed", "expected", "breaches"),
    [
        ((), (), frozenset(), {1: HELD}, 0),
        ((), (Fence(1, 5),), frozenset({1}), {1: LockState("who", 9, 30)}, 0),
        ((), (Fence(1, 4),), frozenset({1}), {}, 1),
        ((), (), frozenset({1}), {}, 1),
        ((Lock(1, "new", 10),), (Fence(1, 5),), frozenset(), {1: LockState("new", 9, 10)}, 0),
        ((Lock(1, "new", 10),), (), frozenset(), {1: LockState("new", 9, 10)}, 1),
        ((Lock(1, "who", 0),), (Fence(1, 5),), frozenset({1}), {}, 0),
        ((Lock(2, "new", 10),), (), frozenset(), {1: HELD, 2: LockState("new", 9, 10)}, 0),
        ((), (Fence(2, 3),), frozenset(), {1: HELD}, 1),
    ],
)
def test_what_a_commit_makes_of_a_lock(locks, fences, changed, expected, breaches) -> None:  # type: ignore[no-untyped-def]
    table, broke = after_commit({1: HELD}, 9, locks=locks, fences=fences, changed=changed, gone=frozenset())
    assert (table, len(broke)) == (expected, breaches)


class _CutOff:
    """A store whose next put takes effect, and after which nothing is heard of it while `on`."""

    def __init__(self, store: CountedStore) -> None:
        self._store = store
        self.url = store.url
        self.on = False

    def put(self, name: str, data: bytes, **options: object) -> str:
        tag = self._store.put(name, data, **options)
        if self.on:
            raise OutcomeUnknown("no answer")
        return tag

    def get(self, name: str, **options: object) -> object:
        if self.on:
            raise StoreUnavailable("no answer")
        return self._store.get(name, **options)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_who_gave_it_back_without_an_answer_takes_it_anew(node: Make, store: CountedStore) -> None:
    """Whether the commit that gave it back stands in the log is not known here; that the lease is still remembered
    says nothing."""
    cut = _CutOff(store)
    a, b = node("a", store=cut), node("b")
    a.write("f", b"0")
    a.sync()
    b.engine.pull_now()
    granted = take(a)
    assert isinstance(granted, Granted)
    a.write("f", b"1")
    cut.on = True
    with pytest.raises((OutcomeUnknown, StoreUnavailable)):
        give(a, granted)
    cut.on = False
    again = take(a)
    assert isinstance(again, Granted)
    assert again.epoch != granted.epoch
    assert isinstance(take(b), Held)
    a.write("f", b"2")
    give(a, again)
    assert isinstance(take(b), Granted)
    assert b.read("f") == b"2"
