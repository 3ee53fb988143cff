"""The words of search and recall on real mounts: asked, written to, and who may hear what."""

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from command import Machine, machine, processes_of, until
from mounted import can_mount, open_directory, refused

from agentfs.memory.tokens import default_counter

pytestmark = [pytest.mark.mount, pytest.mark.skipif(not can_mount(), reason="mounting needs root and /dev/fuse")]

SOMEBODY = 12345
"""A user who owns nothing."""
FRIENDS = 4242
"""A group."""
TEA = "# Tea\n\nGreen tea is steeped at eighty degrees for two minutes.\n"
RISK = "# NVDA\n\nThe risk of Nvidia is its dependence on one foundry in Taiwan.\n"
SECRET = "# Secret\n\nThe green tea is hidden behind the purple elephant.\n"


@pytest.fixture(scope="module")
def on() -> Iterator[Machine]:
    with open_directory() as root, machine(root, index=True) as made:
        yield made


@pytest.fixture(scope="module")
def home(on: Machine) -> Iterator[Path]:
    place = on.directory()
    on.ok("mount", str(place), "--allow-other")
    yield place
    on.ok("unmount", str(place))
    assert processes_of(on.root) == []


@pytest.fixture(scope="module")
def texts(home: Path) -> Path:
    (home / "food").mkdir()
    (home / "money").mkdir()
    (home / "food/tea.md").write_text(TEA)
    (home / "money/nvda.md").write_text(RISK)
    (home / "food/secret.md").write_text(SECRET)
    (home / "food/secret.md").chmod(0o600)
    return home


def shell(
    script: str, *arguments: object, user: int | None = None, groups: tuple[int, ...] = (), hand: int | None = None
) -> subprocess.CompletedProcess:
    """Run by bash, as somebody else if wanted, with the descriptor `hand`."""
    who = {} if user is None else {"user": user, "group": user, "extra_groups": groups}
    return subprocess.run(
        ["bash", "-c", script, "bash", *map(str, arguments)],
        capture_output=True,
        timeout=90,
        check=False,
        text=True,
        cwd="/",
        pass_fds=() if hand is None else (hand,),
        **who,
    )


def said(path: Path, *, user: int | None = None, groups: tuple[int, ...] = ()) -> str:
    done = shell('cat "$1"', path, user=user, groups=groups)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


# ---- facts of a file ----


def test_tags_are_written_by_a_shell(home: Path) -> None:
    note = home / "notes.md"
    note.write_text("# A note\n\nGreen tea.\n")
    done = shell('echo work > "$1:tags"', note)
    assert (done.returncode, done.stderr) == (0, "")
    assert note.read_text() == "---\ntags: [work]\n---\n# A note\n\nGreen tea.\n"
    assert os.stat(note).st_size == len(note.read_bytes())
    tags = home / "notes.md:tags"
    assert tags.read_text() == "work\n"
    assert shell('echo "+urgent -work" >> "$1"', tags).returncode == 0
    assert tags.read_text() == "urgent\n"
    tags.write_text("a, b\nc\n")
    assert tags.read_text() == "a\nb\nc\n"
    assert os.stat(tags).st_size == 6
    assert shell('printf "+d" | tee "$1"', tags).returncode == 0
    assert shell("cp /dev/stdin \"$1\" <<< '-a'", tags).returncode == 0
    assert tags.read_text() == "b\nc\nd\n"
    tags.write_text("none\n")
    assert tags.read_text() == ""
    assert note.read_text().endswith("# A note\n\nGreen tea.\n")


def test_what_says_nothing_changes_nothing(home: Path) -> None:
    note = home / "still.md"
    note.write_text("---\ntags: [a]\nimportance: 0.5 # much\n---\ntext\n")
    before = os.stat(note)
    open(home / "still.md:tags", "w").close()
    assert shell(': > "$1:tags"', note).returncode == 0
    (home / "still.md:tags").write_text("a")
    (home / "still.md:meta").write_text((home / "still.md:meta").read_text())
    assert os.stat(note) == before
    assert note.read_text() == "---\ntags: [a]\nimportance: 0.5 # much\n---\ntext\n"


def test_meta_reads_and_writes(home: Path) -> None:
    note = home / "meta.md"
    note.write_text("---\ntitle: One\ncolour: red\n---\nText.\n")
    meta = home / "meta.md:meta"
    assert 'title: "One"' in meta.read_text().splitlines()
    meta.write_text("importance: 0.9\ntype: decision\n")
    assert {"importance: 0.9", 'type: "decision"', 'title: "One"'} <= set(meta.read_text().splitlines())
    assert "colour: red\n" in note.read_text()
    meta.write_text('{"title": null, "tags": ["x", "y"], "pinned": true}')
    text = note.read_text()
    assert "title" not in text
    assert "tags: [x, y]\n" in text
    assert "pinned: true" in (home / "meta.md:meta").read_text().splitlines()
    with open(meta, "r+") as both:
        assert "importance: 0.9\n" in both.read()
        both.write("importance: 0.1\n")
    assert "importance: 0.1\n" in note.read_text()


def test_what_cannot_hold_facts_has_them_as_attributes(home: Path) -> None:
    photo = home / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\0\0")
    (home / "photo.jpg:tags").write_text("holiday, 日本")
    (home / "photo.jpg:meta").write_text("importance: 1")
    assert os.getxattr(photo, "user.agentfs.tags").decode() == '["holiday", "日本"]'
    assert photo.read_bytes() == b"\xff\xd8\0\0"
    assert (home / "photo.jpg:tags").read_text() == "holiday\n日本\n"
    assert "importance: 1.0" in (home / "photo.jpg:meta").read_text()
    (home / "photo.jpg:meta").write_text("importance: null\n")
    assert os.listxattr(photo) == ["user.agentfs.tags"]


def test_a_ttl_counts_from_now(home: Path) -> None:
    note = home / "old.md"
    note.write_text("old\n")
    os.utime(note, (1_000_000_000, 1_000_000_000))
    ttl = home / "old.md:ttl"
    assert ttl.read_text() == "none\n"
    assert shell('echo 7d > "$1"', ttl).returncode == 0
    assert "(in 6d 23h)" in ttl.read_text()
    assert "expires: 20" in note.read_text()
    ttl.write_text("none")
    assert ttl.read_text() == "none\n"
    assert "expires" not in note.read_text()


def test_what_is_refused_says_why(home: Path) -> None:
    note = home / "refused.md"
    note.write_text("text\n")
    for past in ("2020-01-01", "2020-01-01T10:00Z"):
        done = shell('echo "$2" > "$1:ttl"', note, past)
        assert done.returncode != 0
        assert f"'{past}' is past" in said(home / ":help")
    done = shell('echo soon > "$1:ttl"', note)
    assert done.returncode != 0
    assert "Invalid argument" in done.stderr
    assert "'soon' is no time to live" in said(home / ":help")
    with refused(errno.EINVAL):
        (home / "refused.md:meta").write_text("colour: green\n")
    done = shell('echo "importance: high" > "$1:meta"', note)
    assert done.returncode != 0
    assert "importance is a number from 0 to 1" in said(home / ":help")
    fd = os.open(home / "refused.md:meta", os.O_WRONLY)
    os.write(fd, b'{"colour": "green"}\n')  # JSON may go on: it is judged when it is whole
    with refused(errno.EINVAL):
        os.close(fd)
    assert "there is no fact 'colour'" in said(home / ":help")
    assert "colour" not in said(home / ":help", user=SOMEBODY)
    with refused(errno.EINVAL):
        (home / ":meta").read_text()
    for name in (":tags", "food:meta", "refused.md:links", "refused.md:history", ":stats"):
        with refused(errno.EROFS) if os.path.exists(home / name) else refused(errno.ENOENT):
            open(home / name, "r+").close()
    with refused(errno.EFBIG), open(home / "refused.md:tags", "wb", buffering=0) as raw:
        raw.write(bytes(200_000))
    assert note.read_text() == "text\n"


def test_a_handle_is_one_conversation(home: Path) -> None:
    (home / "talk.md").write_text("text\n")
    tags = home / "talk.md:tags"
    fd = os.open(tags, os.O_RDWR)
    os.write(fd, b"a")
    assert tags.read_text() == ""
    os.fsync(fd)
    assert tags.read_text() == "a\n"
    os.write(fd, b"never said")
    os.ftruncate(fd, 0)
    os.write(fd, b"b")
    assert os.pread(fd, 100, 0) == b"b\n"
    assert tags.read_text() == "b\n"
    os.close(os.dup(fd))
    os.write(fd, b"+c")
    os.close(os.dup(fd))
    assert tags.read_text() == "b\nc\n"
    os.write(fd, b"+d ")
    os.write(fd, b"+e")
    os.close(fd)
    assert tags.read_text().split() == ["b", "c", "d", "e"]
    with refused(errno.EROFS):
        os.truncate(tags, 0)
    with refused(errno.EROFS):
        os.utime(tags)


def test_of_a_file_that_goes(home: Path) -> None:
    note = home / "going.md"
    note.write_text("text\n")
    fd = os.open(home / "going.md:tags", os.O_WRONLY)
    os.write(fd, b"x")
    note.unlink()
    with refused(errno.ENOENT):
        os.close(fd)
    note.write_text("another\n")
    fd = os.open(home / "going.md:tags", os.O_WRONLY)
    os.rename(note, home / "gone.md")
    os.write(fd, b"moved")
    os.close(fd)
    assert "tags: [moved]" in (home / "gone.md").read_text()


def test_who_writes_is_not_disturbed(home: Path) -> None:
    note = home / "busy.md"
    note.write_text("one\n")
    with open(note, "r+") as writer:
        writer.seek(0, os.SEEK_END)
        writer.write("two\n")
        with refused(errno.EBUSY), open(home / "busy.md:tags", "w", buffering=1) as tags:
            tags.write("x\n")
    assert note.read_text() == "one\ntwo\n"
    (home / "busy.md:tags").write_text("x\n")
    assert note.read_text() == "---\ntags: [x]\n---\none\ntwo\n"


def test_no_edit_is_lost(home: Path) -> None:
    """Tags that several programs add, and lines that another one appends meanwhile."""
    note = home / "shared.md"
    note.write_text("first\n")
    add = 'for n in 1 2 3 4 5; do echo "+t$2$n" > "$1:tags" || exit 1; done'
    append = 'for n in $(seq 40); do echo "line $n" >> "$1" || exit 1; sleep 0.01; done'
    scripts = [(add, letter) for letter in "abcd"] + [(append, "")]
    running = [subprocess.Popen(["bash", "-c", script, "bash", note, letter]) for script, letter in scripts]
    assert [one.wait(60) for one in running] == [0] * len(running)
    tags = (home / "shared.md:tags").read_text().split()
    assert sorted(tags) == sorted(f"t{letter}{n}" for letter in "abcd" for n in range(1, 6))
    body = note.read_text().partition("---\n")[2].partition("---\n")[2].splitlines()
    assert body == ["first", *(f"line {n}" for n in range(1, 41))]


def test_who_may_not_write_the_file_may_not_write_its_facts(home: Path) -> None:
    note = home / "mine.md"
    note.write_text("text\n")
    note.chmod(0o644)
    assert shell('echo x > "$1:tags"', note, user=SOMEBODY).returncode != 0
    assert said(home / "mine.md:tags", user=SOMEBODY) == ""
    note.chmod(0o600)
    assert shell('cat "$1:meta"', note, user=SOMEBODY).returncode != 0
    os.chown(note, 0, FRIENDS)
    note.chmod(0o660)
    done = shell('echo theirs > "$1:tags" && cat "$1:tags"', note, user=SOMEBODY, groups=(FRIENDS,))
    assert (done.returncode, done.stdout) == (0, "theirs\n"), done
    assert shell('cat "$1:tags"', note, user=SOMEBODY).returncode != 0


# ---- recall and search ----


def test_recall_and_search_by_name(texts: Path) -> None:
    assert "eighty degrees" in said(texts / ":recall?query=how+is+green+tea+made")
    assert "Taiwan" in said(texts / ":recall?query=NVDA+risk&max_tokens=2000&strategy=relevance")
    assert "food/tea.md:" in said(texts / ":search?q=green+tea")
    for name in (
        ":search?green%20tea",
        "food/:search?q=green+tea",
        "food:search?query=green+tea",
        ":search?q=tea&path=food",
    ):
        assert "tea.md:" in said(texts / name)
    assert "tea.md" not in said(texts / "money/:search?q=green+tea")
    assert "tea.md" not in said(texts / ":search?q=green+tea&path=money")
    assert "Taiwan" not in said(texts / "food/:recall?q=risk+of+Nvidia")
    one = said(texts / ":search?q=green+tea&limit=1").splitlines()
    assert one[0].startswith("# 1 found")
    stats = said(texts / ":stats")
    assert "tokens" in stats
    counts = [dict(re.findall(r"(\w+): (.*)", it)) for it in (stats, said(texts / ":stats", user=SOMEBODY))]
    assert int(counts[0]["documents"]) > int(counts[1]["documents"]) > 0, "not of what they may not read"
    assert int(counts[0]["passages"]) > int(counts[1]["passages"])
    assert "on_disk" not in counts[1] and "size" not in counts[1] and "size" in counts[0]
    assert ":recall?query=" in said(texts / ":recall")


def test_a_budget_holds_for_all_that_is_read(texts: Path) -> None:
    counter = default_counter()
    for most in (0, 1, 7, 30, 60, 1000):
        assert counter.count((texts / f":recall?q=green+tea+risk&max_tokens={most}").read_text()) <= most
    least = (texts / ":recall?q=green+tea+risk&max_tokens=20").read_text()
    needs = re.fullmatch(r"The best passage needs (\d+) tokens: ask with more.\n", least)
    assert needs
    assert (texts / f":recall?q=green+tea+risk&max_tokens={needs[1]}").read_text().startswith("## ")
    # Which passage comes last depends on the vectors that are there already; its line ends, once.
    assert re.search(r"\S\n\Z", (texts / ":recall?q=green+tea").read_text())


def test_options_that_mean_nothing_are_refused(texts: Path) -> None:
    for options in ("max_tokens=many", "strategy=best", "since=v3", "colour=green", "path=..%2Fup", "limit=-1"):
        with refused(errno.EINVAL):
            (texts / f":recall?q=tea&{options}").read_text()
    assert "colour" in said(texts / ":help")


HOSTILE = [
    '"',
    "'",
    "NEAR(",
    "a AND",
    "tea*",
    "🍵" * 20,
    "\u202etea",
    "%",
    "-- ;",
    "tea\0pot",
    "(",
    "\\",
    "\x7f",
    "NULL",
    ":",
    "@1",
]


def test_any_query_is_answered(texts: Path) -> None:
    for query in HOSTILE:
        for word in (":search", ":recall"):
            name = f"{word}?q={quote_plus(query)}"
            assert len(os.fsencode(name)) <= 255
            assert said(texts / name)
            with open(texts / word, "r+") as both:
                both.write(query)
                both.seek(0)
                assert both.read()
    with open(os.fsencode(texts) + b"/:search?q=\xff\xfe tea \"'*", "rb") as raw:
        assert raw.read()


def test_a_question_is_written(texts: Path) -> None:
    long = "how is green tea made, " * 30
    done = shell('exec 3<>"$1/:recall"; echo "$2" >&3; cat <&3', texts, long)
    assert (done.returncode, done.stderr) == (0, "")
    assert "eighty degrees" in done.stdout
    with open(texts / "food/:recall?max_tokens=1000", "r+") as both:
        both.write("green tea")
        both.flush()
        first = both.read()
        assert "eighty degrees" in first
        both.seek(0)
        assert both.read() == first
        both.write("the purple elephant")
        both.seek(0)
        assert "purple elephant" in both.read()
    with open(texts / ":search", "r+b", buffering=0) as raw:
        raw.write(b"tea " * 25_000)
        assert b"tea.md" in raw.readall()
        with refused(errno.EFBIG):
            raw.write(bytes(1 << 20))
    with open(texts / ":recall", "w") as deaf:
        deaf.write("tea")


def test_nobody_hears_what_they_may_not_read(texts: Path) -> None:
    for word in (":recall?q=", ":search?q="):
        name = texts / f"{word}green+tea+purple+elephant"
        for _ in range(3):  # one's answer is never another's
            assert "secret.md" in said(name)
            hidden = said(name, user=SOMEBODY)
            assert "tea.md" in hidden
            assert "secret" not in hidden
            assert "elephant" not in hidden.partition("\n")[2]
    done = shell('exec 3<>"$1/:recall"; echo "purple elephant" >&3; cat <&3', texts, user=SOMEBODY)
    assert done.returncode == 0
    assert "hidden" not in done.stdout
    with open(texts / ":search?q=purple+elephant") as handed:
        done = shell(f"cat /proc/self/fd/{handed.fileno()}", user=SOMEBODY, hand=handed.fileno())
        assert done.returncode != 0, "what was made for another is opened anew"
        assert "hidden" in handed.read()
    os.chown(texts / "food/secret.md", 0, FRIENDS)
    (texts / "food/secret.md").chmod(0o640)
    try:
        assert "secret.md" in said(texts / ":search?q=elephant", user=SOMEBODY, groups=(FRIENDS,))
        assert "secret.md" not in said(texts / ":search?q=elephant", user=SOMEBODY)
        (texts / "food").chmod(0o700)
        assert "tea.md" not in said(texts / ":search?q=green+tea", user=SOMEBODY, groups=(FRIENDS,))
        assert "tea.md" not in said(texts / ":changes", user=SOMEBODY)
        assert "nvda.md" in said(texts / ":changes", user=SOMEBODY)
        assert "tea.md" in said(texts / ":changes")
        assert "tea.md" not in said(texts / ":history", user=SOMEBODY)
        assert "nvda.md" in said(texts / ":history", user=SOMEBODY)
        assert "tea.md" in said(texts / ":history")
    finally:
        (texts / "food").chmod(0o755)
        (texts / "food/secret.md").chmod(0o600)


def test_nobody_hears_where_a_file_was_hidden(home: Path, on: Machine) -> None:
    """It came from a directory that others may not enter, or went there: neither that place is said, nor what the
    file was then, although everybody may read what it is."""
    private = home / "private"
    private.mkdir(mode=0o700)
    (private / "draft-of-zeus.md").write_text("the merger\n")
    (home / "to-olymp.md").write_text("to go\n")
    on.ok("sync")
    (private / "draft-of-zeus.md").write_text("nothing to see\n")
    on.ok("sync")
    (private / "draft-of-zeus.md").rename(home / "from-olymp.md")
    (home / "to-olymp.md").rename(private / "hera.md")
    on.ok("sync")
    assert "zeus" in said(home / "from-olymp.md:history")
    assert "hera" in said(home / "to-olymp.md:history")
    for name in ("from-olymp.md:history", "to-olymp.md:history", ":history", ":changes"):
        assert not {"zeus", "hera"} & set(re.split(r"[-./ ]", said(home / name, user=SOMEBODY)))
    assert said(home / "from-olymp.md@v1") == "the merger\n"
    assert shell('cat "$1"', home / "from-olymp.md@v1", user=SOMEBODY).returncode != 0
    assert said(home / "from-olymp.md@v2", user=SOMEBODY) == said(home / "from-olymp.md", user=SOMEBODY)
    assert said(home / "to-olymp.md@v1", user=SOMEBODY) == "to go\n"


def test_tags_of_a_directory(texts: Path) -> None:
    (texts / "food/tea.md:tags").write_text("drink, hot")
    (texts / "food/secret.md:tags").write_text("drink, hidden")
    assert said(texts / "food/:tags").splitlines() == ["2\tdrink", "1\thidden", "1\thot"]
    assert said(texts / ":tags", user=SOMEBODY).splitlines()[:1] != ["2\tdrink"]
    assert "hidden" not in said(texts / ":tags", user=SOMEBODY)
    assert "tea.md" in said(texts / ":search?q=tea&tags=drink,hot")
    assert "secret.md" not in said(texts / ":search?q=tea&tags=drink,hot")


def test_links_both_ways(texts: Path) -> None:
    (texts / "food/all.md").write_text("[tea](tea.md), [hidden](secret.md), [[nvda]], [none](none.md)\n")
    assert sorted(said(texts / "food/all.md:links").splitlines()[2:]) == [
        "- to food/secret.md (secret.md)",
        "- to food/tea.md (tea.md)",
        "- to money/nvda.md (nvda)",
        "- to none.md",
    ]
    assert "- from food/all.md" in said(texts / "food/tea.md:links").splitlines()
    assert "food/secret.md" not in said(texts / "food/all.md:links", user=SOMEBODY)
    (texts / "food/all.md").unlink()
    assert "all.md" not in said(texts / "food/tea.md:links")


def test_what_is_related_and_what_came_when(texts: Path) -> None:
    (texts / "food/sencha.md").write_text("# Sencha\n\nSencha is a green tea, steeped at seventy degrees.\n")
    (texts / "food/first.md").write_text("---\ncreated: 2001-02-03\n---\nThe first green tea.\n")
    like = said(texts / "food/tea.md:related")
    assert "food/sencha.md:" in like
    assert "food/tea.md:" not in like
    with refused(errno.EINVAL):
        (texts / ":related").read_text()
    for name in ("food/:timeline", ":timeline?q=green+tea&path=food"):
        dates = [line.split(" · ")[0] for line in said(texts / name).splitlines()]
        assert dates == sorted(dates)
        assert dates[0] == "- 2001-02-03"
    assert "2001" not in said(texts / "food/:timeline?since=2h")
    (texts / "food/sencha.md:tags").write_text("japan")
    assert "food/sencha.md" in next(line for line in said(texts / ":topics").splitlines() if "#japan" in line)
    (texts / "food/sencha.md").chmod(0o600)
    for name in ("food/tea.md:related", ":timeline", ":topics"):
        assert "encha" not in said(texts / name, user=SOMEBODY)
    (texts / "food/sencha.md").unlink()
    (texts / "food/first.md").unlink()


def test_only_what_is_newer(texts: Path) -> None:
    old = texts / "money/walnut.md"
    old.write_text("A walnut is old.\n")
    assert "walnut.md" in said(texts / ":search?q=walnut&since=2h")
    os.utime(old, (10**9, 10**9))
    assert "walnut.md" in said(texts / ":search?q=walnut")
    assert "walnut.md" not in said(texts / ":search?q=walnut&since=2h")
    assert "walnut.md" not in said(texts / ":recall?q=walnut&since=yesterday")


def test_what_changed(texts: Path, on: Machine) -> None:
    (texts / "money/later.md").write_text("later\n")
    until(lambda: "created money/later.md" in said(texts / ":changes?since=2h"))
    assert "money/later.md" not in said(texts / "food/:changes")
    assert "later.md" in said(texts / "money:changes?2h")
    (texts / "money/later.md").unlink()
    assert "money/later.md" in said(texts / ":changes")


def test_nothing_of_it_is_listed(texts: Path) -> None:
    names = os.listdir(texts / "food")
    (texts / "food/:recall?q=tea").read_text()
    (texts / "food/tea.md:meta").read_text()
    assert os.listdir(texts / "food") == names
    assert shell('grep -rl elephant "$1/food"', texts).stdout.splitlines() == [str(texts / "food/secret.md")]


# ---- other mounts, and spaces ----


def test_a_mount_that_shows_other_owners(texts: Path, on: Machine) -> None:
    """Who may read is who may read on that mount; and one that is read-only takes nothing."""
    theirs = texts / "theirs.md"
    theirs.write_text("The walrus belongs to somebody.\n")
    theirs.chmod(0o600)
    os.chown(theirs, SOMEBODY, SOMEBODY)
    place = on.directory("me")
    on.extra["AGENTFS_OWNER"] = "me"
    on.ok("mount", str(place), "--read-only", "--allow-other")
    try:
        assert "belongs" in said(texts / ":search?q=walrus", user=SOMEBODY)
        assert "belongs" not in said(place / ":search?q=walrus", user=SOMEBODY)
        assert "belongs" in said(place / ":search?q=walrus")
        assert said(place / "food/tea.md:tags", user=SOMEBODY) == said(texts / "food/tea.md:tags")
        with refused(errno.EROFS):
            (place / "food/tea.md:tags").write_text("x")
    finally:
        del on.extra["AGENTFS_OWNER"]
        on.ok("unmount", str(place))
    assert "x" not in said(texts / "food/tea.md:tags")


def test_spaces_are_asked_at_the_root(texts: Path, on: Machine) -> None:
    on.ok("space", "create", "team")
    assert on.run("space", "attach", "team").code == 0  # a busy machine may say that it cannot be entered yet
    until(lambda: os.path.isdir(texts / "spaces/team"))  # an error until it is
    (texts / "spaces/team/coffee.md").write_text("# Coffee\n\nThe team drinks green coffee on Fridays.\n")
    found = said(texts / ":search?q=green+coffee+tea")
    assert "spaces/team/coffee.md:" in found
    assert "food/tea.md:" in found
    answer = said(texts / ":recall?q=green+coffee+or+tea")
    assert "Fridays" in answer
    assert "spaces/team/coffee.md" in answer
    assert "eighty degrees" in answer
    for name in ("spaces/team/:search?q=green+coffee", "spaces/team:search?q=coffee", "spaces:search?q=coffee"):
        assert "coffee.md:" in said(texts / name)
    assert "coffee.md:" in said(texts / ":search?q=green+coffee&path=spaces%2Fteam")
    assert "coffee" not in said(texts / "food/:search?q=coffee").partition("\n")[2]
    question = texts / ":search?q=green+coffee"
    for day in ("Mondays", "Tuesdays", "Sundays"):  # what was just asked is asked again where a space changed
        question.read_text()
        (texts / "spaces/team/coffee.md").write_text(f"# Coffee\n\nThe team drinks green coffee on {day}.\n")
        assert day in question.read_text()
    (texts / "spaces/team/coffee.md").write_text("# Coffee\n\nThe team drinks green coffee on Fridays.\n")
    (texts / "spaces").chmod(0o700)
    try:
        assert "Fridays" not in said(texts / ":recall?q=green+coffee+or+tea", user=SOMEBODY)
    finally:
        (texts / "spaces").chmod(0o755)
    (texts / "spaces/team/coffee.md:tags").write_text("drink")
    assert said(texts / "spaces/team/coffee.md:tags") == "drink\n"
    maps = Path(f"/proc/{on.mount_pid(texts)}/maps").read_text()
    assert "numpy" not in maps, "asking is the engine's work"
    assert "tokenizers" not in maps
