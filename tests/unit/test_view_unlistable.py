"""A name of another tool's that a store's client cannot list (GCS, Azure): it is said, and all else goes on."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from outside_world import put
from retention_world import World, world_in
from view_world import PREFIX, Machine, names, wrong

from agentfs.errors import NameNotListed
from agentfs.replica import backing
from agentfs.stores.open import open_store
from agentfs.stores.protocol import Store
from agentfs.volume.view_words import VIEW_LOOK, VIEW_REBUILD, VIEW_STATUS

TEXT = b"# Plan\n\none\n"
BAD = f"{PREFIX}d//x"
_GCS = f"""<?xml version="1.0"?><ListBucketResult><Name>b</Name><Prefix/><IsTruncated>false</IsTruncated>
<Contents><Key>{BAD}</Key><Generation>1</Generation><MetaGeneration>1</MetaGeneration>
<LastModified>2026-11-21T00:00:00.000Z</LastModified><ETag>"x"</ETag><Size>1</Size></Contents></ListBucketResult>"""
_AZURE = f"""<?xml version="1.0"?><EnumerationResults ServiceEndpoint="http://x/" ContainerName="c"><Blobs><Blob>
<Name>{BAD}</Name><Properties><Last-Modified>Fri, 20 Nov 2026 00:00:00 GMT</Last-Modified><Etag>0x1</Etag>
<Content-Length>1</Content-Length><Content-Type>text/plain</Content-Type><BlobType>BlockBlob</BlobType></Properties>
</Blob></Blobs><NextMarker/></EnumerationResults>"""


class Picky:
    """A store that lists nothing where `BAD` is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.bad = False

    def list(self, prefix: str, **how: Any) -> Any:
        if self.bad and how.get("foreign") and BAD.startswith(prefix):
            raise NameNotListed(f"the bucket holds {BAD!r}, a name that cannot be listed there: rename or remove it")
        return self._store.list(prefix, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture(autouse=True)
def few_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def test_all_else_goes_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    store = Picky(world.store)
    ann = Machine(world, "ann", store=cast(Store, store), view_look=60.0)
    ann.node.mkdir("d")
    ann.commit("a.md", "d/1.md", "d/2.md", "d/3.md", data=TEXT)
    ann.keep(10)
    store.bad = True
    ann.keep(300)
    assert len(caplog.records) == 1
    said = ann.ask(VIEW_STATUS)["problem"]
    assert said in caplog.text and "\n" not in said
    assert "d//x', a name that cannot be listed there: rename or remove it; until then nothing is taken in" in said
    assert ann.view.facts()["view"]["problem"] == said
    with pytest.raises(NameNotListed):
        ann.ask(VIEW_LOOK)
    # Edits, a rename of a directory, a change of keepers, a rebuild.
    ann.commit("a.md", data=TEXT + b"two\n")
    ann.node.rename("d", "e")
    ann.node.sync()
    ann.keep(10)
    assert (names(world.store), wrong(ann)) == (["a.md", "e/1.md", "e/2.md", "e/3.md"], [])
    ann.drop()
    bob = Machine(world, "bob", store=cast(Store, store), view_look=60.0)
    put(world, "e/2.md", b"another tool's\n")
    bob.node.rename("a.md", "b.md")
    bob.node.sync()
    bob.keep(400)
    assert bob.view.keeping and "cannot be listed" in bob.ask(VIEW_STATUS)["problem"]
    assert names(world.store) == ["b.md", "e/1.md", "e/2.md", "e/3.md"]
    world.store.delete(f"{PREFIX}e/3.md")
    assert bob.ask(VIEW_REBUILD)["put"] == 1
    assert names(world.store) == ["b.md", "e/1.md", "e/2.md", "e/3.md"]
    store.bad = False
    bob.keep(200)
    assert bob.ask(VIEW_STATUS)["problem"] == "" and wrong(bob) == []
    assert b"another tool's" in bob.node.read("e/2.md")


@pytest.mark.parametrize(
    "url", ["gs://b/?endpoint={}&anonymous=1", "az://c/?account=acc&endpoint={}/acc&anonymous=1"]
)
def test_the_client_says_which(url: str) -> None:
    """The answer of the store is made up, the client is the real one."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (_AZURE if "comp=list" in self.path else _GCS).replace("\n", "").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = open_store(url.format(f"http://127.0.0.1:{server.server_port}"), environment={})
        with pytest.raises(NameNotListed, match="d//x"):
            store.list(PREFIX, foreign=True)
        server.shutdown()
