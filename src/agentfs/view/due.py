"""Which files' objects must be looked at again, by what the log's commits changed (docs/view.md, V-63)."""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

from agentfs.format.limits import SEQUENCE_MAX
from agentfs.model.records import INDEX_BITS, Commit, InodeId, Kind
from agentfs.view.log_files import LogFiles
from agentfs.view.shown import ContentFact, ShownTable

_PAGE = 1000
NameOf = Callable[[bytes], str | None]
"""The object's name, below the view's prefix, of the file at a path; None: it has none."""


def expected(tree: LogFiles, table: ShownTable, name_of: NameOf) -> Iterator[str]:
    """The names of all objects that stand there as far as is known, and of those that should."""
    after = ""
    while page := table.page(after):
        yield from (row.name for row in page)
        after = page[-1].name
    numbers = tree.below()
    for start in range(0, len(numbers), _PAGE):
        for file in tree.files(numbers[start : start + _PAGE]).values():
            yield from (name for path in file.paths if (name := name_of(path)) is not None)


@dataclass(slots=True)
class _Since:
    at: float
    """By the monotonic clock."""
    sequence: int
    """The first commit that made it due."""


@dataclass(slots=True)
class News:
    """What came since the file was put last."""

    fact: ContentFact
    added: int
    """So many contents."""
    born: bool
    """All of the file's contents are counted."""


class Due:
    """For one thread at a time."""

    def __init__(self, tree: LogFiles, table: ShownTable, name_of: NameOf) -> None:
        self._tree = tree
        self._table = table
        self._name_of = name_of
        self.seen = 0
        """The last commit that was taken in."""
        self.news: dict[InodeId, News] = {}
        self._files: dict[InodeId, _Since] = {}
        self.strays: set[str] = set()
        """Names of objects that may have to go, and that are not known to be any file's."""

    def __len__(self) -> int:
        return len(self._files)

    @property
    def through(self) -> int:
        """The commit up to which nothing is due."""
        return min(self.seen, min((since.sequence - 1 for since in self._files.values()), default=self.seen))

    # ---- what becomes due ----

    def add(self, files: Iterable[InodeId], *, now: float, sequence: int | None = None) -> None:
        for file in files:
            if not file:  # an object that is no file's is known by its name
                self.strays.update(row.name for row in self._table.of_file(0))
                continue
            if file not in self._files or self._files[file].sequence == SEQUENCE_MAX:
                self._files[file] = _Since(now, self.seen if sequence is None else sequence)

    def commit(self, commit: Commit, *, now: float) -> None:
        """Take in a commit that the tree has already; perhaps it has later ones, too."""
        kinds = {record.id: record.kind for record in commit.inodes}
        due: set[InodeId] = set()
        for record in commit.inodes:
            if record.kind is Kind.FILE and record.content is not None:
                fact = ContentFact(record.id, record.content.digest, commit.sequence, commit.author, record.mtime_ns)
                if self._is_news(fact):
                    due.add(record.id)
        for link in commit.links:
            kind = kinds.get(link.child)
            if kind is Kind.FILE:
                due.add(link.child)
            elif kind is Kind.DIRECTORY or (kind is None and self._tree.is_directory(link.child)):
                due.update(self._tree.below(link.child))
            elif kind is None:
                due.add(link.child)
        # Names by where they are now: of all that led to a lost name, the topmost that changed is found where it was.
        places = [(it.parent, it.name) for it in commit.unlinks] + [(it.parent, it.name) for it in commit.links]
        for parent, name in places:
            path = self._tree.path_of(parent, name)
            shown = None if path is None else self._name_of(path)
            if shown is not None:
                rows = self._table.below(shown)
                due.update(row.file for row in rows if row.file)
                self.strays.update(row.name for row in rows if not row.file)
        self.seen = max(self.seen, commit.sequence)
        self.add(due, now=now, sequence=commit.sequence)

    def _is_news(self, fact: ContentFact) -> bool:
        """Whether the commit changed the file's bytes, and not only its attributes."""
        known = self.news.get(fact.file)
        if known is not None:
            if known.fact.digest == fact.digest:
                return False
            known.fact = fact
            known.added += 1
            return True
        if self._table.fact(fact.file, fact.digest) is not None:
            return False
        if any(row.digest == fact.digest for row in self._table.of_file(fact.file)):
            return False
        self.news[fact.file] = News(fact, 1, fact.file >> INDEX_BITS == fact.sequence)
        return True

    def missing(self, names: Container[str]) -> list[InodeId]:
        """Files of the log of which an object is not among these."""
        found: list[InodeId] = []
        numbers = self._tree.below()
        for start in range(0, len(numbers), _PAGE):
            for file in self._tree.files(numbers[start : start + _PAGE]).values():
                shown = map(self._name_of, file.paths)
                if any(name is not None and name not in names for name in shown):
                    found.append(file.file)
        return found

    # ---- what is done ----

    def ripe(self, *, now: float, age_s: float, limit: int) -> list[InodeId]:
        """Files that have been due for so long, the longest first."""
        ripe = sorted((since.at, file) for file, since in self._files.items() if now - since.at >= age_s)
        return [file for _, file in ripe[:limit]]

    def next_s(self, *, now: float, age_s: float) -> float | None:
        """Seconds until something is ripe; None: nothing is due."""
        first = min((since.at for since in self._files.values()), default=None)
        return None if first is None else max(0.0, first + age_s - now)

    def done(self, file: InodeId) -> None:
        """Its objects are as they should be."""
        self._files.pop(file, None)
        self.news.pop(file, None)

    def later(self, file: InodeId, *, at: float) -> None:
        """Try again then; the view is not behind for it (V-61 is a hint)."""
        self._files[file] = _Since(at, SEQUENCE_MAX)

    def clear(self) -> None:
        self._files.clear()
        self.news.clear()
        self.strays.clear()
