"""Files as objects of the view and back: thousands of variants, byte for byte; and after edits by other tools."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.view_variants import BOM, Variant, facts_for, variant

from agentfs.view.facts import ViewFacts, facts_in_metadata, metadata_of, time_ns, time_text
from agentfs.view.media_types import media_type
from agentfs.view.rendering import Rendered, rendered
from agentfs.view.restoring import Standing, restored, standing

VARIANTS = int(os.environ.get("VIEW_VARIANTS", "800"))


def put(text: str | bytes, path: bytes = b"note.md", **facts: object) -> Rendered:
    data = text if isinstance(text, bytes) else text.encode()
    return rendered(path, data, facts_for(data, **facts))  # type: ignore[arg-type]


# ---- out and back ----


def check_exact(path: bytes, data: bytes) -> Rendered:
    facts = facts_for(data)
    made = rendered(path, data, facts)
    for metadata in (made.metadata, {key.upper(): value for key, value in made.metadata.items()}):
        back = restored(path, made.data, metadata)
        assert (back.data, back.was, back.edited) == (data, facts, False)
    # A directory as a store keeps no metadata, and many tools lose it.
    bare = restored(path, made.data, {})
    assert bare.data == data
    assert (bare.was, bare.edited) == ((facts, False) if made.fronted else (None, True))
    if not made.fronted:
        assert made.data == data
    else:
        added = len(made.data) - len(data)
        at = next((at for at, (one, two) in enumerate(zip(made.data, data, strict=False)) if one != two), len(data))
        assert added > 0
        assert made.data[:at] + made.data[at + added :] == data, "one piece was put in, nothing else changed"
    return made


def keys_by_another_reader(data: bytes) -> dict[str, object]:
    lines = data.removeprefix(BOM).decode("utf-8", "replace").split("\n")
    end = next(at for at, line in enumerate(lines) if at and line.rstrip() == "---")
    loaded = yaml.load("\n".join(lines[1:end]) + "\n", Loader=yaml.CBaseLoader)
    return loaded if isinstance(loaded, dict) else {}


def test_variants_come_back_byte_for_byte() -> None:
    seen: Counter[str] = Counter()
    for seed in range(VARIANTS):
        file = variant(seed)
        try:
            made = check_exact(file.path, file.data)
            seen[f"{file.front} {'with block' if made.fronted else 'as it is'}"] += 1
            if made.fronted:
                keys = keys_by_another_reader(made.data)
                assert keys["agentfs"]["sha256"] == hashlib.sha256(file.data).hexdigest()  # type: ignore[index]
                if file.front == "keys" and file.data.removeprefix(BOM).startswith(b"---"):
                    del keys["agentfs"]
                    assert keys == keys_by_another_reader(file.data)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {file.front}, {file.path!r}: {file.data!r}") from error
    if os.environ.get("VIEW_VARIANTS"):
        print(json.dumps(dict(sorted(seen.items())), indent=1))
    # The generator makes what it promises: most plain frontmatters take the block, and every kind was there.
    assert seen["keys with block"] > 3 * seen["keys as it is"]
    assert seen["none with block"] > 3 * seen["none as it is"]
    for kind in ("broken as it is", "theirs as it is", "ours with block", "empty with block", "comments with block"):
        assert seen[kind] > VARIANTS / 100, kind


@settings(max_examples=100, deadline=None)
@given(st.sampled_from((b"a.md", b"b/c.markdown", b"d.txt", b"\xff", b".md")), st.binary(max_size=200))
@example(b"a.md", b"---\n---")
@example(b"a.md", BOM)
@example(b"a.md", b"---\nagentfs:\n  sha256: " + b"0" * 64 + b"\n---\n")
def test_any_bytes_come_back(path: bytes, data: bytes) -> None:
    check_exact(path, data)


_LINES = ["---", "--- ", "...", "agentfs:", "  sequence: 3", "  sha256: " + "ab" * 32, "  file: 1-2",
          "  volume: home-x", "a: 1", "# x", "", "text", "\ufeff---", "agentfs: {sha256: " + "cd" * 32 + "}",
          "  own: 1",
          "- x", "}"]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(_LINES), max_size=12), st.sampled_from(("\n", "\r\n")))
def test_any_lines_of_blocks_come_back(lines: list[str], ending: str) -> None:
    check_exact(b"a.md", ending.join(["---", *lines]).encode())


def test_a_file_that_was_taken_from_the_bucket_keeps_its_block_as_text() -> None:
    """Downloaded, and copied into a home: what was our block is the author's text there, at any depth."""
    data = b"---\ntitle: x\n---\ntext\n"
    for _ in range(4):
        data = check_exact(b"a.md", data).data


@pytest.mark.parametrize("size", [64 * 1024, 128 * 1024, 1 << 20])
def test_long_frontmatters_and_files(size: int) -> None:
    """Around the limits of what is searched, a character cut in two included."""
    for shift in range(-3, 4):
        front = b"---\nx: " + "é".encode() * ((size + shift) // 2) + b"y" * (shift % 2) + b"\n---\ntext\n"
        assert not check_exact(b"a.md", front).fronted
        assert check_exact(b"a.md", b"# x\n" + front).fronted
        assert check_exact(b"a.md", b"---\na: 1\n---\n" + "é".encode() * (size // 2)).fronted
        ours = put(b"x").data
        check_exact(b"a.md", ours.replace(b"agentfs:\n", b"agentfs:\n" + b"  version: 1\n" * (size // 20 + shift)))
        check_exact(b"a.md", ours.replace(b"author: ada\n", b"author: ada\n" + b"   more\n" * (size // 20 + shift)))
        check_exact(b"a.md", ours[:4] + b"# " + b"c" * (size + shift - len(ours)) + b"\n" + ours[4:])


def test_what_the_block_looks_like() -> None:
    made = put("---\ntitle: Plan # for Anna\ntags: [a,  b]\n---\n# Plan\n")
    digest = hashlib.sha256(b"---\ntitle: Plan # for Anna\ntags: [a,  b]\n---\n# Plan\n").hexdigest()
    assert made.data.decode() == (
        "---\n"
        "title: Plan # for Anna\n"
        "tags: [a,  b]\n"
        "agentfs:\n"
        "  version: 4\n"
        '  created: "2026-11-18T11:06:40Z"\n'
        '  modified: "2026-11-21T17:37:55.1234Z"\n'
        "  author: ada\n"
        "  sequence: 915\n"
        "  volume: home-ada\n"
        "  file: 812-3\n"
        f"  sha256: {digest}\n"
        "---\n"
        "# Plan\n"
    )
    assert made.content_type == "text/markdown; charset=utf-8"
    assert put("text\r\n").data.startswith(b"---\r\nagentfs:\r\n  version: 4\r\n")
    assert put("text\r\n").data.endswith(b"\r\n---\r\ntext\r\n")
    assert put(BOM + b"text").data.startswith(BOM + b"---\nagentfs:\n")
    assert put("---\n# only\n---\n").data.startswith(b"---\n# only\nagentfs:\n")


@pytest.mark.parametrize(
    "text",
    [
        "---\ntitle: [a\n---\nx\n", "---\na: 1\na: 2\n---\nx\n", "---\na: &x 1\nb: *x\n---\n", "---\na: 1\n...\n",
        "---\na: 1\n...\nx\n---\n", "+++\na = 1\n+++\n", '{\n"a": 1\n}\n', "---\nagentfs: mine\n---\n",
        "---\nAgentFS:\n  version: 3\n---\n", "---\n{a: 1}\n---\n", "---\n\ta: 1\n---\n", "---\nopen: 1\n",
        "x\0y", b"caf\xe9\n", "x".encode("utf-16"), "---\n- a\n---\n", "---\njust text\n---\n", "---\ra: 1\r---\r",
    ],
)  # fmt: skip
def test_what_is_not_plain_yaml_stays_as_it_is(text: str | bytes) -> None:
    made = put(text)
    assert not made.fronted
    assert made.data == (text if isinstance(text, bytes) else text.encode())
    assert facts_in_metadata(made.metadata) == facts_for(made.data)


def test_other_files_say_it_in_metadata() -> None:
    data = b"\x89PNG\r\n"
    made = put(data, b"pictures/a.PNG")
    assert (made.data, made.content_type, made.fronted) == (data, "image/png", False)
    assert made.metadata == {
        "agentfs-version": "4", "agentfs-created": "2026-11-18T11:06:40Z",
        "agentfs-modified": "2026-11-21T17:37:55.1234Z", "agentfs-author": "ada", "agentfs-sequence": "915",
        "agentfs-volume": "home-ada", "agentfs-file": "812-3", "agentfs-sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    block_in_text = put("x").data
    assert put(block_in_text, b"a.txt").data == block_in_text
    assert restored(b"a.txt", block_in_text, {}).data == block_in_text


def test_facts_of_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="other bytes"):
        rendered(b"a.md", b"x", facts_for(b"y"))


@pytest.mark.parametrize("wrong", [{"volume": "x"}, {"author": "a b"}, {"sequence": 0}, {"file": 0}, {"version": -1},
                                   {"created_ns": 1 << 63}, {"author": "é"}, {"volume": "home-a\nb"}])  # fmt: skip
def test_facts_that_no_version_has_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        put("x", **wrong)


# ---- facts as texts ----

_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,126}", fullmatch=True)
_NS = st.integers(-(1 << 63), (1 << 63) - 1)


@settings(max_examples=50, deadline=None)
@given(_IDS, _IDS, st.integers(1, (1 << 39) - 1), st.integers(1 << 24, (1 << 63) - 1), st.none() | _NS, _NS)
@example("1e5", "true", 1, 1 << 24, None, 0)
@example("null", "2026-11-21", 1, 1 << 24, -1, 1)
@example("a" * 127, "b" * 127, (1 << 39) - 1, (1 << 63) - 1, -(1 << 63), (1 << 63) - 1)
def test_facts_are_read_as_they_were_written(
    author: str, home: str, sequence: int, file: int, created_ns: int | None, modified_ns: int
) -> None:
    facts = ViewFacts(
        f"home-{home}", file, sequence, hashlib.sha256(b"x").digest(), author, None, created_ns, modified_ns
    )
    metadata = metadata_of(facts)
    assert facts_in_metadata(metadata) == facts
    assert sum(len(key) + len(value) for key, value in metadata.items()) < 1024, "S3 takes 2 KiB"
    made = rendered(b"a.md", b"x", facts)
    assert restored(b"a.md", made.data, {}).was == facts
    # Other readers of YAML take names for names, not for numbers or dates.
    said = yaml.safe_load(made.data.decode().split("---\n")[1])["agentfs"]
    assert (said["author"], said["volume"], said["sequence"]) == (author, f"home-{home}", sequence)
    assert isinstance(said["file"], str) and isinstance(said["sha256"], str)


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2026-11-21 17:37:55.1234+00:00", "2026-11-21T17:37:55.1234Z"),
        ("2026-11-21T18:37:55+01:00", "2026-11-21T17:37:55Z"),
        ("2026-11-21 17:37:55", "2026-11-21T17:37:55Z"), ("2026-11-21T12:07:55-0530", "2026-11-21T17:37:55Z"),
    ],
)  # fmt: skip
def test_times_as_tools_write_them(text: str, same_as: str) -> None:
    assert time_ns(text) == time_ns(same_as)
    assert time_text(time_ns(text) or 0) == same_as


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z", "1000-01-01T00:00:00Z", "2026-11-21", "٢٠٢٦"])
def test_what_is_no_time(text: str) -> None:
    assert time_ns(text) is None


# ---- edited by other tools ----


_NOTE = "---\ntitle: Plan\ntags: [a, b]\n---\n# Plan\n\nBuy tea.\n"


def _by_yaml_tool(text: str, **options: object) -> str:
    _, front, body = text.split("---\n", 2)
    return f"---\n{yaml.safe_dump(yaml.safe_load(front), allow_unicode=True, **options)}---\n{body}"  # type: ignore[call-overload]


def _twice(text: str) -> str:
    return text[text.index("agentfs:") : text.index("---\n# Plan")]


def _quoted(text: str) -> str:
    own = [re.sub(r'^(  )(\w+): "?(.*?)"?$', r"""\1'\2': '\3'""", line) for line in _twice(text).split("\n")[1:]]
    return text.replace(_twice(text), "\n".join(["'agentfs':", *own]))


def _moved(text: str) -> str:
    own = _twice(text)
    return text.replace(own, "").replace("---\n", "---\n" + own, 1)


def _in_braces(text: str) -> str:
    facts = ", ".join(line.strip() for line in _twice(text).splitlines()[1:])
    return text.replace(_twice(text), f"agentfs: {{{facts}}}\n")


def _in_braces_over_lines(text: str) -> str:
    facts = ",\n    ".join(line.strip() for line in _twice(text).splitlines()[1:])
    return text.replace(_twice(text), f"agentfs:\n  {{\n    {facts},\n  }}\n")


EDITS: dict[str, tuple[Callable[[str], str], str]] = {
    "text": (lambda text: text.replace("tea", "milk"), _NOTE.replace("tea", "milk")),
    "appended": (lambda text: text + "more\n", _NOTE + "more\n"),
    "key added behind the block": (
        lambda text: text.replace("\n---\n# Plan", "\nstatus: open\n---\n# Plan"),
        _NOTE.replace("b]\n", "b]\nstatus: open\n"),
    ),
    "comment behind the block": (
        lambda text: text.replace("\n---\n# Plan", "\n# mine\n---\n# Plan"),
        _NOTE.replace("b]\n", "b]\n# mine\n"),
    ),
    "key changed": (lambda text: text.replace("Plan\n", "Plans\n", 1), _NOTE.replace("Plan\n", "Plans\n", 1)),
    "own keys deleted": (
        lambda text: text.replace("title: Plan\ntags: [a, b]\n", ""),
        "# Plan\n\nBuy tea.\n",
    ),
    "own frontmatter broken": (lambda text: text.replace("[a, b]", "[a, b"), _NOTE.replace("[a, b]", "[a, b")),
    "line endings": (lambda text: text.replace("\n", "\r\n"), _NOTE.replace("\n", "\r\n")),
    "byte order mark": (lambda text: "\ufeff" + text, "\ufeff" + _NOTE),
    "no newline at the end": (lambda text: text.rstrip("\n"), _NOTE.rstrip("\n")),
    "informational facts deleted": (
        lambda text: "\n".join(line for line in text.split("\n") if not line.startswith(("  ver", "  cre", "  aut"))),
        _NOTE,
    ),
    "digest only left": (
        lambda text: "\n".join(line for line in text.split("\n") if line[:2] != "  " or "sha256" in line),
        _NOTE,
    ),
    "digest deleted": (lambda text: "\n".join(line for line in text.split("\n") if "sha256" not in line), _NOTE),
    "quoted": (
        _quoted,
        _NOTE,
    ),
    "indented by four": (lambda text: text.replace("\n  ", "\n    "), _NOTE),
    "digest folded": (lambda text: text.replace("sha256: ", "sha256: >-\n    "), _NOTE),
    "blank lines inside": (lambda text: text.replace("  sequence", "\n  sequence"), _NOTE),
    "comment inside": (
        lambda text: text.replace("  sequence", "  # why is this here?\n  sequence"),
        _NOTE.replace("b]\n", "b]\n  # why is this here?\n"),
    ),
    "key of its own inside": (
        lambda text: text.replace("  sequence", "  keep: me\n  sequence"),
        _NOTE.replace("b]\n", "b]\nagentfs:\n  keep: me\n"),
    ),
    "block moved to the top": (
        _moved,
        _NOTE,
    ),
    "block twice": (lambda text: text.replace("agentfs:", _twice(text) + "agentfs:", 1), _NOTE),
    "block in braces": (_in_braces, _NOTE),
    "braces over lines": (
        _in_braces_over_lines,
        _NOTE,
    ),
    "sorted by a YAML tool": (
        _by_yaml_tool,
        "---\ntags:\n- a\n- b\ntitle: Plan\n---\n# Plan\n\nBuy tea.\n",
    ),
    "braces by a YAML tool": (
        lambda text: _by_yaml_tool(text, default_flow_style=None, width=1000),
        "---\ntags: [a, b]\ntitle: Plan\n---\n# Plan\n\nBuy tea.\n",
    ),
    "narrow by a YAML tool": (
        lambda text: _by_yaml_tool(text, sort_keys=False, width=20, indent=4),
        "---\ntitle: Plan\ntags:\n- a\n- b\n---\n# Plan\n\nBuy tea.\n",
    ),
    "block deleted": (
        lambda text: _twice(text) and text.replace(_twice(text), ""),
        _NOTE,
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_edited_outside(name: str) -> None:
    edit, expected = EDITS[name]
    made = put(_NOTE)
    changed = edit(made.data.decode())
    assert changed != made.data.decode()
    back = restored(b"note.md", changed.encode(), {})
    assert back.data.decode() == expected
    if name == "block deleted":
        assert back.was is None
        return
    assert back.was is not None
    assert back.edited == (expected != _NOTE or name == "digest deleted")
    assert back.was.digest == (b"" if name == "digest deleted" else facts_for(_NOTE.encode()).digest)
    assert back.was.sequence == (0 if name == "digest only left" else 915)


def test_a_note_without_frontmatter_edited_outside() -> None:
    made = put("# Plan\n").data.decode()
    edited = made.replace("# Plan", "# Plans")
    assert restored(b"note.md", edited.encode(), {}).data == b"# Plans\n"
    with_key = made.replace("agentfs:", "status: open\nagentfs:").encode()
    assert restored(b"note.md", with_key, {}).data == b"---\nstatus: open\n---\n# Plan\n"
    assert restored(b"note.md", made.replace("\n", "\r\n").encode(), {}).data == b"# Plan\r\n"
    emptied = put("---\n---\n# Plan\n").data
    assert restored(b"note.md", emptied, {}).data == b"---\n---\n# Plan\n"


def test_metadata_says_it_when_the_file_could_not() -> None:
    made = put("---\na: [1\n---\ntext\n")
    back = restored(b"note.md", made.data + b"more\n", made.metadata)
    assert (back.data, back.was, back.edited) == (made.data + b"more\n", facts_for(made.data), True)
    bare = restored(b"note.md", made.data + b"more\n", {"mtime": "1"})
    assert (bare.data, bare.was, bare.edited) == (made.data + b"more\n", None, True)


def test_the_block_goes_before_metadata_that_stayed_behind() -> None:
    """A tool that writes another file's text over an object and keeps the old object's metadata."""
    old, new = put("old\n"), put("new\n", sequence=1000)
    assert restored(b"note.md", new.data, old.metadata).was == facts_for(b"new\n", sequence=1000)


@pytest.mark.parametrize(
    "own",
    [
        "agentfs: true", "agentfs:\n  version: 2\n  author: ada", "agentfs:\n  sequence: 3", "agentfs: {tool: x}",
        "AgentFS:\n  sha256: " + "ab" * 32, "agentfs:\n  sha256: abc",
        "agentfs:\n  sha256: " + "ab" * 32 + "\n  tool: x", "agentfs:\n- sha256: " + "ab" * 32,
        "nested:\n  agentfs:\n    sha256: " + "ab" * 32,
        "agentfs: |\n  sha256: x",
    ],
)  # fmt: skip
def test_a_key_of_the_authors_own_is_never_touched(own: str) -> None:
    text = f"---\ntitle: x\n{own}\n---\ntext\n".encode()
    assert restored(b"a.md", text, {}).data == text
    assert restored(b"a.md", text, {}).was is None
    made = put(text)
    assert restored(b"a.md", made.data + b"more\n", made.metadata).data == text + b"more\n"


def _closing_is_kept(file: Variant) -> bool:
    """Not of frontmatters that say nothing at all: an edit loses their fences (docs/view.md, V-43)."""
    lines = file.data.removeprefix(BOM).replace(b"\r\n", b"\n").split(b"\n")
    return len(lines) < 2 or lines[0].strip() != b"---" or lines[1].strip() != b"---"


def test_edits_of_the_text_mean_the_same_on_file_and_object() -> None:
    """Whatever the file is like: edit the object, take the block out; or edit the file. The same bytes."""
    edits: list[Callable[[bytes], bytes]] = [
        lambda data: data + b"\nappended\n",
        lambda data: data.replace(b"text", b"words").replace(b"Plan", b"Plans").replace(b"a: 1", b"a: 12"),
        lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\r\n", b"\n"),
        lambda data: data[len(BOM) :] if data.startswith(BOM) else data,
    ]
    checked = 0
    for seed in range(VARIANTS // 8):
        file = variant(seed)
        made = put(file.data, file.path)
        if not made.fronted or not _closing_is_kept(file):
            continue
        for number, edit in enumerate(edits):
            back = restored(file.path, edit(made.data), {})
            assert back.data == edit(file.data), (seed, number, file.front, file.data)
            assert back.was == facts_for(file.data)
            assert back.edited == (edit(file.data) != file.data)
            checked += 1
    assert checked > VARIANTS / 4


def test_a_yaml_tool_that_writes_the_whole_frontmatter_anew() -> None:
    """Sorted, folded, in braces, indented otherwise: the block goes, the author's keys mean what they meant."""
    checked = 0
    for seed in range(VARIANTS // 8):
        file = variant(seed)
        made = put(file.data, file.path)
        text = file.data.decode("utf-8", "replace")
        if not made.fronted or file.front != "keys" or re.match(r"---[ \t]*\r?\n", text) is None:
            continue
        if not keys_by_another_reader(file.data):
            continue  # the tool writes no comments, and fences around nothing go
        random = Random(seed)
        options = {"default_flow_style": random.choice((None, False)), "sort_keys": random.random() < 0.5,
                   "width": random.choice((20, 40, 80, 1000)), "indent": random.choice((2, 4, 8)),
                   "allow_unicode": random.random() < 0.8, "line_break": random.choice(("\n", "\r\n"))}  # fmt: skip
        _, front, body = re.split(r"^---[ \t]*\r?\n", made.data.decode("utf-8", "replace"), maxsplit=2, flags=re.M)
        written = yaml.dump(yaml.load(front, Loader=yaml.CBaseLoader), Dumper=yaml.SafeDumper, **options)  # type: ignore[call-overload]
        back = restored(file.path, f"---\n{written}---\n{body}".encode(), {})
        assert back.was == facts_for(file.data), (seed, options, written)
        _, rest, after = re.split(r"^---[ \t]*\r?\n", back.data.decode(), maxsplit=2, flags=re.M)
        assert yaml.load(rest, Loader=yaml.CBaseLoader) == keys_by_another_reader(file.data), (seed, options, written)
        assert after == body
        checked += 1
    assert checked > VARIANTS / 80


def test_no_damage_to_a_block_costs_a_line_of_the_authors() -> None:
    """Lines deleted, doubled, cut or written over anywhere in the frontmatter: whatever goes is one of ours."""
    own = {"title: Plan", "tags: [a, b]", "# Plan", "", "Buy tea."}
    lines = put(_NOTE).data.decode().split("\n")
    ours = set(lines) - own
    for seed in range(VARIANTS // 4):
        random = Random(seed)
        damaged = list(lines)
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(damaged) - 4)
            damaged[at : at + 1] = random.choice(
                ([], [damaged[at]] * 2, [damaged[at][: random.randint(0, 9)]], ["mine: 1"], ["  mine: 1"], ["# mine"],
                 ["  # mine"], ["<<<<<<< x"], ["- mine"], ["\tmine"], [""], ["mine"], ["agentfs: mine"])
            )  # fmt: skip
        text = "\n".join(damaged)
        left = iter(restored(b"note.md", text.encode(), {}).data.decode().split("\n"))
        gone, line = [], next(left, None)
        for before in damaged:
            if before == line:
                line = next(left, None)
            else:
                gone.append(before)
        assert line is None, (seed, text)
        assert all(any(line.startswith(part) for line in ours) for part in gone), (seed, gone, text)


# ---- how it stands to what is there now ----


def test_standing() -> None:
    now = facts_for(b"x")
    assert standing(None, "home-ada", now) is Standing.UNKNOWN
    assert standing(now, "home-ada", now) is Standing.CURRENT
    assert standing(facts_for(b"x", sequence=900), "home-ada", now) is Standing.STALE
    assert standing(facts_for(b"x", sequence=916), "home-ada", now) is Standing.AHEAD
    assert standing(facts_for(b"x", file=5 << 24), "home-ada", now) is Standing.COPIED
    assert standing(now, "home-ada", None) is Standing.COPIED
    assert standing(now, "space-team", now) is Standing.FOREIGN
    only_digest = ViewFacts("", 0, 0, now.digest)
    assert standing(only_digest, "home-ada", now) is Standing.CURRENT
    assert standing(ViewFacts("", 0, 0, b"y" * 32), "home-ada", now) is Standing.STALE


def test_an_object_copied_to_another_path_says_where_it_is_from() -> None:
    made = put("# Plan\n")
    back = restored(b"copy.md", made.data, {})
    assert (back.data, back.edited) == (b"# Plan\n", False)
    assert standing(back.was, "home-ada", facts_for(b"other", file=9 << 24)) is Standing.COPIED


# ---- media types ----


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        (b"a.md", b"x", "text/markdown; charset=utf-8"), (b"a.md", b"\xff", "text/markdown"),
        (b"a.json", b"{}", "application/json"), (b"A.JPEG", b"\xff\xd8", "image/jpeg"),
        (b"Makefile", b"all:\n", "text/plain; charset=utf-8"), (b"x", b"\0", "application/octet-stream"),
        (b".env", b"A=1", "text/plain; charset=utf-8"), (b"a.b/c", b"\xff", "application/octet-stream"),
        (b"a.txt", b"x\0", "text/plain"), (b"a.svg", b"<svg/>", "image/svg+xml"),
        (b"x.md/y.PDF", b"", "application/pdf"),
        (b"a.txt", b"x" * 65535 + "é".encode(), "text/plain; charset=utf-8"),
        (b"a.txt", b"", "text/plain; charset=utf-8"),
        (b"\xff.\xff", b"x", "text/plain; charset=utf-8"),
    ],
)  # fmt: skip
def test_media_types(path: bytes, data: bytes, expected: str) -> None:
    assert media_type(path, data) == expected
