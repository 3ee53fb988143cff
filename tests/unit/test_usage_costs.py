"""Prices, costs, stored bytes, budgets, and the text of Prometheus."""

from dataclasses import replace
from pathlib import Path

import pytest
from exposition_check import samples

from agentfs.config.settings import load
from agentfs.errors import ConfigInvalid
from agentfs.stores.memory import MemoryStore
from agentfs.usage.budgets import Budgets, judged, money
from agentfs.usage.days import day_of, days_of_month, month_of, shown_day
from agentfs.usage.prices import Provider, price_table, provider_of, shipped_path
from agentfs.usage.prometheus import Family, exposition
from agentfs.usage.report import VolumeUsage
from agentfs.usage.stored import Live, measure, requests_to_measure, size_on
from agentfs.usage.usage_file import Count, Counted, Stored, StorePlace
from agentfs.volume.metrics import metrics_text

GIB = 1 << 30
DAY_NS = 86_400 * 10**9
NOVEMBER = days_of_month("2026-11")
FIRST = NOVEMBER.start
PROVIDER = Provider(
    "here", currency="EUR", gb_bytes=GIB, storage_gb_month=0.03, put_1000=0.005, list_1000=0.006, get_1000=0.0004,
    egress_gb=0.09, ingress_gb=0.01,
)  # fmt: skip


def usage(
    counts: dict[Counted, Count] | None = None, stored: tuple[Stored, ...] = (), provider: Provider | None = PROVIDER
) -> VolumeUsage:
    return VolumeUsage("home-ada", StorePlace("s3://b"), provider, counts or {}, stored)


def at(day: int, kind: str = "put", purpose: str = "log") -> Counted:
    return Counted(day, "home-ada", purpose, kind)


# ---- prices ----


@pytest.fixture
def table() -> dict[str, Provider]:
    return price_table("/nowhere", must_exist=False)


@pytest.mark.parametrize(
    ("url", "endpoint", "expected"),
    [
        ("s3://bucket/root", "", "aws-s3"),
        ("s3://bucket/root?region=eu-central-1", "", "aws-s3"),
        ("s3://bucket?endpoint=https://s3.eu-central-1.amazonaws.com", "", "aws-s3"),
        ("s3://bucket?endpoint=https://0123abc.r2.cloudflarestorage.com", "", "cloudflare-r2"),
        ("s3://bucket", "https://0123abc.eu.r2.cloudflarestorage.com", "cloudflare-r2"),
        ("s3://bucket", "https://s3.us-west-004.backblazeb2.com", "backblaze-b2"),
        ("s3://bucket", "https://storage.googleapis.com", "gcs"),
        ("gs://bucket/root", "", "gcs"),
        ("az://container?account=me", "", "azure"),
        ("s3://bucket?endpoint=http://127.0.0.1:9000", "", "self-hosted"),
        ("s3://bucket?endpoint=http://minio:9000", "", "self-hosted"),
        ("s3://bucket?endpoint=https://192.168.1.7:9000", "", "self-hosted"),
        ("s3://bucket?endpoint=https://objects.storage.internal", "", "self-hosted"),
        ("file:///srv/store", "", "self-hosted"),
        ("s3://bucket?endpoint=https://s3.example.com", "", None),
        ("s3://bucket?endpoint=https://amazonaws.com.example.com", "", None),
    ],
)
def test_a_store_is_known_by_its_address(
    table: dict[str, Provider], url: str, endpoint: str, expected: str | None
) -> None:
    found = provider_of(StorePlace(url, endpoint), table)
    assert (found.name if found else None) == expected


def test_the_place_of_a_store_has_the_endpoint_of_the_environment(tmp_path: Path) -> None:
    environment = {"AWS_ENDPOINT_URL": "https://x.r2.cloudflarestorage.com", "HOME": str(tmp_path)}
    assert StorePlace.of("s3://b/p", environment).endpoint == "https://x.r2.cloudflarestorage.com"
    assert StorePlace.of("s3://b/p?endpoint=http://minio:1", environment).endpoint == ""
    assert StorePlace.of(str(tmp_path), environment).endpoint == ""


def test_the_users_table_is_laid_over_the_shipped_one(table: dict[str, Provider], tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    own.write_text(
        '[aws-s3]\ntitle = "ours"\ncurrency = "EUR"\nschemes = ["s3"]\nput_1000 = 1\n'
        '[mine]\nendpoints = ["*.example.com"]\nget_1000 = 0.5\n'
    )
    found = price_table(str(own), must_exist=True)
    assert found["aws-s3"].put_1000 == 1 and found["aws-s3"].get_1000 == 0 and found["aws-s3"].currency == "EUR"
    assert found["gcs"] == table["gcs"]
    mine = provider_of(StorePlace("s3://b?endpoint=https://s3.example.com"), found)
    assert mine is not None and mine.request_cost("get", 2000) == 1.0
    assert provider_of(StorePlace("file:///x"), found, "mine") == mine
    with pytest.raises(ConfigInvalid, match="not in the price table"):
        provider_of(StorePlace("file:///x"), found, "theirs")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[a\n", "not valid TOML"),
        ("a = 1\n", "must be a table"),
        ("[a]\nput_1000 = -1\n", "put_1000"),
        ("[a]\nput_1000 = 'x'\n", "put_1000"),
        ("[a]\nput = 1\n", "known are"),
        ("[a]\ncurrency = 'euros'\n", "three letters"),
        ("[a]\ngb_bytes = 0\n", "gb_bytes"),
        ("[a]\nput_1000 = nan\n", "put_1000"),
    ],
)
def test_a_bad_table_says_what_is_wrong(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ConfigInvalid, match=what):
        price_table(str(path), must_exist=True)


def test_the_shipped_prices_have_sources() -> None:
    text = Path(shipped_path()).read_text()
    for block in text.split("\n[")[1:]:
        name = block.partition("]")[0]
        assert name == "self-hosted" or "https://" in block, name


# ---- costs ----


def test_costs_are_requests_bytes_and_days_of_storage() -> None:
    counts = {
        at(FIRST): Count(2000, GIB, 0),
        at(FIRST, "list"): Count(500, 0, 0),
        at(FIRST, "get"): Count(5000, 0, GIB // 2),
        at(FIRST, "delete"): Count(9000, 0, 0),
        at(FIRST - 1): Count(1, 0, 0),
    }
    stored = (Stored(FIRST, "live", GIB, 1, 1), Stored(FIRST, "history", 2 * GIB, 1, 1))
    cost = usage(counts, stored).cost(range(FIRST, FIRST + 10))
    assert cost is not None
    assert cost.requests == pytest.approx(2 * 0.005 + 0.5 * 0.006 + 5 * 0.0004)
    assert cost.transfer == pytest.approx(0.5 * 0.09 + 0.01)
    assert cost.storage == pytest.approx(3 * 0.03 * 10 / 30)
    assert cost.total == pytest.approx(cost.requests + cost.transfer + cost.storage)


def test_lines_add_up_to_the_whole() -> None:
    counts = {
        at(FIRST, "put", "log"): Count(3, 30, 0),
        at(FIRST, "put", "blobs"): Count(2, 9, 0),
        at(FIRST + 2, "get", "log"): Count(4, 0, 5),
    }
    found = usage(counts, (Stored(FIRST + 1, "live", GIB, 1, 1),))
    days = range(FIRST, FIRST + 3)
    whole = found.cost(days)
    assert whole is not None
    for by in ("day", "kind", "purpose"):
        lines = found.lines(days, by)
        assert sum((line.count for line in lines), Count()) == found.total(days) == Count(9, 39, 5)
        costs = [line.cost.total for line in lines if line.cost is not None]
        assert sum(costs) == pytest.approx(whole.total if by == "day" else whole.requests + whole.transfer)
    assert [line.name for line in found.lines(days, "day")] == [shown_day(day) for day in days]
    assert [line.name for line in found.lines(days, "purpose")] == ["blobs", "log"]


def test_days_between_measurements_lie_on_a_line() -> None:
    known = [Stored(10, "history", 100, 1, 1), Stored(14, "history", 500, 1, 1), Stored(12, "view", 7, 1, 1)]
    assert [size_on(known, "history", day) for day in (5, 10, 11, 13, 14, 30)] == [100, 100, 200, 400, 500, 500]
    assert size_on(known, "live", 12) == 0


def test_without_prices_there_are_counts_and_no_costs() -> None:
    found = usage({at(FIRST): Count(3, 30, 0)}, provider=None)
    assert found.cost(range(FIRST, FIRST + 1)) is None
    assert [line.cost for line in found.lines(range(FIRST, FIRST + 1), "kind")] == [None]
    assert found.projected((FIRST + 5) * DAY_NS) is None


def test_a_month_is_projected_from_its_known_days() -> None:
    counts = {at(day): Count(1000, 0, 0) for day in range(FIRST + 10, FIRST + 15)}  # first seen on the 11th
    found = usage(counts, (Stored(FIRST + 10, "live", GIB, 1, 1),))
    now_ns = (FIRST + 15) * DAY_NS
    projected = found.projected(now_ns)
    assert projected is not None
    assert projected.requests == pytest.approx(0.005 * 5 + 0.005 * 15)
    assert projected.storage == pytest.approx(0.03 * 20 / 30)
    assert found.projected((FIRST + 10) * DAY_NS + DAY_NS // 2) is None, "half a day says nothing"


def test_a_volume_is_measured_by_listing_it_and_its_view() -> None:
    store, asked = MemoryStore(), []
    for number in range(1500):
        store.put(f".agentfs/volumes/home-ada/log/{number:016d}", b"x" * 10)
    store.put(".agentfs/volumes/home-ada/blobs/aa/1", b"x" * 100)
    store.put(".agentfs/volumes/home-adam/log/1", b"not hers")
    store.put("agents/ada/a.md", b"x" * 7)
    store.put("agents/adam/a.md", b"not hers")
    live = Live(files=3, size_bytes=1000, objects_at_least=1500)
    found = {it.part: it for it in measure(store, "home-ada", live, day=5, seen_ns=9, progress=asked.append)}
    assert (found["live"].size_bytes, found["live"].objects) == (1000, 3)
    assert (found["history"].size_bytes, found["history"].objects) == (14_100, 1501)
    assert (found["view"].size_bytes, found["view"].objects) == (7, 1)
    assert asked == [1000, 1501, 1]
    assert requests_to_measure(live, []) == 3
    assert requests_to_measure(live, [replace(found["history"], objects=12_345), found["view"]]) == 14


# ---- budgets ----


@pytest.mark.parametrize(("puts", "level"), [(1000, "ok"), (170_000, "near"), (200_001, "over")])
def test_a_budget_of_money(puts: int, level: str) -> None:
    found = usage({at(FIRST): Count(puts, 0, 0)})
    (state,) = judged(Budgets(month="1 EUR"), found, FIRST * DAY_NS + 1)
    assert (state.budget, state.period, state.level) == ("month", "2026-11", level)
    assert state.used == pytest.approx(puts / 1000 * 0.005)


def test_a_budget_is_near_when_the_projection_exceeds_it() -> None:
    found = usage({at(day): Count(10_000, 0, 0) for day in range(FIRST, FIRST + 3)})
    (state,) = judged(Budgets(month="1"), found, (FIRST + 3) * DAY_NS)
    assert state.level == "near" and state.projected == pytest.approx(1.5)
    assert "1.50 EUR at its end" in state.text


def test_a_budget_in_another_currency_is_not_judged() -> None:
    found = usage({at(FIRST): Count(10**9, 0, 0)})
    (state,) = judged(Budgets(month="1 USD"), found, FIRST * DAY_NS)
    assert state.level == "unknown" and "EUR" in state.text
    (state,) = judged(Budgets(month="1 USD"), replace(found, provider=None), FIRST * DAY_NS)
    assert state.level == "unknown" and "--prices" in state.text


def test_a_budget_of_requests_is_of_today() -> None:
    found = usage({at(FIRST): Count(500, 0, 0), at(FIRST + 1): Count(70, 0, 0), at(FIRST + 1, "get"): Count(9, 0, 0)})
    (state,) = judged(Budgets(requests_per_day=100), found, (FIRST + 1) * DAY_NS + 5)
    assert (state.used, state.level, state.period) == (79, "ok", "2026-11-02")
    (state,) = judged(Budgets(requests_per_day=78), found, (FIRST + 1) * DAY_NS + 5)
    assert state.level == "over"
    assert judged(Budgets(), found, FIRST * DAY_NS) == []


def test_budgets_are_settings() -> None:
    environment = {"AGENTFS_BUDGET_MONTH": " 2.50 usd ", "AGENTFS_BUDGET_REQUESTS_PER_DAY": "20000", "HOME": "/h"}
    settings = load(environment=environment)
    assert (settings.budget_month, settings.budget_requests_per_day) == ("2.50 USD", 20_000)
    for name, bad in (("MONTH", "five"), ("MONTH", "-1 USD"), ("REQUESTS_PER_DAY", "1.5")):
        with pytest.raises(ConfigInvalid):
            load(environment={f"AGENTFS_BUDGET_{name}": bad, "HOME": "/h"})


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "0.00 X"), (12.345, "12.35 X"), (0.5, "0.50 X"), (0.0021, "0.0021 X"), (0.000004, "0.0000040 X"),
     (1e-9, "under 0.000001 X")],
)  # fmt: skip
def test_amounts_are_shown_with_two_digits(amount: float, shown: str) -> None:
    assert money(amount, "X") == shown


# ---- days ----


def test_days_are_utc() -> None:
    assert shown_day(day_of(0)) == "1970-01-01"
    assert shown_day(day_of(DAY_NS - 1)) == "1970-01-01"
    assert month_of(FIRST) == "2026-11" and len(NOVEMBER) == 30
    assert [shown_day(day) for day in (NOVEMBER[0], NOVEMBER[-1])] == ["2026-11-01", "2026-11-30"]
    with pytest.raises(ValueError):
        days_of_month("2026-13")


# ---- Prometheus ----


def test_the_text_is_what_prometheus_reads() -> None:
    odd = Family("agentfs_odd", "gauge", 'a "help"\nof two lines \\ and more')
    odd.add(1.5, path='a\\b"c\nd', other="é")
    odd.add(float("inf"))
    odd.add(float("nan"), path="x")
    odd.add(1e-9, path="y")
    counter = Family("agentfs_things_total", "counter", "things")
    counter.add(12345678901)
    found = samples(exposition([odd, counter, Family("agentfs_none", "gauge", "no samples, no lines")]))
    assert found["agentfs_odd", frozenset({("path", 'a\\b"c\nd'), ("other", "é")})] == 1.5
    assert found["agentfs_things_total", frozenset()] == 12345678901
    assert len(found) == 5


@pytest.mark.parametrize("name", ["agentfs_things", "agentfs things_total", "1_total"])
def test_names_that_prometheus_would_refuse_are_mistakes(name: str) -> None:
    family = Family(name, "counter", "")
    family.add(1)
    with pytest.raises(ValueError, match="cannot name"):
        exposition([family])
    twice = Family("agentfs_x", "gauge", "")
    twice.add(1, a="1")
    twice.add(2, a="1")
    with pytest.raises(ValueError, match="twice"):
        exposition([twice])


def test_metrics_of_a_volume() -> None:
    counts = {at(FIRST): Count(1000, 5, 0), at(FIRST + 1): Count(1000, 5, 0), at(FIRST, "get"): Count(7, 0, 3)}
    found = samples(
        metrics_text(
            [usage(counts, (Stored(FIRST, "live", 99, 1, 5 * 10**9),))],
            [],
            budgets=Budgets(month="1", requests_per_day=10_000),
            now_ns=(FIRST + 2) * DAY_NS,
        )
    )
    labels = {("volume", "home-ada"), ("store", "s3://b")}
    assert found["agentfs_store_requests_total", frozenset(labels | {("kind", "put"), ("purpose", "log")})] == 2000
    assert found["agentfs_store_received_bytes_total", frozenset(labels | {("purpose", "log")})] == 3
    assert found["agentfs_stored_bytes", frozenset(labels | {("part", "live")})] == 99
    money = labels | {("currency", "EUR"), ("part", "requests")}
    assert found["agentfs_cost_this_month", frozenset(money)] == pytest.approx(0.01 + 7 * 0.0004 / 1000)
    assert found["agentfs_budget_used_ratio", frozenset(labels | {("budget", "requests_per_day")})] == 0
