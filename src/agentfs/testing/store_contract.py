"""The store contract as tests: bind a backend with a subclass that has a `store` fixture.

    class TestMemory(StoreContract):
        @pytest.fixture
        def store(self):
            return MemoryStore("contract")

The store must be empty, and only this test may use it. A second fixture, `plant`, puts objects as other programs do.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentfs.errors import (
    Corrupt,
    InvalidArgument,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    StoreError,
)
from agentfs.stores.names import encoded
from agentfs.stores.probe import probe
from agentfs.stores.protocol import Store

Plant = Callable[[str, bytes], None]
"""Puts an object as another program does, under any name."""
_ALL_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "/")


class StoreContract:
    """Every backend passes these, whatever it is made of."""

    keeps_attributes = True
    many = 30
    """How many objects are deleted at once."""
    odd_names: Sequence[str] = (
        f"odd/{_ALL_PRINTABLE}/end",
        *("odd/%2F", "odd/a+b", "odd/a b", "odd/..a", "odd/a..", "odd/.a", "odd/ ", "odd/#x?y=z&"),
        *(
            "odd/%41",
            "odd/%%é%C3%A9",
            "odd/~",
            "odd/*",
            "odd/ö/x",
            "odd/o\u0308/x",
            "odd/日本/🙂 ♥.md",
            "odd/\U0010fffd",
        ),
        *("odd/\u200fעברית\u202e.md", "odd/\ufb01", "odd/\u2028", "odd/\uff0f", "odd/A", "odd/a", "odd/.agentfs"),
    )
    foreign_names: Sequence[str] = (
        "a//b",
        "folder/",
        "//",
        "a/../b",
        "a/./b",
        "a/.",
        "a\nb",
        "a\x01b",
        "a\x7f",
        "a\\b",
    )
    """Names that other programs can give on this backend."""

    # ---- get and put ----

    @pytest.mark.parametrize("size", [0, 1, 1000, 300_000, 9_000_000])
    def test_what_is_put_is_what_is_got(self, store: Store, size: int) -> None:
        data = (bytes(range(256)) * (size // 256 + 1))[:size]
        store.put("dir/object", data)
        found = store.get("dir/object")
        assert (found.data, found.size_bytes) == (data, size)
        assert isinstance(found.data, bytes)

    def test_a_plain_put_replaces(self, store: Store) -> None:
        store.put("a", b"first, longer")
        store.put("a", b"second")
        assert store.get("a").data == b"second"
        assert [entry.size_bytes for entry in store.list("")] == [6]

    def test_a_missing_object_is_not_found(self, store: Store) -> None:
        store.put("dir/there", b"x")
        for name in ("missing", "dir", "dir/the", "dir/there/below"):
            with pytest.raises(ObjectNotFound):
                store.get(name)
            with pytest.raises(ObjectNotFound):
                store.get(name, start=0, length=0)

    @pytest.mark.parametrize(
        ("start", "length", "expected"),
        [
            *[(0, 3, b"012"), (3, 4, b"3456"), (9, 1, b"9"), (4, None, b"456789"), (0, 10, b"0123456789")],
            *[(0, 0, b""), (5, 0, b""), (10, 0, b""), (10, None, b"")],
        ],
    )
    def test_a_range_is_exact(self, store: Store, start: int, length: int | None, expected: bytes) -> None:
        store.put("a", b"0123456789")
        found = store.get("a", start=start, length=length)
        assert (found.data, found.size_bytes) == (expected, 10)

    @pytest.mark.parametrize(("start", "length"), [(0, 11), (9, 2), (10, 1), (11, None), (11, 0), (20, 5), (-1, 2)])
    def test_a_range_past_the_end_is_an_error(self, store: Store, start: int, length: int | None) -> None:
        store.put("a", b"0123456789")
        with pytest.raises(Corrupt):
            store.get("a", start=start, length=length)

    def test_ranges_of_an_empty_object(self, store: Store) -> None:
        store.put("a", b"")
        assert store.get("a", start=0, length=0).data == b""
        with pytest.raises(Corrupt):
            store.get("a", start=0, length=1)

    def test_times_are_the_stores_and_recent(self, store: Store) -> None:
        store.put("old", b"x")
        store.put("new", b"x")
        old, new = store.get("old").modified_at, store.get("new").modified_at
        assert old <= new < old + 60
        listed = {entry.name: entry.modified_at for entry in store.list("")}
        assert abs(listed["old"] - old) < 1.1, "S3 gives whole seconds in one place and milliseconds in another"

    def test_attributes_are_kept_or_dropped(self, store: Store) -> None:
        attributes = {"content-type": "text/markdown", "agentfs-sha256": "00ff", "agentfs-author": "an agent"}
        store.put("a", b"x", attributes=attributes)
        kept = store.get("a").attributes
        if self.keeps_attributes:
            assert {key: kept.get(key) for key in attributes} == attributes
        else:
            assert not kept

    # ---- create-only ----

    def test_create_only_refuses_an_existing_name(self, store: Store) -> None:
        store.put("a", b"first", create_only=True)
        with pytest.raises(ObjectExists):
            store.put("a", b"second", create_only=True)
        assert store.get("a").data == b"first"
        store.delete("a")
        store.put("a", b"third", create_only=True)
        assert store.get("a").data == b"third"

    def test_racing_create_only_puts_have_one_winner(self, store: Store) -> None:
        racers = 24
        with ThreadPoolExecutor(racers) as pool:
            for number in range(6):
                self._race(store, pool, racers, f"log/{number}")

    def _race(self, store: Store, pool: ThreadPoolExecutor, racers: int, name: str) -> None:
        barrier = threading.Barrier(racers)

        def racer(number: int) -> str:
            barrier.wait()
            try:
                store.put(name, b"racer %d" % number, create_only=True)
            except ObjectExists:
                return "lost"
            except OutcomeUnknown:
                return "unknown"
            return "won"

        outcomes = list(pool.map(racer, range(racers)))
        data = store.get(name).data
        winners = [b"racer %d" % number for number, outcome in enumerate(outcomes) if outcome == "won"]
        assert len(winners) <= 1
        assert data in (winners or [b"racer %d" % n for n, outcome in enumerate(outcomes) if outcome == "unknown"])

    # ---- delete ----

    def test_delete_removes_and_may_be_repeated(self, store: Store) -> None:
        store.put("dir/a", b"x")
        store.put("dir/b", b"y")
        store.delete("dir/a")
        store.delete("dir/a")
        store.delete("never/there")
        store.delete("dir/b/below")
        store.delete("dir")
        with pytest.raises(ObjectNotFound):
            store.get("dir/a")
        assert [entry.name for entry in store.list("")] == ["dir/b"]

    # ---- list ----

    def test_a_listing_is_in_byte_order_of_full_names(self, store: Store) -> None:
        names = ["B", "a b", "a-b", "a.b", "a/b", "a/b-c", "a/b.c", "a/b/c", "a/b/c-d/e", "a/b0", "a0", "aB/z", "b/a"]
        for name in reversed(names):
            store.put(name, name.encode())
        entries = store.list("")
        assert [entry.name for entry in entries] == sorted(names) == names
        assert [entry.size_bytes for entry in entries] == [len(name) for name in names]

    def test_a_listing_starts_after_any_string_and_stops_at_the_limit(self, store: Store) -> None:
        names = ["a", "a-b", "a/b", "a/b/c", "a0", "log/00", "log/01", "log/02", "log/10", "logs", "z"]
        for name in names:
            store.put(name, b"x")
        starts = ["", "a", "a-", "a/", "a/b", "a/b/", "a/b/b~", "a/zz", "log", "log/", "log/01", "log//", "zz", "~"]
        prefixes = [
            "",
            "a",
            "a/",
            "a/b",
            "a/b/",
            "l",
            "log/",
            "log/0",
            "log/00",
            "log/1",
            "logs",
            "q",
            "log/000",
            "0",
        ]
        for prefix in prefixes:
            for after in starts:
                for limit in (1, 2, 1000):
                    expected = [name for name in names if name.startswith(prefix) and name > after][:limit]
                    found = [entry.name for entry in store.list(prefix, after=after, limit=limit)]
                    assert found == expected, (prefix, after, limit)

    def test_an_object_beside_objects_below_its_name(self, store: Store) -> None:
        store.put("a", b"file")
        store.put("a/b", b"below")
        store.put("c/d", b"below")
        store.put("c", b"file", create_only=True)
        with pytest.raises(ObjectExists):
            store.put("a", b"again", create_only=True)
        with pytest.raises(ObjectExists):
            store.put("c", b"again", create_only=True)
        assert [(e.name, store.get(e.name).data) for e in store.list("")] == [
            ("a", b"file"),
            ("a/b", b"below"),
            ("c", b"file"),
            ("c/d", b"below"),
        ]
        store.put("a", b"replaced")
        assert store.get("a").data == b"replaced"
        store.delete("a")
        store.delete("c/d")
        assert [entry.name for entry in store.list("")] == ["a/b", "c"]
        store.delete("c")
        store.put("c", b"new", create_only=True)
        assert store.get("c").data == b"new"

    def test_listing_in_pages_sees_everything_once(self, store: Store) -> None:
        names = [f"many/{number:05d}" for number in range(1100)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: store.put(name, b"x"), names))
        assert [entry.name for entry in store.list("many/")] == names[:1000]
        assert [entry.name for entry in store.list("many/", after=names[999])] == names[1000:]
        assert [entry.name for entry in store.list("many/", limit=1100)] == names
        assert [entry.name for entry in store.list("many/010", limit=1000)] == names[1000:]

    # ---- names ----

    def test_every_character_may_be_in_a_name(self, store: Store) -> None:
        names = self.odd_names
        for each in names:
            store.put(each, each.encode(), create_only=True)
        assert [entry.name for entry in store.list("odd/")] == sorted(names)
        for each in names:
            assert store.get(each).data == each.encode()
            store.delete(each)
        assert not store.list("")

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "./a",
            "a/.",
            "a\0b",
            "a\nb",
            "a\x7f",
            "\x85",
            "\ud800",
            "\uffff",
            "é" * 513,
        ],
    )
    def test_other_names_are_refused_before_anything_is_sent(self, store: Store, name: str) -> None:
        for call in (store.get, store.delete, lambda name: store.put(name, b"x")):
            with pytest.raises(InvalidArgument):
                call(name)

    def test_the_length_of_a_name_is_in_bytes_with_the_root(self, store: Store) -> None:
        part = "ö" * 100 + "/"
        name = part * (store.name_bytes_max // 201)
        name += "x" * (store.name_bytes_max - len(name.encode()))
        assert len(name.encode()) == store.name_bytes_max <= 1024
        store.put(name, b"x")
        assert [entry.name for entry in store.list("", foreign=True)] == [name]
        for call in (store.get, store.head, store.delete, lambda name: store.put(name, b"x")):
            with pytest.raises((InvalidArgument, StoreError)):
                call(name + "x")

    # ---- what others put ----

    def test_names_of_others_are_listed_as_they_are(self, store: Store, plant: Plant) -> None:
        names = sorted(["view/ours.md", *(f"view/{name}" for name in self.foreign_names)], key=encoded)
        store.put("view/ours.md", b"ours")
        for name in names:
            if name != "view/ours.md":
                plant(name, b"foreign")
        found = store.list("view/", foreign=True)
        assert [entry.name for entry in found] == names
        assert {entry.size_bytes for entry in found if entry.name != "view/ours.md"} <= {7}
        one_by_one, after = [], ""
        while page := store.list("view/", after=after, limit=1, foreign=True):
            one_by_one.append(page[0].name)
            after = page[0].name
        assert one_by_one == names
        assert store.list("view/", foreign=True, limit=0) == store.list("nothing/", foreign=True) == []

    def test_names_of_others_are_no_names_of_ours(self, store: Store, plant: Plant) -> None:
        store.put("ours", b"x")
        for name in ("a\nb", "c/\x01"):
            if name in self.foreign_names:
                plant(name, b"foreign")
            for call in (store.get, store.head, store.delete, lambda name: store.delete_many([name])):
                with pytest.raises(InvalidArgument):
                    call(name)

    def test_both_listings_agree_on_names_of_ours(self, store: Store) -> None:
        for name in self.odd_names:
            store.put(name, name.encode())
        ours = [(entry.name, entry.size_bytes, entry.tag) for entry in store.list("")]
        assert [(entry.name, entry.size_bytes, entry.tag) for entry in store.list("", foreign=True)] == ours
        for prefix in ("odd/a", "odd/日", "o", "odd/%"):
            for after in ("", "odd/a", "odd/é", "odd/日本/🙂"):
                expected = [name for name, _, _ in ours if name.startswith(prefix) and name > after]
                for foreign in (True, False):
                    found = [entry.name for entry in store.list(prefix, after=after, foreign=foreign)]
                    assert found == expected, (prefix, after, foreign)

    # ---- versions ----

    def test_the_tag_is_the_same_wherever_it_is_told(self, store: Store) -> None:
        first = store.put("a", b"first")
        second = store.put("a", b"the second")
        listed, listed_all = store.list("a")[0], store.list("a", foreign=True)[0]
        tags = {second, store.get("a").tag, store.get("a", start=1, length=2).tag, store.head("a").tag}
        assert tags | {listed.tag, listed_all.tag} == {second}
        assert second and second != first and '"' not in second

    def test_a_head_is_a_get_without_the_bytes(self, store: Store) -> None:
        store.put(
            "dir/a", b"12345", attributes={"content-type": "text/markdown; charset=utf-8", "agentfs-version": "4"}
        )
        got, head = store.get("dir/a"), store.head("dir/a")
        assert (head.data, head.size_bytes, head.tag) == (b"", 5, got.tag)
        assert (head.attributes, head.modified_at) == (got.attributes, got.modified_at)
        for name in ("missing", "dir"):
            with pytest.raises(ObjectNotFound):
                store.head(name)

    def test_only_the_version_that_was_seen_is_replaced(self, store: Store, plant: Plant) -> None:
        attributes = {"content-type": "text/plain", "agentfs-version": "2"}
        first = store.put("dir/a", b"first")
        second = store.put("dir/a", b"second", replacing=first, attributes=attributes)
        assert (store.get("dir/a").data, store.head("dir/a").tag) == (b"second", second)
        if self.keeps_attributes:
            assert store.head("dir/a").attributes.items() >= attributes.items()
        with pytest.raises(ObjectChanged):
            store.put("dir/a", b"late", replacing=first)
        plant("dir/a", b"edited by another program")
        with pytest.raises(ObjectChanged):
            store.put("dir/a", b"late", replacing=second)
        edited = store.list("dir/")[0].tag
        assert store.get("dir/a").data == b"edited by another program"
        store.put("dir/a", b"merged", replacing=edited)
        store.delete("dir/a")
        with pytest.raises(ObjectChanged):
            store.put("dir/a", b"late", replacing=edited)
        for missing in ("dir/a", "never", "x/y/z"):
            with pytest.raises(ObjectChanged):
                store.put(missing, b"x", replacing=edited)
        assert not store.list("")

    def test_racing_replacements_have_one_winner(self, store: Store) -> None:
        """Each racer puts what names itself in the place of the same version."""
        tag, racers = store.put("a", b"first"), 12
        tag = store.put("a", b"second", replacing=tag)
        barrier = threading.Barrier(racers)

        def racer(number: int) -> bytes | None:
            barrier.wait()
            try:
                store.put("a", b"racer %d" % number, replacing=tag)
            except ObjectChanged:
                return None
            except OutcomeUnknown:
                return b""
            return b"racer %d" % number

        with ThreadPoolExecutor(racers) as pool:
            outcomes = list(pool.map(racer, range(racers)))
        winners = [outcome for outcome in outcomes if outcome]
        assert winners == [store.get("a").data] or (not winners and b"" in outcomes)

    # ---- many at once ----

    def test_many_are_deleted(self, store: Store) -> None:
        names = [f"many/{number:04}" for number in range(self.many)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: store.put(name, b"x"), [*names, *self.odd_names, "kept"]))
        store.delete_many([])
        store.delete_many([*names, *self.odd_names, "never/there", "kept/below", names[0]])
        assert [entry.name for entry in store.list("", foreign=True)] == ["kept"]
        store.delete_many(names[:3])
        store.delete_many(["kept"])
        assert not store.list("")

    # ---- the whole ----

    def test_the_probe_passes_and_leaves_nothing(self, store: Store) -> None:
        report = probe(store)
        assert [check for check in report.checks if not check.passed] == []
        report.raise_for_status()
        assert len(report.checks) >= 7
        assert not store.list("")

    def test_messages_name_the_store_and_no_secret(self, store: Store) -> None:
        with pytest.raises(ObjectNotFound) as caught:
            store.get("missing-object")
        assert "missing-object" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "://" in store.url
