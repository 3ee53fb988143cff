"""Settings: which source wins, what a bad value says, what a file edit keeps."""

import os
from pathlib import Path

import pytest

from agentfs.config.file import set_value, unset_value
from agentfs.config.settings import SETTINGS, Settings, load, redacted
from agentfs.config.values import about_size, seconds, shown_size, size
from agentfs.errors import ConfigInvalid


def loaded(
    tmp_path: Path, *, text: str | None = None, flags: dict[str, object] | None = None, **variables: str
) -> Settings:
    environment = {"HOME": "/home/ada", **variables}
    if text is not None:
        path = tmp_path / "config.toml"
        path.write_text(text, "utf-8")
        environment["AGENTFS_CONFIG"] = str(path)
    return load(flags, environment=environment)


def test_the_defaults_are_an_embedded_store(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings.store == "file:///home/ada/.local/share/agentfs/store"
    assert settings.state_dir == "/home/ada/.local/state/agentfs"
    assert settings.cache_size_bytes == 10 << 30
    assert settings.config_path == "/home/ada/.config/agentfs/config.toml"
    assert set(settings.origins.values()) == {"default"}


def test_xdg_directories_are_followed_and_relative_ones_ignored(tmp_path: Path) -> None:
    settings = loaded(tmp_path, XDG_DATA_HOME="/data", XDG_STATE_HOME="/state", XDG_CONFIG_HOME="relative")
    assert settings.store == "file:///data/agentfs/store"
    assert settings.state_dir == "/state/agentfs"
    assert settings.config_path == "/home/ada/.config/agentfs/config.toml"


def test_flags_win_over_environment_over_agent_table_over_default_table(tmp_path: Path) -> None:
    text = '[default]\nstore = "/a"\nagent_id = "bob"\ncache_size = "1GiB"\n[agents.bob]\nstore = "/b"\n'
    settings = loaded(tmp_path, text=text)
    assert (settings.store, settings.agent_id, settings.cache_size_bytes) == ("/b", "bob", 1 << 30)
    assert settings.origins["store"].endswith("config.toml [agents.bob]")
    assert settings.origins["cache_size"].endswith("config.toml [default]")
    settings = loaded(tmp_path, text=text, AGENTFS_STORE="/c")
    assert (settings.store, settings.origins["store"]) == ("/c", "environment AGENTFS_STORE")
    settings = loaded(tmp_path, text=text, flags={"store": "/d", "agent_id": None}, AGENTFS_STORE="/c")
    assert (settings.store, settings.origins["store"]) == ("/d", "flag --store")
    settings = loaded(tmp_path, text=text, flags={"agent_id": "eve"})
    assert settings.store == "/a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]\nstor = 1\n", "unknown setting 'stor'"),
        ("[defaults]\n", "unknown table"),
        ("store = 1\n", "unknown table"),
        ("default = 1\n", "must be a table"),
        ("[agents]\nbob = 1\n", "must be a table"),
        ("[default]\ncache_size = 'much'\n", "use a size such as"),
        ("[default]\ndurability = 'both'\n", "use local or remote"),
        ("[default]\nstate_dir = 'here'\n", "use an absolute path"),
        ("[default]\nallow_other = 'maybe'\n", "use true or false"),
        ("[agents.bob]\nagent_id = 'eve'\n", "unknown setting 'agent_id'"),
        ("[default\n", "not valid TOML"),
    ],
)
def test_a_bad_file_is_named_with_the_fix(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        loaded(tmp_path, text=text)
    assert said in str(caught.value)
    assert "config.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_variable_or_flag_names_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="environment AGENTFS_CACHE_SIZE: cache_size = '-3'"):
        loaded(tmp_path, AGENTFS_CACHE_SIZE="-3")
    with pytest.raises(ConfigInvalid, match="flag --cache-size"):
        loaded(tmp_path, flags={"cache_size": "x"})


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="no such configuration file"):
        load(environment={"HOME": "/h", "AGENTFS_CONFIG": str(tmp_path / "none.toml")})


def test_secrets_in_a_url_are_never_shown() -> None:
    assert redacted("s3://key:secret@bucket/x") == "s3://***@bucket/x"
    assert redacted("s3://bucket/x?secret_key=abc&region=eu") == "s3://bucket/x?secret_key=***&region=eu"
    assert redacted("/plain/path") == "/plain/path"


def test_sizes_and_durations() -> None:
    assert size("10GiB") == 10 << 30
    assert size("1.5k") == 1536
    assert size("2 GB") == 2 * 10**9
    assert size(7) == 7
    assert shown_size(10 << 30) == "10GiB"
    assert shown_size(1001) == "1001"
    assert about_size(1_500_000) == "1.4 MiB"
    assert seconds("5m") == 300
    assert seconds("250ms") == 0.25
    for bad in ("", "GiB", "1XB", "-1", "1e3", True, None, 10**30):
        with pytest.raises(ValueError, match="use a size"):
            size(bad)


def test_an_edit_keeps_comments_and_order(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('# mine\n[default]\nstore = "/a" # here\n\n[agents.bob] # bob\nread_only = true\n', "utf-8")
    set_value(str(path), "cache_size", "2GiB")
    set_value(str(path), "store", "/b", agent="bob")
    text = path.read_text("utf-8")
    assert text.startswith('# mine\n[default]\nstore = "/a" # here\n')
    assert "[agents.bob] # bob" in text
    settings = load({"agent_id": "bob"}, environment={"HOME": "/h", "AGENTFS_CONFIG": str(path)})
    assert (settings.cache_size_bytes, settings.store, settings.read_only) == (2 << 30, "/b", True)
    assert unset_value(str(path), "store", agent="bob")
    assert not unset_value(str(path), "store", agent="bob")
    assert load({"agent_id": "bob"}, environment={"HOME": "/h", "AGENTFS_CONFIG": str(path)}).store == "/a"


def test_a_new_file_is_private_and_an_agent_id_with_a_dot_works(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    set_value(str(path), "ignore", "*.tmp,*.o", agent="a.b")
    assert os.stat(path).st_mode & 0o777 == 0o600
    settings = load({"agent_id": "a.b"}, environment={"HOME": "/h", "AGENTFS_CONFIG": str(path)})
    assert settings.ignore == ("*.tmp", "*.o")


def test_a_refused_edit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[default]\n", "utf-8")
    for name, value in (("cache_size", "x"), ("nothing", "1")):
        with pytest.raises(ConfigInvalid):
            set_value(str(path), name, value)
    assert path.read_text("utf-8") == "[default]\n"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("embedder", "nosuch", "static, minilm, sentence-transformers:<model>, openai:<model> or off"),
        ("embedder", "", "static, minilm"),
        ("embedder", "openai", "openai:<model>"),
        ("embedder", "static:x", "static, minilm"),
        ("recall_half_life", "0", "1s or more"),
        ("recall_half_life", "1ms", "1s or more"),
        ("ignore", "*.{md,txt}", r"braces are no choice here .*a pattern for each"),
        ("index_ignore", "a,drafts/{a,b}/*", "braces"),
        ("shared_locks", "{a,b}", "braces"),
    ],
)
def test_what_can_only_be_a_mistake_is_not_set_and_stops_nothing_where_it_stands(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    with pytest.raises(ConfigInvalid, match=said):
        set_value(str(tmp_path / "config.toml"), name, value)
    assert not (tmp_path / "config.toml").exists()
    written = f'["{value}"]' if "{" in value else f'"{value}"'
    assert loaded(tmp_path, text=f"[default]\n{name} = {written}\n").origins[name].endswith("[default]")


@pytest.mark.parametrize("name", ["off", "minilm", "sentence-transformers:a/b", "openai:text-embedding-3-small"])
def test_an_embedder_is_set_before_it_is_installed(tmp_path: Path, name: str) -> None:
    assert set_value(str(tmp_path / "config.toml"), "embedder", name) == name


def test_every_setting_round_trips_through_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    samples = {"state_dir": "/s", "store": "/s", "agent_id": "bob", "ignore": "*.a,*.b"}
    for setting in SETTINGS:
        set_value(str(path), setting.name, samples.get(setting.name, setting.show(setting.default)))
    settings = load(environment={"HOME": "/h", "AGENTFS_CONFIG": str(path)})
    assert all(origin != "default" for origin in settings.origins.values())
    assert settings.cache_size_bytes == 10 << 30
