"""Names that a tree does not have and that mean something all the same: `notes.md:history`, `notes.md@3`,
`@yesterday` (docs/virtual-nodes.md).

Asked only after the tree has said that there is no such name; so a real file always comes first. What a name leads
to is in a part of its own (`StillTree`). The kernel may not keep what such a name means, nor that it means nothing:
it asks at each use.
"""

import threading
from collections.abc import Callable

from agentfs.clock import Clock
from agentfs.errors import NotFound
from agentfs.fuse.operations import Operations
from agentfs.fuse.session import Request, Waits
from agentfs.fuse.still_tree import StillTree
from agentfs.fuse.wire import BODY, ROOT_NODE
from agentfs.history.past import PastInode
from agentfs.model.records import Kind
from agentfs.tree.values import Attributes
from agentfs.volume.virtual import Asked, VirtualNodes, nothing_yet
from agentfs.volume.virtual_names import MomentName, WordName

_MEANT_SECONDS = 0.5
"""So long, and while nothing changes, a name means the node that it meant: for programs that ask for its size and
then open it by name."""
_MISSED_SECONDS = 2.0
"""So long no snapshot has a name that none had: asking costs a request to the store."""
_REMEMBERED_MAX = 256


class VirtualNames:
    """The virtual names of one tree. `find` is for the thread that answers the kernel; the rest may wait."""

    def __init__(self, nodes: VirtualNodes, tree: Operations, *, clock: Clock) -> None:
        self._nodes = nodes
        self._tree = tree
        self._clock = clock
        self.still = StillTree(children=nodes.children, opened=nodes.opened, statistics=tree.statistics)
        """What they lead to."""
        self._entry: Callable[[Attributes], bytes] | None = None
        self._lock = threading.Lock()
        self._meant: dict[tuple[int, bytes], tuple[int | None, float, tuple[int, int]]] = {}
        """(directory, name) → the number in `still` (None: nothing), until when it is believed, and the volume's
        state when it was asked."""

    def serve(self, entry: Callable[[Attributes], bytes]) -> None:
        """`still` is served: `entry` makes the kernel's entry of one of its inodes, counted as a reference."""
        self._entry = entry

    def may_mean(self, name: bytes) -> bool:
        """Whether a name has the shape of a virtual one."""
        return self._nodes.word_of(name) is not None or self._nodes.moment_of(name) is not None

    def find(self, directory: int, name: bytes) -> bytes | None:
        """The kernel's entry for a name that the tree does not have. None: it has not the shape of a virtual one, and
        the kernel may keep that. Raises `NotFound` (it means nothing just now), `Waits`."""
        word = self._nodes.word_of(name)
        moment = self._nodes.moment_of(name) if word is None else None
        if self._entry is None or (word is None and moment is None):
            return None
        if moment is not None and not moment.base and directory != ROOT_NODE:
            return None
        known = self._remembered(directory, name)
        if known is not None:
            return known
        if word is not None:
            return self._word(directory, name, word)
        assert moment is not None
        return self._moment(directory, moment)

    # ---- what was just asked ----

    def _remembered(self, directory: int, name: bytes) -> bytes | None:
        found = self._meant.get((directory, name))
        if found is None or self._clock.monotonic() >= found[1] or self._nodes.state() != found[2]:
            return None
        if found[0] is None:
            raise NotFound("no snapshot has this name")
        return self._answer(found[0]) if self.still.is_there(found[0]) else None

    def _remember(self, directory: int, name: bytes, ino: int | None, seconds: float, state: tuple[int, int]) -> None:
        """`state` is the volume's before it was asked."""
        with self._lock:
            while len(self._meant) >= _REMEMBERED_MAX:
                del self._meant[next(iter(self._meant))]
            self._meant.pop((directory, name), None)
            self._meant[(directory, name)] = (ino, self._clock.monotonic() + seconds, state)

    def _answer(self, ino: int) -> bytes:
        assert self._entry is not None
        return self._entry(self.still.known(ino))

    # ---- words ----

    def _word(self, directory: int, name: bytes, word: WordName) -> bytes:
        try:
            about = self._tree.lookup(directory, word.base) if word.base else self._tree.attributes(directory)
        except NotFound:
            if not self._nodes.words[word.word].of_deleted:
                raise
            raise Waits(lambda request: self._word_of_deleted(request, word)) from None
        asked = Asked(self._nodes.path_of(directory, word.base), about.kind is Kind.DIRECTORY)

        def make() -> bytes:
            try:
                return self._nodes.text(word.word, asked, word.query)
            except NotFound:
                return nothing_yet(asked.path)

        # The text is made when its size or bytes are asked for, not here: while a name is looked up, the kernel lets
        # nobody make or remove another one in the same directory.
        ino = self.still.add_text(self._text_like(about), make)
        self._remember(directory, name, ino, _MEANT_SECONDS, self._nodes.state())
        return self._answer(ino)

    def _word_of_deleted(self, request: Request, word: WordName) -> bytes:
        state = self._nodes.state()
        asked = Asked(self._nodes.path_of(request.node, word.base), is_directory=False)
        text = self._nodes.text(word.word, asked, word.query)
        ino = self.still.add_text(self._text_like(self._tree.attributes(request.node)), lambda: text)
        self.still.hydrate(ino)
        self._remember(request.node, _name_of(request), ino, _MEANT_SECONDS, state)
        return self._answer(ino)

    def _text_like(self, about: Attributes) -> PastInode:
        """Who may read what it says about is who may read it."""
        now = self._clock.wall_ns()
        return PastInode(0, Kind.FILE, about.mode & 0o444, about.uid, about.gid, now, now, now, 0, 0, b"", 1)

    # ---- moments ----

    def _moment(self, directory: int, wanted: MomentName) -> bytes:
        if wanted.base and not wanted.is_certain:
            self._tree.lookup(directory, wanted.base)  # any name with an @ in it may be meant for a snapshot's
        raise Waits(lambda request: self._later(request, wanted))

    def _later(self, request: Request, wanted: MomentName) -> bytes:
        directory, name, state = request.node, _name_of(request), self._nodes.state()
        try:
            if wanted.base:
                past, sequence = self._nodes.file_at(self._nodes.path_of(directory, wanted.base), wanted.moment)
                ino = self.still.add_file(past, sequence)
            else:
                root, sequence = self._nodes.tree_at(wanted.moment)
                ino = self.still.view(root, sequence)
        except NotFound:
            if not wanted.is_certain:
                self._remember(directory, name, None, _MISSED_SECONDS, state)
            raise
        self._remember(directory, name, ino, _MEANT_SECONDS, state)
        return self._answer(ino)


def _name_of(request: Request) -> bytes:
    return bytes(request.data[BODY : request.length - 1])
