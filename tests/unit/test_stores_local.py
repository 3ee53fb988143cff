"""The directory backend: what is durable when, what a crash leaves, and what tools see in the directory."""

import errno
import multiprocessing
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentfs.errors import (
    BucketNotFound,
    NoSpace,
    ObjectBusy,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from agentfs.stores import open_writers
from agentfs.stores.directory_sync import DirectorySync
from agentfs.stores.directory_walk import SELF, TEMPORARY
from agentfs.stores.local import STALE_SECONDS, LocalStore
from agentfs.stores.probe import probe


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(str(root))


def tree(root: Path) -> dict[str, bytes]:
    """The files of a directory, those of the store itself included."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# ---- plain files ----


def test_objects_are_plain_files_and_nothing_else_stays(store: LocalStore, root: Path) -> None:
    store.put("agents/x/notes.md", b"# Notes\n")
    store.put("agents/x/notes.md", b"# Notes 2\n")
    store.put("log/1", b"one", create_only=True)
    with pytest.raises(ObjectExists):
        store.put("log/1", b"two", create_only=True)
    assert tree(root) == {"agents/x/notes.md": b"# Notes 2\n", "log/1": b"one"}


def test_files_of_others_are_objects(store: LocalStore, root: Path) -> None:
    (root / "agents/x").mkdir(parents=True)
    (root / "agents/x/by-hand.md").write_bytes(b"hello")
    (root / "agents/x/na\u00efve.md").write_bytes(b"na\xc3\xafve")
    (root / "agents/x/a\nb.md").write_bytes(b"not a name of ours")
    (root / "agents/x/empty").mkdir()
    os.mkfifo(root / "agents/x/pipe")
    assert [entry.name for entry in store.list("agents/")] == ["agents/x/by-hand.md", "agents/x/na\u00efve.md"]
    everything = ["agents/x/a\nb.md", "agents/x/by-hand.md", "agents/x/na\u00efve.md"]
    assert [entry.name for entry in store.list("agents/", foreign=True)] == everything
    assert store.get("agents/x/by-hand.md").data == b"hello"
    with pytest.raises(ObjectNotFound):
        store.get("agents/x/pipe")


def test_deleting_the_last_object_removes_the_directories(store: LocalStore, root: Path) -> None:
    store.put("a/b/c", b"x")
    store.put("a/d", b"x")
    store.delete("a/b/c")
    assert sorted(path.name for path in (root / "a").iterdir()) == ["d"]
    store.delete("a/d")
    assert [path.name for path in root.iterdir()] == [TEMPORARY]


def test_the_modes_are_the_umasks(store: LocalStore, root: Path) -> None:
    before = os.umask(0o027)
    try:
        store.put("a", b"x")
    finally:
        os.umask(before)
    assert (root / "a").stat().st_mode & 0o777 == 0o640


# ---- an object beside objects below its name ----


def test_a_file_becomes_a_directory_without_a_moment_of_absence(store: LocalStore, root: Path) -> None:
    store.put("a", b"file")
    stop, misses = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            try:
                if store.get("a").data != b"file":
                    misses.append("other bytes")
            except ObjectNotFound:
                misses.append("absent")

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(30):
        store.put("a/b", b"below")
        store.delete("a/b")
        store.put("b", b"x")
    stop.set()
    watcher.join()
    assert misses == []
    assert tree(root) == {f"a/{SELF}": b"file", "b": b"x"}


def test_one_winner_while_the_name_turns_from_file_to_directory_and_back(store: LocalStore) -> None:
    """Create-only puts of `a` race with puts and deletes of `a/b`."""
    for number in range(25):
        name, barrier = f"r{number}/a", threading.Barrier(8)

        def create(racer: int, name: str = name, barrier: threading.Barrier = barrier) -> bytes | None:
            barrier.wait()
            try:
                store.put(name, b"%d" % racer, create_only=True)
            except ObjectExists:
                return None
            return b"%d" % racer

        def churn(_: int, name: str = name, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            for _ in range(3):
                store.put(f"{name}/b", b"below")
                store.delete(f"{name}/b")

        with ThreadPoolExecutor(8) as pool:
            churning = [pool.submit(churn, n) for n in range(3)]
            winners = [won for won in pool.map(create, range(5)) if won is not None]
            for each in churning:
                each.result()
        assert winners == [store.get(name).data]


def test_names_that_the_store_needs_are_refused(store: LocalStore) -> None:
    for name in (f"{TEMPORARY}/x", f"a/{SELF}", SELF, "a/" + "b" * 256):
        with pytest.raises(StoreError):
            store.put(name, b"x")
        with pytest.raises(StoreError):
            store.get(name)


# ---- several processes ----


def _create_many(root: str, racer: int, names: int, barrier, wins) -> None:
    store = LocalStore(root)
    barrier.wait()
    for number in range(names):
        try:
            store.put(f"log/{number:03}", b"%d" % racer, create_only=True)
        except ObjectExists:
            continue
        wins.put((number, racer))


def test_processes_racing_for_names_have_one_winner_each(root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, wins, names = context.Barrier(3), context.Queue(), 60
    processes = [
        context.Process(target=_create_many, args=(str(root), racer, names, barrier, wins)) for racer in range(3)
    ]
    for process in processes:
        process.start()
    won = dict(wins.get(timeout=60) for _ in range(names))
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert wins.empty()
    assert len(won) == names
    store = LocalStore(str(root))
    assert {number: int(store.get(f"log/{number:03}").data) for number in won} == won


# ---- durability ----


@pytest.mark.parametrize("create_only", [True, False])
def test_the_file_is_durable_before_its_name_and_the_name_before_the_return(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, create_only: bool
) -> None:
    store.put("warm", b"up")
    steps: list[str] = []
    real_fsync, real_link, real_rename = os.fsync, os.link, os.rename

    def shown(path: str) -> str:
        relative = os.path.relpath(path, root)
        return "temporary file" if relative.startswith(TEMPORARY) else relative

    def fsync(descriptor: int) -> None:
        steps.append("fsync " + shown(os.readlink(f"/proc/self/fd/{descriptor}")))
        real_fsync(descriptor)

    def name_it(real):
        def step(source: str, target: str) -> None:
            real(source, target)
            steps.append("name " + shown(target))

        return step

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", name_it(real_link))
    monkeypatch.setattr(os, "rename", name_it(real_rename))
    store.put("dir/sub/a", b"x", create_only=create_only)
    assert steps == ["fsync temporary file", "name dir/sub/a", "fsync dir/sub", "fsync dir", "fsync ."]
    steps.clear()
    store.put("dir/sub/b", b"x", create_only=create_only)
    assert steps == ["fsync temporary file", "name dir/sub/b", "fsync dir/sub"], "the rest is known to be durable"
    steps.clear()
    store.delete("dir/sub/b")
    assert steps == ["fsync dir/sub"]


def test_a_directory_made_again_is_made_durable_again(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("dir/a", b"x")
    LocalStore(str(root)).delete("dir/a")
    synced: list[str] = []
    real_fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real_fsync(fd))[1]
    )
    (root / "another").mkdir()  # so that the new directory is not likely to get the old inode number
    store.put("dir/a", b"x")
    assert str(root / "dir") in synced


def test_a_failed_fsync_of_the_file_leaves_no_object(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"old")
    failing(monkeypatch, "fsync", errno.EIO)
    with pytest.raises(StoreUnavailable):
        store.put("a", b"new")
    with pytest.raises(StoreUnavailable):
        store.put("b", b"new", create_only=True)
    monkeypatch.undo()
    assert tree(root) == {"a": b"old"}


def test_a_failed_fsync_of_the_directory_is_an_unknown_outcome(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"old")
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, "injected")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutcomeUnknown):
        store.put("log/1", b"new", create_only=True)


def test_many_puts_share_the_fsyncs_of_their_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sync, count, entered, go = DirectorySync(), [0], threading.Event(), threading.Event()
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        count[0] += 1
        entered.set()
        assert go.wait(60)
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(sync.sync, str(tmp_path))
        assert entered.wait(60)
        others = [pool.submit(sync.sync, str(tmp_path)) for _ in range(20)]
        while sync._turns[str(tmp_path)].waiting < 21:
            pass
        go.set()
        for future in [first, *others]:
            future.result(60)
    assert count[0] == 2, "one that ran already, and one for all who came while it ran"
    assert not sync._turns


def test_a_failed_shared_fsync_fails_for_all_who_shared_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sync = DirectorySync()
    failing(monkeypatch, "fsync", errno.EIO)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(sync.sync, str(tmp_path)) for _ in range(8)]
    assert all(isinstance(future.exception(), OSError) for future in futures)


# ---- what a crash leaves ----


def test_temporary_files_are_no_objects_and_stale_ones_go(store: LocalStore, root: Path) -> None:
    store.put("a", b"x")
    stale, fresh = root / TEMPORARY / "1-dead", root / TEMPORARY / "2-alive"
    for path in (stale, fresh):
        path.write_bytes(b"half")
    past = fresh.stat().st_mtime - STALE_SECONDS - 10
    os.utime(stale, (past, past))
    another = LocalStore(str(root))
    assert [entry.name for entry in another.list("")] == ["a"]
    another.put("b", b"x")
    assert not stale.exists()
    assert fresh.exists(), "another process may be writing it"


# ---- what a person must set right ----


def test_a_missing_root_is_empty_and_made_by_the_first_put(store: LocalStore, root: Path) -> None:
    assert store.list("") == []
    store.delete("a")
    with pytest.raises(ObjectNotFound):
        store.get("a")
    assert not root.exists(), "reading makes nothing"
    store.put("a", b"x")
    assert store.get("a").data == b"x"


def test_a_missing_parent_of_the_root_is_an_error(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "not-mounted" / "root"))
    calls = [
        lambda: store.get("a"),
        lambda: store.put("a", b"x"),
        lambda: store.put("a", b"x", create_only=True),
        lambda: store.delete("a"),
        lambda: store.list(""),
        lambda: probe(store),
    ]
    for call in calls:
        with pytest.raises(BucketNotFound, match="not-mounted"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(BucketNotFound, match="not a directory"):
        LocalStore(str(tmp_path / "file")).put("a", b"x")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, NoSpace),
        (errno.EROFS, StoreDenied),
        (errno.EACCES, StoreDenied),
        (errno.EIO, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
    ],
)
@pytest.mark.parametrize("function", ["write", "link", "mkdir"])
def test_errors_of_the_disk_are_named_and_nothing_was_written(
    store: LocalStore,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    code: int,
    expected: type[Exception],
) -> None:
    store.put("a", b"old")
    failing(monkeypatch, function, code)
    with pytest.raises(expected):
        store.put("new/b", b"new", create_only=True)
    monkeypatch.undo()
    assert tree(root) == {"a": b"old"}


def test_a_full_file_system_is_no_space(tmp_path: Path) -> None:
    """The real thing: /dev/full cannot hold a directory, a limit on file size stands in for a quota."""
    store = LocalStore(str(tmp_path / "root"))
    store.put("a", b"x")
    with pytest.raises(NoSpace), pytest.MonkeyPatch.context() as patch:
        full = os.open("/dev/full", os.O_WRONLY)
        real_write = os.write
        patch.setattr(os, "write", lambda descriptor, data: real_write(full, data))
        store.put("b", b"x")
    os.close(full)


def failing(monkeypatch: pytest.MonkeyPatch, function: str, code: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, fail)


def test_other_users_cannot_look_into_a_root_that_we_made(tmp_path: Path) -> None:
    LocalStore(str(tmp_path / "store")).put("agents/a/notes.md", b"private")
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_what_a_program_is_writing_is_not_taken_from_under_it(store: LocalStore, root: Path, mode: str) -> None:
    tag = store.put("a/b", b"one")
    store.put("a/c", b"")
    with open(root / "a" / "b", mode, buffering=0) as program:
        program.seek(0, os.SEEK_END)
        with pytest.raises(ObjectBusy, match="open for writing"):
            store.put("a/b", b"two", replacing=tag)
        with pytest.raises(ObjectBusy):
            store.delete_many(["a/b", "a/c"])
        program.write(b", and more")
    assert [it.name for it in store.list("")] == ["a/b"]
    assert store.get("a/b").data == b"one, and more"
    with open(root / "a" / "b", "rb"):  # who reads is in nobody's way
        store.put("a/b", b"two", replacing=store.head("a/b").tag)
        store.delete("a/b")
    assert list(store.list("")) == []


def test_where_a_lease_says_nothing_it_is_not_asked(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_writers, "_file_system", lambda _device: "nfs4")
    tag = store.put("a", b"one")
    with open(root / "a", "ab"):
        store.put("a", b"two", replacing=tag)
    assert store.get("a").data == b"two"


def test_a_program_that_opens_the_file_meanwhile_is_kept_for_a_moment(root: Path) -> None:
    """The kernel tells who holds a lease by a signal, which must not end the process."""
    root.mkdir()
    (root / "a").touch()
    stop = threading.Event()

    def open_often() -> None:
        while not stop.is_set():
            with open(root / "a", "ab"):
                pass

    opener = threading.Thread(target=open_often)
    opener.start()
    found = {open_writers.has_writer(str(root / "a")) for _ in range(1000)}
    stop.set()
    opener.join()
    assert found <= {True, False}
    assert not open_writers.has_writer(str(root / "a"))


def test_the_kind_of_a_file_system_is_known() -> None:
    assert open_writers._file_system(os.stat("/proc").st_dev) == "proc"
    assert open_writers._file_system(0) == ""
