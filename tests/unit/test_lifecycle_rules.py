"""Lifecycle rules as text: what is refused, and what holds for a path; and what is due, without any volume."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfs.errors import Corrupt, NewerFormat
from agentfs.format.framing import ObjectKind, seal
from agentfs.format.lifecycle import LifecycleRecord, decode_lifecycle, encode_lifecycle
from agentfs.model.lifecycle import Rules, parse_rules
from agentfs.retention.lifecycle import TOP, Found, Times, could_be_due, due, plan

DAY_NS = 86_400 * 10**9
NOW_NS = 20_000 * DAY_NS


def rules(*tables: str) -> Rules:
    return parse_rules("".join(f"[[lifecycle]]\n{table}\n" for table in tables))


def found(path: str, *, mtime_days: float = 0) -> Found:
    name = path.encode().rpartition(b"/")[2]
    return Found(path.encode(), name, TOP, 7, 1 << 24, 1, NOW_NS - int(mtime_days * DAY_NS), 10)


def times(*, changed_days: float, created_days: float = 1000) -> Times:
    return Times(NOW_NS - int(changed_days * DAY_NS), NOW_NS - int(created_days * DAY_NS))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[lifecycle]]\n", "rule 1: say which files"),
        ('[[lifecycle]]\nglob = ""\nexpire = "1d"', "rule 1: say which files"),
        ('[[lifecycle]]\nglob = "a"', "rule 1: say expire, archive, versions or keep"),
        ('[[lifecycle]]\nglob = "a"\nexpires = "1d"', "'expires' is not known: use glob, expire"),
        ('[[lifecycle]]\nglob = "a"\nexpire = 30', "takes an age with a unit"),
        ('[[lifecycle]]\nglob = "a"\nexpire = "30"', "takes an age with a unit"),
        ('[[lifecycle]]\nglob = "a"\nexpire = "3m"', "takes an age with a unit"),  # minutes, or months?
        ('[[lifecycle]]\nglob = "a"\nexpire = "0d"', "cannot be: 1s to"),
        ('[[lifecycle]]\nglob = "a"\nexpire = "101y"', "cannot be: 1s to"),
        ('[[lifecycle]]\nglob = "a"\nexpire = "1d"\narchive = "2d"', "are two rules"),
        ('[[lifecycle]]\nglob = "a"\nexpire = "1d"\nto = "x"', "to is for archive"),
        ('[[lifecycle]]\nglob = "a"\nversions = 3\nto = "x"', "to says nothing without"),
        ('[[lifecycle]]\nglob = "a"\narchive = "1d"\nto = "../x"', "is no path from the root"),
        ('[[lifecycle]]\nglob = "a"\narchive = "1d"\nto = "x*"', "takes a directory, not a glob"),
        ('[[lifecycle]]\nglob = "a"\narchive = "1d"\nto = "/"', "takes a directory"),
        ('[[lifecycle]]\nglob = "a"\nversions = 0', "a number from 1"),
        ('[[lifecycle]]\nglob = "a"\nversions = true', "a number from 1"),
        ('[[lifecycle]]\nglob = "a"\nkeep = true\nexpire = "1d"', "keep and expire contradict"),
        ('[[lifecycle]]\nglob = "a"\nexpire = "1d"\nsince = "birth"', "since is changed or created"),
        ('[[lifecycle]]\nglob = "*"\nexpire = "1d"', "would match nearly everything"),
        ('[[lifecycle]]\nglob = "**/*"\nexpire = "1d"', "would match nearly everything"),
        ('[[lifecycle]]\nglob = "logs/"\nexpire = "1d"', "is a directory: write logs/**"),
        ('[[lifecycle]]\nglob = "logs//x"\nexpire = "1d"', "no empty part"),
        ('[[lifecycle]]\nglob = "logs/../x"\nexpire = "1d"', "no .."),
        ('[[lifecycle]]\nglob = "logs**"\nexpire = "1d"', "stands alone between slashes"),
        ('[[lifecycle]]\nglob = "!logs/x"\nexpire = "1d"', "keep = true"),
        ('[[lifecycle]]\nglob = "a\\u0007"\nexpire = "1d"', "a control character"),
        (
            '[[lifecycle]]\nglob = "**"\nversions = 3\n[[lifecycle]]\nglob = "a"\nkeep = true',
            "rule 2 is never the first",
        ),
        (
            '[[lifecycle]]\nglob = "a"\nkeep = true\n[[lifecycle]]\nglob = "a"\nversions = 3',
            "rule 2 is never the first",
        ),
        ('[lifecycle]\nglob = "a"', "in two brackets"),
        ("lifecycle = 3", "in two brackets"),
        ("retention = 3", "'retention' is not known: rules begin with"),
        ("[[lifecycle]\n", "are not TOML"),
        ('[[lifecycle]]\nglob = "a"\nkeep = true\n' * 201, "201 rules are too many"),
        ("#" * 65_537, "longer than 65536 bytes"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        parse_rules(text)
    assert "\n" not in str(error.value)


def test_a_rule_in_one_line() -> None:
    made = rules(
        'glob = "/logs/keep/**"\nkeep = true',
        'glob = "logs/**"\nexpire = " 4W "',
        'glob = "daily/*.md"\narchive = "90d"',
        'glob = "img/**/*.png"\narchive = "1y"\nto = "/old/pictures/"\nsince = "created"\nversions = 2',
        'glob = "**"\nversions = 5',
    )
    assert [it.text for it in made.rules] == [
        "logs/keep/** keep",
        "logs/** expire 4w",
        "daily/*.md archive 90d",
        "img/**/*.png archive 1y since created to old/pictures 2 versions",
        "** 5 versions",
    ]
    assert parse_rules("").rules == () == parse_rules("# none\n").rules


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("logs/keep/a/b.txt", 1),
        ("logs/a.txt", 2),
        ("logs", 5),
        ("logs2/a", 5),
        ("sub/logs/a", 5),
        ("daily/1.md", 3),
        ("daily/x/1.md", 5),
        ("daily/1.mdx", 5),
        ("a/cache/x/y", 4),
        ("cache/y", 4),
    ],
)
def test_the_first_rule_that_matches_decides(path: str, number: int) -> None:
    made = rules(
        'glob = "logs/keep/**"\nkeep = true',
        'glob = "logs/**"\nexpire = "30d"',
        'glob = "daily/*.md"\narchive = "90d"',
        'glob = "**/cache/**"\nexpire = "1d"',
        'glob = "**"\nversions = 5',
    )
    rule = made.of(path.encode())
    assert rule is not None
    assert made.rules.index(rule) + 1 == number


def test_no_directory_is_passed_over_in_which_a_rule_acts() -> None:
    random = Random(7)
    names = ["a", "b", "logs"]
    for _ in range(300):
        globs = ["/".join(random.choice([*names, "*", "**", "[ab]"]) for _ in range(random.randint(1, 4)))
                 for _ in range(2)]  # fmt: skip
        globs = [f"{it}/x" if not it.strip("*/") else it for it in globs]
        if globs[0] == globs[1]:
            continue
        made = rules(*(f'glob = "{it}"\nexpire = "1d"' for it in globs))
        path = "/".join(random.choice([*names, "x"]) for _ in range(random.randint(1, 5))).encode()
        if made.of(path) is not None:
            parts = path.split(b"/")
            assert all(made.acts_below(b"/".join(parts[:count])) for count in range(len(parts))), (globs, path)


def test_names_that_are_no_text_are_matched() -> None:
    made = rules('glob = "logs/*"\nexpire = "1d"', 'glob = "caf\u00e9/*"\nexpire = "1d"')
    assert made.of(b"logs/caf\xe9") is not None
    assert made.of(b"caf\xe9/a") is None
    assert made.of("caf\u00e9/a\nb".encode()) is not None


# ---- what is due -------------------------------------------------------------------------------------------------


def test_a_file_is_as_old_as_what_came_last() -> None:
    made = rules('glob = "logs/**"\nexpire = "30d"')
    old = found("logs/a", mtime_days=400)
    assert due(made, old, times(changed_days=30), NOW_NS) is not None
    assert due(made, old, times(changed_days=29.9), NOW_NS) is None, "it came from elsewhere with its old time"
    assert due(made, found("logs/a", mtime_days=29.9), times(changed_days=400), NOW_NS) is None, "somebody dated it"
    assert due(made, found("logs/a", mtime_days=-5), times(changed_days=400), NOW_NS) is None, "it is of tomorrow"
    assert due(made, found("notes/a", mtime_days=400), times(changed_days=400), NOW_NS) is None
    step = due(made, found("logs/a", mtime_days=31), times(changed_days=40), NOW_NS)
    assert step is not None
    assert (step.action, step.age_s) == ("expire", 31 * 86_400)


def test_since_created_goes_by_the_commit_that_made_it() -> None:
    made = rules('glob = "logs/**"\nexpire = "30d"\nsince = "created"')
    assert due(made, found("logs/a"), times(changed_days=0, created_days=30), NOW_NS) is not None
    assert due(made, found("logs/a", mtime_days=400), times(changed_days=400, created_days=29), NOW_NS) is None


def test_what_is_in_an_archive_is_not_archived_again() -> None:
    made = rules(
        'glob = "a/**"\narchive = "1d"\nto = "b"',
        'glob = "b/**"\narchive = "1d"\nto = "a"',
        'glob = "archive/**"\nexpire = "1d"',
        'glob = "**"\narchive = "2d"',
    )
    files = [(found(path, mtime_days=9), times(changed_days=9)) for path in ("a/1", "b/1", "c/1", "archive/1")]
    assert [(it.file.path, it.action) for it in plan(made, files, NOW_NS)] == [
        (b"c/1", "archive"),
        (b"archive/1", "expire"),
    ]


def test_what_cannot_be_due_is_not_looked_up() -> None:
    made = rules('glob = "logs/**"\nexpire = "30d"', 'glob = "x/**"\nexpire = "30d"\nsince = "created"')
    for path in ("logs/a", "x/a", "notes"):
        for mtime_days in (0, 29.9, 30, 31, -3):
            file = found(path, mtime_days=mtime_days)
            possible = any(due(made, file, times(changed_days=it, created_days=it), NOW_NS) for it in (0, 30, 99))
            assert could_be_due(made, file, NOW_NS) == possible, (path, mtime_days)


# ---- as an object ------------------------------------------------------------------------------------------------


def record(text: str, number: int = 3) -> LifecycleRecord:
    return LifecycleRecord("home-x", number, text, "ann", 5)


def test_rules_come_back_as_they_were_written() -> None:
    made = record('# why\n[[lifecycle]]\nglob = "a"\nexpire = "1d"\n')
    assert decode_lifecycle(encode_lifecycle(made), volume="home-x", number=3) == made


def test_rules_of_another_place_or_meaning_are_not_used() -> None:
    data = encode_lifecycle(record("# none"))
    for volume, number in (("home-y", 3), ("home-x", 4)):
        with pytest.raises(Corrupt, match="were not used"):
            decode_lifecycle(data, volume=volume, number=number)
    with pytest.raises(ValueError, match="is not known"):
        encode_lifecycle(record('[[lifecycle]]\nglob = "a"\nshred = "1d"'))
    later, _ = seal(
        ObjectKind.LIFECYCLE,
        {"volume": "home-x", "number": 3, "author": "ann", "time": 5, "text": '[[lifecycle]]\nglob = "a"\nshred = 1'},
    )
    with pytest.raises(Corrupt, match="of a later AgentFS"):
        decode_lifecycle(later, volume="home-x", number=3)
    needs, _ = seal(ObjectKind.LIFECYCLE, {"requires": ["shredding"]})
    with pytest.raises(NewerFormat):
        decode_lifecycle(needs, volume="home-x", number=3)


@given(st.data())
def test_damage_is_never_taken_for_rules(data: st.DataObject) -> None:
    good = encode_lifecycle(record('[[lifecycle]]\nglob = "logs/**"\nexpire = "1d"\n'))
    at, value = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 255))
    bad = good[:at] + bytes([value]) + good[at + 1 :]
    if bad != good:
        with pytest.raises((Corrupt, NewerFormat)):
            decode_lifecycle(bad, volume="home-x", number=3)
