"""What the simulation knows of every token: who wrote it, whether that was acknowledged, what excuses its absence.

A token that was acknowledged (its file was closed, or flushed) must be in the final tree, unless somebody who was
shown it deleted or replaced it. A token of a structured value (a key of JSON or of frontmatter) may also be only in
the sides of a conflict: the later of two values of one key stays, the other is recorded. Nothing else counts.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import count

from texts import divided, is_text, tokens, units


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that one program does: what it destroys is excused in its name, until it writes it again."""

    number: int
    what: str
    machine: str = ""

    @property
    def process(self) -> int:
        """A number that no process has."""
        return 10**8 + self.number


class Broken(AssertionError):
    """A promise is broken."""


@dataclass(slots=True)
class Oracle:
    acknowledged: dict[bytes, str] = field(default_factory=dict)
    excuses: dict[bytes, set[Deed]] = field(default_factory=lambda: defaultdict(set))
    unread: set[tuple[bytes, Deed]] = field(default_factory=set)
    """Another machine's, that was shown to a program which destroyed it and had not read it."""
    written: set[bytes] = field(default_factory=set)
    """Units as somebody wrote them."""
    copied: set[bytes] = field(default_factory=set)
    """Tokens that may stand twice in one file: of files that were copied, and of lines that two brought as new."""
    moved: set[bytes] = field(default_factory=set)
    """Tokens of lines that somebody moved within a file."""
    structured: set[bytes] = field(default_factory=set)
    """Tokens that were written as a value of a key."""
    sections: set[bytes] = field(default_factory=set)
    """Tokens that were written under a lock which was given back in time."""
    sides: set[bytes] = field(default_factory=set)
    """Tokens in what met in conflicts."""
    counts: Counter[str] = field(default_factory=Counter)
    _next: count = field(default_factory=lambda: count(1))

    def deed(self, what: str, machine: str = "") -> Deed:
        return Deed(next(self._next), what, machine)

    def wrote(self, data: bytes, kind: str, but: bytes = b"") -> None:
        """Somebody wrote `data`, out of `but`, which he had read."""
        head, body = divided(data) if kind == "front" else (b"", data)
        if kind in ("json", "front"):
            self.structured |= tokens(head if kind == "front" else data)
        found = Counter(units(body if kind == "json" else data))
        self.written.update(found.keys() - units(but))
        self.copied.update(token for unit, times in found.items() if times > 1 for token in tokens(unit))

    def reordered(self, before: bytes, after: bytes) -> None:
        """Somebody moved lines."""
        old, new = units(before), units(after)
        common = set(old) & set(new)
        old, new = [it for it in old if it in common], [it for it in new if it in common]
        if old != new:
            for tag, i, j, x, y in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
                if tag != "equal":
                    self.moved.update(token for unit in (*old[i:j], *new[x:y]) for token in tokens(unit))

    def destroyed(self, deed: Deed, before: bytes, after: bytes = b"", *, read: bytes | None = None) -> None:
        """Somebody to whom `before` was shown replaced it by `after`; a program that had read only `read`."""
        for token in tokens(before) - tokens(after):
            self.excuses[token].add(deed)
            writer = self.acknowledged.get(token, deed.machine).partition(":")[0]
            if read is not None and token not in read and writer != deed.machine:
                self.unread.add((token, deed))

    def acknowledge(self, deed: Deed, data: bytes, own: set[bytes], who: str) -> set[bytes]:
        """A close was answered, the file is `data`, and the program had put `own` into it. Returns what it stands for
        from now on."""
        here = tokens(data)
        for token in own & here:
            self.acknowledged.setdefault(token, f"{who}: {deed.what}")
        again = {token for token in here & self.excuses.keys() if deed in self.excuses[token]}
        for token in again:
            self.excuses[token].discard(deed)
        return (own & here) | again

    def lost_with_machine(self, deed: Deed, found: set[bytes]) -> None:
        for token in found:
            self.excuses[token].add(deed)

    def copied_amid(self, deeds: list[Deed]) -> None:
        """A machine was cloned or backed up while programs were at work: in the copy they end there."""
        for deed in deeds:
            ended = self.deed(f"{deed.what}, ended by a copy")
            for others in self.excuses.values():
                if deed in others:
                    others.add(ended)

    # ---- judging ----

    def judge_content(self, data: bytes, kind: str, place: str) -> None:
        """Of text: no unit that nobody wrote, none twice."""
        if kind != "front" and (not is_text(kind) or b"\0" in data):
            return
        found = Counter(units(data))
        glued = [unit for unit in found if unit not in self.written]
        if glued:
            raise Broken(f"{place}: nobody wrote {glued[:3]}: {data[-600:]!r}")
        doubled = [unit for unit, times in found.items() if times > 1 and tokens(unit) - self.copied]
        self.counts["text committed"] += 1
        if doubled:
            raise Broken(f"{place}: twice {doubled[:3]}: {data[-600:]!r}")

    def judge_lost(self, present: set[bytes]) -> None:
        lost, counts = [], self.counts
        for token, who in self.acknowledged.items():
            counts["acknowledged"] += 1
            if token in present:
                counts["present"] += 1
            elif deeds := self.excuses.get(token):
                unread = all((token, deed) in self.unread for deed in deeds)
                counts[f"deleted or replaced{' by a program that had not read it' if unread else ''}"] += 1
            elif token in self.structured and token in self.sides:
                counts["in a conflict record only"] += 1
            else:
                lost.append((token, who, "in a record" if token in self.sides else "nowhere"))
        if lost:
            raise Broken(f"lost: {lost}")
