"""Pins: what they look like, how they are put beside collections, and what is left when somebody stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfs.errors import Corrupt, Exists, NotFound, StoreUnavailable, VersionGone
from agentfs.format.collection import (
    Announcement,
    BlobId,
    PolicyRecord,
    decode_announcement,
    decode_policy,
    encode_announcement,
    encode_policy,
)
from agentfs.format.layout import parse_pin_name, pin_name, snapshot_name
from agentfs.format.pin import Pin, decode_pin, encode_pin
from agentfs.log.announcements import Announcements
from agentfs.log.pins import Pins
from agentfs.model.retention import KEEP_ALL, Policy, parse_policy
from agentfs.stores.counted import CountedStore
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Store

VOLUME = "home-pinned"
PREFIX = ".agentfs/volumes/home-pinned/"
DIGEST = bytes(range(32))


def pin(name: str = "before-upgrade", *, sequence: int = 5, digest: bytes = DIGEST, key: int = 1) -> Pin:
    return Pin(VOLUME, key.to_bytes(16, "big"), "snapshot", name, sequence, digest, 1_767_225_600, "me", "why: tests")


def with_snapshot(*sequences: int) -> MemoryStore:
    store = MemoryStore()
    for sequence in sequences:
        store.put(snapshot_name(PREFIX, sequence), b"a snapshot")
    return store


def announce(store: Store, number: int, horizon: int) -> None:
    assert Announcements(store, VOLUME).put(Announcement(VOLUME, number, horizon, 1, "other", "30d"))


# ---- bytes ----------------------------------------------------------------------------------------------------


def test_a_pin_is_read_as_it_was_written() -> None:
    for held in (False, True):
        wanted = Pin(VOLUME, bytes(16), "fork", "home-experiment", 7, DIGEST, 1, "me", "ü" * 512, held)
        assert decode_pin(encode_pin(wanted), volume=VOLUME, kind="fork", name="home-experiment") == wanted


@pytest.mark.parametrize(
    "place", [("home-other", "snapshot", "a"), (VOLUME, "fork", "a"), (VOLUME, "snapshot", "b")], ids=str
)
def test_a_pin_in_another_place_is_refused(place: tuple[str, str, str]) -> None:
    volume, kind, name = place
    with pytest.raises(Corrupt, match="was not used"):
        decode_pin(encode_pin(pin("a")), volume=volume, kind=kind, name=name)  # type: ignore[arg-type]


@pytest.mark.parametrize("at", range(0, 200, 7))
def test_a_damaged_pin_is_refused(at: int) -> None:
    data = bytearray(encode_pin(pin("a")))
    data[at] ^= 1
    with pytest.raises(Corrupt):
        decode_pin(bytes(data), volume=VOLUME, kind="snapshot", name="a")


@pytest.mark.parametrize("bad", [pin("../x"), pin(sequence=0), pin(digest=b"x")], ids=str)
def test_an_illegal_pin_is_not_written(bad: Pin) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_pin(bad)


def test_names_of_pins() -> None:
    for kind, name in (("snapshot", "a.b"), ("fork", "home-x")):
        assert parse_pin_name(PREFIX, pin_name(PREFIX, kind, name)) == (kind, name)
    for name in ("snapshot/", "other/a", "a", "fork/a/b"):
        with pytest.raises(Corrupt):
            parse_pin_name(PREFIX, PREFIX + "pins/" + name)


def test_announcements_and_policies_are_read_as_they_were_written() -> None:
    blobs = (BlobId(bytes(32), 0), BlobId(bytes(32), 2), BlobId(DIGEST, 0))
    wanted = Announcement(VOLUME, 3, 17, 1, "me", "30d 10 versions", blobs, (bytes(32), DIGEST))
    assert decode_announcement(encode_announcement(wanted), volume=VOLUME, number=3) == wanted
    record = PolicyRecord(VOLUME, 2, "10 versions", "me", 5)
    assert decode_policy(encode_policy(record), volume=VOLUME, number=2) == record
    with pytest.raises(Corrupt):
        decode_announcement(encode_announcement(wanted), volume=VOLUME, number=4)
    with pytest.raises(Corrupt):
        decode_policy(encode_policy(record), volume="home-other", number=2)


@pytest.mark.parametrize(
    "bad",
    [
        Announcement(VOLUME, 1, 0, 1, "me", "30 days"),
        Announcement(VOLUME, 1, 0, 1, "me", "all", (BlobId(DIGEST, 1),)),
        Announcement(VOLUME, 1, 0, 1, "me", "all", (BlobId(DIGEST), BlobId(bytes(32)))),
        Announcement(VOLUME, 1, 0, 1, "me", "all", (), (DIGEST, DIGEST)),
        Announcement(VOLUME, 0, 0, 1, "me", "all"),
    ],
    ids=range(5),
)
def test_an_illegal_announcement_is_not_written(bad: Announcement) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_announcement(bad)


# ---- policies -------------------------------------------------------------------------------------------------

POLICIES = st.one_of(
    st.just(KEEP_ALL),
    st.builds(Policy, st.just(False), st.integers(1, 900), st.integers(0, 900)),
    st.builds(Policy, st.just(False), st.integers(0, 900), st.integers(1, 900)),
)


@given(POLICIES)
def test_a_policy_is_read_as_it_is_shown(policy: Policy) -> None:
    assert parse_policy(policy.text) == policy


@given(POLICIES, POLICIES)
def test_of_two_policies_the_one_that_keeps_more_counts(one: Policy, other: Policy) -> None:
    both = one | other
    assert both == other | one
    assert both.everything == (one.everything or other.everything)
    if not both.everything:
        assert both.days == max(one.days, other.days) and both.versions == max(one.versions, other.versions)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("all", "all"), ("30 days", "30d"), ("1 version", "1 versions"), ("30d, 5 versions", "30d 5 versions"),
     ("7d and 3 versions", "7d 3 versions"), (" 30d  10 versions ", "30d 10 versions")],
)  # fmt: skip
def test_ways_to_write_a_policy(text: str, shown: str) -> None:
    assert parse_policy(text).text == shown


@pytest.mark.parametrize(
    "text", ["", "none", "0d", "0 versions", "30", "d", "-1d", "30dx", "10 versions 30d", "99999d"]
)
def test_what_is_not_a_policy(text: str) -> None:
    with pytest.raises(ValueError, match=r"policy|can"):
        parse_policy(text)


# ---- putting ----------------------------------------------------------------------------------------------------


def test_a_pin_is_put_listed_and_deleted() -> None:
    pins = Pins(with_snapshot(5), VOLUME)
    held = pins.put(pin("a"))
    assert held.held
    assert pins.list() == pins.list("snapshot") == [held] == [pins.read("snapshot", "a")]
    assert pins.list("fork") == []
    with pytest.raises(Exists):
        pins.put(pin("a", key=2))
    pins.delete("snapshot", "a")
    assert pins.list() == []
    with pytest.raises(NotFound):
        pins.read("snapshot", "a")


def test_a_pin_costs_five_requests() -> None:
    store = CountedStore(with_snapshot(5))
    Pins(store, VOLUME).put(pin("a"))
    assert store.counts.requests == 5


def test_without_a_snapshot_nothing_is_pinned() -> None:
    pins = Pins(with_snapshot(4), VOLUME)
    with pytest.raises(Corrupt, match="no snapshot"):
        pins.put(pin("a"))
    assert pins.list() == []


def test_below_the_horizon_only_what_is_pinned_already_can_be_pinned() -> None:
    store = with_snapshot(5)
    pins = Pins(store, VOLUME)
    announce(store, 1, 5)
    pins.put(pin("a"))  # at the horizon the tree is still kept
    announce(store, 2, 6)
    pins.put(pin("b", key=2))
    with pytest.raises(VersionGone):
        pins.put(pin("c", digest=bytes(32), key=3))  # another history
    pins.delete("snapshot", "a")
    pins.delete("snapshot", "b")
    with pytest.raises(VersionGone):
        pins.put(pin("c", key=4))
    assert pins.list() == []


def test_a_collection_announced_while_a_pin_is_put_refuses_it() -> None:
    store = with_snapshot(5)

    def meanwhile(name: str) -> None:
        if name == "pin.put":
            announce(store, 1, 9)

    with pytest.raises(VersionGone):
        Pins(store, VOLUME, failpoint=meanwhile).put(pin("a"))
    assert Pins(store, VOLUME).list() == []


def test_a_pin_that_was_never_held_lends_no_hold() -> None:
    """What stopped between its put and its check may have been overlooked."""
    store = with_snapshot(5)

    def stop(name: str) -> None:
        if name == "pin.put":
            raise StoreUnavailable("stopped")

    with pytest.raises(StoreUnavailable):
        Pins(store, VOLUME, failpoint=stop).put(pin("a"))
    assert [it.held for it in Pins(store, VOLUME).list()] == [False]
    announce(store, 1, 9)
    with pytest.raises(VersionGone):
        Pins(store, VOLUME).put(pin("b", key=2))


def test_the_base_of_a_pin_must_stand_until_it_holds() -> None:
    store = with_snapshot(5)
    Pins(store, VOLUME).put(pin("a"))
    announce(store, 1, 9)

    def meanwhile(name: str) -> None:
        if name == "pin.put":
            Pins(store, VOLUME).delete("snapshot", "a")

    with pytest.raises(VersionGone):
        Pins(store, VOLUME, failpoint=meanwhile).put(pin("b", key=2))


def test_a_number_is_won_once() -> None:
    store = MemoryStore()
    chain = Announcements(store, VOLUME)
    mine = Announcement(VOLUME, 1, 4, 1, "me", "30d")
    assert chain.put(mine) and chain.put(mine)
    assert not chain.put(Announcement(VOLUME, 1, 5, 1, "me", "30d"))
    announce(store, 2, 6)
    assert chain.newest() == chain.read(2)
    assert [number for number, _ in chain.numbers()] == [2, 1]
    assert [number for number, _ in chain.numbers(above=1)] == [2]
    assert chain.put_policy(PolicyRecord(VOLUME, 1, "30d", "me", 1))
    assert not chain.put_policy(PolicyRecord(VOLUME, 1, "all", "me", 1))
    policy = chain.policy()
    assert policy is not None and policy.policy == "30d"
