"""What other tools export of their memories, as notes.

graph  the knowledge graph of the MCP reference memory server: `memory.jsonl`, or the answer of `read_graph`
mem0   the memories of mem0: a list, or its `results`, as `get_all` and exports have them
list   the text that Claude, ChatGPT and others write for moving: `[date] - what is remembered`, an entry a line
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentfs.memory.interchange import Incoming, note_of, time_of
from agentfs.memory.moments import moment, written
from agentfs.memory.names import file_name, slug

_ENTRY = re.compile(r"\s*(?:[-*+]\s+|\d+[.)]\s+)?\[([^\[\]\n]{0,60})\]\s*[-–—:]\s+(\S.*)")
_ITEM = re.compile(r"\s{0,3}(?:[-*+]|\d+[.)])\s+(\S.*)")
_HEADING = re.compile(r"#{1,6}\s+(\S.*?)\s*#*\Z|\*\*([^*]+?):?\*\*:?\s*\Z")
_NO_DATE = re.compile(r"(?i)(unknown|date unknown|no date|n/?a|undated|not available|date not available|-)?\Z")
_KEPT = ("id", "user_id", "agent_id", "app_id", "run_id", "actor_id", "hash")
"""What of a memory of mem0 is kept as it is."""


# ---- the knowledge graph ------------------------------------------------------------------------------------


def is_graph(row: Mapping[str, Any]) -> bool:
    return (row.get("type") == "entity" and "name" in row) or (row.get("type") == "relation" and "from" in row)


def graph(rows: Iterable[tuple[Mapping[str, Any], str]]) -> Iterator[Incoming]:
    """A note for each entity: its observations as a list, its relations as links. `rows` come with where they are
    from. Raises ValueError for what is no graph."""
    observed: dict[str, list[str]] = {}
    kinds: dict[str, str] = {}
    related: dict[str, list[tuple[str, str]]] = defaultdict(list)
    sources: dict[str, str] = {}
    for row, source in rows:
        if row.get("type") == "relation":
            start, end, kind = (row.get(key) for key in ("from", "to", "relationType"))
            if not (isinstance(start, str) and isinstance(end, str) and isinstance(kind, str)):
                raise ValueError(f"{source}: a relation has from, to and relationType")
            related[start].append((kind, end))
            sources.setdefault(start, source)
            observed.setdefault(start, [])
        else:
            name, said = row.get("name"), row.get("observations")
            if not isinstance(name, str) or not isinstance(said, list):
                raise ValueError(f"{source}: an entity has a name and observations")
            kinds[name] = row["entityType"] if isinstance(row.get("entityType"), str) else ""
            observed.setdefault(name, []).extend(str(one) for one in said)
            sources.setdefault(name, source)
    for name, said in observed.items():
        lines = [f"# {' '.join(name.split())}", ""]
        lines += [f"- {_indented(one)}" for one in said]
        if related[name]:
            lines += ["", "## Relations", ""]
            lines += [f"- {kind} {_link(end)}" for kind, end in dict.fromkeys(related[name])]
        facts = {"title": " ".join(name.split()), "type": kinds.get(name, "")}
        yield note_of("\n".join(lines), facts, sources[name], name=file_name(name, ""))


def graph_of(document: Mapping[str, Any], source: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The rows of a graph that is one JSON document."""
    for kind, key in (("entity", "entities"), ("relation", "relations")):
        for number, row in enumerate(document.get(key) or (), 1):
            if not isinstance(row, dict):
                raise ValueError(f"{source}: {key} has something that is no object at {number}")
            yield {"type": kind, **row}, f"{source}: {kind} {number}"


def _link(name: str) -> str:
    file = file_name(name, "")
    return f"[[{file}]]" if file == name else f"[[{file}|{' '.join(name.split())}]]"


def _indented(text: str) -> str:
    return text.strip().replace("\n", "\n  ")


# ---- mem0 ---------------------------------------------------------------------------------------------------


def is_mem0(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("memory"), str)


def mem0(row: Mapping[str, Any], source: str) -> Incoming:
    """A note for each memory. Raises ValueError for what is none."""
    text = row.get("memory")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{source}: a memory has a text: `memory`")
    metadata = row.get("metadata") if isinstance(row.get("metadata"), dict) else {}
    assert isinstance(metadata, dict)
    made_ns, changed_ns = time_of(row, "created_at"), time_of(row, "updated_at", "created_at")
    ends_ns = time_of(row, "expiration_date")
    more = {key: value for key, value in metadata.items() if isinstance(value, str | int | float | bool)}
    facts: dict[str, object] = {
        "type": more.pop("type", None),
        "tags": [tag for tag in row.get("categories") or () if isinstance(tag, str)],
        "created": None if made_ns is None else written(made_ns),
        "expires": None if ends_ns is None else written(ends_ns),
        **{f"mem0_{key}": row[key] for key in _KEPT if isinstance(row.get(key), str)},
        **{f"mem0_{_key(key)}": value for key, value in more.items()},
    }
    return note_of(text, facts, source, name=slug(text), modified_ns=changed_ns)


def _key(key: str) -> str:
    return re.sub(r"\W+", "_", key) or "key"


# ---- a list of memories -------------------------------------------------------------------------------------


def is_list(text: str) -> bool:
    """Whether most entries of a text are `[date] - memory`."""
    lines = [line for line in text.splitlines() if line.strip() and not _HEADING.match(line.strip())]
    entries = sum(1 for line in lines if _ENTRY.match(line))
    return entries > 0 and 2 * entries >= sum(1 for line in lines if line[:1] not in (" ", "\t", "`"))


def listed(text: str, source: str) -> Iterator[Incoming]:
    """A note for each entry; the heading above is its tag. What is before the first entry, and the fences around the
    list, are left out. Raises ValueError where there is none."""
    found = 0
    heading = ""
    entry: _Entry | None = None
    for number, line in enumerate(text.splitlines(), 1):
        title = _HEADING.match(line.strip())
        begun = _ENTRY.match(line) or (None if line[:1] in (" ", "\t") else _ITEM.match(line))
        if title or begun or line.startswith("```"):
            if entry is not None:
                yield entry.note()
                entry = None
            if title:
                heading = (title[1] or title[2]).strip()
            elif begun:
                date, words = begun.groups() if len(begun.groups()) == 2 else ("", begun[1])
                entry = _Entry(date, [words], heading, f"{source}, line {number}")
                found += 1
        elif entry is not None and line.strip():
            entry.lines.append(line.strip())
    if entry is not None:
        yield entry.note()
    if not found:
        raise ValueError(f"{source}: it has no entries such as `[2026-01-31] - likes tea`")


class _Entry:
    def __init__(self, date: str, lines: list[str], heading: str, source: str) -> None:
        self.date, self.lines, self.heading, self.source = date, lines, heading, source

    def note(self) -> Incoming:
        text = "\n".join(self.lines).strip()
        at = moment(self.date.strip())
        if at is None and not _NO_DATE.match(self.date.strip()):
            text = f"[{self.date.strip()}] {text}"  # it says something, and no date that can be read
        made_ns = None if at is None else at.ns
        tag = "" if not self.heading else slug(self.heading)
        facts = {"tags": [tag] if tag else [], "created": None if made_ns is None else written(made_ns)}
        return note_of(text, facts, self.source, name=slug(text), modified_ns=made_ns)
