"""Who speaks: lines like `Caroline: text` in a conversation, told from labels like `Decision: text` in a note."""

import re
from collections import Counter
from dataclasses import dataclass

_CLOCK = r"(?:\d{4}-\d{2}-\d{2}[ T])?\d{1,2}:\d{2}(?::\d{2})?(?:[ ]?[AaPp][Mm])?"
TURN = re.compile(
    rf"""
    ^[ \t>]* (?: [-*+][ \t]+ | \d{{1,4}}[.)][ \t]+ )?
    (?: (?P<bracket> [\[(] [^\])\n]{{1,40}} [\])] ) [ \t]* [-–—]? [ \t]* ){{0,2}}
    (?P<stamp> \d[\d:./,T -]{{3,30}}? (?: [ ]?[AaPp]\.?[Mm]\b\.? )? (?:Z|UTC)? (?: [ \t]*[-–—|,][ \t]* | [ \t]+ ) )?
    (?: <(?P<nick> [^<>\s]{{1,30}} )>[ \t]+(?=\S)
      | (?: \*\*|__|\* )? @? (?P<name> [^\W\d_][\w.'’&-]* (?: [ ][\w.'’&()-]+ ){{0,3}} )
        (?: \*\*|__|\* )? (?: [ \t]* [\[(] (?P<after> [^\])\n]{{1,40}} ) [\])] (?: \*\*|__|\* )? )?
        (?: [:：] (?: \*\*|__|\* )? (?: [ \t]+(?=\S) | (?=[^\x00-\x7f]) | [ \t]*\r?$ )
          | [ ](?:said|says|asked|replied|answered|wrote)[,:]?[ ](?=["“])
          | (?P<clock> [ \t]*[—–|-][ \t]*{_CLOCK} | [ \t]*[\[(]{_CLOCK}[\])] | [ \t]+\d{{1,2}}:\d{{2}}[ ]?[AaPp][Mm] )
            [ \t]*\r?$ ) )
    """,
    re.VERBOSE | re.MULTILINE,
)
_NAME_MAX = 40
ROLES = frozenset(
    ("user", "assistant", "human", "ai", "system", "agent", "bot", "customer", "support", "me", "you", "q", "a",
     "client", "interviewer", "interviewee", "model", "tool", "claude", "chatgpt", "gpt", "gemini", "copilot",
     "operator")
)  # fmt: skip
"""Who speaks with a program. Two lines of them are a conversation."""
_LABELS = frozenset(
    word
    for line in (
        "note, notes, nb, todo, fixme, done, decision, decisions, decided, reason, reasons, why, rationale",
        "context, status, state, owner, date, due, deadline, priority, title, summary, description, details",
        "example, examples, tip, hint, warning, caution, danger, important, attention, result, results, outcome",
        "outcomes, action, actions, action item, action items, next, next step, next steps, follow-up, question",
        "questions, answer, problem, issue, solution, cause, root cause, fix, workaround, impact, goal, goals",
        "background, scope, location, place, time, when, where, who, what, how, which, name, type, kind, tag",
        "tags, source, sources, link, links, url, version, author, authors, input, output, usage, default",
        "defaults, option, options, pro, pros, con, cons, error, info, debug, warn, trace, fatal, critical",
        "notice, update, updated, edit, created, ps, re, fw, fwd, from, to, subject, cc, bcc, sent, attendees",
        "participants, agenda, topic, topics, team, preference, preferences, fact, facts, lesson, lessons",
        "learned, learning, observation, hypothesis, evidence, step, consequence, consequences, alternative",
        "alternatives, trade-off, trade-offs, tradeoff, risk, risks, mitigation, cost, price, budget, amount",
        "total, address, phone, email, id, key, value, file, files, path, see, see also, also, e.g., i.e.",
        "before, after, then, now, later, today, yesterday, tomorrow, expected, actual, given, returns, return",
        "args, parameters, params, raises, yields, requirements, requirement, steps, setup, command, commands",
        "config, configuration, language, environment, project, role, symptom, symptoms, resolution, timeline",
        "duration, start, end, severity, category, categories, rule, rules, policy, review, reviewer, assignee",
        "estimate, progress, blocked, blocker, blockers, blocked by, depends on, idea, ideas, thought, thoughts",
        "insight, insights, comment, comments, remark, conclusion, plan, task, tasks, data, code, test, tests",
        "wine, pairing, serves, ingredients, method, item, items, quantity, size, color",
    )
    for word in line.split(", ")
)
"""What stands before a colon and is nobody's name."""


@dataclass(frozen=True, slots=True)
class Turn:
    author: str
    stamp: str
    """Where its time may be written; "" if nowhere."""
    alone: bool
    """The line is but a name and a time; what is said stands below."""


def speakers(text: str, start: int) -> frozenset[str]:
    """Who speaks in this text, in lower case: who does so twice, and others beside them."""
    counts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    labels: Counter[str] = Counter()
    for found in TURN.finditer(text, start):
        name = _name(found)
        if name:
            labels[name.lower()] += _is_marked(found)
            counts[name.lower()] += 1
            shown.setdefault(name.lower(), name)
    known = {name for name, count in counts.items() if count > 1 and name not in ROLES and name not in _LABELS}
    roles = ROLES & counts.keys()
    if sum(counts[name] for name in roles) > 1:
        known |= roles
    if len(roles & known) > 1:  # a user and an assistant: what else stands in bold, or in a list, is what they say
        return frozenset(name for name in known if name in roles or not labels[name])
    if known and 2 * sum(counts[name] for name in known) >= text.count("\n", start) - text.count("\n\n", start):
        known |= {name for name in counts if _may_be_name(shown[name])}
    return frozenset(known)


def turn(line: str, known: frozenset[str], *, amid: bool) -> Turn | None:
    """What a line says of who speaks; None: nobody does. `amid`: it comes right after another's turn, so that one
    who speaks only once is known for a speaker."""
    found = TURN.match(line)
    if found is None:
        return None
    name = _name(found)
    if name.lower() not in known and (
        len(known & ROLES) > 1 or not ((amid or found["clock"]) and _may_be_name(name))
    ):
        return None
    stamp = found["clock"] or found["stamp"] or found["after"] or found["bracket"] or ""
    return Turn(name, stamp, found["clock"] is not None)


def _is_marked(found: re.Match[str]) -> bool:
    """Whether the name is in bold, or begins an item."""
    return found["name"] is not None and found[0][: found.start("name") - found.start()].strip(" \t>@") != ""


def is_role(name: str) -> bool:
    return name.strip("*_:# ").lower() in ROLES


def _may_be_name(name: str) -> bool:
    return not name[:1].islower() and name.lower() not in _LABELS


def _name(found: re.Match[str]) -> str:
    name: str = found["nick"] or found["name"]
    return name if len(name) <= _NAME_MAX else ""
