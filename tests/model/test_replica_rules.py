"""Names that leave the machine and names that do not, in any order of operations: after each, the replica's own rules
hold (`agentfs.replica.check`), and what a push would send is exactly the difference to what the log has.

The log is played: a push takes what is shown for committed, as the engine does when it settles one."""

import os
import shutil
import tempfile
from contextlib import suppress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agentfs.clock import SystemClock
from agentfs.errors import TreeError
from agentfs.replica.check import check
from agentfs.replica.detached import file_digest
from agentfs.replica.replica import ROOT, Replica
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Caller, Handle

# The last three are ignored: the file, the directory, and the path.
NAMES = st.sampled_from([b"a", b"b", b"x.swp", b"node_modules", b"index.lock", b".git"])
PATHS = st.lists(NAMES, min_size=1, max_size=3)
CALLER = Caller(0, 0)


class ReplicaRules(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.directory = tempfile.mkdtemp(prefix="replica-rules-", dir=memory)
        self.pushes = 0
        self.handles: list[Handle] = []
        self._open()

    def _open(self) -> None:
        self.replica = Replica.open(
            f"{self.directory}/replica", volume_kind="home", volume_id="me", session_kind="test", clock=SystemClock()
        )
        self.tree = Tree(self.replica)

    def find(self, path: list[bytes]) -> int:
        ino = ROOT
        for name in path:
            ino = self.tree.lookup(ino, name).ino
        return ino

    @rule(path=PATHS)
    def mkdir(self, path: list[bytes]) -> None:
        with suppress(TreeError):
            self.tree.mkdir(self.find(path[:-1]), path[-1], 0o755, CALLER)

    @rule(path=PATHS, keep=st.booleans(), direct=st.booleans())
    def write(self, path: list[bytes], keep: bool, direct: bool) -> None:
        with suppress(TreeError):
            flags = os.O_RDWR | os.O_CREAT
            handle = self.tree.create(self.find(path[:-1]), path[-1], 0o644, CALLER, flags, direct=direct)[1]
            os.pwrite(handle.fd, b"bytes", 0) if direct else self.tree.write(handle, 0, b"bytes")
            if keep:
                self.handles.append(handle)
            else:
                self.tree.flush(handle)
                self.tree.release(handle)

    @rule()
    def close_all(self) -> None:
        while self.handles:
            self.tree.release(self.handles.pop())

    @rule(path=PATHS, size=st.sampled_from([0, 3]))
    def truncate(self, path: list[bytes], size: int) -> None:
        with suppress(TreeError):
            self.tree.set_attributes(self.find(path), AttributeChange(size_bytes=size))

    @rule(path=PATHS)
    def set_xattr(self, path: list[bytes]) -> None:
        with suppress(TreeError):
            self.tree.set_xattr(self.find(path), b"user.a", b"value", 0)

    @rule(path=PATHS)
    def unlink(self, path: list[bytes]) -> None:
        with suppress(TreeError):
            self.tree.unlink(self.find(path[:-1]), path[-1])

    @rule(path=PATHS)
    def rmdir(self, path: list[bytes]) -> None:
        with suppress(TreeError):
            self.tree.rmdir(self.find(path[:-1]), path[-1])

    @rule(path=PATHS, new=PATHS)
    def link(self, path: list[bytes], new: list[bytes]) -> None:
        with suppress(TreeError):
            self.tree.link(self.find(path), self.find(new[:-1]), new[-1])

    @rule(path=PATHS, new=PATHS, flags=st.sampled_from([0, 0, 1, 2]))
    def rename(self, path: list[bytes], new: list[bytes], flags: int) -> None:
        with suppress(TreeError):
            self.tree.rename(self.find(path[:-1]), path[-1], self.find(new[:-1]), new[-1], flags)

    @rule()
    def reopen(self) -> None:
        self.close_all()
        self.tree.close()
        self.replica.close()
        self._open()

    @rule()
    def push(self) -> None:
        self.close_all()
        self.pushes += 1
        take_for_committed(self.replica, self.pushes)
        assert self.replica.connection.rows("SELECT * FROM dentry WHERE pending") == []

    @invariant()
    def rules_hold(self) -> None:
        assert check(self.replica) == []

    @invariant()
    def what_is_below_a_local_directory_is_local(self) -> None:
        rows = self.replica.connection.rows(
            "SELECT d.parent, d.name FROM dentry d JOIN inode p ON p.ino=d.parent WHERE p.local AND NOT d.local "
            "AND d.ino IS NOT NULL"
        )
        assert rows == []

    @invariant()
    def an_inode_is_local_when_all_its_names_are(self) -> None:
        rows = self.replica.connection.rows(
            "SELECT i.ino FROM inode i WHERE i.ino!=1 AND i.nlink>0 AND "
            "i.local=EXISTS (SELECT 1 FROM dentry d WHERE d.ino=i.ino AND d.local=0)"
        )
        assert rows == []

    def teardown(self) -> None:
        try:
            self.close_all()
            self.tree.close()
            assert check(self.replica) == []
            assert self.replica.connection.rows("SELECT ino FROM inode WHERE nlink=0 AND id IS NULL") == []
        finally:
            self.replica.close()
            shutil.rmtree(self.directory)


def take_for_committed(replica: Replica, push: int) -> None:
    """Make what the replica shows, but for what is local, what the log has."""
    with replica.transaction(session=0) as tx:
        sql = tx.sql
        sql.execute("DELETE FROM dentry WHERE ino IS NULL")
        sql.execute("UPDATE dentry SET base=CASE WHEN local THEN NULL ELSE ino END, pending=0")
        sql.execute("UPDATE inode SET pending=0")
        in_log = "EXISTS (SELECT 1 FROM dentry d WHERE d.base=inode.ino)"
        sql.execute(f"UPDATE inode SET id=NULL WHERE ino!=1 AND NOT {in_log}")
        sql.execute(f"UPDATE inode SET id=?<<24|ino WHERE id IS NULL AND {in_log}", (push,))
        sql.execute("DELETE FROM content")
        for ino, size_bytes in sql.rows("SELECT ino, size_bytes FROM inode WHERE kind=1 AND id IS NOT NULL"):
            sql.execute(
                "INSERT INTO content VALUES(?,?,?,?,0,NULL)", (ino, file_digest(replica.files, ino), size_bytes, push)
            )
        gone = [ino for (ino,) in sql.rows("SELECT ino FROM inode WHERE nlink=0") if tx.purge(ino)]
    for ino in gone:
        replica.files.remove(ino)


TestReplicaRules = ReplicaRules.TestCase
TestReplicaRules.settings = settings(
    max_examples=int(os.environ.get("AGENTFS_MODEL_EXAMPLES", "60")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
