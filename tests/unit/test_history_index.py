"""The index of the history, judged by plain replays of the log."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from history_worlds import NAMES, History, Thing, histories, naive_events
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentfs.errors import HistoryBroken, InvalidArgument, VersionGone
from agentfs.format.snapshot import inode_record
from agentfs.format.snapshot_rows import SnapshotRows, check_rows
from agentfs.fsck.replay import LogTree
from agentfs.history.events import PathEvent, path_events
from agentfs.history.index import HistoryIndex
from agentfs.history.trees import tree_rows
from agentfs.model.records import Kind
from agentfs.replica.database import Connection

PATHS = [(a,) for a in NAMES] + [(a, b) for a in NAMES for b in NAMES] + [(b"a", b"b", b"c"), (b"a", b"a", b"a")]
_SETTINGS = settings(
    max_examples=int(os.environ.get("EXAMPLES", "15")), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@contextmanager
def indexed(history: History, *, cut: int | None = None) -> Iterator[HistoryIndex]:
    with tempfile.TemporaryDirectory() as directory:
        index = HistoryIndex(directory)
        try:
            index.add(history.commits[:cut])
            yield index
        finally:
            index.close()


def lines(events: list[PathEvent]) -> list[tuple[object, ...]]:
    """Without what the naive reader does not know."""
    return [
        ("changed" if it.what == "restored" and _was(events, it) else "created" if it.what == "restored" else it.what,
         it.sequence, it.path, it.other, (it.kind, it.size_bytes))
        for it in events
    ]  # fmt: skip


def _was(events: list[PathEvent], event: PathEvent) -> bool:
    """Whether there was something at the path right before."""
    at = events.index(event)
    return at > 0 and events[at - 1].what != "deleted"


@_SETTINGS
@given(histories())
def test_the_history_of_every_path_is_that_of_whole_trees(history: History) -> None:
    with indexed(history) as index, index.reading() as sql:
        for path in PATHS:
            events = list(path_events(sql, path, len(history.commits)))
            wanted = [
                (it.what, it.sequence, it.path, it.other, (it.state[0], len(it.state[1])))
                for it in naive_events(history, path)
            ]
            assert lines(events) == wanted, path


@_SETTINGS
@given(histories())
def test_the_tree_at_every_sequence_is_that_of_a_replay(history: History) -> None:
    plain = LogTree()
    with indexed(history) as index, index.reading() as sql:
        for commit, digest in history.commits:
            plain.apply(commit)
            rows = tree_rows(sql, commit.sequence, "home-x")
            check_rows(rows)
            assert plain.differences(rows) == []
            assert (rows.commit_digest, rows.time_ns) == (digest, commit.time_ns)


def snapshot_of(history: History, at: int) -> SnapshotRows:
    with indexed(history, cut=at) as index, index.reading() as sql:
        return tree_rows(sql, at, "home-x")


@_SETTINGS
@given(histories(commits_max=12), st.data())
def test_a_hole_in_the_log_is_one_step(history: History, data: st.DataObject) -> None:
    """Commits that were collected: what is before and after them stays exact."""
    end = len(history.commits)
    until = data.draw(st.integers(1, end))
    first = data.draw(st.integers(1, until))
    whole = snapshot_of(history, until)
    with indexed(history, cut=first - 1) as index:
        index.add_snapshot(whole)
        assert index.add(history.commits[until:]) == end - until
        assert index.head() == (end, history.commits[-1][1])
        plain = LogTree()
        with index.reading() as sql:
            for commit, _ in history.commits:
                plain.apply(commit)
                if first <= commit.sequence < until:
                    with pytest.raises(VersionGone, match=f"next that is known is {until}"):
                        tree_rows(sql, commit.sequence, "home-x")
                else:
                    assert plain.differences(tree_rows(sql, commit.sequence, "home-x")) == []
            joined = History([it for at, it in enumerate(history.trees) if not first <= at < until])
            for path in PATHS:
                found = [
                    (it[0], it[2], it[3], it[4]) for it in lines(list(path_events(sql, path, end)))
                ]  # fmt: skip
                wanted = [
                    (it.what, it.path, it.other, (it.state[0], len(it.state[1]))) for it in naive_events(joined, path)
                ]
                assert found == wanted, path


@_SETTINGS
@given(histories())
def test_versions_count_contents(history: History) -> None:
    """Numbers grow by one with each new content, never otherwise; bytes of an earlier version are `restored`."""
    with indexed(history) as index, index.reading() as sql:
        for path in PATHS:
            number = 0
            seen = set()
            for event in path_events(sql, path, len(history.commits), attributes=True):
                state = (event.kind, event.digest, event.target)
                if event.content_changed:
                    number += 1
                    back = event.what in ("created", "changed", "restored") and event.kind is not Kind.DIRECTORY
                    assert not back or (event.what == "restored") == (state in seen)
                    seen.add(state)
                assert event.version == (None if event.what == "deleted" else number)


def simple() -> History:
    history = History()
    for content in (b"one", b"two", b"three"):
        tree = history.trees[-1].copy()
        tree.names[(1, b"f")] = number = len(history.trees) << 24
        tree.things[number] = Thing(Kind.FILE, content, 0o644)
        history.add(tree)
    return history


def test_files_that_replace_each_other_are_versions_of_the_path() -> None:
    with indexed(simple()) as index, index.reading() as sql:
        events = path_events(sql, (b"f",), 3)
        assert [(it.version, it.what, it.size_bytes) for it in events] == [
            (1, "created", 3),
            (2, "changed", 3),
            (3, "changed", 5),
        ]


def test_a_hard_link_in_a_directory_that_is_moved_keeps_its_own_name() -> None:
    """The file has two names; the one in the moved directory goes on as it was called there."""
    history = History()
    tree = history.trees[-1].copy()
    directory, file = 1 << 24, (1 << 24) + 1
    tree.things |= {directory: Thing(Kind.DIRECTORY, b"", 0o755), file: Thing(Kind.FILE, b"x", 0o644)}
    tree.names |= {(1, b"b"): directory, (directory, b"f"): file, (1, b"a"): file}
    history.add(tree)
    tree = history.trees[-1].copy()
    tree.names[1, b"c"] = tree.names.pop((1, b"b"))
    del tree.names[1, b"a"]
    history.add(tree)
    with indexed(history) as index, index.reading() as sql:
        events = path_events(sql, (b"c", b"f"), 2)
        assert [(it.what, it.path, it.other) for it in events] == [
            ("created", (b"b", b"f"), None),
            ("renamed", (b"c", b"f"), (b"b", b"f")),
        ]
        assert [it.what for it in path_events(sql, (b"a",), 2)] == ["created", "deleted"]


def test_what_does_not_continue_the_history_is_refused() -> None:
    history = simple()
    with indexed(history, cut=1) as index:
        with pytest.raises(HistoryBroken):
            index.add(history.commits[2:])
        forged = replace(history.commits[1][0], parent=bytes(32))
        with pytest.raises(HistoryBroken):
            index.add([(forged, history.commits[1][1])])
        assert index.head()[0] == 1
        assert index.add(history.commits) == 2


def test_a_crash_in_the_middle_of_an_entry_leaves_none_of_it() -> None:
    history = simple()
    with indexed(history, cut=1) as index:
        broken = replace(history.commits[1][0], inodes=(*history.commits[1][0].inodes,) * 2)
        with pytest.raises(Exception, match="UNIQUE"):
            index.add([(broken, history.commits[1][1])])
        assert index.head()[0] == 1
        index.add(history.commits)
        with index.reading() as sql:
            assert len(path_events(sql, (b"f",), 3)) == 3


def test_a_damaged_or_older_index_is_made_anew() -> None:
    history = simple()
    with indexed(history) as index:
        index.close()
        other = Connection(index.path)
        other.execute("UPDATE state SET value=0")
        other.close()
        again = HistoryIndex(index.path.rpartition("/")[0])
        assert again.head() == (0, bytes(32))
        again.close()
        with open(index.path, "r+b") as file:
            file.write(b"not a database at all" * 100)
        again = HistoryIndex(index.path.rpartition("/")[0])
        assert again.head() == (0, bytes(32))
        assert again.add(history.commits) == 3
        again.close()


def test_a_tree_that_never_was_is_said_so() -> None:
    with indexed(simple()) as index, index.reading() as sql, pytest.raises(InvalidArgument, match="newest is 3"):
        tree_rows(sql, 4, "home-x")


def test_records_of_a_tree_are_those_of_the_commits() -> None:
    history = simple()
    with indexed(history) as index, index.reading() as sql:
        rows = tree_rows(sql, 2, "home-x")
        assert [inode_record(row) for row in rows.inodes[1:]] == list(history.commits[1][0].inodes)
