"""Lifecycle rules over S3 with real mounts: one machine applies them, both see it."""

import json
import os

from machines import Fleet, until

from agentfs.testing.servers import S3Server

RULES = """
[[lifecycle]]
glob = "logs/**"
expire = "1s"

[[lifecycle]]
glob = "daily/*.md"
archive = "1s"
"""


def test_two_mounts_and_a_rule(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    one = machines.machine(ministack_server, bucket, agent="ann")
    two = machines.machine(ministack_server, bucket, agent="ann")
    one.mount()
    two.mount()
    for name in ("logs", "daily"):
        os.mkdir(one.path(name))
    for name in ("logs/old", "logs/open", "daily/a.md", "notes.md"):
        one.write(name, name)
    one.sync()
    rules = one.root / "rules.toml"
    rules.write_text(RULES)
    with open(one.path("logs/open"), "ab") as file:
        file.write(b"+")
        file.flush()
        one.run("lifecycle", "set", str(rules))
        done: dict = {"files": 0}
        while not done["files"]:  # until they are a second old
            done = json.loads(one.run("lifecycle", "run", "--json").stdout)
        assert {it["path"] for it in done["steps"]} == {"logs/old", "daily/a.md"}
        assert sorted(os.listdir(one.path("logs"))) == [b"open"]
        assert one.read("archive/daily/a.md") == b"daily/a.md"
    until(lambda: not os.path.exists(two.path("logs/old")), "the deletion reaches the other machine")
    until(lambda: os.path.exists(two.path("archive/daily/a.md")), "and so does the move")
    assert not os.path.exists(two.path("daily/a.md"))
    said = two.run("history", "logs/old").stdout.splitlines()[0]
    assert "lifecycle" in said and "deleted (rule logs/** expire 1s)" in said
    until(lambda: two.read("logs/open") == b"logs/open+", "what was written meanwhile")
