"""Embedders: text → vectors that lie near each other where texts mean the same."""

import functools
import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from agentfs.memory.tokens import Llama2, default_counter, packaged

Vectors = npt.NDArray[np.float32]
BAGS = frozenset(("static",))
"""Embedders to which the order of words means nothing."""
ENGLISH = BAGS | {"all-minilm-l6-v2"}
"""Embedders that know English words, and some of other languages with Latin letters."""

_KEPT_WORDS = 2048
_WORD_CHARACTERS = 24


class Embedder(Protocol):
    """Safe from any thread."""

    @property
    def name(self) -> str:
        """Vectors of one name can be compared with each other, and with no others."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A row of length 1 (or of zeros: a text without any token) for each text.

        Raises `AgentFSError` in one line that says what to do; trying again later may help."""


class Static:
    """The weights in wordllama's wheel: each token has a vector, and a text's is their mean, without a network. Read
    at the first use (0.2 s with the tokenizer, 16 MB)."""

    name = "static"
    dimensions = 256

    def __init__(self, tokenizer: Llama2 | None = None) -> None:
        self._tokenizer = tokenizer or default_counter()
        self._lock = threading.Lock()
        self._weights: npt.NDArray[np.float16] | None = None
        self._word = functools.lru_cache(_KEPT_WORDS)(self._mean)
        """Of what questions are asked by. 1 KB each."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        found = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            found[row] = self._word(text) if len(text) <= _WORD_CHARACTERS else self._mean(text)
        return unit(found)

    def _mean(self, text: str) -> Vectors | float:
        ids = self._tokenizer.pieces(text)
        if not len(ids):
            return 0.0
        weights = self._weights if self._weights is not None else self._load()
        mean: Vectors = weights[ids].astype(np.float32).sum(axis=0) / len(ids)
        return mean

    def _load(self) -> npt.NDArray[np.float16]:
        with self._lock:
            if self._weights is None:
                with safe_open(packaged("wordllama", "weights/l2_supercat_256.safetensors"), "numpy") as file:
                    self._weights = file.get_tensor("embedding.weight")
            return self._weights


def unit(vectors: Vectors) -> Vectors:
    """The same directions with length 1; zeros stay."""
    lengths = np.sqrt(np.add.reduce(vectors * vectors, axis=1, keepdims=True))
    lengths[lengths == 0] = 1
    return np.asarray(vectors / lengths, np.float32)


@functools.cache
def default_embedder() -> Static:
    """The one of this process."""
    return Static()
