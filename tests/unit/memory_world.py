"""A simulated machine with an index: what feeds it, and what it should say, read off the tree itself."""

import hashlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))
from node import Node

from agentfs.config.settings import load
from agentfs.errors import AgentFSError
from agentfs.memory.documents import document
from agentfs.memory.expiry import Expiry
from agentfs.memory.index import Index
from agentfs.memory.sources import FACTS, Source, Sources
from agentfs.memory.tokens import default_counter
from agentfs.memory.worker import Worker
from agentfs.model.ignore import IgnorePatterns
from agentfs.model.records import Kind
from agentfs.volume.carried_index import CarriedIndexes
from agentfs.volume.log_bytes import LogBytes
from agentfs.volume.store_clock import StoreClock

IGNORED = IgnorePatterns()
Shown = dict[bytes, tuple[bytes, tuple[str, ...], tuple[str, ...]]]
"""By path: SHA-256, passages, tags."""


class Indexed:
    """The memory of a `Node`. `crash` forgets what is not on disk."""

    def __init__(self, node: Node, *, era: str = "boot", carry: str = "off", rules: str = "rules") -> None:
        """`carry`: the setting `index_carry`; `rules`: by which documents are made."""
        self.node = node
        self.era = era
        self.settings = load({"index_carry": carry}, environment={"HOME": "/nowhere"})
        self.rules = rules
        self.fetched: list[int] = []
        self.away = False
        self._open()

    def _open(self) -> None:
        replica, clock = self.node.replica, self.node.clock
        self.sources = Sources(replica)
        self.index = Index(replica.directory, counter=default_counter())
        self.bytes_of = LogBytes(self.node.engine.ground)
        self.carried = CarriedIndexes(self.node.engine.ground, self.settings, rules=self.rules)
        self.worker = Worker(
            self.sources, self.index, fetch=self._fetch, clock=clock, era=self.era, carrier=self.carried
        )
        self.time = StoreClock(self.node.engine.ground)
        self.expiry = Expiry(self.sources, self.index, self.worker, unlink=self._unlink, time=self.time)

    def _fetch(self, sources: list[Source]) -> dict[int, bytes]:
        if self.away:
            raise AgentFSError("the store is away")
        self.fetched += [it.ino for it in sources]
        return dict(self.bytes_of.fetch(sources))

    def _unlink(self, directory: int, name: bytes, ino: int, change: int) -> None:
        self.node.tree.unlink(directory, name, as_of=(ino, change), ended=True)

    def crash(self, *, era: str | None = None) -> None:
        self.close()
        self.era = self.era if era is None else era
        self._open()

    def close(self) -> None:
        self.bytes_of.close()
        self.index.close()
        self.sources.close()

    def catch_up(self) -> None:
        assert self.worker.catch_up(60.0) == 0

    def says(self) -> Shown:
        """What the index holds."""
        return {
            it.path: (it.version, tuple(row.passage.text for row in self.index.passages(it.ino)), it.facts.tags)
            for it in self.index.documents()
        }

    def should_say(self) -> Shown:
        """What the tree shows."""
        tree = self.node.tree
        found: dict[int, bytes] = {}
        work = [(1, b"")]
        while work:
            directory, above = work.pop()
            number = tree.open_directory(directory)
            rows = [it for it in tree.read_directory(number, 0, 100_000) if it.name not in (b".", b"..")]
            tree.release_directory(number)
            for row in rows:
                path = above + row.name
                if IGNORED.matches_path(path, directory=row.kind is Kind.DIRECTORY):
                    continue
                if row.kind is Kind.DIRECTORY:
                    work.append((row.ino, path + b"/"))
                elif row.kind is Kind.FILE and (row.ino not in found or path < found[row.ino]):
                    found[row.ino] = path
        said: Shown = {}
        for ino, path in found.items():
            data = self.node.read(os.fsdecode(path))
            xattrs = {name: tree.get_xattr(ino, name) for name in tree.list_xattrs(ino) if name.startswith(FACTS)}
            made = document(path, data, xattrs, mtime_ns=tree.attributes(ino).mtime_ns) if data else None
            if made is not None:
                texts = tuple(passage.text for passage in made.passages)
                said[path] = (hashlib.sha256(data).digest(), texts, made.facts.tags)
        return said
