"""The merge of texts: lines, and inside a line that both changed its parts and sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from agentfs.merge.differences import Budget
from agentfs.merge.forms import Form
from agentfs.merge.lines import merge_line
from agentfs.merge.union import union_plain, union_prose, union_records, union_rewritten
from agentfs.merge.units import Clash, Fine, MergedUnits, Rules, TooMuch, merge_units

LINES_MAX = 250_000
"""Each side. A text of more lines is not merged."""
LONG_LINE = 200
"""Characters. In a line as long as this, two versions of one sentence stand side by side, not two of the line."""

FINER_MAX = 100_000
"""Characters. A longer line is no prose, and is not looked into."""
_SENTENCE_STEPS = 500
"""What the merge of one line by sentences costs, in steps of the budget (about a third of a millisecond)."""

SENTENCES_KEPT = "both changed one sentence; both versions were kept"
_BOM = "\ufeff"
_FENCES = ("```", "~~~")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Text:
    """One version of a text, taken apart. `ending` is how all lines end, or None where they end differently (then a
    carriage return is part of the line)."""

    bom: bool
    ending: str | None
    terminated: bool | None
    """Whether the last line ends with a line feed; None: there is no line."""
    lines: list[str]


@dataclass(frozen=True, slots=True)
class MergedText:
    text: str
    clashes: tuple[str, ...]


def taken_apart(text: str) -> Text:
    bom = text.startswith(_BOM)
    text = text[len(_BOM) :] if bom else text
    returns = text.count("\r\n")
    feeds = text.count("\n")
    ending = "\n" if not returns else "\r\n" if returns == feeds else None
    lines = text.split("\r\n" if ending == "\r\n" else "\n")
    terminated = not lines.pop() if feeds and text.endswith("\n") else None if not text else False
    if not text:
        lines = []
    return Text(bom, ending if feeds else None, terminated, lines)


def merge_text(
    base: str | None, earlier: str, later: str, form: Form, *, first_line: int = 1, marked: bool = False
) -> MergedText | None:
    """None: too many lines, or too little in common. `first_line`: the number of the first line in its file.
    `marked`: with conflict markers around what both changed."""
    texts = [taken_apart(text) for text in ("" if base is None else base, earlier, later)]
    ending = _ending(texts)
    if ending is None:
        texts = [_with_returns(text) for text in texts]
    if any(len(text.lines) > LINES_MAX for text in texts):
        return None
    base_text, *sides = texts
    try:
        merged = _merge_lines(base_text.lines, sides[0].lines, sides[1].lines, form, marked=marked)
    except TooMuch:
        return None
    text = (ending or "\n").join(merged.units)
    if merged.units and (_terminated(texts) or (form is Form.RECORDS and any(text.terminated for text in texts))):
        text += ending or "\n"
    bom = chosen(texts[0].bom if base is not None else None, texts[1].bom, texts[2].bom)
    clashes = tuple(f"line {clash.at + first_line}: {clash.what}" for clash in merged.clashes)
    return MergedText((_BOM if bom else "") + text, clashes)


def chosen(base: Value | None, earlier: Value, later: Value) -> Value:
    """The side that changed it; later's where both did."""
    return earlier if later == base else later


def _ending(texts: Sequence[Text]) -> str | None:
    """How the lines of the merged text end; None: as each line says."""
    known = [text.ending for text in texts if len(text.lines) > 1 or text.terminated]
    if None in known:
        return None
    if not known:
        return "\n"
    base, earlier, later = (text.ending for text in texts)
    earlier, later = earlier or later or base, later or earlier or base
    return chosen(base, earlier, later)


def _with_returns(text: Text) -> Text:
    """Carriage returns as part of the lines."""
    if text.ending != "\r\n":
        return text
    lines = [line + "\r" for line in text.lines]
    if not text.terminated:
        lines[-1] = text.lines[-1]
    return Text(text.bom, None, text.terminated, lines)


def _terminated(texts: Sequence[Text]) -> bool:
    base, earlier, later = (text.terminated for text in texts)
    if base is None or earlier is None or later is None:
        return bool(earlier) or bool(later)
    return chosen(base, earlier, later)


def _merge_lines(
    base: Sequence[str], earlier: Sequence[str], later: Sequence[str], form: Form, *, marked: bool
) -> MergedUnits:
    budget = Budget()
    fenced: list[bool] = []

    def finer(old: str, one: str, other: str, at: int) -> Fine | None:
        if not fenced:
            fenced.extend(_fenced(base) if form is Form.PROSE else [True] * len(base))

        def sentences(base: Sequence[str], earlier: Sequence[str], later: Sequence[str]) -> list[str] | None:
            budget.steps -= _SENTENCE_STEPS
            if budget.steps < 0:
                return None
            try:
                merged = _merge_sentences(base, earlier, later, budget)
            except TooMuch:
                return None
            long = all(len(line) >= LONG_LINE for line in (one, other))
            noted.extend(merged.clashes)
            return merged.units if not merged.clashes or long else None

        noted: list[Clash] = []
        if max(len(old), len(one), len(other)) > FINER_MAX:
            return None
        line = merge_line(old, one, other, prose=not fenced[at], sentences=sentences)
        return None if line is None else Fine(line, SENTENCES_KEPT if noted else None)

    def united(one: Sequence[str], other: Sequence[str], follows_text: bool, rewritten: bool) -> list[str]:
        if form is Form.RECORDS:
            return union_records(one, other, budget)
        if rewritten:
            return union_rewritten(one, other, budget)
        union = union_prose if form is Form.PROSE else union_plain
        return union(one, other, follows_text, budget)

    return merge_units(base, earlier, later, Rules(united, finer, budget, marked))


def _merge_sentences(
    base: Sequence[str], earlier: Sequence[str], later: Sequence[str], budget: Budget
) -> MergedUnits:
    """Sentences compared without the spaces behind them; those come back afterwards."""
    rules = Rules(lambda one, other, *_: union_records(one, other, budget), lambda *_: None, budget)
    merged = merge_units(_bare(base), _bare(earlier), _bare(later), rules)
    spaced = {sentence.rstrip(): sentence for sentence in sorted((*base, *earlier, *later), key=len)}
    merged.units = [spaced[sentence] for sentence in merged.units]
    return merged


def _bare(sentences: Sequence[str]) -> list[str]:
    return [sentence.rstrip() for sentence in sentences]


def _fenced(lines: Sequence[str]) -> list[bool]:
    """For each line whether it belongs to fenced code."""
    found = []
    inside = False
    for line in lines:
        fence = line.lstrip().startswith(_FENCES)
        found.append(inside or fence)
        inside ^= fence
    return found
