"""`agentfs view` on a folder, where `cat` is another program."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agentfs.cli.main import cli
from agentfs.errors import InvalidArgument
from agentfs.replica import backing
from agentfs.volume import engine_host, view


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`agentfs …` in this process: what it prints. However slow the machine is, a command that ends writes all."""
    monkeypatch.setattr(backing, "DIRECTORIES", 4)
    monkeypatch.setattr(engine_host, "_END_SECONDS_MAX", 60.0)
    monkeypatch.setattr(view, "_END_SECONDS", 60.0)
    (tmp_path / "store").mkdir()
    (tmp_path / "config.toml").touch()
    place = {"STATE_DIR": tmp_path / "state", "STORE": tmp_path / "store", "CONFIG": tmp_path / "config.toml"}
    for name, value in {**place, "AGENT_ID": "me", "INDEX": "off"}.items():
        monkeypatch.setenv(f"AGENTFS_{name}", str(value))

    def ran(*arguments: str, stdin: bytes = b"") -> str:
        done = CliRunner().invoke(cli, list(arguments), input=stdin, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return ran


def test_what_commands_store_can_be_read_without_them(tmp_path: Path, run: Callable[..., str]) -> None:
    place = tmp_path / "store" / "agents" / "me"

    def told(*arguments: str) -> Any:
        return json.loads(run("view", *arguments, "--json"))

    assert "has no view yet" in run("view")
    run("put", "-", "notes/a.md", stdin=b"# A\n")
    run("put", "-", "b.log", stdin=b"log\n")
    assert (place / "notes" / "a.md").read_text().endswith("---\n# A\n")
    assert (place / "b.log").read_bytes() == b"log\n"
    assert run("view", "rules", "*.log=none", "notes/=plain").splitlines() == ["*.log   none", "notes/  plain"]
    done = told("rebuild")
    assert (done["put"], done["deleted"], done["held"], done["stuck"]) == (1, 1, {}, {})
    assert (place / "notes" / "a.md").read_bytes() == b"# A\n"
    assert not (place / "b.log").exists()
    status = told("status", "--files")
    assert (status["mode"], status["through"], status["head"]) == ("on", 2, 2)
    assert status["without"] == {"b.log": "a rule says none"}
    assert status["address"] == f"{place}/"
    assert f"where       {status['address']}\n" in run("view")
    assert "1 of 2 files have no object" in run("view", "--files")
    run("rm", "notes/a.md")
    assert list(tmp_path.glob("store/agents/**/*.md")) == []
    assert "looks       every 300s: " in run("view")
    assert run("view", "off") == "the view is off\n"
    assert "looks       not while the view is off\n" in run("view")
    run("put", "-", "c.md", stdin=b"# C\n")
    assert not (place / "c.md").exists()
    run("view", "lazy")
    run("put", "-", "d.md", stdin=b"# D\n")
    assert (place / "c.md").exists() and (place / "d.md").exists()
    with pytest.raises(InvalidArgument, match="is no policy"):
        run("view", "rules", "x=y")
    assert "is no rule" in CliRunner().invoke(cli, ["view", "rules", "x"]).output
