"""What is known of a view's objects: derived, safe to lose."""

import dataclasses
from pathlib import Path

import pytest

from agentfs.errors import Unavailable
from agentfs.view.shown import Shown, ShownTable

ROW = Shown("notes/a.md", 7 << 24, 12, b"d" * 32, '"e"', 120, 3, 1.5)


def test_what_was_put_is_found_by_name_by_file_and_in_order(tmp_path: Path) -> None:
    table = ShownTable(str(tmp_path))
    rows = [dataclasses.replace(ROW, name=name) for name in ("notes/a.md", "notes", "notes.md", "notes/ä", "notesb")]
    table.put(rows)
    table.put([dataclasses.replace(ROW, name="other", file=1, version=None)])
    assert table.get("notes/a.md") == ROW
    assert table.get("missing") is None
    assert [it.name for it in table.of_file(ROW.file)] == sorted(it.name for it in rows)
    assert [it.name for it in table.below("notes")] == ["notes", "notes/a.md", "notes/ä"]
    names = [it.name for it in table.page()]
    assert names == sorted(names, key=str.encode) and len(names) == 6
    assert [it.name for it in table.page(after=names[1], limit=2)] == names[2:4]
    assert table.counts() == (6, 6 * ROW.size_bytes)
    table.forget(["notes", "missing"])
    assert table.get("notes") is None and table.counts()[0] == 5
    table.close()


def test_it_stays_when_the_process_ends(tmp_path: Path) -> None:
    first = ShownTable(str(tmp_path))
    first.put([ROW])
    first.hold("x", "somebody changed it")
    first.set_state("mark", "abc")
    first.close()
    first.close()
    with pytest.raises(Unavailable):
        first.page()
    again = ShownTable(str(tmp_path))
    assert (again.page(), again.held(), again.state("mark")) == ([ROW], {"x": "somebody changed it"}, "abc")
    again.release("x")
    again.release("x")
    again.forget_all()
    assert (again.page(), again.held(), again.state("mark"), again.state("no")) == ([], {}, "abc", None)
    again.close()


@pytest.mark.parametrize("damage", ["garbage", "version"])
def test_what_is_damaged_or_of_another_version_is_made_anew(tmp_path: Path, damage: str) -> None:
    table = ShownTable(str(tmp_path))
    table.put([ROW])
    if damage == "version":
        table.set_state("schema_version", 999)
    table.close()
    if damage == "garbage":
        for suffix in ("-wal", "-shm"):
            (tmp_path / f"view.db{suffix}").unlink(missing_ok=True)
        (tmp_path / "view.db").write_bytes(b"no database at all" * 100)
    again = ShownTable(str(tmp_path))
    assert again.page() == []
    again.put([ROW])
    assert again.get(ROW.name) == ROW
    again.close()
