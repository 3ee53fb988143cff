"""An index that one machine put answers on another: real engines, a real S3 server, requests counted."""

import os
import time
from pathlib import Path

import pytest

from agentfs import Home
from agentfs.config.settings import Settings, load
from agentfs.memory import worker
from agentfs.replica import backing
from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.servers import S3Server
from agentfs.volume import carried_index, memory


def test_a_new_machine_answers_with_what_another_made(
    tmp_path: Path,
    ministack_server: S3Server,
    bucket: str,
    fault_proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)
    monkeypatch.setattr(carried_index, "DOCUMENTS_MIN", 10)
    monkeypatch.setattr(memory, "_INDEX_FIRST_SECONDS", 120.0)  # however slow the machine is
    monkeypatch.setattr(worker, "_COMING_SECONDS", 120.0)
    for name, value in ministack_server.environment().items():
        monkeypatch.setenv(name, value)
    server = ministack_server.at(fault_proxy.endpoint)

    def settings(machine: str, carry: str) -> Settings:
        given = {"store": server.url(bucket, "root"), "state_dir": str(tmp_path / machine), "index_carry": carry}
        return load(given, environment={"HOME": str(tmp_path), "AGENTFS_VIEW": "off"})

    with Home.open("me", settings=settings("one", "on")) as one:
        for n in range(25):
            one.write(f"notes/{n}.md", f"# Note {n}\n\nThe parrot number {n} speaks Portuguese.\n")
        one.write("photo.bin", os.urandom(200_000))  # a blob: a new machine fetches it ahead
        one.sync()
        deadline = time.monotonic() + 60
        while not one.memory_stats()["carried_at"]:
            assert time.monotonic() < deadline, one.memory_stats()
            time.sleep(0.05)
        said = one.recall("which parrot speaks Portuguese, number 7", max_tokens=300)
    assert fault_proxy.count("PUT", "/indexes/") == 1
    fault_proxy.forget_requests()
    with Home.open("me", settings=settings("two", "auto")) as two:
        while not fault_proxy.count("GET", "/blobs/"):
            assert time.monotonic() < deadline + 60, "nothing is fetched ahead"
            time.sleep(0.05)
        gets = [it.path for it in fault_proxy.requests() if it.method == "GET"]
        (index,) = (at for at, path in enumerate(gets) if "/indexes/" in path)
        assert index < next(at for at, path in enumerate(gets) if "/blobs/" in path), "the index comes first"
        found = two.recall("which parrot speaks Portuguese, number 7", max_tokens=300, wait=60)
        stats = two.memory_stats()
        assert (stats["carried"], stats["documents"], stats["behind"]) == (25, 25, 0)
        assert stats["carried_problem"] == ""
        asked = fault_proxy.count("GET", "indexes%2F") + fault_proxy.count("GET", "/indexes/")
        assert asked == 2, "one list, one get"
        best = found.found[0]
        assert best.path == said.found[0].path == "notes/7.md"
        assert best.text in two.read_text(best.path)
