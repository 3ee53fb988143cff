"""Giving passages their vectors, after their words: an embedder may be slow, or away, and words answer meanwhile."""

from collections.abc import Sequence

import numpy as np

from agentfs.clock import Clock
from agentfs.errors import AgentFSError
from agentfs.memory.embedding import Embedder, Vectors
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

    def work(self, seconds: float, *, indexed: int, texts: int = _TEXTS) -> bool:
        """Embed passages that have no vector, the newest first, `texts` at once, for about `seconds`. `indexed` grows
        with what may lack them (`Worker.indexed`). Returns whether more could be done at once. Raises what the index
        raises."""
        if self._embedder is None or indexed == self._full_at or self._clock.monotonic() < self._retry_at:
            return False
        deadline = self._clock.monotonic() + seconds
        self._index.use_embedder(self._embedder.name)
        while True:
            wanted = self._index.vectorless(texts)
            if not wanted:
                self._full_at = indexed
                return False
            vectors = self.embedded([text for _, text in wanted])
            if vectors is None:
                return False
            self._index.put_vectors([passage for passage, _ in wanted], vectors)
            if self._clock.monotonic() >= deadline:
                return True

    def embedded(self, texts: Sequence[str]) -> Vectors | None:
        """None: the embedder fails, or failed a moment ago; `problem` says why."""
        if self._embedder is None or self._clock.monotonic() < self._retry_at:
            return None
        try:
            vectors = self._embedder.embed(texts)
        except AgentFSError as error:
            self.problem = str(error)
            self._retry_at = self._clock.monotonic() + _RETRY_SECONDS
            return None
        self.problem = ""
        return vectors


class ForQuestions:
    """An embedder for questions: where it fails, the vector is zeros, and words answer alone."""

    def __init__(self, embedder: Embedder, filler: VectorFiller) -> None:
        self.name = embedder.name
        self._filler = filler

    def embed(self, texts: Sequence[str]) -> Vectors:
        found = self._filler.embedded(texts)
        return np.zeros((len(texts), 1), np.float32) if found is None else found
