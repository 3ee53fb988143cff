"""The decisions of a rebase: nothing of ours is dropped unless the log has the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfs.merge.conflict_names import conflict_name
from agentfs.merge.rebase import (
    Attributes,
    ContentChoice,
    NameChoice,
    NameFacts,
    Thing,
    collide,
    decide_content,
    decide_dentry,
    merge_attributes,
    mode_of_both,
)
from agentfs.model.names import check_name
from agentfs.model.records import Kind

inodes = st.one_of(st.none(), st.integers(2, 4))
things = st.builds(
    Thing,
    kind=st.sampled_from(list(Kind)),
    digest=st.one_of(st.none(), st.sampled_from([b"1" * 32, b"2" * 32])),
    target=st.sampled_from([None, b"a", b"b"]),
    rdev=st.integers(0, 1),
)
facts = st.builds(NameFacts, must_live=st.booleans(), moved_by_us=st.booleans(), ours=things, theirs=things)


@given(inodes, inodes, inodes, facts)
def test_what_only_we_changed_stays(base: int | None, ours: int | None, theirs: int | None, facts: NameFacts) -> None:
    choice = decide_dentry(base, ours, theirs, facts)
    if theirs == base and not facts.moved_by_us and ours is not None and ours != base:
        assert choice in (NameChoice.KEEP, collide(facts.ours, facts.theirs))  # type: ignore[arg-type]


@given(inodes, inodes, facts)
def test_what_only_they_changed_is_taken(base: int | None, theirs: int | None, facts: NameFacts) -> None:
    choice = decide_dentry(base, base, theirs, facts)
    if not facts.must_live and not facts.moved_by_us and theirs != base:
        assert choice is NameChoice.TAKE


@given(inodes, inodes, inodes, facts)
def test_ours_is_never_taken_away_unless_it_is_unchanged(
    base: int | None, ours: int | None, theirs: int | None, facts: NameFacts
) -> None:
    choice = decide_dentry(base, ours, theirs, facts)
    if choice is NameChoice.TAKE:
        assert ours is None or (ours == base and not facts.must_live)
    if choice is NameChoice.ONE:
        assert facts.ours is not None and facts.theirs is not None
        assert facts.ours.kind is facts.theirs.kind


@given(inodes, inodes, facts)
def test_equal_changes_meet(base: int | None, same: int | None, facts: NameFacts) -> None:
    if not facts.moved_by_us:
        assert decide_dentry(base, same, same, facts) is NameChoice.KEEP


@given(things, things)
def test_collisions_are_symmetric(one: Thing, other: Thing) -> None:
    assert collide(one, other) is collide(other, one)


@given(things)
def test_bytes_that_are_not_known_are_never_equal(thing: Thing) -> None:
    unknown = Thing(Kind.FILE, None)
    assert collide(unknown, thing) is NameChoice.ASIDE


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.one_of(st.none(), st.booleans()))
def test_pending_bytes_survive_any_change_of_the_log(
    changed: bool, pending: bool, write_open: bool, shown: bool, equal: bool | None
) -> None:
    choice = decide_content(changed_in_log=changed, pending=pending, write_open=write_open, shown=shown, equal=equal)
    if not changed:
        assert choice is ContentChoice.SAME
    elif shown and pending:
        assert choice is (ContentChoice.ADOPT if equal and not write_open else ContentChoice.SPLIT)
    elif write_open:
        assert choice is ContentChoice.DETACH


numbers = st.integers(0, 3)
attributes = st.builds(Attributes, mode=numbers, uid=numbers, gid=numbers, mtime_ns=numbers, ctime_ns=numbers)


@given(attributes, attributes, st.frozensets(st.sampled_from(["mode", "owner"])), st.booleans())
def test_attributes_are_merged_field_by_field(
    ours: Attributes, theirs: Attributes, changed: frozenset[str], times: bool
) -> None:
    merged = merge_attributes(ours, theirs, pending=True, ours_changed=changed, theirs_times=times).attributes
    assert merged.mode == (ours.mode if "mode" in changed else theirs.mode)
    assert (merged.uid, merged.gid) == ((ours.uid, ours.gid) if "owner" in changed else (theirs.uid, theirs.gid))
    assert (
        merge_attributes(ours, theirs, pending=False, ours_changed=changed, theirs_times=times).attributes == theirs
    )


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (0o644, 0o600, 0o600),
        (0o600, 0o644, 0o600),
        (0o755, 0o644, 0o755),
        (0o2755, 0o640, 0o2750),
        (0o644, 0o711, 0o600),
    ],
)
def test_what_was_made_twice_is_as_private_as_either(first: int, second: int, both: int) -> None:
    assert mode_of_both(first, second) == both


@given(
    st.binary(min_size=1, max_size=255).filter(
        lambda it: b"/" not in it and b"\0" not in it and it not in (b".", b"..")
    ),
    st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,60}", fullmatch=True),
    st.integers(0, 4_000_000_000 * 10**9),
)
def test_conflict_names_are_names_and_never_taken(name: bytes, agent: str, at_ns: int) -> None:
    taken: set[bytes] = {name}
    for _ in range(3):
        made = conflict_name(name, agent=agent, at_ns=at_ns, taken=taken.__contains__)
        assert made not in taken
        check_name(made)
        taken.add(made)


def test_conflict_names_read_well() -> None:
    at_ns = 1_769_860_800 * 10**9
    made = conflict_name(b"notes.md", agent="bob", at_ns=at_ns, taken=lambda _: False)
    assert made == b"notes.conflict-bob-20260131T120000Z.md"
    again = conflict_name(made, agent="bob", at_ns=at_ns, taken={made}.__contains__)
    assert again == b"notes.conflict-bob-20260131T120000Z-2.md"
    assert conflict_name(b".profile", agent="bob", at_ns=at_ns, taken=lambda _: False).startswith(
        b".profile.conflict-"
    )
    long = "é".encode() * 127
    conflict_name(long, agent="bob", at_ns=at_ns, taken=lambda _: False).decode()
