"""Metrics as Prometheus reads them: the text format, version 0.0.4. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")


@dataclass(slots=True)
class Family:
    """All samples of one metric."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: list[tuple[Mapping[str, str], float]] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        self.samples.append((labels, value))


def exposition(families: Sequence[Family]) -> str:
    """The text, families without samples left out. Raises `ValueError` for what the format does not allow: that is a
    mistake of the program."""
    lines = []
    for family in families:
        if not family.samples:
            continue
        if not _NAME.match(family.name) or (family.kind == "counter") != family.name.endswith("_total"):
            raise ValueError(f"{family.name} cannot name a {family.kind}")
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        seen = set()
        for labels, value in family.samples:
            if not all(_LABEL.match(label) for label in labels):
                raise ValueError(f"{family.name}: {', '.join(labels)} cannot be labels")
            shown = ",".join(f'{label}="{_quoted(text)}"' for label, text in labels.items())
            if shown in seen:
                raise ValueError(f"{family.name}{{{shown}}} is there twice")
            seen.add(shown)
            lines.append(f"{family.name}{{{shown}}} {_number(value)}" if shown else f"{family.name} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1 << 53 else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
