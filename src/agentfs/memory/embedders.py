"""The embedder that the settings name."""

import os
from collections.abc import Callable, Mapping

from agentfs.config.values import embedder_kind
from agentfs.errors import ConfigInvalid
from agentfs.memory.embedding import Embedder, default_embedder


def embedder_named(name: str, *, url: str = "", environment: Mapping[str, str] | None = None) -> Embedder:
    """The embedder that the setting `embedder` means: `static`, `minilm`, `sentence-transformers:<model>` or
    `openai:<model>` at `url` (OpenAI's own when empty; the key comes from the environment). Loads nothing yet.

    Raises `ConfigInvalid` for another name, `NotInstalled` where its package is missing."""
    try:
        kind, model = embedder_kind(name)
    except ValueError as error:
        raise ConfigInvalid(f"embedder = {name!r} is not known: {error}") from None
    made: dict[str, Callable[[], Embedder]] = {
        "static": default_embedder,
        "minilm": _minilm,
        "sentence-transformers": lambda: _sentence_transformers(model),
        "openai": lambda: _remote(model, url, os.environ if environment is None else environment),
    }
    return made[kind]()


def _minilm() -> Embedder:
    from agentfs.memory.embedding_local import MiniLM  # noqa: PLC0415 - few need it

    return MiniLM()


def _sentence_transformers(model: str) -> Embedder:
    from agentfs.memory.embedding_local import SentenceTransformers  # noqa: PLC0415 - few need it

    return SentenceTransformers(model)


def _remote(model: str, url: str, environment: Mapping[str, str]) -> Embedder:
    from agentfs.memory.embedding_remote import OpenAICompatible  # noqa: PLC0415 - few need it

    return OpenAICompatible(model, url=url, environment=environment)
