"""A meter hears of exactly the requests that a real server sees, whatever becomes of them."""

from collections import Counter
from collections.abc import Callable

import pytest

from agentfs.errors import AgentFSError, ObjectExists, StoreUnavailable
from agentfs.stores.protocol import Store
from agentfs.testing.fault_proxy import Fault, FaultProxy, Request


class Heard:
    """A meter that keeps what it hears."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.names: list[str] = []
        self.sent_bytes = self.received_bytes = 0

    def __call__(self, kind: str, name: str, *, sent_bytes: int, received_bytes: int) -> None:
        self.kinds[kind] += 1
        self.names.append(name)
        self.sent_bytes += sent_bytes
        self.received_bytes += received_bytes


def kind_of(request: Request) -> str:
    if request.method == "GET":
        return "list" if "list-type=" in request.path else "get"
    return {"PUT": "put", "HEAD": "head", "DELETE": "delete", "POST": "delete"}[request.method]


def seen(proxy: FaultProxy) -> Counter[str]:
    return Counter(kind_of(request) for request in proxy.requests())


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def store(proxied_store: Callable[..., Store], heard: Heard) -> Store:
    return proxied_store(meter=heard)


def test_every_kind_with_its_bytes(store: Store, heard: Heard, fault_proxy: FaultProxy) -> None:
    store.put("a/b", b"0123456789", create_only=True)
    with pytest.raises(ObjectExists):
        store.put("a/b", b"123", create_only=True)
    store.put("a/c", b"12345")
    assert store.get("a/b", start=2, length=3).data == b"234"
    assert store.get("a/b").size_bytes == 10
    assert store.get("a/b", start=10).data == b"", "asked for twice: the range is refused, then the size"
    assert store.get("a/b", start=4, length=0).data == b""
    store.head("a/b")
    for name in ("a/none", "none"):
        with pytest.raises(AgentFSError):
            store.get(name)
    store.list("a/")
    store.list("nothing/")
    store.delete("a/b")
    store.delete("a/b")
    store.delete_many(["a/c", "a/d"])
    assert heard.kinds == seen(fault_proxy)
    assert (heard.sent_bytes, heard.received_bytes) == (18, 13)


@pytest.mark.parametrize(
    "fault",
    [Fault.ERROR_500, Fault.ERROR_503, Fault.ERROR_500_AFTER, Fault.RESET_BEFORE, Fault.RESET_AFTER, Fault.TRUNCATE],
)
def test_failed_tries_are_requests_too(store: Store, heard: Heard, fault_proxy: FaultProxy, fault: Fault) -> None:
    store.put("a", b"12345")
    for method in ("GET", "PUT", "DELETE"):
        fault_proxy.inject(fault, method=method, times=2)
    assert store.get("a").data == b"12345"
    store.put("b", b"12345")
    store.list("")
    store.delete("a")
    fault_proxy.heal()
    there = seen(fault_proxy)
    if fault in (Fault.ERROR_500, Fault.ERROR_503, Fault.ERROR_500_AFTER):
        assert heard.kinds == there
    else:  # on a connection that was just cut a request may go out and not arrive
        assert all(count <= heard.kinds[kind] <= count + 2 for kind, count in there.items())
        assert heard.kinds.keys() == there.keys()


def test_what_never_left_is_not_counted(store: Store, heard: Heard, fault_proxy: FaultProxy) -> None:
    fault_proxy.go_down()  # before any connection is made: on an open one a request may still go out
    for do in (
        lambda: store.get("a"),
        lambda: store.put("a", b"1"),
        lambda: store.list(""),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreUnavailable):
            do()
    fault_proxy.come_up()
    store.put("a", b"12345")
    assert heard.kinds == seen(fault_proxy) == {"put": 1}
