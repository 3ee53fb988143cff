"""`agentfs usage`: what it counts is what a real store was asked, request by request."""

import http.client
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from command import Machine, machine, until

from agentfs.cli import exits
from agentfs.cli.main import cli
from agentfs.errors import AgentFSError
from agentfs.fuse.mount import fuse_available
from agentfs.testing.fault_proxy import Fault, FaultProxy, Request
from agentfs.testing.servers import S3Server
from agentfs.volume.messages import connect, connect_stream

sys.path.insert(0, str(Path(__file__).parent.parent / "unit"))
from exposition_check import samples

needs_mount = pytest.mark.skipif(not fuse_available().usable, reason=fuse_available().problem or "")


@pytest.fixture
def me(tmp_path: Path, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy) -> Iterator[Machine]:
    url = ministack_server.at(fault_proxy.endpoint).url(bucket, "p")
    with machine(tmp_path, store=url, extra=ministack_server.environment()) as made:
        yield made


def kind_of(request: Request) -> str:
    if request.method == "GET":
        return "list" if "list-type=" in request.path else "get"
    return {"PUT": "put", "HEAD": "head", "DELETE": "delete", "POST": "delete"}[request.method]


def seen(proxy: FaultProxy) -> dict[str, int]:
    return dict(Counter(kind_of(request) for request in proxy.requests()))


def usage(me: Machine, *options: str) -> str:
    """What `agentfs usage` prints: in this process, for it is asked often."""
    done = CliRunner(env=me.environment).invoke(cli, ["usage", *options], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def refused(me: Machine, *options: str) -> None:
    done = CliRunner(env=me.environment).invoke(cli, ["usage", *options])
    error = done.exception
    code = exits.exit_code(error) if isinstance(error, AgentFSError) else done.exit_code
    assert code == exits.USAGE, done


def volumes(me: Machine, *options: str) -> list[dict[str, Any]]:
    return json.loads(usage(me, "--json", *options))["volumes"]


def counted(me: Machine) -> dict[str, int]:
    """By kind, over all volumes and the store itself."""
    total: Counter[str] = Counter()
    for volume in volumes(me, "--all"):
        total.update(volume["requests"])
    return {kind: count for kind, count in total.items() if count}


def test_every_request_of_every_command_is_counted(me: Machine, fault_proxy: FaultProxy) -> None:
    fault_proxy.inject(Fault.ERROR_503, method="GET", path="/log/", times=2)  # tried again, and billed again
    me.ok("put", "-", "notes/a.md", stdin=b"hello")
    me.ok("put", "-", "large", stdin=os.urandom(300_000))
    me.ok("doctor")
    me.ok("fsck", "--deep")
    assert counted(me) == seen(fault_proxy)
    bytes_sent = sum(request.body_bytes for request in fault_proxy.requests() if request.method == "PUT")
    assert sum(volume["sent_bytes"] for volume in volumes(me, "--all")) == bytes_sent
    home = next(volume for volume in volumes(me, "--all") if volume["volume"] == "home-me")
    purposes = volumes(me, "--by", "purpose")[0]["lines"]
    assert {line["purpose"] for line in purposes} >= {"log", "blobs", "snapshots", "upkeep"}
    blobs = next(line for line in purposes if line["purpose"] == "blobs")
    assert blobs["sent_bytes"] == 300_000
    assert sum(line["requests"] for line in purposes) == sum(home["requests"].values())


@needs_mount
def test_a_mount_is_counted_while_it_runs_and_a_cold_one_too(
    me: Machine, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    place = me.directory()
    me.ok("mount", str(place))
    for number in range(30):
        (place / f"file-{number}").write_bytes(b"%d" % number)
    me.ok("sync")
    (engine,) = me.state_dir.glob("volumes/*/engine.sock")
    # The engine looks at the log once a second: until no look lies between the two counts.
    until(lambda: counted(me) == seen(fault_proxy))
    with machine(tmp_path, name="two", store=me.store, extra=me.extra) as other:
        cold = other.directory()
        other.ok("mount", str(cold))
        assert (cold / "file-7").read_bytes() == b"7"
        other.ok("unmount", str(cold))
        until(lambda: Counter(counted(me)) + Counter(counted(other)) == Counter(seen(fault_proxy)))
        status, kind, text = _get(engine, "/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        metrics = samples(text)
        assert metrics.keys() == samples(_say(engine, "metrics")["text"]).keys()
        names = {name for name, _ in metrics}
        assert names >= {"agentfs_store_requests_total", "agentfs_pending_changes", "agentfs_store_online"}
        assert {value for (name, _), value in metrics.items() if name == "agentfs_store_online"} == {1.0}
        whole = samples(usage(me, "--prometheus"))
        assert metrics.keys() <= whole.keys()
        assert _get(engine, "/")[0] == 404
        # Killed right after it was asked: nothing that was asked for is lost; what came after is a minute at most.
        before = Counter(counted(me))
        pid = me.engine_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        me.ok("unmount", str(place))
        assert not before - Counter(counted(me))
        assert not Counter(counted(me)) - Counter(seen(fault_proxy))


def _get(path: Path, page: str) -> tuple[int, str, str]:
    """As `curl --unix-socket` asks: status, type and text."""
    with connect_stream(str(path), timeout_seconds=60) as stream:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = stream
        connection.request("GET", page)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type") or "", answer.read().decode()


def _say(path: Path, word: str) -> dict[str, Any]:
    with connect(str(path)) as connection:
        connection.send({"id": 1, "do": word})
        return connection.receive(timeout_seconds=60)["result"]


def test_what_is_stored_is_measured_priced_and_budgeted(me: Machine, fault_proxy: FaultProxy) -> None:
    me.extra = me.extra | {"AGENTFS_PROVIDER": "aws-s3"}
    me.ok("put", "-", "a", stdin=b"x" * 5000)
    me.ok("put", "-", "a", stdin=b"y" * 7000)
    before = volumes(me)[0]["stored"]
    assert before["live"]["bytes"] == 7000 and before["live"]["objects"] == 1 and before["history"] is None
    fault_proxy.forget_requests()
    measured = me.run("usage", "--measure")
    assert measured.code == 0 and "about 2 requests, 0.000010 USD" in measured.err
    assert seen(fault_proxy) == {"list": 2}
    home = volumes(me)[0]
    stored = home["stored"]
    assert stored["live"]["bytes"] == 7000 and stored["view"]["bytes"] == 0
    assert stored["history"]["bytes"] > 5000 and stored["history"]["objects"] == 2
    kept = 7000 + stored["history"]["bytes"]
    assert home["cost"]["storage"] == pytest.approx(kept * 0.023 / 2**30 / 30, rel=0.1)
    assert home["cost"]["requests"] == pytest.approx(
        (home["requests"]["put"] + home["requests"]["list"]) * 0.005 / 1000
        + (home["requests"]["get"] + home["requests"]["head"]) * 0.0004 / 1000
    )
    text = usage(me, "--by", "day")
    assert "other machines count their own" in text and "Amazon S3 Standard" in text
    assert "this machine's requests" in text
    # Another machine, which has written nothing of it, tells the same of what is stored, and only its own requests.
    with machine(me.root, name="two", store=me.store, extra=me.extra) as other:
        other.ok("ls")
        other.ok("usage", "--measure", "--json")
        theirs = volumes(other)[0]
        for part in ("live", "history", "view"):
            assert theirs["stored"][part] | {"seen": ""} == stored[part] | {"seen": ""}, part
        assert theirs["requests"]["put"] == 0 < home["requests"]["put"]
    # Budgets warn, and stop nothing.
    me.extra = me.extra | {"AGENTFS_BUDGET_REQUESTS_PER_DAY": "1"}
    assert "OVER THE BUDGET" in usage(me)
    assert "budget: OVER" in me.ok("status").text
    (state,) = volumes(me)[0]["budgets"]
    assert (state["budget"], state["level"], state["limit"]) == ("requests_per_day", "over", 1)
    me.extra = me.extra | {"AGENTFS_BUDGET_MONTH": "1000000 EUR"}
    assert "one must be written anew" in usage(me)
    me.ok("put", "-", "c", stdin=b"x")


def test_prices_are_shown_and_can_be_ones_own(me: Machine) -> None:
    assert "self-hosted" in usage(me, "--prices")
    document = json.loads(usage(me, "--prices", "--json"))
    assert document["provider"] == "self-hosted" and document["providers"]["cloudflare-r2"]["put_1000"] == 0.0045
    assert not document["own_exists"]
    own = me.root / "mine.toml"
    own.write_text('[mine]\nendpoints = ["127.0.0.1"]\nput_1000 = 7\n')
    me.extra = me.extra | {"AGENTFS_PRICES": str(own)}
    assert json.loads(usage(me, "--prices", "--json"))["provider"] == "mine"
    me.extra = me.extra | {"AGENTFS_PROVIDER": "nobody"}
    refused(me, "--prices")
    own.write_text("[mine\n")
    refused(me, "--prices")


def test_what_cannot_be_asked(me: Machine) -> None:
    refused(me, "--month", "2026-13")
    refused(me, "--month", "2026-10", "--days", "3")
    refused(me, "--all", "--measure")
    document = json.loads(usage(me, "--days", "7", "--json"))  # nothing was ever counted here
    assert document["volumes"][0]["cost"]["total"] == 0 and document["volumes"][0]["lines"] == []


def test_a_space_that_does_not_exist_is_no_zero(me: Machine, fault_proxy: FaultProxy) -> None:
    def asked(*options: str) -> tuple[int, str]:
        done = CliRunner(env=me.environment).invoke(cli, ["usage", "--space", *options])
        code = exits.exit_code(done.exception) if isinstance(done.exception, AgentFSError) else done.exit_code
        return code, done.output

    assert asked("nope")[0] == asked("nope", "--measure")[0] == exits.NOT_FOUND
    other = Machine(me.root, me.store, name="two", agent="ann", extra=me.extra)
    other.ok("space", "create", "team")
    assert asked("team")[0] == exits.OK, "it exists, and was never opened here"
    me.ok("put", "-", "f", "--space", "team", stdin=b"x")
    fault_proxy.go_down()
    code, text = asked("team")
    assert code == exits.OK and "whether there is one" not in text and "space-team" in text
    code, text = asked("nope")
    assert code == exits.OK and "whether there is one cannot be told" in text
