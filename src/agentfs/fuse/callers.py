"""Who makes a request: the kernel says user, group and thread; the other groups are asked of /proc."""

from agentfs.fuse.session import Request


def groups_of(request: Request) -> tuple[int, ...]:
    """All groups of the thread that made a request, sorted. One that cannot be seen from here (it was killed, or
    lives in another pid namespace) counts with its first group only."""
    groups = {request.gid}
    try:
        with open(f"/proc/{request.pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"Groups:"):
                    groups.update(map(int, line.split()[1:]))
                    break
    except OSError:
        pass
    return tuple(sorted(groups))
