"""Counting tokens: what a text costs in a context."""

import functools
import importlib.util
import itertools
import os
import re
import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from agentfs.errors import AgentFSError

_KEPT_TEXTS = 8192
_KEPT_WORDS = 1 << 17
_SPECIAL = re.compile("<s>|</s>|<unk>|\u2581")
"""Tokens of their own, behind which a text begins anew; and the sign that stands for a space inside a tokenizer."""
_WORD = re.compile(r" *[^ \n0-9]+| +")
_ALONE = re.compile(r"[\n0-9]")


class TokenCounter(Protocol):
    """Safe from any thread. Any digit costs what another does."""

    @property
    def name(self) -> str:
        """Which tokenizer counts, in lower case: `llama-2`."""

    def count(self, text: str) -> int:
        """The tokens of `text`, special ones of a model not among them."""

    def counts(self, texts: Sequence[str]) -> list[int]:
        """The same for many texts, in less time than one by one."""

    def below(self, texts: Sequence[str], alone: Sequence[int]) -> list[int | None]:
        """What each text, which costs so much alone, adds to a text and a newline before it, the newline not counted.
        None: only counting the whole tells."""

    def __hash__(self) -> int:
        """What texts cost is remembered by their counter."""


class Llama2:
    """The tokenizer that comes with the default embedder's weights, read at the first use (0.2 s).

    One text at a time and on the caller's thread: a batch would take every core, and files are written meanwhile."""

    name = "llama-2"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: Tokenizer | None = None
        self.pieces = functools.lru_cache(_KEPT_TEXTS)(self._pieces)
        """The numbers of a text's tokens. Kept for a while."""
        self._words = {"": 0}
        """The tokens of words, each with the spaces before it."""

    def count(self, text: str) -> int:
        """A newline or a digit is a token by itself and joins no others, and neither does what a space begins join
        what is before it. So a text costs what its words cost, and words that were counted before are only looked up:
        a text of 2000 tokens takes 3 ms the first time, and 0.2 ms when its words are known."""
        if not text or _SPECIAL.search(text):
            return len(self.pieces(text))
        return self._sum(_WORD.findall(" " + text)) + len(_ALONE.findall(text))

    def counts(self, texts: Sequence[str]) -> list[int]:
        return list(map(self.count, texts))

    def below(self, texts: Sequence[str], alone: Sequence[int]) -> list[int | None]:
        """Its first word has no space before it there; all else costs the same."""
        first = [found[0] if (found := _WORD.match(text)) else "" for text in texts]
        with_space = self._costs([" " + word for word in first])
        without = self._costs(first)
        return [
            None
            if ("<" in text or "\u2581" in text) and _SPECIAL.search(text)
            else cost - spaced + bare
            if text
            else 0
            for text, cost, spaced, bare in zip(texts, alone, with_space, without, strict=True)
        ]

    def _sum(self, words: Sequence[str]) -> int:
        return sum(self._costs(words))

    def _costs(self, words: Sequence[str]) -> list[int]:
        """Of each word."""
        known = self._words
        try:
            return list(map(known.__getitem__, words))
        except KeyError:
            missing = [it for it in dict.fromkeys(words) if it not in known]
        if len(known) + len(missing) > _KEPT_WORDS:
            known = self._words = {"": 0}
            missing = list(dict.fromkeys(words))
        known.update(zip(missing, self._counted(missing), strict=True))
        return list(map(known.__getitem__, words))

    def _counted(self, words: Sequence[str]) -> list[int]:
        """The tokens of each word, as lines of one text."""
        made = self._numbers("\n" + "\n".join(words))
        newline = int(self.pieces("\n")[-1])
        ends = [at for at, it in enumerate(made) if it == newline]
        return [end - start - 1 for start, end in itertools.pairwise((*ends, len(made)))]

    def _pieces(self, text: str) -> npt.NDArray[np.uint16]:
        return np.asarray(self._numbers(text), np.uint16)

    def _numbers(self, text: str) -> list[int]:
        tokenizer = self._loaded or self._load()
        found: list[int] = tokenizer.encode(well_formed(text), add_special_tokens=False).ids
        return found

    def _load(self) -> Tokenizer:
        with self._lock:
            if self._loaded is None:
                tokenizer = Tokenizer.from_file(packaged("wordllama", "tokenizers/l2_supercat_tokenizer_config.json"))
                tokenizer.no_padding()
                tokenizer.no_truncation()
                self._loaded = tokenizer
            return self._loaded


@functools.cache
def default_counter() -> Llama2:
    """The one of this process."""
    return Llama2()


def well_formed(text: str) -> str:
    """`text`, with what is no Unicode (half a surrogate pair) replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def packaged(package: str, file: str) -> str:
    """Where a file of an installed package is, without importing the package.

    Raises `AgentFSError` when it is not there."""
    spec = importlib.util.find_spec(package)
    for directory in (spec.submodule_search_locations if spec else None) or ():
        path = os.path.join(directory, file)
        if os.path.exists(path):
            return path
    raise AgentFSError(f"{file} of the package {package} is missing: install {package} again (pip install {package})")
