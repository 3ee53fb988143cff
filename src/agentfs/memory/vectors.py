"""Giving passages their vectors, after their words: an embedder may be slow, or away, and words answer meanwhile."""

from agentfs.clock import Clock
from agentfs.errors import AgentFSError
from agentfs.memory.embedding import Embedder
from agentfs.memory.index import Index

_TEXTS = 128
"""Embedded at once."""
_RETRY_SECONDS = 30.0
"""After an embedder failed."""


class VectorFiller:
    """Safe from any thread, but let one at a time call `work`."""

    def __init__(self, index: Index, embedder: Embedder | None, *, clock: Clock) -> None:
        """Without an embedder there are no vectors."""
        self._index = index
        self._embedder = embedder
        self._clock = clock
        self._full_at = -1
        """`indexed` of the worker when no passage lacked its vector."""
        self._retry_at = 0.0
        self.problem = ""
        """Why the embedder does not work; empty when it does."""

    def work(self, seconds: float, *, indexed: int) -> bool:
        """Embed passages that have no vector, the newest first, for about `seconds`. `indexed` grows with what may
        lack them (`Worker.indexed`). Returns whether more could be done at once. Raises what the index raises."""
        if self._embedder is None or indexed == self._full_at or self._clock.monotonic() < self._retry_at:
            return False
        deadline = self._clock.monotonic() + seconds
        self._index.use_embedder(self._embedder.name)
        while True:
            wanted = self._index.vectorless(_TEXTS)
            if not wanted:
                self._full_at = indexed
                return False
            try:
                vectors = self._embedder.embed([text for _, text in wanted])
            except AgentFSError as error:
                self.problem = str(error)
                self._retry_at = self._clock.monotonic() + _RETRY_SECONDS
                return False
            self.problem = ""
            self._index.put_vectors([passage for passage, _ in wanted], vectors)
            if self._clock.monotonic() >= deadline:
                return True
