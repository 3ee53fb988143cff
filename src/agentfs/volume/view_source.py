"""What the keeper and the writer of a view ask of the log (`view.writer.Source`): files, bytes, commits, and what was
before."""

import threading
from collections.abc import Iterable, Mapping, Sequence

from agentfs.errors import Collected, Corrupt, HistoryBroken, NotFound, Unavailable
from agentfs.format.commit import decode_commit
from agentfs.history.latest import had_path, latest_content
from agentfs.history.log_tree import IndexedTree
from agentfs.history.reader import HistoryReader
from agentfs.log.log import WINDOW_MAX
from agentfs.model.records import Commit, InodeId
from agentfs.sync.engine import Engine
from agentfs.view.claims import bears_out, is_leftover
from agentfs.view.facts import ViewFacts
from agentfs.view.log_files import LogFile, LogFiles
from agentfs.view.shown import ContentFact, ShownTable
from agentfs.volume.history import HistoryService
from agentfs.volume.log_bytes import LogBytes


class ViewSource:
    """Safe from any thread."""

    def __init__(
        self, engine: Engine, tree: LogFiles, history: HistoryService, table: ShownTable, volume: str
    ) -> None:
        self._engine = engine
        self._tree = tree
        self._history = history
        self._table = table
        self._volume = volume
        self._bytes = LogBytes(engine.ground)
        self._asking = threading.Lock()

    def close(self) -> None:
        """Repeating it is harmless."""
        self._bytes.close()

    def bytes_of(self, files: Sequence[LogFile]) -> Mapping[InodeId, bytes]:
        """See `writer.Source`."""
        found = {file.file: data for file in files if (data := self._tree.read(file)) is not None}
        away = {file.ino: file.file for file in files if file.file not in found}
        fetched = self._bytes.fetch([file for file in files if file.ino in away]) if away else {}
        return found | {away[ino]: data for ino, data in fetched.items()}

    def files(self, numbers: Iterable[InodeId]) -> Mapping[InodeId, LogFile]:
        """See `writer.Source`."""
        return self._tree.files(numbers)

    def head(self) -> int:
        """See `writer.Source`."""
        return self._tree.head()

    def has(self, was: ViewFacts, modified_at: float) -> bool:
        """See `writer.Source`."""
        fact = self._table.fact(was.file, was.digest)
        if fact is not None and fact.sequence == was.sequence:
            return True
        reader = self._reader()
        if reader is None:
            return False
        return bears_out(self._log_tree(reader), was, edited=False, modified_ns=int(modified_at * 1e9))

    def had_path(self, number: InodeId, path: bytes) -> bool:
        """See `writer.Source`."""
        reader = self._reader()
        if reader is None:
            return False
        with reader.index.reading() as sql:
            return had_path(sql, number, tuple(path.split(b"/")))

    def may_be_left(self, path: bytes, modified_at: float) -> bool:
        """See `writer.Source`."""
        reader = self._reader()
        return reader is not None and is_leftover(self._log_tree(reader), path, int(modified_at * 1e9))

    # ---- for the keeper ----

    def commits(self, first: int, last: int) -> list[Commit] | None:
        """Those of the log from `first` to `last`; None: some are gone, or not there. Raises `StoreError`."""
        found: list[Commit] = []
        log = self._engine.ground.log
        while (start := first + len(found)) <= last:
            try:
                window = log.read_window(start, min(WINDOW_MAX, last - start + 1))
                found += [
                    decode_commit(data, volume=log.volume_at(start + at), sequence=start + at)[0]
                    for at, data in enumerate(window)
                ]
            except (Collected, Corrupt, HistoryBroken):
                return None
            if not window:
                return None
        return found

    def told_by_history(self, file: LogFile, path: bytes) -> tuple[ContentFact, int, int | None]:
        """What brought the content that the file has, how many contents came since (none), and its number. Raises
        `NotFound`, `Unavailable`."""
        reader, _ = self._history.reader(self._engine)
        with reader.index.reading() as sql:
            latest = latest_content(sql, file.file)
        if latest is None or latest.digest != file.content.digest:
            raise NotFound("the history has another content of this file")
        numbered = [event.version for event in reader.events(tuple(path.split(b"/"))) if event.version is not None]
        fact = ContentFact(file.file, latest.digest, latest.sequence, latest.author, latest.mtime_ns)
        return fact, 0, numbered[-1] if numbered else None

    # ---- inside ----

    def _log_tree(self, reader: HistoryReader) -> IndexedTree:
        stored_ns = self._engine.ground.log.stored_ns
        return IndexedTree.at_head(reader.index, self._volume, lambda _content: b"", stored_ns=stored_ns)

    def _reader(self) -> HistoryReader | None:
        """None: nobody knows at the moment."""
        try:
            with self._asking:
                return self._history.reader(self._engine)[0]
        except Unavailable:
            return None
