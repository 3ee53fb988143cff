"""Named snapshots and forks: the part of `Home` that keeps states and begins new homes in them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentfs.sdk.errors import speaks_python
from agentfs.volume.volume import Volume

if TYPE_CHECKING:
    from agentfs.volume.fork import Fork
    from agentfs.volume.fork_merge import Merged
    from agentfs.volume.snapshots import NamedSnapshot

# What works on the log is imported where it is called: who opens a home does not wait for it.
# ruff: noqa: PLC0415


class HomeStates:
    """Everything here needs the store."""

    _volume: Volume

    @speaks_python
    def snapshot(self, name: str, *, note: str = "") -> "NamedSnapshot":
        """Name the home as it is now: what is pending is pushed first. Retention never collects that state until the
        name is deleted, and `at=name` finds it in the history. Raises `Exists` (the name is taken), `AgentIdInvalid`,
        `StoreUnavailable`, `SyncTimedOut`."""
        from agentfs.volume import snapshots
        from agentfs.volume.opening import opened_store

        volume = self._volume
        store = opened_store(volume.settings, clock=volume.clock)
        return snapshots.create(volume, store, name, author=volume.agent, note=note)

    @speaks_python
    def snapshots(self) -> Sequence["NamedSnapshot"]:
        """All named snapshots of the home, the oldest state first. Raises `StoreUnavailable`."""
        from agentfs.volume import snapshots
        from agentfs.volume.opening import opened_store

        volume = self._volume
        store = opened_store(volume.settings, clock=volume.clock)
        return snapshots.listed(store, snapshots.volume_name(volume))

    @speaks_python
    def delete_snapshot(self, name: str) -> "NamedSnapshot":
        """Take a name away; the state may be collected from now on, if nothing else keeps it. Raises `NotFound`."""
        from agentfs.volume import snapshots
        from agentfs.volume.opening import opened_store

        volume = self._volume
        store = opened_store(volume.settings, clock=volume.clock)
        return snapshots.delete(store, snapshots.volume_name(volume), name)

    @speaks_python
    def fork(self, new_id: str, *, snapshot: str | None = None, at: int | None = None, note: str = "") -> "Fork":
        """Make a new home, for the agent `new_id`, that begins as this one is now (what is pending is pushed first),
        or was at a named `snapshot` or right after entry `at` of the log. A constant number of requests, whatever its
        size. Open it with `Home.open(new_id)`. Raises `Exists`, `NotFound`, `VersionGone`, and as `snapshot`."""
        from agentfs.volume.fork import Wish, fork_home

        volume = self._volume
        wish = Wish(new_id, snapshot=snapshot, at=at, author=volume.agent, note=note)
        return fork_home(volume.settings, volume.volume_id, wish, clock=volume.clock, volume=volume)

    @speaks_python
    def forks(self) -> Sequence["Fork"]:
        """The forks that began in this home, the oldest state first. Raises `StoreUnavailable`."""
        from agentfs.volume import snapshots
        from agentfs.volume.fork import forks_of
        from agentfs.volume.opening import opened_store

        volume = self._volume
        store = opened_store(volume.settings, clock=volume.clock)
        return forks_of(store, snapshots.volume_name(volume))

    @speaks_python
    def merge_fork(self, fork_id: str) -> "Merged":
        """Merge a fork of this home back into it, as if a machine that was offline since it began came back; on
        return that is in the store and visible here. Raises as `volume.fork_merge.merge_fork`."""
        from agentfs.volume.fork_merge import merge_fork

        volume = self._volume
        merged = merge_fork(volume.settings, fork_id, into=volume.volume_id, author=volume.agent, clock=volume.clock)
        volume.pull()
        return merged
