"""A plan as a file that a person reads and edits: Markdown with a block of JSON for each action, or JSON alone.

Whoever edits it takes a section out, unticks its box, or changes what its block says. All else in the file is for
reading, and is not looked at when the plan comes back.
"""

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

from agentfs.memory.curation import Action, Plan, Seen
from agentfs.memory.moments import moment, written

VERSION = 1
_DO = ("merge", "archive", "delete", "facts", "look")
_TITLES = {"merge": "Merge", "archive": "Archive", "delete": "Delete", "facts": "Change facts", "look": "Look at"}
_HEAD = re.compile(r"\A(?:\ufeff)?# Curation plan\b")
_SECTION = re.compile(r"^## \[([ xX])\].*$", re.MULTILINE)
_BLOCK = re.compile(r"^```json[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


def as_json(plan: Plan) -> dict[str, object]:
    """The document of a plan. Keys are stable."""
    return {
        "agentfs_plan": VERSION,
        "made": written(plan.made_ns),
        "volume": plan.volume,
        "notes": plan.notes,
        "actions": [_fields(action) for action in plan.actions],
        "unshown": plan.unshown,
    }


def as_markdown(plan: Plan) -> str:
    """The text of a plan; `parsed` reads it again."""
    todo = [action for action in plan.actions if action.do != "look"]
    looks = [action for action in plan.actions if action.do == "look"]
    facts = {"agentfs_plan": VERSION, "made": written(plan.made_ns), "volume": plan.volume, "notes": plan.notes}
    lines = [
        "# Curation plan",
        "",
        f"{plan.notes} notes of {plan.volume}: {_count(len(todo), 'action')}, {len(looks)} to look at. Nothing has",
        "been done yet. To leave an action out, take the x from its box, or delete its section; what a block says",
        "can be changed. Then: `agentfs curate --apply THIS-FILE`. A file that has changed meanwhile is left alone.",
        "",
        _block(facts),
    ]
    for number, action in enumerate(todo, 1):
        lines += [
            "",
            f"## [x] {number}. {_title(action)}",
            "",
            f"Why: {_escaped(action.why)}",
            "",
            _block(_fields(action)),
        ]
    if looks:
        lines += ["", "# To look at", "", "Nothing is done about these.", ""]
        lines += [f"- {_title(action)}: {_escaped(action.why)}" for action in looks]
        if plan.unshown:
            lines.append(f"- and {plan.unshown} more pairs that are alike")
    return "\n".join(lines) + "\n"


def parsed(text: str) -> Plan:
    """The plan of a file, without what was unticked. Raises ValueError that says what is wrong, and where."""
    if text.lstrip().startswith("{"):
        try:
            return _plan(json.loads(text))
        except json.JSONDecodeError as error:
            raise ValueError(f"line {error.lineno} is not JSON: {error.msg}") from None
    if not _HEAD.match(text):
        raise ValueError("it is not a curation plan: it must begin with '# Curation plan', or be its JSON")
    sections = [*_SECTION.finditer(text), None]
    first = sections[0]
    top = _json(text[: first.start() if first else len(text)], text, 0)
    actions = []
    for section, following in itertools.pairwise(sections):
        assert section is not None, "only the last one is None"
        end = following.start() if following else len(text)
        if section[1] != " ":
            actions.append(_json(text[section.end() : end], text, section.end()))
    return _plan({**top, "actions": actions})


def _title(action: Action) -> str:
    first, *others = [f"`{_escaped(seen.path)}`" for seen in action.files]
    match action.do:
        case "merge":
            return f"Merge {', '.join(others)} into {first}"
        case "archive":
            return f"Archive {first}"
        case "facts":
            said = ", ".join(f"{key} {value}" for key, value in action.facts.items())
            return f"Change facts of {first}: {_escaped(said)}"
        case _:
            return f"{_TITLES[action.do]} {', '.join([first, *others])}"


def _escaped(text: str) -> str:
    """In one line and without a fence, whatever it quotes: names of files may be anything."""
    return " ".join(text.split()).replace("```", "`\u200b``")


def _block(fields: Mapping[str, object]) -> str:
    return f"```json\n{json.dumps(fields, indent=2, ensure_ascii=False)}\n```"


def _fields(action: Action) -> dict[str, object]:
    found: dict[str, object] = {
        "do": action.do,
        "cause": action.cause,
        "why": action.why,
        "files": [{"path": seen.path, "sha256": seen.sha256} for seen in action.files],
    }
    if action.do == "merge":
        found["rest"] = action.rest
    if action.to:
        found["to"] = action.to
    if action.facts:
        found["facts"] = dict(action.facts)
    if action.text is not None:
        found["text"] = action.text
    return found


def _json(section: str, text: str, start: int) -> Mapping[str, Any]:
    line = text.count("\n", 0, start) + 1
    block = _BLOCK.search(section)
    if block is None:
        raise ValueError(f"the section at line {line} has no block of JSON: delete its heading too, or put it back")
    try:
        found = json.loads(block[1])
    except json.JSONDecodeError as error:
        line = text.count("\n", 0, start + block.start(1) + error.pos) + 1
        raise ValueError(f"line {line} is not JSON: {error.msg}") from None
    if not isinstance(found, dict):
        raise ValueError(f"the block of the section at line {line} has no keys")
    return found


def _plan(fields: Mapping[str, Any]) -> Plan:
    if fields.get("agentfs_plan") != VERSION:
        raise ValueError(f"it is not a curation plan that this version reads (agentfs_plan: {VERSION})")
    actions = fields.get("actions")
    if not isinstance(actions, list):
        raise ValueError("it has no list of actions")
    made = moment(str(fields.get("made")))
    return Plan(
        0 if made is None else made.ns,
        str(fields.get("volume", "")),
        notes if isinstance(notes := fields.get("notes"), int) else 0,
        tuple(_action(number, action) for number, action in enumerate(actions, 1)),
    )


def _action(number: int, fields: Any) -> Action:
    def wrong(what: str) -> ValueError:
        return ValueError(f"action {number}: {what}")

    if not isinstance(fields, dict) or fields.get("do") not in _DO:
        raise wrong(f"do is one of {', '.join(_DO)}")
    files = fields.get("files")
    if not isinstance(files, list) or not files or (fields["do"] == "merge" and len(files) < 2):
        raise wrong("it names no files, or too few")
    seen = []
    for file in files:
        if not isinstance(file, dict) or not all(isinstance(file.get(key), str) for key in ("path", "sha256")):
            raise wrong("each of its files has a path and a sha256")
        seen.append(Seen(file["path"], file["sha256"].lower()))
    rest = fields.get("rest", "archive")
    if rest not in ("archive", "delete"):
        raise wrong("rest is archive or delete")
    to, text = fields.get("to", ""), fields.get("text")
    if not isinstance(to, str) or (fields["do"] == "archive" and not to):
        raise wrong("to is where the file goes")
    if text is not None and not isinstance(text, str):
        raise wrong("text is what the merged file says")
    facts = fields.get("facts") or {}
    if not isinstance(facts, dict) or (fields["do"] == "facts" and not facts):
        raise wrong("facts are keys and their values")
    why, cause = str(fields.get("why", "")), str(fields.get("cause", ""))
    return Action(fields["do"], cause, why, tuple(seen), to, facts, rest, text)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
