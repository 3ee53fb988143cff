"""Stores that refuse, lie or are damaged: one clear line, nothing lost, what is pending waits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from machines import Fleet, Machine, tree, until

from agentfs.testing.servers import S3Server


def _one_line(machine: Machine, *arguments: str, code: int | tuple[int, ...]) -> str:
    done = machine.run(*arguments, ok=False, seconds=60)
    lines = done.stderr.strip().splitlines()
    codes = code if isinstance(code, tuple) else (code,)
    assert done.returncode in codes, (done.returncode, done.stderr, machine.logs())
    assert len(lines) == 1 and lines[0].startswith("agentfs: ") and "Traceback" not in lines[0], done.stderr
    return lines[0]


def _never_mounted(machine: Machine) -> None:
    assert not machine.is_mounted()
    until(lambda: not machine.processes(), "no process is left")


def test_wrong_credentials(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    wrong = replace(ministack_server, secret_key="not-the-secret")
    machine = machines.machine(wrong, bucket)
    said = _one_line(machine, "mount", str(machine.mountpoint), code=5)
    assert "not-the-secret" not in said
    _never_mounted(machine)


def test_credentials_go_bad_under_a_mount(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    good = machines.machine(ministack_server, bucket)
    good.mount()
    good.write("before", b"1")
    good.unmount()
    good.environment = replace(ministack_server, secret_key="revoked").environment()
    done = good.mount(ok=False)
    assert done.returncode == 0, "a home that this machine has a copy of is mounted from it"
    assert "working from this machine's copy" in done.stderr
    assert good.read("before") == b"1"
    good.write("after", b"2")
    _one_line(good, "sync", "--timeout", "5s", code=5)
    assert good.pending() > 0
    good.unmount("--timeout", "2s", ok=False)
    good.environment = ministack_server.environment()
    good.mount()
    assert good.read("before") == b"1"
    assert good.read("after") == b"2"
    good.write("last", b"3")
    good.sync()
    good.unmount()
    good.fsck("--deep")


def test_missing_bucket(machines: Fleet, ministack_server: S3Server) -> None:
    machine = machines.machine(ministack_server, "there-is-no-such-bucket")
    assert "there-is-no-such-bucket" in _one_line(machine, "mount", str(machine.mountpoint), code=3)
    _never_mounted(machine)


def _object(server: S3Server, bucket: str, part: str) -> str:
    """The newest object whose name has `part`."""
    found = server.client().list_objects_v2(Bucket=bucket).get("Contents", [])
    return max((item["Key"] for item in found if part in item["Key"]), default="")


def test_a_newer_store(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    machine = machines.machine(ministack_server, bucket)
    machine.mount()
    machine.write("note", b"old")
    machine.sync()
    client = ministack_server.client()
    key = _object(ministack_server, bucket, "store.json")
    old = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert b'"format"' in old or b"version" in old, old
    import json  # noqa: PLC0415

    facts = json.loads(old)
    name = next(name for name in facts if "format" in name or "version" in name)
    machine.unmount()
    client.put_object(Bucket=bucket, Key=key, Body=json.dumps({**facts, name: 999}).encode())
    fresh = machines.machine(ministack_server, bucket)
    assert "upgrade" in _one_line(fresh, "mount", str(fresh.mountpoint), code=1)
    _never_mounted(fresh)
    _one_line(machine, "mount", str(machine.mountpoint), code=1)
    _never_mounted(machine)
    client.put_object(Bucket=bucket, Key=key, Body=old)
    machine.mount()
    assert machine.read("note") == b"old"
    machine.unmount()
    machine.fsck("--deep")


@pytest.mark.parametrize(
    "damage",
    ["corrupted", pytest.param("truncated", marks=pytest.mark.slow), pytest.param("empty", marks=pytest.mark.slow)],
)
def test_a_damaged_log_entry(machines: Fleet, ministack_server: S3Server, bucket: str, damage: str) -> None:
    writer = machines.machine(ministack_server, bucket)
    reader = machines.machine(ministack_server, bucket)
    writer.mount()
    writer.write("first", b"1" * 1000)
    writer.sync()
    reader.mount()
    until(lambda: reader.read("first") == b"1" * 1000, "the first travels")
    reader.unmount()
    writer.write("second", b"2" * 1000)
    writer.sync()
    writer.unmount()
    client = ministack_server.client()
    key = _object(ministack_server, bucket, "/log/")
    old = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    bad = {"truncated": old[: len(old) // 2], "corrupted": old[:60] + bytes([old[60] ^ 255]) + old[61:], "empty": b""}
    client.put_object(Bucket=bucket, Key=key, Body=bad[damage])

    # A machine with a copy keeps working, keeps what it writes, and says what is wrong.
    reader.mount()
    assert reader.read("first") == b"1" * 1000
    reader.write("mine", b"pending")
    _one_line(reader, "sync", "--timeout", "3s", code=(6, 7))
    assert reader.pending() > 0
    volume = reader.volume()
    assert volume["problem"], volume
    assert "Traceback" not in reader.logs()
    reader.unmount("--timeout", "2s", ok=False)

    # A machine without one is told.
    fresh = machines.machine(ministack_server, bucket)
    _one_line(fresh, "mount", str(fresh.mountpoint), code=7)
    _never_mounted(fresh)
    assert fresh.run("fsck", "--json", ok=False).returncode == 7

    # Mended: everything is there.
    client.put_object(Bucket=bucket, Key=key, Body=old)
    reader.mount()
    reader.sync()
    assert reader.read("second") == b"2" * 1000 and reader.read("mine") == b"pending"
    reader.unmount()
    reader.fsck("--deep")


def test_a_damaged_snapshot(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    writer = machines.machine(ministack_server, bucket)
    writer.mount()
    writer.commits(40)  # enough that leaving puts a snapshot
    expected = tree(writer.path())
    writer.unmount()
    for _ in range(3):  # an engine that is slow to end is not waited for; the next one puts it
        if not _object(ministack_server, bucket, "/snapshots/"):
            writer.mount()
            writer.unmount()
    key = _object(ministack_server, bucket, "/snapshots/")
    assert key, "leaving should have put a snapshot"
    client = ministack_server.client()
    old = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    for bad in (old[: len(old) // 2], old[:-40] + b"\0" * 40, b"<Error>not a snapshot</Error>"):
        client.put_object(Bucket=bucket, Key=key, Body=bad)
        fresh = machines.machine(ministack_server, bucket)
        fresh.mount()  # the log tells it all
        assert tree(fresh.path()) == expected
        fresh.unmount()


def test_a_store_that_may_only_be_read(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    writer = machines.machine(ministack_server, bucket)
    writer.mount()
    writer.write("shared", b"readable")
    writer.unmount()
    with _reader_key(ministack_server) as server:
        machine = machines.machine(server, bucket)
        machine.mount()
        assert machine.read("shared") == b"readable"
        machine.write("mine", b"kept here")
        said = _one_line(machine, "sync", "--timeout", "5s", code=5)
        assert "Traceback" not in said
        assert machine.pending() > 0
        assert machine.read("mine") == b"kept here"
        left = machine.unmount("--timeout", "2s", ok=False, seconds=40)
        assert left.returncode == 6 and "mine" in left.stderr
        machine.environment = ministack_server.environment()  # the right is given
        machine.mount()
        machine.sync()
        machine.unmount()
        machine.fsck("--deep")
    writer.mount()
    until(lambda: writer.read("mine") == b"kept here", "it travels in the end")
    writer.unmount()


@contextmanager
def _reader_key(server: S3Server) -> Iterator[S3Server]:
    """A key that may get and list, nothing else; skips where the server does not check policies."""
    admin = replace(server, access_key="root-key-of-tests", secret_key="root-secret-of-tests")
    iam = admin.client("iam")
    iam.create_user(UserName="reader")
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"*"}]}'
    )
    iam.put_user_policy(UserName="reader", PolicyName="s3", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    try:
        yield replace(server, access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])
    finally:
        iam.delete_access_key(UserName="reader", AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName="reader", PolicyName="s3")
        iam.delete_user(UserName="reader")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_directory_of_the_store_is_gone(machines: Fleet, tmp_path: Path) -> None:
    store = tmp_path / "store"
    machine = machines.on(f"file://{store}")
    machine.mount()
    machine.write("a", b"1")
    machine.sync()
    machine.unmount()
    away = store.rename(tmp_path / "away")  # an unmounted disk
    machine.mount()
    assert machine.read("a") == b"1"
    machine.write("b", b"2")
    _one_line(machine, "sync", "--timeout", "3s", code=(3, 4, 6))
    assert not store.exists() or not any(store.rglob("log/*")), "a second history was begun beside the real one"
    machine.unmount("--timeout", "1s", ok=False)
    if store.exists():
        store.rmdir()
    away.rename(store)
    machine.mount()
    machine.sync()
    machine.unmount()
    machine.fsck("--deep")
    fresh = machines.on(f"file://{store}")
    fresh.mount()
    assert fresh.read("a") == b"1" and fresh.read("b") == b"2"
    fresh.unmount()
