"""What is written to `:tags`, `:ttl` and `:meta`, understood or refused."""

import pytest

from agentfs.errors import InvalidArgument
from agentfs.memory.moments import written
from agentfs.volume.fact_words import TagChange, check_meta, parse_meta, parse_tags, parse_ttl, xattr_value

NOW = 1_800_000_000 * 10**9
DAY = 86_400 * 10**9


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("work\n", ["a"], ("work",)),
        ("a, b", [], ("a", "b")),
        ("a\nb\n", [], ("a", "b")),
        ("- a\n- #b\n", [], ("a", "b")),
        ("green tea, a/b", [], ("green tea", "a/b")),
        ("a, A, a", [], ("a",)),
        ("+c -a", ["a", "b"], ("b", "c")),
        ("+c, -A\n", ["a", "b"], ("b", "c")),
        ("+a", ["A"], ("A",)),
        ("none\n", ["a"], ()),
        ("\n", ["a"], ()),
        ("名前, émigré", [], ("名前", "émigré")),
    ],
)
def test_tags(text: str, before: list[str], after: tuple[str, ...]) -> None:
    assert parse_tags(text).of(before) == after


@pytest.mark.parametrize("text", ["a +b", "+", "a, , #", "x" * 201, "a\x07b", "a\0", ",".join(map(str, range(1001)))])
def test_no_tags(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_tags(text)


def test_a_tag_that_is_added_and_taken_away_goes() -> None:
    assert TagChange(add=("a",), remove=("a",)).of(["b"]) == ("b",)


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        ("7d\n", written(NOW + 7 * DAY)),
        ("P7D", written(NOW + 7 * DAY)),
        ("12h", written(NOW + DAY // 2)),
        ("1d 12h", written(NOW + DAY + DAY // 2)),
        ("2030-01-01", "2030-01-01T00:00:00Z"),
        ("2030-01-01T10:00:00+02:00", "2030-01-01T08:00:00Z"),
        ("none", None),
        ("never\n", None),
        ("\n", None),
    ],
)
def test_ttl(text: str, expires: str | None) -> None:
    assert parse_ttl(text, now_ns=NOW) == expires


@pytest.mark.parametrize("text", ["soon", "-1d", "0s", "2001-01-01", "7 parsecs", "9" * 70, "999999999999d", "\0"])
def test_no_ttl(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_ttl(text, now_ns=NOW)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("importance: 0.9\n", {"importance": 0.9}),
        ('{"importance": 1, "pinned": true}', {"importance": 1.0, "pinned": True}),
        ('{"tags": ["a", "b"]}', {"tags": ("a", "b")}),
        ("title: Berlin: a plan\n", {"title": "Berlin: a plan"}),
        ("---\ntitle: 'x'\ntags: [a, b]\n---\n", {"title": "x", "tags": ("a", "b")}),
        ("tags:\n- a\n- b\n", {"tags": ("a", "b")}),
        ("tags: a, b\n", {"tags": ("a", "b")}),
        ("# a comment\ntype: note\n", {"type": "note"}),
        ("importance: null\ntitle:\n", {"importance": None, "title": None}),
        ('{"tags": [], "expires": null}', {"tags": None, "expires": None}),
        ("ttl: 7d\n", {"expires": written(NOW + 7 * DAY)}),
        ("created: 2026-11-21", {"created": "2026-11-21T00:00:00Z"}),
        ("links: [a.md, b.md]", {"links": ("a.md", "b.md")}),
        ("Pinned: yes", {"pinned": True}),
    ],
)  # fmt: skip
def test_meta(text: str, changes: dict[str, object]) -> None:
    assert parse_meta(text, now_ns=NOW) == changes
    check_meta(text, now_ns=NOW)


@pytest.mark.parametrize(
    "text",
    ["x\n", "colour: green\n", "importance: high\n", "title: t\nimportance: 2\n", "pinned: perhaps # x\n",
     "created: soon\n", "ttl: soon\n", "ttl: 2020-01-01\n"],
)  # fmt: skip
def test_a_line_of_meta_that_can_never_be(text: str) -> None:
    with pytest.raises(InvalidArgument):
        check_meta(text, now_ns=NOW)


@pytest.mark.parametrize(
    "text", ["tags:\n", "tags: [a,\n", "{\n", "links:\n  - a\n", "importance: '0.5'\n", "title: a\n b: c\n"]
)
def test_meta_that_may_go_on(text: str) -> None:
    check_meta(text, now_ns=NOW)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "colour: green", "importance: high", "importance: 2", "importance: nan", "importance: [1]",
        "pinned: perhaps", "created: soon", "ttl: soon", "title: {a: b}",
        '{"title": {}}', "{", "[1]", '{"tags": [[]]}', "\0", "title: a\x07", '{"title": "' + "x" * 1001 + '"}',
        "{" * 2000,
    ],
)  # fmt: skip
def test_no_meta(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_meta(text, now_ns=NOW)


def test_attributes() -> None:
    assert xattr_value(("a", "ü")) == '["a", "ü"]'.encode()
    assert xattr_value(True) == b"true"
    assert xattr_value(0.5) == b"0.5"
