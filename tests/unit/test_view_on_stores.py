"""The view on real stores, as other programs see it: an S3 server read with another client, a plain directory."""

import gzip
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from retention_world import World, world_in
from view_world import PREFIX, Machine, names, wrong

from agentfs.config.settings import load
from agentfs.errors import ObjectChanged, StoreUnavailable
from agentfs.replica import backing
from agentfs.sdk.home import Home
from agentfs.stores.local import LocalStore
from agentfs.stores.open import open_store
from agentfs.stores.protocol import Store
from agentfs.testing.fixtures import new_bucket
from agentfs.testing.servers import S3Server
from agentfs.view.restoring import restored
from agentfs.volume import engine_host, view
from agentfs.volume.view_words import VIEW_LOOK, VIEW_STATUS


@pytest.fixture(autouse=True)
def few_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "DIRECTORIES", 4)


@pytest.fixture
def world(tmp_path: Path, s3_store: Store) -> Iterator[World]:
    with world_in(tmp_path, store=s3_store) as made:
        yield made


def objects(server: S3Server, bucket: str) -> dict[str, Any]:
    """By name below the view's prefix, got by another client."""
    client, root = server.client(), f"a/root/{PREFIX}"
    listed = client.list_objects_v2(Bucket=bucket, Prefix=root).get("Contents", [])
    return {it["Key"].removeprefix(root): client.get_object(Bucket=bucket, Key=it["Key"]) for it in listed}


def test_a_burst_edits_a_rename_and_an_edit_from_outside(
    world: World, ministack_server: S3Server, bucket: str
) -> None:
    files = {
        "notes/plain.md": b"# Plan\n", "notes/crlf.md": b"---\r\na: 1\r\n---\r\n", "notes/bom.md": b"\xef\xbb\xbf# x",
        "notes/broken.md": b"---\na: [1\n---\n", "image.png": b"\x89PNG\x00\xff" * 50, "large.bin": b"x" * 300_000,
        "empty": b"", "日本.md": "# é\n".encode(),
    }  # fmt: skip
    ann = Machine(world, "ann")
    ann.node.mkdir("notes")
    for path, data in files.items():
        ann.node.write(path, data)
    ann.node.link("notes/plain.md", "also.md")
    ann.node.sync()
    cost = ann.spent(lambda: ann.keep(3))
    assert (cost.creates, cost.lists, cost.deletes) == (10, 0, 0)  # nine names and the mark
    found = objects(ministack_server, bucket)
    assert set(found) == {*files, "also.md"}
    for name, object_ in found.items():
        data, metadata = object_["Body"].read(), object_["Metadata"]
        means = restored(name.encode(), data, metadata)
        assert (means.data, means.edited) == (files.get(name, b"# Plan\n"), False)
        assert metadata["agentfs-author"] == "ann" and metadata["agentfs-sequence"] == "1"
        assert (b"agentfs:" in data) == (name.endswith(".md") and name != "notes/broken.md")
    assert found["image.png"]["ContentType"] == "image/png"
    assert found["日本.md"]["ContentType"] == "text/markdown; charset=utf-8"
    ann.commit("notes/plain.md", data=b"# Another plan\n")
    client = ministack_server.client()
    client.put_object(Bucket=bucket, Key=f"a/root/{PREFIX}also.md", Body=b"theirs\n")
    ann.node.rename("notes", "minutes")
    ann.node.sync()
    ann.keep(3)
    found = objects(ministack_server, bucket)
    assert found["also.md"]["Body"].read() == b"theirs\n" and set(ann.view.table.held()) == {"also.md"}
    assert {name for name in found if "/" in name} == {
        "minutes/plain.md", "minutes/crlf.md", "minutes/bom.md", "minutes/broken.md",
    }  # fmt: skip


def test_what_another_tool_put_in_gzip_is_what_a_browser_sees(
    world: World, ministack_server: S3Server, bucket: str
) -> None:
    client = ministack_server.client()

    def put(name: str, data: bytes, encoding: str, **more: Any) -> None:
        key = f"a/root/{PREFIX}{name}"
        client.put_object(Bucket=bucket, Key=key, Body=data, ContentEncoding=encoding, **more)

    ann = Machine(world, "ann")
    ann.commit("plan.md", "same.md", "other.md", data=b"# Plan\n\none\ntwo\n")
    ann.keep(3)
    found = objects(ministack_server, bucket)
    plan, same = found["plan.md"]["Body"].read(), found["same.md"]["Body"].read()
    put("plan.md", gzip.compress(plan.replace(b"two", b"2")), "gzip")
    put("same.md", gzip.compress(same), "gzip", Metadata=found["same.md"]["Metadata"])
    put("page.html", gzip.compress(b"<p>one") + gzip.compress(b"two"), "gzip")
    put("old.tar.gz", gzip.compress(b"tar", mtime=0), "gzip")
    put("plain.txt", b"no gzip at all", "gzip")
    put("bad.txt", gzip.compress(b"damaged" * 100)[:-9], "gzip")
    put("brotli.txt", b"\x0b\x02\x80x\x03", "br")
    world.clock.now_s += 60
    report = ann.ask(VIEW_LOOK)
    world.clock.now_s += 60
    report["imported"] += ann.ask(VIEW_LOOK)["imported"]
    assert {it["name"]: it["what"] for it in report["imported"]} == {
        "plan.md": "edited", "page.html": "created", "old.tar.gz": "created", "plain.txt": "created",
    }  # fmt: skip
    ann.keep(3)
    wanted = {
        "plan.md": b"# Plan\n\none\n2\n", "same.md": b"# Plan\n\none\ntwo\n", "other.md": b"# Plan\n\none\ntwo\n",
        "page.html": b"<p>onetwo", "old.tar.gz": gzip.compress(b"tar", mtime=0), "plain.txt": b"no gzip at all",
    }  # fmt: skip
    assert {name: ann.node.read(name) for name in ann.node.names("")} == wanted
    assert wrong(ann) == ["bad.txt is too much", "brotli.txt is too much"]
    found = objects(ministack_server, bucket)
    assert {name for name, it in found.items() if it.get("ContentEncoding")} == {"bad.txt", "brotli.txt"}
    assert restored(b"same.md", found["same.md"]["Body"].read(), {}).data == wanted["same.md"]
    assert ann.ask(VIEW_STATUS)["left_alone"] == {
        "bad.txt": "its content encoding is gzip, and its end is missing",
        "brotli.txt": "its content encoding is br: put it without",
    }


class Between:
    """A store on which somebody does something right before a put."""

    def __init__(self, store: Store, name: str, do: Callable[[], object]) -> None:
        self._store, self._name, self._do = store, name, do
        self.armed = False

    def put(
        self,
        name: str,
        data: bytes,
        *,
        create_only: bool = False,
        replacing: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        if self.armed and name.endswith(self._name):
            self.armed = False
            self._do()
        return self._store.put(name, data, create_only=create_only, replacing=replacing, attributes=attributes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("known", [True, False], ids=["edited", "new"])
def test_a_put_of_another_tool_right_before_ours_stands(world: World, known: bool) -> None:
    store = Between(world.store, "a.md", lambda: world.store.put(f"{PREFIX}a.md", b"theirs\n"))
    ann = Machine(world, "ann", store=store)
    ann.commit("b.md", *(["a.md"] if known else []))
    ann.keep(3)
    store.armed = True
    ann.commit("a.md", data=b"ours\n")
    ann.keep(3)
    assert not store.armed
    assert world.store.get(f"{PREFIX}a.md").data == b"theirs\n"
    assert set(ann.view.table.held()) == {"a.md"}


def test_an_answer_that_is_lost_leaves_no_doubt(world: World) -> None:
    """The put arrived and its answer did not: what is found there is ours."""

    class Lost(Between):
        def put(self, name: str, data: bytes, **how: Any) -> str:
            tag = self._store.put(name, data, **how)
            if self.armed and name.endswith(self._name):
                self.armed = False
                raise ObjectChanged("as an honest store says to who comes again")
            return tag

    store = Lost(world.store, ".bin", lambda: None)
    ann = Machine(world, "ann", store=store)
    ann.commit("a.bin")
    ann.keep(3)
    store.armed = True
    ann.commit("a.bin", data=b"\x00two")
    ann.keep(3)
    assert wrong(ann) == [] and ann.view.table.held() == {} and not store.armed


def test_a_store_without_conditional_puts(tmp_path: Path, rclone_server: S3Server) -> None:
    """It is looked at before each put: what is seen then is not overwritten."""
    store = open_store(rclone_server.url(new_bucket(rclone_server), "r"), environment=rclone_server.environment())
    with world_in(tmp_path, store=store) as world:
        ann = Machine(world, "ann")
        ann.commit("a.md", "b.md")
        ann.keep(3)
        world.store.put(f"{PREFIX}a.md", b"theirs, and longer\n")
        ann.commit("a.md", "b.md", data=b"ours\n")
        ann.keep(3)
        assert world.store.get(f"{PREFIX}a.md").data == b"theirs, and longer\n"
        assert b"ours" in world.store.get(f"{PREFIX}b.md").data


# ---- a directory ----


def settings(tmp_path: Path, **more: object) -> Any:
    (tmp_path / "store").mkdir(exist_ok=True)
    given = {"store": str(tmp_path / "store"), "state_dir": str(tmp_path / "state"), "index": False, **more}
    return load(given, environment={"HOME": str(tmp_path)})


def test_a_folder_can_be_read_with_cat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded default; the program ends long before the first second is over."""
    monkeypatch.setattr(engine_host, "_END_SECONDS_MAX", 60.0)  # however slow the machine is
    monkeypatch.setattr(view, "_END_SECONDS", 60.0)
    with Home.open("me", settings=settings(tmp_path)) as home:
        home.write("notes/today.md", "# Tea\n")
        home.write("data.bin", b"\x00\x01")
        home.sync()
    place = tmp_path / "store" / "agents" / "me"
    shown = subprocess.run(["cat", place / "notes" / "today.md"], capture_output=True, check=True, text=True).stdout
    assert shown.startswith("---\nagentfs:\n  version: 1\n") and shown.endswith("---\n# Tea\n")
    assert (place / "data.bin").read_bytes() == b"\x00\x01"
    with Home.open("me", settings=settings(tmp_path)) as home:
        home.delete("data.bin")
    assert not (place / "data.bin").exists()


def test_a_crash_on_a_directory_that_keeps_no_metadata(tmp_path: Path) -> None:
    armed: list[str] = []

    def failpoint(name: str) -> None:
        if name in armed:
            raise KeyboardInterrupt

    (tmp_path / "s").mkdir()
    with world_in(tmp_path, store=LocalStore(str(tmp_path / "s"))) as world:
        ann = Machine(world, "ann", failpoint=failpoint)
        ann.commit("a.bin", data=b"\x00one")
        ann.keep(3)
        armed.append("view.put")
        ann.commit("a.bin", data=b"\x00two")
        with pytest.raises(KeyboardInterrupt):
            ann.keep(3)
        ann.drop()
        again = Machine(world, "ann")
        again.commit("a.bin", data=b"\x00three")
        again.keep(3)
        assert world.store.get(f"{PREFIX}a.bin").data == b"\x00three" and again.view.table.held() == {}
        assert names(world.store) == ["a.bin"]


def test_closing_does_not_wait_for_a_store_that_hangs(
    tmp_path: Path, proxied_url: str, fault_proxy: Any, ministack_server: S3Server
) -> None:
    """What is due is the next keeper's: one request to such a store takes half a minute."""
    environment = {**ministack_server.environment(), "HOME": str(tmp_path)}
    given = {"store": proxied_url, "state_dir": str(tmp_path / "state"), "index": False}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        home = Home.open("me", settings=load(given, environment=environment))
        home.write("a.md", "x\n")
        home.sync()
        fault_proxy.black_hole()
        began = time.monotonic()
        home.close()
        took = time.monotonic() - began
        fault_proxy.black_hole(False)
    assert took < 28, f"closing took {took:.1f} s"


def test_a_store_that_is_away_is_said_to_be(
    tmp_path: Path, proxied_url: str, fault_proxy: Any, ministack_server: S3Server
) -> None:
    environment = {**ministack_server.environment(), "HOME": str(tmp_path)}
    given = {"store": proxied_url, "state_dir": str(tmp_path / "state"), "index": False}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        home = Home.open("me", settings=load(given, environment=environment))
        home.write("a.md", "x\n")
        home.sync()
        link = home._memories()[0].link()
        assert link.request(VIEW_STATUS, timeout_seconds=60)["problem"] == ""
        fault_proxy.go_down()
        problem = link.request(VIEW_STATUS, timeout_seconds=60)["problem"]
        with pytest.raises(StoreUnavailable) as raised:
            link.request(VIEW_LOOK, timeout_seconds=60)
        fault_proxy.come_up()
        assert link.request(VIEW_LOOK, timeout_seconds=60)["imported"] == []
        home.close()
    assert "cannot be reached" in problem and "\n" not in problem
    assert "cannot be reached" in str(raised.value)


@pytest.fixture
def proxied_url(ministack_server: S3Server, bucket: str, fault_proxy: Any) -> str:
    return ministack_server.at(fault_proxy.endpoint).url(bucket, "root")
