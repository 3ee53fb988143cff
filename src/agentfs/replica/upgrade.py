"""A replica of an earlier schema version is brought up to the present one, with all that it holds.

Between versions the schema only ever gains: tables, indexes, triggers, and columns that may be NULL. So the present
`schema.sql`, made in memory, says what is missing. A change of any other kind needs a step of its own here.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import apsw

from agentfs.errors import ReplicaDamaged

Rows: TypeAlias = Callable[[str], list[tuple[Any, ...]]]
"""Runs a statement and gives its rows."""


def additions(old: Rows, schema: str) -> Iterator[str]:
    """The statements that a database lacks of `schema`, in an order in which they can be run. Raises `ReplicaDamaged`
    when more than additions are missing."""
    memory = apsw.Connection(":memory:")

    def new(sql: str) -> list[tuple[Any, ...]]:
        return memory.execute(sql).fetchall()

    try:
        for _ in memory.execute(schema):
            pass
        have: dict[str, str] = dict(old("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))
        for name, kind, sql in new(
            "SELECT name, type, sql FROM sqlite_schema WHERE sql IS NOT NULL "
            "ORDER BY type='trigger', type='index', rowid"
        ):
            if name not in have:
                yield sql
            elif kind == "table":
                yield from _columns(old, new, name)
            elif have[name] != sql:
                yield f"DROP {kind} {name}"
                yield sql
    finally:
        memory.close()


def _columns(old: Rows, new: Rows, table: str) -> Iterator[str]:
    """Columns that `table` lacks. They come last in the schema, so that rows keep their order of columns."""
    have = [row[1] for row in old(f"PRAGMA table_info({table})")]
    wanted = new(f"PRAGMA table_info({table})")
    if [row[1] for row in wanted[: len(have)]] != have:
        raise ReplicaDamaged(f"the table {table} is not one that an earlier AgentFS made: run agentfs fsck --repair")
    for _, name, kind, not_null, default, _ in wanted[len(have) :]:
        if not_null and default is None:
            raise ReplicaDamaged(f"the table {table} cannot be given the column {name}: run agentfs fsck --repair")
        constraint = "" if default is None else f" {'NOT NULL ' if not_null else ''}DEFAULT {default}"
        yield f"ALTER TABLE {table} ADD COLUMN {name} {kind}{constraint}"
