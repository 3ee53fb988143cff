"""What processes of one machine say to each other, and who is heard."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentfs import errors
from agentfs.cli.documentation import all_errors
from agentfs.config.settings import load
from agentfs.errors import AgentFSError, InvalidArgument, ReplicaInUse
from agentfs.replica.lock_file import LockFile, holder
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.listener import Listener
from agentfs.volume.messages import Gone, Message, connect, connect_stream, error_message, error_of
from agentfs.volume.replacing import replace
from agentfs.volume.volume import Volume


class Echo:
    """Answers with what it was asked; fails on request."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.release = threading.Event()

    def answer(self, request: Message, progress: Callable[[Message], None]) -> Message:
        self.heard.append(request)
        if request.get("do") == "fail":
            raise InvalidArgument("no")
        if request.get("do") == "break":
            raise ZeroDivisionError
        if request.get("do") == "slow":
            progress({"half": True})
            self.release.wait(60)
        return {"said": request.get("do")}


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[tuple[Echo, str]]:
    desk = Echo()
    path = str(tmp_path / ("d" * 120) / "s.sock")  # longer than a socket's address may be
    Path(path).parent.mkdir()
    listener = Listener(path, desk)
    yield desk, path
    desk.release.set()
    listener.close()
    listener.close()
    with pytest.raises(Gone):
        connect(path)


def test_requests_progress_and_errors(echo: tuple[Echo, str]) -> None:
    desk, path = echo
    with connect(path) as one:
        one.send({"id": 7, "do": "hello"})
        assert one.receive(timeout_seconds=60) == {"id": 7, "result": {"said": "hello"}}
        one.send({"do": "quiet"})
        one.send({"id": 8, "do": "fail"})
        answer = one.receive(timeout_seconds=60)
        assert answer == {"id": 8, "error": {"code": "invalid-argument", "message": "no"}}
        one.send({"id": 9, "do": "break"})
        assert one.receive(timeout_seconds=60)["error"]["code"] == "error"
        one.send({"id": 10, "do": "slow"})
        assert one.receive(timeout_seconds=60) == {"id": 10, "progress": {"half": True}}
        with pytest.raises(TimeoutError):
            one.receive(timeout_seconds=0.05)
        with connect(path) as two:  # one slow answer holds up nobody else
            two.send({"id": 1, "do": "quick"})
            assert two.receive(timeout_seconds=60)["result"] == {"said": "quick"}
        desk.release.set()
        assert one.receive(timeout_seconds=60)["result"] == {"said": "slow"}
    assert [message["do"] for message in desk.heard][:2] == ["hello", "quiet"]


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b"x" * (2 << 20), b"\0\xff\n", b"{\n"])
def test_garbage_ends_the_conversation_and_nothing_else(echo: tuple[Echo, str], garbage: bytes) -> None:
    _, path = echo
    stream = connect_stream(path, timeout_seconds=60)
    try:
        stream.sendall(garbage)
        assert stream.recv(10) == b""
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        stream.close()
    with connect(path) as one:
        one.send({"id": 1, "do": "still here"})
        assert one.receive(timeout_seconds=60)["result"] == {"said": "still here"}


def test_a_dead_processs_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    listener = Listener(path, Echo())
    with connect(path) as one:
        one.send({"id": 1, "do": "x"})
        assert "result" in one.receive(timeout_seconds=60)
    listener.close()


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_crosses_processes_as_itself(kind: type[AgentFSError]) -> None:
    try:
        error = kind("what: what to do")
    except TypeError:
        error = error_of({"code": kind.code, "message": "what: what to do"})
    again = error_of(error_message(error))
    assert again.code == kind.code
    assert isinstance(again, AgentFSError)
    if list(kind.__init__.__code__.co_varnames if hasattr(kind.__init__, "__code__") else ()) == []:
        assert str(again) == "what: what to do"


def test_a_lock_has_one_holder_and_names_it(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    assert holder(path) is None
    lock = LockFile.acquire(path)
    assert lock is not None
    assert LockFile.acquire(path) is None
    assert holder(path) is not None
    lock.release()
    lock.release()
    assert holder(path) is None
    again = LockFile.acquire(path)
    assert again is not None
    again.release()


def test_a_plan_travels_whole_and_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    settings = load({"store": str(tmp_path), "ignore": "*.a,*.b"})
    plan = EnginePlan(settings, "home", "me", str(tmp_path), offline=True, prefetch=False)
    assert EnginePlan.of_message(plan.as_message()) == plan
    assert "hunter2" not in str(plan.as_message())


def test_a_killed_replacement_is_recovered_as_a_change(tmp_path: Path) -> None:
    """Killed between the rename of the backing file and the commit: the mark says that the bytes are new."""
    (tmp_path / "store").mkdir()
    settings = load({"store": str(tmp_path / "store"), "state_dir": str(tmp_path / "state")})
    with Volume.open(settings, "me", session_kind="sdk", engine="none") as volume:
        replace(volume.replica, volume.tree, parent=1, name=b"f", existing=None, data=b"old")
        ino = volume.tree.lookup(1, b"f").ino
        with volume.replica.transaction() as tx:
            tx.mark_write_open(ino)
            tx.sql.execute("UPDATE session SET pid=999999999 WHERE id=?", (tx.session,))
        fd, staged = volume.replica.files.stage()
        with open(fd, "wb") as file:
            file.write(b"newer")
        volume.replica.files.adopt(staged, ino)
        with Volume.open(settings, "me", session_kind="sdk", engine="none") as again:
            assert again.tree.lookup(1, b"f").size_bytes == 5


def test_one_engine_a_replica(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    settings = load({"store": str(tmp_path / "store"), "state_dir": str(tmp_path / "state")})
    with (
        Volume.open(settings, "me", session_kind="sdk") as one,
        Volume.open(settings, "me", session_kind="sdk") as two,
    ):
        assert [one.link.host is not None, two.link.host is not None] == [True, False]
        with pytest.raises(InvalidArgument):
            two.link.request("dance", timeout_seconds=60)
        assert issubclass(ReplicaInUse, errors.AgentFSError)
