"""The command without a mount: what it prints, its exit codes, its errors, its help."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from command import PROGRAM, Machine, machine, until

from agentfs import Home
from agentfs.cli import exits
from agentfs.cli.documentation import cli_page, configuration_page, errors_page
from agentfs.cli.main import COMMANDS, cli
from agentfs.config.settings import load

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.fixture
def me(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as made:
        yield made


def test_help_lists_every_command_and_loads_none(me: Machine) -> None:
    text = me.ok("--help").text
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", *PROGRAM[1:], "--help"],
        env=me.environment,
        capture_output=True,
        check=True,
    ).stderr
    assert b"click" in loaded
    for name in (b"apsw", b"obstore", b"numpy", b"agentfs.volume", b"agentfs.replica"):
        assert name not in loaded
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^\s+{name}\s+{re.escape(line[:30])}", text, re.MULTILINE)


@pytest.mark.parametrize("name", [*COMMANDS, "umount", "config set", "config get", "config unset", "config path"])
def test_every_command_has_help_with_an_example(me: Machine, name: str) -> None:
    text = me.ok(*name.split(), "--help").text
    assert "Examples" in text
    examples = text.partition("Examples")[2]
    assert f"agentfs {name.replace('umount', 'unmount').split()[0]}" in examples


@pytest.mark.parametrize("name", ["", "config", "conflicts", "fork", "lifecycle", "snapshot", "space", "view"])
def test_a_group_says_what_its_commands_do_in_whole_sentences(name: str) -> None:
    command = cli.get_command(click.Context(cli), name) if name else cli
    assert isinstance(command, click.Group)
    text = CliRunner().invoke(cli, [*name.split(), "--help"]).output
    assert "Examples:\n  agentfs" in text
    commands = text.partition("Commands:\n")[2].partition("\n\n")[0]
    assert commands and "..." not in commands


def test_put_ls_cat_rm(me: Machine) -> None:
    me.ok("put", "-", "notes/a.md", stdin=b"hello\n\xff")
    assert me.ok("cat", "notes/a.md").out == b"hello\n\xff"
    me.ok("put", "-", "notes/a.md", "--append", stdin=b"more")
    assert me.ok("cat", "notes/a.md", "/notes/a.md").out == b"hello\n\xffmore" * 2
    assert me.ok("ls").text == "notes/\n"
    assert me.ok("ls", "-r").text == "notes/\nnotes/a.md\n"
    assert re.fullmatch(r"-rw-r--r--  1  \d+:\d+  11  [0-9: -]{16}  a.md\n", me.ok("ls", "-l", "notes").text)
    assert me.ok("ls", "notes/a.md").text == "a.md\n"
    assert "add -r" in me.refused(exits.USAGE, "rm", "notes")
    me.ok("rm", "-r", "notes")
    assert me.ok("ls").out == b""
    assert "notes" in me.refused(exits.NOT_FOUND, "rm", "notes")
    me.ok("rm", "-f", "notes")


def test_put_takes_files_and_directories(me: Machine) -> None:
    source = me.root / "source"
    (source / "deep").mkdir(parents=True)
    (source / "one.txt").write_text("1")
    (source / "deep" / "two.txt").write_text("2")
    me.ok("put", str(source / "one.txt"))
    me.ok("put", str(source / "one.txt"), "inside/")
    assert "add -r" in me.refused(exits.USAGE, "put", str(source))
    stored = me.ok("put", "-r", str(source), "copy", "--json").json
    assert stored == {"stored": ["copy/one.txt", "copy/deep/two.txt"], "synced": True}
    paths = [entry["path"] for entry in me.ok("ls", "-r", "--json").json["entries"]]
    assert {"one.txt", "inside/one.txt", "copy/deep/two.txt"} <= set(paths)
    assert "no-such" in me.refused(exits.USAGE, "put", str(me.root / "no-such"), "x")
    assert "target" in me.refused(exits.USAGE, "put", "-")


def test_names_that_are_not_utf8_are_shown_escaped(me: Machine) -> None:
    done = subprocess.run(
        [*PROGRAM, "put", "-", b"caf\xe9\n.md"], input=b"x", env=me.environment, capture_output=True, check=True
    )
    assert done.stderr == b""
    assert "caf\\xe9" in me.ok("ls").text
    assert me.ok("ls", "--json").json["entries"][0]["path"] == "caf\\xe9\n.md"


def test_json_has_stable_keys(me: Machine) -> None:
    me.ok("put", "-", "a", stdin=b"x")
    entry = me.ok("ls", "--json").json["entries"][0]
    assert set(entry) == {
        "path", "kind", "size_bytes", "mode", "uid", "gid", "modified", "modified_ns", "created_ns",
    }  # fmt: skip
    assert set(me.ok("sync", "--json").json) == {"synced", "head_sequence", "pending", "spaces"}
    status = me.ok("status", "--json").json
    assert set(status) == {"mounts", "volumes", "damaged"}
    assert set(status["volumes"][0]) == {
        "volume", "directory", "head_sequence", "pending", "conflicts", "cached_bytes", "online", "problem",
        "engine_pid", "engine", "sessions", "late", "copied", "agent_id", "budgets",
        "lock_breaches",
    }  # fmt: skip
    assert set(status["volumes"][0]["pending"]) == {"changes", "size_bytes", "oldest_seconds", "paths"}
    assert set(me.ok("version", "--json").json) == {"agentfs", "format", "python", "platform", "libraries"}
    assert set(me.ok("fsck", "--json").json) == {"clean", "entries", "findings", "actions"}
    assert set(me.ok("config", "--json").json) == {"path", "settings"}
    doctor = me.run("doctor", "--json").json
    assert set(doctor) == {"healthy", "checks"}
    assert {"name", "status", "detail", "fix"} == set(doctor["checks"][0])


def test_errors_are_one_line_or_one_document(me: Machine) -> None:
    line = me.refused(exits.NOT_FOUND, "cat", "nothing")
    assert line == "agentfs: nothing: no such file or directory"
    result = me.run("ls", "nothing", "--json")
    assert (result.code, result.err) == (exits.NOT_FOUND, "")
    assert result.json == {"error": {"code": "not-found", "message": "nothing: no such file or directory"}}
    result = me.run("ls", "--nope", "--json")
    assert (result.code, result.json["error"]["code"]) == (exits.USAGE, "usage")


@pytest.mark.parametrize("agent", ["a/b", "..", "a..b", ".x", "x" * 200, "a b"])
def test_bad_agent_ids(me: Machine, agent: str) -> None:
    assert "is not allowed" in me.refused(exits.USAGE, "ls", "--agent-id", agent)
    assert not me.state_dir.exists()


def test_no_agent_id(me: Machine) -> None:
    me.agent = ""
    assert "--agent-id" in me.refused(exits.USAGE, "ls")


def test_paths_out_of_the_home_are_refused(me: Machine) -> None:
    assert "'..' is not allowed" in me.refused(exits.USAGE, "cat", "../../etc/passwd")
    assert me.run("cat", "/etc/passwd").code == exits.NOT_FOUND


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("ftp://x", "must be s3://"),
        ("s3://key:hunter2@bucket", "must not carry"),
        ("s3://bucket?secret=hunter2", "unknown option"),
        ("relative/path", "must be s3://"),
        ("s3://", "needs a name"),
    ],
)
def test_bad_store_urls_are_refused_without_repeating_secrets(me: Machine, store: str, said: str) -> None:
    me.store = store
    line = me.refused(exits.USAGE, "ls")
    assert said in line
    assert "hunter2" not in line
    for arguments in (("config",), ("config", "get", "store"), ("doctor",), ("status",)):
        result = me.run(*arguments)
        assert "hunter2" not in result.text + result.err


def test_a_store_directory_that_is_not_there(me: Machine) -> None:
    me.store = str(me.root / "not" / "mounted")
    assert me.run("ls").code == exits.NOT_FOUND
    assert not (me.root / "not").exists()


def test_what_the_parts_have_to_say_is_a_line_of_the_command(me: Machine) -> None:
    me.ok("put", "-", "a", stdin=b"1")
    me.ok("put", "-", "b", "--no-sync", stdin=b"2")
    (me.root / "store").rename(me.root / "away")
    told = me.run("ls")
    assert (told.code, told.text) == (0, "a\nb\n")
    assert "changes (1 B) are not in the store after" in told.err
    assert all(line.startswith("agentfs: ") for line in told.err.splitlines())


def test_init_writes_the_configuration_and_the_next_step(me: Machine) -> None:
    me.extra = {"AGENTFS_STORE": "", "AGENTFS_AGENT_ID": ""}
    text = me.ok("init", "--agent-id", "ada").text
    assert "next    agentfs mount DIRECTORY" in text
    assert me.ok("config", "get", "agent_id").text == "ada\n"
    assert me.ok("config", "--json").json["settings"]["store"]["origin"].endswith("config.toml [default]")
    again = me.ok("init", "--json").json
    assert (again["agent_id"], again["format"]) == ("ada", 1)
    me.ok("put", "-", "x", stdin=b"1")
    assert (me.root / ".local/share/agentfs/store/.agentfs/store.json").exists()


def test_init_says_when_the_other_homes_get_another_store(me: Machine) -> None:
    me.extra = {"AGENTFS_STORE": "", "AGENTFS_AGENT_ID": ""}
    one, two = me.root / "one", me.root / "two"
    assert me.run("init", "--agent-id", "ada", "--store", str(one)).err == ""
    assert me.run("init", "--agent-id", "ada", "--store", str(one)).err == ""
    me.ok("put", "-", "x", stdin=b"1")
    told = me.run("init", "--agent-id", "bob", "--store", str(two), "--default")
    assert told.code == 0
    assert f"agentfs config set store '{one}' --agent-id ID" in told.err
    assert me.ok("config", "get", "agent_id").text == "bob\n"
    assert me.ok("ls", "--agent-id", "ada").text == ""
    assert str(me.root) not in me.ok("status", "--agent-id", "bob").text
    assert me.ok("status", "--agent-id", "ada").text.count("home-ada in /") == 2
    me.ok("config", "set", "store", str(one), "--agent-id", "ada")
    assert me.ok("ls", "--agent-id", "ada").text == "x\n"


def test_init_with_another_store_is_for_this_agent(me: Machine) -> None:
    """As the README begins: a folder first, then a bucket. What others rely on stays, and the output says so."""
    me.extra = {"AGENTFS_STORE": "", "AGENTFS_AGENT_ID": ""}
    one, two = me.root / "one", me.root / "two"
    me.ok("init", "--agent-id", "ada", "--store", str(one))
    me.ok("put", "-", "x", stdin=b"1")
    lines = me.ok("init", "--agent-id", "bob", "--store", str(two)).text.splitlines()
    assert lines[1].endswith("[agents.bob]")
    assert lines[2].startswith(f"others  keep {one} ")
    assert lines[3].startswith("agent   ada where no --agent-id is given ")
    assert lines[4] == "next    agentfs mount DIRECTORY --agent-id bob"
    assert me.ok("ls").text == "x\n"
    assert me.ok("config", "get", "store", "--agent-id", "bob").text == f"{two}\n"
    again = me.ok("init", "--agent-id", "ada", "--store", str(two), "--json").json
    assert (again["table"], again["default_store"], again["default_agent_id"]) == ("agents.ada", str(one), "ada")
    assert again["next"] == "agentfs mount DIRECTORY"
    assert me.ok("ls").text == ""
    assert me.ok("init", "--agent-id", "ada", "--store", str(one), "--default").text.count("\n") == 3
    assert me.ok("ls").text == "x\n"


def test_a_newer_store_is_left_alone(me: Machine) -> None:
    me.ok("init")
    place = me.root / "store/.agentfs/store.json"
    facts = json.loads(place.read_text())
    place.write_text(json.dumps(facts | {"format": 99}))
    before = sorted(str(path) for path in (me.root / "store").rglob("*"))
    line = me.refused(exits.FAILED, "put", "-", "x", stdin=b"1")
    assert "upgrade" in line
    assert sorted(str(path) for path in (me.root / "store").rglob("*")) == before
    place.write_text("{")
    assert "store.json is damaged" in me.refused(exits.DAMAGED, "ls")


def test_sync_pushes_what_another_process_left(me: Machine) -> None:
    me.ok("put", "-", "a", stdin=b"1")
    with Home.open("me", settings=load(environment=me.environment), engine="none") as home:
        home.write("important.md", b"kept")
    assert "changes pending" in me.ok("status").text
    me.ok("sync")
    assert "everything is in the store" in me.ok("status").text
    with machine(me.root, name="two") as other:
        assert other.ok("cat", "important.md").out == b"kept"


def test_a_change_that_waits_too_long_is_loud(me: Machine) -> None:
    me.ok("put", "-", "a", "--no-sync", stdin=b"1")
    status = me.ok("status", "--json").json["volumes"][0]
    assert status["late"] is False and status["copied"] is None
    me.extra["AGENTFS_PENDING_LIMIT"] = "0"
    status = me.run("status", "--json")
    assert status.code == exits.STILL_LOCAL and status.json["volumes"][0]["late"] is True
    assert "NOT IN THE STORE FOR" in me.run("status").text
    me.ok("sync")
    assert me.ok("status", "--json").json["volumes"][0]["late"] is False


def test_put_without_sync_stays_pending(me: Machine) -> None:
    assert me.ok("put", "-", "a", "--no-sync", "--json", stdin=b"1").json["synced"] is False
    me.ok("put", "-", "b/c", "--no-sync", stdin=b"1")
    assert me.ok("status", "--json").json["volumes"][0]["pending"]["paths"] == ["a", "b/c"]
    me.ok("rm", "a")
    assert me.ok("ls").text == "b/\n"
    assert "everything is in the store" in me.ok("status").text


def test_a_reader_that_stops_early_is_no_error(me: Machine) -> None:
    me.ok("put", "-", "big", stdin=b"x" * 3_000_000)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", '"$@" | head -c 10; echo " ${PIPESTATUS[0]}"', "-", *PROGRAM, "cat", "big"],
        env=me.environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout == b"x" * 10 + b" 0\n"
    assert done.stderr == b""


def test_ctrl_c_is_130_and_leaves_nothing(me: Machine) -> None:
    me.ok("put", "-", "a", stdin=b"1")
    process = subprocess.Popen(
        [*PROGRAM, "put", "-", "b"], env=me.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(lambda: Path(f"/proc/{process.pid}/syscall").read_text().startswith("0 0x0 "))  # it reads standard input
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == exits.INTERRUPTED
    assert err == b"agentfs: interrupted\n"
    assert me.ok("ls").text == "a\n"


def test_doctor_finds_the_store_safe_and_another_program_first_on_the_path(me: Machine) -> None:
    result = me.run("doctor", "--json")
    checks = {check["name"]: check for check in result.json["checks"]}
    assert checks["store"]["status"] == "ok"
    assert checks["clock"]["status"] == "ok"
    assert checks["sqlite"]["status"] == "ok"
    assert not list((me.root / "store").rglob("probe/*"))


def test_docs_say_every_exit_code() -> None:
    text = (DOCS / "cli.md").read_text("utf-8")
    for code, meaning in exits.MEANINGS.items():
        assert f"| {code} | {meaning} |" in text


def test_docs_are_what_the_program_says() -> None:
    assert (DOCS / "cli.md").read_text("utf-8") == cli_page(), "run python -m agentfs.cli.documentation docs"
    assert (DOCS / "configuration.md").read_text("utf-8") == configuration_page()
    assert (DOCS / "errors.md").read_text("utf-8") == errors_page()


def test_nothing_of_a_secret_is_in_the_environment_of_a_message(me: Machine) -> None:
    me.extra = {"AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_ACCESS_KEY_ID": "AKIDhunter2"}
    for arguments in (("doctor",), ("config",), ("status",), ("version",)):
        result = me.run(*arguments)
        assert "hunter2" not in result.text + result.err
    for path in me.state_dir.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes()
    assert os.environ.get("AWS_SECRET_ACCESS_KEY") != "hunter2"
