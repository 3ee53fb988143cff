"""What the virtual nodes of a mounted volume say (docs/virtual-nodes.md): the words, and the past.

Texts, trees and bytes come from the engine, and asking for them may wait. These methods raise `NotFound` where there
is no such thing, and `Unavailable`, which is logged with its reason, where it cannot be told now.
"""

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agentfs.errors import AgentFSError, IndexOff, InvalidArgument, NotFound, ReadOnly, Unavailable
from agentfs.history.moments import Moment
from agentfs.history.past import PastInode
from agentfs.model.names import shown
from agentfs.volume.messages import Message
from agentfs.volume.past_messages import PAST_DIRECTORY, PAST_FILE, PAST_TREE, past_of
from agentfs.volume.virtual_memory import MemoryWords, Spaces, no_spaces
from agentfs.volume.virtual_names import MomentName, Query, WordName, parse_moment_name, parse_word
from agentfs.volume.virtual_texts import commit_line
from agentfs.volume.virtual_words import CHANGES, CONFLICTS, HISTORY, Asked, Who, Word
from agentfs.volume.volume import Volume

_LOG = logging.getLogger(__name__)

_COMMITS_SHOWN = 100
_PATHS_SHOWN = 5
_REFUSALS_KEPT = 20
_REFUSALS_SHOWN = 5
_FILE_TRIES = 3
"""A file of the engine's may be dropped to make room before it is opened."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What somebody asked for, or wrote, and did not get."""

    uid: int | None
    name: str
    reason: str


class VirtualNodes:
    """Safe from any thread."""

    def __init__(
        self, volume: Volume, *, spaces: Spaces = no_spaces, ends: Callable[[], Sequence[int]] = tuple
    ) -> None:
        """`spaces`: what is attached, which some words answer for, too; `ends`: where the journals of those end."""
        self._volume = volume
        self._ends = ends
        self._problem = ""
        """What was logged last."""
        self._refusals: deque[_Refusal] = deque(maxlen=_REFUSALS_KEPT)
        self._refused = 0
        """How often."""
        self._owner = (os.getuid(), os.getgid()) if volume.settings.owner == "me" else None
        self.words: dict[str, Word] = {
            "history": Word(
                self._history,
                "every version of a file; what changed lately in a directory",
                of_deleted=True,
                by_caller=True,
            ),
            "conflicts": Word(
                self._conflicts, "what met and could not be put together, and what to do about it", by_caller=True
            ),
            "help": Word(self._help, "this", by_caller=True),
            **MemoryWords(volume, spaces).words(),
        }

    # ---- names ----

    def word_of(self, name: bytes) -> WordName | None:
        """`name` as a word about something; None when it is not."""
        found = parse_word(name, self.words)
        if found is None or (found.query is not None and not self.words[found.word].takes_query):
            return None
        return found

    def moment_of(self, name: bytes) -> MomentName | None:
        """`name` as a file or the tree at a moment; None when it is not."""
        return parse_moment_name(name, now_ns=self._volume.clock.wall_ns())

    def who(self, uid: int, groups: Sequence[int]) -> Who:
        """Somebody who asks on this mount."""
        return Who(uid, tuple(groups), self._owner)

    def state(self) -> tuple[int, ...]:
        """Numbers that stay while nothing changes, here, in what is attached or in the log, and nobody was refused.
        Does not wait."""
        replica = self._volume.replica
        return replica.journal_end(), int(replica.state("head_sequence")), self._refused, *self._ends()

    def path_of(self, directory: int, name: bytes = b"") -> bytes:
        """The path of a name in a directory of the tree (or of the directory). Raises `NotFound`."""
        above = self._volume.replica.path_of(directory)
        if above is None:
            raise NotFound("the directory is gone")
        return b"/".join(part for part in (above, name) if part)

    # ---- words ----

    def text(self, word: str, asked: Asked, query: Query | None) -> bytes:
        """What `:word` says of a path. Also raises `InvalidArgument`, for what cannot be asked so; `:help` then tells
        who asked the reason."""
        name = b"%s:%s" % (asked.path, word.encode())
        with self._problems(name), self._refusing(name, asked):
            text = self.words[word].text(asked, query or Query())
        return text.encode("utf-8", "surrogateescape")

    def accept(self, word: str, asked: Asked, text: str) -> None:
        """Do what was written to `:word` of a file: on return it survives `kill -9`. What is raised, as what the
        program gets, is logged, and told by `:help` to who wrote."""
        accept = self.words[word].accept
        if accept is None:
            raise ReadOnly("nothing can be written there")
        with self._refusing(b"%s:%s" % (asked.path, word.encode()), asked):
            accept(asked, text)

    def check(self, word: str, asked: Asked, line: str) -> None:
        """Whether a whole line can be accepted, as far as that is known at once. As `accept`, but does not wait."""
        check = self.words[word].check
        if check is not None:
            with self._refusing(b"%s:%s" % (asked.path, word.encode()), asked):
                check(line)

    def _history(self, asked: Asked, _query: Query) -> str:
        if asked.is_directory:
            return self._lately(asked)
        return str(self._ask(HISTORY, path=os.fsdecode(asked.path), **_who(asked))["text"])

    def _lately(self, asked: Asked) -> str:
        path = asked.path
        found = self._ask(CHANGES, path=os.fsdecode(path), since_ns=0, **_who(asked))
        commits = found["commits"]
        lines = [f"# What changed lately in {shown(path) or '/'}", ""]
        lines += map(commit_line, map(_shortened, commits[:_COMMITS_SHOWN]))
        if not commits:
            lines.append("Nothing of it is in the log yet.")
        elif found["more"] or len(commits) > _COMMITS_SHOWN:
            lines.append(f"- … older ones: agentfs log --path {shown(path) or '/'}")
        return "\n".join(lines) + "\n"

    def _conflicts(self, asked: Asked, _query: Query) -> str:
        return str(self._ask(CONFLICTS, path=os.fsdecode(asked.path), **_who(asked))["text"])

    def _help(self, asked: Asked, _query: Query) -> str:
        lines = [
            "# Names that answer by being read",
            "",
            "They are in no listing, and a real file of such a name comes first.",
            "",
        ]
        width = max(len(word) for word in self.words) + 1
        lines += [f"- {':' + name:<{width}}  {word.help}" for name, word in sorted(self.words.items())]
        lines += [
            "",
            "Each in any directory (`:history`), and of one file or directory (`notes.md:history`).",
            "",
            "- notes.md@3  version 3 of a file, as notes.md:history numbers them; also notes.md@v3",
            "- notes.md@@1234  the file right after commit 1234",
            "- notes.md@yesterday  the file at the end of that day; also 2h, 3d, 2026-11-21T10:00, a snapshot's name",
            "- @yesterday/  at the root: the whole tree then, to read; also @1234 for a commit, and the others",
        ]
        assert asked.who is not None
        refused = [it for it in tuple(self._refusals) if it.uid == asked.who.uid][-_REFUSALS_SHOWN:]
        if refused:
            lines += ["", "What you were refused lately, the newest first:", ""]
            lines += [f"- {it.name}: {it.reason}" for it in reversed(refused)]
        return "\n".join(lines) + "\n"

    # ---- the past ----

    def file_at(self, path: bytes, moment: Moment) -> tuple[PastInode, int]:
        """What the file at `path` was, and right after which commit."""
        with self._problems(path), self._past():
            found = self._ask(PAST_FILE, path=os.fsdecode(path), moment=asdict(moment))
            return past_of(found["past"]), found["sequence"]

    def tree_at(self, moment: Moment) -> tuple[PastInode, int]:
        """The root of the whole tree at a moment, and right after which commit that was."""
        with self._problems(moment.text.encode(errors="replace")), self._past():
            found = self._ask(PAST_TREE, moment=asdict(moment))
            return past_of(found["past"]), found["sequence"]

    def children(self, inode: int, sequence: int) -> list[tuple[bytes, PastInode]]:
        """What was in a directory right after a commit, by name."""
        found: list[tuple[bytes, PastInode]] = []
        more = True
        with self._problems(b"a directory as it was"), self._past():
            while more:
                after = os.fsdecode(found[-1][0]) if found else ""
                page = self._ask(PAST_DIRECTORY, inode=inode, sequence=sequence, after=after)
                found += [(os.fsencode(name), past_of(row)) for name, row in page["rows"]]
                more = page["more"]
        return found

    def opened(self, inode: int, sequence: int) -> int:
        """A descriptor, for reading, of the bytes that a file had right after a commit. The caller closes it."""
        with self._problems(b"the bytes of a version"), self._past():
            for _ in range(_FILE_TRIES):
                path = self._ask("history-file", inode=inode, sequence=sequence)["file"]
                with contextlib.suppress(FileNotFoundError):
                    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            raise Unavailable("the bytes were dropped as fast as they were fetched")

    # ---- asking ----

    def _ask(self, word: str, **fields: Any) -> Message:
        return self._volume.link.request(word, timeout_seconds=self._volume.settings.timeout_seconds, **fields)

    @contextlib.contextmanager
    def _problems(self, what: bytes) -> Iterator[None]:
        """Turn what goes wrong into `NotFound` or `Unavailable`: programs get an errno, the log the reason."""
        try:
            yield
        except (NotFound, InvalidArgument):
            raise
        except IndexOff as error:  # by a setting: it is not broken
            self._log(what, error)
            raise
        except (AgentFSError, OSError) as error:
            self._log(what, error)
            raise Unavailable(str(error)) from error

    @contextlib.contextmanager
    def _past(self) -> Iterator[None]:
        """A moment that cannot be, such as a commit that is yet to come, is `NotFound`."""
        try:
            yield
        except InvalidArgument as error:
            raise NotFound(str(error)) from error

    @contextlib.contextmanager
    def _refusing(self, what: bytes, asked: Asked) -> Iterator[None]:
        """Remember why somebody is refused something: an errno is all that a program gets."""
        try:
            yield
        except (AgentFSError, OSError) as error:
            if not isinstance(error, NotFound):
                self._refusals.append(_Refusal(None if asked.who is None else asked.who.uid, shown(what), str(error)))
                self._refused += 1
                self._log(what, error)
            raise

    def _log(self, what: bytes, error: Exception) -> None:
        if str(error) != self._problem:  # programs try again and again
            self._problem = str(error)
            _LOG.warning("%s cannot be told: %s", shown(what), error)


def _who(asked: Asked) -> Message:
    assert asked.who is not None
    return asked.who.fields()


def _shortened(commit: Message) -> Message:
    """With the first changes alone, and how many there are."""
    changes = commit["changes"]
    counts = commit["counts"] or {"known": len(changes)}
    return {**commit, "changes": changes[:_PATHS_SHOWN], "counts": counts}


def nothing_yet(path: bytes) -> bytes:
    """What a word says of a path that is there and that no commit has yet."""
    return f"# {shown(path) or '/'}\n\nNothing of it is in the log yet.\n".encode()
