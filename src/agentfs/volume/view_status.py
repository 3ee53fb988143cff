"""What is said of a view to people: the mark, the files that have no object, why the store is away."""

import os
from collections.abc import Mapping

from agentfs.sync.engine import Engine
from agentfs.view.mark import Mark
from agentfs.view.naming import object_name
from agentfs.view.rules import FILE_BYTES_MAX, Rules
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.messages import Message
from agentfs.volume.view_keeping import Keeper

LISTED_MAX = 1000
_SCANNED_MAX = 1000


def mark_message(mark: Mark | None) -> Message:
    if mark is None:
        return {"mode": "none", "through": 0, "keeper": "", "rules": [], "told_at": ""}
    return {
        "mode": mark.mode,
        "through": mark.through,
        "keeper": mark.author if mark.keeper else "",
        "rules": [[rule.pattern, rule.policy] for rule in mark.rules],
        "told_at": mark.time,
    }


def some(names: Mapping[str, str]) -> Message:
    return dict(list(names.items())[:LISTED_MAX])


def away_because(engine: Engine) -> str:
    """Why the store is away, as far as the engine knows; "": it is not."""
    health = engine.status()
    if health.online or not health.failing:
        return ""
    return (health.last_error or "").partition(": ")[2]


def unshown(keeper: Keeper, plan: EnginePlan, rules: Rules) -> Message:
    """The files that have no object, and why."""
    found: dict[str, str] = {}
    count = files = 0
    numbers = keeper.tree.below()
    for start in range(0, len(numbers), _SCANNED_MAX):
        for file in keeper.tree.files(numbers[start : start + _SCANNED_MAX]).values():
            files += 1
            for path in file.paths:
                why = _why_not(keeper, plan, rules, path, file.content.size_bytes)
                if why:
                    count += 1
                    if len(found) < LISTED_MAX:
                        found[os.fsdecode(path)] = why
    return {"files": files, "without": found, "without_count": count}


def _why_not(keeper: Keeper, plan: EnginePlan, rules: Rules, path: bytes, size_bytes: int) -> str:
    if size_bytes > FILE_BYTES_MAX:
        return f"larger than {FILE_BYTES_MAX >> 20} MiB"
    if rules.policy(path) == "none":
        return "a rule says none"
    if object_name(plan.kind, plan.volume_id, path, bytes_max=keeper.name_bytes_max) is None:
        return "its name is too long for an object"
    return ""
