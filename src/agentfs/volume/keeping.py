"""What the engine does so that a state can get a name: it pushes what is pending and puts a snapshot, in its turn."""

from collections.abc import Callable
from dataclasses import dataclass

from agentfs.errors import NotFound
from agentfs.format import layout
from agentfs.format.snapshot import encode_snapshot_rows
from agentfs.replica.bulk import snapshot_of
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
    seconds = float(request.get("seconds") or 0)
    engine.push_until_clean(engine.ground.clock.monotonic() + seconds)
    state = engine.in_turn(_keep_head)
    return {"sequence": state.sequence, "digest": state.digest.hex()}


def _keep_head(ground: EngineGround) -> State:
    """One list, and one put where there is no snapshot of the head yet."""
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
        log.put_snapshot(encode_snapshot_rows(rows))
        replica.set_state("snapshot_sequence", state.sequence)
    return state
