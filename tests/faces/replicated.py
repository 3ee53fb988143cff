"""A mount of a real replica, without an engine: what is here is all there is."""

import os

from loopback import options_of, parser, served

from agentfs.clock import SystemClock
from agentfs.fuse.mount import FuseMount
from agentfs.replica.replica import Replica
from agentfs.tree.tree import Tree


def main() -> None:
    arguments = parser().parse_args()
    os.umask(0)
    replica = Replica.open(
        arguments.directory, volume_kind="home", volume_id="test", session_kind="mount", clock=SystemClock()
    )
    tree = Tree(replica)
    mount = FuseMount(
        tree,
        arguments.mountpoint,
        options_of(arguments),
        journal_end=replica.journal_end,
        backing_directory=arguments.directory,
    )
    try:
        served(mount, arguments.profile)
    finally:
        tree.close()
        replica.close()


if __name__ == "__main__":
    main()
