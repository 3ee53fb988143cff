"""Lifecycle rules on real engines: what they do is commits, done once, which nothing of anybody is lost by."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lifecycle_world import LOGS, Keeper, chain
from retention_world import World, world_in

from agentfs.errors import ClocksDisagree, Corrupt, ReadOnly
from agentfs.format.commit import decode_commit
from agentfs.format.layout import lifecycle_name
from agentfs.fsck.store_check import StoreCheck
from agentfs.log.log import Entry
from agentfs.model.records import Commit
from agentfs.tree.values import AttributeChange

Make = Callable[..., Keeper]
ARCHIVE = '[[lifecycle]]\nglob = "daily/**"\narchive = "90d"\n'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


@pytest.fixture
def keeper(world: World) -> Iterator[Make]:
    made: list[Keeper] = []

    def make(name: str = "ann", **options: object) -> Keeper:
        made.append(Keeper.of(world, name, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for it in made:
        it.close()


def last(world: World, sequence: int) -> Commit:
    entry = world.log().entry(sequence)
    assert isinstance(entry, Entry)
    assert entry.data is not None
    return decode_commit(entry.data, volume="space-sim", sequence=sequence)[0]


def test_what_is_old_enough_goes_by_one_commit_that_says_why(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.rule(LOGS)
    ann.written("logs/a", "logs/sub/b", "notes.md")
    world.days(20)
    ann.written("logs/a")
    assert ann.due() == []
    world.days(15)
    head, before = ann.head(), ann.node.engine.ground.store.counts
    assert ann.due() == [("logs/sub/b", "expire")]
    assert (ann.node.engine.ground.store.counts - before).requests <= 6
    assert ann.head() == head, "looking changes nothing"
    done = ann.run()
    assert (done["files"], done["size_bytes"], done["left"]) == (1, 15, 0)
    assert ann.shown() == {"logs/a", "notes.md"}
    commit = last(world, ann.head())
    assert ann.head() == head + 1
    assert ann.node.tree.attributes(ann.node.at("logs/sub")).mtime_ns == commit.time_ns, "as any deletion leaves it"
    assert (commit.author, commit.cause) == ("lifecycle", "rule logs/** expire 30d")
    reader, _ = ann.history.reader(ann.node.engine)
    events = reader.events((b"logs", b"sub", b"b"))
    assert [(it.what, it.author, it.cause) for it in events] == [
        ("created", "ann", ""),
        ("deleted", "lifecycle", "rule logs/** expire 30d"),
    ]
    world.check()


def test_the_chore_waits_an_hour_with_new_rules_and_then_does_a_commit_at_a_time(
    world: World, keeper: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentfs.volume.lifecycle.BATCH_MAX", 4)
    ann = keeper()
    ann.written(*(f"logs/{number}" for number in range(10)))
    world.days(40)
    ann.rule(LOGS)
    ann.quiet(3500)
    assert len(ann.shown()) == 10
    head, asked = ann.head(), ann.node.engine.ground.store.counts
    ann.quiet(60 * 30)
    assert ann.shown() == set()
    commits = [last(world, at) for at in range(head + 1, ann.head() + 1)]
    assert [len(it.unlinks) for it in commits] == [4, 4, 2]
    assert all(b.time_ns - a.time_ns >= 10**10 for a, b in itertools.pairwise(commits)), "one a call"
    assert (ann.node.engine.ground.store.counts - asked).requests < 40
    before = ann.node.engine.ground.store.counts
    ann.quiet(86_400)
    assert (ann.node.engine.ground.store.counts - before).requests <= 24 * 4


def test_without_rules_an_engine_asks_once_an_hour(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.written("logs/a")
    before = ann.node.engine.ground.store.counts
    ann.quiet(86_400)
    done = ann.node.engine.ground.store.counts - before
    assert (done.requests, done.puts) == (24, 0)


def test_new_rules_take_the_hour_anew_and_a_rule_that_was_taken_back_does_nothing(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.written("logs/a", "tmp/a")
    world.days(40)
    ann.rule('[[lifecycle]]\nglob = "**"\nexpire = "1d"\n')
    ann.quiet(3000)
    ann.rule('[[lifecycle]]\nglob = "tmp/**"\nexpire = "1d"\n')
    ann.quiet(3000)
    assert ann.shown() == {"logs/a", "tmp/a"}
    ann.quiet(4000)
    assert ann.shown() == {"logs/a"}


def test_rules_that_change_in_the_middle_stop_what_is_under_way(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.rule(LOGS)
    ann.written("logs/a")
    world.days(40)
    force = chain(world).newest()
    batches = [it for it in ann.service._asked(ann.node.engine, force, lambda _: None).batches() if it]
    ann.rule("# none\n")
    assert ann.service.apply(ann.node.engine, chain(world), force, batches[0]) == ()
    assert ann.shown() == {"logs/a"}


def test_damaged_rules_are_no_rules_and_can_be_replaced(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.written("logs/a")
    ann.rule(LOGS)
    world.days(40)
    world.store.put(lifecycle_name(chain(world).prefix, 2), b"what somebody's tool left")
    with pytest.raises(Corrupt, match="were not used"):
        ann.run()
    found = StoreCheck(world.store, "space", "sim").run().findings.found
    assert [it.kind for it in found if it.severity == "damage" and it.kind != "store-file"] == ["rules-damaged"]
    ann.quiet(7200)
    assert ann.shown() == {"logs/a"}
    ann.rule(LOGS)
    assert chain(world).newest().number == 3
    ann.run()
    assert ann.shown() == set()


# ---- two machines ------------------------------------------------------------------------------------------------


def test_a_change_that_the_history_has_not_heard_of_makes_a_file_young(
    world: World, keeper: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was restored elsewhere while a run was under way here, and the disk had no room for the history."""
    monkeypatch.setattr("agentfs.volume.lifecycle.BATCH_MAX", 1)
    ann, bob = keeper(), keeper("bob")
    ann.rule(LOGS)
    ann.written("logs/a", "logs/b")
    bob.node.sync()
    world.days(40)
    force = chain(world).newest()
    work = (it for it in ann.service._asked(ann.node.engine, force, lambda _: None).batches() if it)
    assert [step.file.path for step in next(work)] == [b"logs/a"]
    bob.node.write("logs/b", b"as it was\n")
    bob.dated("logs/b", days_ago=40)
    bob.node.sync()
    with monkeypatch.context() as full:
        full.setattr(type(ann.history.index), "add", lambda *_: None)
        ann.node.sync()
    assert list(work) == []


def test_two_that_apply_the_same_rule_delete_once(world: World, keeper: Make) -> None:
    ann, bob = keeper("ann"), keeper("bob")
    ann.rule(LOGS)
    ann.written("logs/a", "logs/b")
    bob.node.engine.pull_now()
    world.days(40)
    force = chain(world).newest()
    batch = next(it for it in bob.service._asked(bob.node.engine, force, lambda _: None).batches() if it)
    head = ann.head()
    ann.run()
    assert bob.service.apply(bob.node.engine, chain(world), force, batch) == ()
    assert ann.head() == bob.head() == head + 1
    assert bob.shown() == set()
    world.check()


def test_who_loses_the_place_in_the_log_looks_again(world: World, keeper: Make) -> None:
    """Between the draft and its put another machine edits one of the files: that one lives, the other one goes."""
    bob = keeper("bob")

    def meanwhile(point: str) -> None:
        if point == "lifecycle.drafted" and bob.node.read("logs/a") != b"edited":
            bob.node.write("logs/a", b"edited")
            bob.node.sync()

    ann = keeper("ann", failpoint=meanwhile)
    ann.rule(LOGS)
    ann.written("logs/a", "logs/b")
    bob.node.engine.pull_now()
    world.days(40)
    done = ann.run()
    assert (done["files"], done["left"]) == (1, 1)
    bob.node.engine.pull_now()
    assert ann.shown() == bob.shown() == {"logs/a"}
    assert ann.node.read("logs/a") == b"edited"
    world.check()


def test_an_edit_that_was_not_committed_yet_lives(world: World, keeper: Make) -> None:
    """On another machine, and here."""
    ann, bob = keeper("ann"), keeper("bob")
    ann.rule(LOGS)
    ann.written("logs/a", "logs/b", "logs/c")
    bob.node.engine.pull_now()
    world.days(40)
    bob.node.write("logs/a", b"bob was offline")
    ann.node.write("logs/b", b"ann writes")
    assert ann.due() == [("logs/a", "expire"), ("logs/c", "expire")]
    ann.run()
    assert ann.shown() == {"logs/b"}
    bob.node.sync()
    ann.node.sync()
    bob.node.engine.pull_now()
    assert ann.shown() == bob.shown() == {"logs/a", "logs/b"}
    assert ann.node.read("logs/a") == b"bob was offline"
    ann.quiet(7200)
    bob.quiet(7200)
    ann.run()
    assert ann.shown() == {"logs/a", "logs/b"}, "they are new"
    world.check()


def test_an_edit_here_between_the_look_and_the_commit_lives(world: World, keeper: Make) -> None:
    made: list[Keeper] = []

    def meanwhile(point: str) -> None:
        if point == "lifecycle.drafted":
            made[0].node.write("logs/a", b"just now")

    made.append(keeper("ann", failpoint=meanwhile))
    ann = made[0]
    ann.rule(LOGS)
    ann.written("logs/a")
    world.days(40)
    ann.run()
    ann.node.sync()
    assert ann.node.read("logs/a") == b"just now"
    world.check()


def test_who_sees_anothers_rule_at_work_leaves_it_alone(world: World, keeper: Make) -> None:
    ann, bob = keeper("ann"), keeper("bob")
    ann.rule(LOGS)
    ann.written("logs/a")
    world.days(40)
    ann.quiet(3000)
    assert ann.shown() == set()
    bob.node.engine.pull_now()
    before = bob.node.engine.ground.store.counts
    bob.quiet(3500)
    assert (bob.node.engine.ground.store.counts - before).requests == 0


# ---- what is left alone ------------------------------------------------------------------------------------------


def test_open_locked_pinned_and_private_files_stay(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.rule(LOGS)
    paths = ("logs/open", "logs/pinned.md", "logs/rule.md", "logs/attribute.bin", "logs/plain.md", "logs/locked")
    ann.written(*paths)
    ann.node.write("logs/pinned.md", b"---\npinned: true\n---\nStay.\n")
    ann.node.write("logs/rule.md", b"---\ntype: instruction\n---\nAlways.\n")
    ann.node.tree.set_xattr(ann.node.at("logs/attribute.bin"), b"user.agentfs.pinned", b"true", 0)
    ann.node.symlink("logs/link", b"plain.md")
    ann.node.write("logs/only-here.swp", b"ignored")
    ann.node.sync()
    ann.node.engine.evict(cache_bytes=0)  # what a file says of itself is then fetched
    with ann.node.replica.transaction() as tx:
        tx.sql.execute(
            "INSERT INTO lock SELECT id, 'bob', 1, 60 FROM inode WHERE ino=?", (ann.node.at("logs/locked"),)
        )
    world.days(40)
    handle = ann.node.open("logs/open", 1)
    assert ann.due() == [("logs/plain.md", "expire")]
    ann.node.tree.release(handle)
    assert ann.due() == [("logs/open", "expire"), ("logs/plain.md", "expire")]
    ann.run()
    assert {it.decode() for it in ann.node.show()} == {
        "logs", "logs/pinned.md", "logs/rule.md", "logs/attribute.bin", "logs/locked", "logs/link",
        "logs/only-here.swp",
    }  # fmt: skip
    assert ann.ask("lifecycle-explain", path="logs/pinned.md")["waits"].startswith("it is pinned")
    assert ann.ask("lifecycle-explain", path="logs/locked")["waits"] == "it is locked"


def test_what_is_opened_or_locked_after_the_look_stays(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.rule(LOGS)
    ann.written("logs/a", "logs/b", "logs/c")
    world.days(40)
    force = chain(world).newest()
    batch = next(it for it in ann.service._asked(ann.node.engine, force, lambda _: None).batches() if it)
    handle = ann.node.open("logs/a", 1)
    ann.node.rename("logs/b", "logs/b2")
    assert [it.file.path for it in ann.service.apply(ann.node.engine, chain(world), force, batch)] == [b"logs/c"]
    ann.node.tree.release(handle)
    assert ann.shown() == {"logs/a", "logs/b2"}


def test_what_comes_from_elsewhere_with_an_old_time_is_not_old(world: World, keeper: Make) -> None:
    """Copied in with its times, moved in by its name, or by a directory's."""
    ann = keeper()
    ann.written("inbox/a", "project/x/b")
    world.days(40)
    ann.rule(LOGS)
    ann.node.mkdir("logs")
    ann.node.write("logs/copied", b"x")
    ann.node.tree.set_attributes(ann.node.at("logs/copied"), AttributeChange(mtime_ns=10**18))
    ann.node.rename("inbox/a", "logs/moved")
    ann.node.rename("project", "logs/project")
    ann.node.sync()
    assert ann.due() == []
    world.days(31)
    assert {path for path, _ in ann.due()} == {"logs/copied", "logs/moved", "logs/project/x/b"}


def test_what_is_restored_begins_anew(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.rule(LOGS)
    ann.written("logs/a")
    world.days(40)
    ann.run()
    ann.node.write("logs/a", b"text\nlogs/a")
    ann.dated("logs/a", days_ago=60)
    ann.node.sync()
    ann.run()
    ann.quiet(7200)
    assert ann.shown() == {"logs/a"}
    world.days(30)
    ann.run()
    assert ann.shown() == set()


def test_a_clock_that_is_wrong_does_nothing(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.rule(LOGS)
    ann.written("logs/a")
    world.days(25)
    store_time = world.clock.wall_ns

    class Ahead:
        """This machine's clock: ten days ahead of the store's."""

        def wall_ns(self) -> int:
            return store_time() + 10 * 86_400 * 10**9

        monotonic = staticmethod(world.clock.monotonic)
        wait = staticmethod(world.clock.wait)

    ann.service._clock = Ahead()
    with pytest.raises(ClocksDisagree, match="differ by 864000 s: correct the wrong one; no rule was applied"):
        ann.run()
    ann.quiet(7200)
    assert ann.shown() == {"logs/a"}
    ann.service._clock = world.clock
    world.days(5)
    ann.run()
    assert ann.shown() == set()


def test_a_writer_whose_clock_was_slow_does_not_make_files_old(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.rule(LOGS)
    ann.written("notes.md")
    world.clock.skew_ns = -400 * 86_400 * 10**9
    ann.node.replica.clock.wall_ns()
    ann.written("logs/a")
    world.clock.skew_ns = 0
    assert ann.due() == []


def test_a_home_that_is_read_only_here_applies_nothing(world: World, keeper: Make) -> None:
    ann, bob = keeper("ann"), keeper("bob", read_only=True)
    ann.rule(LOGS)
    ann.written("logs/a")
    bob.node.engine.pull_now()
    world.days(40)
    bob.quiet(7200)
    with pytest.raises(ReadOnly):
        bob.run()
    assert bob.shown() == {"logs/a"}


# ---- the archive -------------------------------------------------------------------------------------------------


def test_what_is_archived_keeps_its_path_bytes_and_time(world: World, keeper: Make) -> None:
    ann, bob = keeper("ann"), keeper("bob")
    ann.rule(ARCHIVE)
    ann.written("daily/a.md", "daily/2026/b.md", "notes.md")
    ann.node.tree.set_attributes(ann.node.at("daily/2026"), AttributeChange(mode=0o700))
    ann.node.sync()
    world.days(91)
    before = ann.node.tree.attributes(ann.node.at("daily/a.md"))
    head = ann.head()
    ann.run()
    bob.node.engine.pull_now()
    assert ann.head() == head + 1
    assert ann.shown() == bob.shown() == {"archive/daily/a.md", "archive/daily/2026/b.md", "notes.md"}
    after = ann.node.tree.attributes(ann.node.at("archive/daily/a.md"))
    assert (after.ino, after.mtime_ns) == (before.ino, before.mtime_ns)
    assert ann.node.tree.attributes(ann.node.at("archive/daily/2026")).mode & 0o777 == 0o700, "as private as it was"
    reader, _ = ann.history.reader(ann.node.engine)
    assert [(it.what, it.cause) for it in reader.events((b"archive", b"daily", b"a.md"))] == [
        ("created", ""),
        ("renamed", "rule daily/** archive 90d"),
    ]
    world.days(91)
    assert ann.due() == []
    world.check()


def test_names_that_are_taken_in_the_archive_stay(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.rule(ARCHIVE)
    long = "n" * 251 + ".txt"
    ann.written("archive/daily/a.tar.gz", "archive/daily/a.tar-2.gz", f"archive/daily/{long}")
    ann.written("daily/a.tar.gz", f"daily/{long}")
    world.days(91)
    ann.run()
    assert ann.shown() == {
        "archive/daily/a.tar.gz", "archive/daily/a.tar-2.gz", "archive/daily/a.tar-3.gz", f"archive/daily/{long}",
        "archive/daily/" + "n" * 249 + "-2.txt",
    }  # fmt: skip
    assert ann.node.read("archive/daily/a.tar-3.gz") == b"text\ndaily/a.tar.gz"
    world.check()


def test_an_archive_that_is_a_file_blocks_and_an_edit_follows_the_move(world: World, keeper: Make) -> None:
    ann, bob = keeper("ann"), keeper("bob")
    ann.rule(ARCHIVE)
    ann.written("daily/a.md", "archive")
    bob.node.engine.pull_now()
    world.days(91)
    assert ann.run()["left"] == 1
    assert ann.shown() == {"daily/a.md", "archive"}
    ann.node.unlink("archive")
    ann.node.sync()
    bob.node.engine.pull_now()
    bob.node.write("daily/a.md", b"bob was offline")
    ann.run()
    bob.node.sync()
    ann.node.engine.pull_now()
    assert ann.shown() == bob.shown() == {"archive/daily/a.md"}
    assert ann.node.read("archive/daily/a.md") == b"bob was offline"
    world.check()


def test_two_rules_are_two_commits_and_hard_links_lose_one_name_each(world: World, keeper: Make) -> None:
    ann = keeper()
    ann.rule(LOGS + ARCHIVE)
    ann.written("logs/a", "daily/b", "keep/c")
    ann.node.link("keep/c", "logs/c")
    ann.node.sync()
    world.days(100)
    head = ann.head()
    ann.run()
    assert sorted(last(world, at).cause for at in (head + 1, head + 2)) == [
        "rule daily/** archive 90d",
        "rule logs/** expire 30d",
    ]
    assert ann.shown() == {"archive/daily/b", "keep/c"}
    assert ann.node.read("keep/c") == b"text\nkeep/c"
    world.check()


def test_a_machine_that_came_late_reads_the_history_first(world: World, keeper: Make) -> None:
    ann = keeper("ann")
    ann.rule(LOGS)
    ann.written("logs/a")
    for number in range(70):
        ann.node.write("notes.md", b"%d" % number)
        ann.node.sync()
    ann.node.engine.snapshot()
    world.days(40)
    bob = keeper("bob")
    assert not bob.history.index.exists
    bob.quiet(1500)
    assert bob.shown() == {"notes.md"}
    assert last(world, bob.head()).replica.startswith("lifecycle ")
