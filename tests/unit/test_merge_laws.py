"""The laws of merging contents (DESIGN, section 6), on edits that hypothesis makes up."""

import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfs.merge.contents import MERGE_BYTES_MAX, Merged, may_merge, merge_contents
from agentfs.merge.sequence import SIDES, Cell, replayed

WORDS = ("amber basil cedar delta ember fjord grove haven inlet jolly karst lemon maple nutmeg ochre pearl").split()  # noqa: SIM905
NAMES = (b"notes.md", b"app.py", b"events.jsonl")


class Author:
    """Writes lines that nobody else writes: what becomes of each can be told from the result."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._count = 0

    def line(self) -> str:
        self._count += 1
        return f"{' '.join(self.random.sample(WORDS, 3))} {self._count}"

    def document(self) -> list[str]:
        return [self.line() for _ in range(self.random.randint(0, 12))]

    def edited(self, lines: list[str]) -> list[str]:
        """Inserts, appends, removes and changes; does not move."""
        lines = list(lines)
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(lines) + 1)
            what = self.random.random()
            if what < 0.2:
                lines += [self.line() for _ in range(self.random.randint(1, 3))]
            elif what < 0.5 or not lines:
                lines[at:at] = [self.line() for _ in range(self.random.randint(1, 3))]
            elif what < 0.7:
                del lines[at : at + self.random.randint(1, 3)]
            else:
                at = min(at, len(lines) - 1)
                lines[at] = (
                    self.line() if self.random.random() < 0.3 else f"{lines[at]} {self.random.choice(WORDS)}{at}"
                )
        return lines


def data(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def lines(content: bytes) -> list[str]:
    return content.decode().splitlines()


def merged(name: bytes, base: bytes | None, earlier: bytes, later: bytes) -> Merged:
    found = merge_contents(name, base, earlier, later)
    assert found is not None
    assert found == merge_contents(name, base, earlier, later), "not deterministic"
    return found


SEEDS = st.integers(0, 2**32)
WHOLE_LINES = st.sampled_from(["", "a", "b", "c", "a b", "# a", "```", "---"])
"""Lines that have no parts: they are in the result as they are."""
LINES = WHOLE_LINES | st.sampled_from(["- a", "- [ ] a", "  b", "| a | b |", "x. Y. z"])
DOCUMENTS = st.lists(LINES, max_size=9).map(data)
WHOLE = st.lists(WHOLE_LINES, max_size=9).map(data)
FORMS = st.sampled_from(NAMES)


@given(FORMS, DOCUMENTS, DOCUMENTS)
def test_one_side_alone(name: bytes, base: bytes, side: bytes) -> None:
    assert merged(name, base, side, side) == Merged(side, ())
    assert merged(name, base, base, side) == Merged(side, ())
    assert merged(name, base, side, base) == Merged(side, ())
    assert merged(name, None, side, side) == Merged(side, ())


@given(FORMS, SEEDS)
def test_every_line_is_there_or_deliberately_deleted(name: bytes, seed: int) -> None:
    author = Author(seed)
    base = author.document()
    earlier, later = author.edited(base), author.edited(base)
    counts = Counter(lines(merged(name, data(base), data(earlier), data(later)).data))
    for line in {*base, *earlier, *later}:
        both = line in earlier and line in later
        brought = line not in base
        assert counts[line] == (1 if both or brought else 0), line


@given(FORMS, WHOLE, WHOLE, WHOLE)
def test_nothing_is_lost_also_among_repeated_lines(name: bytes, base: bytes, earlier: bytes, later: bytes) -> None:
    """Any lines, most of them several times, from unrelated documents."""
    counts = [Counter(lines(version)) for version in (base, earlier, later)]
    found = Counter(lines(merged(name, base, earlier, later).data))
    for line in {*counts[1], *counts[2]} - {""}:
        removed = any(side[line] < counts[0][line] for side in counts[1:])
        assert found[line] or removed, line


@given(FORMS, SEEDS)
def test_the_other_order_has_the_same_lines(name: bytes, seed: int) -> None:
    author = Author(seed)
    base = author.document()
    earlier, later = data(author.edited(base)), data(author.edited(base))
    one, other = merged(name, data(base), earlier, later), merged(name, data(base), later, earlier)
    assert Counter(lines(one.data)) == Counter(lines(other.data))
    assert len(one.clashes) == len(other.clashes)


@given(FORMS, SEEDS)
def test_edits_at_different_places_commute(name: bytes, seed: int) -> None:
    """Parts of a document, between lines that both leave alone, each edited by one of the two."""
    author = Author(seed)
    base: list[str] = []
    sides: tuple[list[str], list[str]] = ([], [])
    expected: list[str] = []
    for _ in range(author.random.randint(1, 5)):
        part, fence = author.document(), [author.line(), author.line()]
        edited = author.edited(part)
        mine = author.random.randrange(2)
        base += part + fence
        sides[mine].extend(edited + fence)
        sides[1 - mine].extend(part + fence)
        expected += edited + fence
    for earlier, later in (sides, sides[::-1]):
        assert merged(name, data(base), data(earlier), data(later)) == Merged(data(expected), ())


@given(FORMS, SEEDS)
def test_merging_again_adds_nothing(name: bytes, seed: int) -> None:
    author = Author(seed)
    base = author.document()
    sides = [data(author.edited(base)) for _ in range(2)]
    result = merged(name, data(base), sides[0], sides[1]).data
    for side in sides:
        assert merged(name, data(base), result, side).data == result
        assert merged(name, data(base), side, result).data == result


@given(FORMS, SEEDS)
def test_both_append(name: bytes, seed: int) -> None:
    author = Author(seed)
    base = author.document()
    one, other = ([author.line() for _ in range(author.random.randint(1, 5))] for _ in range(2))
    same = [author.line() for _ in range(author.random.randint(0, 2))]
    found = merged(name, data(base), data(base + same + one), data(base + same + other))
    assert [line for line in lines(found.data) if line] == base + same + one + other
    assert not found.clashes


@given(SEEDS)
def test_no_word_of_two_authors(seed: int) -> None:
    """Long lines of sentences, where merging goes into the line."""
    author = Author(seed)
    roll = author.random

    def sentence(_: object = None) -> str:
        return " ".join(roll.sample(WORDS, 4)).capitalize() + str(roll.randrange(1000)) + roll.choice(".!?")

    def edited(text: list[str]) -> list[str]:
        text = list(text)
        for _ in range(roll.randint(1, 3)):
            at = roll.randrange(len(text))
            text[at : at + roll.randint(0, 1)] = [sentence()]
        return text

    base = [sentence() for _ in range(roll.randint(2, 7))]
    versions = [base, edited(base), edited(base)]
    found = merged(b"n.md", *(data([" ".join(version)]) for version in versions))
    written = {part for version in versions for part in version}
    assert set(found.data.decode().split()) <= {word for part in written for word in part.split()}
    for one in {*versions[1], *versions[2]} - set(base):
        assert one in found.data.decode(), "a sentence was lost"


class Notes(Author):
    """Writes notes of every shape, each word of which can be told; edits words, boxes and indentation, and moves."""

    def word(self) -> str:
        self._count += 1
        return f"{self.random.choice(WORDS)}{self._count}"

    def words(self, most: int) -> str:
        return " ".join(self.word() for _ in range(self.random.randint(1, most)))

    def line(self) -> str:
        shapes = [
            lambda: "",
            lambda: f"## {self.words(2)}",
            lambda: f"- [{self.random.choice(' x')}] {self.words(3)}",
            lambda: f"  - {self.words(2)}",
            lambda: f"| {self.word()} | {self.word()} | {self.word()} |",
            lambda: "```",
            lambda: " ".join(f"{self.words(5).capitalize()}{self.random.choice('.!?')}" for _ in range(4)),
        ]
        return self.random.choice(shapes)()

    def edited(self, lines: list[str]) -> list[str]:
        lines = super().edited(lines)
        for _ in range(self.random.randint(0, 3)):
            at = self.random.randrange(len(lines) + 1)
            what = self.random.random()
            if what < 0.3:
                moved = lines[at : at + 2]
                del lines[at : at + 2]
                to = self.random.randint(0, len(lines))
                lines[to:to] = moved
            elif at < len(lines):
                parts = lines[at].split(" ")
                place = self.random.randrange(len(parts))
                if any(letter.isalnum() for letter in parts[place]):
                    parts[place] = self.word()
                lines[at] = ("  " if what < 0.5 else "") + " ".join(parts)
        return lines


@settings(max_examples=int(os.environ.get("EXAMPLES", "150")), deadline=None)
@given(st.sampled_from([b"n.md", b"n.txt", b"n.py", b"n.jsonl"]), SEEDS)
def test_no_word_is_lost_or_made_up(name: bytes, seed: int) -> None:
    """What a side wrote is there, and what both kept, wherever they moved it. (EXAMPLES=20000 for a long hunt.)"""
    author = Notes(seed)
    base = author.document()
    versions = [data(base), data(author.edited(base)), data(author.edited(base))]
    old, one, other, found = (
        set(re.findall(r"[a-z]+\d+", content.decode().lower()))
        for content in (*versions, merged(name, versions[0], versions[1], versions[2]).data)
    )
    assert ((one | other) - old) | (one & other) <= found
    assert found <= old | one | other


@settings(max_examples=150)
@given(
    st.sampled_from([*NAMES, b"a.json", b"a.yaml", b"a.toml", b"a.xml", b"README", b"", b"\xff.md"]),
    st.one_of(st.none(), st.binary(max_size=60)),
    st.binary(max_size=60),
    st.binary(max_size=60),
)
def test_no_bytes_make_it_raise(name: bytes, base: bytes | None, earlier: bytes, later: bytes) -> None:
    found = merge_contents(name, base, earlier, later)
    assert found is None or found.data in (earlier, later) or found.data.decode()


_PIECES = (
    "---\n", "a: 1\n", "a: [1,\n", "{", "}", "[", "]", '"k": ', '"x"', ",", "\n", "\r\n", "\r", "# h\n", "- x\n",
    "  - y: 2\n", "&a ", "*a", "<<: *a\n", "!!python/object:x ", "[t]\n", "[[t]]\n", "t.a = 1\n", "k = 'x'\n",
    "k=1979-05-27T07:32:00Z\n",
    "| a | b |\n", "```\n", "\ufeff", "日本語。テスト。", "? a\n: b\n", "key: |\n  text\n",
    "1e999", "NaN", "true", "null", "\x85", "\u2028", "\t", " ", "Mr. X said e.g. this. Then more! And?\n", "'",
    "%YAML 1.1\n", "...\n", "b: {x: 1, y: [a, b]}\n", "\\u",
)  # fmt: skip


@settings(max_examples=200)
@given(st.sampled_from([b"a.md", b"a.json", b"a.yaml", b"a.toml", b"a.jsonl"]), SEEDS)
def test_broken_files_do_not_make_it_raise(name: bytes, seed: int) -> None:
    """Pieces of every format in any order: what one gets from programs that write half a file."""
    roll = random.Random(seed)

    def edited(pieces: list[str]) -> bytes:
        pieces = list(pieces)
        for _ in range(roll.randint(1, 3)):
            at = roll.randrange(len(pieces) + 1)
            pieces[at : at + roll.randint(0, 1)] = [roll.choice(_PIECES)] * roll.randint(0, 2)
        return "".join(pieces).encode()

    base = [roll.choice(_PIECES) for _ in range(roll.randint(0, 14))]
    merge_contents(name, "".join(base).encode(), edited(base), edited(base))


def test_what_is_not_merged() -> None:
    for odd in (b"\xff\xfe", b"a\0b"):
        assert merge_contents(b"n.md", b"a\n", b"b\n", odd) is None
        assert merge_contents(b"n.md", b"a\n", odd, b"b\n") is None
        assert merge_contents(b"n.md", odd, b"a\n", b"b\n") is None
        assert merge_contents(b"n.md", odd, odd, b"b\n") == Merged(b"b\n", ()), "one side alone needs no merge"
    large = b"x\n" * (MERGE_BYTES_MAX // 2)
    assert may_merge(b"n.md", MERGE_BYTES_MAX)
    assert not may_merge(b"n.md", MERGE_BYTES_MAX + 1)
    assert merge_contents(b"n.md", large, large + b"y\n", b"y\n" + large) is None
    assert not may_merge(b"fix.patch", 10)
    assert merge_contents(b"fix.patch", b"a\n", b"b\na\n", b"a\nc\n") is None


@given(st.lists(st.tuples(*[st.booleans()] * 6), max_size=1200), st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_sequence_against_its_definition(drawn: list[tuple[bool, ...]], last: bool) -> None:
    """Loro, replaying both edits, against what the order is meant to be: earlier's before later's at each place."""
    cells = []
    for unit, (one, other, removed, removed_there, changed, changed_there) in enumerate(drawn):
        cells.append(
            Cell(
                unit,
                ([unit] * one, [unit] * other),
                ([unit] * (removed and changed), [unit] * (removed_there and changed_there)),
                [removed, removed_there],
            )
        )
    cells.append(Cell(None, ([0] * last, [0])))
    for cell, found in zip(cells, replayed(cells), strict=True):
        assert found.before == [side for side in SIDES if cell.before[side]]
        assert found.instead == [side for side in SIDES if cell.instead[side]]
        assert found.alive == (not any(cell.removed))


def steps(work: Callable[[], object]) -> int:
    """Lines of Python that a call runs through: a measure of work that no load of the machine changes."""
    count = 0

    def tracer(_frame: object, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def _letters(count: int, seed: int) -> list[str]:
    return random.Random(seed).choices("ab", k=count)


def _numbers(count: int) -> list[str]:
    return [str(at) for at in range(count)]


HARD: dict[str, Callable[[int], tuple[list[str], list[str], list[str]]]] = {
    "all equal": lambda n: (["x"] * n, ["x"] * (n + 7), ["x"] * (n - 7)),
    "all different": lambda n: tuple([f"{side}{at}" for at in range(n)] for side in "abc"),
    "reversed": lambda n: (_numbers(n), _numbers(n)[::-1], _numbers(n + 1)),
    "two letters": lambda n: (_letters(n, 1), _letters(n, 2), _letters(n, 3)),
    "every line changed by both": lambda n: tuple([f"word{at} {side}" for at in range(n)] for side in "abc"),
    "every second line changed by both": lambda n: tuple(
        [f"word{at} {side if at % 2 else ''}" for at in range(n)] for side in "abc"
    ),
    "sentences everywhere": lambda n: tuple([f"Word {at} {side}. Then {at}." for at in range(n)] for side in "abc"),
    "one long line": lambda n: tuple([f"{side} e.g. `` ` < ]( . .. " * n] for side in "abc"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HARD)
def test_work_is_bounded(kind: str) -> None:
    """Twice the lines, about twice the work: nothing quadratic is left in the worst documents."""
    counts = []
    for size in (600, 1200):
        base, earlier, later = (data(version) for version in HARD[kind](size))
        counts.append(steps(lambda versions=(base, earlier, later): merge_contents(b"n.md", *versions)))
    assert counts[1] < 2.7 * counts[0] + 20_000, counts


def test_libraries_are_imported_when_needed() -> None:
    """A command that merges nothing, and a merge in which nothing meets, do not pay for them."""
    program = (
        "import sys; from agentfs.merge.contents import merge_contents as merge; "
        "assert merge(b'n.md', b'a\\nb\\nc\\n', b'x\\nb\\nc\\n', b'a\\nb\\ny\\n').data == b'x\\nb\\ny\\n'; "
        "assert not {'loro', 'yaml', 'tomlkit', 'json'} & set(sys.modules), sorted(sys.modules); "
        "assert merge(b'n.md', b'a\\nb\\nc\\n', b'a\\nx\\nc\\n', b'a\\ny\\nc\\n'); assert 'loro' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
