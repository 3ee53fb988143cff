"""The view of a mounted home, read by a program that has never heard of AgentFS."""

import json
from typing import Any

import pytest
from machines import Fleet, Machine, until

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

    def view(machine: Machine) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(machine.run("view", "--json").stdout)
        return found

    def written_at_the_end(follower: Machine) -> None:
        """A keeper that ends writes for two seconds what is due. A machine that is too slow for that leaves the rest
        to whoever follows."""
        if shown() != wanted:
            follower.run("view", "rebuild")
            until(lambda: shown() == wanted, "who follows writes it")

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
    # Who pushed the change wrote it too. If that was the command, it let the place go: a mount takes it.
    until(lambda: "keeping" in {view(it)["here"] for it in (one, two)}, "a mount keeps the view")
    keeper, other = (one, two) if view(one)["here"] == "keeping" else (two, one)
    status = view(keeper)
    assert (status["here"], status["held"], status["stuck"], status["problem"]) == ("keeping", {}, {}, "")
    keeper.write("last.md", "# Last words\n")
    keeper.unmount()
    wanted["last.md"] = b"# Last words\n"
    written_at_the_end(other)
    other.write("more.md", "# More\n")
    other.sync()
    other.unmount()
    wanted["more.md"] = b"# More\n"
    written_at_the_end(one)
    for machine in (one, two):
        machine.fsck()
