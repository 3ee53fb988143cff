"""A strict reader of Prometheus' text format 0.0.4, as its description has it: what it does not allow, fails."""

import re

_HELP = re.compile(r"# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ((?:[^\\\n]|\\\\|\\n)*)\Z")
_TYPE = re.compile(r"# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary|untyped)\Z")
_SAMPLE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]Inf|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\Z"
)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,(?!\Z)|\Z)')


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels."""
    assert text == "" or text.endswith("\n")
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    types: dict[str, str] = {}
    current, helped = "", ""
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP"):
            match = _HELP.match(line)
            assert match, line
            helped = match[1]
        elif line.startswith("#"):
            match = _TYPE.match(line)
            assert match and match[1] == helped and match[1] not in types, line
            current = match[1]
            types[current] = match[2]
            assert (match[2] == "counter") == current.endswith("_total"), line
        else:
            match = _SAMPLE.match(line)
            assert match and match[1] == current, line
            labels = _labels(match[2] or "")
            assert (current, labels) not in found, line
            found[current, labels] = float(match[3])
            assert types[current] != "counter" or found[current, labels] >= 0, line
    return found


def _labels(text: str) -> frozenset[tuple[str, str]]:
    found, at = [], 0
    while at < len(text):
        match = _LABEL.match(text, at)
        assert match, text
        value = re.sub(r"\\(.)", lambda it: {"n": "\n"}.get(it[1], it[1]), match[2])
        found.append((match[1], value))
        at = match.end()
    assert len({name for name, _ in found}) == len(found), text
    return frozenset(found)
