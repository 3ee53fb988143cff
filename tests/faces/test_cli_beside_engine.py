"""Commands beside an engine that runs already: they ask it, and load what they need for that, nothing of the engine.

What is loaded is most of such a command's time, so it is counted here.
"""

import subprocess
from collections.abc import Iterator

import pytest
from command import PROGRAM, Machine

from agentfs.config.settings import load
from agentfs.sdk.home import Home

ENGINES = ("obstore", "numpy", "tokenizers", "yaml", "loro", "agentfs.sync", "agentfs.log", "agentfs.view",
           "agentfs.volume.engine_host", "agentfs.volume.services", "agentfs.stores.open")  # fmt: skip
HOMES = ("agentfs.sdk", "agentfs.tree", "agentfs.replica.replica")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Home]]:
    """A home that is open in this process, whose engine serves the commands."""
    root = tmp_path_factory.mktemp("beside")
    (root / "store").mkdir()
    machine = Machine(root, str(root / "store"), index=True)
    given = {"HOME": str(root)} | {k: v for k, v in machine.environment.items() if k.startswith("AGENTFS_")}
    with Home.open(settings=load({}, environment=given)) as home:
        home.write("notes/a.md", "deploys go out on Tuesdays\n")
        yield machine, home


def loaded_by(machine: Machine, *arguments: str) -> tuple[set[str], str]:
    """The modules that a command loads, and what it prints."""
    done = subprocess.run(
        [PROGRAM[0], "-X", "importtime", *PROGRAM[1:], *arguments],
        env=machine.environment,
        capture_output=True,
        check=True,
        timeout=90,
    )
    lines = done.stderr.decode().splitlines()
    return {
        line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")
    }, done.stdout.decode()


def of(names: tuple[str, ...], loaded: set[str]) -> list[str]:
    return sorted(it for it in loaded if any(it == name or it.startswith(f"{name}.") for name in names))


@pytest.mark.parametrize(
    ("arguments", "modules_max"),
    [
        (("remember", "The staging key rotates monthly.", "--tag", "ops", "--importance", "0.7"), 125),
        (("cat", "notes/a.md"), 110),
    ],
    ids=["remember", "cat"],
)
def test_a_command_that_opens_the_home(
    world: tuple[Machine, Home], arguments: tuple[str, ...], modules_max: int
) -> None:
    machine, home = world
    loaded, printed = loaded_by(machine, *arguments)
    assert of(ENGINES, loaded) == []
    assert len(of(("agentfs",), loaded)) <= modules_max
    if arguments[0] == "cat":
        assert printed == "deploys go out on Tuesdays\n"
    else:  # it is in the store when the command returns, and here at once
        assert home.read_text(printed.strip()).endswith("The staging key rotates monthly.\n")
        assert home.status().pending.changes == 0


@pytest.mark.parametrize("command", ["recall", "search"])
def test_a_question_loads_less_than_a_home(world: tuple[Machine, Home], command: str) -> None:
    machine, _ = world
    loaded, printed = loaded_by(machine, command, "when do deploys go out?")
    assert "Tuesdays" in printed
    assert of(ENGINES + HOMES, loaded) == []
    assert len(of(("agentfs",), loaded)) <= 50


def test_the_python_api_loads_no_engine() -> None:
    """Until one is to run in the process: beside a mount it never is."""
    done = subprocess.run(
        [PROGRAM[0], "-X", "importtime", "-c", "import agentfs.sdk.asynchronous"],
        capture_output=True,
        check=True,
        timeout=90,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert "agentfs.sdk.asynchronous" in loaded
    assert of(ENGINES, loaded) == []
