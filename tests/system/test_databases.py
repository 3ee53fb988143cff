"""A live SQLite database on the mount: every copy elsewhere is a database, at a moment between two transactions."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from machines import Fleet, Machine, until

from agentfs.testing.servers import S3Server


def _inspect(machine: Machine, scratch: Path) -> int:
    """The last transaction in a copy of the database that `machine` shows; fails when it is not sound."""
    data = machine.read("app.db")  # one open: one version
    place = scratch / "copy.db"
    place.write_bytes(data)
    connection = sqlite3.connect(place)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        last = connection.execute("SELECT max(number) FROM entry").fetchone()[0] or 0
        present = {row[0]: row[1] for row in connection.execute("SELECT number, count(*) FROM entry GROUP BY number")}
        deleted = {number - 5 for number in range(7, last + 1, 7)}
        expected = {number: 2 for number in range(1, last + 1) if number not in deleted}
        assert present == expected, "a transaction is there in part, or out of order"
        return last
    finally:
        connection.close()
        place.unlink()


def test_a_live_database_travels_whole(
    machines: Fleet, ministack_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    here = machines.machine(ministack_server, bucket)
    there = machines.machine(ministack_server, bucket)
    here.mount()
    there.mount()
    writer = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("committer.py")), os.fsdecode(here.path("app.db"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    here.children.append(writer)
    committed = [0]

    def listen() -> None:
        for line in writer.stdout:
            committed[0] = int(line)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        until(lambda: committed[0] > 20, "transactions are committed")
        until(lambda: os.path.exists(there.path("app.db")), "the database is seen while it is being written")
        seen: list[int] = []

        def advanced() -> bool:
            last = _inspect(there, tmp_path)
            # The line that says so may come a moment later.
            until(lambda: last <= committed[0] + 1, "nothing travels that was not committed")
            if not seen or last > seen[-1]:
                seen.append(last)
            assert last >= seen[-1], "the database went backwards"
            return len(seen) >= 4

        until(advanced, "several versions travel")
        until(lambda: committed[0] > seen[-1], "it goes on")
    finally:
        writer.stdin.close()
        code = writer.wait(30)
        listener.join(30)
        errors = writer.stderr.read()
        writer.stderr.close()
        writer.stdout.close()
    assert code == 0, errors
    final = committed[0]
    assert final > seen[-1]
    here.sync()
    until(lambda: _inspect(there, tmp_path) == final, "the last transaction travels")
    # A machine with two processes of its own reads what SQLite itself reads here.
    copy = tmp_path / "through-sqlite.db"
    source = sqlite3.connect(os.fsdecode(there.path("app.db")))
    assert source.execute("SELECT max(number) FROM entry").fetchone() == (final,)
    source.close()
    shutil.copy(here.path("app.db"), copy)
    assert not [name for name in os.listdir(there.path()) if b".conflict-" in name]
    here.unmount()
    there.unmount()
    here.fsck("--deep")
    there.fsck("--deep")


@pytest.mark.slow
def test_a_killed_writers_database_travels(
    machines: Fleet, ministack_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    """`kill -9` of the program and of the mount: what it committed is in its -wal, which stays here."""
    here = machines.machine(ministack_server, bucket)
    here.mount()
    writer = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("committer.py")), os.fsdecode(here.path("app.db"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    here.children.append(writer)
    with writer:
        for line in writer.stdout:
            if int(line) >= 150:
                break
        writer.kill()
        rest = writer.stdout.read().split()
    acknowledged = int(rest[-1]) if rest else int(line)
    here.crash()
    here.mount()
    here.sync()
    there = machines.machine(ministack_server, bucket)
    there.mount()
    last = _inspect(there, tmp_path)
    assert acknowledged <= last <= acknowledged + 1, "committed transactions must be in the copy"
    reopened = sqlite3.connect(os.fsdecode(here.path("app.db")))
    assert reopened.execute("SELECT max(number) FROM entry").fetchone() == (last,)
    reopened.close()
    here.unmount()
    there.unmount()
    here.fsck("--deep")
