"""Machines that keep the view of one volume, without threads: each step is called for."""

import hashlib
from collections.abc import Callable

from retention_world import World

from agentfs.config.settings import load
from agentfs.stores.counted import CountedStore, Counts
from agentfs.stores.protocol import Store
from agentfs.view.log_files import LogFiles
from agentfs.view.naming import object_name, place_of
from agentfs.view.restoring import restored
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.history import HistoryService
from agentfs.volume.messages import Message
from agentfs.volume.view import ViewService

PREFIX = "spaces/sim/"


class Machine:
    """A replica, its engine, and what keeps the view."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        store: Store | None = None,
        failpoint: Callable[[str], None] | None = None,
        **settings: object,
    ) -> None:
        self.world = world
        self.store = CountedStore(store or world.store)
        services: list[ViewService] = []
        self.node = world.node(
            name,
            store=self.store,
            observers=[lambda commit, digest: services[0].observe(commit, digest) if services else None],
            failpoint=failpoint,
        )
        plan = EnginePlan(
            load({"view_look": 0, **settings}, environment={"HOME": "/nowhere"}),
            "space",
            "sim",
            str(self.node.directory),
            False,
            author=name.partition("+")[0],
        )
        self.history = HistoryService(self.node.replica, author=plan.agent)
        self.view = ViewService(plan, self.node.replica, self.history, world.clock)
        services.append(self.view)

    def step(self) -> float:
        return self.view.step(self.node.engine)

    def keep(self, seconds: float = 5.0) -> None:
        """Keep the view for a while of the world's time."""
        clock = self.world.clock
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            clock.now_s += min(max(self.step(), 0.001), end - clock.monotonic())

    def commit(self, *paths: str, data: bytes = b"# note\n") -> None:
        for path in paths:
            self.node.write(path, data)
        self.node.sync()

    def ask(self, word: str, **request: object) -> Message:
        return self.view.answers()[word](self.node.engine, request, lambda _facts: None)

    def spent(self, do: Callable[[], object]) -> Counts:
        before = self.store.counts
        do()
        return self.store.counts - before

    def drop(self) -> None:
        """End without a word, as a process that is killed."""
        keeper = self.view._keeper
        if keeper is not None:
            keeper.close()
        self.view.table.close()
        self.history.close()
        self.node.close()
        self.world.nodes.remove(self.node)


def names(store: Store) -> list[str]:
    """Of all objects of the view."""
    return [it.name.removeprefix(PREFIX) for it in store.list(PREFIX, limit=1000, foreign=True)]


def wrong(machine: Machine, store: Store | None = None) -> list[str]:
    """What in the view is not as the log has it at the machine's head: nothing, if all is well."""
    store = store or machine.world.store
    tree = LogFiles(machine.node.replica)
    try:
        files = {path: it for it in tree.files(tree.below()).values() for path in it.paths}
    finally:
        tree.close()
    found = []
    for path, file in files.items():
        name = object_name("space", "sim", path)
        assert name is not None
        if name.removeprefix(PREFIX) not in names(store):
            found.append(f"{name} is missing")
            continue
        object_ = store.get(name)
        means = restored(path, object_.data, object_.attributes)
        if means.edited or hashlib.sha256(means.data).digest() != file.content.digest:
            found.append(f"{name} has other bytes")
        if means.was is None or means.was.file != file.file or means.was.volume != "space-sim":
            found.append(f"{name} says to be of {means.was}")
    for name in names(store):
        place = place_of(PREFIX + name)
        if place is None or place[2] not in files:
            found.append(f"{name} is too much")
    return found
