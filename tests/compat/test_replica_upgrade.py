"""A replica that an earlier version made opens, with all that is in it."""

import importlib.resources
from pathlib import Path

import apsw
import pytest

from agentfs.clock import SystemClock
from agentfs.errors import NewerFormat
from agentfs.replica.check import check
from agentfs.replica.database import SCHEMA_VERSION
from agentfs.replica.replica import Replica

HERE = Path(__file__).parent


def columns(connection: apsw.Connection) -> dict[str, list[tuple[object, ...]]]:
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
    return {it: connection.execute(f"PRAGMA table_info({it})").fetchall() for it in tables}


def names(connection: apsw.Connection) -> set[tuple[object, ...]]:
    return set(connection.execute("SELECT type, name FROM sqlite_schema"))


def test_version_1(tmp_path: Path) -> None:
    old = apsw.Connection(str(tmp_path / "replica.db"))
    old.execute((HERE / "replica_v1/schema.sql").read_text())
    old.execute("INSERT INTO state VALUES('schema_version', 1)")
    for key, value in {"volume_kind": "home", "volume_id": "a", "replica_id": "r", "head_sequence": 0}.items():
        old.execute("INSERT INTO state VALUES(?,?)", (key, value))
    old.execute("INSERT INTO state VALUES('head_digest', zeroblob(32)), ('head_time_ns', 0)")
    row = "1,1,2,493,0,0,0,2,0,0,0,0,0,NULL,1,1,0,0,0,0,0"
    old.execute(f"INSERT INTO inode VALUES({row})")
    old.execute("INSERT INTO conflict VALUES(1,'content',1,x'61',x'62','both',NULL,5)")
    old.close()
    replica = Replica.open(str(tmp_path), volume_kind="home", volume_id="a", session_kind="cli", clock=SystemClock())
    try:
        assert replica.connection.rows("SELECT detail, sides FROM conflict") == [("both", None)]
        assert check(replica) == []
        new = apsw.Connection(":memory:")
        new.execute(importlib.resources.files("agentfs.replica").joinpath("schema.sql").read_text("utf-8"))
        upgraded = apsw.Connection(str(tmp_path / "replica.db"), flags=apsw.SQLITE_OPEN_READONLY)
        assert columns(upgraded) == columns(new)
        assert names(upgraded) == names(new)
        upgraded.close()
    finally:
        replica.close()


def test_a_newer_one_is_refused(tmp_path: Path) -> None:
    def opened() -> Replica:
        return Replica.open(str(tmp_path), volume_kind="home", volume_id="a", session_kind="cli", clock=SystemClock())

    with opened() as replica:
        replica.set_state("schema_version", SCHEMA_VERSION + 1)
    with pytest.raises(NewerFormat):
        opened()
