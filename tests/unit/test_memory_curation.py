"""Curation: what is proposed, and above all what is not."""

import dataclasses
import hashlib
import itertools
import json
import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfs.memory import curation_file
from agentfs.memory.alike import alike
from agentfs.memory.curation import Action, Plan, Policy, Seen, importance, propose
from agentfs.memory.documents import document
from agentfs.memory.notes import Note, is_curated, note
from agentfs.memory.sameness import additions, compared, is_harmless, sentences
from agentfs.memory.uniting import Part, united, with_text

DAY = 86400 * 10**9
NOW = 1_795_000_000 * 10**9
LONG = (
    "The billing service sends its invoices every night through the mail gateway, and whoever is on call looks\n"
    "at the queue in the morning. Failed ones are sent again by hand from the gateway after a short check.\n"
)


def made(path: str, text: str, *, days: float = 1, xattrs: dict[bytes, bytes] | None = None) -> Note:
    found = note(path, text.encode(), xattrs or {}, mtime_ns=NOW - int(days * DAY))
    assert found is not None
    return found


def planned(*notes: Note, policy: Policy | None = None, curator: object = None) -> Plan:
    return propose(notes, policy or Policy(), now_ns=NOW, volume="home-me", curator=curator)  # type: ignore[arg-type]


def short(plan: Plan) -> list[tuple[str, str, list[str]]]:
    return [(action.do, action.cause, [seen.path for seen in action.files]) for action in plan.actions]


# ---- duplicates ---------------------------------------------------------------------------------------------


def test_what_differs_in_marks_alone_is_merged() -> None:
    first = made("notes/a.md", f"# Billing\n\n{LONG}", days=9)
    second = made(
        "notes/b.md", f"Billing\n=======\n\n*{LONG.strip()}*\n\n".replace("*The", "The").replace(".*", ".  ")
    )
    plan = planned(first, second)
    assert short(plan) == [("merge", "duplicate", ["notes/a.md", "notes/b.md"])]
    assert plan.actions[0].files[0].sha256 == first.sha256


def test_the_one_that_says_more_stays_when_what_it_adds_is_harmless() -> None:
    plan = planned(made("a.md", LONG), made("b.md", f"{LONG}\n- also look at the dashboards of the gateway\n"))
    assert short(plan) == [("merge", "duplicate", ["b.md", "a.md"])]


CHANGES = [
    ("every night", "every 2nd night"),
    ("in the morning", "in the evening"),
    ("is on call looks", "is on call never looks"),
    ("The billing", "The shipping"),
    ("mail gateway", "Mailgun gateway"),
    ("Failed ones are", "Failed ones are not"),
    ("a short check", "a short check on 2026-01-02"),
    ("whoever is on call", "Alice"),
    ("by hand", "by console"),
    ("sends its invoices every night through the mail gateway", "through the mail gateway sends its invoices"),
]


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=[new for _, new in CHANGES])
def test_what_differs_in_a_word_is_shown_and_not_merged(old: str, new: str) -> None:
    assert old in LONG
    body = LONG * 2  # alike enough for every change
    plan = planned(made("a.md", body), made("b.md", body.replace(old, new, 1)), policy=Policy(similarity=0.5))
    assert [(action.do, action.cause) for action in plan.actions] == [("look", "differ")]


@pytest.mark.parametrize(
    "addition",
    [
        "It costs 3000 euro.",
        "This is no longer true.",
        "That is what Alice says.",
        "Gilt nicht mehr.",
        "昨日変更した",
        "2026-01-02",
    ],
)
def test_an_addition_that_could_turn_it_is_not_merged(addition: str) -> None:
    plan = planned(made("a.md", LONG), made("b.md", f"{LONG}\n{addition}\n"))
    assert [action.do for action in plan.actions] == ["look"]


def test_what_stands_around_the_text_keeps_notes_apart() -> None:
    body = f"# Status\n\n{LONG}"
    for one, other in (
        (made("daily/2026-01-01.md", body), made("daily/2026-01-02.md", body)),
        (made("alice.md", "Likes tea.\n"), made("bob.md", "Likes tea.\n")),
        (made("chapter-1.md", body), made("chapter-12.md", body)),
        (made("people/alice.md", body), made("people/bob.md", body)),
        (made("projects/x/status.md", body), made("projects/yz/status.md", body)),
        (made("a.md", f"---\ncustomer: ACME\n---\n{body}"), made("b.md", f"---\ncustomer: Initech\n---\n{body}")),
        (made("a.md", f"---\ntype: decision\n---\n{body}"), made("b.md", f"---\ntype: log\n---\n{body}")),
        (made("a.md", f"---\ntitle: Alice\n---\n{body}"), made("b.md", f"---\ntitle: Bob\n---\n{body}")),
        (made("a.md", f"---\ndate: 2026-01-01\n---\n{body}"), made("b.md", f"---\ndate: 2026-01-02\n---\n{body}")),
    ):
        assert [action.do for action in planned(one, other).actions] == ["look"], one.path


def test_a_copy_is_a_copy() -> None:
    for name in ("tea (1).md", "tea copy.md", "tea-2.md", "tea_copy.md"):
        plan = planned(made("tea.md", "Likes tea.\n", days=3), made(name, "Likes tea.\n", days=2))
        assert short(plan) == [("merge", "duplicate", ["tea.md", name])]


def test_a_name_says_nothing_where_the_text_says_it_all() -> None:
    for one, other, text in (
        ("dark-mode.md", "prefs/theme.md", "User prefers dark mode.\n"),
        ("one.md", "two.md", "hello world"),
        ("note1.md", "note-17.md", "hello world"),
        ("inbox/tea.md", "tea.md", "Likes tea.\n"),
        ("notes/dark-mode.md", "memories/2026-02/editors.md", "Dark mode in all editors, please.\n"),
    ):
        assert [action.do for action in planned(made(one, text), made(other, text)).actions] == ["merge"], one


def test_the_pinned_and_the_linked_stay() -> None:
    pinned = made("z.md", f"---\npinned: true\n---\n{LONG}")
    assert planned(made("a.md", LONG), pinned).actions[0].files[0].path == "z.md"
    linking = made("index.md", "See [[z]].\n")
    assert planned(made("a.md", LONG), made("z.md", LONG), linking).actions[0].files[0].path == "z.md"
    more = made("b.md", f"{LONG}\n- and more of it\n")
    assert [action.do for action in planned(pinned, more).actions] == ["look"]


def test_many_are_merged_into_one() -> None:
    notes = [made(f"inbox/{name}.md", LONG, days=number) for number, name in enumerate(("x", "y", "z"), 1)]
    plan = planned(*notes, made("more.md", f"{LONG}\n- and look at the dashboards\n"))
    assert short(plan) == [("merge", "duplicate", ["more.md", "inbox/z.md", "inbox/y.md", "inbox/x.md"])]


def test_what_is_no_note_is_not_looked_at() -> None:
    assert note("a.py", b"print()\n", {}, mtime_ns=0) is None
    assert note("a.md", b"\0\1", {}, mtime_ns=0) is None
    assert not is_curated("archive/a.md")
    assert not is_curated("x/.hidden/a.md")
    assert not is_curated("a.conflict-me-20260101T000000Z.md")
    assert is_curated("x/archive/a.md")
    assert short(planned(made("a.md", ""), made("b.md", "\n"))) == []


words = st.sampled_from(["alpha", "beta", "gamma", "not", "3", "the", "a", "Berlin", "tea", "über", "茶"])
texts = st.lists(words, min_size=1, max_size=40).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=2, max_size=6))
def test_whatever_is_merged_says_all_that_the_others_said(bodies: Sequence[str]) -> None:
    notes = {f"{name}.md": body + "\n" for name, body in zip("abcdef", bodies, strict=False)}
    plan = planned(*(made(path, body) for path, body in notes.items()), policy=Policy(similarity=0.3))
    for action in plan.actions:
        if action.do == "merge":
            first, *others = [notes[seen.path] for seen in action.files]
            for other in others:
                assert [word for word in other.split() if word in ("not", "3", "Berlin", "茶")] == [
                    word for word in first.split() if word in ("not", "3", "Berlin", "茶")
                ]
                assert additions(sentences(other), sentences(first)) is not None


@settings(max_examples=20, deadline=None)
@given(st.lists(texts, min_size=2, max_size=6), st.randoms())
def test_a_plan_does_not_depend_on_the_order_of_the_notes(bodies: Sequence[str], chance: random.Random) -> None:
    notes = [made(f"{name}.md", body) for name, body in zip("abcdef", bodies, strict=False)]
    mixed = list(notes)
    chance.shuffle(mixed)
    assert planned(*notes) == planned(*mixed)


# ---- likeness -----------------------------------------------------------------------------------------------


def test_pairs_are_found_as_by_comparing_all() -> None:
    chance = random.Random(7)
    vocabulary = [f"w{number}" for number in range(300)]
    notes = [[" ".join(chance.choices(vocabulary, k=60))] for _ in range(60)]
    for at in range(0, 60, 3):  # every third one is a neighbour with some words changed
        changed = notes[at][0].split()
        for _ in range(chance.randrange(4)):
            changed[chance.randrange(60)] = "changed"
        notes[at + 1] = [" ".join(changed)]

    def threes(text: Sequence[str]) -> set[tuple[str, ...]]:
        words = text[0].split()
        return set(itertools.pairwise(itertools.pairwise(words)))  # type: ignore[arg-type]

    expected = set()
    for one, other in itertools.combinations(range(60), 2):
        both, either = threes(notes[one]) & threes(notes[other]), threes(notes[one]) | threes(notes[other])
        if len(both) >= 0.8 * len(either):
            expected.add((one, other))
    assert {(pair.one, pair.other) for pair in alike(notes, least=0.8)} == expected
    assert len(expected) > 10


def test_many_that_are_all_alike_do_not_take_all_pairs() -> None:
    notes = [["the same sentence in every one of them, word for word", f"and then {at}"] for at in range(2000)]
    assert len(alike(notes, least=0.5)) < 20 * len(notes)


# ---- sentences ----------------------------------------------------------------------------------------------


def test_what_counts_as_the_same_sentence() -> None:
    assert compared("- The *user* likes tea!") == compared("user likes the tea.")
    for one, other in (
        ("likes tea", "likes Tea"),
        ("it is -5 degrees", "it is 5 degrees"),
        ("- [x] pay", "- [ ] pay"),
        ("Alice agrees?", "Alice agrees."),
        ("tea over coffee", "coffee over tea"),
        ("3.5 million", "3,5 million"),
        ("| 100 | |", "| | 100 |"),
    ):
        assert sentences(one) != sentences(other)
    assert sentences("One. Two!\n\n```\nif x:\n    y\n```\n# Three") == [
        "one",
        "two",
        "```",
        "if x:",
        "    y",
        "```",
        "three",
    ]
    assert is_harmless("see the dashboards")
    assert not is_harmless("see Grafana")


# ---- superseded ---------------------------------------------------------------------------------------------


def test_a_newer_note_that_says_so_supersedes() -> None:
    old = made("plan.md", "# Plan\n\nWe use MySQL.\n", days=30)
    for text in (
        "---\nsupersedes: plan.md\n---\nWe use PostgreSQL.\n",
        "---\nsupersedes: ['[[plan]]']\n---\nWe use PostgreSQL.\n",
        "This supersedes [[plan]]: we use PostgreSQL.\n",
        "Replaces `plan.md`.\n",
    ):
        plan = planned(old, made("other.md", text))
        assert short(plan) == [("archive", "superseded", ["plan.md", "other.md"])]
        assert plan.actions[0].to == "archive/plan.md"
        assert plan.actions[0].facts == {"superseded_by": "other.md"}
    for text in (
        "This does not mean that it supersedes [[plan]].\n",
        "The script replaces `plan.md` by its output.\n",
        "plan.md is not superseded by [[plan]].\n",
    ):
        assert short(planned(old, made("other.md", text))) == []
    said = planned(made("plan.md", "Superseded by [[new]].\n"), made("new.md", "We use PostgreSQL.\n"))
    assert short(said) == [("archive", "superseded", ["plan.md", "new.md"])]


def test_a_newer_note_with_the_same_title_may_say_so_without_a_name() -> None:
    old = made("stack.md", "# Tech stack\n\nWe use MySQL.\n", days=30)
    text = "# Tech stack\n\nWe use PostgreSQL. This supersedes the earlier decision.\n"
    assert short(planned(old, made("stack-2026.md", text))) == [
        ("archive", "superseded", ["stack.md", "stack-2026.md"])
    ]
    assert short(planned(old, made("stack-2026.md", text.replace("supersedes", "never supersedes")))) == []
    assert short(planned(old, made("stack-2026.md", text.replace("stack", "costs")))) == []
    assert short(planned(old, made("stack-2026.md", text, days=40))) == []


def test_a_newer_note_with_the_same_title_and_points_supersedes() -> None:
    old = "# Budget\n\nOwner: Alice\nCeiling: 3000\nTravel is booked by the office.\n"
    new = "# Budget\n\n- **Owner:** Alice\n- Ceiling: 4500\n- Travel is booked by the office.\n- Hotels are extra.\n"
    plan = planned(made("memories/2026-01/budget.md", old, days=40), made("memories/2026-02/budget.md", new))
    assert short(plan) == [("archive", "superseded", ["memories/2026-01/budget.md", "memories/2026-02/budget.md"])]
    lacking = new.replace("- Travel is booked by the office.\n", "")
    assert short(planned(made("a.md", old, days=40), made("b.md", lacking))) == []


def test_a_series_is_not_superseded() -> None:
    text = "# Standup\n\nYesterday: {0}\nToday: {0}{0}\nBlockers: none\n"
    assert short(planned(*(made(f"{name}.md", text.format(name), days=at) for at, name in enumerate("pq")))) == []
    same = "# Standup\n\nAll is well with the release of the tool.\n"
    days = [made(f"2026-01-0{at}.md", same + f"\nDay {at}.\n", days=9 - at) for at in range(1, 4)]
    assert not [it for it in planned(*days).actions if it.do != "look"]


def test_notes_that_supersede_each_other_do_not_both_go() -> None:
    plan = planned(
        made("a.md", "---\nsupersedes: b.md\n---\nOne.\n"), made("b.md", "---\nsupersedes: a.md\n---\nTwo.\n")
    )
    assert len(plan.actions) == 1


def test_a_chain_leads_to_what_stays() -> None:
    chain = [made(f"{name}.md", f"# T\n\nWe do it like this.\n{'More of it. ' * at}\n", days=9 - at)
             for at, name in enumerate("abc")]  # fmt: skip
    plan = planned(*chain)
    gone = {path for action in plan.actions for path in action.changes if action.do != "merge"}
    gone |= {seen.path for action in plan.actions if action.do == "merge" for seen in action.files[1:]}
    assert gone == {"a.md", "b.md"} or gone == {"a.md"}


# ---- what time does -----------------------------------------------------------------------------------------


def test_stale_notes_are_archived_but_not_what_matters() -> None:
    policy = Policy()
    old = {"days": 800}
    stale = made("old.md", "Something that once was.\n", **old)
    assert short(planned(stale)) == [("archive", "stale", ["old.md"])]
    for text, path in (
        ("---\nimportance: 1\n---\nSomething.\n", "a.md"),
        ("---\npinned: true\n---\nSomething.\n", "a.md"),
        ("---\ntype: instruction\n---\nSomething.\n", "a.md"),
        ("Something.\n", "README.md"),
        ("Something.\n", "projects/AGENTS.md"),
    ):
        assert "stale" not in [action.cause for action in planned(made(path, text, **old)).actions]
    assert short(planned(made("new.md", "Something.\n", days=179), policy=policy)) == []
    assert short(planned(stale, made("fresh.md", "See [[old]].\n"))) == []


def test_importance_is_halved_in_a_half_life_and_only_once() -> None:
    policy = Policy(half_life_ns=100 * DAY, stale_after_ns=900 * DAY)
    text = "---\nimportance: 0.8\n---\nSomething.\n"
    one = made("a.md", text, days=100)
    assert importance(one, policy.half_life_ns, NOW) == pytest.approx(0.4)
    [action] = planned(one, policy=policy).actions
    assert (action.do, action.facts["importance"]) == ("facts", 0.4)
    said = str(action.facts["importance_at"])
    again = made("a.md", f"---\nimportance: 0.4\nimportance_at: {said}\n---\nSomething.\n", days=100)
    assert short(planned(again, policy=policy)) == []
    later = propose([again], policy, now_ns=NOW + 100 * DAY)
    assert later.actions[0].facts["importance"] == 0.2
    assert short(planned(made("p.md", f"---\npinned: true\n{text[4:]}", days=100), policy=policy)) == []


def test_what_has_expired_is_not_there_and_what_will_is_told() -> None:
    soon = made("soon.md", "---\nttl: 3d\n---\nSomething.\n", days=1)
    gone = made("gone.md", "---\nttl: 3d\n---\nSomething.\n", days=5)
    plan = planned(soon, gone)
    assert plan.notes == 1
    assert short(plan) == [("look", "expires", ["soon.md"])]
    assert "2 days" in plan.actions[0].why


# ---- curators -----------------------------------------------------------------------------------------------


class Rules:
    def __init__(self, *actions: Action) -> None:
        self.actions = actions

    def propose(self, notes: Sequence[Note], now_ns: int) -> Iterable[Action]:
        assert now_ns == NOW
        assert [it.path for it in notes] == sorted(it.path for it in notes)
        return self.actions


def test_a_curator_is_part_of_the_plan() -> None:
    notes = [made("a.md", "Likes tea.\n"), made("b.md", "Drinks tea.\n")]
    merge = Action("merge", "summary", "one\nthing", (Seen("a.md"), Seen("b.md")), text="Tea.\n")
    plan = planned(*notes, curator=Rules(merge))
    assert short(plan) == [("merge", "summary", ["a.md", "b.md"])]
    assert plan.actions[0].files[1].sha256 == notes[1].sha256
    assert plan.actions[0].why == "one thing"
    archive = planned(*notes, curator=Rules(Action("archive", "x", "why", (Seen("b.md"),))))
    assert archive.actions[0].to == "archive/b.md"
    for wrong in (
        Action("delete", "x", "why", (Seen("nothing.md"),)),
        Action("delete", "x", "why", (Seen("a.md", "00"),)),
        Action("merge", "x", "why", (Seen("a.md"),)),
    ):
        with pytest.raises(ValueError, match="curator"):
            planned(*notes, curator=Rules(wrong))


def test_no_file_is_in_two_actions() -> None:
    notes = [made("a.md", LONG, days=800), made("b.md", LONG, days=800)]
    plan = planned(*notes, curator=Rules(Action("delete", "x", "why", (Seen("b.md"),))))
    assert short(plan) == [("merge", "duplicate", ["a.md", "b.md"])]


# ---- the file -----------------------------------------------------------------------------------------------

paths = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=20)
hexes = st.text("0123456789abcdef", min_size=64, max_size=64)
actions = st.builds(
    Action,
    st.sampled_from(["merge", "archive", "delete", "facts"]),
    st.sampled_from(["duplicate", "x y", "# no"]),
    st.text(max_size=60),
    st.lists(st.builds(Seen, paths, hexes), min_size=2, max_size=4).map(tuple),
    to=paths,
    facts=st.dictionaries(st.sampled_from(["importance", "tags"]), st.one_of(st.floats(0, 1), paths), min_size=1),
    rest=st.sampled_from(["archive", "delete"]),
    text=st.none() | st.text(max_size=60),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(actions, max_size=3))
def test_a_plan_comes_back_from_its_file(some: Sequence[Action]) -> None:
    plan = Plan(
        NOW, "home-me", 12, tuple(dataclasses.replace(it, rest="archive") if it.do != "merge" else it for it in some)
    )
    assert curation_file.parsed(curation_file.as_markdown(plan)) == plan
    assert curation_file.parsed(json.dumps(curation_file.as_json(plan))) == plan


def test_no_name_of_a_file_makes_an_action() -> None:
    evil = 'a\n\n## [x] 9. Delete\n\n```json\n{"do": "delete", "files": [{"path": "b", "sha256": ""}]}\n```\n.md'
    for why in ("## [x] 3. more", evil):
        action = Action("archive", "x", why, (Seen(evil, "00"), Seen("b", "00")), "archive/a.md", {"x": evil})
        look = Action("look", "x", why, (Seen(evil, "00"),))
        plan = Plan(NOW, "home-me", 1, (action, look))
        assert curation_file.parsed(curation_file.as_markdown(plan)).actions == (action,)


def test_what_a_person_does_to_a_plan() -> None:
    plan = planned(made("a.md", "Once was.\n", days=800), made("b.md", "Also was.\n", days=800))
    text = curation_file.as_markdown(plan)
    assert [it.files[0].path for it in curation_file.parsed(text.replace("## [x] 1", "## [ ] 1")).actions] == ["b.md"]
    assert curation_file.parsed(text.replace('"archive/a.md"', '"old/a.md"')).actions[0].to == "old/a.md"
    start, end = text.index("## [x] 1"), text.index("## [x] 2")
    assert len(curation_file.parsed(text[:start] + text[end:]).actions) == 1
    for wrong, what in (
        ("hello", "not a curation plan"),
        (text.replace('"do": "archive"', '"do": "burn"', 1), "action 1: do is one of"),
        (text.replace('"do": "archive",', '"do": "archive"', 1), r"line \d+ is not JSON"),
        (text.replace('"agentfs_plan": 1', '"agentfs_plan": 2'), "this version"),
        (text.replace('"to": "archive/a.md"', '"to": 7'), "action 1: to is"),
    ):
        with pytest.raises(ValueError, match=what):
            curation_file.parsed(wrong)


# ---- uniting ------------------------------------------------------------------------------------------------


def joined(first: str, *others: str, name: bytes = b"x/a.md") -> str:
    found = united(name, [Part(text.encode(), NOW) for text in (first, *others)])
    assert found is not None
    return found.data.decode()


def test_a_union_has_everything_once() -> None:
    first = "---\ntitle: Tea\ntags: [a]\n---\n# Tea\n\n- likes green tea\n- drinks it at 4\n"
    other = "---\ntags: [b]\nimportance: 0.9\n---\n# Tea\n\n* Likes the green tea!\n* no milk\n"
    text = joined(first, other)
    assert text.count("green tea") == 1
    assert "no milk" in text
    assert "tags: [b, a]" in text
    assert "importance: 0.9" in text
    assert text.index("drinks") < text.index("no milk")
    assert joined(first, first) == first


def test_a_union_ends_when_the_last_one_would() -> None:
    first, other = "---\nttl: 3d\n---\nTea.\n", "---\nexpires: 2030-01-01\n---\nTea.\n"
    assert "2030-01-02" in joined(first, other)
    assert "ttl" not in joined(first, "Tea.\n")
    assert "expires" not in joined("Tea.\n", other)


def test_facts_that_the_file_cannot_hold_are_for_attributes() -> None:
    weighed = Part(b"Tea.\n", NOW, {b"user.agentfs.importance": b"0.9", b"user.agentfs.tags": b"x"})
    plain = united(b"a.txt", [Part(b"Tea.\n", NOW), weighed])
    assert plain is not None
    assert (plain.data, plain.facts) == (b"Tea.\n", {"importance": 0.9, "tags": ["x"]})
    marked = united(b"a.md", [Part(b"Tea.\n", NOW, {b"user.agentfs.importance": b"0.1"}), weighed])
    assert marked is not None
    assert (marked.data, marked.facts) == (
        b"---\nimportance: 0.9\ntags: [x]\n---\nTea.\n",
        {"importance": None, "tags": None},
    )


def test_code_stays_whole() -> None:
    first = "Run:\n\n```sh\nmake\ntest\n```\n"
    other = "Else:\n\n```sh\nmake\nclean\n```\n"
    text = joined(first, other)
    assert "```sh\nmake\ntest\n```" in text
    assert "```sh\nmake\nclean\n```" in text
    assert with_text(b"a.md", b"---\nt: 1\n---\nold\n", "new\n") == b"---\nt: 1\n---\nnew\n"


@settings(max_examples=40, deadline=None)
@given(texts, texts)
def test_every_sentence_of_a_union_is_of_one_of_them(one: str, other: str) -> None:
    text = joined(one + ".\n", other + ".\n")
    assert set(sentences(text)) == set(sentences(one + ".")) | set(sentences(other + "."))


def test_the_hash_of_a_note_is_of_its_bytes() -> None:
    assert made("a.md", "x\n").sha256 == hashlib.sha256(b"x\n").hexdigest()


def test_a_note_has_the_facts_of_its_document() -> None:
    for text in (
        "---\ntags: [a]\nttl: 3d\n---\n# Title\n\nText #tag and [[link]].\n\n```\n# no #code [[x]]\n```\n",
        "Title\n=====\n\n~~~\n#x\n~~~\n[y](z.md)\n",
        "---\nbroken: [\n---\ntext\n",
    ):
        found = document(b"a.md", text.encode(), {}, mtime_ns=NOW - DAY)
        assert found is not None
        assert made("a.md", text).facts == found.facts
    assert note("a.md", b"caf\xe9 au lait, tr\xe8s bien", {}, mtime_ns=0) is None
