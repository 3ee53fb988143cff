"""Collecting over real HTTP, with several requests at once; by command, on a store in a directory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from retention_world import VOLUME, Node

from agentfs.cli.main import cli
from agentfs.clock import SystemClock
from agentfs.format.pin import Pin
from agentfs.fsck.store_check import StoreCheck
from agentfs.log.log import Log
from agentfs.log.pins import Pins
from agentfs.model.retention import Policy
from agentfs.retention.collector import Collector
from agentfs.retention.options import CollectorOptions
from agentfs.retention.report import CollectionReport
from agentfs.stores.protocol import Store
from agentfs.sync.options import EngineOptions
from agentfs.testing.fault_proxy import FaultProxy

AT_ONCE = CollectorOptions(whole_s=0.0, chunk_grace_s=0.0, parallel=8)
DAY_S = 86_400


def machine(directory: Path, store: Store, *, prefetch: bool = True) -> Node:
    node = Node(
        directory,
        store,
        SystemClock(),  # type: ignore[arg-type]
        agent=directory.name,
        options=EngineOptions(parallel=4, prefetch=prefetch),
    )
    node.engine.bootstrap()
    return node


def collect(store: Store) -> CollectionReport:
    time.sleep(1.1)  # the server tells the time to the second
    collector = Collector(
        store,
        VOLUME,
        clock=SystemClock(),
        entropy=os.urandom,
        author="collector",
        policy=Policy(False, 0, 3),
        options=AT_ONCE,
    )
    for _ in collector.run():
        pass
    return collector.report


def check(store: Store) -> None:
    found = StoreCheck(store, "space", "sim", deep=True).run().findings.found
    assert not [it for it in found if it.severity != "note" and it.kind != "store-file"]


def test_over_http(proxied_store: Callable[..., Store], fault_proxy: FaultProxy, tmp_path: Path) -> None:
    store = proxied_store()
    a = machine(tmp_path / "ann", store)
    try:
        for number in range(40):
            a.write("notes.md", b"version %d" % number * 50)
            if number % 10 == 0:
                a.write("large", os.urandom(200_000))
            a.sync()
            if number == 20:
                a.engine.snapshot()
                digest = Log(store, "space", "sim").digest_at(21)
                assert digest is not None
                Pins(store, VOLUME).put(Pin(VOLUME, os.urandom(16), "snapshot", "then", 21, digest, 1, "ann"))
        for number in range(100):
            a.write(f"small-{number}", b"small %d" % number)
        a.sync()
        a.engine.snapshot()
        fault_proxy.forget_requests()
        report = collect(store)
        assert report.requests == len(fault_proxy.requests())
        assert (report.commits, report.chunks, report.snapshots) == (41, 1, 0)
        assert report.packed >= 100 and report.versions == 100 + 3 + 3
        check(store)
        a.write("large", b"gone")
        for _ in range(3):
            a.append("large", b".")
            a.sync()
        a.engine.snapshot()
        report = collect(store)
        assert (report.commits, report.chunks) == (
            4,
            2,
        )  # a barrier among them; of three kept versions, one is pinned
        check(store)
        expected = a.show()
        fault_proxy.forget_requests()
        b = machine(tmp_path / "bob", store)
        try:
            assert fault_proxy.count("GET") <= 5
            assert b.show() == expected
            assert fault_proxy.count("GET") < 40  # a hundred contents out of a few packs
        finally:
            b.close()
    finally:
        a.close()


def test_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "STATE_DIR": str(tmp_path / "state"),
        "STORE": f"file://{tmp_path}/store",
        "AGENT_ID": "ann",
        "VIEW": "off",
        "CONFIG": str(tmp_path / "config.toml"),
    }.items():
        monkeypatch.setenv(f"AGENTFS_{name}", value)
    (tmp_path / "config.toml").touch()

    def run(*arguments: str) -> dict[str, object]:
        done = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
        return json.loads(done.output)

    from agentfs.sdk.home import Home  # noqa: PLC0415

    with Home.open("ann") as home:
        for number in range(40):
            home.write("notes.md", b"version %d" % number)
            home.sync()
    prefix = tmp_path / "store" / ".agentfs" / "volumes" / "home-ann"
    for path in prefix.rglob("*"):
        if path.is_file():
            then = path.stat().st_mtime - 40 * DAY_S
            os.utime(path, (then, then))
    assert run("retention")["retention"] == "all"
    assert run("clean")["why_not"] == "everything is kept"
    assert run("retention", "30d")["retention"] == "30d"
    told = run("clean", "--dry-run")
    assert told["commits"] == 40 and not any(prefix.glob("packs/*"))
    done = run("clean")
    assert (done["commits"], done["packed"]) == (40, 1)
    text = CliRunner().invoke(cli, ["clean"], catch_exceptions=False).output
    assert text == "home-ann keeps 30d\nnothing to remove: all commits are younger than what the policy keeps\n"
    assert run("fsck")["clean"] is True
    with Home.open("ann") as home:
        assert home.read("notes.md") == b"version 39"
    fresh = {**os.environ, "AGENTFS_STATE_DIR": str(tmp_path / "other")}
    shown = subprocess.run(
        [sys.executable, "-m", "agentfs.cli.main", "cat", "notes.md"], env=fresh, capture_output=True, check=True
    )
    assert shown.stdout == b"version 39"
    # a machine that wishes to keep more widens the policy, one that wishes to keep less does not narrow it
    monkeypatch.setenv("AGENTFS_RETENTION", "60d")
    assert run("clean")["policy"] == "60d"
    monkeypatch.setenv("AGENTFS_RETENTION", "5 versions")
    assert run("clean")["policy"] == "60d 5 versions"
    monkeypatch.setenv("AGENTFS_RETENTION", "1d")
    assert run("retention")["retention"] == "60d 5 versions"
