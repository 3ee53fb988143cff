"""From a URL to settings: what is read where, what is refused, and that no secret gets out."""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from agentfs.errors import StoreDenied, StoreUnavailable, StoreURLInvalid
from agentfs.stores import s3_listing
from agentfs.stores.aws import s3_settings
from agentfs.stores.local import LocalStore
from agentfs.stores.open import open_store, parse_store_url
from agentfs.stores.retrying import RetryPolicy

KEY = {"AWS_ACCESS_KEY_ID": "AKIAKEY", "AWS_SECRET_ACCESS_KEY": "very-secret"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/srv/agents", "file:///srv/agents"),
        ("~/agents", "file:///home/me/agents"),
        ("file:///srv/a%20b/", "file:///srv/a%20b"),
        ("file://localhost/srv", "file:///srv"),
        ("memory://x", "memory://x"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://b?region=eu-west-1&endpoint=https%3A%2F%2Fx.y", "s3://b?endpoint=https://x.y&region=eu-west-1"),
        ("gs://bucket/p", "gs://bucket/p"),
        ("az://container/p?account=me", "az://container/p?account=me"),
    ],
)
def test_urls_are_read_and_shown(url: str, shown: str) -> None:
    assert parse_store_url(url, {"HOME": "/home/me"}).shown == shown
    assert parse_store_url(shown).shown == shown


@pytest.mark.parametrize(
    "url",
    [
        *["", "relative/dir", "ftp://x", "s3://", "s3:///x", "s3://b/../c", "s3://b/a//c", "s3://b?unknown=1"],
        *["file://host/x", "file://relative", "memory://", "s3://key:secret@bucket/x", "s3://b?access_key=secret"],
        *["http://[::1", "s3://b?endpoint=example.com", "s3://b?style=odd", "s3://b?endpoint=http://u:secret@h/"],
        *["gs://b?endpoint=http://u:secret@h/", "az://c?endpoint=https://h/?sig=secret", "s3://b?profile=missing"],
    ],
)
def test_bad_urls_are_refused_without_repeating_secrets(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreURLInvalid) as caught:
        open_store(url, environment={**KEY, "HOME": str(tmp_path)})
    assert "secret" not in str(caught.value)


def test_secrets_do_not_show(tmp_path: Path) -> None:
    environment = {**KEY, "AWS_SESSION_TOKEN": "token-secret", "HOME": str(tmp_path)}
    store = open_store("s3://bucket/p", environment=environment)
    settings = s3_settings({}, environment, url="s3://bucket")
    assert settings.secret_key == "very-secret"
    assert "secret" not in repr(store) + store.url + repr(settings)


def test_a_directory_is_opened_by_path_or_url(tmp_path: Path) -> None:
    assert isinstance(open_store(str(tmp_path)), LocalStore)
    open_store(f"file://{tmp_path}").put("a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


# ---- S3 settings ----


def test_the_url_wins_over_the_environment_over_the_files(tmp_path: Path) -> None:
    write_files(tmp_path, config="[default]\nregion = file-1\nendpoint_url = http://file\n")
    environment = {"HOME": str(tmp_path), **KEY}
    assert (settings({}, environment).region, settings({}, environment).endpoint) == ("file-1", "http://file")
    environment |= {"AWS_DEFAULT_REGION": "env-2", "AWS_ENDPOINT_URL": "http://env"}
    assert (settings({}, environment).region, settings({}, environment).endpoint) == ("env-2", "http://env")
    environment |= {"AWS_REGION": "env-3", "AWS_ENDPOINT_URL_S3": "http://env-s3"}
    assert (settings({}, environment).region, settings({}, environment).endpoint) == ("env-3", "http://env-s3")
    query = {"region": "url-4", "endpoint": "http://url/"}
    assert (settings(query, environment).region, settings(query, environment).endpoint) == ("url-4", "http://url")


def test_a_profile_gives_key_token_and_region(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        config="[profile work]\nregion = eu-north-1\n",
        credentials="[default]\naws_access_key_id = D\naws_secret_access_key = ds\n"
        "[work]\naws_access_key_id = W\naws_secret_access_key = ws\naws_session_token = wt\n",
    )
    environment = {"HOME": str(tmp_path)}
    found = settings({}, environment)
    assert (found.access_key, found.secret_key, found.session_token, found.region) == ("D", "ds", "", "us-east-1")
    for query, variables in (({"profile": "work"}, {}), ({}, {"AWS_PROFILE": "work"})):
        found = settings(query, environment | variables)
        assert (found.access_key, found.secret_key, found.session_token) == ("W", "ws", "wt")
        assert found.region == "eu-north-1"


def test_variables_win_over_a_profile_unless_the_url_names_it(tmp_path: Path) -> None:
    write_files(tmp_path, credentials="[work]\naws_access_key_id = W\naws_secret_access_key = ws\n")
    environment = {"HOME": str(tmp_path), "AWS_PROFILE": "work", **KEY}
    assert settings({}, environment).access_key == "AKIAKEY"
    assert settings({"profile": "work"}, environment).access_key == "W"


def test_the_files_may_be_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("[default]\naws_access_key_id = X\naws_secret_access_key = xs\n")
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "c")}
    assert settings({}, environment).access_key == "X"


def test_a_profile_that_needs_a_login_says_how_to_go_on(tmp_path: Path) -> None:
    write_files(tmp_path, config="[profile sso]\nsso_session = corp\nregion = x\n")
    with pytest.raises(StoreDenied, match="export-credentials"):
        settings({"profile": "sso"}, {"HOME": str(tmp_path)})


def test_a_broken_file_is_named_and_not_quoted(tmp_path: Path) -> None:
    write_files(tmp_path, credentials="my secret key is here\n")
    with pytest.raises(StoreURLInvalid) as caught:
        settings({}, {"HOME": str(tmp_path)})
    assert ".aws/credentials" in str(caught.value)
    assert "my secret" not in str(caught.value)


def test_half_a_key_is_refused() -> None:
    with pytest.raises(StoreDenied, match="both"):
        settings({}, {"AWS_ACCESS_KEY_ID": "x"})


def test_paths_for_custom_endpoints_and_host_names_for_aws() -> None:
    assert settings({}, KEY).virtual_host
    assert not settings({"endpoint": "http://127.0.0.1:1"}, KEY).virtual_host
    assert settings({"endpoint": "http://h", "style": "host"}, KEY).virtual_host


def test_anonymous_needs_no_key_and_uses_none() -> None:
    found = settings({"anonymous": "true", "endpoint": "http://127.0.0.1:1"}, KEY)
    assert found.anonymous and not found.has_key


def settings(query: dict[str, str], environment: dict[str, str]):
    return s3_settings(query, {"HOME": "/nonexistent", **environment}, url="s3://bucket")


def write_files(home: Path, *, config: str = "", credentials: str = "") -> None:
    (home / ".aws").mkdir(exist_ok=True)
    (home / ".aws" / "config").write_text(config)
    (home / ".aws" / "credentials").write_text(credentials)


# ---- listings of all names: where they are sent, and how signed ----


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://bucket/p", "https://bucket.s3.us-east-1.amazonaws.com"),
        ("s3://bucket/p?region=eu-north-1&style=path", "https://s3.eu-north-1.amazonaws.com/bucket"),
        ("s3://bucket/p?endpoint=http://127.0.0.1:9/", "http://127.0.0.1:9/bucket"),
        ("s3://bucket/p?endpoint=https://example.org&style=host", "https://bucket.example.org"),
    ],
)
def test_a_listing_is_sent_where_all_is_sent_and_signed_with_our_key(
    url: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network: the address itself. Tokens of another key in the environment are not taken."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-another-key")
    asked: list[str] = []

    class Opener:
        def open(self, wanted: str, **_: object) -> None:
            asked.append(wanted)
            raise ConnectionRefusedError

    monkeypatch.setattr(s3_listing, "_OPENER", Opener())
    retry = RetryPolicy(tries_max=1)
    for token in ("", "our-token"):
        environment = {**KEY, "AWS_SESSION_TOKEN": token, "HOME": "/nonexistent"}
        with pytest.raises(StoreUnavailable):
            open_store(url, environment=environment, retry=retry).list("a b/", after="a b/\u00e9", foreign=True)
        sent = urlsplit(asked[-1])
        query = dict(parse_qsl(sent.query))
        assert f"{sent.scheme}://{sent.netloc}{sent.path}".rstrip("/") == address
        assert (query["prefix"], query["start-after"], query["list-type"]) == ("p/a b/", "p/a b/\u00e9", "2")
        assert query["X-Amz-Credential"].startswith("AKIAKEY/")
        assert query.get("X-Amz-Security-Token", "") == token and ("Security-Token" in sent.query) == bool(token)
    with pytest.raises(StoreUnavailable):
        open_store(f"{url}{'&' if '?' in url else '?'}anonymous=true", environment={}, retry=retry).list(
            "", foreign=True
        )
    assert "X-Amz" not in asked[-1]
