"""An embedder behind an OpenAI-compatible endpoint: the only part of search that uses a network, when it is set."""

import base64
import binascii
import http.client
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agentfs.clock import Clock, SystemClock
from agentfs.errors import AgentFSError, ConfigInvalid, Unavailable
from agentfs.memory.embedding import Vectors, unit
from agentfs.memory.tokens import well_formed

OPENAI_URL = "https://api.openai.com/v1"
KEY_VARIABLES = ("AGENTFS_EMBEDDER_KEY", "OPENAI_API_KEY")
"""Where the key comes from, the first that is set; a server on this machine needs none. The second
goes to OpenAI's own alone."""
_BATCH_TEXTS = 96
_CHARACTERS_MAX = 8000
"""Of one text; models refuse what is longer than about 8000 tokens."""
_TIMEOUT_SECONDS = 30.0
_WAITS_SECONDS = (0.5, 2.0)
"""Before each further try."""
_WAIT_MAX_SECONDS = 10.0
_ANSWER_BYTES_MAX = 64 << 20
_AGAIN = frozenset((408, 409, 425, 429, 500, 502, 503, 504))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Where an endpoint sends us on to, the key would go, too."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


class OpenAICompatible:
    """`POST <url>/embeddings`, as OpenAI, Ollama, vLLM, LM Studio and others answer it."""

    def __init__(
        self, model: str, *, url: str = "", environment: Mapping[str, str], clock: Clock | None = None
    ) -> None:
        """Raises `ConfigInvalid` for what is no URL, and where OpenAI's own needs a key and there is none."""
        base = (url or OPENAI_URL).rstrip("/")
        if urllib.parse.urlsplit(base).scheme not in ("http", "https") or not urllib.parse.urlsplit(base).hostname:
            raise ConfigInvalid(f"embedder_url = {url!r} is not valid: write https://host/v1")
        names = KEY_VARIABLES if base == OPENAI_URL else KEY_VARIABLES[:1]
        self._key = next((environment[it] for it in names if environment.get(it)), "")
        if base == OPENAI_URL and not self._key:
            raise ConfigInvalid(f"embedder = openai:{model} needs a key: set {' or '.join(KEY_VARIABLES)}")
        self._url = base + "/embeddings"
        self._model = model
        self._clock = clock or SystemClock()
        self.name = f"openai:{model}" if base == OPENAI_URL else f"openai:{model} at {base}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Raises `Unavailable` when the endpoint does not answer (after two further tries), `AgentFSError` when it
        refuses or answers nonsense."""
        if not texts:
            return np.zeros((0, 0), np.float32)
        rows: list[Vectors] = []
        for start in range(0, len(texts), _BATCH_TEXTS):
            # Endpoints refuse an empty text.
            batch = [well_formed(it[:_CHARACTERS_MAX]).strip() or "-" for it in texts[start : start + _BATCH_TEXTS]]
            rows += self._embedded(batch)
        if len({row.shape for row in rows}) != 1:
            raise self._nonsense("vectors of different lengths")
        return unit(np.stack(rows))

    def _embedded(self, batch: list[str]) -> list[Vectors]:
        answer = self._asked({"model": self._model, "input": batch, "encoding_format": "float"})
        try:
            placed = {int(it["index"]): _vector(it["embedding"]) for it in answer["data"]}
            return [placed[at] for at in range(len(batch))]
        except (KeyError, TypeError, ValueError, IndexError, binascii.Error) as error:
            raise self._nonsense("no vector for each text") from error

    def _asked(self, question: dict[str, Any]) -> Any:
        body = json.dumps(question).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "agentfs"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        for wait in (*_WAITS_SECONDS, None):
            least = 0.0
            request = urllib.request.Request(self._url, data=body, headers=headers)
            try:
                with _OPENER.open(request, timeout=_TIMEOUT_SECONDS) as response:
                    return json.loads(response.read(_ANSWER_BYTES_MAX))
            except urllib.error.HTTPError as error:
                with error:
                    problem, least = self._refused(error), _seconds(error.headers.get("Retry-After"))
                if error.code not in _AGAIN or wait is None:
                    raise problem from error
            except ValueError as error:
                raise self._nonsense("what is no JSON") from error
            except (OSError, http.client.HTTPException) as error:
                if wait is None:
                    why = getattr(error, "reason", None) or error
                    raise Unavailable(
                        f"the embedder at {self._url} cannot be reached ({why}): check embedder_url and the network; "
                        "words answer meanwhile"
                    ) from error
            self._clock.wait(threading.Event(), min(max(wait or 0.0, least), _WAIT_MAX_SECONDS))
        raise AssertionError("the last try returns or raises")

    def _refused(self, error: urllib.error.HTTPError) -> AgentFSError:
        try:
            said = json.loads(error.read(1 << 16))["error"]
            detail = str(said["message"] if isinstance(said, dict) else said)
        except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
            detail = error.reason
        line = " ".join(detail.split())[:200]
        if self._key:
            line = line.replace(self._key, "***")
        what = f"the embedder at {self._url} answers {error.code} ({line})"
        if error.code in (401, 403):
            return AgentFSError(f"{what}: check the key in {' or '.join(KEY_VARIABLES)}")
        if error.code == 404:
            return AgentFSError(f"{what}: check embedder_url and the model's name {self._model}")
        if error.code in _AGAIN:
            return Unavailable(f"{what}: it is tried again later; words answer meanwhile")
        return AgentFSError(f"{what}: check the model's name {self._model}")

    def _nonsense(self, what: str) -> AgentFSError:
        return AgentFSError(f"the embedder at {self._url} answers {what}: check embedder_url")


def _vector(value: Any) -> Vectors:
    """A list of numbers, or base64 of float32, as some endpoints answer whatever is asked for."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
    found = np.asarray(value, np.float32)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise ValueError("no vector")
    return found


def _seconds(header: str | None) -> float:
    return float(header) if header and header.isdecimal() else 0.0
