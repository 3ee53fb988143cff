"""What it takes to open an engine: passed between threads as it is, between processes as JSON. No secrets."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from agentfs.config.settings import Settings
from agentfs.format.layout import VolumeKind
from agentfs.volume.messages import Message


@dataclass(frozen=True, slots=True)
class EnginePlan:
    settings: Settings
    kind: VolumeKind
    volume_id: str
    directory: str
    """The replica's."""
    offline: bool
    """Start although the store cannot be reached and nothing was ever fetched from it."""
    prefetch: bool = True
    """Fetch contents in the background. A command that ends in a moment must not."""
    author: str = ""
    """The agent on whose behalf: commits and conflict copies bear its name. Empty: a home's own."""
    alone: bool = False
    """The engine has a process for itself: nobody else there wants the interpreter."""

    @property
    def agent(self) -> str:
        return self.author or self.volume_id

    def as_message(self) -> Message:
        return {
            "settings": settings_message(self.settings),
            "kind": self.kind,
            "volume_id": self.volume_id,
            "directory": self.directory,
            "offline": self.offline,
            "prefetch": self.prefetch,
            "author": self.author,
        }

    @classmethod
    def of_message(cls, message: Message) -> "EnginePlan":
        return cls(
            settings=settings_of_message(message["settings"]),
            kind=message["kind"],
            volume_id=message["volume_id"],
            directory=message["directory"],
            offline=message["offline"],
            prefetch=message["prefetch"],
            author=message["author"],
        )


def settings_message(settings: Settings) -> Message:
    return asdict(settings)


def settings_of_message(message: Message) -> Settings:
    """The reverse; JSON makes lists of tuples."""
    values: dict[str, Any] = {
        field.name: tuple(message[field.name]) if isinstance(message[field.name], list) else message[field.name]
        for field in fields(Settings)
    }
    return Settings(**values)
