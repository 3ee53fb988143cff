"""Documents: what is one, how it is cut, and that every passage is a slice of the file."""

import builtins
import io
import json
import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentfs.memory import documents, html_text, moments, pdf_text
from agentfs.memory.documents import Document, document, kind_of, readable, unread_kinds
from agentfs.memory.facts import front
from agentfs.memory.passages import CODE_MAX, TARGET, WHOLE_MAX, clean

CORPUS = Path(__file__).parent.parent / "corpus" / "documents"
NOTES = sorted(
    path.relative_to(CORPUS).as_posix()
    for path in CORPUS.rglob("*")
    if path.is_file() and path.name != "README.md" and "expected" not in path.parts
)
MTIME_NS = 1_780_272_000_000_000_000


def read(path: str, text: str | bytes) -> Document:
    found = document(path.encode(), text.encode() if isinstance(text, str) else text, {}, mtime_ns=MTIME_NS)
    assert found is not None
    return found


def texts(path: str, text: str) -> list[str]:
    return [passage.text for passage in read(path, text).passages]


def shown(found: Document) -> str:
    """A document for people, as the files in `expected` have it."""
    facts = found.facts
    said = {
        "title": facts.title,
        "tags": ", ".join(facts.tags),
        "importance": facts.importance,
        "expires": facts.expires_ns and moments.written(facts.expires_ns),
        "type": facts.type,
        "links": ", ".join(facts.links),
        "created": facts.created_ns and moments.written(facts.created_ns),
        "pinned": facts.pinned or None,
    }
    lines = [found.kind + (" (extracted)" if found.extracted else "")]
    lines += [f"{key}: {value}" for key, value in said.items() if value not in ("", None)]
    for one in found.passages:
        place = f"{one.first_line}" if one.first_line == one.last_line else f"{one.first_line}-{one.last_line}"
        words = [place, " › ".join(one.headings), one.author, one.said_ns and moments.written(one.said_ns)]
        lines += ["", "--- " + " · ".join(word for word in words if word), *one.text.split("\n")]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", NOTES)
def test_corpus(name: str) -> None:
    if kind_of(name.encode()) in unread_kinds():
        pytest.skip("the extra `documents` is not installed")
    data = (CORPUS / name).read_bytes()
    found = document(name.encode(), data, {}, mtime_ns=MTIME_NS)
    assert found is not None
    expected = (CORPUS / "expected" / (name.replace("/", "-") + ".txt")).read_bytes().decode()
    assert shown(found) == expected
    exact(data, found)


def exact(data: bytes, found: Document) -> None:
    """Slices of the file in ascending order, with the right lines, none too long."""
    at = 0
    words = [found.facts.title, found.facts.type, *found.facts.tags, *found.facts.links]
    for one in found.passages:
        words += [one.author, *one.headings]
        assert one.text.strip()
        assert "\0" not in one.text
        assert len(one.text) <= CODE_MAX
        if found.extracted:
            continue
        assert at <= one.start < one.end <= len(data)
        assert data[one.start : one.end].decode() == one.text
        assert one.first_line == data.count(b"\n", 0, one.start) + 1
        assert one.last_line == data.count(b"\n", 0, one.end) + 1
        at = one.end
    assert "\0" not in "".join(words)
    "".join(words).encode()


def covered(data: bytes, found: Document, start: int = 0) -> None:
    """What is in no passage is a heading above one, or has no letter."""
    headings = {heading for one in found.passages for heading in one.headings}
    at = start
    for begin, end in [(one.start, one.end) for one in found.passages] + [(len(data), len(data))]:
        for line in clean(data[at:begin].decode("utf-8", "surrogateescape")).split("\n"):
            bare = line.strip("\ufeff \t\r#*=-_~`>[]()|:.–—")
            assert not any(map(str.isalnum, bare)) or any(bare[:100] in heading for heading in headings), line
        at = end


WORDS = st.sampled_from(
    ["plan", "Berlin", "2023-05-08", "wir", "会議", "café", "👍", "[[link]]", "#tag", "`code`", "and.", "Then,",
     "x=1", "https://a.example", "10:30", "**bold**", "a|b"]
)  # fmt: skip
SENTENCE = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)
LINES = st.one_of(
    SENTENCE,
    SENTENCE.map("- {}".format),
    SENTENCE.map("  - {}".format),
    SENTENCE.map("    {}".format),
    SENTENCE.map("1. {}".format),
    SENTENCE.map("> {}".format),
    SENTENCE.map("| {} | x |".format),
    SENTENCE.map("# {}".format),
    SENTENCE.map("### {}".format),
    SENTENCE.map("Anna: {}".format),
    SENTENCE.map("- **Ben** (10:02): {}".format),
    SENTENCE.map("[2024-01-02 03:04] {}".format),
    SENTENCE.map("def f(): {}".format),
    SENTENCE.map(lambda said: json.dumps({"role": "user", "content": [said]})),
    st.sampled_from(["", "", "", "---", "===", "```", "~~~py", "|--|--|", "***", "8 May 2023", "{", "}", "#", "- "]),
    st.sampled_from(["User:", "### Assistant", "Date: 2024-05-06", "\ufeff", "\0", "a\0b", "x" * 1200, "y z " * 300]),
)  # fmt: skip
TEXTS = st.lists(LINES, max_size=40)
ENDINGS = st.sampled_from(["\n", "\r\n"])
PATHS = ("a.md", "a.txt", "a.csv", "a", "a.py", "a.json", "a.jsonl", "a.yaml")


@settings(max_examples=80, deadline=None)
@given(lines=TEXTS, ending=ENDINGS, path=st.sampled_from(PATHS), bad=st.lists(st.integers(0, 4000), max_size=3))
@example(lines=["# a", "## b", "", "# c"], ending="\n", path="a.md", bad=[])
@example(lines=["Anna: x", "---", "Anna: y"], ending="\n", path="a.md", bad=[])
@example(lines=["- a", "", "  ```", "# b"], ending="\r\n", path="a.md", bad=[])
def test_passages_are_slices_and_leave_nothing_out(lines: list[str], ending: str, path: str, bad: list[int]) -> None:
    data = bytearray(ending.join(lines).encode())
    if b"\0" not in data:
        for at in bad:
            data[at % (len(data) + 1) : at % (len(data) + 1)] = b"\xff"
    found = document(path.encode(), bytes(data), {}, mtime_ns=0)
    if found is None:
        assert bad or b"\0" in data
        return
    exact(bytes(data), found)
    _, behind = front(path.encode(), data.decode("utf-8", "surrogateescape"))
    start = len(data.decode("utf-8", "surrogateescape")[:behind].encode("utf-8", "surrogateescape"))
    if not found.extracted:
        covered(bytes(data), found, start)
    assert found == document(path.encode(), bytes(data), {}, mtime_ns=0)


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=400), path=st.sampled_from((*PATHS, "a.html", "a.pdf", "a")))
def test_no_bytes_fail(data: bytes, path: str) -> None:
    found = document(path.encode(), data, {b"user.agentfs.tags": data}, mtime_ns=0)
    if found is not None:
        exact(data, found)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("notes/a.md", "markdown"), ("A.MARKDOWN", "markdown"), ("README", "text"), ("a.txt", "text"),
        ("a.toml", "text"), ("a.log", "text"), (".profile", "text"), ("a.json", "json"), ("a.ndjson", "jsonl"),
        ("src/Makefile", "code"), ("a.rs", "code"), ("a.htm", "html"), ("a.pdf", "pdf"),
        ("a.svg", None), ("poetry.lock", None), ("x.min.js", None), ("repo/.git/config", None), ("a.pem", None),
    ],
)  # fmt: skip
def test_kinds(path: str, kind: str | None) -> None:
    assert kind_of(path.encode()) == kind


def test_what_is_no_document() -> None:
    assert document(b"a.md", b"text \0 more", {}, mtime_ns=0) is None
    assert document(b"a.md", random.Random(4).randbytes(3000).replace(b"\0", b"\1"), {}, mtime_ns=0) is None
    assert document(b"a.md", b"a" * (documents.BYTES_MAX + 1), {}, mtime_ns=0) is None
    assert document(b"a.svg", b"<svg/>", {}, mtime_ns=0) is None
    empty = document(b"a.md", b"", {}, mtime_ns=0)
    assert empty is not None
    assert empty.passages == ()


def test_nul_behind_the_head_is_a_border() -> None:
    text = "word " * 2000 + "\n\nbefore\0after\n"
    assert texts("a.txt", text)[-2:] == ["before", "after"]


def test_words_around_a_passage_are_text() -> None:
    """Whatever stands in the file: a database takes the path, the author and the facts."""
    data = b'---\ntitle: "a\xff"\n---\n# b\xff\n\nC\xff: x #t\xff\n' + "é".encode() * 20
    exact(data, read("a.md", data))
    said = read("a.jsonl", r'{"author": "a\ud800\u0000", "text": "x"}').passages[0]
    assert said.author == "a\ufffd\ufffd"
    tagged = document(b"a.md", b"x", {b"user.agentfs.tags": b'["\\ud800"]'}, mtime_ns=0)
    assert tagged is not None
    assert tagged.facts.tags == ("\ufffd",)


def test_encodings() -> None:
    assert readable("Zürich".encode("utf-16")) == ("Zürich", True)
    assert readable("Zürich liegt am See".encode("cp1252")) == ("Zürich liegt am See", True)
    damaged = ("Zürich liegt am See. " * 50).encode() + b"\xff"
    assert readable(damaged) == (damaged.decode("utf-8", "surrogateescape"), False)
    assert readable("Привет, как дела".encode("cp1251")) is None
    assert readable(b"\x89PNG\r\n\x1a\n\x01\x02\x03\x04") is None
    found = read("a.txt", "Straße in Köln".encode("latin-1"))
    assert (found.passages[0].text, found.extracted) == ("Straße in Köln", True)


def test_a_long_paragraph_is_cut_at_sentences() -> None:
    sentences = [
        f"Sentence number {number} tells of a thing that happened in the year {1900 + number}."
        for number in range(40)
    ]
    found = texts("a.md", " ".join(sentences))
    assert all(TARGET / 2 < len(text) <= WHOLE_MAX for text in found)
    assert all(text.startswith("Sentence") and text.endswith(".") for text in found)
    assert " ".join(found) == " ".join(sentences)


def test_a_line_without_borders_is_cut() -> None:
    found = texts("a.txt", "x" * (1 << 20))
    assert "".join(found) == "x" * (1 << 20)
    assert max(map(len, found)) <= WHOLE_MAX
    chinese = texts("a.txt", "我们明天去北京。" * 200)
    assert all(text.endswith("。") for text in chinese)


def test_many_units_become_passages_of_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "UNITS_MAX", 1000)
    lines = [f"2026-01-01 10:00:00 line {number}\n" for number in range(documents.UNITS_MAX + 1)]
    found = read("a.log", "".join(lines))
    assert len(found.passages) < len(lines) / 10
    assert sum(one.last_line - one.first_line + 1 for one in found.passages) == len(lines)


def test_a_flood_of_lines_is_cut_without_looking_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LINES_MAX", 9_999)
    text = "# a\n" * 10_000
    found = read("a.md", text)
    exact(text.encode(), found)
    assert len(found.passages) == len(text) // TARGET + (len(text) % TARGET > 0)


@pytest.mark.parametrize(
    "hostile", ["#", "[", "[[a", "- ", "- a\n", "> ", "| ", "`", "a: ", "*", '"', '{"a":', "](", "(((", "=\n"]
)
@pytest.mark.parametrize("path", ["a.md", "a.py", "a.json"])
def test_hostile_texts(hostile: str, path: str) -> None:
    """What the passages and their paths hold is bounded by the file, however it nests."""
    text = hostile * (20_000 // len(hostile))
    found = read(path, text)
    exact(text.encode(), found)
    assert sum(one.end - one.start for one in found.passages) <= len(text)
    assert sum(len(heading) for one in found.passages for heading in one.headings) <= 10 * len(text)


@pytest.mark.parametrize(
    "line",
    [
        "Caroline: hello", "**Caroline**: hello", "**Caroline:** hello", "- Caroline: hello", "- **Caroline**: hello",
        "> Caroline: hello", "[2023-05-08 13:56] Caroline: hello", "(D1:3) Caroline: hello", "<Caroline> hello",
        "2023-05-08 13:56 - Caroline: hello", "Caroline (2023-05-08 13:56): hello", "1. Caroline: hello",
        "@Caroline: hello", "13:56 Caroline: hello", 'Caroline said, "hello"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["a.md", "a.txt"])
def test_turns(line: str, path: str) -> None:
    found = read(path, f"# 8 May 2023\n\n{line}\n{line}\nand on\n{line}\n")
    turns = [one for one in found.passages if one.author]
    assert [one.author for one in turns] == ["Caroline"] * 3
    assert [one.text for one in turns] == [line, f"{line}\nand on", line]
    at = moments.moment_in("2023-05-08 13:56" if "13:56" in line else "8 May 2023")
    assert at is not None
    if path == "a.md" or "2023" in line:
        assert {one.said_ns for one in turns} == {at.ns}


@pytest.mark.parametrize(
    "line", ["**Anna** (10:42 AM)", "Anna  10:42 AM", "Anna — 10:42", "Anna [2023-05-08 10:42:00]"]
)
def test_a_name_and_a_time_above_what_is_said(line: str) -> None:
    found = read("a.md", f"# 8 May 2023\n\n{line}\nI moved to Bern.\n\n{line}\n\nLast week.\n")
    at = moments.moment_in("2023-05-08 10:42")
    assert at is not None
    assert [(one.author, one.text, one.said_ns) for one in found.passages] == [
        ("Anna", f"{line}\nI moved to Bern.", at.ns),
        ("Anna", f"{line}\n\nLast week.", at.ns),
    ]


def test_a_statement_a_line() -> None:
    lines = [f"The user has told the agent fact number {number}, and more than once." for number in range(4)]
    assert texts("a.md", "\n".join(lines)) == lines
    wrapped = "\n".join(line.replace(", and", ",\nand") for line in lines)
    assert texts("a.md", wrapped) == [wrapped]
    assert texts("a.md", "Tea.\nNo sugar.\n") == ["Tea.\nNo sugar."]


def test_labels_are_nobody() -> None:
    found = read("a.md", "Decision: use Go\nReason: we know it\n\nDecision: use SQLite\nReason: it is there\n")
    assert [one.author for one in found.passages] == ["", ""]
    assert [one.last_line for one in found.passages] == [2, 5]


def test_json_parts_and_records() -> None:
    messages = [{"role": "user" if at % 2 else "assistant", "content": f"word {at} " * 20} for at in range(6)]
    text = json.dumps({"model": "x", "messages": messages, "deep": {"er": {"list": list(range(300))}}}, indent=2)
    found = read("a.json", text)
    exact(text.encode(), found)
    covered(text.encode(), found)
    said = [one for one in found.passages if one.author]
    assert [one.author for one in said] == ["assistant", "user"] * 3
    assert {one.headings for one in said} == {("messages",)}
    assert any(one.headings == ("deep", "er", "list") for one in found.passages)


def test_code_by_functions() -> None:
    body = "    value = compute(value)\n" * 12
    text = "import os\nimport sys\n\n\n# Why it is so.\n@cached\ndef one(value):\n" + body + "\n\nclass Two:\n\n"
    for number in range(5):
        text += f"    def method_{number}(self):\n" + body.replace("    ", "        ") + "\n"
    found = read("a.py", text)
    exact(text.encode(), found)
    covered(text.encode(), found)
    first = [one.text.partition("\n")[0] for one in found.passages]
    assert first[:2] == ["import os", "# Why it is so."]
    methods = [one for one in found.passages if "def method_" in one.text]
    assert len(methods) == 5
    assert {one.headings for one in methods} == {("class Two:",)}


def test_html_that_nests_deeply_and_is_broken() -> None:
    pytest.importorskip("selectolax")
    found = read("a.html", "<div>" * 5000 + "Deep water</p><h2>Part<h2><td>x" + "</div>" * 10)
    assert "Deep water" in [one.text for one in found.passages]
    assert document(b"a.html", b"<script>alert(1)</script>", {}, mtime_ns=0) is None


def pdf(lines: list[str]) -> bytes:
    """A PDF of one page a line."""
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter()
    for line in lines:
        page = writer.add_blank_page(300, 300)
        stream = pypdf.generic.DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({line}) Tj ET".encode())
        font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
        names = pypdf.generic.DictionaryObject(
            {pypdf.generic.NameObject(key): pypdf.generic.NameObject(value) for key, value in font.items()}
        )
        fonts = pypdf.generic.DictionaryObject({pypdf.generic.NameObject("/F1"): names})
        page[pypdf.generic.NameObject("/Resources")] = pypdf.generic.DictionaryObject(
            {pypdf.generic.NameObject("/Font"): fonts}
        )
        page[pypdf.generic.NameObject("/Contents")] = writer._add_object(stream)
    writer.add_metadata({"/Title": "Lease"})
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def test_pdf() -> None:
    data = pdf(["The rent is 900 francs.", "Keys: two."])
    found = read("a.pdf", data)
    assert (found.kind, found.extracted, found.facts.title) == ("pdf", True, "Lease")
    assert [(one.text, one.headings) for one in found.passages] == [
        ("The rent is 900 francs.", ("page 1",)),
        ("Keys: two.", ("page 2",)),
    ]
    for cut in range(0, len(data), 97):
        document(b"a.pdf", data[:cut], {}, mtime_ns=0)


def test_without_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of them is imported, and the status can say so."""
    monkeypatch.setattr(html_text, "AVAILABLE", False)
    monkeypatch.setattr(pdf_text, "AVAILABLE", False)
    real = builtins.__import__

    def watched(name: str, *rest: object, **more: object) -> object:
        assert name.partition(".")[0] not in ("selectolax", "pypdf")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", watched)
    assert document(b"a.html", b"<p>x</p>", {}, mtime_ns=0) is None
    assert document(b"a.pdf", b"%PDF-1.4", {}, mtime_ns=0) is None
    assert unread_kinds() == ("html", "pdf")
