"""`fsck` of a whole volume: the store, this machine's replica, and the repair of both."""

import os
from dataclasses import dataclass, replace

from agentfs.clock import Clock
from agentfs.config.settings import Settings
from agentfs.errors import Exists, NotFound, ReplicaInUse
from agentfs.format.layout import VolumeKind, volume_name
from agentfs.fsck.findings import Finding, Findings
from agentfs.fsck.repair import Saved, drop_damaged_backing, set_aside, upload_missing
from agentfs.fsck.replica_check import compare, read_replica
from agentfs.fsck.store_check import Progress, StoreCheck, StoreState, drop_bad_snapshots
from agentfs.model.records import Kind
from agentfs.replica.lock_file import LockFile, holder
from agentfs.tree.tree import Tree
from agentfs.tree.values import Attributes, Caller
from agentfs.volume.opening import opened_store
from agentfs.volume.pinned import mend_pinned
from agentfs.volume.places import replica_directory
from agentfs.volume.reading import open_resident
from agentfs.volume.replacing import replace as replace_content
from agentfs.volume.volume import Volume

_REBUILD = ("replica-damaged", "replica-check", "replica-head", "replica-content", "replica-tree")
_ROOT = 1


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found and what a repair did."""

    findings: tuple[Finding, ...]
    entries: int
    """Of the log."""
    actions: tuple[str, ...] = ()
    """What was repaired, a line each."""

    @property
    def damaged(self) -> bool:
        """Whether something is wrong that was not repaired."""
        return any(finding.severity != "note" and not finding.repaired for finding in self.findings)


def check_volume(
    settings: Settings,
    volume_id: str,
    *,
    clock: Clock,
    kind: VolumeKind = "home",
    author: str | None = None,
    deep: bool = False,
    repair: bool = False,
    progress: Progress = lambda _what, _done, _of: None,
) -> CheckReport:
    """Check, and with `repair` mend what can be mended; then the report says what is left. `author`: the agent whose
    copy of a space it is.

    Raises `StoreUnavailable`, `StoreDenied`, `BucketNotFound`, `NewerFormat`, and `ReplicaInUse` when a repair needs
    the replica for itself and a mount has it.
    """
    run = _Run(settings, volume_id, kind, author, clock=clock, deep=deep, progress=progress)
    state = run.check()
    found = state.findings.found
    if not repair or not state.findings.damaged:
        return CheckReport(tuple(found), state.last_sequence)
    actions = run.repair(state)
    after = run.check()
    left = {(finding.kind, finding.place, finding.detail) for finding in after.findings.found}
    findings = [
        finding
        if (finding.kind, finding.place, finding.detail) in left or finding.severity == "note"
        else replace(finding, repaired=True)
        for finding in found
    ]
    known = {(finding.kind, finding.place, finding.detail) for finding in found}
    findings += [f for f in after.findings.found if (f.kind, f.place, f.detail) not in known]
    return CheckReport(tuple(findings), after.last_sequence, tuple(actions))


class _Run:
    def __init__(
        self,
        settings: Settings,
        volume_id: str,
        kind: VolumeKind,
        author: str | None,
        *,
        clock: Clock,
        deep: bool,
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._volume_id = volume_id
        self._kind: VolumeKind = kind
        self._author = author
        self._clock = clock
        self._deep = deep
        self._progress = progress
        self._directory = replica_directory(settings.state_dir, kind, volume_id, settings.store, author=author)
        self._store = opened_store(settings, clock=clock)

    def check(self) -> StoreState:
        findings = Findings()
        here = os.path.exists(os.path.join(self._directory, "replica.db"))
        replica = read_replica(self._directory, findings, deep=self._deep) if here else None
        check = StoreCheck(
            self._store,
            self._kind,
            self._volume_id,
            deep=self._deep,
            keep_at=None if replica is None else replica.head_sequence,
            progress=self._progress,
        )
        state = check.run()
        if replica is not None:
            compare(replica, state, self._directory)
        for finding in findings.found:
            state.findings.add(finding.kind, finding.place, finding.detail)
        return state

    # ---- repair ----

    def repair(self, state: StoreState) -> list[str]:
        actions = [f"dropped {name}: it can be made again" for name in drop_bad_snapshots(self._store, state)]
        if state.findings.of("pin-broken"):
            actions += mend_pinned(self._store, volume_name(self._kind, self._volume_id))
        here = os.path.exists(os.path.join(self._directory, "replica.db"))
        rebuild = bool(state.findings.of(*_REBUILD))
        if state.missing_blobs and here and not rebuild:
            volume = volume_name(self._kind, self._volume_id)
            count = upload_missing(self._store, volume, self._directory, set(state.missing_blobs))
            actions += [f"uploaded {count} chunks that the store had lost"] if count else []
        if rebuild:
            actions += self._rebuild(state)
        elif state.findings.of("backing-damaged"):
            with_lock = self._locked()
            try:
                count = drop_damaged_backing(self._directory)
            finally:
                with_lock.release()
            actions.append(f"dropped {count} damaged local files: they are fetched again")
        return actions

    def _locked(self) -> LockFile:
        path = os.path.join(self._directory, "engine.lock")
        lock = LockFile.acquire(path)
        if lock is None:
            raise ReplicaInUse(
                f"{self._directory} is in use by process {holder(path)}: unmount it before it can be repaired"
            )
        return lock

    def _rebuild(self, state: StoreState) -> list[str]:
        """Set the replica aside, make a new one from the store, and put back what was only here."""
        lock = self._locked()
        try:
            known = {
                record.content.digest
                for record in (state.tree.inodes.values() if state.tree is not None else ())
                if record.content is not None
            }
            stamp = str(self._clock.wall_ns() // 10**6)
            saved = set_aside(self._directory, stamp=stamp, known=known)
        finally:
            lock.release()
        actions = [f"set the damaged replica aside in {self._directory}/damaged-{stamp} and made a new one"]
        with Volume.open(
            self._settings, self._volume_id, session_kind="fsck", kind=self._kind, author=self._author
        ) as volume:
            for file in saved:
                path = _put_back(volume, file)
                if path is not None:
                    actions.append(f"put back {path.decode('utf-8', 'backslashreplace')}")
        return actions


def _put_back(volume: Volume, saved: Saved) -> bytes | None:
    """Write saved bytes at their path, or beside it when something else is there. None: they are there already."""
    with open(saved.backing, "rb") as file:
        data = file.read()
    *directories, name = saved.path.split(b"/")
    tree = volume.tree
    parent = _ROOT
    for directory in directories:
        parent = _directory(tree, parent, directory)
    taken = name
    for number in range(1, 1000):
        found = _lookup(tree, parent, taken)
        if found is None:
            replace_content(volume.replica, tree, parent=parent, name=taken, existing=None, data=data)
            return b"/".join((*directories, taken))
        if found.kind is Kind.FILE and found.size_bytes == len(data) and _read(tree, found.ino) == data:
            return None
        stem, dot, extension = name.rpartition(b".")
        taken = (stem or extension) + b".recovered-%d" % number + (dot + extension if stem else b"")
    return None


def _directory(tree: Tree, parent: int, name: bytes) -> int:
    found = _lookup(tree, parent, name)
    if found is not None and found.kind is Kind.DIRECTORY:
        return found.ino
    if found is not None:
        name += b".recovered"
        again = _lookup(tree, parent, name)
        if again is not None and again.kind is Kind.DIRECTORY:
            return again.ino
    try:
        return tree.mkdir(parent, name, 0o755, Caller.process()).ino
    except Exists:
        return tree.lookup(parent, name).ino


def _lookup(tree: Tree, parent: int, name: bytes) -> Attributes | None:
    try:
        return tree.lookup(parent, name)
    except NotFound:
        return None


def _read(tree: Tree, ino: int) -> bytes:
    handle = open_resident(tree, ino, os.O_RDONLY)
    try:
        with open(handle.fd, "rb", closefd=False) as file:
            return file.read()
    finally:
        tree.release(handle)
