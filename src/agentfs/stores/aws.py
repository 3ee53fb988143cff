"""Where the S3 settings come from: the URL's query, then AWS_* variables, then the shared AWS files.

The same order and the same names as the AWS tools, so that what works for `aws s3 ls` works here. Profiles that
need a login step (SSO, assumed roles, credential processes) are refused with a line that says how to go on.
"""

import configparser
import os.path
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentfs.errors import StoreDenied, StoreURLInvalid

_FOREIGN_CREDENTIALS = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
_LOGIN_SETTINGS = ("sso_session", "sso_start_url", "role_arn", "credential_process")


@dataclass(frozen=True, slots=True)
class S3Settings:
    """What is needed to reach a bucket. The secrets stay out of `repr`."""

    region: str = "us-east-1"
    endpoint: str = ""
    """Empty for AWS itself."""
    anonymous: bool = False
    virtual_host: bool = False
    """The bucket is part of the host name: AWS itself, or asked for. Custom endpoints get paths."""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    @property
    def has_key(self) -> bool:
        return bool(self.access_key)


def s3_settings(query: Mapping[str, str], environment: Mapping[str, str], *, url: str) -> S3Settings:
    """Resolve the settings of one store URL.

    Raises `StoreURLInvalid` for a profile or an endpoint that cannot be, `StoreDenied` when there is no way to
    sign requests.
    """
    profile_name = query.get("profile") or environment.get("AWS_PROFILE") or ""
    profile = _profile(profile_name or "default", environment, required=bool(profile_name), url=url)
    endpoint = _endpoint(query, environment, profile)
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise StoreURLInvalid(f"{url}: the endpoint must start with http:// or https://")
    if "@" in endpoint:
        raise StoreURLInvalid("the endpoint must not carry a user or password: use AWS_ACCESS_KEY_ID")
    region = (
        query.get("region")
        or environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or profile.get("region", "us-east-1")
    )
    anonymous = query.get("anonymous", environment.get("AWS_SKIP_SIGNATURE", "")).lower() in ("1", "true", "yes")
    style = query.get("style", "path" if endpoint else "host")
    if style not in ("path", "host"):
        raise StoreURLInvalid(f"{url}: style is 'path' or 'host'")
    key, secret, token = ("", "", "") if anonymous else _credentials(query, environment, profile, url=url)
    settings = S3Settings(region, endpoint.rstrip("/"), anonymous, style == "host", key, secret, token)
    _check_signable(settings, environment, url=url)
    return settings


def s3_endpoint(query: Mapping[str, str], environment: Mapping[str, str], *, url: str) -> str:
    """Where requests go, as `s3_settings` finds it, without looking for a key; empty: AWS itself. Raises
    `StoreURLInvalid`."""
    profile_name = query.get("profile") or environment.get("AWS_PROFILE") or ""
    return _endpoint(query, environment, _profile(profile_name or "default", environment, required=False, url=url))


def _endpoint(query: Mapping[str, str], environment: Mapping[str, str], profile: Mapping[str, str]) -> str:
    return (
        query.get("endpoint")
        or environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
        or environment.get("AWS_ENDPOINT")
        or profile.get("endpoint_url", "")
    )


def _credentials(
    query: Mapping[str, str], environment: Mapping[str, str], profile: Mapping[str, str], *, url: str
) -> tuple[str, str, str]:
    key, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
    if bool(key) != bool(secret):
        raise StoreDenied(f"{url}: set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither")
    if key and "profile" not in query:
        return key, secret, environment.get("AWS_SESSION_TOKEN", "")
    if profile.get("aws_access_key_id") and profile.get("aws_secret_access_key"):
        token = profile.get("aws_session_token", "")
        return profile["aws_access_key_id"], profile["aws_secret_access_key"], token
    needs_login = [setting for setting in _LOGIN_SETTINGS if setting in profile]
    if needs_login:
        raise StoreDenied(
            f"{url}: the AWS profile uses {needs_login[0]}, which AgentFS does not perform; run "
            "'aws configure export-credentials --format env' and set the variables that it prints"
        )
    return "", "", ""


def _check_signable(settings: S3Settings, environment: Mapping[str, str], *, url: str) -> None:
    """Without a key, only AWS itself hands one out (instance, container, web identity)."""
    if settings.has_key or settings.anonymous or not settings.endpoint:
        return
    if not any(environment.get(variable) for variable in _FOREIGN_CREDENTIALS):
        raise StoreDenied(
            f"no credentials for {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )


def _profile(name: str, environment: Mapping[str, str], *, required: bool, url: str) -> dict[str, str]:
    """The settings of a profile from both files; the credentials file wins. Empty if there is none."""
    home = environment.get("HOME", "")
    config = environment.get("AWS_CONFIG_FILE") or os.path.join(home, ".aws", "config")
    credentials = environment.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.join(home, ".aws", "credentials")
    section = name if name == "default" else f"profile {name}"
    found = _section(config, section) | _section(credentials, name)
    if required and not found:
        raise StoreURLInvalid(f"{url}: there is no AWS profile {name!r} in {config} or {credentials}")
    return found


def _section(path: str, section: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False, default_section="\0")
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (configparser.Error, UnicodeDecodeError) as error:
        # The parser's own message quotes the offending line, which may be the secret.
        raise StoreURLInvalid(f"the AWS settings file {path} cannot be parsed ({type(error).__name__})") from None
    return dict(parser.items(section)) if parser.has_section(section) else {}
