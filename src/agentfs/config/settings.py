"""`load`: the settings of this run, from flags, environment, file and defaults (docs/configuration.md)."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from agentfs.config.values import (
    Parse,
    Value,
    check_embedder,
    check_globs,
    check_half_life,
    count,
    globs,
    money,
    one_of,
    path,
    path_if_any,
    policy,
    seconds,
    shown_seconds,
    shown_size,
    size,
    switch,
    text,
)
from agentfs.errors import ConfigInvalid

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be chosen: its name in the file, its variable, how it reads and what it means."""

    name: str
    field: str
    """The attribute of `Settings` that holds it."""
    default: Value
    parse: Parse
    environment: str
    meaning: str
    check: Callable[[Value], None] | None = None
    """What is refused when somebody sets it, and taken where a file or the environment has it: an old one must not
    stop every command. Raises `ValueError` as `parse` does."""

    def show(self, value: Value) -> str:
        """`value` as a person would write it; a store URL without anything that could be a secret."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, tuple):
            return ",".join(value)
        if self.parse is size:
            return shown_size(cast(int, value))
        if self.parse is seconds:
            return shown_seconds(cast(float, value))
        return redacted(str(value)) if self.name == "store" else str(value)


SETTINGS: tuple[Setting, ...] = (
    Setting("store", "store", "", text, "AGENTFS_STORE",
            "where homes are kept: s3://bucket/prefix, gs://, az://, file:///dir or an absolute path"),
    Setting("agent_id", "agent_id", "", text, "AGENTFS_AGENT_ID",
            "whose home it is, where a command is not told by --agent-id"),
    Setting("state_dir", "state_dir", "", path, "AGENTFS_STATE_DIR",
            "this machine's replicas, logs and control sockets; keep it on a local disk"),
    Setting("cache_size", "cache_size_bytes", 10 * _GIB, size, "AGENTFS_CACHE_SIZE",
            "disk space for bytes that are also in the store; least recently used go first, changes that are not yet "
            "in the store never"),
    Setting("durability", "durability", "local", one_of("local", "remote"), "AGENTFS_DURABILITY",
            "what fsync on a mount waits for: this machine's disk, or the store"),
    Setting("timeout", "timeout_seconds", 60.0, seconds, "AGENTFS_TIMEOUT",
            "how long sync, unmount and remote-durable calls wait for the store"),
    Setting("pending_limit", "pending_limit_seconds", 600.0, seconds, "AGENTFS_PENDING_LIMIT",
            "how long a change may wait for the store before the log and status say so loudly"),
    Setting("retention", "retention", "all", policy, "AGENTFS_RETENTION",
            "what a home keeps of its history: all, 30d, '10 versions' or both; becomes the home's policy when it "
            "has none, and widens one that keeps less (agentfs retention sets it for every machine)"),
    Setting("conflict_markers", "conflict_markers", False, switch, "AGENTFS_CONFLICT_MARKERS",
            "put markers, as git does, around lines of text that two changed at the same time; else both versions "
            "stand one after the other"),
    Setting("ignore", "ignore", (), globs, "AGENTFS_IGNORE",
            "patterns of names that stay on this machine, besides the built-in ones", check_globs),
    Setting("shared_locks", "shared_locks", (), globs, "AGENTFS_SHARED_LOCKS",
            "patterns of files whose locks (flock, fcntl) hold across machines", check_globs),
    Setting("lock_ttl", "lock_ttl_seconds", 30.0, seconds, "AGENTFS_LOCK_TTL",
            "how long a machine that holds a lock may give no sign of life before others take it over"),
    Setting("index", "index", True, switch, "AGENTFS_INDEX",
            "keep an index on this machine, for search, recall and the end of memories that expire"),
    Setting("index_ignore", "index_ignore", (), globs, "AGENTFS_INDEX_IGNORE",
            "patterns of files that are kept, and not found by search and recall", check_globs),
    Setting("index_carry", "index_carry", "auto", one_of("auto", "on", "off"), "AGENTFS_INDEX_CARRY",
            "put this machine's index on the store, at most once a day as a rule, so that a new machine takes it "
            "instead of making its own (docs/memory.md); auto: from 2000 documents on; on: always; off: neither put "
            "nor take one"),
    Setting("embedder", "embedder", "static", text, "AGENTFS_EMBEDDER",
            "what makes vectors of passages (docs/search.md): static (needs no network), minilm, "
            "sentence-transformers:<model>, openai:<model>; off leaves it to words", check_embedder),
    Setting("embedder_url", "embedder_url", "", text, "AGENTFS_EMBEDDER_URL",
            "where an embedder openai:<model> is, as https://host/v1; the key comes from the environment"),
    Setting("recall_half_life", "recall_half_life_seconds", 30 * 86400.0, seconds, "AGENTFS_RECALL_HALF_LIFE",
            "after how long a memory counts half as recent", check_half_life),
    Setting("view", "view", "on", one_of("on", "lazy", "off"), "AGENTFS_VIEW",
            "write files as objects that anyone can read (docs/view.md): on writes them at once, lazy a few minutes "
            "later, off leaves it to other machines; agentfs view sets it for a home"),
    Setting("view_look", "view_look_seconds", 300.0, seconds, "AGENTFS_VIEW_LOOK",
            "how often the machine that keeps the view looks for what other tools did in the bucket (a listing for "
            "each thousand objects); 0: never by itself"),
    Setting("prices", "prices", "", path_if_any, "AGENTFS_PRICES",
            "a price table of your own (docs/usage.md); else prices.toml beside the configuration file counts, where "
            "there is one"),
    Setting("provider", "provider", "auto", text, "AGENTFS_PROVIDER",
            "whose prices count: auto (by the store's address), or a name of the price table"),
    Setting("budget_month", "budget_month", "", money, "AGENTFS_BUDGET_MONTH",
            "warn when a home or space costs more in a month, by what this machine knows: 5 or '5 USD'"),
    Setting("budget_requests_per_day", "budget_requests_per_day", 0, count, "AGENTFS_BUDGET_REQUESTS_PER_DAY",
            "warn when this machine sends more requests for a home or space in a day (UTC); 0: no budget"),
    Setting("passthrough", "passthrough", "auto", one_of("auto", "off"), "AGENTFS_PASSTHROUGH",
            "let the kernel read and write local files directly where it can"),
    Setting("allow_other", "allow_other", False, switch, "AGENTFS_ALLOW_OTHER",
            "let other users of this machine into a mount"),
    Setting("read_only", "read_only", False, switch, "AGENTFS_READ_ONLY", "mount without the right to write"),
    Setting("owner", "owner", "preserve", one_of("preserve", "me"), "AGENTFS_OWNER",
            "whose the files of a mount seem to be: as stored, or all the mounting user's"),
    Setting("log_level", "log_level", "info", one_of("debug", "info", "warning", "error"), "AGENTFS_LOG_LEVEL",
            "how much the mount's log says"),
)  # fmt: skip
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one run. Immutable; holds no secrets (those stay in the environment)."""

    store: str
    agent_id: str
    """Empty: none was given."""
    state_dir: str
    cache_size_bytes: int
    durability: Literal["local", "remote"]
    timeout_seconds: float
    pending_limit_seconds: float
    retention: str
    """See `model.retention`."""
    conflict_markers: bool
    ignore: tuple[str, ...]
    shared_locks: tuple[str, ...]
    lock_ttl_seconds: float
    index: bool
    index_ignore: tuple[str, ...]
    index_carry: Literal["auto", "on", "off"]
    embedder: str
    """See `memory.embedding`."""
    embedder_url: str
    recall_half_life_seconds: float
    view: Literal["on", "lazy", "off"]
    view_look_seconds: float
    prices: str
    """Empty: beside the configuration file."""
    provider: str
    budget_month: str
    """Empty: none."""
    budget_requests_per_day: int
    """0: none."""
    passthrough: Literal["auto", "off"]
    allow_other: bool
    read_only: bool
    owner: Literal["preserve", "me"]
    log_level: Literal["debug", "info", "warning", "error"]
    config_path: str
    """The file that was, or would be, read."""
    origins: Mapping[str, str]
    """By the setting's name: `flag --store`, `environment AGENTFS_STORE`, `<file> [default]` or `default`."""

    def value(self, name: str) -> Value:
        return cast(Value, getattr(self, BY_NAME[name].field))


def load(
    flags: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    config_path: str | None = None,
) -> Settings:
    """The settings. `flags` are by setting name; None in it means not given.

    Raises `ConfigInvalid`, which names the source of a bad value and what to write instead. A missing file is no
    error unless it was named by `config_path` or AGENTFS_CONFIG.
    """
    environment = os.environ if environment is None else environment
    flags = {name: value for name, value in (flags or {}).items() if value is not None}
    where = config_path or environment.get("AGENTFS_CONFIG") or default_config_path(environment)
    named = bool(config_path or environment.get("AGENTFS_CONFIG"))
    tables = read_tables(where, must_exist=named)
    sources = _Sources(flags, environment, tables, where)
    agent_id, agent_origin = sources.find(BY_NAME["agent_id"], agent="")
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        value, origin = sources.find(setting, agent=cast(str, agent_id))
        values[setting.field], origins[setting.name] = value, origin
    values["agent_id"], origins["agent_id"] = agent_id, agent_origin
    values["store"] = values["store"] or "file://" + os.path.join(_data_home(environment), "agentfs", "store")
    state_dir = values["state_dir"] or os.path.join(_state_home(environment), "agentfs")
    values["state_dir"] = os.path.normpath(_expanded(state_dir, environment))
    values["prices"] = _expanded(values["prices"], environment)
    return Settings(**values, config_path=where, origins=origins)


@dataclass(frozen=True, slots=True)
class _Sources:
    flags: Mapping[str, object]
    environment: Mapping[str, str]
    tables: Mapping[str, Mapping[str, object]]
    path: str

    def find(self, setting: Setting, *, agent: str) -> tuple[Value, str]:
        """The value that wins, and where it came from."""
        name = setting.name
        if name in self.flags:
            return _parsed(setting, self.flags[name], f"flag --{name.replace('_', '-')}")
        if self.environment.get(setting.environment):
            return _parsed(setting, self.environment[setting.environment], f"environment {setting.environment}")
        for title in (f"agents.{agent}" if agent else "", "default"):
            if name in self.tables.get(title, {}):
                return _parsed(setting, self.tables[title][name], f"{self.path} [{title}]")
        return setting.default, "default"


def _parsed(setting: Setting, value: object, origin: str) -> tuple[Value, str]:
    try:
        return setting.parse(value), origin
    except ValueError as error:
        shown = redacted(str(value)) if setting.name == "store" else repr(value)
        raise ConfigInvalid(f"{origin}: {setting.name} = {shown} is not valid: {error}") from None


def read_tables(path_: str, *, must_exist: bool) -> dict[str, dict[str, object]]:
    """The file's tables by title (`default`, `agents.<id>`). Raises `ConfigInvalid` with the line."""
    try:
        with open(path_, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        if must_exist:
            raise ConfigInvalid(f"{path_}: there is no such configuration file: make it with agentfs init") from None
        return {}
    except OSError as error:
        raise ConfigInvalid(f"{path_}: cannot be read ({error.strerror}): check its permissions") from None
    import tomllib  # noqa: PLC0415 - only where there is such a file

    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path_}: not valid TOML ({error}): correct it or remove it") from None
    return _checked_tables(path_, document)


def _checked_tables(path_: str, document: Mapping[str, object]) -> dict[str, dict[str, object]]:
    tables: dict[str, dict[str, object]] = {}
    for title, table in document.items():
        if title not in ("default", "agents"):
            raise ConfigInvalid(f"{path_}: unknown table [{title}]: use [default] or [agents.<agent-id>]")
        if not isinstance(table, dict):
            raise ConfigInvalid(f"{path_}: {title} must be a table: write [{title}]")
        if title == "default":
            tables["default"] = table
        else:
            tables |= {f"agents.{agent}": inner for agent, inner in table.items()}
    for title, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigInvalid(f"{path_}: {title} must be a table: write [{title}]")
        for name in table:
            if name not in BY_NAME or (title != "default" and name == "agent_id"):
                raise ConfigInvalid(f"{path_} [{title}]: unknown setting {name!r}: agentfs config lists them all")
    return tables


def redacted(url: str) -> str:
    """A URL without what may be a secret: user and password, and the values of options that we do not know."""
    head, mark, rest = url.partition("://")
    if not mark:
        return url
    place, question, query = rest.partition("?")
    host, slash, tail = place.partition("/")
    host = "***@" + host.rpartition("@")[2] if "@" in host else host
    shown = [
        part if part.split("=")[0] in _OPTIONS_SHOWN else part.split("=")[0] + "=***" for part in query.split("&")
    ]
    return head + mark + host + slash + tail + (question + "&".join(shown) if query else "")


_OPTIONS_SHOWN = frozenset({"endpoint", "region", "profile", "anonymous", "style", "account"})


def default_config_path(environment: Mapping[str, str]) -> str:
    base = environment.get("XDG_CONFIG_HOME", "")
    home = base if base.startswith("/") else os.path.join(_home(environment), ".config")
    return os.path.join(home, "agentfs", "config.toml")


def _data_home(environment: Mapping[str, str]) -> str:
    base = environment.get("XDG_DATA_HOME", "")
    return base if base.startswith("/") else os.path.join(_home(environment), ".local", "share")


def _state_home(environment: Mapping[str, str]) -> str:
    base = environment.get("XDG_STATE_HOME", "")
    return base if base.startswith("/") else os.path.join(_home(environment), ".local", "state")


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")


def _expanded(path_: str, environment: Mapping[str, str]) -> str:
    return _home(environment) + path_[1:] if path_ == "~" or path_.startswith("~/") else path_
