"""What other tools did to the view's objects, as commits (docs/view.md, V-80 ff.)."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from view_worlds import SECOND_NS, LogWorld, outcomes

from agentfs.format.commit import encode_commit
from agentfs.model.ignore import IgnorePatterns
from agentfs.view.importing import AUTHOR, OBJECTS_MAX, Taken, imported

TEXT = b"# Plan\n\none\ntwo\nthree\nfour\nfive\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LogWorld]:
    made = LogWorld(tmp_path / "a")
    yield made
    made.index.close()


def edited(world: LogWorld, path: bytes, old: bytes, new: bytes) -> tuple[bytes, dict[str, str]]:
    data, metadata = world.shown(path)
    assert data.count(old) == 1
    return data.replace(old, new), metadata


def test_an_edit_is_the_file_and_the_block_is_not(world: LogWorld) -> None:
    world.commit(write={b"notes/plan.md": TEXT})
    one = world.found(b"notes/plan.md", edited(world, b"notes/plan.md", b"two", b"2")[0])
    made = imported(world.tree(), [one])
    assert outcomes(made) == {"notes/plan.md": Taken.EDITED}
    assert made.commit is not None
    assert made.commit.author == AUTHOR
    assert made.commit.time_ns == one.modified_ns
    world.take(made)
    assert world.below() == {b"notes/plan.md": TEXT.replace(b"two", b"2")}
    record = world.tree().record(world.inode(b"notes/plan.md") or 0)
    assert record is not None
    assert (record.mode, record.uid, record.mtime_ns) == (0o600, 7, one.modified_ns)


def test_an_edit_of_an_earlier_version_is_merged(world: LogWorld) -> None:
    world.commit(write={b"plan.md": TEXT})
    data, metadata = edited(world, b"plan.md", b"two", b"2")
    world.commit(write={b"plan.md": TEXT.replace(b"five", b"5")})
    made = imported(world.tree(), [world.found(b"plan.md", data, metadata)])
    assert outcomes(made) == {"plan.md": Taken.MERGED}
    world.take(made)
    assert world.data(b"plan.md") == TEXT.replace(b"two", b"2").replace(b"five", b"5")


def test_both_changed_a_line(world: LogWorld) -> None:
    world.commit(write={b"plan.md": TEXT})
    data, metadata = edited(world, b"plan.md", b"two", b"zwei")
    world.commit(write={b"plan.md": TEXT.replace(b"two", b"deux")})
    made = imported(world.tree(), [world.found(b"plan.md", data, metadata)])
    world.take(made)
    merged = world.data(b"plan.md") or b""
    assert b"zwei" in merged
    assert b"deux" in merged
    assert made.commit is not None
    assert len(made.commit.conflicts) == len(made.commit.sides) == 1
    sides = made.commit.sides[0]
    assert [None if it is None else world.read(it) for it in (sides.base, sides.earlier, sides.later)] == [
        TEXT, TEXT.replace(b"two", b"deux"), TEXT.replace(b"two", b"zwei"),
    ]  # fmt: skip


def test_an_edit_is_taken_once(world: LogWorld) -> None:
    """Also where taking it again would say something: the agent took the edit back."""
    world.commit(write={b"log.md": TEXT})
    data, metadata = edited(world, b"log.md", b"five\n", b"five\nsix\n")
    one = world.found(b"log.md", data, metadata)
    world.take(imported(world.tree(), [one]))
    assert world.data(b"log.md") == TEXT + b"six\n"
    world.commit(write={b"log.md": TEXT})
    again = imported(world.tree(), [one])
    assert (outcomes(again), again.commit) == ({"log.md": Taken.STALE}, None)
    later = world.found(b"log.md", data, metadata)
    world.take(imported(world.tree(), [later]))
    assert world.data(b"log.md") == TEXT + b"six\n", "the same bytes, put again, are another change"


def test_two_keepers_make_the_same_commit(world: LogWorld, tmp_path: Path) -> None:
    world.commit(write={b"a.md": TEXT, b"b.bin": b"\0\1", b"d/c.md": TEXT})
    objects = [
        world.found(b"a.md", *edited(world, b"a.md", b"two", b"2")),
        world.found(b"b.bin", b"\0\2"),
        world.found(b"new/deep/er.md", b"new\n"),
    ]
    gone = [world.gone(b"d/c.md")]
    other = world.copy(tmp_path / "b")
    mine, theirs = (imported(it.tree(), order, gone) for it, order in ((world, objects), (other, objects[::-1])))
    assert mine.commit is not None
    assert theirs.commit is not None
    assert encode_commit(mine.commit, mine.contents) == encode_commit(theirs.commit, theirs.contents)
    world.take(mine)
    assert set(world.below()) == {b"a.md", b"b.bin", b"new/deep/er.md"}
    other.index.close()


def test_without_a_claim_the_base_is_old(world: LogWorld) -> None:
    """A tool dropped the metadata of a file without a block. What the agent wrote a moment before stays."""
    world.commit(write={b"list.txt": b"one\ntwo\nthree\n"})
    world.commit(write={b"list.txt": b"one\ntwo\nthree\nfour\n"})
    fresh = world.found(b"list.txt", b"ONE\ntwo\nthree\n", seconds=5)
    late = world.found(b"list.txt", b"ONE\ntwo\nthree\n", seconds=120)
    world.take(imported(world.tree(), [fresh]))
    assert world.data(b"list.txt") == b"ONE\ntwo\nthree\nfour\n"
    world.commit(write={b"list.txt": b"one\ntwo\nthree\nfour\n"})
    world.take(imported(world.tree(), [world.found(b"list.txt", b"ONE\ntwo\nthree\n", seconds=120)]))
    assert world.data(b"list.txt") == b"ONE\ntwo\nthree\n", "who writes two minutes later has seen the fourth line"
    assert late.was is None


def test_what_cannot_be_merged_is_kept_beside(world: LogWorld) -> None:
    world.commit(write={b"x.bin": b"\0one"})
    one = world.found(b"x.bin", *((b"\0edit"), world.shown(b"x.bin")[1]))
    world.commit(write={b"x.bin": b"\0two"})
    made = imported(world.tree(), [one])
    world.take(made)
    copies = {name: data for name, data in world.below().items() if name != b"x.bin"}
    assert world.data(b"x.bin") == b"\0two"
    assert list(copies.values()) == [b"\0edit"]
    assert next(iter(copies)).startswith(b"x.conflict-bucket-")
    assert made.outcomes[0].taken is Taken.KEPT_ASIDE


def test_the_base_was_collected(world: LogWorld) -> None:
    world.commit(write={b"plan.md": TEXT})
    data, metadata = edited(world, b"plan.md", b"two", b"2")
    now = TEXT.replace(b"five", b"5")
    world.commit(write={b"plan.md": now})
    del world.bytes_[world.commits[0].commit.inodes[-1].content.digest]  # type: ignore[union-attr]
    world.take(imported(world.tree(), [world.found(b"plan.md", data, metadata)]))
    assert sorted(world.below().values()) == sorted([now, TEXT.replace(b"two", b"2")])


@pytest.mark.parametrize("lie", ["ahead", "volume", "digest"])
def test_a_claim_that_the_log_does_not_bear_out_is_none(world: LogWorld, lie: str) -> None:
    world.commit(write={b"plan.md": TEXT})
    world.commit(write={b"plan.md": TEXT + b"six\n"}, seconds=100)
    data, _ = edited(world, b"plan.md", b"two", b"2")
    data = {
        "ahead": data.replace(b"sequence: 2", b"sequence: 99"),
        "volume": data.replace(b"home-ada", b"home-eve"),
        "digest": data.replace(b"sha256: ", b"sha256: " + b"0" * 64 + b" #"),
    }[lie]
    world.take(imported(world.tree(), [world.found(b"plan.md", data, seconds=5)]))
    merged = world.data(b"plan.md") or b""
    assert b"\n2\n" in merged
    assert b"six" in merged


def test_versions_of_our_own_are_nothing_new(world: LogWorld) -> None:
    world.commit(write={b"plan.md": TEXT, b"x.bin": b"\0"})
    old = [world.found(it, *world.shown(it)) for it in (b"plan.md", b"x.bin")]
    made = imported(world.tree(), old)
    assert (set(outcomes(made).values()), made.commit) == ({Taken.RIGHT}, None)
    world.commit(write={b"plan.md": TEXT + b"six\n", b"x.bin": b"\1"})
    made = imported(world.tree(), old)
    assert (set(outcomes(made).values()), made.commit) == ({Taken.STALE}, None)
    world.commit(rename={b"plan.md": b"done.md"}, remove=(b"x.bin",))
    made = imported(world.tree(), old)
    assert (set(outcomes(made).values()), made.commit) == ({Taken.STALE}, None), "left by a keeper that was killed"


def test_a_removed_file_that_is_put_again_is_back(world: LogWorld) -> None:
    world.commit(write={b"plan.md": TEXT})
    data, metadata = world.shown(b"plan.md")
    world.commit(remove=(b"plan.md",))
    late = world.found(b"plan.md", data, metadata, seconds=3600)
    seen = world.found(b"plan.md", data, metadata, seconds=5, appeared=True)
    for one in (late, seen):
        assert outcomes(imported(world.tree(), [one])) == {"plan.md": Taken.CREATED}
    world.take(imported(world.tree(), [seen]))
    assert world.data(b"plan.md") == TEXT


def test_a_copy_is_a_new_file_and_a_move_the_same(world: LogWorld) -> None:
    world.commit(write={b"a.md": TEXT})
    inode = world.inode(b"a.md")
    copy = world.found(b"sub/b.md", *world.shown(b"a.md"))
    made = imported(world.tree(), [copy], [world.gone(b"a.md")])
    assert set(outcomes(made).values()) == {Taken.RENAMED}
    world.take(imported(world.tree(), [copy]))
    assert world.below() == {b"a.md": TEXT, b"sub/b.md": TEXT}
    assert world.inode(b"a.md") == inode != world.inode(b"sub/b.md")
    moved = world.found(b"c.md", *world.shown(b"a.md"))
    world.take(imported(world.tree(), [moved], [world.gone(b"a.md")]))
    assert world.inode(b"c.md") == inode
    assert set(world.below()) == {b"c.md", b"sub/b.md"}


def test_an_edit_follows_its_file(world: LogWorld) -> None:
    world.commit(write={b"a.md": TEXT})
    one = world.found(b"a.md", *edited(world, b"a.md", b"two", b"2"))
    world.commit(rename={b"a.md": b"old/b.md"})
    world.take(imported(world.tree(), [one]))
    assert world.below() == {b"old/b.md": TEXT.replace(b"two", b"2")}


def test_an_edit_outlives_a_removal(world: LogWorld) -> None:
    world.commit(write={b"a.md": TEXT})
    one = world.found(b"a.md", *edited(world, b"a.md", b"two", b"2"))
    world.commit(remove=(b"a.md",))
    world.take(imported(world.tree(), [one]))
    assert world.below() == {b"a.md": TEXT.replace(b"two", b"2")}


def test_a_removal_takes_only_what_it_saw(world: LogWorld) -> None:
    world.commit(write={b"a.md": TEXT, b"b.md": TEXT})
    gone = [world.gone(b"a.md"), world.gone(b"b.md")]
    world.commit(write={b"b.md": TEXT + b"six\n"})
    made = imported(world.tree(), [], gone)
    assert outcomes(made) == {"a.md": Taken.DELETED, "b.md": Taken.STALE}
    world.take(made)
    assert world.below() == {b"b.md": TEXT + b"six\n"}


def test_places_without_room(world: LogWorld) -> None:
    world.commit(write={b"d/a.md": TEXT})
    ignore = IgnorePatterns((b"*.swp", b"node_modules/"))
    objects = [
        world.found(it, b"x\n") for it in (b"d", b"d/a.md/b.md", b"d/.a.md.swp", b"node_modules/x/y.js", b"d/ok.md")
    ]
    made = imported(world.tree(), objects, ignore=ignore)
    assert {name for name, taken in outcomes(made).items() if taken is Taken.LEFT_ALONE} == {
        "d", "d/a.md/b.md", "d/.a.md.swp", "node_modules/x/y.js",
    }  # fmt: skip
    world.take(made)
    assert set(world.below()) == {b"d/a.md", b"d/ok.md"}


def test_a_locked_file_waits(world: LogWorld) -> None:
    world.commit(write={b"a.md": TEXT, b"b.md": TEXT})
    one = world.found(b"a.md", *edited(world, b"a.md", b"two", b"2"))
    locked = frozenset({world.inode(b"a.md") or 0, world.inode(b"b.md") or 0})
    made = imported(world.tree(locked), [one], [world.gone(b"b.md")])
    assert (set(outcomes(made).values()), made.commit) == ({Taken.WAITS}, None)


def test_many_come_in_several_commits(world: LogWorld) -> None:
    world.commit(write={b"a.md": TEXT})
    objects = [world.found(b"new/%04d.md" % at, b"note %d\n" % at) for at in range(OBJECTS_MAX + 20)]
    first = imported(world.tree(), objects)
    assert first.rest
    world.take(first)
    second = imported(world.tree(), objects[OBJECTS_MAX:])
    assert not second.rest
    world.take(second)
    assert len(world.below()) == OBJECTS_MAX + 21


def test_large_files(world: LogWorld) -> None:
    world.commit(write={b"a.md": TEXT})
    large = random.Random(7).randbytes(2_500_000)
    made = imported(world.tree(), [world.found(b"x.bin", large)])
    assert [len(it) for it in made.chunks.values()] == [1_048_576, 1_048_576, 402_848]
    world.take(made)
    assert world.data(b"x.bin") == large


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_no_line_is_lost_and_none_comes_twice(world: LogWorld, seed: int) -> None:
    """An agent and an outsider edit a few files; what the outsider starts from lags behind."""
    rng = random.Random(seed)
    paths = [b"a.md", b"b.txt", b"c.jsonl"]
    world.commit(write={path: b"".join(b'{"n": "start %d"}\n' % at for at in range(8)) for path in paths})
    bucket = {path: world.shown(path) for path in paths}
    stamp, expected, waiting = 0, {path: set[bytes]() for path in paths}, list[bytes]()
    for _ in range(40):
        path, stamp = rng.choice(paths), stamp + 1
        line = b'{"n": "line %d"}\n' % stamp
        if rng.random() < 0.5:
            data = world.data(path) or b""
            at = data.find(b"\n", rng.randrange(len(data))) + 1 or len(data)
            world.commit(write={path: data[:at] + line + data[at:]}, seconds=rng.randint(1, 100))
        else:
            if path in waiting:
                continue
            shown, metadata = bucket[path]
            start = shown.find(b"---\n", 4) + 4 if shown.startswith(b"---") else 0
            at = shown.find(b"\n", rng.randrange(start, len(shown))) + 1 or len(shown)
            bucket[path] = (shown[:at] + line + shown[at:], metadata)
            waiting.append(path)
        expected[path].add(line)
        if rng.random() < 0.5:
            found = [world.found(it, *bucket[it], seconds=rng.randint(1, 50)) for it in waiting]
            for _ in range(rng.randint(1, 2)):  # repeated: its answer was lost
                world.take(imported(world.tree(), found))
            for it in waiting:
                bucket[it] = world.shown(it)
            waiting.clear()
        if rng.random() < 0.3:
            bucket |= {it: world.shown(it) for it in paths if it not in waiting}
    world.take(imported(world.tree(), [world.found(it, *bucket[it]) for it in waiting]))
    for path in paths:
        lines = (world.data(path) or b"").splitlines(keepends=True)
        assert {it for it in expected[path] if lines.count(it) != 1} == set(), path


def test_the_clock_of_a_commit_goes_on(world: LogWorld) -> None:
    world.commit(write={b"a.md": TEXT})
    one = world.found(b"b.md", b"x\n", seconds=-3600)
    made = imported(world.tree(), [one])
    assert made.commit is not None
    assert made.commit.time_ns == world.now_ns + 1
    assert one.modified_ns < world.now_ns - 3000 * SECOND_NS


def test_a_late_object_of_ours_without_metadata_is_none(world: LogWorld) -> None:
    """A directory keeps none: what another keeper wrote last must not come back as an edit."""
    world.commit(write={b"x.bin": b"\0one"})
    world.commit(write={b"x.bin": b"\0two"}, seconds=10)
    world.commit(write={b"x.bin": b"\0three"}, seconds=10)
    for late in (b"\0one", b"\0two"):
        made = imported(world.tree(), [world.found(b"x.bin", late, seconds=1)])
        assert (outcomes(made), made.commit) == ({"x.bin": Taken.STALE}, None)
    meant = imported(world.tree(), [world.found(b"x.bin", b"\0one", seconds=100)])
    assert outcomes(meant) == {"x.bin": Taken.EDITED}, "somebody put an old version back"


def test_what_an_agent_deleted_at_the_end_does_not_come_back_with_an_addition(world: LogWorld) -> None:
    world.commit(write={b"log.md": TEXT + b"six\n"})
    data, metadata = edited(world, b"log.md", b"six\n", b"six\nseven\n")
    world.commit(write={b"log.md": TEXT})
    world.take(imported(world.tree(), [world.found(b"log.md", data, metadata)]))
    assert world.data(b"log.md") == TEXT + b"seven\n"


def test_what_says_nothing_and_is_left_of_a_removed_file_goes_where_ours_say_nothing_either(world: LogWorld) -> None:
    """In a directory: a keeper died after its put, or slept before it."""
    world.commit(write={b"a.bin": b"\0one", b"b.bin": b"\0b"})
    world.commit(write={b"a.bin": b"\0two"})
    world.commit(remove=(b"a.bin",))

    def taken(data: bytes, *, bare: bool = True, **how: Any) -> Taken:
        found = replace(world.found(b"a.bin", data, **how), bare=bare)
        return outcomes(imported(world.tree(), [found]))["a.bin"]

    assert taken(b"\0two") is taken(b"\0one") is Taken.STALE
    assert taken(b"\0two", seconds=1300) is taken(b"\0two", appeared=True) is Taken.CREATED, "somebody put it back"
    assert taken(b"\0b") is taken(b"\0three") is taken(b"\0two", bare=False) is Taken.CREATED
