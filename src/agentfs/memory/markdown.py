"""Markdown and plain text → units: turns, list items, table rows, paragraphs, fenced code, under their headings.

One pass over the lines. A unit that is longer than a passage is cut later (`passages`), a shorter one stays as it
is: under a token budget, small units win.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from agentfs.memory import moments, speakers
from agentfs.memory.passages import TARGET, Span

_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_SETEXT = re.compile(r" {0,3}(?:={2,}|-{2,})[ \t]*$")
_RULE = re.compile(r"[ \t]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|={3,})$")
_FENCE = re.compile(r"[ \t>]*(`{3,}|~{3,})")
_ITEM = re.compile(r"([ \t]*)(?:[-*+•]|\d{1,9}[.)])(?:[ \t]+(?:\[[ xX]\][ \t]+)?|$)")
_DELIMITERS = re.compile(r"[ \t]*\|[ \t:|-]*-[ \t:|-]*$")
_STAMP_LEAD = re.compile(r"[ \t>]*(?:[-*+•][ \t]+|\d{1,4}[.)][ \t]+)?[\[(*_`]{0,4}(?=[\dJFMASOND])")
_STAMP_END = re.compile(r"[\])*_`:,|–—\s-]|$")
_DATED = re.compile(
    r"(?:(?:session|day|chat|conversation|meeting|log|entry|journal|call)\b[\s#\d:.,–—(-]*(?:(?:of|on|from)\s+)?)?"
    r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?[,.]?\s*)?",
    re.IGNORECASE,
)
_DATE_KEY = re.compile(r"[ \t>*_]*(?:date|datum|timestamp|time)[*_]*[:：][*_]*\s+", re.IGNORECASE)
_MARKS = " \t\r*_#=<>[]()~|:.`–—-"
_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", '."', '!"', '?"', ".)", "!)", "?)")
_HEADING_MAX = 300
"""Characters of a heading that go into the path."""
_FIRST_LINES = 200
_LABEL_MAX = 120
"""Characters. A longer line that ends with a colon is a sentence."""
_DATE_LEVEL, _LABEL_LEVEL = 7, 8
"""A line that is a date ranks below all headings; a line that introduces a list, below that."""


def spans(text: str, start: int = 0, *, marked: bool = True, day_ns: int | None = None) -> Iterator[Span]:
    """The units of a text, from `start` on. `marked`: it is Markdown, with headings, code and tables; else only
    turns, items, dates and paragraphs. `day_ns`: the day that times without a date are of."""
    scan = _Scan(text, speakers.speakers(text, start), marked=marked, day_ns=day_ns)
    for found in _LINE.finditer(text, start):
        yield from scan.line(found.start(), found.end())
    yield from scan.finish()


def first_heading(text: str, start: int) -> str:
    """Of the Markdown from `start` on; "": there is none near the top."""
    fence = ""
    before = ""
    for count, found in enumerate(_LINE.finditer(text, start)):
        line = found[0].rstrip().removeprefix("\ufeff")
        if count > _FIRST_LINES:
            break
        if fence or (opened := _FENCE.match(line)) is not None:
            fence = ("" if line.strip() == fence else fence) if fence else opened[1] if opened is not None else ""
            continue
        atx = _ATX.match(line)
        if atx is not None and (heading := _without_closing(atx[2] or "").strip()) and not speakers.is_role(heading):
            return heading[:_HEADING_MAX]
        if before and _SETEXT.match(line) and not _ITEM.match(before):
            return before.strip()[:_HEADING_MAX]
        before = line.strip()
    return ""


class _Scan:
    """Where the pass is: the headings above, and the unit that is being read."""

    def __init__(self, text: str, known: frozenset[str], *, marked: bool, day_ns: int | None) -> None:
        self._text = text
        self._known = known
        self._marked = marked
        self._day_ns = day_ns
        self._path: list[tuple[int, str, int | None]] = []
        """Level, heading, its date."""
        self._headings: tuple[str, ...] = ()
        self._heading_ns: int | None = None
        self._bare: tuple[int, int] | None = None
        """A heading with nothing under it so far."""
        self._label: tuple[int, str] | None = None
        """A line that introduces what follows: it is the start of the next unit."""
        self._kind = ""
        """Of the unit: "", paragraph, stamped, turn, list, table, fence."""
        self._start = self._end = 0
        self._lines = 0
        self._author = ""
        self._role = ""
        """Who speaks until another does: only in conversations with a program, whose turns have paragraphs."""
        self._above = 0
        """So many of the headings stand above the one who speaks; those behind them are part of what is said."""
        self._alone = False
        """The turn begins with a line that only says who and when."""
        self._said_ns: int | None = None
        self._fence = ""
        self._gap = False
        """A blank line was read, and the list may go on."""
        self._items: list[tuple[int, int]] = []
        """Indent and start of each item of the list."""
        self._rows: list[int] = []

    def line(self, start: int, end: int) -> Iterator[Span]:
        content = self._text[start:end].rstrip()
        if self._fence:
            self._end = end
            if content.lstrip(" \t>").startswith(self._fence) and not content.strip(" \t>").strip(self._fence[0]):
                self._fence = ""
                if self._kind == "fence":
                    yield from self._close()
            return
        first = content.lstrip("\ufeff \t")[:1]
        if not first:
            yield from self._blank()
        elif self._marked and (first in "#=-*_`~|>"):
            yield from self._marked_line(content, first, start, end)
        else:
            yield from self._prose_line(content, start, end)

    def finish(self) -> Iterator[Span]:
        yield from self._close()
        if self._label is not None:
            yield self._span(self._label[0], self._end)
            self._label = None
        yield from self._bare_heading()

    def _marked_line(self, content: str, first: str, start: int, end: int) -> Iterator[Span]:
        """A line that begins with a mark of Markdown's."""
        if first == "#" and (found := _ATX.match(content.removeprefix("\ufeff"))) is not None:
            yield from self._close()
            yield from self._head(len(found[1]), _without_closing(found[2] or ""), start, end)
        elif first in "=-" and self._kind == "paragraph" and self._lines == 1 and _SETEXT.match(content):
            heading = self._text[self._start : self._end].strip()
            begin, self._kind = self._start, ""
            yield from self._head(1 if first == "=" else 2, heading, begin, end)
        elif first in "=-*_" and _RULE.match(content):
            yield from self._close()
            self._role = ""
        elif first in "`~>" and (found := _FENCE.match(content)) is not None:
            if self._kind == "list" and content[:1] in " \t":
                self._end, self._gap = end, False
            else:
                yield from self._begin("fence", start, end, author=self._role)
            self._fence = found[1]
        elif first == "|":
            if self._kind != "table":
                yield from self._begin("table", start, end)
                self._rows = []
            self._rows.append(start)
            self._end = end
        else:
            yield from self._prose_line(content, start, end)

    def _prose_line(self, content: str, start: int, end: int) -> Iterator[Span]:
        turn = speakers.turn(content, self._known, amid=self._kind == "turn") if self._known else None
        if turn is not None:
            stamp = self._stamp(content) or self._moment(turn.stamp)
            yield from self._close()
            self._leave_said_headings()
            yield from self._begin("turn", start, end, author=turn.author, said_ns=stamp)
            self._alone = turn.alone
            self._role = turn.author if turn.alone or speakers.is_role(turn.author) else ""
            self._above = len(self._path)
            return
        item = _ITEM.match(content)
        if item is not None:
            yield from self._item(len(item[1].expandtabs(4)), start, end)
            return
        indented = content[:1] in " \t"
        if self._kind == "list" and (indented or not self._gap):
            self._end, self._gap = end, False
            return
        if _DATE_KEY.match(content):
            self._date_section(content)
        if self._kind in ("", "list", "table", "stamped"):
            stamp = self._stamp(content)
            dated = self._kind != "stamped" and len(content) <= _LABEL_MAX and self._dated(content)
            if dated:
                yield from self._close()
                yield from self._head(_DATE_LEVEL, content.strip(_MARKS), start, end)
                return
            if stamp is not None or self._kind != "stamped":
                kind = "stamped" if stamp is not None else "paragraph"
                yield from self._begin(kind, start, end, author=self._role, said_ns=stamp)
                return
        self._end = end
        self._lines += 1

    def _item(self, indent: int, start: int, end: int) -> Iterator[Span]:
        if self._kind != "list":
            yield from self._begin("list", start, end, author=self._role)
            self._items = []
        self._items.append((indent, start))
        self._end, self._gap = end, False

    def _blank(self) -> Iterator[Span]:
        if self._kind == "list":
            self._gap = True
        elif self._kind == "turn" and self._alone and self._lines == 1:
            return
        elif self._kind == "paragraph" and self._lines == 1 and self._is_label():
            self._label = (self._start, self._text[self._start : self._end].strip().strip("*_: "))
            self._kind = ""
        else:
            yield from self._close()

    def _is_label(self) -> bool:
        """Whether the paragraph is one line that introduces what follows."""
        line = self._text[self._start : self._end].strip()
        if len(line) > _LABEL_MAX or self._label is not None:
            return False
        return line.endswith((":", "：")) or (self._marked and len(line) > 4 and line[:2] == line[-2:] == "**")

    def _begin(
        self, kind: str, start: int, end: int, *, author: str = "", said_ns: int | None = None
    ) -> Iterator[Span]:
        if kind in ("list", "table", "fence") and self._kind == "paragraph" and self._lines == 1 and self._is_label():
            yield from self._blank()
        yield from self._close()
        self._kind, self._start, self._end, self._lines = kind, start, end, 1
        self._author, self._said_ns = author, said_ns
        self._bare = None

    def _close(self) -> Iterator[Span]:
        """The unit that was read, as one or more spans."""
        kind, self._kind, self._gap = self._kind, "", False
        if not kind:
            return
        begin, label = self._start, ""
        if self._label is not None:
            begin, label = self._label
            self._label = None
        if kind == "list":
            yield from self._list(begin, label)
        elif kind == "table":
            yield from self._table(begin)
        elif kind == "paragraph" and self._lines > 1 and self._end - self._start > TARGET // 2:
            yield from self._statements(begin)
        else:
            yield self._span(begin, self._end, code=kind == "fence")

    def _statements(self, begin: int) -> Iterator[Span]:
        """A paragraph; line by line, where each is a sentence or several: no line is wrapped then."""
        ends = [found.end() for found in _LINE.finditer(self._text, self._start, self._end)]
        if all(self._text[max(0, end - 8) : end].rstrip().endswith(_SENTENCE_ENDS) for end in ends):
            for start, end in pairwise([begin, *ends]):
                yield self._span(start, end)
        else:
            yield self._span(begin, self._end)

    def _list(self, begin: int, label: str) -> Iterator[Span]:
        """An item with what is nested in it, where that is short; else the item, and what is nested under it."""
        above: list[tuple[int, str]] = [(-1, label)] if label else []
        at, items = 0, self._items
        after = _after(items)
        while at < len(items):
            indent, start = items[at]
            while above and above[-1][0] >= indent:
                above.pop()
            path = tuple(name for _, name in above[-3:]) if at else ()
            stop = items[after[at]][1] if after[at] < len(items) else self._end
            following = after[at]
            if stop - start > TARGET and after[at] > at + 1:
                stop, following = items[at + 1][1], at + 1
                above.append((indent, self._text[start:stop].strip().lstrip("-*+• \t")[:_LABEL_MAX]))
            yield self._item_span(start if at else begin, start, stop, path)
            at = following

    def _item_span(self, begin: int, start: int, stop: int, path: tuple[str, ...]) -> Span:
        line = self._text[start : min(stop, start + _HEADING_MAX)].partition("\n")[0]
        stamp = self._stamp(line)
        return Span(begin, stop, self._headings + path, self._author, self._heading_ns if stamp is None else stamp)

    def _table(self, begin: int) -> Iterator[Span]:
        """Whole where it is short; else its rows, the first with the header, which is in the path of the others."""
        rows = [*self._rows, self._end]
        headed = len(rows) > 3 and _DELIMITERS.match(self._text[rows[1] : rows[2]].rstrip()) is not None
        if self._end - self._start <= TARGET or not headed:
            yield self._span(begin, self._end)
            return
        cells = [cell.strip() for cell in self._text[rows[0] : rows[1]].strip().strip("|").split("|")]
        header = (" | ".join(cells)[:_HEADING_MAX],)
        yield self._span(begin, rows[3])
        for start, stop in pairwise(rows[3:]):
            yield Span(start, stop, self._headings + header, self._author, self._heading_ns)

    def _head(self, level: int, heading: str, start: int, end: int) -> Iterator[Span]:
        """A heading. One that had nothing under it, before another of its rank, is a unit itself."""
        if self._label is not None:
            yield self._span(self._label[0], start)
            self._label = None
        if self._path and self._path[-1][0] >= level:
            yield from self._bare_heading()
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        heading = heading.strip()[:_HEADING_MAX]
        found = moments.moment_in(heading) if any(letter.isdigit() for letter in heading) else None
        if found is None and heading[:1].isdigit() and (day_ns := self._day()) is not None:
            found = moments.time_at(heading, 0, day_ns)
        is_role = speakers.is_role(heading)
        if is_role or len(self._path) < self._above:
            self._role = heading.strip("*_: ") if is_role else ""
        self._path.append((level, heading, None if found is None else found.ns))
        if is_role:
            self._above = len(self._path)
        self._see_headings()
        self._bare = (start, end) if heading else None

    def _see_headings(self) -> None:
        self._headings = tuple(name for _, name, _ in self._path if name)
        self._heading_ns = next((ns for _, _, ns in reversed(self._path) if ns is not None), None)

    def _leave_said_headings(self) -> None:
        """Another speaks: the headings within what was said before are not theirs. One with nothing under it is of
        what comes."""
        if self._role and self._bare is None and len(self._path) > self._above:
            del self._path[self._above :]
            self._see_headings()

    def _date_section(self, line: str) -> None:
        """`Date: 2026-03-02` under a heading, or at the top: what the section, or all of it, is of."""
        found = moments.moment_in(line[:_LABEL_MAX])
        level, heading, _ = self._path[-1] if self._path else (0, "", None)
        if found is None or moments.moment_in(heading) is not None:
            return
        self._path[-1:] = [(level, heading, found.ns)]
        self._heading_ns = found.ns

    def _bare_heading(self) -> Iterator[Span]:
        if self._bare is not None:
            above = tuple(name for _, name, _ in self._path[:-1] if name)
            yield Span(*self._bare, above, "", self._heading_ns)
            self._bare = None

    def _span(self, start: int, end: int, *, code: bool = False) -> Span:
        said_ns = self._heading_ns if self._said_ns is None else self._said_ns
        return Span(start, end, self._headings, self._author, said_ns, code)

    def _stamp(self, line: str) -> int | None:
        """The moment that a line begins with."""
        lead = _STAMP_LEAD.match(line)
        if lead is None:
            return None
        found = moments.moment_at(line, lead.end())
        if found is None and line[lead.end()].isdigit() and (day_ns := self._day()) is not None:
            found = moments.time_at(line, lead.end(), day_ns)
        return None if found is None or not _STAMP_END.match(line, found.end) else found.ns

    def _moment(self, stamp: str) -> int | None:
        """The moment in a stamp behind a name."""
        found = moments.moment_in(stamp) if stamp else None
        if found is None and stamp and (day_ns := self._day()) is not None:
            found = moments.time_at(stamp, len(stamp) - len(stamp.lstrip("[( \t—–|-")), day_ns)
        return None if found is None else found.ns

    def _day(self) -> int | None:
        ns = self._day_ns if self._heading_ns is None else self._heading_ns
        return None if ns is None else ns - ns % moments.DAY_NS

    def _dated(self, line: str) -> bool:
        """Whether the line is a date and nothing else."""
        line = line.strip(_MARKS)
        lead = _DATED.match(line)
        found = moments.moment_in(line)
        if found is None or lead is None or line[found.end :].strip(_MARKS):
            return False
        return found.start <= lead.end() or not line[lead.end() : found.start].strip(_MARKS)


def _after(items: list[tuple[int, int]]) -> list[int]:
    """For each item the index of the next that is not nested in it."""
    after = [len(items)] * len(items)
    open_: list[int] = []
    for at, (indent, _) in enumerate(items):
        while open_ and items[open_[-1]][0] >= indent:
            after[open_.pop()] = at
        open_.append(at)
    return after


def _without_closing(heading: str) -> str:
    """`Title` of `Title ##`."""
    heading = heading.rstrip()
    bare = heading.rstrip("#")
    return heading if bare and bare[-1] not in " \t" else bare.rstrip()
