"""Stores that refuse, lie, or go away: what the command and a mount say, and that nothing is lost."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command import Machine, machine, processes_of, until

from agentfs.cli import exits
from agentfs.fuse.mount import fuse_available
from agentfs.testing.fault_proxy import FaultProxy
from agentfs.testing.servers import S3Server

needs_mount = pytest.mark.skipif(not fuse_available().usable, reason=fuse_available().problem or "")


@pytest.fixture
def me(tmp_path: Path, ministack_server: S3Server, bucket: str) -> Iterator[Machine]:
    with machine(tmp_path, store=ministack_server.url(bucket, "p"), extra=ministack_server.environment()) as made:
        yield made


@pytest.fixture
def proxied(tmp_path: Path, ministack_server: S3Server, bucket: str, fault_proxy: FaultProxy) -> Iterator[Machine]:
    url = ministack_server.at(fault_proxy.endpoint).url(bucket, "p")
    with machine(tmp_path, store=url, extra=ministack_server.environment()) as made:
        yield made


def test_the_whole_way_over_s3(me: Machine) -> None:
    me.ok("init")
    me.ok("put", "-", "notes/a.md", stdin=b"hello")
    with machine(me.root, name="two", store=me.store, extra=me.extra) as other:
        assert other.ok("cat", "notes/a.md").out == b"hello"
    assert me.run("doctor", "--json").json["healthy"]
    me.ok("fsck", "--deep")


def test_wrong_credentials(me: Machine) -> None:
    right = dict(me.extra)
    me.extra = right | {"AWS_SECRET_ACCESS_KEY": "wrong-hunter2"}
    for arguments in (("init",), ("ls",), ("sync",), ("fsck",)):
        line = me.refused(exits.DENIED, *arguments)
        assert "hunter2" not in line
    result = me.run("doctor", "--json")
    assert (result.code, result.json["healthy"]) == (exits.FAILED, False)
    assert "hunter2" not in result.text
    me.extra = right
    me.ok("put", "-", "kept", stdin=b"1")
    me.extra = right | {"AWS_SECRET_ACCESS_KEY": "wrong-hunter2"}
    assert me.run("put", "-", "x", stdin=b"1").code == exits.DENIED


def test_no_credentials_at_all(me: Machine) -> None:
    me.extra = {"AWS_EC2_METADATA_DISABLED": "true"}
    assert me.run("ls", timeout=60).code in (exits.DENIED, exits.UNREACHABLE)


def test_no_such_bucket(me: Machine, ministack_server: S3Server) -> None:
    me.store = ministack_server.url("no-such-bucket-here", "p")
    assert "no-such-bucket-here" in me.refused(exits.NOT_FOUND, "ls")


@needs_mount
@pytest.mark.mount
def test_a_denied_mount_says_so_and_leaves_nothing(me: Machine) -> None:
    me.extra = me.extra | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    me.refused(exits.DENIED, "mount", str(me.directory()))
    assert processes_of(me.root) == []


def read_only_key(server: S3Server) -> dict[str, str]:
    # `agentfs.testing.servers.ministack` starts it with this key, which may make others.
    root = replace(server, access_key="root-key-of-tests", secret_key="root-secret-of-tests")
    iam = root.client("iam")
    user = f"reader-{time.monotonic_ns()}"
    iam.create_user(UserName=user)
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}],
    }
    iam.put_user_policy(UserName=user, PolicyName="read", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def test_a_read_only_key_reads_and_says_that_it_cannot_write(me: Machine, ministack_server: S3Server) -> None:
    key = read_only_key(ministack_server)
    assert me.run("ls").code == exits.OK
    me.ok("put", "-", "f", stdin=b"x")
    with machine(me.root, name="reader", store=me.store, extra=key) as reader:
        assert reader.ok("cat", "f").out == b"x"
        reader.extra["AGENTFS_TIMEOUT"] = "10m"
        result = reader.run("put", "-", "g", stdin=b"y")  # a wrong key is not waited for
        assert result.code == exits.DENIED, result
        assert reader.run("ls").text == "f\ng\n"  # it is kept on this machine


def test_an_unsafe_store_is_refused_before_anything_is_written(tmp_path: Path, rclone_server: S3Server) -> None:
    (tmp_path / "bucket").mkdir()
    rclone_server.create_bucket("unsafe")
    store = rclone_server.url("unsafe", "p")
    with machine(tmp_path, store=store, extra=rclone_server.environment()) as me:
        line = me.refused(exits.FAILED, "init")
        assert "failed the check" in line
        assert me.run("put", "-", "x", "--json", stdin=b"1").json["error"]["code"] == "store-unsafe"
        found = rclone_server.client().list_objects_v2(Bucket="unsafe").get("Contents", [])
        assert [entry["Key"] for entry in found if "store.json" in entry["Key"]] == []


def test_the_store_down_without_a_copy(proxied: Machine, fault_proxy: FaultProxy) -> None:
    fault_proxy.go_down()
    line = proxied.refused(exits.UNREACHABLE, "ls")
    assert "--offline" in line


@pytest.mark.slow
@needs_mount
@pytest.mark.mount
def test_the_store_down_at_mount_with_a_copy(proxied: Machine, fault_proxy: FaultProxy) -> None:
    proxied.ok("put", "-", "before", stdin=b"1")
    proxied.ok("cat", "before")
    fault_proxy.go_down()
    place = proxied.directory()
    started = time.monotonic()
    result = proxied.run("mount", str(place), "--json")
    assert (result.code, result.json["online"]) == (exits.OK, False)
    assert "cannot be reached" in result.err
    assert time.monotonic() - started < 20
    assert (place / "before").read_bytes() == b"1"
    (place / "after").write_text("2")
    status = proxied.run("status", "--json").json["volumes"][0]
    assert status["online"] is False
    assert status["pending"]["changes"] > 0
    assert "OFFLINE" in proxied.ok("status").text
    assert proxied.run("sync", "--timeout", "1s").code == exits.STILL_LOCAL
    fault_proxy.come_up()
    until(lambda: proxied.status()["volumes"][0]["pending"]["changes"] == 0)
    proxied.ok("unmount", str(place))
    with machine(proxied.root, name="two", store=proxied.store, extra=proxied.extra) as other:
        assert other.ok("cat", "after").out == b"2"


@needs_mount
@pytest.mark.mount
def test_offline_from_the_start_and_merged_later(proxied: Machine, fault_proxy: FaultProxy) -> None:
    proxied.ok("put", "-", "theirs", stdin=b"1")
    with machine(proxied.root, name="two", store=proxied.store, extra=proxied.extra) as other:
        fault_proxy.go_down()
        place = other.directory()
        assert "--offline" in other.refused(exits.UNREACHABLE, "mount", str(place))
        assert other.run("mount", "--offline", str(place)).code == exits.OK
        (place / "mine").write_text("2")
        fault_proxy.come_up()
        until(lambda: sorted(os.listdir(place)) == ["mine", "theirs"])
        assert (place / "theirs").read_bytes() == b"1"
        other.ok("unmount", str(place))
    assert proxied.ok("cat", "mine").out == b"2"


@needs_mount
@pytest.mark.mount
def test_unmount_with_the_store_down_says_what_is_still_local(proxied: Machine, fault_proxy: FaultProxy) -> None:
    place = proxied.directory()
    proxied.ok("mount", str(place))
    (place / "seen.md").write_text("1")
    proxied.ok("sync")
    fault_proxy.go_down()
    (place / "important.md").write_text("2")
    result = proxied.run("unmount", str(place), "--timeout", "2s")
    assert result.code == exits.STILL_LOCAL, result
    assert "important.md" in result.err
    assert "safe in" in result.err
    assert processes_of(proxied.root) == []
    assert os.listdir(place) == []
    fault_proxy.come_up()
    proxied.ok("sync")
    with machine(proxied.root, name="two", store=proxied.store, extra=proxied.extra) as other:
        assert other.ok("cat", "important.md").out == b"2"


@pytest.mark.slow
@needs_mount
@pytest.mark.mount
def test_bytes_that_cannot_be_fetched_are_an_error_and_then_come(proxied: Machine, fault_proxy: FaultProxy) -> None:
    proxied.ok("put", "-", "big", stdin=os.urandom(3_000_000))
    with machine(proxied.root, name="two", store=proxied.store, extra=proxied.extra) as other:
        other.ok("ls")
        fault_proxy.go_down()
        result = other.run("cat", "big")
        assert result.code == exits.UNREACHABLE, (result.code, result.err)
        assert result.out == b""
        fault_proxy.come_up()
        assert other.ok("cat", "big").out == proxied.ok("cat", "big").out


@pytest.mark.slow
def test_a_store_that_hangs_does_not_hold_the_command(proxied: Machine, fault_proxy: FaultProxy) -> None:
    proxied.ok("put", "-", "before", stdin=b"1")
    fault_proxy.black_hole()
    started = time.monotonic()
    result = proxied.run("put", "-", "kept.md", "--timeout", "1s", stdin=b"2")
    assert result.code == exits.STILL_LOCAL, result
    assert "kept.md" in result.err
    assert time.monotonic() - started < 45
    fault_proxy.black_hole(False)
    proxied.ok("sync")
    with machine(proxied.root, name="two", store=proxied.store, extra=proxied.extra) as other:
        assert other.ok("cat", "kept.md").out == b"2"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["refused", "silent"])
def test_what_is_here_is_read_and_kept_while_the_store_is_away(
    proxied: Machine, fault_proxy: FaultProxy, fault: str
) -> None:
    proxied.ok("put", "-", "a.md", stdin=b"1")
    if fault == "refused":
        fault_proxy.go_down()
    else:
        fault_proxy.black_hole()
    read = proxied.run("cat", "a.md")
    assert (read.code, read.out) == (exits.OK, b"1"), read
    assert "this machine's copy is used" in read.err.splitlines()[0]
    proxied.extra["AGENTFS_TIMEOUT"] = ""  # nobody said how long to wait
    kept = proxied.run("remember", "the harbour is closed on Sundays", "--path", "b.md")
    assert kept.code == exits.STILL_LOCAL, kept
    assert "cannot be reached" in kept.err and "after 3 s" in kept.err and "b.md" in kept.err
    if fault == "refused":
        fault_proxy.come_up()
    else:
        fault_proxy.black_hole(False)
    proxied.ok("sync")
    with machine(proxied.root, name="two", store=proxied.store, extra=proxied.extra) as other:
        assert "harbour" in other.ok("cat", "b.md").text
