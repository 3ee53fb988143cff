"""What the machines of the simulation write: contents with tokens in them, and edits of them as people make.

Every new line, sentence or value carries a token that nobody wrote before. A *unit* is what must never be glued to
another or torn: a sentence, or a whole line where it has only one. The kind of a content follows from its name.
"""

import json
import re
from random import Random

TOKEN = re.compile(rb"<[0-9]+>")
_LIST_MARK = re.compile(rb"^(?:[-*] )?(?:\[[ x]\] )?")
_SENTENCES = re.compile(rb"(?<=\.) ")
_KINDS = {"md": "prose", "txt": "prose", "json": "json", "mdx": "front", "bin": "binary", "lock": "binary"}
_KEYS = ["title", "mood", "place", "count", "tags"]
FRONT = b"---\n"


def kind_of(name: str) -> str:
    """How the file of that name is edited, and what is checked of it; a conflict copy keeps its ending."""
    ending = name.rpartition(".")[2]
    return {"md": "prose", "txt": "prose", "json": "json", "mdx": "front", "bin": "binary", "lock": "binary"}.get(
        ending, "lines"
    )


def is_text(kind: str) -> bool:
    return kind in ("prose", "lines")


def units(data: bytes) -> list[bytes]:
    """Those with tokens, in order."""
    found = []
    for line in data.split(b"\n"):
        if b"<" in line:
            found += [it.strip() for it in _SENTENCES.split(_LIST_MARK.sub(b"", line, count=1)) if b"<" in it]
    return found


def tokens(data: bytes) -> set[bytes]:
    return set(TOKEN.findall(data))


def edited(data: bytes, kind: str, fresh, random: Random) -> bytes:
    """`data` as somebody leaves it who has read it. `fresh()` is a token."""
    match kind:
        case "json":
            return _edited_json(data, fresh, random)
        case "front":
            return _edited_front(data, fresh, random)
        case "binary":
            return b"\0" + fresh()
        case _:
            return _edited_lines(data, kind, fresh, random)


def appended(kind: str, fresh, random: Random) -> bytes:
    """What a program puts at the end of a file without reading it."""
    if kind == "binary":
        return fresh()
    return b"".join(_line(kind, fresh, random) for _ in range(random.choice([1, 1, 1, 2, 3])))


def _line(kind: str, fresh, random: Random) -> bytes:
    words = random.choice([b"walks home", b"is here", b"likes tea and bread", b"x = 1"])
    if kind != "prose":
        return b"%s %s\n" % (fresh(), words)
    match random.randrange(8):
        case 0:
            return b"# %s %s\n" % (fresh(), words)
        case 1 | 2 | 3:
            return b"- %s %s\n" % (fresh(), words)
        case 4:
            return b"%s %s. %s sees it.\n" % (fresh(), words, fresh())
        case 5:
            return b"\n%s %s\n" % (fresh(), words)
        case _:
            return b"%s %s\n" % (fresh(), words)


def _edited_lines(data: bytes, kind: str, fresh, random: Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        _edit_lines(lines, kind, fresh, random)
    text = b"".join(lines)
    return text[:-1] if text.endswith(b"\n") and random.random() < 0.1 else text


def _edit_lines(lines: list[bytes], kind: str, fresh, random: Random) -> None:
    dice = random.random()
    at = random.randrange(len(lines)) if lines else 0
    if not lines or dice < 0.30:
        lines.insert(random.randrange(len(lines) + 1), _line(kind, fresh, random))
    elif dice < 0.50:
        lines.append(_line(kind, fresh, random))
    elif dice < 0.70:
        lines[at] = _replaced(lines[at], kind, fresh, random)
    elif dice < 0.84:
        del lines[at]
    elif dice < 0.96:
        lines.insert(random.randrange(len(lines)), lines.pop(at))
    elif dice < 0.98:
        lines[at : at + random.randrange(1, 4)] = [_line(kind, fresh, random) for _ in range(random.randrange(1, 4))]
    else:
        lines[:] = [_line(kind, fresh, random)]


def _replaced(line: bytes, kind: str, fresh, random: Random) -> bytes:
    """Another line, or the same with other words or another sentence."""
    found = TOKEN.findall(line)
    if not found or random.random() < 0.3:
        return _line(kind, fresh, random)
    old = random.choice(found)
    if kind == "prose" and random.random() < 0.2 and line.rstrip().endswith(b"."):
        return line.rstrip() + b" %s came.\n" % fresh()
    return line.replace(old, fresh())


def _edited_json(data: bytes, fresh, random: Random) -> bytes:
    try:
        value = json.loads(data)
    except ValueError:
        value = {}
    for _ in range(random.choice([1, 1, 2])):
        _edit_value(value, fresh, random)
    return json.dumps(value, indent=2).encode() + b"\n"


def _edit_value(value: dict[str, object], fresh, random: Random) -> None:
    key = random.choice(_KEYS)
    if key == "tags":
        tags = value.setdefault("tags", [])
        if tags and random.random() < 0.3:
            tags.remove(random.choice(tags))
        else:
            tags.append(fresh().decode())
    elif key in value and random.random() < 0.2:
        del value[key]
    else:
        value[key] = fresh().decode()


def _edited_front(data: bytes, fresh, random: Random) -> bytes:
    head, body = divided(data)
    fields = dict(line.split(b": ", 1) for line in head.splitlines() if b": " in line)
    if random.random() < 0.5 or not fields:
        fields[random.choice(_KEYS[:4]).encode()] = b"%s here" % fresh()
    if random.random() < 0.6:
        body = _edited_lines(body, "prose", fresh, random)
    return FRONT + b"".join(b"%s: %s\n" % it for it in fields.items()) + FRONT + body


def divided(data: bytes) -> tuple[bytes, bytes]:
    """Frontmatter and body."""
    if data.startswith(FRONT):
        head, found, body = data[len(FRONT) :].partition(FRONT)
        if found:
            return head, body
    return b"", data
