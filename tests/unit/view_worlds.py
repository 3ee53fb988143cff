"""A log with its index, in which a test writes files, and from which it imports objects of the view."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentfs.errors import ContentGone
from agentfs.format.commit import EncodedCommit, decode_commit, encode_commit
from agentfs.history.index import HistoryIndex
from agentfs.history.log_tree import IndexedTree
from agentfs.model.records import (
    ROOT_ID,
    ChunkedContent,
    Commit,
    Content,
    InlineContent,
    InodeId,
    InodeRecord,
    Kind,
    Link,
    Unlink,
    inode_id,
)
from agentfs.view.claims import FoundObject
from agentfs.view.facts import ViewFacts, metadata_of
from agentfs.view.importing import GoneObject, Import, Taken, imported
from agentfs.view.rendering import rendered
from agentfs.view.restoring import restored

SECOND_NS = 1_000_000_000
VOLUME = "home-ada"


@dataclass
class LogWorld:
    directory: Path
    bytes_: dict[bytes, bytes] = field(default_factory=dict)
    """Contents and chunks, by digest."""
    commits: list[EncodedCommit] = field(default_factory=list)
    index: HistoryIndex = field(init=False)
    now_ns: int = 1_000 * SECOND_NS

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self.index = HistoryIndex(str(self.directory))

    def copy(self, directory: Path) -> "LogWorld":
        """Another machine that has seen the same."""
        other = LogWorld(directory, dict(self.bytes_), list(self.commits), now_ns=self.now_ns)
        other.index.add((it.commit, it.digest) for it in self.commits)
        return other

    # ---- the log ----

    def read(self, content: Content) -> bytes:
        if isinstance(content, ChunkedContent) and content.digest not in self.bytes_:
            return b"".join(self.bytes_[it] for it in content.chunks)
        if content.digest not in self.bytes_:
            raise ContentGone("collected")
        return self.bytes_[content.digest]

    def tree(self, locked: frozenset[InodeId] = frozenset()) -> IndexedTree:
        return IndexedTree.at_head(self.index, VOLUME, self.read, locked)

    def _append(self, commit: Commit, contents: dict[InodeId, bytes]) -> EncodedCommit:
        made = encode_commit(commit, contents)
        assert decode_commit(made.data, volume=VOLUME, sequence=commit.sequence) == (made.commit, made.digest)
        self.commits.append(made)
        self.bytes_.update((hashlib.sha256(it).digest(), it) for it in contents.values())
        self.index.add([(made.commit, made.digest)])
        return made

    def commit(
        self,
        *,
        write: dict[bytes, bytes] | None = None,
        rename: dict[bytes, bytes] | None = None,
        remove: tuple[bytes, ...] = (),
        seconds: int = 60,
    ) -> int:
        """One commit, `seconds` after the last. Returns its sequence."""
        self.now_ns += seconds * SECOND_NS
        sequence = len(self.commits) + 1
        records: dict[InodeId, InodeRecord] = {}
        links: list[Link] = []
        unlinks: list[Unlink] = []
        contents: dict[InodeId, bytes] = {}
        fresh = iter(range(1, 1000))

        def parent_of(path: bytes) -> InodeId:
            parent = ROOT_ID
            for part in path.split(b"/")[:-1]:
                child = self.tree().child(parent, part) if self.commits else None
                child = child or next((it.child for it in links if (it.parent, it.name) == (parent, part)), None)
                if child is None:
                    child = inode_id(sequence, next(fresh))
                    records[child] = InodeRecord(child, Kind.DIRECTORY, 0o755, 0, 0, 1, 1, 1)
                    links.append(Link(parent, part, child))
                parent = child
            return parent

        for path, data in (write or {}).items():
            parent, name = parent_of(path), path.rsplit(b"/", 1)[-1]
            inode = self.inode(path)
            if inode is None:
                inode = inode_id(sequence, next(fresh))
                links.append(Link(parent, name, inode))
            records[inode] = InodeRecord(inode, Kind.FILE, 0o600, 7, 7, self.now_ns, self.now_ns, self.now_ns)
            contents[inode] = data
        for old, new in (rename or {}).items():
            inode = self.inode(old)
            assert inode is not None
            unlinks.append(Unlink(parent_of(old), old.rsplit(b"/", 1)[-1]))
            links.append(Link(parent_of(new), new.rsplit(b"/", 1)[-1], inode))
        unlinks += [Unlink(parent_of(path), path.rsplit(b"/", 1)[-1]) for path in remove]
        parent_digest = self.commits[-1].digest if self.commits else bytes(32)
        self._append(
            Commit(
                VOLUME, sequence, bytes(16), parent_digest, self.now_ns, "ada", "r",
                tuple(records.values()), tuple(unlinks), tuple(links),
            ),
            contents,
        )  # fmt: skip
        return sequence

    def take(self, made: Import) -> None:
        """Append an import's commit."""
        if made.commit is not None:
            self.bytes_.update(made.chunks)
            self._append(made.commit, made.contents)

    # ---- what is there ----

    def inode(self, path: bytes) -> InodeId | None:
        tree, inode = (self.tree(), ROOT_ID) if self.commits else (None, None)
        for part in path.split(b"/"):
            inode = tree.child(inode, part) if tree is not None and inode is not None else None
        return inode

    def data(self, path: bytes) -> bytes | None:
        inode = self.inode(path)
        if inode is None:
            return None
        content = self.tree().content_at(inode, len(self.commits))
        assert content is not None
        return self.read(content)

    def below(self, inode: InodeId = ROOT_ID, above: bytes = b"") -> dict[bytes, bytes]:
        """Every file, by path."""
        found: dict[bytes, bytes] = {}
        with self.index.reading() as sql:
            rows = sql.rows("SELECT name, inode FROM name WHERE parent=? AND until IS NULL ORDER BY name", (inode,))
        for name, child in rows:
            record = self.tree().record(child)
            assert record is not None
            if record.kind is Kind.DIRECTORY:
                found |= self.below(child, above + name + b"/")
            elif record.content is not None:
                found[above + name] = self.read(record.content)
        return found

    # ---- the view ----

    def facts(self, path: bytes) -> ViewFacts:
        inode = self.inode(path)
        assert inode is not None
        with self.index.reading() as sql:
            row = sql.one("SELECT max(sequence) FROM record WHERE inode=?", (inode,))
        assert row is not None
        return ViewFacts(VOLUME, inode, row[0], hashlib.sha256(self.data(path) or b"").digest(), author="ada")

    def shown(self, path: bytes) -> tuple[bytes, dict[str, str]]:
        """The object of a file as AgentFS writes it: bytes and metadata."""
        facts = self.facts(path)
        return rendered(path, self.data(path) or b"", facts).data, metadata_of(facts)

    def found(
        self,
        path: bytes,
        data: bytes,
        metadata: dict[str, str] | None = None,
        *,
        seconds: int = 60,
        appeared: bool = False,
    ) -> FoundObject:
        """An object that stands in the bucket, written `seconds` after the last commit."""
        back = restored(path, data, metadata or {})
        return FoundObject(
            path.decode(),
            path,
            hashlib.sha256(data).digest(),
            back.data,
            back.was,
            back.edited,
            self.now_ns + seconds * SECOND_NS,
            max(0, self.now_ns // SECOND_NS + seconds),
            appeared,
        )

    def gone(self, path: bytes) -> GoneObject:
        facts = self.facts(path)
        return GoneObject(path.decode(), path, facts.file, facts.digest)


def outcomes(made: Import) -> dict[str, Taken]:
    return {it.name: it.taken for it in made.outcomes}


__all__ = ["SECOND_NS", "VOLUME", "InlineContent", "LogWorld", "imported", "outcomes", "replace"]
