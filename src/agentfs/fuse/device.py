"""/dev/fuse: mounting, unmounting, and finding out what is mounted where.

As root by mount(2); otherwise `fusermount3` mounts for us and hands back the descriptor (SCM_RIGHTS over the
socket named by `_FUSE_COMMFD`).
"""

import array
import contextlib
import ctypes
import errno
import logging
import os
import shutil
import socket
import stat
import subprocess
from dataclasses import dataclass

from agentfs.errors import MountFailed, NotMounted
from agentfs.fuse.options import FuseOptions

DEVICE = "/dev/fuse"
READ_BYTES_MAX = 1024 * 1024
SOURCE = "agentfs"
FILE_SYSTEM_TYPE = "fuse.agentfs"

_MS_RDONLY = 1
_MS_NOSUID = 2
_MS_NODEV = 4
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_FUSERMOUNT_SECONDS_MAX = 20.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MountFacts:
    """One line of /proc/self/mountinfo."""

    mountpoint: bytes
    file_system: str
    source: bytes
    device: str
    """`major:minor`; for FUSE the minor names the connection in /sys/fs/fuse/connections."""


def mounts() -> list[MountFacts]:
    """Everything mounted in this mount namespace, oldest first. From the kernel's table, so no mount is touched."""
    found = []
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            fields, tail = before.split(), after.split()
            found.append(
                MountFacts(
                    mountpoint=_unescape(fields[4]),
                    file_system=tail[0].decode(),
                    source=_unescape(tail[1]),
                    device=fields[2].decode(),
                )
            )
    return found


def _unescape(field: bytes) -> bytes:
    """mountinfo writes space, tab, newline and backslash as three octal digits."""
    if b"\\" not in field:
        return field
    first, *rest = field.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def mounted_at(mountpoint: bytes) -> MountFacts | None:
    """The topmost mount exactly at `mountpoint` (an absolute path without symbolic links), if there is one."""
    return next((facts for facts in reversed(mounts()) if facts.mountpoint == mountpoint), None)


def place_of(number: str, mountpoint: bytes) -> bytes | None:
    """Where the living mount with this device number is: at `mountpoint`, or where a directory above it was moved to.
    None: nowhere. The kernel gives the number of a mount that has ended to the next one."""
    places = [it.mountpoint for it in mounts() if it.device == number and it.file_system == FILE_SYSTEM_TYPE]
    return mountpoint if mountpoint in places else next(iter(places), None)


def is_stale(mountpoint: bytes) -> bool:
    """Whether a FUSE mount stands there whose process is gone.

    By statfs: the kernel answers `stat` of a dead mount from its cache for as long as the attributes live.
    """
    try:
        os.statvfs(mountpoint)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def resolve(mountpoint: str | bytes) -> bytes:
    """The absolute path of a mountpoint, its parents' symbolic links followed. Works while it is a stale mount."""
    path = os.path.abspath(os.fsencode(mountpoint))
    parent, name = os.path.split(path)
    if os.path.islink(path):
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(parent), name) if name else path


def prepare_mountpoint(mountpoint: str | bytes) -> bytes:
    """Check that something can be mounted there and return its resolved path; a stale mount is cleared away.

    Raises `MountFailed` when it is missing, not a directory, not ours, or already a live AgentFS mount.
    """
    path = resolve(mountpoint)
    shown = os.fsdecode(path)
    if is_stale(path):
        log.warning("%s is a mount whose process has died: unmounting it", shown)
        unmount(path, lazy=True)
    facts = mounted_at(path)
    if facts is not None and facts.file_system == FILE_SYSTEM_TYPE:
        raise MountFailed(f"{shown} is already an AgentFS mount: run `agentfs unmount {shown}` first")
    try:
        info = os.stat(path)
        if not stat.S_ISDIR(info.st_mode):
            raise MountFailed(f"{shown} is not a directory: mount on a directory")
        if os.listdir(path):
            log.warning("%s is not empty: what is in it is hidden until the unmount", shown)
    except FileNotFoundError as error:
        raise MountFailed(f"{shown} does not exist: create it with `mkdir -p {shown}`") from error
    except PermissionError as error:
        raise MountFailed(f"{shown} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise MountFailed(f"{shown}: {error.strerror}") from error
    return path


def mount(mountpoint: bytes, options: FuseOptions) -> int:
    """Mount on a prepared mountpoint and return the connection's descriptor. Raises `MountFailed`."""
    if os.geteuid() == 0:
        return _mount_as_root(mountpoint, options)
    return _mount_by_helper(mountpoint, options)


def _mount_as_root(mountpoint: bytes, options: FuseOptions) -> int:
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MountFailed(
            f"{DEVICE}: {error.strerror}: load the module fuse, and allow the device in this container"
        ) from error
    mode = stat.S_IFDIR
    data = f"fd={fd},rootmode={mode:o},user_id={os.getuid()},group_id={os.getgid()}"
    data += f",default_permissions,max_read={READ_BYTES_MAX}"
    if options.allow_other:
        data += ",allow_other"
    flags = _MS_NOSUID | _MS_NODEV | (_MS_RDONLY if options.read_only else 0)
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.mount(SOURCE.encode(), mountpoint, FILE_SYSTEM_TYPE.encode(), ctypes.c_ulong(flags), data.encode())
    if result == 0:
        return fd
    number = ctypes.get_errno()
    os.close(fd)
    if number == errno.EPERM and shutil.which("fusermount3"):
        # Root of a user namespace without the right to mount here: the helper may have it.
        return _mount_by_helper(mountpoint, options)
    raise MountFailed(f"mounting on {os.fsdecode(mountpoint)} failed: {os.strerror(number)}")


def _mount_by_helper(mountpoint: bytes, options: FuseOptions) -> int:
    helper = shutil.which("fusermount3")
    if helper is None:
        raise MountFailed("fusermount3 is not installed: install the package fuse3, or mount as root")
    words = [
        f"fsname={SOURCE}",
        f"subtype={SOURCE}",
        "default_permissions",
        "nosuid",
        "nodev",
        f"max_read={READ_BYTES_MAX}",
    ]
    words.append("ro" if options.read_only else "rw")
    if options.allow_other:
        words.append("allow_other")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        done = subprocess.run(
            [helper, "-o", ",".join(words), "--", mountpoint],
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_FUSERMOUNT_SECONDS_MAX,
            check=False,
        )
        theirs.close()
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
            hint = " (add `user_allow_other` to /etc/fuse.conf)" if "user_allow_other" in said else ""
            raise MountFailed(f"mounting on {os.fsdecode(mountpoint)} failed: {said}{hint}")
        return _received_descriptor(ours)


def _received_descriptor(connection: socket.socket) -> int:
    numbers = array.array("i")
    _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(numbers.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: numbers.itemsize])
    if not numbers:
        raise MountFailed("fusermount3 mounted but sent no descriptor")
    os.set_inheritable(numbers[0], False)
    return numbers[0]


class Busy(MountFailed):
    """Somebody uses the directory, perhaps only for a moment."""


def unmount(mountpoint: bytes, *, lazy: bool = False) -> None:
    """Unmount. `lazy` detaches at once, whoever still uses it. Raises `NotMounted`, `Busy` and `MountFailed`.

    Not to be called from the thread that answers the kernel.
    """
    shown = os.fsdecode(mountpoint)
    if os.geteuid() == 0:
        number = _umount2(mountpoint, _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0))
        if number == 0:
            return
        if number == errno.EBUSY:
            raise Busy(f"{shown} is in use: leave it and close its files, or unmount with --force")
        if number in (errno.EINVAL, errno.ENOENT):
            raise NotMounted(f"{shown} is not mounted")
        if number != errno.EPERM:
            raise MountFailed(f"unmounting {shown} failed: {os.strerror(number)}")
    helper = shutil.which("fusermount3")
    if helper is None:
        raise MountFailed(f"unmounting {shown} needs root or fusermount3")
    done = subprocess.run(
        [helper, "-u", *(["-z"] if lazy else []), "--", mountpoint],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_FUSERMOUNT_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
        if "not found" in said or "not mounted" in said:
            raise NotMounted(f"{shown} is not mounted")
        raise (Busy if "busy" in said else MountFailed)(f"unmounting {shown} failed: {said}")


def _umount2(mountpoint: bytes, flags: int) -> int:
    """The errno, 0 for success."""
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.umount2(mountpoint, flags) == 0 else ctypes.get_errno()


def stack_depth(directory: str | bytes) -> int:
    """How deep file systems are stacked under backing files in `directory`: what passthrough has to be told.

    1 on an ordinary file system; 2 on overlayfs (a container's root), whose files are themselves backed by files.
    """
    device = os.stat(directory).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        if any(facts.device == name and facts.file_system == "overlay" for facts in mounts()):
            return 2
    return 1
