"""Facts: read from frontmatter and xattrs, and written back with every other byte as it was."""

import math
from collections.abc import Mapping

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentfs.memory import moments
from agentfs.memory.documents import document
from agentfs.memory.facts import LISTED_MAX, Facts, importance, with_facts
from agentfs.merge import yaml_keys

DAY_NS = moments.DAY_NS
MTIME_NS = 1_780_272_000_000_000_000


def facts(text: str, xattrs: Mapping[str, str] | None = None, path: str = "a.md", mtime_ns: int = MTIME_NS) -> Facts:
    named = {f"user.agentfs.{key}".encode(): value.encode() for key, value in (xattrs or {}).items()}
    found = document(path.encode(), text.encode(), named, mtime_ns=mtime_ns)
    assert found is not None
    return found.facts


def front(lines: str) -> Facts:
    return facts(f"---\n{lines}\n---\nbody\n")


def ns(said: str) -> int:
    found = moments.moment(said)
    assert found is not None
    return found.ns


# ---- reading ----


@pytest.mark.parametrize(
    ("line", "tags"),
    [
        ("tags: [a, b]", ("a", "b")), ("tags: a, b c", ("a", "b c")), ("tags: a b", ("a", "b")),
        ("tags: #a #b", ("a", "b")), ('tags: "#a #b"', ("a", "b")), ("tags:\n- a\n- '#b'", ("a", "b")),
        ("tags:\n  - a # why\n  # not a tag\n  - b c", ("a", "b c")), ("Tags: [Sea, sea, SEA]", ("Sea",)),
        ("tags: [a, [b, c]]", ("a", "b", "c")), ("tags: [2026, true]", ("2026", "true")), ("tags:", ()),
        ("tags: []", ()), ("tags: {a: b}", ()), ("tags: [a, b", ()), ('tags: ["x, y", z]', ("x, y", "z")),
        ("tags: >\n  a\n  b", ("a", "b")), ("tags: 会議, 東京", ("会議", "東京")),
    ],
)  # fmt: skip
def test_tags(line: str, tags: tuple[str, ...]) -> None:
    assert front(line).tags == tags


def test_inline_tags_and_links() -> None:
    found = facts(
        "---\ntags: [key]\nlinks: [../a.md, '[[One|shown]]']\n---\n# Title #closing\n\n"
        "Text #idea, (#note/sub) and #2024-goals; but not a#b, #123, #ff0011, `#code`, https://x.example/#frag.\n\n"
        "```\n#include [[no]] [no](no.md)\n```\n\n"
        "- see [[Two#part]], ![[pic.png]], [three](three%20x.md 'Title'), [four](<fo ur.md>)\n"
        "- [web](https://a.example) [mail](mailto:a@b.example) [up](#top) [ref]\n\n[ref]: ./five.md\n[^1]: Note.\n"
    )
    assert found.tags == ("key", "idea", "note/sub", "2024-goals")
    assert found.links == ("../a.md", "One", "Two", "pic.png", "three x.md", "fo ur.md", "./five.md")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("0.8", 0.8), ("0", 0.0), ("1", 1.0), ("1.0", 1.0), (".5", 0.5), ("80%", 0.8), ("4/5", 0.8), ("8", 0.8),
        ("80", 0.8), ("10", 1.0), ("100", 1.0), ("high", 0.75), ("LOW", 0.25), ("Medium", 0.5), ("critical", 1.0),
        ("very", None), ("-1", None), ("101", None), ("nan", None), ("inf", None), ("5/0", None), ("9/5", None),
        ("", None), ("150%", None),
    ],
)  # fmt: skip
def test_importance(said: str, meant: float | None) -> None:
    found = importance(said)
    assert found == meant if meant is None or found is None else math.isclose(found, meant)
    assert front(f"importance: {said}").importance == found


@pytest.mark.parametrize(
    ("line", "expires"),
    [
        ("expires: 2027-01-31T10:00:00Z", ns("2027-01-31T10:00:00Z")),
        ("expires: 2027-01-31 10:00", ns("2027-01-31T10:00:00Z")),
        ('expires: "2027-01-31T10:00:00+02:00"', ns("2027-01-31T08:00:00Z")),
        ("expires: 2027-01-31", ns("2027-01-31") + DAY_NS),
        ("expires: 31 January 2027", ns("2027-01-31") + DAY_NS),
        ("expires: 1800000000", 1_800_000_000_000_000_000),
        ("ttl: 7d", MTIME_NS + 7 * DAY_NS), ("ttl: 90m", MTIME_NS + 5400 * 10**9),
        ("ttl: 3600", MTIME_NS + 3600 * 10**9), ("ttl: 2w # or so", MTIME_NS + 14 * DAY_NS),
        ("ttl: 7d\nexpires: 2027-01-31T00:00:00Z", ns("2027-01-31")),
        ("ttl: 7d\nexpires: soon", MTIME_NS + 7 * DAY_NS),
        ("expires: never", None), ("expires: when done", None), ("expires:", None),
        ("expires: 2027", None), ("ttl: 7 lives", None),
        ("expires: 2027-02-30", None), ("expires: 9999-12-31", None), ("expires: [2020-01-01]", None),
        ("expires: tomorrow", None), ("expires: 0", None), ("ttl: 0", None), ("ttl: -5d", None),
        ("expires: 9999999999", None), ("expires: 9999999999999", None), ("ttl: 290y", None),
        ("ttl: 999999999999y", None), ("expires: {at: 2020-01-01}", None), ("expires: v1.2", None),
        ("expires: 12/11/2020", None), ("expires: not before 2020-01-01", None),
    ],
)  # fmt: skip
def test_expiry(line: str, expires: int | None) -> None:
    assert front(line).expires_ns == expires


def test_other_keys() -> None:
    found = front("title: A: b\ntype: Decision\ncreated: 2026-01-02T03:04:05Z\npinned: yes\nlinks: [[x]]")
    assert found == Facts(
        title="A: b", type="Decision", created_ns=ns("2026-01-02T03:04:05Z"), pinned=True, links=("x",)
    )
    assert front("date: 2026-01-02").created_ns == ns("2026-01-02")
    assert front("created: long ago\ndate: 2026-01-02").created_ns == ns("2026-01-02")
    assert facts("x", path="journal/2026-02-14.md").created_ns == ns("2026-02-14")
    assert facts("x", path="2026-02-14/other.md").created_ns is None
    assert front("type: instruction").pinned
    assert not front("type: instruction\npinned: false").pinned
    assert front("title: [a]\ntype: {b: c}\npinned: perhaps") == Facts()
    assert front("name: skill\ndescription: x").title == "skill"
    assert facts("text\n\n## First\n\n# Second\n").title == "First"
    assert facts("Setext\n======\n").title == "Setext"
    assert facts("```\n# code\n```\n").title == ""
    assert facts("---\ntitle: a\n...\n# H\n").title == "H"


def test_one_broken_entry_does_not_hide_the_others() -> None:
    found = front('bad: [unclosed\nworse: "half\ntabs:\t\tx\n? y\ntags: [a]\nimportance: 0.3')
    assert (found.tags, found.importance) == (("a",), 0.3)
    assert front("a: &x [1]\nb: *x\ntags: [t]\n<<: *x").tags == ("t",)
    assert front("tags: [a]\ntags: [b]").tags == ("a",)


def test_what_is_no_frontmatter() -> None:
    for text in (
        "---\nprose here\n\n---\nmore",
        "---\ntags: [a]\n",
        "text\n---\ntags: [a]\n---\n",
        "---\n[a, b]\n---\n",
    ):
        assert facts(text).tags == ()
    assert facts("---\ntags: [a]\n---\n", path="a.txt").tags == ()
    found = document(b"a.md", b"---\nprose here\n\n---\nmore", {}, mtime_ns=0)
    assert found is not None
    assert [one.text for one in found.passages] == ["prose here", "more"]


def test_xattrs() -> None:
    text = "---\ntitle: in\ntags: [a, b]\nimportance: 0.2\nexpires: 2027-01-01T00:00:00Z\ntype: note\n---\n[[in]]\n"
    found = facts(
        text,
        {
            "title": "out",
            "tags": "c, A",
            "importance": "high",
            "ttl": "1d",
            "type": "instruction",
            "links": '["x.md"]',
        },
    )
    assert found == Facts(
        title="out", tags=("c", "A", "b"), importance=0.75, expires_ns=MTIME_NS + DAY_NS, type="instruction",
        links=("x.md", "in"), pinned=True,
    )  # fmt: skip
    kept = facts(text, {"title": "", "importance": "very", "expires": "soon", "unknown": "x", "tags": '["q", 1, {}]'})
    assert (kept.title, kept.importance, kept.tags) == ("in", 0.2, ("q", "1", "a", "b"))
    assert kept.expires_ns == ns("2027-01-01T00:00:00Z")
    assert facts("plain", {"tags": "#a #b", "created": "2026-01-01"}, path="a.txt") == Facts(
        tags=("a", "b"), created_ns=ns("2026-01-01")
    )


def test_lists_are_bounded() -> None:
    found = facts(" ".join(f"#tag{number}x [[link{number}]]" for number in range(3 * LISTED_MAX)))
    assert (len(found.tags), len(found.links)) == (LISTED_MAX, LISTED_MAX)


# ---- writing ----

NOTE = (
    b"\xef\xbb\xbf---\r\n# about\r\ntitle:   'Hello'   # shown\r\ntags: [a,   \"b\"] # t\r\n\r\nlinks:\r\n"
    b"  - a.md # x\r\n  # between\r\n  - 'b.md'\r\nempty:\r\nimportance: 0.80\r\nlong: >\r\n  one\r\n  two\r\n\r\n"
    b"# end\r\n---\r\nbody \xff\0\r\nlast"
)


@pytest.mark.parametrize(
    ("changes", "old", "new"),
    [
        ({}, b"", b""),
        ({"title": "Hello", "tags": ["a", "b"], "importance": 0.8, "gone": None}, b"", b""),
        ({"title": "It's"}, b"'Hello' ", b"'It''s' "),
        ({"tags": ["b", "c d", "e: f"]}, b'[a,   "b"]', b'["b", c d, "e: f"]'),
        ({"tags": None}, b'tags: [a,   "b"] # t\r\n', b""),
        (
            {"links": ["b.md", "[[c]]"]},
            b"  - a.md # x\r\n  # between\r\n  - 'b.md'\r\n",
            b"  - 'b.md'\r\n  - \"[[c]]\"\r\n",
        ),
        ({"links": ["a.md"]}, b"  # between\r\n  - 'b.md'\r\n", b"  # between\r\n"),
        ({"empty": "now"}, b"empty:", b"empty: now"),
        ({"importance": 0.5}, b"0.80", b"0.5"),
        ({"long": "short"}, b"long: >\r\n  one\r\n  two\r\n", b"long: short\r\n"),
        ({"long": None}, b"long: >\r\n  one\r\n  two\r\n", b""),
        ({"expires": "2027-01-01", "type": "no"}, b"# end\r\n", b'# end\r\nexpires: 2027-01-01\r\ntype: "no"\r\n'),
        ({"pinned": True}, b"# end\r\n", b"# end\r\npinned: true\r\n"),
    ],
)  # fmt: skip
def test_only_the_key_changes(changes: dict[str, object], old: bytes, new: bytes) -> None:
    assert NOTE.count(old) == 1 or not old
    assert with_facts(b"notes/a.md", NOTE, changes) == NOTE.replace(old, new, 1)


def test_a_new_frontmatter() -> None:
    assert with_facts(b"a.md", b"text", {"tags": ["a"]}) == b"---\ntags: [a]\n---\ntext"
    assert (
        with_facts(b"a.md", b"\xef\xbb\xbfx\r\ny", {"title": "t"}) == b"\xef\xbb\xbf---\r\ntitle: t\r\n---\r\nx\r\ny"
    )
    assert with_facts(b"a.md", b"", {"title": "t"}) == b"---\ntitle: t\n---\n"
    assert with_facts(b"a.md", b"text", {"title": None}) == b"text"
    assert with_facts(b"a.md", b"---\n---\ntext", {"title": "t"}) == b"---\ntitle: t\n---\ntext"
    assert with_facts(b"a.md", b"---\n# c\n---\ntext", {"title": "t"}) == b"---\n# c\ntitle: t\n---\ntext"
    assert with_facts(b"a.md", b"---\nprose\n\n---\n", {"title": "t"}) == b"---\ntitle: t\n---\n---\nprose\n\n---\n"


@pytest.mark.parametrize(
    ("note", "without"),
    [
        (b"---\nttl: 7d\n---\ntext", b"text"),
        (b"---\nttl: 7d  # a week\n\n---\n\ntext\n", b"\ntext\n"),
        (b"\xef\xbb\xbf---\r\nttl: 7d\r\n---\r\ntext", b"\xef\xbb\xbftext"),
        (b"---\nttl: 7d\n---", b""),
        (b"---\n---\ntext", b"---\n---\ntext"),
        (b"---\n\n---\ntext", b"---\n\n---\ntext"),
        (b"---\n# mine\nttl: 7d\n---\ntext", b"---\n# mine\n---\ntext"),
        (b"---\nttl: 7d\n---\n---\na: b\n---\ntext", b"---\n---\n---\na: b\n---\ntext"),
    ],
)
def test_a_block_that_has_nothing_left_to_say_goes(note: bytes, without: bytes) -> None:
    """One that was empty before, or has a comment, is the writer's; and what comes behind does not become one."""
    assert with_facts(b"a.md", note, {"ttl": None, "expires": None}) == without


def test_one_expiry() -> None:
    note = b"---\nexpires: 2027-01-01\na: 1\n---\n"
    assert with_facts(b"a.md", note, {"ttl": "7d"}) == b"---\na: 1\nttl: 7d\n---\n"
    assert with_facts(b"a.md", note, {"expires": None}) == b"---\na: 1\n---\n"


@pytest.mark.parametrize(
    "broken",
    [
        "title: a: b",
        "a: [",
        "{a: 1}",
        "a: &x 1\nb: *x",
        "a: 1\na: 2",
        "a: !t 1",
        "- a",
        "a:\n\t- b",
        "a: 1\n...\nb: 2",
    ],
)
def test_what_is_not_touched(broken: str) -> None:
    note = f"---\n{broken}\n---\nbody\n".encode()
    edited = with_facts(b"a.md", note, {"tags": ["x"]})
    assert edited is None or (broken == "- a" and edited == b"---\ntags: [x]\n---\n" + note)
    assert with_facts(b"a.txt", b"text", {"tags": ["x"]}) is None


def test_values_of_another_kind() -> None:
    with pytest.raises(TypeError, match="a fact is"):
        with_facts(b"a.md", b"", {"title": {"a": 1}})


KEYS = ("title", "tags", "importance", "type", "links", "extra", "über")
AWKWARD = (
    "a|yes|null|~|1.5|2027-01-01|- x|a: b|a #b|#a|'|\"|[x]|{|&a|*|!|>|%|@|`|会議|é\u0301|a  b|-|?|x\\y|0x1f|1:30|=|<<"
)
PRINTABLE = st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"))
STRINGS = (
    st.one_of(st.sampled_from([*AWKWARD.split("|"), "|"]), st.text(PRINTABLE, min_size=1, max_size=20))
    .map(str.strip)
    .filter(bool)
)
VALUES = st.one_of(
    STRINGS,
    st.booleans(),
    st.integers(0, 100),
    st.floats(0, 1),
    st.lists(STRINGS, max_size=4, unique_by=str.casefold),
)
ENTRIES = {
    "title": [
        "title: plain\n",
        "title:   'quoted'  # c\n",
        'title: "dou"\n',
        "title: >-\n  folded\n  text\n",
        "Title:\n",
    ],
    "tags": [
        "tags: [a, b]\n",
        "tags:\n  - a\n  # c\n  - 'b'\n",
        "tags:\n- a\n",
        "tags: a, b\n",
        "tags: [a,\n  b]\n",
        "tags: []\n",
    ],
    "importance": ["importance: 0.5\n", "importance:  high # c\n"],
    "type": ["type: note\n", "'type' : note\n"],
    "links": ["links: [x.md]\n", "links:\n    - x.md\n\n    - y.md # y\n"],
    "extra": ["extra: {a: 1, b: [2]}\n", "extra:\n  a: 1\n  b:\n    - c\n", "extra: |\n  block\n\n   more\n"],
    "über": ["über: 1\n"],
}
NULLS = ("", "~", "null", "Null", "NULL")
BETWEEN = st.sampled_from(["", "", "# comment\n", "\n", "\n# two\n\n"])


@st.composite
def notes(draw: st.DrawFn) -> tuple[list[tuple[str, str]], str, bytes, bytes]:
    """Entries with what stands between them, line ending, and what is before and behind the frontmatter."""
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True))
    chunks = [("", draw(BETWEEN))]
    for key in keys:
        chunks += [(key, draw(st.sampled_from(ENTRIES[key]))), ("", draw(BETWEEN))]
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return chunks, draw(st.sampled_from(["\n", "\r\n"])), bom, draw(st.binary(max_size=30))


@settings(max_examples=100, deadline=None)
@given(note=notes(), changes=st.dictionaries(st.sampled_from(KEYS), st.none() | VALUES, max_size=3))
@example(note=([("", "")], "\n", b"", b""), changes={"title": "0"})
@example(
    note=([("links", "links:\n    - x.md\n\n    - y.md # y\n")], "\r\n", b"", b"\r\n"), changes={"links": ["y.md"]}
)
def test_all_but_the_keys_is_as_it_was(
    note: tuple[list[tuple[str, str]], str, bytes, bytes], changes: dict[str, object]
) -> None:
    chunks, ending, bom, body = note
    opening, closing = f"---{ending}".encode(), f"---{ending}".encode() + body
    inner = [(key, text.replace("\n", ending).encode()) for key, text in chunks]
    data = bom + opening + b"".join(text for _, text in inner) + closing
    edited = with_facts(b"a.md", data, changes)
    assert edited is not None
    if edited == bom + body and not edited.startswith(bom + opening):  # nothing was left to say
        assert all(not text.strip() or (key in changes and changes[key] is None) for key, text in inner)
        return
    assert edited.startswith(bom + opening)
    assert edited.endswith(closing)
    rest = edited[len(bom + opening) : len(edited) - len(closing)]
    for key, text in inner:  # what is not set stands there, byte for byte and in its order
        if key not in changes:
            at = rest.index(text)
            rest = rest[at + len(text) :]
    read_like_yaml(edited[len(bom + opening) : len(edited) - len(closing)].decode())
    said = yaml.safe_load(edited[len(bom + opening) : len(edited) - len(closing)]) or {}
    before = yaml.safe_load(data[len(bom + opening) : len(data) - len(closing)]) or {}
    said, before = ({key.lower(): value for key, value in one.items()} for one in (said, before))
    for key, value in changes.items():
        if value is None:
            assert key not in said
        elif said[key] != value:
            # It said so already, in other words.
            assert said[key] == before[key]
            assert key == "tags" or str(said[key]) == str(value)
    assert {key: value for key, value in said.items() if key not in changes} == {
        key: value for key, value in before.items() if key not in changes
    }
    again = with_facts(b"a.md", edited, changes)
    assert again == edited
    read_back(edited[: len(edited) - len(closing)], changes)


def read_like_yaml(text: str) -> None:
    """What is valid is read entry by entry as a parser of all of it reads it."""
    whole = yaml.load(text, yaml.BaseLoader) or {}
    found = yaml_keys.said(text, KEYS)
    for key, value in whole.items():
        if isinstance(value, str) and value not in NULLS:
            assert found[key.lower()] == value
        elif isinstance(value, list):
            members = found[key.lower()]
            assert isinstance(members, list)
            assert [one for one in members if one not in NULLS] == [one for one in value if one not in NULLS]


def read_back(head: bytes, changes: dict[str, object]) -> None:
    """The facts of the edited frontmatter."""
    found = document(b"a.md", head + b"---\n", {}, mtime_ns=0)
    assert found is not None
    title, tags = changes.get("title"), changes.get("tags")
    if isinstance(title, str):
        assert found.facts.title == " ".join(title.split())
    if isinstance(tags, list):
        kept = [" ".join(tag.split()).lstrip("#").strip() for tag in tags]
        assert [tag.casefold() for tag in found.facts.tags] == list(
            dict.fromkeys(tag.casefold() for tag in kept if tag)
        )
    if isinstance(changes.get("importance"), float):
        assert found.facts.importance == changes["importance"]


@pytest.mark.parametrize("data", [b"---\na: \xff\n---\n", b"---\ntitle: [\xe9, b]\n---\n"])
def test_bytes_that_are_no_text_are_no_error(data: bytes) -> None:
    """The YAML parser takes no such character, and says so in its own way."""
    assert with_facts(b"a.md", data, {"importance": 1}) is None
    assert yaml_keys.said(data.decode("utf-8", "surrogateescape"), ("title", "a")) is not None
