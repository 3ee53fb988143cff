"""JSON lines and other tools' memories, as files."""

import json
import os
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfs.memory.documents import document
from agentfs.memory.interchange import File, Format, Incoming, line, of_row, rows
from agentfs.memory.interchange_foreign import graph, graph_of, is_graph, is_list, is_mem0, listed, mem0
from agentfs.memory.names import beside, file_name, slug

NOW = 1_795_000_000 * 10**9 + 123


def written(file: File, format_: Format = "documents") -> list[dict[str, Any]]:
    found = document(os.fsencode(file.path), file.data, file.xattrs, mtime_ns=file.modified_ns)
    return [json.loads(line(row)) for row in rows(file, found, format_, agent="me")]


def text_of(incoming: Incoming) -> str:
    return incoming.data.decode()


names = st.binary(min_size=1, max_size=20).filter(lambda raw: b"\0" not in raw and b"/" not in raw).map(os.fsdecode)


@settings(max_examples=150, deadline=None)
@given(
    names,
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.integers(0, 2**62),
    st.integers(0, 0o7777),
    st.dictionaries(st.sampled_from([b"user.agentfs.tags", b"user.x"]), st.binary(max_size=20)),
)
def test_a_document_comes_back_byte_for_byte(
    name: str, data: bytes, modified_ns: int, mode: int, xattrs: Mapping[bytes, bytes]
) -> None:
    [row] = written(File(f"d/{name}.md", data, modified_ns, mode, xattrs))
    assert of_row(row, "here") == Incoming(f"d/{name}.md", data, "here", modified_ns, mode & 0o777, xattrs)


def test_a_row_says_what_the_document_is() -> None:
    text = "---\ntags: [a, b]\nimportance: 0.7\ntype: decision\n---\n# One\n\nFirst.\n\n## Two\n\nSecond.\n"
    [whole] = written(File("d/x.md", text.encode(), NOW))
    assert (whole["title"], whole["tags"], whole["importance"], whole["type"]) == ("One", ["a", "b"], 0.7, "decision")
    assert (whole["text"], whole["agent"], whole["mode"]) == (text, "me", "0644")
    passages = written(File("d/x.md", text.encode(), NOW), "passages")
    found = {row["text"]: row for row in passages}
    assert found["Second."]["headings"] == ["One", "Two"]
    assert found["Second."]["lines"] == [12, 12]
    assert found["Second."]["version"] == whole["version"]
    assert found["Second."]["date"].startswith("2026-11-")
    assert written(File("d/x.md", text.encode(), NOW), "text") == [{"text": text}]


def test_what_has_no_text_has_a_document_only() -> None:
    file = File("a.png", b"\x89PNG\0\1", NOW)
    [row] = written(file)
    assert row["base64"]
    assert of_row(row, "").data == file.data
    assert written(file, "passages") == written(file, "text") == []


def test_a_passage_comes_back_as_a_note() -> None:
    text = "---\ntags: [a]\n---\n# Tea\n\nAlice: likes green tea.\n"
    row = next(row for row in written(File("x/tea.md", text.encode(), NOW), "passages") if "green" in row["text"])
    incoming = of_row(row, "here")
    assert incoming.path.startswith("x/tea/")
    assert "likes green tea" in text_of(incoming)
    assert "tags: [a]" in text_of(incoming)
    assert "source: " in text_of(incoming)
    found = document(b"x.md", incoming.data, {}, mtime_ns=0)
    assert found is not None
    assert found.facts.title == "Tea"


def test_any_row_with_a_text_is_a_note() -> None:
    incoming = of_row({"content": "Likes tea.", "tags": "drinks", "created_at": "2026-01-02", "importance": 0.5}, "")
    assert incoming.path == "likes-tea.md"
    assert text_of(incoming) == (
        "---\ntags: [drinks]\nimportance: 0.5\ncreated: 2026-01-02T00:00:00Z\n---\nLikes tea.\n"
    )
    assert text_of(of_row({"text": "--- not a key\n---\nx"}, "")).endswith("--- not a key\n---\nx\n")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"agentfs": "document", "text": "x"}, "has a path"),
        ({"agentfs": "document", "path": "x"}, "has no bytes"),
        ({"agentfs": "document", "path": "x", "base64": "!"}, "cannot be read"),
        ({"agentfs": "document", "path": "x", "text": "x", "version": "00"}, "damaged"),
        ({"agentfs": "document", "path": "x", "text": "x", "mode": "9"}, "octal"),
        ({"agentfs": "passage", "path": "x", "text": "x", "lines": 7}, "two numbers"),
        ({"titel": "x"}, "a row has a text"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(row: Mapping[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        of_row(row, "here")


# ---- the knowledge graph ------------------------------------------------------------------------------------

ENTITY = {"type": "entity", "name": "Jane Doe", "entityType": "person", "observations": ["Speaks\nSpanish", "Codes"]}
RELATION = {"type": "relation", "from": "Jane Doe", "to": "ACME/Berlin", "relationType": "works at"}


def test_an_entity_is_a_note_with_links() -> None:
    assert is_graph(ENTITY)
    assert is_graph(RELATION)
    assert not is_graph({"type": "note", "text": "x"})
    [jane] = graph([(ENTITY, "line 1"), (RELATION, "line 2"), (RELATION, "line 3")])
    assert jane.path == "Jane Doe.md"
    assert text_of(jane) == (
        "---\ntitle: Jane Doe\ntype: person\n---\n# Jane Doe\n\n- Speaks\n  Spanish\n- Codes\n\n"
        "## Relations\n\n- works at [[ACME-Berlin|ACME/Berlin]]\n"
    )
    document_ = {
        "entities": [{key: value for key, value in ENTITY.items() if key != "type"}],
        "relations": [RELATION],
    }
    assert text_of(next(iter(graph(graph_of(document_, "x"))))) == text_of(jane)
    [lonely] = graph([(RELATION, "")])
    assert "[[ACME-Berlin" in text_of(lonely)
    with pytest.raises(ValueError, match="line 3: an entity"):
        list(graph([({"type": "entity", "name": "x"}, "line 3")]))


# ---- mem0 ---------------------------------------------------------------------------------------------------


def test_a_memory_of_mem0() -> None:
    row = {
        "id": "3c90c3cc", "memory": "Likes to play cricket on weekends", "user_id": "alex", "immutable": False,
        "metadata": {"type": "preference", "the source": "chat", "nested": {"x": 1}}, "categories": ["hobbies"],
        "created_at": "2024-07-26T08:44:41.039788-07:00", "updated_at": "2024-07-27T08:44:41Z",
        "expiration_date": "2027-01-01",
    }  # fmt: skip
    assert is_mem0(row)
    incoming = mem0(row, "entry 1")
    assert incoming.path == "likes-to-play-cricket-on-weekends.md"
    found = document(b"x.md", incoming.data, {}, mtime_ns=0)
    assert found is not None
    assert (found.facts.type, found.facts.tags) == ("preference", ("hobbies",))
    assert found.facts.created_ns == 1_722_008_681 * 10**9
    assert incoming.modified_ns == 1_722_069_881 * 10**9
    assert found.facts.expires_ns is not None
    text = text_of(incoming)
    assert "mem0_id: 3c90c3cc" in text
    assert "mem0_the_source: chat" in text
    assert text.endswith("---\nLikes to play cricket on weekends\n")
    with pytest.raises(ValueError, match="entry 2"):
        mem0({"memory": ""}, "entry 2")


# ---- a list -------------------------------------------------------------------------------------------------

LIST = """Here is everything:

```
## Personal details
[2025-03-01] - Lives in Berlin
  with two cats.
[unknown] - Prefers tea over coffee: always.
**Projects:**
- [March 2025] – Builds a boat
- Reads on Sundays
```
That is the complete set.
"""


def test_a_list_of_memories() -> None:
    assert is_list(LIST)
    assert not is_list("# Notes\n\nSome text, and [a link] - here.\n\nMore text.\nAnd more.\n")
    berlin, tea, boat, reads = listed(LIST, "x.txt")
    assert text_of(berlin).endswith("---\nLives in Berlin\nwith two cats.\n")
    assert "tags: [personal-details]" in text_of(berlin)
    assert "created: 2025-03-01" in text_of(berlin)
    assert berlin.source == "x.txt, line 5"
    assert text_of(tea).endswith("Prefers tea over coffee: always.\n")
    assert "[March 2025] Builds a boat" in text_of(boat)
    assert "tags: [projects]" in text_of(boat)
    assert reads.path == "reads-on-sundays.md"
    with pytest.raises(ValueError, match="no entries"):
        list(listed("nothing\n", "x.txt"))


# ---- names --------------------------------------------------------------------------------------------------


def test_names() -> None:
    assert slug("The User's favourite: TEA!") == "the-user-s-favourite-tea"
    assert slug("***") == "note"
    assert slug("ünï  日本語のメモ") == "ünï-日本語のメモ"
    assert file_name("../a/b\0", ".md") == "-a-b-.md"
    found = beside("d/note.md")
    assert [next(found) for _ in range(3)] == ["d/note.md", "d/note-2.md", "d/note-3.md"]


@settings(deadline=None)
@given(st.text(max_size=400))
def test_every_name_can_be_a_file(text: str) -> None:
    for name in (slug(text) + ".md", file_name(text, ".md")):
        assert 0 < len(os.fsencode(name)) <= 240
        assert "/" not in name
        assert "\0" not in name
        assert name not in (".", "..")
