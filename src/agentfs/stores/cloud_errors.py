"""What an error of obstore means for the caller.

obstore 0.12 has a handful of classes and puts the rest (status, error code, kind of transport failure) into the
text, so the text is parsed: its shapes are held by tests against real servers. The text itself never leaves
this module: it carries addresses with query strings (an Azure SAS token is one) and parts of the signature.
"""

import re
from dataclasses import dataclass

from obstore.exceptions import (
    AlreadyExistsError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from agentfs.errors import (
    BucketNotFound,
    NameNotListed,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)

# All but the error's class is read from the pretty-printed second half, by whole lines: names of objects and
# answers of servers are quoted there, with their line ends escaped, so neither can imitate one.
_STATUS = re.compile(r"\n +status: (\d{3}),\n")
_KIND = re.compile(r"HttpError \{\n +kind: (\w+),\n")
_BODY = re.compile(r'\n +body: Some\(\n +"((?:[^"\\]|\\.)*)",\n')
_CODE = re.compile(r"<Code>(\w+)</Code>")
_URI = re.compile(r"\n +uri: Some\(\n +(\S+),\n")
_CREDENTIALS_URI = re.compile(
    r"https?://(?:169\.254\.|metadata\.google|oauth2\.|login\.microsoftonline|sts\."
    r"|[^/]+/(?:latest/(?:api/token|meta-data)|computeMetadata|metadata/identity)(?:/|\Z))"
)
_BUCKET_CODES = {"NoSuchBucket", "ContainerNotFound"}
_BAD_PATH = re.compile(r'\n +path: ("(?:[^"\\]|\\.)*"),\n')
_CLOCK_CODES = {"RequestTimeTooSkewed", "RequestExpired"}
_KEY_CODES = {
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret does not fit the access key",
    "ExpiredToken": "the session token has expired",
    "InvalidToken": "the session token is not valid",
    "AuthenticationFailed": "the account key or token is wrong",
}
_RETRYABLE_4XX = {408, 425, 429}


@dataclass(frozen=True, slots=True)
class Failure:
    """The facts of one failed request."""

    status: int | None
    """HTTP status, or None when no complete answer came."""
    kind: str
    """Kind of transport failure (`Connect`, `Timeout`, `Request`, …), or empty."""
    code: str
    """The store's error code, or empty."""
    credentials_missing: bool

    @property
    def summary(self) -> str:
        """A few words without addresses or secrets."""
        if self.status is not None:
            return f"HTTP {self.status} {self.code}".rstrip()
        return {"Connect": "no connection", "Timeout": "time-out"}.get(self.kind, "connection broken")

    @property
    def bucket_missing(self) -> bool:
        return self.code in _BUCKET_CODES

    @property
    def not_understood(self) -> bool:
        """An answer came whole, but it was not one (a range ignored, a header missing, not XML)."""
        return self.status is None and not self.kind

    @property
    def nothing_sent(self) -> bool:
        """Proof that the request never left: no connection was made."""
        return self.status is None and self.kind == "Connect"


def failure_of(error: Exception) -> Failure:
    """Read the facts out of an obstore error."""
    text = str(error)
    status, kind, body, uri = (pattern.search(text) for pattern in (_STATUS, _KIND, _BODY, _URI))
    number = int(status[1]) if status else None
    if number is None and isinstance(error, PermissionDeniedError | UnauthenticatedError):
        number = 403
    code = _CODE.search(body[1]) if body else None
    return Failure(
        status=number,
        kind=kind[1] if kind else "",
        code=code[1] if code else "",
        credentials_missing=uri is not None and _CREDENTIALS_URI.match(uri[1]) is not None,
    )


def failure_of_answer(status: int, body: bytes) -> Failure:
    """The facts of an answer that did not come through obstore."""
    code = _CODE.search(body.decode("utf-8", "replace"))
    return Failure(status, "", code[1] if code else "", credentials_missing=False)


def _common(failure: Failure, url: str) -> StoreError | None:
    """What any method may raise."""
    if failure.bucket_missing:
        return BucketNotFound(f"the bucket or container of {url} does not exist: create it or correct the URL")
    if failure.credentials_missing:
        return StoreDenied(
            f"no credentials for {url}: set them in the environment or name a profile (see docs/stores.md)"
        )
    if failure.code in _CLOCK_CODES:
        return StoreDenied(f"{url} refused the request as too old: check this machine's clock")
    if failure.status in (401, 403) or failure.code in _KEY_CODES:
        hint = _KEY_CODES.get(failure.code, "check the key, the secret and what they are allowed to do")
        return StoreDenied(f"{url} refused access ({failure.summary}): {hint}")
    return None


def read_error(error: Exception, *, name: str, url: str) -> StoreError:
    """The error of a `get`, `list` or `delete`: repeating those is harmless."""
    if isinstance(error, InvalidPathError):
        bad = _BAD_PATH.search(str(error))
        shown = bad[1] if bad else f"something below {name!r}"
        return NameNotListed(f"{url} holds {shown}, a name that cannot be listed there: rename or remove it")
    failure = failure_of(error)
    if isinstance(error, FileNotFoundError) and _common(failure, url) is None:
        return ObjectNotFound(f"{url} has no object {name}")
    return read_failure(failure, name=name, url=url)


def read_failure(failure: Failure, *, name: str, url: str) -> StoreError:
    """Like `read_error`, from the facts alone."""
    common = _common(failure, url)
    if common is not None:
        return common
    status = failure.status
    if status is not None and 300 <= status < 500 and status not in _RETRYABLE_4XX:
        return StoreError(f"{url} refused the request for {name!r} ({failure.summary}): check region and endpoint")
    if failure.not_understood:
        return StoreError(f"{url} answered a request for {name!r} with something that does not follow its protocol")
    return StoreUnavailable(f"{url} cannot be reached ({failure.summary})")


def put_error(
    error: Exception, *, name: str, url: str, create_only: bool, replacing: bool = False, conflict_means_exists: bool
) -> StoreError:
    """The error of a `put`. Whatever does not prove that nothing was written is `OutcomeUnknown`."""
    failure = failure_of(error)
    common = _common(failure, url)
    if common is not None:
        return common
    refused = isinstance(error, AlreadyExistsError | PreconditionError)
    if create_only and refused:
        # object_store calls a 409 "already exists" too; S3's 409 says only that another put was under way.
        if failure.status == 409 and not conflict_means_exists:
            return OutcomeUnknown(f"another put of {name} was under way at {url}: read it to find out who won")
        return ObjectExists(f"{url} already has an object {name}")
    if replacing and (refused or isinstance(error, FileNotFoundError)) and failure.status in (404, 412):
        return ObjectChanged(f"{name} at {url} is not the version that was to be replaced")
    if failure.nothing_sent:
        return StoreUnavailable(f"{url} cannot be reached ({failure.summary}); nothing was sent")
    status = failure.status
    if status is not None and 300 <= status < 500 and status not in _RETRYABLE_4XX | {404, 409, 412}:
        return StoreError(f"{url} refused to store {name!r} ({failure.summary})")
    return OutcomeUnknown(f"{url} may or may not have stored {name} ({failure.summary}): read it to find out")
