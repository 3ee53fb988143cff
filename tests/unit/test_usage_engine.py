"""The engine's part in use and cost: what it notes daily, what its log says of budgets, what it does not fail of."""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentfs.cli.mount import _warn_of_budgets
from agentfs.config.settings import Settings, load
from agentfs.replica.replica import Replica
from agentfs.stores.memory import MemoryStore
from agentfs.usage.days import day_of
from agentfs.usage.ledger import ledger_of
from agentfs.usage.usage_file import usage_path
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.opening import opened_store
from agentfs.volume.places import replica_directory
from agentfs.volume.usage import UsageService, budget_states, usage_of

SOURCE = Path(__file__).parent.parent.parent / "src" / "agentfs"
LOG = ".agentfs/volumes/home-ada/log/0000000000000001"
HOUR_S = 3600.0


class Clock:
    """Moves when it is told to."""

    now_s = 1_000_000.0

    def wall_ns(self) -> int:
        return int(self.now_s * 1e9)

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, event: Any, seconds: float) -> bool:
        return event.wait(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settings_of(tmp_path: Path, **flags: object) -> Settings:
    given = {"store": "memory://usage", "state_dir": str(tmp_path), "provider": "aws-s3", **flags}
    return load(given, environment={"HOME": str(tmp_path)})


@pytest.fixture
def replica(tmp_path: Path, clock: Clock) -> Iterator[Replica]:
    directory = replica_directory(str(tmp_path), "home", "ada", "memory://usage")
    with Replica.open(directory, volume_kind="home", volume_id="ada", session_kind="engine", clock=clock) as opened:
        yield opened


def service(settings: Settings, replica: Replica, clock: Clock) -> UsageService:
    plan = EnginePlan(settings, "home", "ada", replica.directory, offline=False)
    return UsageService(plan, replica, clock=clock)


def look(made: UsageService, clock: Clock) -> None:
    clock.now_s += HOUR_S
    made.chore(None)  # type: ignore[arg-type]


def test_stores_are_opened_where_they_are_counted() -> None:
    """`opened_store` is the only door: a store that is opened elsewhere would be asked uncounted."""
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if path.parent.name not in ("stores", "testing") and "agentfs.stores" in (text := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module in ("agentfs.stores.open", "agentfs.stores.cloud")
    }
    assert found == {"volume/opening.py"}


def test_every_store_that_is_opened_counts(tmp_path: Path, clock: Clock) -> None:
    settings = settings_of(tmp_path)
    store = opened_store(settings, clock=clock)
    store.put(LOG, b"123")
    assert store.get(LOG).data == b"123"
    ledger_of(settings.state_dir).flush()
    found = usage_of(settings, "home-ada")
    today = day_of(clock.wall_ns())
    assert found.total(range(today, today + 1)).requests == 2
    assert found.first_day == today
    MemoryStore.shared("usage").delete(LOG)


def test_what_the_files_are_is_noted_once_a_day(tmp_path: Path, replica: Replica, clock: Clock) -> None:
    settings = settings_of(tmp_path)
    made = service(settings, replica, clock)
    replica.connection.execute("INSERT INTO content(ino, digest, size_bytes) VALUES(5, x'01', 700), (6, x'01', 700)")
    for _ in range(3):
        look(made, clock)
    replica.connection.execute("INSERT INTO content(ino, digest, size_bytes) VALUES(7, x'02', 100)")
    for _ in range(24):
        look(made, clock)
    seen = usage_of(settings, "home-ada").stored
    assert [(it.part, it.size_bytes, it.objects) for it in seen] == [("live", 700, 2), ("live", 800, 3)]
    assert seen[1].day == seen[0].day + 1


def test_a_budget_is_said_once_in_its_period_and_again_when_it_is_worse(
    tmp_path: Path,
    replica: Replica,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = settings_of(tmp_path, budget_requests_per_day=10)
    count = ledger_of(settings.state_dir).meter(usage_of(settings, "home-ada").place, clock)
    caplog.set_level(logging.WARNING)
    clock.now_s -= clock.now_s % (24 * HOUR_S)
    made = service(settings, replica, clock)
    for requests, expected in ((7, 0), (1, 1), (0, 1), (5, 2), (9, 2)):
        for _ in range(requests):
            count("get", LOG, sent_bytes=0, received_bytes=0)
        look(made, clock)
        said = [record.getMessage() for record in caplog.records if "budget" in record.getMessage()]
        assert len(said) == expected, said
    assert "is near: 8 of 10 requests" in said[0] and "is over: 13 of 10 requests" in said[1]
    look(service(settings, replica, clock), clock)  # another engine, the same day
    assert len([it for it in caplog.records if "budget" in it.getMessage()]) == 2
    (state,) = budget_states(settings, replica.directory, "home-ada", clock.wall_ns())
    assert (state.level, state.used) == ("over", 22)
    clock.now_s += 24 * HOUR_S
    (state,) = budget_states(settings, replica.directory, "home-ada", clock.wall_ns())
    assert state.level == "ok"
    over = settings_of(tmp_path, budget_month="0.0000001 EUR")
    _warn_of_budgets(over, "ada")
    assert "one must be written anew" in capsys.readouterr().err


def test_trouble_with_counts_is_no_trouble_of_the_engine(
    tmp_path: Path, replica: Replica, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "prices.toml"
    bad.write_text("[broken\n")
    made = service(settings_of(tmp_path, prices=str(bad), budget_month="5"), replica, clock)
    for _ in range(3):
        look(made, clock)
    assert len([record for record in caplog.records if "not valid TOML" in record.getMessage()]) == 1
    Path(usage_path(str(tmp_path))).unlink()
    Path(usage_path(str(tmp_path))).mkdir()
    look(made, clock)
    made.close()
