"""`agentfs lifecycle`, as users run it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Machine
from test_cli_history import here, home_of, written

from agentfs import AsyncHome
from agentfs.config.settings import load

RULES = """
# what is scratch goes
[[lifecycle]]
glob = "scratch/keep/**"
keep = true

[[lifecycle]]
glob = "scratch/**"
expire = "1s"

[[lifecycle]]
glob = "daily/**"
archive = "90d"
"""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Machine]:
    with here(tmp_path) as made:
        yield made


def test_from_a_file_of_rules_to_a_commit_that_says_why(one: Machine) -> None:
    rules = one.root / "rules.toml"
    rules.write_text(RULES)
    with home_of(one) as home:
        written(home, ("scratch/keep/a", "1"), ("scratch/b", "22"), ("scratch/c", "333"), ("daily/d", "4"))
        written(home, ("notes.md", "5" * 5), ("scratch/c", None))
        head = home.status().head_sequence
        for _ in home.watch(timeout=1.1):  # until all is a second old
            pass
    assert one.ok("lifecycle").text == "home-me has no lifecycle rules\n"
    assert one.ok("lifecycle", "check", str(rules)).text.splitlines() == [
        "1  scratch/keep/** keep  matches 1",
        "2  scratch/** expire 1s  matches 1  would expire 1 now (2 B)",
        "3  daily/** archive 90d  matches 1  would archive 0 now",
    ]
    said = one.ok("lifecycle", "set", str(rules)).text
    assert "mounts act from" in said and "what goes stays in the history: all" in said
    assert one.ok("lifecycle", "--toml").text == RULES
    listed = one.ok("lifecycle", "--json").json
    assert listed["rules"] == ["scratch/keep/** keep", "scratch/** expire 1s", "daily/** archive 90d"]
    assert (listed["volume"], listed["set_by"], listed["retention"]) == ("home-me", "me", "all")
    assert one.ok("lifecycle").text.splitlines()[2].split() == ["2", "scratch/**", "expire", "1s"]

    dry = one.ok("lifecycle", "run", "--dry-run").text.splitlines()
    assert dry[0].split()[0] == "expire" and dry[0].endswith("2 B  scratch/** expire 1s  scratch/b")
    assert dry[1:] == ["1 file (2 B) would be done"]
    explained = one.ok("lifecycle", "explain", "scratch/b", "--json").json
    assert (explained["rule"], explained["number"], explained["action"], explained["waits"]) == (
        "scratch/** expire 1s", 2, "expire", "",
    )  # fmt: skip
    assert one.ok("lifecycle", "explain", "scratch/keep/a").text == (
        "scratch/keep/a: rule 1, scratch/keep/** keep\nit stays\n"
    )
    assert "not yet: it is not in the log at this path" in one.ok("lifecycle", "explain", "scratch/x").text
    done = one.ok("lifecycle", "run", "--json").json
    assert (done["files"], done["left"], done["dry_run"]) == (1, 0, False)
    assert done["steps"][0] | {"age_s": 0} == {
        "path": "scratch/b", "action": "expire", "rule": "scratch/** expire 1s", "age_s": 0, "size_bytes": 2,
    }  # fmt: skip

    history = one.ok("history", "scratch/b").text.splitlines()
    assert history[0].startswith(f"-   @{head + 1}")
    assert history[0].endswith("lifecycle    -  deleted (rule scratch/** expire 1s)")
    event = one.ok("history", "scratch/b", "--json").json["events"][0]
    assert (event["author"], event["cause"]) == ("lifecycle", "rule scratch/** expire 1s")
    log = one.ok("log", "--author", "lifecycle").text.splitlines()
    assert len(log) == 1 and log[0].endswith("1 deleted (rule scratch/** expire 1s): scratch/b")
    commit = one.ok("log", "--author", "lifecycle", "--json").json["commits"][0]
    assert (commit["sequence"], commit["cause"]) == (head + 1, "rule scratch/** expire 1s")
    assert one.ok("restore", "scratch/b", "--at", f"@{head}").text == "created scratch/b\n"
    assert one.ok("lifecycle", "clear").text == "home-me has no lifecycle rules\n"


def test_rules_that_are_none_are_not_set(one: Machine) -> None:
    rules = one.root / "rules.toml"
    rules.write_text('[[lifecycle]]\nglob = "**/*"\nexpire = "1d"\n')
    said = one.refused(2, "lifecycle", "set", str(rules))
    assert "rule 1: '**/*' would match nearly everything" in said
    rules.write_text('[[lifecycle]]\nglob = "logs/*.{a,b}"\nexpire = "1d"\n')
    assert "rule 1: braces are no choice" in one.refused(2, "lifecycle", "check", str(rules))
    assert "No such file" in one.refused(2, "lifecycle", "check", str(one.root / "nothing.toml"))
    rules.write_bytes(b"\xff")
    assert "UTF-8" in one.refused(2, "lifecycle", "set", str(rules))
    assert one.ok("lifecycle", "--json").json["rules"] == []
    rules.write_text('[[lifecycle]]\nglob = "a/**"\nversions = 3\n')
    result = one.run("lifecycle", "set", str(rules))
    assert result.code == 0
    assert "rules about versions do nothing while the retention is all" in result.err
    assert "no such command" in one.refused(2, "lifecycle", "sett", str(rules)).lower()


def test_from_python(one: Machine) -> None:
    async def go() -> None:
        flags = {"store": one.store, "state_dir": str(one.state_dir), "timeout": 60}
        settings = load(flags, environment={"HOME": str(one.root), "AGENTFS_VIEW": "off"})
        async with await AsyncHome.open(one.agent, settings=settings) as home:
            await home.write("tmp/a", b"1")
            await home.sync()
            assert (await home.lifecycle()).rules == []
            found = await home.set_lifecycle('[[lifecycle]]\nglob = "tmp/**"\nexpire = "30d"\n')
            assert list(found.rules) == ["tmp/** expire 30d"]
            report = await home.plan_lifecycle()
            assert [(it.rule, it.files) for it in report.rules] == [("tmp/** expire 30d", 0)]
            assert (await home.apply_lifecycle()).files == 0
            of = await home.lifecycle_of("tmp/a")
            assert of.due_ns is not None and of.begun_ns is not None
            assert of.due_ns - of.begun_ns == 30 * 86_400 * 10**9

    asyncio.run(go())
