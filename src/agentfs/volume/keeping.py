"""What the engine does so that a state can get a name: it pushes what is pending and puts a snapshot, in its turn."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from agentfs.errors import AgentIdInvalid, NotFound
from agentfs.format import layout
from agentfs.format.snapshot import encode_snapshot_rows
from agentfs.log.announcements import Announcements
from agentfs.log.pins import Pins
from agentfs.replica.bulk import snapshot_of
from agentfs.stores.protocol import Store
from agentfs.sync.engine import Engine
from agentfs.sync.ground import EngineGround
from agentfs.volume.messages import Message
from agentfs.volume.trees import tree_at

KEEP = "keep-head"
"""The word for the engine's desk."""


@dataclass(frozen=True, slots=True)
class State:
    """A place in a volume's log."""

    sequence: int
    digest: bytes


def answer_keep_head(engine: Engine, request: Message, _progress: Callable[[Message], None]) -> Message:
    """For the desk: push what is pending, and see to it that a snapshot of the head is on the store."""
    deadline = engine.ground.clock.monotonic() + float(request.get("seconds") or 0)
    engine.pull_now()  # a store that is away says so now, and not when the time is up
    engine.push_until_clean(deadline)
    state = engine.in_turn(_keep_head)
    return {"sequence": state.sequence, "digest": state.digest.hex()}


def snapshot_sequence(store: Store, volume: str, name: str) -> int | None:
    """The entry of the log that a snapshot's name means; None when there is none. One get. Raises `StoreError`."""
    try:
        return Pins(store, volume).read("snapshot", name).sequence
    except (NotFound, AgentIdInvalid):
        return None


def _keep_head(ground: EngineGround) -> State:
    """One list; one put, and a list more, where there is no snapshot of the head yet."""
    replica, log = ground.replica, ground.log
    state = State(int(replica.state("head_sequence")), bytes(replica.state("head_digest")))
    if state.sequence == 0:
        raise NotFound(f"nothing was ever stored in {log.volume}: there is no state to keep")
    if not ground.store.list(layout.snapshot_name(log.prefix, state.sequence), limit=1):
        rows = snapshot_of(replica, log.volume)
        if (
            rows is None or rows.sequence != state.sequence
        ):  # something is pending again, or being written all the time
            rows = tree_at(log, ground.store, state.sequence)
        ground.failpoint("keep.snapshot")
        announced = Announcements(ground.store, log.volume).newest_number() > 0
        log.put_snapshot(encode_snapshot_rows(replace(rows, collected=announced)))
        replica.set_state("snapshot_sequence", state.sequence)
    return state
