"""Which names stay on this machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfs.model.ignore import IgnorePatterns, check_braces


def ignored(path: bytes, *patterns: bytes, directory: bool = False) -> bool:
    return IgnorePatterns(patterns).matches_path(path, directory=directory)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        (b"*.swp", b"a.swp", True),
        (b"*.swp", b"deep/down/.a.swp", True),
        (b"*.swp", b"a.swpx", False),
        (b"?.md", b"a.md", True),
        (b"?.md", b"ab.md", False),
        (b"[ab].md", b"b.md", True),
        (b"[!ab].md", b"b.md", False),
        (b"[!ab].md", b"c.md", True),
        (b"[z-a].md", b"z.md", False),
        (b"[a-c&&[--~].md", b"b.md", True),
        (b"[!a]", b"/", False),
        (b"[unclosed", b"[unclosed", True),
        (rb"\*.md", b"*.md", True),
        (rb"\*.md", b"a.md", False),
        (b"exact", b"exact", True),
        (b"exact", b"Exact", False),
        (b"drafts/private", b"drafts/private", True),
        (b"drafts/private", b"drafts/private/note.md", True),
        (b"drafts/private", b"x/drafts/private", False),
        (b"/top", b"top", True),
        (b"/top", b"x/top", False),
        (b"drafts/*.md", b"drafts/a.md", True),
        (b"drafts/*.md", b"drafts/x/a.md", False),
        (b"drafts/**", b"drafts/x/a.md", True),
        (b"drafts/**", b"drafts", False),
        (b"a/**/z", b"a/z", True),
        (b"a/**/z", b"a/b/c/z", True),
        (b"**/.git/index.lock", b".git/index.lock", True),
        (b"**/.git/index.lock", b"projects/x/.git/index.lock", True),
        (b"**/.git/index.lock", b"index.lock", False),
        (b"# comment", b"# comment", False),
        (b"", b"anything", False),
        (b"*.bin", b"\xff\n.bin", True),
    ],
)
def test_patterns(pattern: bytes, path: bytes, expected: bool) -> None:
    assert ignored(path, pattern) is expected


def test_a_slash_at_the_end_means_directories() -> None:
    assert ignored(b"node_modules", b"node_modules/", directory=True)
    assert not ignored(b"node_modules", b"node_modules/")
    assert ignored(b"node_modules/left-pad/index.js", b"node_modules/")


def test_the_last_pattern_that_matches_decides() -> None:
    assert not ignored(b"keep.swp", b"*.swp", b"!keep.swp")
    assert ignored(b"keep.swp", b"!keep.swp", b"*.swp")
    assert ignored(b"build/keep.swp", b"build/", b"!keep.swp"), "nothing comes back below an ignored directory"


def test_the_path_is_asked_only_where_it_matters() -> None:
    def never() -> bytes:
        raise AssertionError("asked")

    patterns = IgnorePatterns()
    assert not patterns.matches(b"notes.md", directory=False, path=never)
    assert patterns.matches(b"x.swp", directory=False, path=never)


@pytest.mark.parametrize(
    "name",
    [b"notes.md", b"4913", b"draft~", b"travel-journal", b"2024-journal", b"index.lock", b"swp", b".env", b"core"],
)
def test_what_a_person_may_have_written_is_never_ignored_by_default(name: bytes) -> None:
    patterns = IgnorePatterns()
    assert not patterns.matches_path(name, directory=False)
    assert not patterns.matches_path(name, directory=True)


@pytest.mark.parametrize(
    "path",
    [b".notes.md.swp", b"memory.db-wal", b"memory.db-shm", b"memory.db-journal", b"a/.git/index.lock", b".DS_Store"],
)
def test_what_is_of_this_machine_is_ignored_by_default(path: bytes) -> None:
    assert IgnorePatterns().matches_path(path, directory=False)


@given(st.lists(st.binary(max_size=12), max_size=5), st.binary(min_size=1, max_size=12))
def test_no_pattern_and_no_name_breaks_it(lines: list[bytes], path: bytes) -> None:
    IgnorePatterns(lines).matches_path(path, directory=False)


@given(st.lists(st.sampled_from(b"ab"), min_size=1, max_size=6).map(bytes))
def test_a_plain_pattern_matches_itself_alone(name: bytes) -> None:
    assert ignored(name, name)
    assert not ignored(name + b"c", name)


@pytest.mark.parametrize("pattern", ["*.{md,txt}", "{a,b}", "x/{,y}/**", "\\\\{a}{b,c}"])
def test_a_choice_in_braces_is_refused_where_patterns_are_set(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"^rule 2: braces are no choice here \(\{"):
        check_braces(pattern, where="rule 2: ")


@pytest.mark.parametrize("pattern", ["*.md", "{a}", "{}", "}a,b{", r"\{a,b}", "[{]a,b}"])
def test_braces_that_are_characters_are_patterns(pattern: str) -> None:
    check_braces(pattern)
    assert IgnorePatterns([pattern.encode()]).matches_path(
        pattern.replace("\\", "").replace("[{]", "{").replace("*", "x").encode(), directory=False
    )
