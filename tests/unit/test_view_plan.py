"""What is to be put and deleted: a comparison, tried with every state that a view may be in."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfs.errors import Corrupt, InvalidArgument, NewerFormat
from agentfs.view.mark import Mark, decode, encode
from agentfs.view.plan import Steps, Wanted, steps
from agentfs.view.rules import Policy, Rule, Rules, checked_rule
from agentfs.view.shown import Shown

NAMES = ("a.md", "b.md", "c.txt", "d", "d/x.md")
Tree = dict[str, tuple[int, int]]
"""Name → file and content."""


def digest(content: int) -> bytes:
    return bytes([content]) * 32


def row(name: str, file: int, content: int, *, fronted: bool | None = None) -> Shown:
    block = name.endswith(".md") if fronted is None else fronted
    return Shown(name, file, 5, digest(content), "tag", 10 + 90 * block, 1, 0.0)


def possible(tree: Tree) -> bool:
    """A directory and a file of one name are not in one tree; a file has one content."""
    contents: dict[int, int] = {}
    return not {"d", "d/x.md"} <= tree.keys() and all(
        contents.setdefault(file, content) == content for file, content in tree.values()
    )


trees = st.dictionaries(st.sampled_from(NAMES), st.tuples(st.integers(1, 3), st.integers(0, 2))).filter(possible)
views = st.dictionaries(st.sampled_from(NAMES), st.tuples(st.integers(1, 4), st.integers(0, 2)))


def planned(tree: Tree, view: Tree, due: set[int], held: set[str]) -> Steps:
    wanted = []
    for file in due:
        mine: dict[str, Policy] = {name: "block" for name, (owner, _) in tree.items() if owner == file}
        content = next((content for owner, content in tree.values() if owner == file), 0)
        wanted.append(Wanted(file, digest(content), 10, 0, mine))
    names = {name for it in wanted for name in it.names}
    rows = [row(name, *shows) for name, shows in view.items() if shows[0] in due or name in names]
    return steps(wanted, rows, {name: owner for name, (owner, _) in tree.items()}, held)


def done(plan: Steps, tree: Tree, view: Tree) -> Tree:
    """What the view is afterwards. A store that cannot have a file and a directory of one name refuses."""
    after = dict(view)
    for step in plan.first:
        del after[step.row.name]
    for put in plan.puts:
        assert not any(put.name.startswith(f"{it}/") or it.startswith(f"{put.name}/") for it in after)
        after[put.name] = tree[put.name]
    for step in plan.deletes:
        del after[step.row.name]
    return after


@given(trees, views.filter(possible), st.sets(st.sampled_from(NAMES), max_size=1))
def test_when_all_is_due_the_view_becomes_the_tree(tree: Tree, view: Tree, held: set[str]) -> None:
    due = {file for file, _ in (*tree.values(), *view.values())}
    if any("d" in name for name in held):  # what is held stays in the way
        held = set()
    plan = planned(tree, view, due, held)
    after = done(plan, tree, view)
    assert not plan.again
    for name in {*tree, *view}:
        if name in held:
            assert after.get(name) == view.get(name)
        else:
            assert after.get(name) == tree.get(name)
    touched = {put.name for put in plan.puts if not put.if_fronted} | {it.row.name for it in plan.deletes}
    assert not {name for name in touched if tree.get(name) == view.get(name)}


@given(trees, views.filter(possible), st.sets(st.integers(1, 4)))
def test_whatever_is_due_first_it_ends_well(tree: Tree, view: Tree, due: set[int]) -> None:
    """A round in which some files are due never deletes what another file is to have; what it finds out makes the
    next one right."""
    changed = {
        shows[0] for name in {*tree, *view} for shows in (tree.get(name), view.get(name))
        if shows is not None and tree.get(name) != view.get(name)
    }  # fmt: skip
    for begun in (due & changed, changed):
        now = begun
        while now:
            plan = planned(tree, view, now, set())
            assert not [it for it in (*plan.first, *plan.deletes) if it.row.name in tree]
            left = view.keys() - {step.row.name for step in plan.first}
            if any(
                it.startswith(f"{put.name}/") or put.name.startswith(f"{it}/") for put in plan.puts for it in left
            ):
                now = set(changed)  # the store refuses, and it is tried again
                continue
            view = done(plan, tree, view)
            now = set(plan.again)
    assert view == tree


def test_what_the_object_looks_like_counts() -> None:
    wanted = Wanted(1, digest(1), 10, 0, {"a.md": "block"})
    assert steps([wanted], [row("a.md", 1, 1)], {"a.md": 1}, ()).puts == ()
    (maybe,) = steps([wanted], [row("a.md", 1, 1, fronted=False)], {"a.md": 1}, ()).puts
    assert maybe.if_fronted
    plain = replace(wanted, names={"a.md": "plain"})
    assert steps([plain], [row("a.md", 1, 1, fronted=False)], {"a.md": 1}, ()).puts == ()
    (put,) = steps([plain], [row("a.md", 1, 1)], {"a.md": 1}, ()).puts
    assert not put.if_fronted
    newer = replace(wanted, sequence=6)
    assert len(steps([newer], [row("a.md", 1, 1)], {"a.md": 1}, ()).puts) == 1
    assert steps([newer], [replace(row("a.md", 1, 1), sequence=7)], {"a.md": 1}, ()).puts == ()


def test_the_last_rule_that_matches_counts() -> None:
    rules = Rules(
        [Rule("*.log", "none"), Rule("keep.log", "block"), Rule("drafts/", "plain"), Rule("a/b.md", "none")]
    )
    found = {path: rules.policy(path) for path in (b"x.log", b"keep.log", b"drafts/c/x.md", b"a/b.md", b"c/a/b.md")}
    assert list(found.values()) == ["none", "block", "plain", "none", "block"]
    for pattern, policy in (("", "none"), ("!x", "none"), ("x", "all"), (7, "none"), ("a\nb", "plain")):
        with pytest.raises(InvalidArgument):
            checked_rule(pattern, policy)


def test_marks_are_read_or_refused() -> None:
    mark = Mark("home-a", 7, "k", "ann", "lazy", (Rule("*.md", "plain"),), "now", {"later": {"x": 1}})
    assert decode(encode(mark), volume="home-a") == mark
    with pytest.raises(NewerFormat):
        decode(encode(mark).replace(b'"format": 1', b'"format": 2'), volume="home-a")
    whole = encode(mark)
    damaged = [b"", b"[]", b"{}", whole[:-9]]
    changes = ((b'"lazy"', b'"often"'), (b'"through": 7', b'"through": true'), (b"*.md", b"!md"))
    damaged += [whole.replace(old, new) for old, new in changes]
    for data in damaged:
        with pytest.raises(Corrupt):
            decode(data, volume="home-a")
    with pytest.raises(Corrupt):
        decode(encode(mark), volume="home-b")
