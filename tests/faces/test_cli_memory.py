"""`agentfs remember`, `recall` and their kin, as people run them: over the embedded store, without a mount."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Machine, machine

from agentfs.cli.exits import NOT_FOUND, USAGE


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path, index=True) as made:
        yield made


def test_a_memory_from_the_command_line_and_back(one: Machine) -> None:
    path = one.ok("remember", "Deploys go out", "on Tuesdays.", "--tag", "ops,work", "--ttl", "7d").text.strip()
    assert path.startswith("memories/")
    assert path.endswith("/deploys-go-out-on-tuesdays.md")
    made = one.ok("remember", "-", "--title", "Stdin", "--json", stdin="über die Leitung: 東京\n".encode()).json
    assert made["synced"] is True
    assert made["path"].endswith("/stdin.md")

    text = one.ok("recall", "when", "do we deploy").text
    assert text.startswith(f"## {path}:")
    assert "Deploys go out on Tuesdays." in text
    answer = one.ok("recall", "東京", "--json", "--max-tokens", "100").json
    assert answer["relevant"] is True
    assert answer["tokens"] <= 100
    assert answer["passages"][0]["path"] == made["path"]
    assert answer["passages"][0]["text"] == "über die Leitung: 東京"
    assert {"first_line", "last_line", "score", "parts", "date", "version"} <= answer["passages"][0].keys()

    taken = one.run("remember", "again", "--path", made["path"])
    assert (taken.code, f"{made['path']} exists, and remember makes new files" in taken.err) == (1, True)

    small = one.run("recall", "when do we deploy", "--max-tokens", "3")
    assert (small.code, small.text) == (0, "")
    needs = small.err.rpartition(" ")[2].strip()
    assert f"not within 3 tokens: the best passage needs {needs}; ask with" in small.err
    assert "Tuesdays" in one.ok("recall", "when do we deploy", "--max-tokens", needs).text

    listed = one.ok("search", "deploy", "--tag", "ops", "--explain").text
    assert f"{path}:" in listed
    assert "words +" in listed
    assert one.ok("tags").text == "1  ops\n1  work\n"
    stats = one.ok("reindex", "--json").json
    assert (stats["documents"], stats["behind"], stats["problem"], stats["unread"]) == (2, 0, "", {})
    assert stats["next_expiry"] is not None

    assert one.ok("forget", path, "--dry-run").text == f"would forget {path}\n"
    assert one.ok("forget", path, "--json").json == {"forgotten": [path], "would_forget": [], "synced": True}
    assert path not in one.ok("search", "deploy").text


def test_what_is_refused(one: Machine) -> None:
    assert "a number of seconds" in one.refused(USAGE, "recall", "x", "--wait", "nan")
    assert one.run("recall", "x", "--wait", "inf").code == 0
    assert "no text" in one.refused(USAGE, "remember")
    assert "soon" in one.refused(USAGE, "remember", "x", "--ttl", "soon")
    assert "nothing.md" in one.refused(NOT_FOUND, "forget", "nothing.md")
    assert "no time" in one.refused(USAGE, "recall", "x", "--since", "v3")
    one.extra["AGENTFS_INDEX"] = "off"
    assert "agentfs config set index true" in one.refused(USAGE, "recall", "x")
