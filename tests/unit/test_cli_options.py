"""Options that are refused before a home is opened, and engines that end while they are asked."""

import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from agentfs import Home
from agentfs.cli.homes import _catch_up
from agentfs.cli.main import cli
from agentfs.cli.options import words
from agentfs.cli.standard_input import read_standard_input, standard_input
from agentfs.errors import InvalidArgument, Unavailable


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("curate", "--similarity", "nan"), "nan is no number"),
        (("curate", "--similarity", "inf"), "not in the range"),
        (("curate", "--similarity", "-1"), "not in the range"),
        (("curate", "--similarity", "1.01"), "not in the range"),
        (("curate", "--similarity", ""), "not a valid float"),
        (("remember", "x", "--importance", "nan"), "nan is no number"),
        (("remember", "x", "--ttl", ""), "--ttl is empty"),
        (("view", "rules", "*.{md,txt}=none"), "braces are no choice here"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        cli.main([*arguments], "agentfs", standalone_mode=False)


@pytest.mark.parametrize(
    "arguments", [("import", "-"), ("remember", "-"), ("lifecycle", "check", "-"), ("curate", "--apply", "-")]
)
def test_a_process_without_standard_input_is_told(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InvalidArgument, match="standard input is closed"):
        cli.main([*arguments], "agentfs", standalone_mode=False)


def test_standard_input_that_is_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Directory:
        @property
        def buffer(self) -> "Directory":
            return self

        def read(self) -> bytes:
            raise IsADirectoryError(21, "Is a directory")

    monkeypatch.setattr(sys, "stdin", Directory())
    assert standard_input() is not None
    with pytest.raises(InvalidArgument, match="cannot be read: Is a directory"):
        read_standard_input()


def test_an_engine_that_ends_before_it_answers_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is the engine of another command, and ends with it."""
    environment = {
        "HOME": str(tmp_path), "AGENTFS_STORE": str(tmp_path / "store"), "AGENTFS_STATE_DIR": str(tmp_path / "state"),
        "AGENTFS_AGENT_ID": "me", "AGENTFS_VIEW": "off", "AGENTFS_EMBEDDER": "off",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with Home.open() as home:
        home.write("a.md", "---\ntags: [ops]\n---\nDeploys go out on Tuesdays.\n")
    monkeypatch.setattr("agentfs.replica.lock_file.holder", lambda _path: 1)
    done = CliRunner().invoke(cli, ["tags"], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, "1  ops\n")


def test_words_of_an_option_that_is_given_several_times() -> None:
    assert words(("a,b", "", " c ,", ",")) == ("a", "b", "c")


def test_an_engine_that_takes_long_to_start_keeps_nobody_from_what_is_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Slow:
        def _away(self) -> str:
            return ""

        def pull(self, seconds: float) -> None:
            raise Unavailable(f"the engine of this home does not answer within {seconds}")

    _catch_up(Slow())  # type: ignore[arg-type]
    assert "this machine's copy is used" in capsys.readouterr().err
