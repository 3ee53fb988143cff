"""Virtual nodes that are written to: a question, answered on the same handle, or facts of a file, taken in at close.

Such a handle goes past the kernel's pages (FOPEN_DIRECT_IO), so that each one has its own bytes: what was asked
through it, and what was answered. Offsets of writes mean nothing: what is written between two closes, or before a
read, is one message. An answer begins where the first read after the message begins, so that both a program that
goes on reading (`exec 3<>:recall; echo question >&3; cat <&3`) and one that goes back to the start get all of it.

A close that has nothing new to say does nothing: a shell closes a copy of its descriptor before it writes.
"""

import errno
import itertools
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agentfs.errors import Detached, FileTooBig, OtherVolume
from agentfs.fuse import wire
from agentfs.fuse.session import Handler, Request, Waits
from agentfs.fuse.wire import (
    BODY,
    FLUSH_IN,
    FOPEN_DIRECT_IO,
    FSYNC_IN,
    OPEN_IN,
    OPEN_OUT,
    READ_IN,
    RELEASE_IN,
    SETATTR_IN,
    WRITE_BYTES,
    WRITE_IN,
    WRITE_OUT,
)

MESSAGE_BYTES_MAX = 128 * 1024
_OURS = 1 << 62
"""Numbers of handles from here on are conversations'."""


@dataclass(frozen=True, slots=True)
class Talk:
    """What may be said to a node."""

    is_caller: Callable[[Request], bool]
    """Whether a request comes from whom the node was made for."""
    text: Callable[[], bytes]
    """What it says before anything was written to it. May wait."""
    ask: Callable[[str], bytes] | None = None
    """Question to answer. May wait."""
    accept: Callable[[str], None] | None = None
    """Does what a message says. May wait."""
    check: Callable[[str], None] | None = None
    """Refuses a whole line that can never be accepted (`InvalidArgument`). Does not wait."""

    @property
    def takes_writes(self) -> bool:
        return self.ask is not None or self.accept is not None


@dataclass(slots=True, eq=False)
class _Conversation:
    talk: Talk
    readable: bool
    lock: threading.Lock = field(default_factory=threading.Lock)
    message: bytearray = field(default_factory=bytearray)
    """What was written since the last answer, or the last close."""
    end: int = 0
    """Where the last write ended."""
    answer: bytes | None = None
    base: int | None = None
    """The offset at which the answer begins; None: where the next read does."""


class Conversations:
    """Around the handlers of the part that serves virtual nodes."""

    def __init__(self, talk_of: Callable[[int], Talk | None], *, told: Callable[[], None]) -> None:
        """`talk_of`: what may be said to a node, by its number; None: it is only read, by anybody who may.
        `told`: called after a change, so that the kernel has heard of it before the caller goes on. May wait."""
        self._talk_of = talk_of
        self._told = told
        self._numbers = itertools.count(_OURS)
        self._lock = threading.Lock()
        self._open: dict[int, _Conversation] = {}
        self._closed = False

    def close_if_idle(self) -> bool:
        """From now on none begins, if none goes on. Whether that is so."""
        with self._lock:
            self._closed = not self._open
            return self._closed

    def around(self, table: Mapping[int, Handler]) -> dict[int, Handler]:
        """`table` with what concerns conversations answered here."""

        def ours(opcode: int, number_of: Callable[[Request], int], answer: "_Answer") -> Handler:
            other = table[opcode]

            def handler(request: Request) -> bytes | int | None:
                number = number_of(request)
                return other(request) if number < _OURS else answer(request, self._of(number))

            return handler

        return {
            **table,
            wire.OPEN: self._opening(table[wire.OPEN]),
            wire.READ: ours(wire.READ, _first_of(READ_IN.unpack_from), self._read),
            wire.WRITE: ours(wire.WRITE, _first_of(WRITE_IN.unpack_from), self._write),
            wire.FLUSH: ours(wire.FLUSH, _first_of(FLUSH_IN.unpack_from), self._flush),
            wire.FSYNC: ours(wire.FSYNC, _first_of(FSYNC_IN.unpack_from), self._flush),
            wire.RELEASE: self._releasing(table[wire.RELEASE]),
            wire.SETATTR: self._setting(table[wire.SETATTR], table[wire.GETATTR]),
            wire.COPY_FILE_RANGE: _copy,
        }

    def _of(self, number: int) -> _Conversation:
        found = self._open.get(number)
        if found is None:
            raise Detached("this conversation is over")
        return found

    # ---- opening and closing ----

    def _opening(self, other: Handler) -> Handler:
        def opening(request: Request) -> bytes | int | None:
            talk = self._talk_of(request.node)
            if talk is not None and not talk.is_caller(request):
                # Somebody else's lookup came between this one's and its open: the kernel looks again.
                raise Detached("that was made for somebody else")
            flags, _ = OPEN_IN.unpack_from(request.data, BODY)
            access = flags & os.O_ACCMODE
            if talk is None or not talk.takes_writes or access == os.O_RDONLY:
                return other(request)
            with self._lock:
                if self._closed:
                    raise Detached("what was shown there is gone")
                number = next(self._numbers)
                self._open[number] = _Conversation(talk, access == os.O_RDWR)
            return OPEN_OUT.pack(number, FOPEN_DIRECT_IO, 0)

        return opening

    def unanswered(self, opcode: int, body: bytes) -> bool:
        """An OPEN that nobody received. Whether it was one of these."""
        if opcode != wire.OPEN:
            return False
        number = OPEN_OUT.unpack_from(body)[0]
        with self._lock:
            return self._open.pop(number, None) is not None

    def _releasing(self, other: Handler) -> Handler:
        def releasing(request: Request) -> bytes | int | None:
            with self._lock:
                self._open.pop(RELEASE_IN.unpack_from(request.data, BODY)[0], None)
            return other(request)  # locks may hang on any handle

        return releasing

    # ---- saying ----

    def _write(self, request: Request, conversation: _Conversation) -> bytes:
        _, offset, size, *_ = WRITE_IN.unpack_from(request.data, BODY)
        data = request.data[WRITE_BYTES : WRITE_BYTES + size]
        with conversation.lock:
            if len(conversation.message) + size > MESSAGE_BYTES_MAX:
                raise FileTooBig(f"at most {MESSAGE_BYTES_MAX} bytes can be said at once")
            message = conversation.message + data
            check = conversation.talk.check
            if check is not None and message.endswith(b"\n"):
                check(_text(message))  # a shell tells of a refused write, and not of a refused close
            conversation.message = message
            conversation.end = offset + size
            conversation.answer = conversation.base = None
        return WRITE_OUT.pack(size, 0)

    def _flush(self, _request: Request, conversation: _Conversation) -> bytes:
        if conversation.talk.accept is not None and conversation.message:
            raise Waits(lambda _again: self._accept(conversation))
        return b""

    def _accept(self, conversation: _Conversation) -> bytes:
        accept = conversation.talk.accept
        assert accept is not None
        with conversation.lock:
            message, conversation.message = bytes(conversation.message), bytearray()
        if message:
            accept(_text(message))
            self._told()
        return b""

    def _setting(self, other: Handler, attributes: Handler) -> Handler:
        """Truncating to nothing, by a handle: what programs do before they write. It says nothing by itself."""

        def setting(request: Request) -> bytes | int | None:
            valid, _, number, size, *_ = SETATTR_IN.unpack_from(request.data, BODY)
            emptied = valid & wire.FATTR_SIZE and not size and not valid & _OTHERS
            if not (emptied and valid & wire.FATTR_FH and number >= _OURS):
                return other(request)
            conversation = self._of(number)
            with conversation.lock:
                conversation.message.clear()
                conversation.answer = conversation.base = None
            return attributes(request)

        return setting

    # ---- hearing ----

    def _read(self, request: Request, conversation: _Conversation) -> bytes | int:
        _, offset, size, _ = READ_IN.unpack_from(request.data, BODY)
        if not conversation.readable:
            return errno.EBADF
        with conversation.lock:
            answer = conversation.answer
            if answer is not None:
                if conversation.base is None:
                    conversation.base = offset if offset == conversation.end else 0
                if offset < conversation.base:
                    conversation.base = 0
                start = offset - conversation.base
                return answer[start : start + size]
        raise Waits(lambda again: self._answer(again, conversation))

    def _answer(self, request: Request, conversation: _Conversation) -> bytes | int:
        talk = conversation.talk
        with conversation.lock:
            message = bytes(conversation.message)
        if message and talk.accept is not None:
            self._accept(conversation)
        answer = talk.ask(_text(message)) if message and talk.ask is not None else talk.text()
        with conversation.lock:
            if talk.ask is not None:
                del conversation.message[: len(message)]
            conversation.answer = answer
        return self._read(request, conversation)


_Answer = Callable[[Request, _Conversation], bytes | int]
_OTHERS = wire.FATTR_MODE | wire.FATTR_UID | wire.FATTR_GID


def _first_of(unpack: Callable[..., tuple[int, ...]]) -> Callable[[Request], int]:
    """The handle's number, with which the body begins."""
    return lambda request: unpack(request.data, BODY)[0]


def _text(message: bytes | bytearray) -> str:
    """Bytes that are not UTF-8 are replaced: these are words for people."""
    return message.decode(errors="replace")


def _copy(_request: Request) -> bytes:
    raise OtherVolume("between a virtual node and a file bytes are read and written")
