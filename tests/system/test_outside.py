"""Two real mounts over a real S3 server, and an outsider with a client of its own at work on the same files: what is
put, edited, deleted and listed in the bucket converges with what the mounts write (docs/view.md)."""

import collections
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from editing import LOGS, NOTES, start_text
from machines import Fleet, Machine, until, until_equal

from agentfs.testing.servers import S3Server
from agentfs.view.restoring import restored

SECONDS = float(os.environ.get("OUTSIDE_SECONDS", "4"))
"""The long run is `make outside` (a minute)."""
PREFIX = "root/agents/myagent/"
VIEW = {"AGENTFS_VIEW": "on", "AGENTFS_VIEW_LOOK": "2s"}


class Outsider:
    """Somebody with an S3 client and no AgentFS."""

    def __init__(self, server: S3Server, bucket: str) -> None:
        self.client: Any = server.client()
        self.bucket = bucket
        self.lines: list[dict[str, str]] = []

    def get(self, name: str) -> tuple[bytes, dict[str, str]]:
        found = self.client.get_object(Bucket=self.bucket, Key=PREFIX + name)
        return found["Body"].read(), found["Metadata"]

    def put(self, name: str, data: bytes, metadata: dict[str, str] | None = None) -> None:
        self.client.put_object(Bucket=self.bucket, Key=PREFIX + name, Body=data, Metadata=metadata or {})

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=PREFIX + name)

    def names(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=PREFIX)
        return {it["Key"].removeprefix(PREFIX) for page in pages for it in page.get("Contents", [])}

    def files(self) -> dict[str, bytes]:
        """Every file as the bucket has it."""
        return {name: restored(name.encode(), *self.get(name)).data for name in self.names()}

    def edit(self, name: str, number: int, *, keeps_metadata: bool) -> None:
        """As a person does: take the object, write a line, put it back a while later."""
        data, metadata = self.get(name)
        line = json.dumps({"who": "eve", "n": number}) if name.endswith(".jsonl") else f"- eve writes {number}"
        text = data.decode()
        at = text.index("\n## End") if name in NOTES else len(text)
        time.sleep(0.2)
        self.put(name, (text[:at] + line + "\n" + text[at:]).encode(), metadata if keeps_metadata else None)
        self.lines.append({"file": name, "line": line})


def edit(machine: Machine, who: str, seed: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("editing.py")), machine.path().decode(), who, str(SECONDS),
         str(seed)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def shown(machine: Machine) -> dict[str, bytes]:
    """Every file of a mount, by path."""
    top = machine.path()
    return {
        os.fsdecode(os.path.relpath(os.path.join(above, name), top)): machine.read(
            os.path.relpath(os.path.join(above, name), top)
        )
        for above, _, names in os.walk(top)
        for name in names
    }


def until_same(outsider: Outsider, left: Machine, right: Machine, seconds: float = 90.0) -> dict[str, bytes]:
    """Wait until the bucket and both mounts have the same files, byte for byte."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            bucket, one, other = outsider.files(), shown(left), shown(right)
        except FileNotFoundError:
            continue
        if bucket == one == other:
            return one
        differing = {it for it in {*bucket, *one, *other} if not bucket.get(it) == one.get(it) == other.get(it)}
        assert time.monotonic() < deadline, (
            f"{sorted(differing)} differ after {seconds:g} s\n"
            + "\n".join(f"{it}: {bucket.get(it)!r}\n  {one.get(it)!r}\n  {other.get(it)!r}" for it in differing)
            + f"\n{left.logs()}\n{right.logs()}"
        )
        time.sleep(0.5)


@pytest.fixture
def trio(machines: Fleet, ministack_server: S3Server, bucket: str) -> tuple[Outsider, Machine, Machine]:
    left, right = (machines.machine(ministack_server, bucket, patience_seconds=SECONDS + 240) for _ in range(2))
    left.mount(**VIEW)
    right.mount(**VIEW)
    return Outsider(ministack_server, bucket), left, right


def test_put_edit_delete_and_list_from_outside_while_two_mounts_write(
    trio: tuple[Outsider, Machine, Machine],
) -> None:
    outsider, left, right = trio
    for name in NOTES:
        left.write(name, start_text(name))
    for name in LOGS:
        left.write(name, "")
    until(lambda: outsider.names() >= {*NOTES, *LOGS}, "the view is there")
    until_equal(left, right)
    assert b"agentfs:\n" in outsider.get("plan.md")[0]
    editors = [edit(left, "ann", 1), edit(right, "bob", 2)]
    rng, end, number = random.Random(3), time.monotonic() + SECONDS, 0
    created: dict[str, bytes] = {}
    while time.monotonic() < end:
        number += 1
        name = rng.choice([*NOTES, "events.jsonl"])
        outsider.edit(name, number, keeps_metadata=name in NOTES or rng.random() < 0.8)
        fresh = f"from outside/{number} é.md"
        created[fresh] = f"---\ntitle: {number}\n---\n\nText {number}.\n".encode()
        outsider.put(fresh, created[fresh])
        time.sleep(rng.random())
    lines = [json.loads(it) for editor in editors for it in editor.communicate(timeout=SECONDS + 60)[0].splitlines()]
    assert [editor.returncode for editor in editors] == [0, 0]
    left.sync()
    right.sync()
    files = until_same(outsider, left, right)
    assert {name: files.get(name) for name in created} == created
    conflicts = [name for name in files if "conflict" in name]
    assert conflicts == []
    for name in (*NOTES, *LOGS):
        found = collections.Counter(files[name].decode().splitlines())
        wanted = [it["line"] for it in (*lines, *outsider.lines) if it["file"] == name]
        assert [it for it in wanted if found[it] != 1] == [], f"{name}: {files[name].decode()}"
    outsider.delete(next(iter(created)))
    outsider.delete("journal.log")
    until(lambda: "journal.log" not in shown(left), "a deletion is taken in", 60)
    files = until_same(outsider, left, right)
    assert next(iter(created)) not in files
    log = json.loads(left.run("log", "--author", "bucket", "--json").stdout)
    assert log, "the history says who it was"
    for machine in (left, right):
        machine.unmount()
        machine.fsck("--deep")


def test_a_keeper_that_is_killed_is_followed_by_the_other(trio: tuple[Outsider, Machine, Machine]) -> None:
    outsider, left, right = trio
    left.write("a.md", "one\n")
    until(lambda: "a.md" in outsider.names(), "the view is there")
    left.write("a.md", "one\ntwo\n")
    left.sync()
    left.crash()
    data, metadata = outsider.get("a.md")
    outsider.put("a.md", data.replace(b"one", b"1"), metadata)
    until(lambda: right.read("a.md").endswith(b"two\n"), "the other has it")
    right.run("view", "look")
    until(lambda: right.read("a.md") == b"1\ntwo\n", "the edit is taken in")
    right.run("view", "rebuild")
    assert outsider.files() == {"a.md": b"1\ntwo\n"}
    right.unmount()
    right.fsck("--deep")
