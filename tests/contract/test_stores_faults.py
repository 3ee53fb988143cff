"""What a store does when the network or the server misbehaves: a real client, a real server, a proxy between."""

from collections.abc import Callable

import pytest

from agentfs.errors import (
    BucketNotFound,
    Corrupt,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreUnavailable,
    StoreUnsafe,
    StoreURLInvalid,
)
from agentfs.stores.open import open_store
from agentfs.stores.probe import probe
from agentfs.stores.protocol import Store
from agentfs.stores.retrying import RetryPolicy
from agentfs.testing.fault_proxy import Fault, FaultProxy, remote_fault_proxy
from agentfs.testing.fixtures import new_bucket
from agentfs.testing.servers import S3Server

Opener = Callable[..., Store]
SENT_AND_DONE = [Fault.RESET_AFTER, Fault.ERROR_500_AFTER, Fault.BLACK_HOLE_AFTER]
SENT_NOT_DONE = [Fault.ERROR_500, Fault.ERROR_503, Fault.RESET_BEFORE, Fault.BLACK_HOLE, Fault.CONFLICT_409]
QUICK = {"timeout_seconds": 1.0}


# ---- create-only puts: sent once ----


@pytest.mark.parametrize("fault", SENT_AND_DONE)
def test_a_create_whose_answer_is_lost_is_unknown_and_took_effect(
    proxied_store: Opener, fault_proxy: FaultProxy, fault: Fault
) -> None:
    store = proxied_store(**QUICK)
    fault_proxy.inject(fault, method="PUT", times=1)
    with pytest.raises(OutcomeUnknown):
        store.put("log/1", b"mine", create_only=True)
    assert fault_proxy.count("PUT") == 1
    assert store.get("log/1").data == b"mine"


@pytest.mark.parametrize("fault", SENT_NOT_DONE)
def test_a_create_that_may_not_have_arrived_is_unknown_and_not_sent_again(
    proxied_store: Opener, fault_proxy: FaultProxy, fault: Fault
) -> None:
    store = proxied_store(**QUICK)
    fault_proxy.inject(fault, method="PUT", times=1)
    with pytest.raises(OutcomeUnknown):
        store.put("log/1", b"mine", create_only=True)
    assert fault_proxy.count("PUT") == 1
    with pytest.raises(ObjectNotFound):
        store.get("log/1")


def test_a_create_on_a_connection_that_was_dropped_while_idle_is_not_sent_twice(
    proxied_store: Opener, fault_proxy: FaultProxy
) -> None:
    store = proxied_store()
    store.put("warm", b"up")
    fault_proxy.go_down()
    fault_proxy.come_up()
    store.put("log/1", b"mine", create_only=True)
    assert fault_proxy.count("PUT", "log/1") == 1
    with pytest.raises(ObjectExists):
        store.put("log/1", b"other", create_only=True)


def test_a_create_is_tried_again_only_while_nothing_was_sent(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    fault_proxy.go_down()
    store = proxied_store(retry=RetryPolicy(tries_max=3, delay_seconds_first=0.01))
    with pytest.raises(StoreUnavailable, match="nothing was sent"):
        store.put("log/1", b"mine", create_only=True)
    fault_proxy.come_up()
    store.put("log/1", b"mine", create_only=True)
    assert fault_proxy.count("PUT") == 1


def test_a_409_is_settled_by_reading_not_taken_for_exists(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    store = proxied_store()
    fault_proxy.inject(Fault.CONFLICT_409, method="PUT", times=1)
    with pytest.raises(OutcomeUnknown, match="under way"):
        store.put("log/1", b"mine", create_only=True)


# ---- what may be repeated is ----


@pytest.mark.parametrize("fault", [Fault.ERROR_500, Fault.ERROR_503, Fault.RESET_BEFORE, Fault.RESET_AFTER])
def test_everything_else_is_tried_again(proxied_store: Opener, fault_proxy: FaultProxy, fault: Fault) -> None:
    store = proxied_store()
    fault_proxy.inject(fault, times=2)
    store.put("a", b"data")
    assert fault_proxy.count("PUT") == 3
    fault_proxy.inject(fault, times=2)
    assert store.get("a").data == b"data"
    assert fault_proxy.count("GET") == 3
    fault_proxy.inject(fault, times=2)
    assert [entry.name for entry in store.list("")] == ["a"]
    fault_proxy.inject(fault, times=2)
    store.delete("a")
    assert fault_proxy.count("DELETE") == 3
    assert not store.list("")


def test_a_dead_store_is_unavailable_after_the_tries(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    store = proxied_store()
    fault_proxy.inject(Fault.ERROR_503)
    with pytest.raises(StoreUnavailable, match="HTTP 503 SlowDown"):
        store.get("a")
    with pytest.raises(StoreUnavailable):
        store.list("")
    with pytest.raises(StoreUnavailable):
        store.delete("a")
    assert fault_proxy.count() == 3 * 4
    with pytest.raises(OutcomeUnknown):
        store.put("a", b"x")


def test_a_plain_put_that_may_have_arrived_never_says_nothing_was_written(
    proxied_store: Opener, fault_proxy: FaultProxy
) -> None:
    store = proxied_store(retry=RetryPolicy(tries_max=2, delay_seconds_first=0.01), timeout_seconds=1.0)
    fault_proxy.inject(Fault.BLACK_HOLE_AFTER, method="PUT")
    with pytest.raises(OutcomeUnknown):
        store.put("a", b"x")
    assert fault_proxy.count("PUT") == 2


def test_a_time_out_bounds_every_call(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    store = proxied_store(retry=RetryPolicy(tries_max=1), timeout_seconds=0.3)
    fault_proxy.black_hole()
    for call in (lambda: store.get("a"), lambda: store.list(""), lambda: store.delete("a")):
        with pytest.raises(StoreUnavailable, match="time-out"):
            call()


# ---- bodies ----


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_a_truncated_body_is_never_returned(proxied_store: Opener, fault_proxy: FaultProxy, size: int) -> None:
    store = proxied_store()
    store.put("a", b"x" * size)
    fault_proxy.inject(Fault.TRUNCATE, method="GET")
    with pytest.raises((StoreUnavailable, Corrupt)):
        store.get("a")
    with pytest.raises((StoreUnavailable, Corrupt)):
        store.get("a", start=10, length=size - 10)
    fault_proxy.heal()
    fault_proxy.inject(Fault.TRUNCATE, method="GET", times=1)
    assert store.get("a").data == b"x" * size


def test_a_truncated_listing_is_never_returned(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    store = proxied_store()
    for number in range(20):
        store.put(f"n{number:02}", b"x")
    fault_proxy.inject(Fault.TRUNCATE, method="GET", times=1)
    assert len(store.list("")) == 20


def test_a_slow_body_arrives_whole_or_times_out(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    store = proxied_store(retry=RetryPolicy(tries_max=1))
    store.put("a", b"x" * 100_000)
    fault_proxy.inject(Fault.SLOW_BODY, method="GET", times=1, seconds=0.1)
    assert store.get("a").data == b"x" * 100_000
    fault_proxy.inject(Fault.SLOW_BODY, method="GET", times=1, seconds=3)
    with pytest.raises(StoreUnavailable):
        proxied_store(retry=RetryPolicy(tries_max=1), timeout_seconds=0.6).get("a")


# ---- exact requests ----


def test_each_call_is_one_request(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    store = proxied_store()
    calls: list[Callable[[], object]] = [
        lambda: store.put("dir/00", b"x", create_only=True),
        lambda: store.put("dir/00", b"x" * 6_000_000),
        lambda: store.get("dir/00"),
        lambda: store.get("dir/00", start=5, length=5),
        lambda: store.get("dir/00", length=0),
        lambda: store.list(""),
        lambda: store.list("dir/0", after="dir/00", limit=1),
        lambda: store.delete("dir/00"),
        lambda: store.delete("missing"),
        lambda: store.put("dir/01", b"x" * 1000),
        lambda: store.list("", foreign=True),
        lambda: store.head("dir/01"),
        lambda: store.delete_many(["dir/01", "dir/02"]),
        lambda: store.delete_many([f"none/{number}" for number in range(1000)]),
    ]
    for number, call in enumerate(calls):
        fault_proxy.forget_requests()
        call()
        assert len(fault_proxy.requests()) == 1, (number, fault_proxy.requests())


def test_a_full_page_is_one_request(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    heard: list[str] = []
    store = proxied_store(meter=lambda kind, _name, **_bytes: heard.append(kind))
    for number in range(1005):
        store.put(f"{number:04}", b"")
    for prefix, limit in (("", 1000), ("", 1), ("0", 999), ("00", 10)):
        fault_proxy.forget_requests()
        assert len(store.list(prefix, limit=limit)) == min(limit, 100 if prefix == "00" else 1000)
        assert fault_proxy.count() == 1, (prefix, limit)
    fault_proxy.forget_requests()
    assert [entry.name for entry in store.list("10", limit=2)] == ["1000", "1001"]
    assert fault_proxy.count() == 1, "a partial name starts where it must, not at the first page"
    assert heard == ["put"] * 1005 + ["list"] * 5
    fault_proxy.forget_requests()
    assert len(store.list("", limit=5000)) == 1005
    assert heard[1010:] == ["list"] * fault_proxy.count() == ["list", "list"], "a meter hears of every page"


def test_the_first_replacement_asks_what_the_store_can(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    store = proxied_store()
    tag = store.put("a", b"0")
    for number, puts in enumerate([2, 1, 1]):
        fault_proxy.forget_requests()
        tag = store.put("a", b"%d" % number, replacing=tag)
        assert [request.method for request in fault_proxy.requests()] == ["PUT"] * puts
    assert [entry.name for entry in store.list("", foreign=True)] == ["a"], "nothing is left of the question"


# ---- what the view asks for ----


@pytest.mark.parametrize("fault", [Fault.RESET_AFTER, Fault.ERROR_500_AFTER, Fault.BLACK_HOLE_AFTER])
def test_a_replacement_whose_answer_is_lost_is_unknown_and_took_effect(
    proxied_store: Opener, fault_proxy: FaultProxy, fault: Fault
) -> None:
    store = proxied_store(**QUICK)
    tag = store.put("a", b"1", replacing=store.put("a", b"0"))
    fault_proxy.forget_requests()
    fault_proxy.inject(fault, method="PUT", times=1)
    with pytest.raises(OutcomeUnknown):
        store.put("a", b"2", replacing=tag)
    assert fault_proxy.count("PUT") == 1
    assert store.get("a").data == b"2"


def test_a_question_whose_answer_is_lost_is_asked_again(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    store = proxied_store(**QUICK)
    tag = store.put("a", b"0")
    fault_proxy.inject(Fault.RESET_AFTER, method="PUT", times=2)
    store.put("a", b"1", replacing=tag)
    assert store.get("a").data == b"1"


@pytest.mark.parametrize("fault", [Fault.ERROR_503, Fault.RESET_AFTER, Fault.TRUNCATE, Fault.BLACK_HOLE])
def test_listings_of_all_names_are_tried_again(proxied_store: Opener, fault_proxy: FaultProxy, fault: Fault) -> None:
    store = proxied_store(**QUICK)
    for number in range(20):
        store.put(f"n{number:02}", b"x")
    fault_proxy.inject(fault, method="GET", times=2)
    assert len(store.list("", foreign=True)) == 20
    fault_proxy.go_down()
    with pytest.raises(StoreUnavailable):
        store.list("", foreign=True)


def test_many_deletes_are_tried_again(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    store = proxied_store(**QUICK)
    names = [f"n{number:02}" for number in range(20)]
    for name in names:
        store.put(name, b"x")
    fault_proxy.inject(Fault.RESET_AFTER, method="POST", times=1)
    fault_proxy.inject(Fault.ERROR_503, method="POST", times=1)
    store.delete_many(names)
    assert fault_proxy.count("POST") == 3 and fault_proxy.count("DELETE") == 0
    assert not store.list("")


def test_a_server_that_ignores_conditions_is_looked_at_before_each_put(rclone_server: S3Server) -> None:
    store = open_store(rclone_server.url(new_bucket(rclone_server)), environment=rclone_server.environment())
    first = store.put("a", b"first")
    second = store.put("a", b"the second", replacing=first)
    for name, tag in (("a", first), ("none", second)):
        with pytest.raises(ObjectChanged):
            store.put(name, b"late", replacing=tag)
    assert [(entry.name, entry.tag) for entry in store.list("", foreign=True)] == [("a", second)]
    assert store.get("a").data == b"the second"


# ---- what a person must set right ----


def attempts(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.get("a"),
        lambda: store.put("a", b"x"),
        lambda: store.put("a", b"x", create_only=True),
        lambda: store.delete("a"),
        lambda: store.list(""),
        lambda: store.list("", foreign=True),
        lambda: store.put("a", b"x", replacing="tag"),
        lambda: store.delete_many(["a", "b"]),
        lambda: probe(store),
    ]


@pytest.mark.parametrize("kind", ["ministack_server", pytest.param("radosgw_server", marks=pytest.mark.radosgw)])
def test_wrong_credentials_are_denied_and_say_what_to_check(kind: str, request: pytest.FixtureRequest) -> None:
    server: S3Server = request.getfixturevalue(kind)
    bucket = new_bucket(server)
    wrong_secret = server.environment() | {"AWS_SECRET_ACCESS_KEY": "wrong-secret-of-tests"}
    wrong_key = server.environment() | {"AWS_ACCESS_KEY_ID": "AKIAWRONGWRONGWRONG0"}
    for environment in (wrong_secret, wrong_key):
        store = open_store(server.url(bucket), environment=environment)
        for call in attempts(store):
            with pytest.raises(StoreDenied, match="key") as caught:
                call()
            assert environment["AWS_SECRET_ACCESS_KEY"] not in str(caught.value) + repr(store)
            assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", ["ministack_server", pytest.param("radosgw_server", marks=pytest.mark.radosgw)])
def test_a_missing_bucket_is_named(kind: str, request: pytest.FixtureRequest) -> None:
    server: S3Server = request.getfixturevalue(kind)
    store = open_store(server.url("no-such-bucket"), environment=server.environment())
    for call in attempts(store):
        with pytest.raises(BucketNotFound, match="no-such-bucket"):
            call()
    with pytest.raises(ObjectNotFound):
        store.head("a")  # all that an answer without a body can say


def test_no_credentials_are_found_out_before_anything_is_sent(ministack_server: S3Server) -> None:
    with pytest.raises(StoreDenied, match="AWS_ACCESS_KEY_ID"):
        open_store(ministack_server.url("bucket"), environment={})


def test_an_impossible_bucket_name_is_an_error_of_ours(ministack_server: S3Server) -> None:
    environment = ministack_server.environment()
    with pytest.raises((StoreURLInvalid, StoreError)):
        open_store(ministack_server.url("Not_A_Bucket!"), environment=environment).list("")


def test_the_name_of_an_object_cannot_imitate_an_error(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    """Agents choose names; obstore's errors quote them."""
    store = proxied_store(retry=RetryPolicy(tries_max=1))
    names = [
        "NoSuchBucket",
        "<Code>NoSuchBucket</Code>",
        "Server returned non-2xx status code: 403 Forbidden: x",
        "x/status: 412,",
        'a" OAuth HttpError { kind: Connect, source: x }',
        "latest/api/token",
    ]
    for name in names:
        with pytest.raises(ObjectNotFound):
            store.get(name)
        store.put(name, b"x", create_only=True)
        with pytest.raises(ObjectExists):
            store.put(name, b"x", create_only=True)
        fault_proxy.inject(Fault.RESET_AFTER, times=2)
        with pytest.raises(OutcomeUnknown):
            store.put(name, b"x")
        with pytest.raises(StoreUnavailable):
            store.get(name)


@pytest.mark.parametrize("call", range(8))
def test_no_key_and_no_machine_that_has_one_is_denied(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key AWS is asked for the machine's; here nobody answers that."""
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    store = open_store("s3://bucket", environment={})
    with pytest.raises(StoreDenied, match="no credentials"):
        attempts(store)[call]()


# ---- the probe ----


def test_the_probe_refuses_a_store_that_ignores_conditions(rclone_server: S3Server) -> None:
    bucket = new_bucket(rclone_server)
    store = open_store(rclone_server.url(bucket), environment=rclone_server.environment())
    report = probe(store)
    assert not report.safe
    failed = {check.name for check in report.checks if not check.passed}
    assert {"create-only put", "racing create-only puts"} <= failed
    with pytest.raises(StoreUnsafe, match="create-only put"):
        report.raise_for_status()


def test_the_probe_survives_a_bad_network(proxied_store: Opener, fault_proxy: FaultProxy) -> None:
    """Lost answers are no verdict: the store is safe although every fifth answer is lost."""
    fault_proxy.inject(Fault.RESET_AFTER, probability=0.2)
    policy = RetryPolicy(tries_max=20, delay_seconds_first=0.001, delay_seconds_max=0.01)
    report = probe(proxied_store(retry=policy), racers=8, rounds=3)
    by_name = {check.name: check for check in report.checks}
    assert by_name["racing create-only puts"].passed, by_name
    assert by_name["create-only put"].passed, by_name


# ---- the proxy in a process of its own ----


def test_the_remote_proxy_obeys(ministack_server: S3Server, bucket: str) -> None:
    with remote_fault_proxy(ministack_server.endpoint, latency_ms=5) as proxy:
        url = ministack_server.at(proxy.endpoint).url(bucket)
        policy = RetryPolicy(tries_max=1)
        store = open_store(url, environment=ministack_server.environment(), retry=policy)
        store.put("a", b"x")
        proxy.inject(Fault.ERROR_503, method="GET", times=1)
        with pytest.raises(StoreUnavailable):
            store.get("a")
        assert store.get("a").data == b"x"
        assert (proxy.count("PUT"), proxy.count("GET")) == (1, 2)
        assert [request.body_bytes for request in proxy.requests()] == [1, 0, 0]
        proxy.go_down()
        with pytest.raises(StoreUnavailable):
            store.get("a")
        proxy.heal()
        proxy.set_latency(0)
        assert store.get("a").data == b"x"
