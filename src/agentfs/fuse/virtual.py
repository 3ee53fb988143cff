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
from agentfs.fuse.callers import groups_of
from agentfs.fuse.conversations import Conversations, Talk
from agentfs.fuse.operations import Operations
from agentfs.fuse.session import Request, Waits
from agentfs.fuse.still_tree import StillTree
from agentfs.fuse.wire import BODY, ROOT_NODE
from agentfs.history.past import PastInode
from agentfs.model.records import Kind
from agentfs.tree.values import Attributes
from agentfs.volume.virtual import VirtualNodes, nothing_yet
from agentfs.volume.virtual_names import MomentName, Query, WordName
from agentfs.volume.virtual_words import Asked, Who

_MEANT_SECONDS = 0.5
"""So long, and while nothing changes, a name means the node that it meant: for programs that ask for its size and
then open it by name."""
_MISSED_SECONDS = 2.0
"""So long no snapshot has a name that none had: asking costs a request to the store."""
_REMEMBERED_MAX = 256

_Key = tuple[int, bytes, Who | None]
"""Directory, name, and who asks, where that matters."""


class VirtualNames:
    """The virtual names of one tree. `find` is for the thread that answers the kernel; the rest may wait."""

    def __init__(self, nodes: VirtualNodes, tree: Operations, *, clock: Clock) -> None:
        self._nodes = nodes
        self._tree = tree
        self._clock = clock
        self.still = StillTree(children=nodes.children, opened=nodes.opened, statistics=tree.statistics)
        """What they lead to."""
        self.conversations = Conversations(self.still.talk_of, told=self._told)
        """With those of them that are written to."""
        self._entry: Callable[[Attributes], bytes] | None = None
        self._tell: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._meant: dict[_Key, tuple[int | None, float, tuple[int, ...]]] = {}
        """The number in `still` (None: nothing), until when it is believed, and the volume's state when it was
        asked."""

    def serve(self, entry: Callable[[Attributes], bytes], *, tell: Callable[[], None]) -> None:
        """`still` is served: `entry` makes the kernel's entry of one of its inodes, counted as a reference; `tell`
        tells the kernel of what others changed in the tree, and may wait."""
        self._entry, self._tell = entry, tell

    def _told(self) -> None:
        assert self._tell is not None
        self._tell()

    def may_mean(self, name: bytes) -> bool:
        """Whether a name has the shape of a virtual one."""
        return self._nodes.word_of(name) is not None or self._nodes.moment_of(name) is not None

    def find(self, request: Request, name: bytes) -> bytes | None:
        """The kernel's entry for a name that the tree does not have. None: it has not the shape of a virtual one, and
        the kernel may keep that. Raises `NotFound` (it means nothing just now), `Waits`."""
        directory = request.node
        word = self._nodes.word_of(name)
        moment = self._nodes.moment_of(name) if word is None else None
        if self._entry is None or (word is None and moment is None):
            return None
        if moment is not None and not moment.base and directory != ROOT_NODE:
            return None
        key = directory, name, self._who(request, word)
        known = self._remembered(key)
        if known is not None:
            return known
        if word is not None:
            return self._word(key, word)
        assert moment is not None
        return self._moment(directory, moment)

    def _who(self, request: Request, word: WordName | None) -> Who | None:
        """Who asks, where what is said depends on it: one must never be given what was made for another."""
        if word is None or not self._nodes.words[word.word].by_caller:
            return None
        return self._nodes.who(request.uid, groups_of(request))

    # ---- what was just asked ----

    def _remembered(self, key: _Key) -> bytes | None:
        found = self._meant.get(key)
        if found is None or self._clock.monotonic() >= found[1] or self._nodes.state() != found[2]:
            return None
        if found[0] is None:
            raise NotFound("no snapshot has this name")
        return self._answer(found[0]) if self.still.is_there(found[0]) else None

    def _remember(self, key: _Key, ino: int | None, seconds: float, state: tuple[int, ...]) -> None:
        """`state` is the volume's before it was asked."""
        with self._lock:
            while len(self._meant) >= _REMEMBERED_MAX:
                del self._meant[next(iter(self._meant))]
            self._meant.pop(key, None)
            self._meant[key] = (ino, self._clock.monotonic() + seconds, state)

    def _answer(self, ino: int) -> bytes:
        assert self._entry is not None
        return self._entry(self.still.known(ino))

    # ---- words ----

    def _word(self, key: _Key, word: WordName) -> bytes:
        directory, _, who = key
        spoken = self._nodes.words[word.word]
        try:
            about = self._tree.lookup(directory, word.base) if word.base else self._tree.attributes(directory)
        except NotFound:
            if not spoken.of_deleted:
                raise
            raise Waits(lambda request: self._word_of_deleted(request, key, word)) from None
        path = self._nodes.path_of(directory, word.base)
        asked = Asked(path, about.kind is Kind.DIRECTORY, about.ino, who)

        def make() -> bytes:
            try:
                return self._nodes.text(word.word, asked, word.query)
            except NotFound:
                if not spoken.of_deleted:
                    raise
                return nothing_yet(asked.path)

        # The text is made when its size or bytes are asked for, not here: while a name is looked up, the kernel lets
        # nobody make or remove another one in the same directory.
        ino = self.still.add_text(self._text_like(about, asked, word), make, self._talk(asked, word, make))
        self._remember(key, ino, _MEANT_SECONDS, self._nodes.state())
        return self._answer(ino)

    def _word_of_deleted(self, request: Request, key: _Key, word: WordName) -> bytes:
        state = self._nodes.state()
        asked = Asked(self._nodes.path_of(request.node, word.base), is_directory=False, who=key[2])
        text = self._nodes.text(word.word, asked, word.query)
        about = self._tree.attributes(request.node)
        ino = self.still.add_text(self._text_like(about, asked, word), lambda: text)
        self.still.hydrate(ino)
        self._remember(key, ino, _MEANT_SECONDS, state)
        return self._answer(ino)

    def _text_like(self, about: Attributes, asked: Asked, word: WordName) -> PastInode:
        """Who may read what it says about is who may read it, and who may ask; who may write that may write to it
        what changes it."""
        now = self._clock.wall_ns()
        spoken = self._nodes.words[word.word]
        mode = about.mode & 0o444
        if spoken.asks:
            mode |= mode >> 1
        elif spoken.takes_writes(asked):
            mode = about.mode & 0o666
        return PastInode(0, Kind.FILE, mode, about.uid, about.gid, now, now, now, 0, 0, b"", 1)

    def _talk(self, asked: Asked, word: WordName, make: Callable[[], bytes]) -> Talk | None:
        """None: it is only read, and is the same for everybody."""
        spoken, who, options = self._nodes.words[word.word], asked.who, (word.query or Query()).options
        if who is None and not spoken.takes_writes(asked):
            return None

        def is_caller(request: Request) -> bool:
            return who is None or self._nodes.who(request.uid, groups_of(request)) == who

        if spoken.asks:
            ask = lambda text: self._nodes.text(word.word, asked, Query(text.strip(), options))  # noqa: E731
            return Talk(is_caller, make, ask=ask)
        if spoken.takes_writes(asked):
            accept = lambda text: self._nodes.accept(word.word, asked, text)  # noqa: E731
            check = lambda line: self._nodes.check(word.word, asked, line)  # noqa: E731
            return Talk(is_caller, make, accept=accept, check=check)
        return Talk(is_caller, make)

    # ---- moments ----

    def _moment(self, directory: int, wanted: MomentName) -> bytes:
        if wanted.base and not wanted.is_certain:
            self._tree.lookup(directory, wanted.base)  # any name with an @ in it may be meant for a snapshot's
        raise Waits(lambda request: self._later(request, wanted))

    def _later(self, request: Request, wanted: MomentName) -> bytes:
        directory, state = request.node, self._nodes.state()
        key: _Key = directory, _name_of(request), None
        try:
            if wanted.base:
                past, sequence = self._nodes.file_at(self._nodes.path_of(directory, wanted.base), wanted.moment)
                ino = self.still.add_file(past, sequence)
            else:
                root, sequence = self._nodes.tree_at(wanted.moment)
                ino = self.still.view(root, sequence)
        except NotFound:
            if not wanted.is_certain:
                self._remember(key, None, _MISSED_SECONDS, state)
            raise
        self._remember(key, ino, _MEANT_SECONDS, state)
        return self._answer(ino)


def _name_of(request: Request) -> bytes:
    return bytes(request.data[BODY : request.length - 1])
