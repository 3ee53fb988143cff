"""Paths as names of objects: readable, one to one, and nothing that a store or a tool would change."""

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentfs.errors import AgentIdInvalid
from agentfs.view.naming import object_name, place_of, view_prefix


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"notes.md", "notes.md"), (b"a/b/c d.md", "a/b/c d.md"), ("日本/é 🙂.md".encode(), "日本/é 🙂.md"),
        (b"100%.md", "100%.md"), (b"My%20File.pdf", "My%20File.pdf"), (b"%E6%97%A5.md", "%E6%97%A5.md"),
        (b".env", ".env"), (b"...x", "...x"), (b"a:b*c?d\"e<f>|g#h&i+j=k~l`m^n{o}[p]'q!;$@,()", None),
        # What is not written as it is, is marked as such.
        (b"a\\b.md", "%%a%5Cb.md"), (b"x\ny/z.md", "%%x%0Ay/z.md"), (b"\xff\xfe.md", "%%%FF%FE.md"),
        (b"caf\xe9 50%.md", "%%caf%E9 50%25.md"), (b"ends.", "%%ends%2E"), (b"a../b", "%%a.%2E/b"),
        (b"end ", "%%end%20"),
        (b" start", "%% start"), (b"%%x", "%%%25%25x"), (b"%x", "%x"), (b".agentfs-self", "%%.agentfs-self"),
        ("a\u2028b\x85".encode(), "%%a%E2%80%A8b%C2%85"), ("\uffff".encode(), "%%%EF%BF%BF"), (b"\x7f", "%%%7F"),
    ],
)  # fmt: skip
def test_names(path: bytes, name: str | None) -> None:
    expected = "agents/ada/" + (path.decode() if name is None else name)
    assert object_name("home", "ada", path) == expected
    assert place_of(expected) == ("home", "ada", path)


@pytest.mark.parametrize("path", [b"", b"/a", b"a/", b"a//b", b"./a", b"a/..", b"a\0b", b"x" * 256])
def test_what_is_no_path_has_no_name(path: bytes) -> None:
    assert object_name("home", "ada", path) is None


@pytest.mark.parametrize(
    "name",
    [
        "agents/ada/", "agents/ada", "agents/", "agents//x", "agents/a..b/x", "spaces/-/x", "other/ada/x", "",
        ".agentfs/store.json", "agents/ada/folder/", "agents/ada/a//b", "agents/ada/a/../b", "agents/ada/a\\b",
        "agents/ada/a\nb", "agents/ada/end.", "agents/ada/end ", "agents/ada/%%", "agents/ada/%%plain",
        "agents/ada/%%a%5cb",
        "agents/ada/%%a%41\\", "agents/ada/%%%41%5C", "agents/ada/%%a%2F%5C", "agents/ada/%%%00", "agents/ada/\ud800",
        "agents/ada/%%\ud800", "agents/ada/%%%2E%2E", "agents/ada/" + "x" * 256, "agents/ada/%%%C3%A9",
        "agents/ada/%%%C3%A9\\", "agents/ada/%%a%",
    ],
)  # fmt: skip
def test_what_no_file_is_named(name: str) -> None:
    assert place_of(name) is None


def test_long_names() -> None:
    path = b"/".join([b"d" * 200] * 5)
    name = object_name("home", "ada", path)
    assert name is not None and len(name) == 1015
    assert object_name("home", "ada", path + b"/12345678") == name + "/12345678"
    assert object_name("home", "ada", path + b"/123456789") is None, "1025 bytes"
    assert object_name("home", "ada", path, bytes_max=1015) == name
    assert object_name("home", "ada", path, bytes_max=1014) is None, "the root's prefix counts"
    assert object_name("home", "ada", "é".encode() * 127) == "agents/ada/" + "é" * 127
    assert object_name("home", "ada", b"\xff" * 84) is not None
    assert object_name("home", "ada", b"\xff" * 85) is None, "257 bytes: some stores are directories"


def test_ids() -> None:
    assert view_prefix("space", "team") == "spaces/team/"
    with pytest.raises(AgentIdInvalid):
        view_prefix("home", "a/b")
    with pytest.raises(AgentIdInvalid):
        object_name("home", "", b"x")


_TROUBLESOME = st.lists(
    st.sampled_from([b"%", b"%%", b"5C", b"\\", b"\xff", b"\xc3", b"\xa9", b".", b" ", b"/", b"a", b"\n", b"\xc2\x85",
                     "é".encode(), b"%25", b"%0A", b"\xe2\x80\xa8", b"\xed\xa0\x80", b".agentfs-"]),
    max_size=8,
).map(b"".join)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(min_size=1, max_size=40), _TROUBLESOME))
@example(b"\xc3%A9")
@example(b"%%%5C")
def test_every_path_has_its_own_name(path: bytes) -> None:
    name = object_name("home", "ada", path)
    parts = path.split(b"/")
    if name is None:
        assert any(part in (b"", b".", b"..") or b"\0" in part for part in parts)
        return
    assert place_of(name) == ("home", "ada", path), "so that no two paths have one name"
    for part in name.split("/"):
        assert (
            part not in ("", ".", "..") and not part.endswith((".", " ")) and not part.startswith((" ", ".agentfs-"))
        )
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\\\u2028\u2029]", name)
    assert all(unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") for character in name)
    assert name.encode().decode() == name


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=20), _TROUBLESOME.map(lambda path: path.decode("utf-8", "replace"))))
@example("%%%5C")
def test_every_name_has_its_own_path(rest: str) -> None:
    """Objects put from outside: each is one path's, or none's; never two are one's."""
    name = "spaces/team/" + rest
    place = place_of(name)
    if place is not None:
        assert object_name(*place) == name
