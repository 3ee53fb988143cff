"""Names on the store, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfs.errors import AgentIdInvalid, Corrupt
from agentfs.format import layout

PREFIX = ".agentfs/volumes/home-a/"
sequences = st.integers(1, (1 << 39) - 1)


def test_names() -> None:
    assert layout.volume_prefix("home", "a") == PREFIX
    assert layout.volume_name("space", "team.x") == "space-team.x"
    assert layout.log_name(PREFIX, 12) == PREFIX + "log/0000000000000012"
    assert layout.snapshot_name(PREFIX, 12) == PREFIX + "snapshots/9999999999999987"
    assert layout.blob_name(PREFIX, b"\xab" * 32) == PREFIX + "blobs/ab/" + "ab" * 32
    assert layout.STORE_FILE == ".agentfs/store.json"


@given(sequences, sequences)
def test_numbers_go_both_ways_and_sort(one: int, two: int) -> None:
    assert layout.parse_log_name(PREFIX, layout.log_name(PREFIX, one)) == one
    assert layout.parse_snapshot_name(PREFIX, layout.snapshot_name(PREFIX, one)) == one
    assert (layout.log_name(PREFIX, one) < layout.log_name(PREFIX, two)) == (one < two)
    assert (layout.snapshot_name(PREFIX, one) < layout.snapshot_name(PREFIX, two)) == (one > two)


@given(st.binary(min_size=32, max_size=32))
def test_blobs_go_both_ways(digest: bytes) -> None:
    assert layout.parse_blob_name(PREFIX, layout.blob_name(PREFIX, digest)) == (digest, 0)


@pytest.mark.parametrize(("kind", "volume_id"), [("home", "a-b"), ("space", "x.y_z")])
def test_volumes_go_both_ways(kind: layout.VolumeKind, volume_id: str) -> None:
    assert layout.parse_volume_name(layout.volume_name(kind, volume_id)) == (kind, volume_id)


@pytest.mark.parametrize(
    "name", ["log/12", "log/000000000000001x", "log/0000000000000000", "snapshots/0000000000000001", "log/", ""]
)
def test_what_is_not_an_entry(name: str) -> None:
    with pytest.raises(Corrupt):
        layout.parse_log_name(PREFIX, PREFIX + name)
    with pytest.raises(Corrupt):
        layout.parse_log_name(PREFIX, name)


@pytest.mark.parametrize("name", ["ab/" + "cd" * 32, "ab/" + "AB" * 32, "ab/ab", "ab" * 32])
def test_what_is_not_a_blob(name: str) -> None:
    with pytest.raises(Corrupt):
        layout.parse_blob_name(PREFIX, PREFIX + "blobs/" + name)


@pytest.mark.parametrize("name", ["home", "home-", "cave-a", "home-../x", "home-a/b", ""])
def test_what_is_not_a_volume(name: str) -> None:
    with pytest.raises(Corrupt):
        layout.parse_volume_name(name)


def test_what_cannot_be_named() -> None:
    with pytest.raises(AgentIdInvalid):
        layout.volume_name("home", "../etc")
    with pytest.raises(ValueError):
        layout.log_name(PREFIX, 0)
    with pytest.raises(ValueError):
        layout.blob_name(PREFIX, b"short")
