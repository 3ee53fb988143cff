"""Which version of a file each process has seen last: what it writes next, it writes from that.

A program reads a note, thinks for a minute, and writes the whole note anew. If another machine's edit arrived in
between, the program has not seen it, although the file it opens for writing has it: the base of what it writes is the
version that it read (`replica.past`). Programs are told apart by process: FUSE names the thread; which process that
belongs to is asked only where it matters. What is forgotten here, or ended with the mount, counts as not seen: then
the base is the version that the handle opened.
"""

import itertools

_FILES_MAX = 4096
_READERS_MAX = 32

ANONYMOUS = -1
"""A reader of whom nothing is known (another pid namespace)."""


class Seen:
    """Not synchronized: called under the tree's lock."""

    def __init__(self) -> None:
        self._files: dict[int, dict[int, int]] = {}

    def note(self, reader: int, ino: int, change: int) -> None:
        """Thread `reader` opened, or wrote, version `change` (`content_change`) of a file. 0 is this process."""
        readers = self._files.get(ino)
        if readers is None:
            if len(self._files) >= _FILES_MAX:
                for old in list(itertools.islice(self._files, _FILES_MAX // 4)):
                    del self._files[old]
            self._files[ino] = {reader: change}
            return
        if reader not in readers and len(readers) >= _READERS_MAX:
            del readers[next(iter(readers))]
        readers[reader] = change

    def before(self, reader: int, ino: int, change: int) -> int | None:
        """The version that the process of `reader` saw last, if it is an earlier one than `change`; else None."""
        readers = self._files.get(ino)
        if readers is None or reader == ANONYMOUS or all(seen >= change for seen in readers.values()):
            return None
        own = _process_of(reader)
        last = max(
            (seen for other, seen in readers.items() if other == reader or _process_of(other) == own), default=None
        )
        return last if last is not None and last < change else None


def _process_of(thread: int) -> int:
    """The process that a thread belongs to; the thread's own number where it is gone."""
    if thread <= 0:
        return thread
    try:
        with open(f"/proc/{thread}/status", "rb") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(b"Tgid:"))
    except (OSError, StopIteration):
        return thread
