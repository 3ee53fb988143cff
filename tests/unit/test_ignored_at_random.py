"""Machines that write, and rename into and out of ignored names, at random: nothing is lost or waits for ever."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from invariants import broken
from node import Node, TestClock

from agentfs.errors import AgentFSError
from agentfs.replica import backing
from agentfs.replica.check import check
from agentfs.stores.memory import MemoryStore

NAMES = ["p", "q", "sub", "f.md", "g.md", "node_modules", ".git", "x.swp", "t.swp"]
STEPS = ["write", "write", "mkdir", "mkdir", "rename", "rename", "rename", "append", "sync", "sync", "pull"]


@pytest.fixture(autouse=True)
def few_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)


def is_ignored(path: str) -> bool:
    """By its name, or by a directory's above it; or it had to give way to a file with an ignored directory's name."""
    return any(it in ("node_modules", ".git") or it.endswith(".swp") or ".conflict-" in it for it in path.split("/"))


class Machines:
    """What they were told to do; `lines` are those that nobody wrote over."""

    def __init__(self, nodes: list[Node], seed: int) -> None:
        self.nodes, self.random = nodes, random.Random(seed)
        self.lines: set[bytes] = set()
        self._written = 0

    def step(self) -> None:
        node = self.random.choice(self.nodes)
        tree = {path.decode(): (kind, data) for path, (kind, _, data) in node.show().items()}
        directories = ["", *(path for path, (kind, _) in tree.items() if kind == "DIRECTORY")]
        files = [path for path, (kind, _) in tree.items() if kind == "FILE"]
        directory = self.random.choice(directories)
        place = f"{directory}/{self.random.choice(NAMES)}" if directory else self.random.choice(NAMES)
        match self.random.choice(STEPS):
            case "write" if tree.get(place, ("FILE",))[0] == "FILE":
                over = tree[place][1] if place in tree else b""
                node.write(place, self._line())
                self.lines.difference_update(over.splitlines(keepends=True))
            case "append" if files:
                node.append(self.random.choice(files), self._line())
            case "mkdir" if place not in tree:
                node.mkdir(place)
            case "rename" if len(tree) > 1 and place not in tree:
                old = self.random.choice(sorted(tree))
                if not f"{place}/".startswith(f"{old}/"):
                    node.rename(old, place)
            case "sync":
                with suppress(AgentFSError):  # what waits is looked at in the end
                    node.sync()
            case "pull":
                node.engine.pull_now()

    def _line(self) -> bytes:
        self._written += 1
        line = b"line %d\n" % self._written
        self.lines.add(line)
        return line


@contextmanager
def machines(place: Path, seed: int) -> Iterator[Machines]:
    clock = TestClock()
    store = MemoryStore(clock=clock)
    nodes = [Node(place / f"{seed}-{name}", store, clock, agent=name) for name in "abc"[: 2 + seed % 2]]
    try:
        yield Machines(nodes, seed)
    finally:
        for node in nodes:
            node.close()


def everybodys(node: Node) -> dict[str, tuple[str, bytes]]:
    found = {path.decode(): (kind, data) for path, (kind, _, data) in node.show().items()}
    return {path: it for path, it in found.items() if not is_ignored(path)}


def run(place: Path, seed: int) -> None:
    with machines(place, seed) as them:
        for _ in range(10 + seed % 30):
            them.step()
        for node in them.nodes * 4:
            node.sync()
        for node in them.nodes:
            assert broken(node.replica) == check(node.replica) == [], seed
            facts = node.replica.pending()
            assert (facts.inodes, facts.dentries) == (0, 0), seed
            assert everybodys(node) == everybodys(them.nodes[0]), seed
        shown = b"".join(data for node in them.nodes for _, _, data in node.show().values())
        assert [line for line in them.lines if line not in shown] == [], seed


def test_nothing_is_lost_over_ignored_names(tmp_path: Path) -> None:
    for seed in (299, 508, 895, 1015, 1077, 1158, 1284, 1465, 1497, 1617):  # each failed once
        run(tmp_path, seed)


@pytest.mark.slow
def test_nothing_is_lost_over_ignored_names_in_many_worlds(tmp_path: Path) -> None:
    for seed in range(1000, 1600):
        run(tmp_path, seed)
