"""Memory on real mounts over a real store: what is echoed is recalled, what is over is gone on every machine, and an
engine that dies while it indexes leaves nothing wrong."""

import json
import os
import time

import pytest
from machines import Fleet, Machine, until

from agentfs.testing.servers import S3Server


@pytest.fixture(autouse=True)
def indexing(machines: Fleet) -> None:
    machines.index = True


def asked(machine: Machine, *words: str) -> dict:
    return json.loads(machine.run(*words, "--json").stdout)


def found(machine: Machine, question: str) -> list[str]:
    return [it["path"] for it in asked(machine, "recall", question)["passages"]]


def test_what_one_machine_writes_the_other_recalls_until_it_is_over(
    machines: Fleet, ministack_server: S3Server, bucket: str
) -> None:
    one, two = machines.machine(ministack_server, bucket), machines.machine(ministack_server, bucket)
    one.mount()
    two.mount()
    one.write("parrot.md", "# Parrot\n\nThe parrot speaks Portuguese.\n")
    assert found(one, "which language does the parrot speak") == ["parrot.md"]
    made = one.run("remember", "The safe opens with 4711.", "--tag", "secret", "--ttl", "1h", "--no-sync").stdout
    assert found(one, "how does the safe open") == [made.strip()]
    one.sync()
    both = {"parrot.md", made.strip()}
    until(lambda: set(found(two, "parrot safe Portuguese 4711")) == both, "the other has heard of it")
    assert asked(two, "tags")["tags"] == [{"tag": "secret", "documents": 1}]

    for seconds in (10, 30, 60):  # longer, where the machine was too slow to ask before its end
        end = time.time() + seconds
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
        one.write("soon.md", f"---\nexpires: {ends}\n---\n\nA fleeting toad.\n")
        one.sync()
        told: set[str] = set()
        while len(told) < 2 and time.time() < int(end):
            told |= {it.root.name for it in (two, one) if found(it, "toad")[:1] == ["soon.md"]}
        until(lambda: b"soon.md" not in {*_names(one), *_names(two)}, "both have forgotten it", seconds + 60)
        assert time.time() >= int(end), "not before its time"
        if len(told) == 2:
            break
    else:
        raise AssertionError("nobody was told of it in a minute")
    assert "soon.md" not in [*found(one, "toad"), *found(two, "toad")]
    one.sync()
    two.sync()
    assert asked(one, "history", "soon.md")["events"][0]["what"] == "deleted"
    for machine in (one, two):
        machine.unmount()
        machine.fsck()


@pytest.mark.slow
def test_an_engine_that_dies_while_it_indexes(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    machine = machines.machine(ministack_server, bucket)
    machine.mount()
    count = 700
    for number in range(count):
        machine.write(f"n{number:04}.md", f"# Note {number}\n\nAbout subject{number}.\n\n" + "More of it. " * 60)
    kills = 0
    while kills < 3:
        facts = machine.volume()["engine"]
        memory = facts["memory"] if facts else {}
        if memory.get("indexed", 0) > 20 and memory["behind"] > 20:
            kills += len(machine.kill("engine"))
        elif memory.get("state") == "ready" and not memory["behind"]:
            break
    assert kills, "it was too fast to be disturbed"
    stats = asked(machine, "stats")
    assert (stats["documents"], stats["behind"]) == (count, 0)
    until(lambda: asked(machine, "stats")["vectorless"] == 0, "every passage has its vector")
    assert f"index: {count} documents" in machine.run("status").stdout
    assert found(machine, "subject77")[0] == "n0077.md"
    again = asked(machine, "reindex")
    assert (again["documents"], again["passages"]) == (stats["documents"], stats["passages"])
    machine.unmount()
    machine.fsck()


def _names(machine: Machine) -> set[bytes]:
    return set(os.listdir(machine.path()))
