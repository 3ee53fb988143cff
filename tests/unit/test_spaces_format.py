"""The file that says that a space exists, its name, and where copies of spaces are."""

import json

import pytest

from agentfs.errors import AgentIdInvalid, Corrupt, NewerFormat
from agentfs.format.layout import parse_space_file_name, space_file_name
from agentfs.format.space_file import decode_space_file, encode_space_file, new_space_file
from agentfs.volume.places import is_replica_of, replica_directory
from agentfs.volume.spaces import space_of

NOW = 1_790_000_000 * 10**9


def test_there_and_back() -> None:
    file = new_space_file("team", "alice", NOW)
    assert decode_space_file(encode_space_file(file), space="team") == file
    assert json.loads(encode_space_file(file)) == {
        "agentfs": "space",
        "format": 1,
        "space": "team",
        "created": "2026-09-21T14:13:20Z",
        "author": "alice",
        "requires": [],
    }


@pytest.mark.parametrize(
    "change",
    [
        {"agentfs": "store"},
        {"space": "other"},
        {"format": 0},
        {"format": "1"},
        {"created": "yesterday"},
        {"author": "../alice"},
        {"author": None},
        {"requires": "nothing"},
    ],
)
def test_what_is_no_file_of_the_space(change: dict[str, object]) -> None:
    good = json.loads(encode_space_file(new_space_file("team", "alice", NOW)))
    with pytest.raises(Corrupt):
        decode_space_file(json.dumps(good | change).encode(), space="team")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"{}", b" " * 70_000])
def test_what_is_no_file_at_all(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_space_file(data, space="team")


@pytest.mark.parametrize("change", [{"format": 2}, {"requires": ["walls"]}])
def test_of_a_later_version(change: dict[str, object]) -> None:
    good = json.loads(encode_space_file(new_space_file("team", "alice", NOW)))
    with pytest.raises(NewerFormat, match="team"):
        decode_space_file(json.dumps(good | change).encode(), space="team")


def test_unknown_members_are_ignored() -> None:
    good = json.loads(encode_space_file(new_space_file("team", "alice", NOW)))
    assert decode_space_file(json.dumps(good | {"colour": "red"}).encode(), space="team").space == "team"


@pytest.mark.parametrize("space", ["", ".team", "a/b", "a..b", "x" * 128, "é"])
def test_names_that_are_refused(space: str) -> None:
    with pytest.raises(AgentIdInvalid):
        new_space_file(space, "alice", NOW)
    with pytest.raises(AgentIdInvalid):
        space_file_name(space)


def test_names_of_files() -> None:
    for space in ("team", "a.json", "json", "x" * 127):
        assert parse_space_file_name(space_file_name(space)) == space
    for name in (".agentfs/spaces/.json", ".agentfs/spaces/team", ".agentfs/spaces/a/b.json", "team.json", ""):
        with pytest.raises(Corrupt):
            parse_space_file_name(name)


@pytest.mark.parametrize(
    ("target", "space"),
    [
        (b"agentfs:space/team", "team"),
        (b"agentfs:space/", None),
        (b"agentfs:space/../home", None),
        (b"agentfs:space/a/b", None),
        (b"agentfs:space/\xff", None),
        (b"notes.md", None),
        (b"/agentfs:space/team", None),
    ],
)
def test_links(target: bytes, space: str | None) -> None:
    assert space_of(target) == space


def test_agents_of_one_machine_do_not_share_a_copy() -> None:
    store, longest = "file:///store", "x" * 127
    alice = replica_directory("/s", "space", "team", store, author="alice")
    bob = replica_directory("/s", "space", "team", store, author="bob")
    assert alice != bob
    name = alice.removeprefix("/s/volumes/")
    assert name.startswith("space-team@") and is_replica_of(name, "alice") and not is_replica_of(name, "bob")
    assert is_replica_of("home-alice@0123456789ab", "alice") and not is_replica_of("home-alice2@0123", "alice")
    long = replica_directory("/s", "space", longest, store, author=longest)
    assert len(long.removeprefix("/s/volumes/")) <= 255
    with pytest.raises(AgentIdInvalid):
        replica_directory("/s", "space", "team", store)
