"""Leaving a mount: a use that lasts a moment is waited for, one that stays is named."""

import os
import threading

from machines import Fleet


def test_a_momentary_use_does_not_keep_it(machines: Fleet) -> None:
    machine = machines.on(f"file://{machines.root}/store")
    machine.mount()
    machine.write("note", b"1")
    stop = threading.Event()

    def look() -> None:  # as df, monitors and indexers do
        while not stop.is_set():
            try:
                fd = os.open(machine.path(), os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue
            os.fstatvfs(fd)
            stop.wait(0.05)
            os.close(fd)
            stop.wait(0.03)  # in between, for a moment, nobody uses it

    looker = threading.Thread(target=look)
    looker.start()
    try:
        machine.unmount()
    finally:
        stop.set()
        looker.join(10)
    assert not machine.processes()
    machine.fsck()


def test_a_use_that_stays(machines: Fleet) -> None:
    machine = machines.on(f"file://{machines.root}/store")
    machine.mount()
    with open(machine.path("open"), "wb") as file:
        refused = machine.unmount(ok=False)
        assert refused.returncode == 1 and "in use" in refused.stderr and "--force" in refused.stderr
        assert machine.is_mounted()
        file.write(b"still works")
    assert machine.read("open") == b"still works"
    machine.unmount()
    assert not machine.processes()
    machine.fsck()
