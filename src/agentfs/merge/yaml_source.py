"""YAML by keys, on its source: whole entries are put together as their authors wrote them, comments included.

Only what is safe: block and flow mappings, sequences and scalars. Anchors, aliases, tags, several documents, merge
keys and keys that come twice are Unusual, and merged as text. Read as events: depth and aliases cost nothing.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import yaml

from agentfs.merge.values import Leaf, Unusual, Value, frozen, naming_key

BYTES_MAX = 256 * 1024
"""Characters. A larger file is merged as text."""
_DEPTH_MAX = 32
_MERGE_KEY = "tag:yaml.org,2002:merge"
_EMPTY: dict[type, str] = {dict: "{}", list: "[]"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RESOLVER = yaml.resolver.Resolver()


@dataclass(slots=True)
class Node:
    """A value and where it is written. `entries` are of a mapping (key, value) or a sequence ("", value)."""

    start: int
    end: int = 0
    value: Value = None
    flow: bool = False
    entries: list[tuple["Node | None", "Node"]] = field(default_factory=list)


def parse(text: str) -> Value:
    """Raises Unusual: not a mapping or sequence, or not plain YAML as this module understands it."""
    return composed(text).value


def valid(text: str) -> bool:
    """YAML of any kind, with each key once in its mapping."""
    try:
        list(_documents(text, plain=False))
    except (Unusual, yaml.YAMLError, UnicodeEncodeError):
        return False
    return True


def write(merged: Value, earlier: str, later: str) -> str:
    """The source of `merged`, made of the two sources. Raises Unusual if that cannot be done by whole entries."""
    one, other = composed(earlier), composed(later)
    if not one.entries:
        earlier, later, one, other = later, earlier, other, one
    if one.flow or (other.flow and other.entries):
        return earlier[: one.start] + _flow(merged, (earlier, one), (later, other)) + earlier[one.end :]
    begin, end = _region(earlier, one)
    return earlier[:begin] + _block(merged, (earlier, one), (later, other)) + earlier[end:]


def composed(text: str) -> Node:
    """The one mapping or sequence of a text, with where its parts are written. Raises Unusual, as `parse`."""
    if len(text) > BYTES_MAX:
        raise Unusual("too large")
    try:
        documents = list(_documents(text))
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        # The latter: a byte that was no UTF-8 when it was read.
        raise Unusual(str(error)) from error
    if len(documents) != 1 or not isinstance(documents[0].value, dict | list):
        raise Unusual("not one mapping or sequence")
    return documents[0]


def _documents(text: str, *, plain: bool = True) -> Iterator[Node]:
    """The documents of a text, by a stack of open collections. Not `plain`: the unusual is only walked over."""
    open_: list[tuple[Node, list[Node]]] = []
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.NodeEvent) and plain:
            _refuse(event)
        if isinstance(event, yaml.CollectionStartEvent):
            if len(open_) >= _DEPTH_MAX:
                raise Unusual("too deep")
            open_.append((Node(event.start_mark.index, flow=bool(event.flow_style)), []))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            node, members = open_.pop()
            node.end = event.end_mark.index
            _close(node, members, isinstance(event, yaml.MappingEndEvent), plain)
        elif isinstance(event, yaml.ScalarEvent):
            tag = RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
            if tag == _MERGE_KEY and plain:
                raise Unusual("a merge key")
            node = Node(event.start_mark.index, event.end_mark.index, Leaf(tag.rpartition(":")[2], event.value))
        elif isinstance(event, yaml.AliasEvent):
            node = Node(event.start_mark.index, event.end_mark.index, Leaf("alias", f"*{event.anchor}"))
        else:
            continue
        if open_:
            open_[-1][1].append(node)
        else:
            yield node


def _refuse(event: yaml.NodeEvent) -> None:
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None or event.tag is not None:
        raise Unusual("an anchor, an alias, or a tag")


def _close(node: Node, members: list[Node], mapping: bool, plain: bool) -> None:
    if not mapping:
        node.entries = [(None, member) for member in members]
        node.value = [member.value for member in members]
        return
    node.entries = list(zip(members[::2], members[1::2], strict=True))
    value: dict[str, Value] = {}
    for key, member in node.entries:
        assert key is not None
        name = key.value.text if isinstance(key.value, Leaf) else None
        if name is None and plain:
            raise Unusual("a key that is no scalar")
        if name in value and name != "<<":
            raise Unusual("a key comes twice")
        value[name or ""] = member.value
    node.value = value


_Written = tuple[str, Node]
"""A text and a node in it."""


def _block(merged: Value, one: _Written, other: _Written) -> str:
    """Whole lines that say `merged`."""
    for text, node in (one, other):
        if merged == node.value:
            begin, end = _region(text, node)
            return _ended(text[begin:end])
    if not merged:
        return _EMPTY[type(merged)] + "\n"
    here, there = (_chunks(text, node, merged) if node.entries else {} for text, node in (one, other))
    if (here and there and _column(*one) != _column(*other)) or type(one[1].value) is not type(other[1].value):
        raise Unusual("indented differently")
    parts = []
    for name, wanted in _named(merged, one, other):
        first, second = here.get(name), there.get(name)
        exact = next((chunk for chunk in (first, second) if chunk is not None and chunk.node.value == wanted), None)
        if exact is not None:
            parts.append(_ended(exact.text[exact.start : exact.end]))
        elif first is not None and second is not None:
            parts.append(_nested(wanted, first, second))
        else:
            raise Unusual("a value that neither side has")
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The lines of one entry, with the comments above it."""

    text: str
    start: int
    end: int
    node: Node


def _nested(wanted: Value, first: _Chunk, second: _Chunk) -> str:
    one, other = (first.text, first.node), (second.text, second.node)
    if first.node.flow and second.node.flow:
        return _ended(
            first.text[first.start : first.node.start]
            + _flow(wanted, one, other)
            + first.text[first.node.end : first.end]
        )
    if first.node.flow or second.node.flow or not isinstance(wanted, dict | list):
        raise Unusual("written in two ways")
    begin, end = _region(*one)
    if not wanted:
        return f"{first.text[first.start : begin].rstrip()} {_EMPTY[type(wanted)]}\n{first.text[end : first.end]}"
    return first.text[first.start : begin] + _block(wanted, one, other) + first.text[end : first.end]


def _named(merged: Value, one: _Written, other: _Written) -> list[tuple[Hashable, Value]]:
    if isinstance(merged, dict):
        return list(merged.items())
    if not isinstance(merged, list):
        raise Unusual("not a collection")
    key = _naming(merged, one, other)
    return [(_name(member, key), member) for member in merged]


def _naming(merged: Sequence[Value], *sides: _Written) -> str | None:
    return naming_key(merged, *(node.value for _, node in sides if isinstance(node.value, list)))


def _name(member: Value, key: str | None) -> Hashable:
    return frozen(member[key]) if key is not None and isinstance(member, dict) else frozen(member)


def _chunks(text: str, node: Node, merged: Value) -> dict[Hashable, _Chunk]:
    """The entries of a block collection, by key or by what names them."""
    begin, end = _region(text, node)
    starts = [begin]
    for (_, before), (key, member) in zip(node.entries, node.entries[1:], strict=False):
        starts.append(_above(text, line_start(text, (key or member).start), line_end(text, before.end)))
    starts.append(end)
    name = naming_key(node.value, merged) if isinstance(node.value, list) and isinstance(merged, list) else None
    found = {}
    for (key, member), start, stop in zip(node.entries, starts[:-1], starts[1:], strict=True):
        known = key.value.text if key is not None and isinstance(key.value, Leaf) else _name(member.value, name)
        found[known] = _Chunk(text, start, stop, member)
    return found


def _region(text: str, node: Node) -> tuple[int, int]:
    """The whole lines of a block collection. Raises Unusual if it shares a line with something else."""
    first = node.entries[0][0] or node.entries[0][1] if node.entries else node
    begin = line_start(text, first.start)
    lead = text[begin : first.start].strip(" ")
    if node.flow or lead not in ("", "-") or (lead == "-" and isinstance(node.value, dict)):
        raise Unusual("not whole lines")
    for key, member in node.entries:
        start = line_start(text, (key or member).start)
        if text[start : (key or member).start].strip(" ") != lead:
            raise Unusual("not whole lines")
    last = node.entries[-1][1] if node.entries else node
    return begin, line_end(text, last_end(last))


def last_end(node: Node) -> int:
    """Where the content ends; the parser lets a block collection reach up to the next token."""
    while node.entries and not node.flow:
        key, member = node.entries[-1]
        if not member.entries and member.start == member.end and key is not None:
            return max(key.end, member.end)
        node = member
    return node.end


def line_start(text: str, at: int) -> int:
    """The start of the line that `at` is in."""
    return text.rfind("\n", 0, at) + 1


def line_end(text: str, at: int) -> int:
    """Behind the line feed of the line that `at` ends in."""
    if at > 0 and text[at - 1] == "\n":
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _above(text: str, start: int, limit: int) -> int:
    """The start of the comments and blank lines directly above a line, not before `limit`."""
    while start > limit:
        line = line_start(text, start - 1)
        content = text[line:start].strip()
        if line < limit or (content and not content.startswith("#")):
            break
        start = line
    return start


def _column(text: str, node: Node) -> int:
    begin, _ = _region(text, node)
    return len(text[begin:]) - len(text[begin:].lstrip(" "))


def _ended(lines: str) -> str:
    return lines if lines.endswith("\n") else lines + "\n"


def _flow(merged: Value, one: _Written, other: _Written) -> str:
    """`[a, b]` or `{a: 1}` on one line, from the members as written."""
    for text, node in (one, other):
        if merged == node.value:
            return text[node.start : node.end]
    if not (one[1].flow and other[1].flow) or type(one[1].value) is not type(other[1].value):
        raise Unusual("written in two ways")
    if any("\n" in text[node.start : node.end] or "#" in text[node.start : node.end] for text, node in (one, other)):
        raise Unusual("on several lines")
    here, there = _flow_members(merged, *one), _flow_members(merged, *other)
    parts = []
    for name, wanted in _named(merged, one, other):
        first, second = here.get(name), there.get(name)
        for label, member in filter(None, (first, second)):
            if member[1].value == wanted:
                parts.append(label + member[0][member[1].start : member[1].end])
                break
        else:
            if first is None or second is None:
                raise Unusual("a value that neither side has")
            parts.append(first[0] + _flow(wanted, first[1], second[1]))
    opening, closing = "{}" if isinstance(merged, dict) else "[]"
    text, node = one if one[1].entries else other
    inner = text[node.start + 1 : node.end - 1]
    space = inner[: len(inner) - len(inner.lstrip(" "))] if inner.strip() else ""
    return opening + space + ", ".join(parts) + space + closing


def _flow_members(merged: Value, text: str, node: Node) -> dict[Hashable, tuple[str, _Written]]:
    name = naming_key(node.value, merged) if isinstance(node.value, list) and isinstance(merged, list) else None
    found: dict[Hashable, tuple[str, _Written]] = {}
    for key, member in node.entries:
        if key is None:
            found[_name(member.value, name)] = ("", (text, member))
        elif isinstance(key.value, Leaf):
            found[key.value.text] = (text[key.start : member.start], (text, member))
    return found
