"""A mount, from its first to its last moment; and what this machine can do."""

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass

from agentfs.clock import Clock, SystemClock
from agentfs.errors import NotMounted
from agentfs.fuse import device, wire
from agentfs.fuse.operations import Operations
from agentfs.fuse.options import FuseOptions
from agentfs.fuse.parts import Parts
from agentfs.fuse.passthrough import Backings, kernel_version, privileged
from agentfs.fuse.points import HoldBack
from agentfs.fuse.session import Negotiated, Session
from agentfs.volume.locks import SharedLocks
from agentfs.volume.virtual import VirtualNodes

_STOP_SECONDS_MAX = 5.0
_BUSY_SECONDS_MAX = 1.0
_BUSY_LOOK_SECONDS = 0.02
_PASSTHROUGH_SINCE = (6, 9)

log = logging.getLogger(__name__)


class FuseMount:
    """`tree` at `mountpoint`. Making one mounts; `serve` answers until the unmount; then it is spent.

    The tree, and those of other parts, stay the caller's to close, after `serve` has returned.
    """

    def __init__(
        self,
        tree: Operations,
        mountpoint: str | bytes,
        options: FuseOptions | None = None,
        *,
        journal_end: Callable[[], int] = lambda: 0,
        backing_directory: str | None = None,
        hold_back: HoldBack | None = None,
        shared_locks: SharedLocks | None = None,
        virtual: VirtualNodes | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Raises `MountFailed`. A stale mount at `mountpoint` is cleared away first.

        `journal_end`: the number of the newest journal row (`Replica.journal_end`). What others write after this
        moment is told to the kernel.
        `backing_directory`: where backing files lie; without it passthrough assumes an ordinary file system.
        `hold_back`, `shared_locks`, `virtual`: see `Parts.add`.
        """
        options = options or FuseOptions()
        clock = self._clock = clock or SystemClock()
        self._never = threading.Event()
        depth = 0
        if options.passthrough == "auto" and privileged():
            depth = device.stack_depth(backing_directory) if backing_directory else 1
        self.mountpoint = device.prepare_mountpoint(mountpoint)
        self._fd = device.mount(self.mountpoint, options)
        facts = device.mounted_at(self.mountpoint)
        self.device = "" if facts is None else facts.device
        """`major:minor`: what it is known by wherever the directory is moved, until it has ended."""
        self._ended = False
        self._backings = Backings(self._fd)
        self.parts = Parts(self._fd, options, clock=clock, backings=self._backings)
        """`tree` is part 0; others may be added and removed while it is mounted."""
        self.parts.add(tree, journal_end=journal_end, hold_back=hold_back, shared_locks=shared_locks, virtual=virtual)
        self.session = Session(
            self._fd, self.parts, passthrough_depth=depth, workers=options.workers, locks=options.locks
        )
        self.session.on_ready.append(self._on_ready)
        self.ready = threading.Event()
        """Set once the kernel and we agree: from then on the directory is in use."""

    def _on_ready(self, negotiated: Negotiated) -> None:
        self._backings.available = negotiated.passthrough
        self.parts.begin(entry_flags=wire.EXPIRE_ONLY if negotiated.flags & wire.INIT_HAS_EXPIRE_ONLY else 0)
        self.ready.set()

    def serve(self) -> None:
        """Answer the kernel on this thread until the file system is unmounted, by whomever."""
        try:
            self.session.serve()
        finally:
            self._finish()

    def _finish(self) -> None:
        self._ended = True
        facts = device.mounted_at(self.mountpoint)
        if facts is not None and facts.device == self.device:
            # The conversation ended without an unmount (aborted, interrupted): leave no dead mount behind.
            with contextlib.suppress(NotMounted):
                device.unmount(self.mountpoint, lazy=True)
        if self.parts.end(_STOP_SECONDS_MAX):
            os.close(self._fd)
        else:
            log.error("a notification is stuck in the kernel; its descriptor stays open")

    def unmount(self, *, lazy: bool = False) -> None:
        """Ask the kernel to unmount, wherever the directory was moved; `serve` then returns. From any thread but the
        one in `serve`.

        Raises `MountFailed` when the directory is in use and `lazy` is not set. A use that ends within a second (a
        `df`, our own engine that copies a database) is waited for.
        """
        deadline = self._clock.monotonic() + _BUSY_SECONDS_MAX
        while True:
            try:
                # Once it has ended, the number may be another mount's.
                moved = None if self._ended else device.place_of(self.device, self.mountpoint)
                device.unmount(moved or self.mountpoint, lazy=lazy)
            except device.Busy:
                if self._clock.monotonic() >= deadline:
                    raise
                self._clock.wait(self._never, _BUSY_LOOK_SECONDS)
            else:
                return

    def wake(self) -> None:
        """The journal may have rows of others. From any thread."""
        self.parts.wake()


@dataclass(frozen=True, slots=True)
class FuseFacts:
    """What `agentfs doctor` says about mounting here."""

    device: bool
    """/dev/fuse is there and may be opened."""
    helper: str | None
    """Path of fusermount3, needed by users other than root."""
    root: bool
    kernel: tuple[int, int]
    passthrough: bool
    """Kernel passthrough can be had (it is asked for at each mount and works without)."""
    usable: bool
    problem: str | None
    """What to do about it when it is not usable; one line."""


def fuse_available() -> FuseFacts:
    root = os.geteuid() == 0
    helper = shutil.which("fusermount3")
    there = os.path.exists(device.DEVICE)
    opened = os.access(device.DEVICE, os.R_OK | os.W_OK)
    kernel = kernel_version()
    problem = None
    if not there:
        problem = f"{device.DEVICE} is missing: load the module fuse, or give the container the device"
    elif not opened:
        problem = f"{device.DEVICE} may not be opened: allow the device for this container or user"
    elif not root and helper is None:
        problem = "fusermount3 is not installed: install the package fuse3, or mount as root"
    return FuseFacts(
        device=opened,
        helper=helper,
        root=root,
        kernel=kernel,
        passthrough=problem is None and kernel >= _PASSTHROUGH_SINCE and privileged(),
        usable=problem is None,
        problem=problem,
    )
