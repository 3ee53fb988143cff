"""The pure part of the MCP server: paths, pages, edits and arguments."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfs.errors import InvalidArgument
from agentfs.mcp import arguments
from agentfs.mcp.edits import inserted, replaced
from agentfs.mcp.http import Listening
from agentfs.mcp.pages import ANSWER_BYTES, ANSWER_TOKENS, capped, listed, page, size
from agentfs.mcp.paths import Root, printable
from agentfs.mcp.refusals import Refused
from agentfs.memory.tokens import default_counter

WHOLE = Root(cast(Any, None))


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/memories", ""),
        ("/memories/", ""),
        ("/memories/a.md", "a.md"),
        ("/memories//a//b.md/", "a/b.md"),
        ("/memories/./a/./b", "a/b"),
        ("/memories/..a/b..", "..a/b.."),
        ("/memories/100%25", "100%25"),
        ("/memories/ä ö/日本", "ä ö/日本"),
    ],
)
def test_paths_inside(path: str, inside: str) -> None:
    assert WHOLE.inside(path) == inside


@pytest.mark.parametrize(
    "path",
    ["", "/", "a.md", "memories/a.md", "/memoriesa", "/Memories/a", "/etc/passwd", "../memories", " /memories"],
)
def test_paths_that_do_not_begin_right(path: str) -> None:
    with pytest.raises(Refused, match=r"Path must start with /memories, got: "):
        WHOLE.inside(path)


@pytest.mark.parametrize(
    "path",
    [
        "/memories/..",
        "/memories/../../../etc/passwd",
        "/memories/a/../b",
        "/memories/..\\..\\x",
        "/memories/%2e%2e/x",
        "/memories/%2E%2e%2fx",
        "/memories/a/%252e%252e%252fx",
        "/memories/a/%25252525252e%25252525252e/x",
        "/memories/..%5cx",
    ],
)
def test_paths_that_climb(path: str) -> None:
    with pytest.raises(Refused, match=r"would escape /memories directory"):
        WHOLE.inside(path)


def test_paths_outside() -> None:
    below = Root(cast(Any, None), "notes/mine")
    assert WHOLE.outside("") == "/memories"
    assert WHOLE.outside("a/b") == "/memories/a/b"
    assert below.outside("notes/mine") == "/memories"
    assert below.outside("notes/mine/x.md") == "/memories/x.md"
    assert [below.holds(path) for path in ("notes/mine", "notes/mine/x", "notes/mine2", "notes")] == [
        True,
        True,
        False,
        False,
    ]
    assert printable("a\nb\udcff\x1b") == "a\ufffdb\ufffd\ufffd"


def test_a_page() -> None:
    assert page("/memories/n", "Hello World\nThis is line two", None) == (
        "Here's the content of /memories/n with line numbers:\n     1\tHello World\n     2\tThis is line two"
    )
    text = "\n".join(str(number) for number in range(1, 101))
    assert page("p", text, [10, 11]).splitlines()[1:] == ["    10\t10", "    11\t11"]
    assert page("p", text, [99, -1]).splitlines()[1:] == ["    99\t99", "   100\t100"]
    assert page("p", text, [0, 1]).splitlines()[1:] == ["     1\t1"]
    assert page("p", text, [100, 900]).splitlines()[1:] == ["   100\t100"]
    for wrong in ([101, -1], [5, 4], [5], [1, 2, 3], [-9, -2]):
        with pytest.raises(Refused, match="Invalid `view_range`"):
            page("p", text, wrong)
    with pytest.raises(Refused, match=r"^File p exceeds maximum line limit of 999,999 lines\.$"):
        page("p", "\n" * 999_999, None)
    assert page("p", "\n" * 999_998, [999_999, -1]).endswith("999999\t")


@pytest.mark.parametrize("unit", ["word and word ", "日本語の文", "🙂", "0.8172", "x"])
def test_pages_hold_everything_once(unit: str) -> None:
    """Reading on as each page says gives every line, each page small enough."""
    lines = [f"{number}: {unit * (number % 37)}" for number in range(1, 4000)]
    seen: list[str] = []
    view_range = None
    for _ in range(100):
        shown = page("/memories/n", "\n".join(lines), view_range)
        assert len(shown.encode()) <= ANSWER_BYTES + 300
        assert default_counter().count(shown) <= ANSWER_TOKENS + 100
        body, _, hint = shown.partition("\n\n[")
        seen += [line.split("\t", 1)[1] for line in body.split("\n")[1:]]
        if not hint:
            break
        first = len(seen) + 1
        assert hint.endswith(f"To read on: view_range [{first}, 3999]]")
        view_range = [first, -1]
    assert seen == lines


def test_a_line_longer_than_a_page() -> None:
    shown = page("p", "short\n" + "ä" * 100_000 + "\nlast", [2, -1])
    assert len(shown.encode()) <= ANSWER_BYTES + 300
    assert "[Line 2 has 100,000 characters, of which the first " in shown
    assert shown.endswith("To read on: view_range [3, 3]]")
    assert page("p", "short\n" + "ä" * 100_000, [2, -1]).endswith("are shown.]")


def test_lists_and_answers_are_bounded() -> None:
    lines = [f"1K\t/memories/{number}" for number in range(10_000)]
    shown = listed("title", lines, hint="Look below.")
    assert len(shown.encode()) <= ANSWER_BYTES + 300
    assert shown.splitlines()[-1] == f"[{10_000 - len(shown.splitlines()) + 3:,} more are not shown. Look below.]"
    assert listed("title", lines[:3], hint="") == "\n".join(["title", *lines[:3]])
    english = "The quick brown fox jumps over the lazy dog. " * 1800
    assert capped(english) == english  # by tokens, not by bytes: a recall of 20,000 tokens passes whole
    for text in ("0.123 " * 10_000, "x" * 10_000_000, "日本" * 20_000):
        assert capped(text).endswith("is more than one answer holds.]")
        assert default_counter().count(capped(text)) < 25_000


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (1023, "1023B"),
        (1024, "1K"),
        (1536, "1.5K"),
        (5632, "5.5K"),
        (1258291, "1.2M"),
        (3 << 30, "3G"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_replacing() -> None:
    after, around = replaced("p", "Line 1\nOld Text\nLine 3", "Old Text", "New Text")
    assert after == "Line 1\nNew Text\nLine 3"
    assert around == "     1\tLine 1\n     2\tNew Text\n     3\tLine 3"
    numbers = "\n".join(map(str, range(1, 21)))
    after, around = replaced("p", numbers, "10\n11", "ten\nand\neleven")
    assert around.splitlines() == [
        f"{number:>6}\t{text}" for number, text in enumerate(["8", "9", "ten", "and", "eleven", "12", "13"], start=8)
    ]
    assert replaced("p", "a b c", " b", "")[0] == "a c"


def test_replacing_what_is_not_there_once() -> None:
    with pytest.raises(Refused) as caught:
        replaced("/memories/p", "Hello, World!", "NotFound", "x")
    expected = "No replacement was performed, old_str `NotFound` did not appear verbatim in /memories/p."
    assert str(caught.value) == expected
    with pytest.raises(Refused) as caught:
        replaced("/memories/p", "Hello\nMiddle\nHello", "Hello", "x")
    assert str(caught.value) == (
        "No replacement was performed. Multiple occurrences of old_str `Hello` in lines: 1, 3. Please ensure it is "
        "unique"
    )
    with pytest.raises(Refused, match="must not be empty"):
        replaced("p", "a", "", "x")


def test_replacing_where_lines_end_in_carriage_returns() -> None:
    """Models see and write line feeds; the file keeps its ends of lines."""
    text = "one\r\ntwo\r\nthree\r\n"
    assert replaced("p", text, "one\ntwo", "1\n2")[0] == "1\r\n2\r\nthree\r\n"
    assert inserted(text, 1, "new\nlines\n") == "one\r\nnew\r\nlines\r\ntwo\r\nthree\r\n"
    assert inserted("one\r\ntwo", 2, "three") == "one\r\ntwo\r\nthree\r\n"


@pytest.mark.parametrize(
    ("text", "line", "added", "after"),
    [
        ("Line 1\nLine 2", 1, "Inserted Line", "Line 1\nInserted Line\nLine 2\n"),
        ("Line 1\nLine 2", 0, "First Line", "First Line\nLine 1\nLine 2\n"),
        ("Line 1\nLine 2\n", 2, "Last Line\n", "Line 1\nLine 2\nLast Line\n"),
        ("", 0, "only", "only\n"),
        ("a\n", 1, "b\nc\n", "a\nb\nc\n"),
        ("a\n", 1, "b\n\n", "a\nb\n\n"),
        ("a\n\n", 1, "b", "a\nb\n\n"),
        ("a\x0cb\u2028c\n", 1, "d", "a\x0cb\u2028c\nd\n"),
    ],
)
def test_inserting(text: str, line: int, added: str, after: str) -> None:
    assert inserted(text, line, added) == after


@pytest.mark.parametrize("line", [-1, 3, 10])
def test_inserting_behind_the_end(line: int) -> None:
    with pytest.raises(Refused) as caught:
        inserted("Line 1\nLine 2\n", line, "x")
    assert str(caught.value) == (
        f"Error: Invalid `insert_line` parameter: {line}. It should be within the range of lines of the file: [0, 2]"
    )


@given(st.lists(st.text(st.characters(exclude_characters="\r\n"), max_size=5), max_size=6), st.data())
def test_inserting_touches_nothing_else(lines: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines)))
    added = data.draw(st.text(st.characters(exclude_characters="\r\n"), max_size=5))
    text = "".join(line + "\n" for line in lines)
    assert inserted(text, at, added).split("\n")[:-1] == [*lines[:at], added, *lines[at:]]


@given(st.text(max_size=30), st.text(min_size=1, max_size=3), st.text(max_size=5))
def test_replacing_is_exact_or_refused(text: str, old: str, new: str) -> None:
    if "\r" in text:
        text = text.replace("\r", "")
    try:
        after, _ = replaced("p", text, old, new)
    except Refused:
        assert text.count(old) != 1
    else:
        assert text.count(old) == 1 and after == text.replace(old, new)


def test_arguments() -> None:
    view = arguments.checked(arguments.View, {"path": "/memories", "view_range": "[1, 10]"})
    assert view.view_range == [1, 10]
    assert arguments.checked(arguments.View, {"path": "p", "view_range": None}).view_range is None
    assert arguments.checked(arguments.Remember, {"text": "x", "tags": "a, b"}).tags == ["a", "b"]
    created = arguments.checked(arguments.Create, {"path": "p", "file_text": '{"a": 1}'})
    assert created.file_text == '{"a": 1}'  # a text that is JSON stays a text
    with pytest.raises(Refused, match=r"^Error: Parameter `file_text` is required$"):
        arguments.checked(arguments.Create, {"path": "p"})
    with pytest.raises(Refused, match=r"^Error: Invalid parameter `strategy`: "):
        arguments.checked(arguments.Recall, {"query": "x", "strategy": "luck"})
    with pytest.raises(Refused, match="`nonsense`"):
        arguments.checked(arguments.View, {"path": "p", "nonsense": 1})


def test_schemas_are_plain() -> None:
    found = arguments.schema(arguments.Memory)
    assert found["required"] == ["command"] and found["additionalProperties"] is False
    assert found["properties"]["view_range"] == {
        "type": "array",
        "items": {"type": "integer"},
        "description": arguments.Memory.model_fields["view_range"].description,
    }
    recall = arguments.schema(arguments.Recall)["properties"]
    assert (recall["max_tokens"]["default"], recall["max_tokens"]["maximum"]) == (2000, arguments.MAX_TOKENS)


@pytest.mark.parametrize(
    ("where", "host", "port"),
    [
        ("127.0.0.1:8765", "127.0.0.1", 8765),
        ("localhost:0", "localhost", 0),
        ("[::1]:80", "::1", 80),
        (":8765", "127.0.0.1", 8765),
        ("8765", "127.0.0.1", 8765),
    ],
)
def test_where_to_listen(where: str, host: str, port: int) -> None:
    found = Listening.at(where)
    assert (found.host, found.port, found.is_loopback) == (host, port, True)
    security = found.security()
    assert security.enable_dns_rebinding_protection
    assert "127.0.0.1:*" in security.allowed_hosts and "localhost" in security.allowed_hosts


@pytest.mark.parametrize("where", ["localhost", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:http", "::1", ""])
def test_where_nobody_can_listen(where: str) -> None:
    with pytest.raises(InvalidArgument, match="HOST:PORT"):
        Listening.at(where)


def test_other_machines_need_a_token() -> None:
    token = "a-token-of-some-length"
    for where in ("0.0.0.0:1", "192.168.1.5:1", "[::]:1", "memory.example:1"):
        with pytest.raises(InvalidArgument, match="bearer token"):
            Listening.at(where)
    with pytest.raises(InvalidArgument, match="too short"):
        Listening.at("127.0.0.1:1", token="short")
    with pytest.raises(InvalidArgument, match="--allow-host"):
        Listening.at("0.0.0.0:1", token=token)
    named = Listening.at("0.0.0.0:1", token=token, names=("memory.example",)).security()
    assert {"memory.example", "memory.example:*"} <= set(named.allowed_hosts)
    assert "https://memory.example" in named.allowed_origins
    assert "0.0.0.0" not in named.allowed_hosts
    assert "192.168.1.5:*" in Listening.at("192.168.1.5:1", token=token).security().allowed_hosts
