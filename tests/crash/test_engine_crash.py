"""The engine killed with SIGKILL at every failpoint, and at random moments, over a directory store. After it is
opened again nothing acknowledged is missing, nothing is there twice, and both machines show one tree."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from invariants import broken
from node import Node, TestClock

from agentfs.stores.local import LocalStore

CHILD = Path(__file__).with_name("engine_child.py")
FAILPOINTS = [
    "push.captured",
    "push.prepared",
    "push.appended",
    "push.settled",
    "pull.before",
    "pull.applied",
    "hydrate.staged",
    "evict.marked",
]


def run_child(
    tmp_path: Path, failpoint: str, count: int, seed: int, *, kill_after_lines: int | None = None
) -> list[str]:
    """What the child had acknowledged when it died."""
    command = [sys.executable, str(CHILD), str(tmp_path / "a"), str(tmp_path / "store"), "a", failpoint]
    child = subprocess.Popen([*command, str(count), str(seed)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines: list[str] = []
    for line in child.stdout:
        lines.append(line.strip())
        if kill_after_lines is not None and len(lines) >= kill_after_lines:
            child.kill()
    child.stdout.close()
    assert child.wait(60) == -9, "it was to be killed"
    return lines


def expected(lines: list[str], known: dict[str, str]) -> tuple[dict[str, str], set[str]]:
    """Path → token of the machine's own files, and the last token that went into `shared`. A path that was being
    written or renamed when the child died may show the one or the other: it is not in there until it is written
    again."""
    shared: list[str] = []
    begun: list[str] = []
    for line in lines:
        word, *rest = line.split()
        if word == "begin":
            begun = rest
            continue
        if word == "write":
            known[rest[0]] = rest[1]
        elif word == "rename":
            token = known.pop(rest[0], None)
            known.pop(rest[1], None)
            if token is not None:
                known[rest[1]] = token
        elif word == "shared":
            shared.append(rest[1])
        begun = []
    if begun:
        word, path, other = begun
        known.pop(path, None)
        if word == "rename":
            known.pop(other, None)
    return known, set(shared[-1:])


def verify(tmp_path: Path, own: dict[str, str], shared: set[str]) -> None:
    clock = TestClock()
    clock.now_s = 10_000
    a = Node(tmp_path / "a", LocalStore(str(tmp_path / "store")), clock, agent="a")
    b = Node(tmp_path / "b", LocalStore(str(tmp_path / "store")), clock, agent="b")
    try:
        assert broken(a.replica) == []
        a.sync()
        b.engine.bootstrap()
        b.sync()
        a.sync()
        assert broken(a.replica) == [] and broken(b.replica) == []
        tree = a.show()
        assert b.show() == tree
        wrong = {path for path, token in own.items() if tree.get(path.encode(), ("", 0, b""))[2] != token.encode()}
        assert not wrong
        everything = b"".join(data for _, _, data in tree.values())
        assert all(token.encode() in everything for token in shared)
        assert not any(path.startswith(b"a-") and b".conflict-" in path for path in tree), "applied twice"
    finally:
        a.close()
        b.close()


def write_by_another(tmp_path: Path, round_: int) -> None:
    clock = TestClock()
    other = Node(tmp_path / "c", LocalStore(str(tmp_path / "store")), clock, agent="c")
    other.engine.bootstrap()
    other.write("shared", b"by c %d" % round_)
    other.write(f"c-{round_}", b"c")
    other.sync()
    other.close()


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_killed_at_a_failpoint(tmp_path: Path, failpoint: str) -> None:
    (tmp_path / "store").mkdir()
    own: dict[str, str] = {}
    shared: set[str] = set()
    for round_ in range(3):
        write_by_another(tmp_path, round_)
        lines = run_child(tmp_path, failpoint, 1 if failpoint.startswith("pull") else 1 + round_, seed=round_)
        own, shared = expected(lines, own)
    verify(tmp_path, own, shared)


def test_killed_at_random(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    chance = random.Random(7)
    own: dict[str, str] = {}
    for round_ in range(5):
        write_by_another(tmp_path, round_)
        lines = run_child(tmp_path, "-", 0, seed=round_, kill_after_lines=chance.randrange(3, 90))
        own, _ = expected(lines, own)
    verify(tmp_path, own, set())
