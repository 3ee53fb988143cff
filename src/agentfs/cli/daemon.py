"""The process behind a mount: `python -m agentfs.cli.daemon`, or `agentfs mount --foreground` itself.

Main thread: answers the kernel. Others: the notifier, the attendant of the engine link, and the listener of the
mount's control socket. Nothing else runs here; the engine is a child process (docs/decisions/0001).
"""

import contextlib
import json
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from agentfs.cli.mounted_spaces import MountedSpaces
from agentfs.clock import Clock, SystemClock
from agentfs.config.settings import Settings, redacted
from agentfs.errors import AgentFSError, InvalidArgument, MountFailed, NotMounted
from agentfs.fuse import device
from agentfs.fuse.mount import FuseMount
from agentfs.fuse.options import FuseOptions
from agentfs.replica.lock_file import LockFile, holder
from agentfs.replica.sessions import process_stamp
from agentfs.volume.engine_plan import settings_of_message
from agentfs.volume.listener import Listener
from agentfs.volume.locks import SharedLocks
from agentfs.volume.logs import log_to_file
from agentfs.volume.messages import Gone, Message, decode, error_message
from agentfs.volume.mounts import MountRecord, mount_file, read_record, remove_record, write_record
from agentfs.volume.status import Pending, together
from agentfs.volume.virtual import VirtualNodes
from agentfs.volume.volume import Volume

_LOG = logging.getLogger(__name__)

_READY_SECONDS_MAX = 30.0
_ANSWERED_SECONDS_MAX = 5.0
_SPACES_SECONDS_MAX = 5.0
"""A mount says that it is there when its spaces are, or after this: a store that is away must not hold it up."""
_PREDECESSOR_SECONDS_MAX = 15.0

Report = Callable[[Message], None]


@dataclass(frozen=True, slots=True)
class MountPlan:
    settings: Settings
    agent_id: str
    mountpoint: str
    """A real path."""
    offline: bool


class Daemon:
    """One mount from start to end. `run` blocks until it is unmounted."""

    def __init__(self, plan: MountPlan, *, report: Report, clock: Clock | None = None) -> None:
        self._plan = plan
        self._report = report
        self._clock = clock or SystemClock()
        self._mount: FuseMount | None = None
        self._spaces: MountedSpaces | None = None
        self._finished = threading.Event()
        self._left = Pending(0, 0, None)
        self._progress: Callable[[Pending], None] | None = None
        self._timeout_seconds: float | None = None
        self._ending = threading.Lock()

    def run(self) -> Pending:
        """Mount, serve, push, leave. Returns what is still only on this machine.

        Raises `AgentFSError` when it cannot be mounted."""
        _allow_descriptors()
        plan = self._plan
        state_dir = plan.settings.state_dir
        os.makedirs(os.path.join(state_dir, "mounts"), mode=0o700, exist_ok=True)
        lock_path = mount_file(state_dir, plan.mountpoint, "lock")
        lock = self._locked(lock_path)
        try:
            self._with_volume()
            return self._left
        finally:
            lock.release()

    def _locked(self, path: str) -> LockFile:
        """One process a mountpoint. One that has just been unmounted is waited for: it is pushing."""
        deadline = self._clock.monotonic() + _PREDECESSOR_SECONDS_MAX
        while True:
            lock = LockFile.acquire(path)
            if lock is not None:
                return lock
            place = os.fsencode(self._plan.mountpoint)
            if device.mounted_at(place) is not None or self._clock.monotonic() > deadline:
                raise MountFailed(
                    f"{self._plan.mountpoint} is already being served by process {holder(path)}: unmount it first"
                )
            self._clock.wait(threading.Event(), 0.05)

    def _with_volume(self) -> None:
        plan = self._plan
        device.prepare_mountpoint(plan.mountpoint)  # before the store is asked: most refusals are found here
        volume = Volume.open(
            plan.settings,
            plan.agent_id,
            session_kind="mount",
            engine="process",
            mountpoint=os.fsencode(plan.mountpoint),
            offline=plan.offline,
            clock=self._clock,
        )
        spaces = MountedSpaces(plan.settings, volume, plan.mountpoint, clock=self._clock)
        try:
            mount = FuseMount(
                volume.tree,
                plan.mountpoint,
                fuse_options(plan.settings),
                journal_end=volume.replica.journal_end,
                backing_directory=os.path.join(volume.directory, "files"),
                hold_back=spaces.hold_back,
                shared_locks=SharedLocks(volume),
                virtual=VirtualNodes(volume, spaces=spaces.memories, ends=spaces.journal_ends),
                clock=self._clock,
            )
        except BaseException:
            volume.close()
            raise
        self._mount = mount
        self._spaces = spaces
        self._serve(volume, mount, spaces)

    def _serve(self, volume: Volume, mount: FuseMount, spaces: MountedSpaces) -> None:
        plan = self._plan
        state_dir = plan.settings.state_dir
        if volume.problem:
            _LOG.warning("working from this machine's copy: %s", volume.problem)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        volume.on_news(mount.wake, own_changes=False)
        listener = Listener(mount_file(state_dir, plan.mountpoint, "sock"), self)
        write_record(state_dir, self._record(volume))
        threading.Thread(target=self._tell_ready, args=(mount, volume), name="ready", daemon=True).start()
        try:
            spaces.start(mount)
            mount.serve()
            _LOG.info("unmounted %s", plan.mountpoint)
        finally:
            seconds = plan.settings.timeout_seconds if self._timeout_seconds is None else self._timeout_seconds
            spaces.begin_close(timeout_seconds=self._timeout_seconds)
            left = volume.close(timeout_seconds=self._timeout_seconds, progress=self._say_left)
            self._left = together(left, spaces.end_close(seconds))
            self._forget_record(state_dir)
            self._finished.set()
            listener.drain(_ANSWERED_SECONDS_MAX)
            listener.close()

    def _record(self, volume: Volume) -> MountRecord:
        return MountRecord(
            mountpoint=self._plan.mountpoint,
            agent_id=self._plan.agent_id,
            store=redacted(self._plan.settings.store),
            replica=volume.directory,
            pid=os.getpid(),
            device=self._mount.device if self._mount is not None else "",
            started=process_stamp(os.getpid()) or "unknown",
            mounted_at_ns=self._clock.wall_ns(),
        )

    def _forget_record(self, state_dir: str) -> None:
        record = read_record(state_dir, self._plan.mountpoint)
        if record is not None and record.pid == os.getpid():
            remove_record(state_dir, self._plan.mountpoint)

    def _tell_ready(self, mount: FuseMount, volume: Volume) -> None:
        if self._clock.wait(mount.ready, _READY_SECONDS_MAX):
            if self._spaces is not None:
                self._spaces.await_first(_SPACES_SECONDS_MAX)
            _LOG.info("mounted %s at %s", self._plan.agent_id, self._plan.mountpoint)
            self._report({"mounted": True, "problem": volume.problem})
        else:
            self._report({"error": {"code": "mount-failed", "message": "the kernel did not answer in time"}})

    # ---- ending ----

    def _on_signal(self, number: int, _frame: object) -> None:
        _LOG.info("signal %d: unmounting", number)
        threading.Thread(target=self._unmount_for_signal, name="signal", daemon=True).start()

    def _unmount_for_signal(self) -> None:
        """Whoever still uses the directory keeps what is open; the name is gone at once."""
        assert self._mount is not None
        with self._ending, contextlib.suppress(NotMounted):
            try:
                self._mount.unmount()
            except MountFailed as error:
                _LOG.warning("%s; detaching it", error)
                self._mount.unmount(lazy=True)

    def answer(self, request: Message, progress: Callable[[Message], None]) -> Message:
        """The desk of the control socket: `status` and `unmount` (`seconds`, `lazy`)."""
        if request.get("do") == "status":
            spaces = self._spaces.facts() if self._spaces is not None else []
            return {"pid": os.getpid(), "mountpoint": self._plan.mountpoint, "spaces": spaces}
        if request.get("do") != "unmount":
            raise InvalidArgument(f"a mount does not know {request.get('do')!r}")
        assert self._mount is not None
        self._progress = lambda left: progress(left.as_message())
        seconds = request.get("seconds")
        self._timeout_seconds = float(seconds) if isinstance(seconds, int | float) else None
        with self._ending, contextlib.suppress(NotMounted):
            self._mount.unmount(lazy=bool(request.get("lazy")))
        self._finished.wait()
        return {"left": self._left.as_message()}

    def _say_left(self, left: Pending) -> None:
        if self._progress is not None:
            try:
                self._progress(left)
            except Gone:
                self._progress = None  # who asked went away; the push goes on


def _allow_descriptors() -> None:
    """Every open file of every user of the mount is a descriptor here: the usual 1024 are soon too few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def fuse_options(settings: Settings) -> FuseOptions:
    return FuseOptions(
        allow_other=settings.allow_other,
        read_only=settings.read_only,
        passthrough=settings.passthrough,
        owner=settings.owner,
        locks=bool(settings.shared_locks),
    )


def main() -> int:
    """Read the plan from standard input; report on standard output once; serve."""
    request = decode(sys.stdin.buffer.readline())
    plan = MountPlan(
        settings=settings_of_message(request["settings"]),
        agent_id=request["agent_id"],
        mountpoint=request["mountpoint"],
        offline=request["offline"],
    )
    log_to_file(mount_file(plan.settings.state_dir, plan.mountpoint, "log"), plan.settings.log_level)
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
    try:
        Daemon(plan, report=_report_once()).run()
    except AgentFSError as error:
        _LOG.error("%s", error)
        _write({"error": error_message(error)})
        return 1
    except Exception as error:  # noqa: BLE001 - the last line of defence: the log has the rest, the waiting command one line
        _LOG.exception("the mount failed")
        _write({"error": {"code": "error", "message": f"the mount failed ({type(error).__name__}): see its log"}})
        return 1
    return 0


def _report_once() -> Report:
    def report(message: Message) -> None:
        _write(message)
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, 1)
        os.close(null)

    return report


def _write(message: Message) -> None:
    with contextlib.suppress(OSError):  # nobody waits any more
        os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
