"""Objects of the view as another program sees them on a real S3 server: names, bytes, types and metadata."""

import hashlib

import pytest

from agentfs.testing.fixtures import new_bucket
from agentfs.testing.servers import S3Server
from agentfs.view.facts import ViewFacts
from agentfs.view.naming import object_name, place_of
from agentfs.view.rendering import rendered
from agentfs.view.restoring import restored

FILES = {
    b"notes.md": b"---\ntitle: Plan\n---\n# Plan\n", b"broken.md": b"---\na: [1\n---\nx\n",
    b"caf\xe9.md": b"text\r\n",
    "日本/é 🙂.md".encode(): "# 日本\n".encode(), b"a\\b\nc.txt": b"x", b"100% sure+more.bin": bytes(range(256)),
    b"My%20File.pdf": b"%PDF", b"ends. ": b"", b"%%x/#?&=~'\"<>[]{}^`|*:;,$@!().md": b"y", b".agentfs-self": b"z",
}  # fmt: skip


@pytest.mark.parametrize("server", ["ministack_server", pytest.param("radosgw_server", marks=pytest.mark.radosgw)])
def test_another_client_reads_and_returns_them(server: str, request: pytest.FixtureRequest) -> None:
    s3: S3Server = request.getfixturevalue(server)
    bucket, client = new_bucket(s3), s3.client()
    put = {}
    for path, data in FILES.items():
        facts = ViewFacts(
            "home-ada", 7 << 24 | len(put), 9, hashlib.sha256(data).digest(), "ada", 2, 5, 1_795_282_675 * 10**9
        )
        name, made = object_name("home", "ada", path), rendered(path, data, facts)
        assert name is not None
        client.put_object(
            Bucket=bucket, Key=name, Body=made.data, ContentType=made.content_type, Metadata=dict(made.metadata)
        )
        put[name] = (path, data, facts, made)
    listed = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket, Prefix="agents/ada/")["Contents"]]
    assert listed == sorted(put, key=str.encode)
    for name in listed:
        path, data, facts, made = put[name]
        found = client.get_object(Bucket=bucket, Key=name)
        assert place_of(name) == ("home", "ada", path)
        assert (found["ContentType"], found["Metadata"]) == (made.content_type, made.metadata)
        back = restored(path, found["Body"].read(), found["Metadata"])
        assert (back.data, back.was, back.edited) == (data, facts, False)
