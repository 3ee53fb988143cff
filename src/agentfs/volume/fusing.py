"""A word of the engine's desk: answers of several memories put together. A mount's process must not count tokens."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from agentfs.errors import InvalidArgument
from agentfs.volume import memory_words as words
from agentfs.volume.messages import Message

if TYPE_CHECKING:  # a mount's process never loads the engine
    from agentfs.sync.engine import Engine

FUSE = "recall-fused"


def answer_fused(_engine: "Engine", request: Message, progress: Callable[[Message], None]) -> Message:
    """`parts`: what several memories answered; `max_tokens`. One answer."""
    from agentfs.memory.packing import fused  # noqa: PLC0415 - counts tokens

    parts, max_tokens = request.get("parts"), request.get("max_tokens")
    if not isinstance(parts, list) or not isinstance(max_tokens, int):
        raise InvalidArgument("parts are a list, and max_tokens is a number")
    found = fused([words.recalled_of(part) for part in parts], max_tokens=max_tokens)
    return words.answered(words.message_of(found), progress)
