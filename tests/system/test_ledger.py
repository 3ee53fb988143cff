"""The ledger itself: what it must notice, it notices. On a plain directory, which a mount has to equal."""

import os
import random

import pytest
from ledger import Ledger, Lost
from load import files
from machines import Fleet


@pytest.fixture
def ledger(machines: Fleet) -> Ledger:
    machine = machines.on("file:///nowhere")  # never mounted: its mountpoint is a directory
    made = Ledger(machine, "load", machine.root / "load")
    made.start(random.Random(1), most=200)
    made.until_acknowledged(200)
    assert made.stop() == 0
    assert made.acknowledged == 200 and len(made.model) > 10
    made.verify()
    return made


def _victim(ledger: Ledger) -> str:
    path = next(path for path in files(ledger.model) if sum(size for _, size in ledger.model[path] or ()))
    return os.fsdecode(ledger.machine.path(f"{ledger.name}/{path}"))


def test_a_lost_file(ledger: Ledger) -> None:
    os.unlink(_victim(ledger))
    with pytest.raises(Lost, match="LOST"):
        ledger.verify()


def test_changed_bytes(ledger: Ledger) -> None:
    with open(_victim(ledger), "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    with pytest.raises(Lost, match="expected"):
        ledger.verify()


def test_a_copy_that_nobody_made(ledger: Ledger) -> None:
    with open(_victim(ledger) + ".conflict-myagent-1", "wb"):
        pass
    with pytest.raises(Lost, match="nobody made it"):
        ledger.verify()


def test_a_short_file(ledger: Ledger) -> None:
    os.truncate(_victim(ledger), 0)
    with pytest.raises(Lost, match="found 0 bytes"):
        ledger.verify()
