"""Files with keys: JSON, TOML, YAML and frontmatter, by key and on their source."""

import json
import random
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import tomlkit
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfs.merge.contents import Merged, merge_contents

SEEDS = st.integers(0, 2**32)


class Maker:
    """Makes documents of keys, and edits them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._count = 0

    def scalar(self) -> Any:
        self._count += 1
        return self.random.choice(
            [
                self._count,
                f"text {self._count}",
                bool(self._count % 2),
                f"a: b, #{self._count}",
                "",
                -1.5,
                "2026-03-01",
                "yes",
            ]
        )

    def value(self, depth: int) -> Any:
        kind = self.random.random()
        if depth and kind < 0.25:
            return self.object(depth - 1)
        if depth and kind < 0.45:
            return [f"tag{number}" for number in self.random.sample(range(9), self.random.randint(0, 4))]
        if depth and kind < 0.55:
            return [
                {"id": f"n{number}", "v": self.scalar()}
                for number in self.random.sample(range(6), self.random.randint(1, 3))
            ]
        return self.scalar()

    def object(self, depth: int) -> dict[str, Any]:
        return {f"k{number}": self.value(depth) for number in self.random.sample(range(8), self.random.randint(1, 5))}

    def edited(self, value: Any) -> Any:
        """A copy with a change somewhere."""
        if isinstance(value, dict) and value:
            copy = dict(value)
            key = self.random.choice(list(copy))
            what = self.random.random()
            if what < 0.2 and key != "id":
                del copy[key]
            elif what < 0.45 and "id" not in copy:
                copy[f"k{self.random.randrange(12)}"] = self.value(1)
            elif key != "id":
                copy[key] = self.edited(copy[key])
            return copy
        if value == {}:
            return value
        if isinstance(value, list) and all(isinstance(member, str) for member in value):
            return [
                *(tag for tag in value if self.random.random() < 0.8),
                *({f"tag{self.random.randrange(20)}"} - {*value}),
            ]
        if isinstance(value, list):
            return [self.edited(member) if self.random.random() < 0.5 else member for member in value]
        return self.scalar()


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False))


FORMATS: dict[bytes, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    b"a.json": (_json, json.loads),
    b"a.toml": (tomlkit.dumps, tomllib.loads),
    b"a.yaml": (_yaml, yaml.safe_load),
    b"a.md": (
        lambda value: f"---\n{_yaml(value)}---\n# Body\n",
        lambda text: yaml.safe_load(text.removeprefix("---\n").partition("---\n")[0]),
    ),
}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    """Every scalar by its path; members of arrays by their id or by themselves."""
    if isinstance(value, dict):
        return {where: leaf for key, member in value.items() for where, leaf in leaves(member, (*path, key)).items()}
    if isinstance(value, list):
        found = {}
        for member in value:
            found |= leaves(member, (*path, member["id"] if isinstance(member, dict) else str(member)))
        return found
    return {path: (type(value), value)}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_every_value_comes_from_a_side(name: bytes, seed: int) -> None:
    dump, load = FORMATS[name]
    maker = Maker(seed)
    base = maker.object(2)
    versions = [base, maker.edited(maker.edited(base)), maker.edited(maker.edited(base))]
    found = merge_contents(name, *(dump(version).encode() for version in versions))
    if found is None:
        return
    old, one, other = (leaves(version) for version in versions)
    merged = leaves(load(found.data.decode()))
    clashes = " ".join(found.clashes)
    for path, leaf in merged.items():
        assert leaf in (one.get(path), other.get(path)), path
    for path in {*old, *one, *other}:
        here, there, was = one.get(path), other.get(path), old.get(path)
        if here == there or there == was:
            assert merged.get(path) == here or clashes, path
        elif here == was:
            assert merged.get(path) == there or clashes, path
        else:
            assert found.clashes, path
    again = merge_contents(name, *(dump(version).encode() for version in versions))
    assert again == found


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_most_documents_do_merge(seed: int) -> None:
    """JSON always does."""
    maker = Maker(seed)
    base = maker.object(2)
    versions = [_json(base), _json(maker.edited(base)), _json(maker.edited(base))]
    found = merge_contents(b"a.json", *(version.encode() for version in versions))
    assert found is not None
    for side in versions[1:]:
        again = merge_contents(b"a.json", versions[0].encode(), found.data, side.encode())
        assert again is not None
        if not found.clashes and not again.clashes:
            assert json.loads(again.data) == json.loads(found.data)


def merged(name: str, base: str | None, earlier: str, later: str) -> tuple[str, tuple[str, ...]] | None:
    found = merge_contents(name.encode(), None if base is None else base.encode(), earlier.encode(), later.encode())
    return None if found is None else (found.data.decode(), found.clashes)


def test_json_keeps_the_bytes_of_what_did_not_change() -> None:
    base = '{ "a":1.50,\n\t"list" : [ 1,2 ,3 ], "é": "\\u00e9",\n  "n": {"x": 1e3} }'
    found = merged("a.json", base, base.replace("1.50", "1.70"), base.replace("1e3", "2E3"))
    assert found == (base.replace("1.50", "1.70").replace("1e3", "2E3"), ())


@pytest.mark.parametrize("indent", [None, 2, 4, "\t"])
def test_json_new_keys_look_like_the_old_ones(indent: int | str | None) -> None:
    base = {"a": 1, "in": {"x": [1]}}
    one, other = base | {"b": 2}, base | {"c": {"d": []}}
    found = merged("a.json", *(json.dumps(version, indent=indent) for version in (base, one, other)))
    assert found == (json.dumps(base | {"b": 2, "c": {"d": []}}, indent=indent), ())


def test_json_created_twice() -> None:
    found = merged("a.json", None, '{"a": 1, "tags": ["x"]}\n', '{"b": 2, "tags": ["y"], "a": 1}\n')
    assert found == ('{"b": 2, "a": 1, "tags": ["x", "y"]}\n', ())


def test_json_that_is_broken_on_one_side_is_text() -> None:
    assert merged("a.json", '{\n"a": 1,\n"b": 2\n}\n', '{\n"a": 3,\n"b": 2\n}\n', '{\n"a": 1,\n"b": 2\n') == (
        '{\n"a": 3,\n"b": 2\n',
        (),
    )


def test_types_are_not_mixed_up() -> None:
    """1, 1.0 and true are equal in Python."""
    assert merged("a.json", '{"a": 1, "b": 0}', '{"a": true, "b": 0}', '{"a": 1, "b": 1}') == (
        '{"a": true, "b": 1}',
        (),
    )
    assert merged("a.toml", "a = 1\nb = 0\n", "a = 1.0\nb = 0\n", "a = 1\nb = 2\n") == ("a = 1.0\nb = 2\n", ())
    assert merged("a.yaml", "a: 1\nb: 0\n", "a: '1'\nb: 0\n", "a: 1\nb: 2\n") == ("a: '1'\nb: 2\n", ())


def test_nested_keys_are_named_in_clashes() -> None:
    found = merged(
        "a.json",
        '{"o": {"list": [{"id": 7, "s": "a"}]}}',
        '{"o": {"list": [{"id": 7, "s": "b"}]}}',
        '{"o": {"list": [{"id": 7, "s": "c"}]}}',
    )
    assert found == ('{"o": {"list": [{"id": 7, "s": "c"}]}}', ("key o.list[7].s: 'c' stays, 'b' was the other",))


def test_a_comment_is_never_lost() -> None:
    """Both change one key, and one writes a comment elsewhere."""
    base = "a = 1\nb = 2\n"
    found = merged("a.toml", base, "a = 3\nb = 2\n", "# why\na = 4\nb = 2\n")
    assert found is None or "# why" in found[0]
    found = merged("a.yaml", "a: 1\nb: 2\n", "a: 3\nb: 2\n", "a: 4\n# about b\nb: 2\n")
    assert found is None or "# about b" in found[0]


@pytest.mark.parametrize(
    "base",
    [
        "a: &x 1\nb: *x\nc: 1\n",
        "a: !!str 1\nb: 2\nc: 1\n",
        "base: &d {x: 1}\nb:\n  <<: *d\nc: 1\n",
        "a: 1\n---\nb: 2\nc: 1\n",
        "a: 1\na: 2\nc: 1\n",
        "? [a, b]\n: 1\nc: 1\n",
    ],
)
def test_unusual_yaml_is_merged_as_text(base: str) -> None:
    """Changes at different places; and where both change one line, two files rather than a key twice."""
    one, other = f"# head\n{base}", base.replace("c: 1", "c: 2")
    assert merged("a.yaml", base, one, other) == (f"# head\n{other}", ())
    assert merged("a.yaml", "a: 1\nc: &x 1\n", "a: 1\nc: &x 2\n", "a: 1\nc: &x 3\n") is None


def test_hostile_structures_are_bounded() -> None:
    """Depth, aliases, size: each gives up early and leaves text or two files."""
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + at)}: &{chr(98 + at)} [*{chr(97 + at)}, *{chr(97 + at)}]\n" for at in range(20)
    )
    assert merged("a.yaml", bomb, "k: 1\n" + bomb, bomb + "z: 1\n") == ("k: 1\n" + bomb + "z: 1\n", ())
    for name, opening in (
        ("a.yaml", "["),
        ("a.yaml", "- "),
        ("a.yaml", "{a: "),
        ("a.json", "["),
        ("a.json", '{"a":'),
        ("a.toml", "a = ["),
    ):
        deep = opening * 100_000
        merged(name, deep, deep + "1\n", "2\n" + deep)
    closed = "[" * 900 + "]" * 900
    assert merged("a.json", closed, closed[:900] + "1" + closed[900:], closed[:900] + "2" + closed[900:]) is None


def test_frontmatter_that_is_odd() -> None:
    base = "---\na: 1\n---\ntext\n"
    assert merged("n.md", base, "---\na: 2\n---\ntext\n", "---\na: 1\n---\ntext\nmore\n") == (
        "---\na: 2\n---\ntext\nmore\n",
        (),
    )
    assert merged("n.md", base, "text\n", "---\na: 1\n---\ntext\nmore\n") == ("text\nmore\n", ())
    assert merged("n.md", base, "---\na: 1\nb: 2\n---\ntext\n", "---\r\na: 1\r\n---\r\ntext, changed\r\n") is not None
    assert merged("n.md", "x\n", "---\na: 1\n---\nx\n", "---\nb: 2\n---\nx\n") == ("---\na: 1\nb: 2\n---\nx\n", ())
    assert merged("n.md", base, "---\na: 1\n\ntext\n", base + "more\n") is not None, "not closed"


@pytest.mark.parametrize("gone", ["text\n", "---\n---\ntext\n"])
def test_frontmatter_that_one_took_away(gone: str) -> None:
    """What the other said meanwhile never lies in the text without its lines; what nobody changed goes."""
    base, wanted = "---\nttl: 7d\n---\ntext\n", "---\ntags: [a]\n---\ntext\nmore\n"
    kept = ("line 2: one changed the frontmatter, the other emptied it; it was kept",)
    for one, other, text, clashes in (
        (gone, "---\nttl: 7d\ntags: [a]\n---\ntext\nmore\n", wanted, ()),
        (gone, wanted, wanted, kept),
        (gone, base + "more\n", gone + "more\n", ()),
        (gone, gone + "more\n", gone + "more\n", ()),
    ):
        assert merged("n.md", base, one, other) == (text, clashes)
        assert merged("n.md", base, other, one) == (text, clashes)
    assert merged("n.md", "---\nttl: 7d\n---\n", "", "---\ntags: [a]\n---\n") == ("---\ntags: [a]\n---\n", kept)
    bom = "\ufeff---\nttl: 7d\n---\ntext\n"
    assert merged("n.md", bom, "\ufefftext\n", bom + "more\n") == ("\ufefftext\nmore\n", ())


def test_a_rule_in_the_text_is_no_frontmatter() -> None:
    base = "# Title\n\n---\na: 1\n---\n"
    assert merged("n.md", base, base.replace("1", "2"), base + "end\n") == (base.replace("1", "2") + "end\n", ())


def test_same_bytes_for_one_side() -> None:
    for name in FORMATS:
        assert merge_contents(name, b"{", b"{", b"x: [") == Merged(b"x: [", ())
