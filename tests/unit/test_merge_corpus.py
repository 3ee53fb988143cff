"""Concurrent edits as people and agents make them: readable files, with what a reader would expect of the merge."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentfs.merge.contents import merge_contents

CORPUS = Path(__file__).parent.parent / "corpus" / "merge"
CASES = sorted(CORPUS.glob("*.txt"))
VERSIONS = ("base", "earlier", "later", "merged")


@dataclass
class Case:
    """One file of the corpus (its README says how it is written)."""

    name: str = ""
    head: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Case":
        case = cls()
        part = None
        for line in path.read_text("utf-8").splitlines(keepends=True):
            if line.startswith("=== "):
                part = line[4:].strip()
                case.parts[part] = ""
            elif part is None:
                key, _, value = line.partition(": ")
                case.head[key] = value.strip()
            else:
                case.parts[part] += line
        case.name = case.head.pop("name")
        assert case.head.pop("why"), "say what it shows"
        return case

    def data(self, version: str) -> bytes | None:
        if version not in self.parts:
            return None
        text = self.parts[version]
        for key, value in self.head.items():
            whose = key.partition(" of ")[2].split(", ") if " of " in key else VERSIONS
            if key.startswith("line ends"):
                assert value == "crlf"
                text = text.replace("\n", "\r\n") if version in whose else text
            else:
                assert key == "without final newline"
                text = text.removesuffix("\n") if version in value.split(", ") else text
        return text.encode()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = Case.read(path)
    base, earlier, later = (case.data(version) for version in VERSIONS[:3])
    assert earlier is not None and later is not None
    merged = merge_contents(case.name.encode(), base, earlier, later)
    if "two files" in case.parts:
        assert merged is None
        return
    assert merged is not None
    assert merged.data.decode() == (case.data("merged") or b"").decode()
    assert merged.clashes == tuple(case.parts.get("clashes", "").splitlines())


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_once_more_adds_nothing(path: Path) -> None:
    """Merging the result again with either side, as a replica does that met a commit late."""
    case = Case.read(path)
    base, earlier, later = (case.data(version) for version in VERSIONS[:3])
    assert earlier is not None and later is not None
    merged = merge_contents(case.name.encode(), base, earlier, later)
    for side in (earlier, later):
        again = merged and merge_contents(case.name.encode(), base, merged.data, side)
        assert again is None or merged is None or again.data.decode() == merged.data.decode() or _stays_later(case)


def _stays_later(case: Case) -> bool:
    """Where one key has two values the later commit's stays: doing it again with the older one is a new commit."""
    return any(line.startswith("key ") for line in case.parts.get("clashes", "").splitlines())


def test_there_are_enough() -> None:
    assert len(CASES) >= 60
    assert len({path.stem[:2] for path in CASES}) == len(CASES)


DOCUMENTED = [
    [cell.split("`")[1::2] for cell in row.strip("| ").split(" | ")[1:]]
    for row in (CORPUS.parents[2] / "docs" / "merging.md").read_text("utf-8").splitlines()
    if row.count("|") == 6 and "`" in row
]


@pytest.mark.parametrize("versions", DOCUMENTED, ids=str)
def test_documented_example(versions: list[list[str]]) -> None:
    base, earlier, later, expected = ("".join(f"{line}\n" for line in version) for version in versions)
    merged = merge_contents(b"n.md", base.encode(), earlier.encode(), later.encode())
    assert merged is not None
    assert merged.data.decode() == expected


def test_the_page_has_examples() -> None:
    assert len(DOCUMENTED) == 6
