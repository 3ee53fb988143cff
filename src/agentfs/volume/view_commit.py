"""Puts the commits that take in what other tools did in the bucket (docs/view.md, V-82)."""

import functools
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from agentfs.clock import Clock
from agentfs.errors import Unavailable
from agentfs.format.commit import encode_commit
from agentfs.format.layout import volume_name
from agentfs.history.log_tree import IndexedTree
from agentfs.log.chunk_names import ChunkNames
from agentfs.log.contents import Contents
from agentfs.log.log import Appended
from agentfs.model.ignore import DEFAULT_PATTERNS, IgnorePatterns
from agentfs.model.records import InodeId
from agentfs.replica.replica import Replica
from agentfs.stores.protocol import Store
from agentfs.sync.engine import Engine
from agentfs.sync.ground import EngineGround
from agentfs.view.claims import FoundObject
from agentfs.view.importing import GoneObject, Import, Outcome, imported
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService

_LOG = logging.getLogger(__name__)

_PARALLEL = 4
_TRIES_MAX = 8


class BucketCommits:
    """Of one engine's volume; called by one thread at a time."""

    def __init__(self, plan: EnginePlan, replica: Replica, history: HistoryService, *, clock: Clock) -> None:
        self._volume = volume_name(plan.kind, plan.volume_id)
        self._ignore = IgnorePatterns([*DEFAULT_PATTERNS, *(it.encode() for it in plan.settings.ignore)])
        self._replica = replica
        self._history = history
        self._clock = clock

    def take_in(
        self,
        engine: Engine,
        objects: Sequence[FoundObject],
        gone: Sequence[GoneObject],
        outcomes: list[Outcome],
        *,
        accepted: bool,
    ) -> None:
        """Commit what was found; `outcomes` grows by what is remotely durable, also where this raises what the store
        and the log raise, and `Unavailable` when the log moves on all the time. `accepted`: every deletion is
        believed."""
        names = ChunkNames(engine.ground.store, self._volume)
        tries = 0
        while tries < _TRIES_MAX:
            engine.pull_now()  # an object may be of a commit that came since
            tree = self._tree(engine)
            now_ns = None if accepted else self._clock.wall_ns()
            made = imported(tree, objects, gone, ignore=self._ignore, now_ns=now_ns)
            if made.commit is not None:
                _put_chunks(engine.ground.store, made.chunks, names, head=tree.sequence)
                if not engine.in_turn(functools.partial(self._put, tree=tree, made=made)):
                    tries += 1
                    continue
                names.forget_stored()
                engine.pull_now()
                _LOG.info("entry %d takes in %d objects of the bucket", made.commit.sequence, len(made.outcomes))
            outcomes += made.outcomes
            if not made.rest:
                return
            ended = {it.name for it in made.outcomes}
            objects = [it for it in objects if it.name not in ended]
            gone = [it for it in gone if it.name not in ended]
        raise Unavailable("others write all the time: the bucket's changes are taken in with the next look")

    def _tree(self, engine: Engine) -> IndexedTree:
        _, behind = self._history.reader(engine)
        if behind:
            raise Unavailable("the log cannot be read now: the bucket's changes are taken in with a later look")
        ground = engine.ground
        read = Contents(ground.store, ground.log).read
        stored_ns = ground.log.stored_ns
        return IndexedTree.at_head(self._history.index, self._volume, read, self._locked(), stored_ns)

    def _locked(self) -> frozenset[InodeId]:
        """Files whose lock somebody holds at the replica's head."""
        with self._replica.lock:
            return frozenset(row[0] for row in self._replica.connection.rows("SELECT id FROM lock"))

    def _put(self, ground: EngineGround, tree: IndexedTree, made: Import) -> bool:
        """Put the commit right after the tree's entry; its chunks are there. False: something else stands there, or
        may come to."""
        assert made.commit is not None
        replica = self._replica
        if (int(replica.state("head_sequence")), bytes(replica.state("head_digest"))) != (tree.sequence, tree.digest):
            return False
        if self._locked() != tree.locked:
            return False  # they were read of an earlier head: only a lock's holder may change its file (F-93)
        encoded = encode_commit(made.commit, made.contents)
        ground.failpoint("import.put")
        result = ground.log.append(made.commit.sequence, encoded.data, encoded.digest)
        ground.failpoint("import.committed")
        return isinstance(result, Appended)


def _put_chunks(store: Store, chunks: Mapping[bytes, bytes], names: ChunkNames, *, head: int) -> None:
    """Put what is not there yet for a commit after `head`; on return all is durable. Not in the engine's turn: it may
    be much, and who writes here waits for that. If the log goes on meanwhile, it need not be put again."""

    def put(digest: bytes) -> None:
        name = names.name(digest, head=head)
        store.put(name, chunks[digest])
        names.stored(digest, name)

    missing = [it for it in chunks if not names.is_stored(it, head=head)]
    if missing:
        with ThreadPoolExecutor(min(_PARALLEL, len(missing)), "agentfs-take") as pool:
            for _ in pool.map(put, missing):
                pass
