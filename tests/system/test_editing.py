"""Two real mounts over a real S3 server, cut off from each other, with editors at work on the same files."""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from editing import LOGS, NOTES, SAVES, start_text
from machines import Fleet, Machine, until_equal

from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.servers import S3Server

SECONDS = float(os.environ.get("EDITING_SECONDS", "10"))
"""The long run is `make editing` (a minute)."""


def edit(machine: Machine, who: str, seed: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("editing.py")), machine.path().decode(), who, str(SECONDS),
         str(seed)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def written(editor: "subprocess.Popen[str]", machine: Machine) -> list[dict[str, str]]:
    out, _ = editor.communicate(timeout=SECONDS + 60)
    assert editor.returncode == 0, machine.logs(5000)
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("partition", ["cut off", pytest.param("connected", marks=pytest.mark.slow)])
def test_both_sides_edits_are_there(
    machines: Fleet, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy, partition: str
) -> None:
    left = machines.machine(ministack_server, bucket, patience_seconds=SECONDS + 120)
    right = machines.machine(ministack_server, bucket, endpoint=fault_proxy.endpoint, patience_seconds=SECONDS + 120)
    left.mount()
    right.mount()
    for name in NOTES:
        left.write(name, start_text(name))
    for name in LOGS:
        left.write(name, "")
    until_equal(left, right)
    if partition == "cut off":
        fault_proxy.go_down()
    editors = [edit(left, "ann", 1), edit(right, "bob", 2)]
    lines = [line for who in zip(editors, (left, right), strict=True) for line in written(*who)]
    fault_proxy.come_up()
    assert len({it["how"] for it in lines}) == len(SAVES) + 2, "every pattern was used"
    for machine in (left, right, left, right):
        done = machine.sync(ok=False)
        assert done.returncode == 0, f"{done.stderr}{machine.run('status', '--json').stdout}{machine.logs(5000)}"
    until_equal(left, right)
    files = {name: left.read(name).decode() for name in os.listdir(left.path()) for name in [os.fsdecode(name)]}
    assert set(files) == {*NOTES, *LOGS}, "no conflict copies: all of it is text"
    for name, text in files.items():
        found = collections.Counter(text.splitlines())
        mine = [it["line"] for it in lines if it["file"] == name]
        lost = [line for line in mine if found[line] == 0]
        doubled = [line for line in mine if found[line] > 1]
        assert not lost and not doubled, f"{name}: lost {lost}, doubled {doubled}\n{text}"
        known = {*mine, *(start_text(name) if name in NOTES else "").splitlines()}
        assert set(found) <= known, f"{name}: {set(found) - known}"
        if name in NOTES:
            for who in ("ann", "bob"):
                section = text.split(f"## {who}\n\n")[1].split("\n\n")[0].splitlines()
                assert section == [f"- {who} starts", *(line for line in mine if line.startswith(f"- {who} "))]
    for line in files[LOGS[0]].splitlines():
        json.loads(line)
    for machine in (left, right):
        machine.unmount()
        machine.fsck("--deep")
