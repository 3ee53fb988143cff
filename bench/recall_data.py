"""Memories with known answers: a collection in the form of LoCoMo, and the notes that belong to the project."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    evidence: tuple[tuple[str, str], ...]
    """(path, line) pairs that answer it, as they stand in the files; empty: nothing here does."""
    kind: str


@dataclass(frozen=True, slots=True)
class World:
    """One memory: its files, and what it is asked."""

    name: str
    files: dict[str, str]
    questions: list[Question]
    now: datetime
    modified: dict[str, datetime] = field(default_factory=dict)


def conversations(path: str) -> Iterator[World]:
    """Each conversation of a LoCoMo file as a memory: a file a session, a heading with its date, a line a turn."""
    for sample in json.loads(Path(path).read_text("utf-8")):
        talk = sample["conversation"]
        files, said, last = {}, {}, datetime(1970, 1, 1, tzinfo=UTC)
        modified = {}
        for key in sorted((it for it in talk if re.fullmatch(r"session_\d+", it)), key=lambda it: int(it[8:])):
            then = datetime.strptime(talk[f"{key}_date_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
            lines = [f"# {then.day} {then:%B %Y}", ""]
            for turn in talk[key]:
                text = " ".join(turn["text"].split())
                if turn.get("blip_caption"):
                    text += f" [shares {turn['blip_caption']}]"
                lines.append(f"{turn['speaker']}: {text}")
                said[turn["dia_id"]] = (f"{key}.md", lines[-1])
            files[f"{key}.md"] = "\n".join(lines) + "\n"
            modified[f"{key}.md"] = then
            last = max(last, then)
        questions = []
        for asked in sample["qa"]:
            named = {f"D{a}:{int(b)}" for it in asked["evidence"] for a, b in re.findall(r"D:?(\d+):(\d+)", it)}
            evidence = tuple(said[it] for it in sorted(named) if it in said)
            if evidence:
                questions.append(Question(asked["question"], evidence, f"category {asked['category']}"))
        yield World(sample["sample_id"], files, questions, last, modified)


def notes() -> World:
    """The project's own set: notes as agents write them."""
    return _own("notes")


def chats() -> World:
    """The project's own as well: a user and an assistant whose answers are long."""
    return _own("chats")


def _own(name: str) -> World:
    stored = json.loads((_DATA / f"recall_{name}.json").read_text("utf-8"))
    files = {path: "\n".join(lines) + "\n" for path, lines in stored["files"].items()}
    questions = []
    for asked in stored["questions"]:
        evidence = tuple((path, files[path].split("\n")[line - 1]) for path, line in asked["evidence"])
        questions.append(Question(asked["question"], evidence, asked["kind"]))
    now = datetime.fromisoformat(stored["now"]).replace(tzinfo=UTC)
    modified = dict.fromkeys(files, now)
    modified |= {it: datetime.fromisoformat(at).replace(tzinfo=UTC) for it, at in stored["modified"].items()}
    return World(name, files, questions, now, modified)
