"""The view of a mounted home, read by a program that has never heard of AgentFS."""

import json
from typing import Any

import pytest
from machines import Fleet, until

from agentfs.testing.servers import S3Server
from agentfs.view.restoring import restored


@pytest.fixture(autouse=True)
def viewing(machines: Fleet) -> None:
    machines.view = True


def test_a_mounted_home_is_readable_in_the_bucket(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    one, two = machines.machine(ministack_server, bucket), machines.machine(ministack_server, bucket)
    client = ministack_server.client()

    def shown() -> dict[str, bytes]:
        """Every object of the home, and the file that it means."""
        prefix = "root/agents/myagent/"
        found: dict[str, bytes] = {}
        for it in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            try:
                object_: Any = client.get_object(Bucket=bucket, Key=it["Key"])
            except client.exceptions.NoSuchKey:
                continue  # it went in this moment
            name = it["Key"].removeprefix(prefix)
            means = restored(name.encode(), object_["Body"].read(), object_["Metadata"])
            assert not means.edited
            found[name] = means.data
        return found

    one.mount()
    (one.mountpoint / "notes").mkdir()
    for number in range(20):
        one.write(f"notes/{number}.md", f"# Note {number}\n")
    one.write("data.bin", b"\x00" * 200_000)
    wanted = {f"notes/{number}.md": b"# Note %d\n" % number for number in range(20)} | {"data.bin": b"\x00" * 200_000}
    until(lambda: shown() == wanted, "all files are in the bucket")
    two.mount()
    (one.mountpoint / "notes").rename(one.mountpoint / "old")
    (one.mountpoint / "data.bin").unlink()
    one.kill("engine")  # whatever it was doing: the mount starts another one
    one.write("old/0.md", "# Changed\n")
    one.sync()
    wanted = {name.replace("notes/", "old/"): data for name, data in wanted.items() if name != "data.bin"}
    wanted["old/0.md"] = b"# Changed\n"
    until(lambda: shown() == wanted, "the view has followed")
    status = json.loads(one.run("view", "--json").stdout)
    assert (status["here"], status["held"], status["stuck"], status["problem"]) == ("keeping", {}, {}, "")
    one.write("last.md", "# Last words\n")
    one.unmount()
    assert shown() == wanted | {"last.md": b"# Last words\n"}
    two.write("more.md", "# More\n")
    two.sync()
    two.unmount()
    until(lambda: shown() == wanted | {"last.md": b"# Last words\n", "more.md": b"# More\n"}, "the other goes on", 1)
    for machine in (one, two):
        machine.fsck()
