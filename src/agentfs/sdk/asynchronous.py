"""`AsyncHome`: `Home` for asyncio. Every call runs on a thread; the core is synchronous."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, ParamSpec, TypeVar

from agentfs.config.settings import Settings
from agentfs.memory.results import Found, Recalled, Topic
from agentfs.sdk.home import Home
from agentfs.sdk.lifecycle import LifecycleOf, LifecycleReport, LifecycleRules
from agentfs.sdk.past import History, Keep, LoggedCommit, MetConflict, Moments, Restored, Side, Was
from agentfs.sdk.paths import Path
from agentfs.sdk.values import Change, Entry
from agentfs.volume.spaces import Attachment
from agentfs.volume.status import Status, SyncResult

if TYPE_CHECKING:
    from agentfs.memory.curation import Plan
    from agentfs.memory.facts import Facts
    from agentfs.sdk.curation_steps import Done
    from agentfs.sdk.exporting import Exported
    from agentfs.sdk.importing import Imported
    from agentfs.sdk.locking import HeldLock, LockInForce
    from agentfs.volume.fork import Fork
    from agentfs.volume.fork_merge import Merged
    from agentfs.volume.snapshots import NamedSnapshot

_P = ParamSpec("_P")
_T = TypeVar("_T")


class AsyncHome:
    """The methods of `Home`, awaited: `async with await AsyncHome.open("myagent") as home`."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @classmethod
    async def open(
        cls,
        agent_id: str | None = None,
        store: str | None = None,
        *,
        space: str | None = None,
        state_dir: str | None = None,
        offline: bool = False,
        settings: Settings | None = None,
    ) -> "AsyncHome":
        """See `Home.open`."""
        home = await asyncio.to_thread(
            Home.open, agent_id, store, space=space, state_dir=state_dir, offline=offline, settings=settings
        )
        return cls(home)

    async def _run(self, function: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        return await asyncio.to_thread(function, *arguments, **options)

    async def close(self) -> None:
        """See `Home.close`."""
        await self._run(self._home.close)

    async def __aenter__(self) -> "AsyncHome":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def read(self, path: Path) -> bytes:
        return await self._run(self._home.read, path)

    async def read_text(self, path: Path, encoding: str = "utf-8") -> str:
        return await self._run(self._home.read_text, path, encoding)

    async def write(self, path: Path, data: bytes | str, *, parents: bool = True, overwrite: bool = True) -> None:
        await self._run(self._home.write, path, data, parents=parents, overwrite=overwrite)

    async def edit(self, path: Path, change: Callable[[bytes], bytes]) -> bytes:
        """See `Home.edit`."""
        return await self._run(self._home.edit, path, change)

    async def append(self, path: Path, data: bytes | str, *, parents: bool = True) -> None:
        await self._run(self._home.append, path, data, parents=parents)

    async def stat(self, path: Path, *, follow: bool = True) -> Entry:
        return await self._run(self._home.stat, path, follow=follow)

    async def exists(self, path: Path) -> bool:
        return await self._run(self._home.exists, path)

    async def list(self, path: Path = "") -> Sequence[Entry]:
        return await self._run(self._home.list, path)

    async def walk(self, path: Path = "") -> Sequence[Entry]:
        return await self._run(self._home.walk, path)

    async def mkdir(self, path: Path, *, parents: bool = True, exist_ok: bool = True) -> None:
        await self._run(self._home.mkdir, path, parents=parents, exist_ok=exist_ok)

    async def move(self, source: Path, target: Path, *, overwrite: bool = True) -> None:
        await self._run(self._home.move, source, target, overwrite=overwrite)

    async def copy(self, source: Path, target: Path) -> None:
        await self._run(self._home.copy, source, target)

    async def delete(self, path: Path, *, recursive: bool = False, missing_ok: bool = False) -> None:
        await self._run(self._home.delete, path, recursive=recursive, missing_ok=missing_ok)

    async def spaces(self) -> Sequence[Attachment]:
        return await self._run(self._home.spaces)

    async def attach_space(self, space: str, *, at: str | bytes | None = None) -> Attachment:
        return await self._run(self._home.attach_space, space, at=at)

    async def detach_space(self, which: str, *, force: bool = False) -> Attachment:
        return await self._run(self._home.detach_space, which, force=force)

    @asynccontextmanager
    async def lock(
        self, path: Path, *, timeout: float | None = None, ttl: float | None = None
    ) -> AsyncIterator["HeldLock"]:
        """See `Home.lock`: `async with home.lock(path):`."""
        manager = self._home.lock(path, timeout=timeout, ttl=ttl)
        held = await self._run(manager.__enter__)
        try:
            yield held
        except BaseException as error:
            await self._run(manager.__exit__, type(error), error, error.__traceback__)
            raise
        await self._run(manager.__exit__, None, None, None)

    async def locks(self) -> Sequence["LockInForce"]:
        return await self._run(self._home.locks)

    async def break_lock(self, path: Path) -> str | None:
        return await self._run(self._home.break_lock, path)

    async def sync(self, timeout: float | None = None) -> SyncResult:
        return await self._run(self._home.sync, timeout)

    async def pull(self, timeout: float | None = None) -> None:
        await self._run(self._home.pull, timeout)

    async def status(self) -> Status:
        return await self._run(self._home.status)

    async def history(self, path: Path, *, attributes: bool = False) -> History:
        return await self._run(self._home.history, path, attributes=attributes)

    async def read_version(self, path: Path, at: Moments) -> bytes:
        return await self._run(self._home.read_version, path, at)

    async def list_at(self, path: Path, at: Moments, *, recursive: bool = False) -> Sequence[Was]:
        return await self._run(self._home.list_at, path, at, recursive=recursive)

    async def log(
        self, path: Path = "", *, limit: int = 100, since: Moments | None = None, author: str | None = None
    ) -> Sequence[LoggedCommit]:
        """See `Home.log`; at most `limit` commits."""
        return await self._run(lambda: [*self._home.log(path, limit=limit, since=since, author=author)])

    async def restore(
        self, path: Path, at: Moments, *, to: Path | None = None, exact: bool = False, keep: bool = False
    ) -> Sequence[Restored]:
        return await self._run(self._home.restore, path, at, to=to, exact=exact, keep=keep)

    async def snapshot(self, name: str, *, note: str = "") -> "NamedSnapshot":
        return await self._run(self._home.snapshot, name, note=note)

    async def snapshots(self) -> Sequence["NamedSnapshot"]:
        return await self._run(self._home.snapshots)

    async def delete_snapshot(self, name: str) -> "NamedSnapshot":
        return await self._run(self._home.delete_snapshot, name)

    async def fork(
        self, new_id: str, *, snapshot: str | None = None, at: int | None = None, note: str = ""
    ) -> "Fork":
        return await self._run(self._home.fork, new_id, snapshot=snapshot, at=at, note=note)

    async def forks(self) -> Sequence["Fork"]:
        return await self._run(self._home.forks)

    async def merge_fork(self, fork_id: str) -> "Merged":
        return await self._run(self._home.merge_fork, fork_id)

    async def curate(self, path: Path = "", **options: Any) -> "Plan":
        """See `Home.curate`."""
        return await self._run(self._home.curate, path, **options)

    async def apply_plan(self, plan: "Plan") -> Sequence["Done"]:
        """See `Home.apply_plan`."""
        return await self._run(self._home.apply_plan, plan)

    async def export_memories(self, to: Any, path: Path = "", **options: Any) -> "Exported":
        """See `Home.export_memories`."""
        return await self._run(self._home.export_memories, to, path, **options)

    async def import_memories(self, source: str | os.PathLike[str] | IO[bytes], **options: Any) -> "Imported":
        """See `Home.import_memories`."""
        return await self._run(self._home.import_memories, source, **options)

    async def conflicts(self, path: Path = "", *, resolved: bool = False) -> Sequence[MetConflict]:
        return await self._run(self._home.conflicts, path, resolved=resolved)

    async def read_side(self, conflict: str, side: Side) -> bytes:
        return await self._run(self._home.read_side, conflict, side)

    async def resolve(self, what: str, *, keep: Keep = "both") -> Sequence[str]:
        return await self._run(self._home.resolve, what, keep=keep)

    async def remember(self, text: str, **options: Any) -> Entry:
        """See `Home.remember`."""
        return await self._run(self._home.remember, text, **options)

    async def recall(self, query: str, max_tokens: int = 2000, **options: Any) -> Recalled:
        """See `Home.recall`."""
        return await self._run(self._home.recall, query, max_tokens, **options)

    async def search(self, query: str, limit: int = 20, **options: Any) -> Sequence[Found]:
        """See `Home.search`."""
        return await self._run(self._home.search, query, limit, **options)

    async def related(self, path: Path, limit: int = 20) -> Sequence[Found]:
        return await self._run(self._home.related, path, limit)

    async def timeline(self, query: str = "", limit: int = 50, **options: Any) -> Sequence[Found]:
        """See `Home.timeline`."""
        return await self._run(self._home.timeline, query, limit, **options)

    async def topics(self, path: Path = "", limit: int = 50) -> Sequence[Topic]:
        return await self._run(self._home.topics, path, limit)

    async def tags(self, path: Path = "") -> Sequence[tuple[str, int]]:
        return await self._run(self._home.tags, path)

    async def facts(self, path: Path) -> "Facts":
        return await self._run(self._home.facts, path)

    async def set_facts(self, path: Path, **changes: object) -> None:
        await self._run(self._home.set_facts, path, **changes)

    async def forget(self, path: Path) -> None:
        await self._run(self._home.forget, path)

    async def memory_stats(self) -> dict[str, Any]:
        return await self._run(self._home.memory_stats)

    async def reindex(self) -> dict[str, Any]:
        return await self._run(self._home.reindex)

    async def lifecycle(self) -> LifecycleRules:
        return await self._run(self._home.lifecycle)

    async def set_lifecycle(self, rules: str) -> LifecycleRules:
        return await self._run(self._home.set_lifecycle, rules)

    async def plan_lifecycle(self, rules: str | None = None) -> LifecycleReport:
        return await self._run(self._home.plan_lifecycle, rules)

    async def apply_lifecycle(self) -> LifecycleReport:
        return await self._run(self._home.apply_lifecycle)

    async def lifecycle_of(self, path: Path) -> LifecycleOf:
        return await self._run(self._home.lifecycle_of, path)

    async def watch(self, path: Path = "", *, timeout: float | None = None) -> AsyncIterator[Change]:
        """See `Home.watch`."""
        changes = self._home.watch(path, timeout=timeout)
        end: Any = object()
        while (change := await asyncio.to_thread(next, changes, end)) is not end:
            yield change
