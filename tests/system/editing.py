"""A person or an agent at work on notes: whole files rewritten, appended to, saved by renaming, kept open.

`python editing.py DIRECTORY WHO SECONDS SEED` edits until the time is over and prints every line that it wrote, as
JSON: `{"file": …, "line": …, "how": …}`. Each editor works at its own places of a file (its own section), appends to
shared logs, and changes what it read just before, as programs do.
"""

import json
import os
import random
import sys
import time

SECTIONS = ("ann", "bob")
NOTES = ("plan.md", "memory.md", "todo.md")
LOGS = ("events.jsonl", "journal.log")


def start_text(name: str) -> str:
    """What a note looks like before anybody edits it."""
    head = f"---\ntitle: {name}\ntags: [shared]\n---\n\n# {name}\n\nWhat both rely on.\n"
    return head + "".join(f"\n## {who}\n\n- {who} starts\n" for who in SECTIONS) + "\n## End\n\nThe last line.\n"


def in_section(text: str, who: str, line: str) -> str:
    """`text` with `line` at the end of one editor's section."""
    lines = text.split("\n")
    at = lines.index(f"## {who}") + 2
    while at < len(lines) and lines[at].startswith("- "):
        at += 1
    return "\n".join([*lines[:at], line, *lines[at:]])


def write_in_place(path: str, text: str) -> None:
    with open(path, "r+", encoding="utf-8") as file:
        file.write(text)
        file.truncate()


def truncate_and_write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def write_temporary_and_rename(path: str, text: str) -> None:
    """As vim, VS Code and most libraries for atomic writes do."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def backup_and_write(path: str, text: str) -> None:
    """As emacs does by default: the old file becomes a backup, a new one takes its name."""
    backup = path + "~"
    os.rename(path, backup)
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)
    os.unlink(backup)


SAVES = (write_in_place, truncate_and_write, write_temporary_and_rename, backup_and_write)


class Editor:
    def __init__(self, directory: str, who: str, seed: int) -> None:
        self.directory = directory
        self.who = who
        self.random = random.Random(seed)
        self.number = 0
        self.kept_open = open(self._path(LOGS[1]), "a", encoding="utf-8")  # noqa: SIM115 - as a logger keeps it

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def work(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.number += 1
            dice = self.random.random()
            if dice < 0.6:
                self.edit()
            elif dice < 0.8:
                self.append()
            else:
                self.log()
            time.sleep(self.random.uniform(0.02, 0.3))
        self.kept_open.close()

    def edit(self) -> None:
        name, save = self.random.choice(NOTES), self.random.choice(SAVES)
        with open(self._path(name), encoding="utf-8") as file:
            text = file.read()
        line = f"- {self.who} {self.number} by {save.__name__}"
        save(self._path(name), in_section(text, self.who, line))
        self.say(name, line, save.__name__)

    def append(self) -> None:
        line = json.dumps({"who": self.who, "number": self.number})
        with open(self._path(LOGS[0]), "a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.say(LOGS[0], line, "append")

    def log(self) -> None:
        line = f"{self.who} logs {self.number}"
        self.kept_open.write(line + "\n")
        self.kept_open.flush()
        self.say(LOGS[1], line, "kept open")

    def say(self, name: str, line: str, how: str) -> None:
        print(json.dumps({"file": name, "line": line, "how": how}), flush=True)


if __name__ == "__main__":
    Editor(sys.argv[1], sys.argv[2], int(sys.argv[4])).work(float(sys.argv[3]))
