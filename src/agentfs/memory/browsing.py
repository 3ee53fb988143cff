"""Looking around in a memory: what is like a file, what came when, what it is about."""

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

from agentfs.memory import words
from agentfs.memory.embedding import Embedder
from agentfs.memory.index import Index
from agentfs.memory.packing import FLOOR
from agentfs.memory.ranking import Scored
from agentfs.memory.recalling import filters_of, found_of, look
from agentfs.memory.results import Asked, Found, Topic
from agentfs.memory.rows import DocumentRow, PassageRow
from agentfs.memory.snippets import snippet
from agentfs.memory.tokens import TokenCounter

_GIST_CHARACTERS = 1500
"""Of a file, to look for its like."""
_DOCUMENTS_MAX = 5000
"""Topics are those of the newest so many."""
_DISTINCTIVE = 6
"""Words that a topic is shown by."""
_LINKED = 1.0
"""What a link between two files adds."""
_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_SHARE_MAX = 0.4
"""A word of more than this part of all documents is no topic."""


def related(index: Index, embedder: Embedder | None, counter: TokenCounter, asked: Asked) -> list[Found]:
    """Other documents like the file `asked.path`, and those it links to or that link to it; the best passage of each.
    Empty where that is not indexed or may not be read."""
    everything = replace(asked, path=b"")
    files = {it.path: it for it in index.documents(filters_of(everything))}
    at = files.get(asked.path)
    if at is None:
        return []
    rows = index.passages(at.ino)
    text = "\n".join((at.facts.title, *at.facts.tags, *(row.passage.text for row in rows)))[:_GIST_CHARACTERS]
    looked = look(index, embedder, replace(everything, query=text, strategy="relevance"), max(asked.limit, 200))
    best: dict[int, Scored] = {}
    for it in looked.scored:
        if it.row.document.id != at.id:
            best.setdefault(it.row.document.id, it)
    least = max((it.score for it in best.values()), default=0.0) * FLOOR
    best = {document: it for document, it in best.items() if it.score >= least}
    for document in files.values():
        if document.id != at.id and (_links(at, document) or _links(document, at)):
            known = best.get(document.id)
            first = known.row if known is not None else next(iter(index.passages(document.ino)), None)
            if first is not None:
                parts = dict(known.parts) if known is not None else {}
                score = known.score if known is not None else 0.0
                best[document.id] = Scored(first, score + _LINKED, parts | {"link": _LINKED})
    found = sorted(best.values(), key=lambda it: (-it.score, it.row.document.path))
    return [snippet(found_of(it), frozenset(), counter) for it in found[: asked.limit]]


def _links(one: DocumentRow, other: DocumentRow) -> bool:
    path = os.fsdecode(other.path)
    stem = path.rpartition("/")[2].rpartition(".")[0].casefold()
    for link in one.facts.links:
        target = link.strip("[]").split("|")[0].split("#")[0].strip().removeprefix("./").strip("/").casefold()
        if target and target in (path.casefold(), stem, path.casefold().rpartition(".")[0]):
            return True
    return False


def timeline(index: Index, embedder: Embedder | None, counter: TokenCounter, asked: Asked) -> list[Found]:
    """What came when, the earliest first: the newest `limit` passages that serve the question, or, without one, the
    newest documents, each with its first passage."""
    if asked.query.strip():
        looked = look(index, embedder, replace(asked, strategy="relevance"), max(asked.limit, 200))
        wanted = frozenset(words.query(asked.query).terms)
        if looked.strength <= 0:
            return []
        best = list(looked.listed(asked.limit))
        found = [snippet(found_of(it), wanted, counter) for it in best]
    else:
        found = []
        files = sorted(index.documents(filters_of(asked)), key=lambda it: (-it.date_ns, it.path))
        for document in files[: asked.limit]:
            rows = index.passages(document.ino)
            if rows:
                found.append(snippet(found_of(Scored(rows[0], 0.0, {})), frozenset(), counter))
    return sorted(found, key=lambda it: (it.date_ns, it.path, it.first_line))


def topics(index: Index, asked: Asked) -> list[Topic]:
    """What the memory is about, the largest topic first. Documents with a tag stand under their most frequent one,
    the others under the word that tells most of them from the rest. The same memory always has the same topics."""
    files = sorted(index.documents(filters_of(asked)), key=lambda it: (-it.date_ns, it.path))[:_DOCUMENTS_MAX]
    terms = {it.id: _terms(index, it) for it in files}
    many = len(files)
    has = Counter(term for found in terms.values() for term in found)
    groups = _by_tag(files)
    groups += _by_word([it for it in files if not it.facts.tags], terms, has, many)
    made = [
        Topic(
            name,
            _distinctive(members, terms, has, many),
            tuple(os.fsdecode(it.path) for it in members[: asked.limit]),
            len(members),
            members[0].date_ns,
        )
        for name, members in groups
    ]
    return sorted(made, key=lambda it: (-it.documents, it.name))[: asked.limit]


def _terms(index: Index, document: DocumentRow) -> dict[str, str]:
    """Terms of a document, each with a word it was made of: the first."""
    found: dict[str, str] = {}
    for row in index.passages(document.ino):
        for word in _spelled(row):
            made_of = words.query(word).terms
            for term in made_of:  # several: of a script without blanks, or a name with joints
                found.setdefault(term, word.casefold() if len(made_of) == 1 else term)
    return {term: word for term, word in found.items() if len(word) > 1 and not word.isdigit()}


def _spelled(row: PassageRow) -> Iterator[str]:
    for found in _WORD.finditer(row.passage.text):
        if found[0].casefold() not in words.STOP_WORDS:
            yield found[0]


def _by_tag(files: list[DocumentRow]) -> list[tuple[str, list[DocumentRow]]]:
    count = Counter(tag.casefold() for it in files for tag in it.facts.tags)
    written = {tag.casefold(): tag for it in reversed(files) for tag in it.facts.tags}
    groups: dict[str, list[DocumentRow]] = defaultdict(list)
    for it in files:
        if it.facts.tags:
            groups[min((tag.casefold() for tag in it.facts.tags), key=lambda tag: (-count[tag], tag))].append(it)
    return [(f"#{written[tag]}", members) for tag, members in groups.items()]


def _by_word(
    files: list[DocumentRow], terms: dict[int, dict[str, str]], has: Counter[str], many: int
) -> list[tuple[str, list[DocumentRow]]]:
    """Greedily: the word that covers most of what is left, weighed by how rare it is."""
    left = {it.id: it for it in files}
    groups: list[tuple[str, list[DocumentRow]]] = []
    while len(left) > 1:
        count = Counter(term for it in left for term in terms[it] if 1 < has[term] <= max(2, _SHARE_MAX * many))
        if not count:
            break
        best = min(count, key=lambda term: (-count[term] * math.log(many / has[term] + 1), term))
        if count[best] < 2:
            break
        members = [it for it in left.values() if best in terms[it.id]]
        groups.append((terms[members[0].id][best], members))
        for it in members:
            del left[it.id]
    return groups


def _distinctive(
    members: list[DocumentRow], terms: dict[int, dict[str, str]], has: Counter[str], many: int
) -> tuple[str, ...]:
    inside = Counter(term for it in members for term in terms[it.id])
    rest = max(many - len(members), 0)

    def weight(term: str) -> float:
        within = (inside[term] + 0.5) / (len(members) + 1)
        without = (has[term] - inside[term] + 0.5) / (rest + 1)
        return inside[term] * math.log(within / without)

    best = sorted(inside, key=lambda term: (-weight(term), term))[:_DISTINCTIVE]
    return tuple(next(terms[it.id][term] for it in members if term in terms[it.id]) for term in best)
