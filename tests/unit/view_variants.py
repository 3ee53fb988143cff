"""Markdown files as people and programs write them, and as they break: seeded, endless."""

import hashlib
from dataclasses import dataclass
from random import Random

from agentfs.view import block
from agentfs.view.facts import ViewFacts

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Variant:
    front: str
    """Which kind of frontmatter."""
    path: bytes
    data: bytes


def facts_for(data: bytes, *, sequence: int = 915, file: int = 812 << 24 | 3, **others: object) -> ViewFacts:
    said = {"author": "ada", "version": 4, "created_ns": 1_795_000_000_000_000_000,
            "modified_ns": 1_795_282_675_123_400_000, "volume": "home-ada"} | others  # fmt: skip
    return ViewFacts(file=file, sequence=sequence, digest=hashlib.sha256(data).digest(), **said)  # type: ignore[arg-type]


_ENTRIES = (
    "title: A plan\n", "title: 'It''s a plan'\n", 'title: "tab\\t and \\u00e9"\n', "title: Plan # for whom\n",
    "title:\n", "title: ~\n", "tags: [a, b, 'c d']\n", "tags:\n  - a # why\n  - b\n", "tags:\n- a\n- b\n",
    "tags: []\n", "aliases:\n\n  - x\n\n", "date: 2026-11-21\n", "date: 2026-11-21T10:00:00+01:00\n",
    "date created: Friday\n", "2026: a year\n", "draft: true\n", "importance: 0.8\n", "id: 0123\n",
    "time: 12:30:45\n", "nested:\n  deep:\n    deeper: 1\n  list:\n    - {a: 1, b: [2, 3]}\n",
    "map: {a: 1, agentfs: 2}\n",
    "# a comment\n", "#tag\n", "\n", "  # an indented comment\n", "text: |\n  one\n\n  two\n",
    "text: |+\n  one\n\n\n", "text: >-\n  folded\n  text\n", "text: |2\n    indented\n",
    "plain: one\n  two\n  three\n",
    'quoted: "one\n  two"\n', "url: https://example.org/#x\n", "emoji: 🙂 日本語\n", "nbsp: a\u00a0b\n",
    "line: a\u2028b\n", "nel: a\x85b\n",
    "odd key?: 1\n", '"quoted key": 1\n', "'agent': 1\n", "agentfs_: 1\n", "my agentfs: 1\n", "dash: '---'\n",
    "code: |\n  ---\n  agentfs:\n    sequence: 3\n", "null: null\n", "true: false\n", "? complex\n: value\n",
    "long: " + "word " * 40 + "\n", "hash: 0x1F\n", "<: less\n", "trailing: space   \n", "tab:\tvalue\n",
)  # fmt: skip
_BROKEN = (
    "title: Berlin: a plan\n", "title: [a, b\n", 'title: "open\n', "\ttabbed: 1\n", "a: 1\na: 2\n", "a: 1\n  b: 2\n",
    "just prose\n", "- a\n- b\n", "title: a\n...\n", "a: &x 1\nb: *x\n", "a: !!str 1\n", "<<: {a: 1}\n",
    "%YAML 1.2\n", "{a: 1, b: 2}\n", "  a: 1\n  b: 2\n", "a: 1\n--- \nb: 2\n", "a: \x00\n", "a: \x07\n", "a: @b\n",
    "a: `b`\n",
    "<<<<<<< ours\na: 1\n=======\na: 2\n>>>>>>> theirs\n", "{{ template }}: 1\n", "a: 1\r\rb: 2\n", "key: *missing\n",
    "[a]: 1\n", "a\n", ": 1\n", "a : 1\n", "a:1\n", "'a: 1\n", "\ufeffa: 1\n",
)  # fmt: skip
_THEIRS = (
    "agentfs: true\n", "agentfs:\n  version: 2\n", "agentfs: {author: me, version: 1}\n", "AgentFS:\n  on: yes\n",
    "agentfs:\n", "agentfs:\n  sha256: not a digest\n  sequence: 7\n", "agentfs:\n- a\n",
    "agentfs: |\n  sequence: 3\n", '"agentfs": x\n', "agentfs : x\n",
    "agentfs:\n  sha256: " + "ab" * 32 + "\n  tool: mine\n",
)  # fmt: skip
_BODIES = (
    "", "# Plan\n\nText.\n", "no newline at the end", "\n\n\n", "---\n", "----\n\ntext\n", "***\n\n---\n\ntext\n",
    "```yaml\n---\ntitle: inside\nagentfs:\n  sequence: 3\n---\n```\n", "text\n---\nsetext\n", "    ---\n    code\n",
    "日本語のメモ。\n", "a\r\nb\nc\r", "tail  \n\n", "...\n", "agentfs: in the text\n", "\u2028\u2029\x85\n",
    "| a | b |\n|---|---|\n", "[[link]] #tag\n", "<!-- --- -->\n", "+++\n", "x" * 5000 + "\n", "- [ ] task\n" * 30,
)  # fmt: skip
_OTHER_FRONTS = ("+++\ntitle = 'x'\n+++\n", '{\n  "title": "x"\n}\n', "---\ntitle: x\n...\n", "---\ntitle: open\n",
                 "----\ntitle: x\n----\n", "---yaml\ntitle: x\n---\n", ";;;\n{}\n;;;\n", " ---\na: 1\n---\n",
                 "\n---\na: 1\n---\n", "---", "---\n", "---\n---", "--- \n---\t\n", "---\ra: 1\r---\r")  # fmt: skip
_PATHS = (b"note.md", b"a/b.MD", b"x.markdown", "日本/é.md".encode(), b"\xff.md", b"a b/c#.md")
_KINDS = ("none", "keys", "keys", "keys", "keys", "keys", "empty", "comments", "broken", "theirs", "ours", "other")


def variant(seed: int) -> Variant:
    random = Random(seed)
    kind = random.choice(_KINDS)
    entries = [random.choice(_ENTRIES) for _ in range(random.randint(1, 5))]
    keys = [entry.partition(":")[0] if ":" in entry else "" for entry in entries]
    entries = [entry for at, entry in enumerate(entries) if not keys[at] or keys[at] not in keys[:at]]
    if kind == "empty":
        entries = []
    elif kind == "comments":
        entries = random.choices(("# only\n", "\n", "  # comments\n", "#\n"), k=random.randint(1, 3))
    elif kind == "broken":
        entries.insert(random.randint(0, len(entries)), random.choice(_BROKEN))
    elif kind == "theirs":
        entries.insert(random.randint(0, len(entries)), random.choice(_THEIRS))
    elif kind == "ours":
        own = block.written(facts_for(b"another", sequence=random.randint(1, 2000)), "\n")
        entries.insert(random.randint(0, len(entries)), own + random.choice(("", "", "  mine: 1\n", "  # mine\n")))
    opening, closing = (random.choice(("---\n", "---\n", "---\n", "--- \n", "---\t\n")) for _ in range(2))
    front = "" if kind == "none" else f"{opening}{''.join(entries)}{closing}"
    text = (random.choice(_OTHER_FRONTS) if kind == "other" else front) + random.choice(_BODIES)
    data = text.encode()
    ending = random.random()
    if ending < 0.2:
        data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    elif ending < 0.23:
        data = data.replace(b"\n", b"\r")
    elif ending < 0.27:
        data = b"".join(line + random.choice((b"\n", b"\r\n")) for line in data.split(b"\n"))
    damage = random.random()
    if damage < 0.08 and data:
        at = random.randrange(len(data))
        data = data[:at] + random.choice((b"\0", b"\xff", b"\xe9", b"\xed\xa0\x80", b"\t", b"---\n")) + data[at:]
    if random.random() < 0.1:
        data = BOM + data
    elif random.random() < 0.01:
        data = data.decode("utf-8", "replace").encode("utf-16")
    return Variant(kind, random.choice(_PATHS), data)
