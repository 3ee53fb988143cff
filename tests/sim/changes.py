"""Changes of the tree that are one call, or a few without anything in between."""

import os
from collections import defaultdict

from machine import Machine
from oracle import Oracle
from programs import LOCKED
from texts import edited, kind_of, tokens

from agentfs.model.records import Kind

FILES = ["notes.md", "todo.txt", "log.jsonl", "plan", "data.json", "page.mdx", "b.bin", "a"]
DIRECTORIES = ["a", "b", "plan"]
RENAME_EXCHANGE = 2
_KINDS = ["mkdir", "rename", "rename", "unlink", "rmtree", "chmod", "link", "same", "move_directory", "symlink",
          "copy", "exchange", "big", "sync_file"]  # fmt: skip


class Changes:
    """The changes of one world."""

    def __init__(self, machine: Machine, oracle: Oracle, names: list[str]) -> None:
        self.machine = machine
        self.oracle = oracle
        self.random = machine.random
        self.names = names
        assert machine.node is not None
        self.node = machine.node
        self.files, self.directories = self._paths()

    def do(self) -> str:
        """One change. Returns what it was; raises what the tree raises."""
        what = self.random.choice(_KINDS)
        deed = getattr(self, f"_{what}")()
        return f"{what} {deed or ''}"

    def file(self) -> str:
        """A path to edit: mostly of a file that is there."""
        return self.random.choice(self.files) if self.files and self.random.random() < 0.8 else self.new_path()

    def new_path(self, names: list[str] | None = None) -> str:
        directory = self.random.choice(self.directories)
        name = self.random.choice(names or self.names)
        return f"{directory}/{name}" if directory else name

    def _paths(self) -> tuple[list[str], list[str]]:
        """With one query, as every change begins here. `Node.show`, which judges, reads directories as users do."""
        children: dict[int, list[tuple[str, int, Kind]]] = defaultdict(list)
        for parent, name, ino, kind in self.node.replica.connection.rows(
            "SELECT d.parent, d.name, i.ino, i.kind FROM dentry d JOIN inode i ON i.ino=d.ino"
        ):
            children[parent].append((os.fsdecode(name), ino, Kind(kind)))
        files, directories, work = [], [""], [(1, "")]
        while work:
            ino, prefix = work.pop()
            for name, child, kind in children[ino]:
                if kind is Kind.DIRECTORY:
                    directories.append(prefix + name)
                    work.append((child, f"{prefix}{name}/"))
                elif kind is Kind.FILE and name != LOCKED:
                    files.append(prefix + name)
        return sorted(files), sorted(directories)

    # ---- files ----

    def _alike(self, path: str) -> str:
        """Another place for a file of the same kind: what is merged with what depends on the name."""
        ending = path.rpartition("/")[2].partition(".")[2]
        return self.new_path([it for it in self.names if it.partition(".")[2] == ending] or ["c." + ending])

    def _rename(self) -> str | None:
        if not self.files:
            return None
        old = self.random.choice(self.files)
        new = self._alike(old)
        if old != new:
            self.machine.rename(self.oracle.deed(f"rename {old} {new}"), old, new)
        return f"{old} {new}"

    def _exchange(self) -> str | None:
        if not self.files:
            return None
        old = self.random.choice(self.files)
        alike = [it for it in self.files if kind_of(it) == kind_of(old)]
        new = self.random.choice(alike)
        self.machine.rename(self.oracle.deed(f"exchange {old} {new}"), old, new, RENAME_EXCHANGE)
        return f"{old} {new}"

    def _unlink(self, path: str | None = None) -> str | None:
        if not self.files:
            return None
        path = path or self.random.choice(self.files)
        deed = self.oracle.deed(f"unlink {path}")
        found = self.machine.shown_file(path)
        self.node.unlink(path)
        if found is not None:
            self.oracle.destroyed(deed, found[1])
            self.machine.unlinked(found[0])
        return path

    def _write(self, path: str, data: bytes, own: set[bytes], what: str) -> str:
        """Whole, in place, closed at once."""
        deed = self.oracle.deed(f"{what} {path}")
        found = self.machine.shown_file(path)
        self.oracle.wrote(data, kind_of(path))
        self.node.write(path, data)
        if found is not None:
            self.oracle.destroyed(deed, found[1], data)
        self.machine.kept |= self.oracle.acknowledge(deed, data, own, self.machine.name)
        return path

    def _same(self) -> str:
        """What several machines write alike."""
        return self._write(self.new_path(), b"the same everywhere\n", set(), "same")

    def _big(self) -> str:
        """In chunks, and not to be merged."""
        token = self.machine.fresh()
        return self._write(self.new_path(["b.bin"]), token + bytes(140_000), {token}, "big")

    def _copy(self) -> str | None:
        if not self.files:
            return None
        old = self.random.choice(self.files)
        data = self.node.read(old)
        self.oracle.copied |= tokens(data)
        new = self._alike(old)
        if self.random.random() < 0.5:
            own: set[bytes] = set()

            def fresh() -> bytes:
                token = self.machine.fresh()
                own.add(token)
                return token

            data = edited(data, kind_of(new), fresh, self.random)
            self._write(new, data, own, f"copy {old}")
        else:
            self._write(new, data, set(), f"copy {old}")
        return f"{old} {new}"

    def _sync_file(self) -> None:
        """Somebody asks for remote durability."""
        self.node.engine.push_until_clean(self.machine.clock.monotonic() + 2)

    # ---- the rest of the tree ----

    def _mkdir(self) -> str:
        path = self.new_path(DIRECTORIES)
        self.node.mkdir(path)
        return path

    def _move_directory(self) -> str | None:
        old, new = self.random.choice(self.directories), self.new_path(DIRECTORIES)
        if old and old != new:
            self.node.rename(old, new)
        return f"{old}/ {new}/"

    def _rmtree(self) -> str | None:
        top = self.random.choice(self.directories)
        if not top or self.random.random() < 0.5:
            return None
        for path in self.files:
            if path.startswith(top + "/"):
                self._unlink(path)
        inside = [it for it in self.directories if (it + "/").startswith(top + "/")]
        for path in sorted(inside, reverse=True):
            self.node.rmdir(path)
        return top

    def _chmod(self) -> str | None:
        paths = self.files + self.directories[1:]
        if not paths:
            return None
        path = self.random.choice(paths)
        self.node.chmod(path, self.random.choice([0o600, 0o644, 0o700, 0o755]))
        return path

    def _link(self) -> str | None:
        if not self.files:
            return None
        old = self.random.choice(self.files)
        new = self._alike(old)
        self.node.link(old, new)
        return f"{old} {new}"

    def _symlink(self) -> str:
        path = self.new_path(DIRECTORIES)
        self.node.symlink(path, self.random.choice([b"a", b"/tmp"]))
        return path
