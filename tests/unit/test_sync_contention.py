"""Writers that meet at the log: who goes when. The laws of the line, and what becomes of many writers in simulated
time."""

import math
from collections.abc import Iterator
from random import Random

import pytest
from contention_model import Run, run

from agentfs.sync import contention
from agentfs.sync.contention import BYTES_MIN, CALM_S, LINE_MAX, PASSED_MAX, Contention

EQUAL: dict[str, float] = {}
SLOW = {"one_way_s": 0.0625, "processor": 5.0}
"""Five times as far away, and five times as slow."""


def known(*writers: str, me: str = "me", now: float = 100.0) -> Contention:
    """Somebody who saw these commit, a twentieth of a second apart, the last one at `now`; something is due."""
    made = Contention(Random(1).randbytes, waiting=True)
    for sequence, writer in enumerate(writers, 1):
        made.saw(writer, sequence, now - (len(writers) - sequence) * 0.05, ours=writer == me)
    made.looked(0.025, now, asked=1, found=0)
    return made


# ---- the line ----


def test_without_others_nothing_waits() -> None:
    alone = known("me", "me", "me", "me", "me", "me", "me")
    assert not alone.met(100.0)
    assert alone.put_at(100.0) == -math.inf
    assert alone.look_at(100.0) == math.inf
    alone.put(0.05, 100.0, 1000, lost=False)
    assert alone.put_at(100.0) == -math.inf


def test_others_who_commit_while_nothing_is_due_are_not_waited_for() -> None:
    idle = Contention(Random(1).randbytes)
    for sequence in range(1, 20):
        idle.saw("other", sequence, sequence * 0.05, ours=False)
    assert not idle.met(1.0)


def test_the_longest_ago_goes_first() -> None:
    order = ("me", "b", "c", "d", "e")
    first = known(*order, *order, "b", "c", "d", "e")  # the last to commit before it are all the others
    assert first.put_at(100.0) <= 100.0
    last = known("b", "c", "d", "e", "me", "b", "c", "d", "e", "me", me="me")
    second = known("b", "me", "c", "d", "e", "b", "me", "c", "d", "e", me="me")
    third = known("b", "c", "me", "d", "e", "b", "c", "me", "d", "e", me="me")
    assert 100.0 < second.put_at(100.0) < third.put_at(100.0) < last.put_at(100.0)


def test_who_waits_looks_before_it_puts() -> None:
    made = known("b", "me", "c", "d", "e", "b", "me", "c", "d", "e")
    put_at = made.put_at(100.0)
    assert made.look_at(100.0) <= put_at
    later = put_at + 0.1
    assert made.look_at(later) == later, "what was seen long ago tells nothing"
    made.looked(0.025, later, asked=1, found=0)
    assert made.look_at(later) == math.inf, "nobody came: it is our turn"


def test_calm_returns() -> None:
    made = known("b", "me", "c", "d", "e", "b", "me", "c", "d", "e")
    assert made.met(100.0) and not made.met(100.0 + CALM_S)
    assert made.put_at(100.0 + CALM_S) == -math.inf


def test_who_leaves_its_turns_unused_is_waited_for_no_more() -> None:
    writers = ("dead", "b", "c", "me")
    made = known(*writers, *writers)
    assert made._line == list(writers)
    for sequence in range(9, 9 + PASSED_MAX):
        made.saw("b", sequence, 100.0 + sequence * 0.05, ours=False)
    assert "dead" not in made._line


def test_the_line_is_the_same_for_all() -> None:
    """From whatever place of the log they read: after a while all who read the same have the same line."""
    entropy = Random(7)
    log = [f"w{min(int(entropy.expovariate(0.2)), 90)}" for _ in range(500)]
    lines = []
    for start in (0, 50, 200):
        reader = Contention(entropy.randbytes)
        for sequence in range(start, len(log)):
            reader.saw(log[sequence], sequence, float(sequence), ours=False)
        assert len(reader._line) <= LINE_MAX
        lines.append(reader._line)
    assert lines[0] == lines[1] == lines[2]


def test_turns_can_be_switched_off() -> None:
    made = Contention(Random(1).randbytes, turns=False, waiting=True)
    for sequence in range(1, 20):
        made.saw("other", sequence, sequence * 0.05, ours=False)
    made.put(10.0, 1.0, 8 << 20, lost=True)
    assert made.put_at(1.0) == -math.inf and made.look_at(1.0) == math.inf and made.bytes_max > BYTES_MIN


def test_a_large_put_that_lost_becomes_smaller() -> None:
    made = Contention(Random(1).randbytes)
    for _ in range(10):
        made.put(0.05, 1.0, 1000, lost=False)
    full = made.bytes_max
    made.put(2.0, 1.0, 4 << 20, lost=True)
    assert made.bytes_max == 2 << 20
    for _ in range(20):
        made.put(2.0, 1.0, made.bytes_max, lost=True)
    assert made.bytes_max == BYTES_MIN
    made.put(0.05, 1.0, 1000, lost=False)
    assert made.bytes_max == 2 * BYTES_MIN
    made.put(0.05, 1.0 + CALM_S, 1000, lost=False)
    assert made.bytes_max == full, "nobody is there to lose to"


def test_a_small_put_that_lost_stays() -> None:
    made = Contention(Random(1).randbytes)
    full = made.bytes_max
    for _ in range(50):
        made.put(0.05, 1.0, 1000, lost=True)
    assert made.bytes_max == full


# ---- many writers, simulated ----


@pytest.fixture
def no_open_places(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The broken variant: those in the line never let anybody in."""
    monkeypatch.setattr(contention, "OPEN_PLACES", ())
    monkeypatch.setattr(contention, "OPEN_AFTER_NEW", 0.0)
    yield


def quantile(run: Run, share: float) -> float:
    delays = run.delays()
    return delays[int(len(delays) * share)]


@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_writers_share(seed: int) -> None:
    before = run([EQUAL] * 20, seed=seed, turns=False, seconds=30)
    after = run([EQUAL] * 20, seed=seed, seconds=30)
    assert after.puts_per_commit < 1.6 < 10 < before.puts_per_commit, (before.describe(), after.describe())
    assert after.fairness() > 0.99, after.describe()
    assert after.commits_per_s > 0.85 * before.commits_per_s, (before.describe(), after.describe())
    assert quantile(after, 0.5) < 1.2 * quantile(before, 0.5), (before.describe(), after.describe())
    assert quantile(after, 0.99) < 1.5 * quantile(before, 0.99), (before.describe(), after.describe())
    assert max(it.losses_max for it in after.writers.values()) <= 20, after.describe()


def test_one_writer_is_as_before() -> None:
    before, after = run([EQUAL], turns=False), run([EQUAL])
    assert after.describe() == before.describe()


@pytest.mark.parametrize("rate", [0.2, 1.0])
def test_few_changes_wait_hardly_longer(rate: float) -> None:
    profile = {"changes_per_s": rate}
    before, after = run([profile] * 20, turns=False), run([profile] * 20)
    assert after.puts_per_commit < 0.6 * before.puts_per_commit
    assert quantile(after, 0.5) < 1.2 * quantile(before, 0.5), (before.describe(), after.describe())
    assert quantile(after, 0.99) < quantile(before, 0.99) + 2.0, (before.describe(), after.describe())


@pytest.mark.parametrize("seed", [1, 2])
def test_a_slow_machine_is_not_starved(seed: int) -> None:
    """It is not first as often as the others, but at one open place of two at the latest (ten seconds apart here)."""
    after = run([EQUAL] * 19 + [SLOW], seed=seed)
    slow = after.writers["w19"]
    assert len(slow.commits) >= 8, after.describe()
    assert slow.longest_gap_s(60.0) < 12.0, after.describe()
    assert slow.losses_max <= 15, after.describe()
    assert max(slow.delays) < 13.0, "its batches hold all that waited"


def test_without_turns_a_slow_machine_starves() -> None:
    before = run([EQUAL] * 19 + [SLOW], turns=False)
    assert before.writers["w19"].commits == [], "else this model shows nothing"


@pytest.mark.usefixtures("no_open_places")
def test_without_open_places_a_slow_machine_starves() -> None:
    broken = run([EQUAL] * 19 + [SLOW])
    assert broken.writers["w19"].longest_gap_s(60.0) > 40.0, broken.describe()


def test_several_slow_machines_come_in_one_after_the_other() -> None:
    after = run([EQUAL] * 15 + [SLOW] * 5)
    for name in ("w15", "w16", "w17", "w18", "w19"):
        assert len(after.writers[name].commits) >= 2, (name, after.describe())


@pytest.mark.parametrize("seed", [1])
def test_latecomers_are_let_in(seed: int) -> None:
    after = run([EQUAL] * 15 + [{"start": 20.0}] * 5, seed=seed)
    for name in ("w15", "w16", "w17", "w18", "w19"):
        late = after.writers[name]
        assert late.commits[0] - late.start < 8.0, (name, after.describe())
        assert len(late.commits) > 0.6 * (40 / 60) * max(len(it.commits) for it in after.writers.values())


def test_nobody_waits_for_the_dead() -> None:
    """A fifth of the writers dies in the middle, each perhaps at the head of the line."""
    alive = run([EQUAL] * 16)
    dying = run([EQUAL] * 16 + [{"stop": 20.0}] * 4)
    assert dying.commits_per_s > 0.9 * alive.commits_per_s, (alive.describe(), dying.describe())
    assert max(dying.writers[f"w{at:02d}"].longest_gap_s(60.0) for at in range(16)) < 8.0, dying.describe()


def test_much_to_send_over_a_slow_line_is_sent() -> None:
    """Half a megabyte a second over one of a megabyte a second: as one put it would be late for every place."""
    heavy = {"bytes_per_s": 1e6, "changes_per_s": 1000.0}
    before = run([EQUAL] * 19 + [heavy], turns=False)
    assert before.writers["w19"].commits == [], "else this model shows nothing"
    after = run([EQUAL] * 19 + [heavy]).writers["w19"]
    assert len(after.commits) >= 10 and after.longest_gap_s(60.0) < 20.0
