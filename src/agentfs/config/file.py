"""Editing the configuration file: comments and order are kept, a write is whole or not at all."""

import os

import tomlkit
from tomlkit.items import Table

from agentfs.config.settings import BY_NAME, read_tables
from agentfs.config.values import Value
from agentfs.errors import ConfigInvalid


def set_value(path: str, name: str, text: str, *, agent: str = "") -> Value:
    """Set one setting in `[default]`, or in the agent's table. Returns the parsed value; durable on return.

    Raises `ConfigInvalid`; the file is then as it was.
    """
    setting = BY_NAME.get(name)
    if setting is None:
        raise ConfigInvalid(f"unknown setting {name!r}: agentfs config lists them all")
    if agent and name == "agent_id":
        raise ConfigInvalid("agent_id belongs in [default]: leave --agent-id out")
    try:
        value = setting.parse(text)
        if setting.check is not None:
            setting.check(value)
    except ValueError as error:
        raise ConfigInvalid(f"{name} = {text!r} is not valid: {error}") from None
    document = _document(path)
    table = _table(document, agent)
    written: object = list(value) if isinstance(value, tuple) else value
    table[name] = text.strip() if isinstance(value, int | float) and not isinstance(value, bool) else written
    _write(path, tomlkit.dumps(document))
    return value


def unset_value(path: str, name: str, *, agent: str = "") -> bool:
    """Take one setting out. Returns whether it was there. Raises `ConfigInvalid`."""
    if name not in BY_NAME:
        raise ConfigInvalid(f"unknown setting {name!r}: agentfs config lists them all")
    document = _document(path)
    table = _table(document, agent)
    if name not in table:
        return False
    del table[name]
    _write(path, tomlkit.dumps(document))
    return True


def _document(path: str) -> tomlkit.TOMLDocument:
    read_tables(path, must_exist=False)  # refuses what is not ours to edit
    try:
        with open(path, encoding="utf-8") as file:
            return tomlkit.parse(file.read())
    except FileNotFoundError:
        document = tomlkit.document()
        document.add(tomlkit.comment("AgentFS: agentfs config lists every setting and where its value comes from."))
        return document


def _table(document: tomlkit.TOMLDocument, agent: str) -> Table:
    if not agent:
        if "default" not in document:
            document["default"] = tomlkit.table()
        return _as_table(document["default"])
    if "agents" not in document:
        document["agents"] = tomlkit.table(is_super_table=True)
    agents = _as_table(document["agents"])
    if agent not in agents:
        agents[agent] = tomlkit.table()
    return _as_table(agents[agent])


def _as_table(item: object) -> Table:
    if not isinstance(item, Table):
        raise ConfigInvalid("the configuration file uses inline tables: write [default] and [agents.<agent-id>]")
    return item


def _write(path: str, text: str) -> None:
    path = os.path.realpath(path)  # a linked dotfile stays a link
    new = f"{path}.new-{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
        os.rename(new, path)
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be written ({error.strerror}): check its directory") from None
