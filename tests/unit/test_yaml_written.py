"""What is written into YAML without asking the parser is what the parser says of it."""

import re

import yaml
from hypothesis import given
from hypothesis import strategies as st

from agentfs.merge.yaml_keys import _UNSAFE, _is_unsafe, read_as, with_keys
from agentfs.merge.yaml_source import RESOLVER

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SPECIAL = ["yes", "no", "true", "false", "on", "off", "null", "y", "n", "inf", "nan", "e5", "x-1", "NULL", "oN"]
MOMENTS = st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?", fullmatch=True)
WORDS = st.one_of(
    st.sampled_from([form(word) for word in SPECIAL for form in (str.lower, str.upper, str.title, str.swapcase)]),
    st.builds(str.__add__, st.sampled_from(list(LETTERS)), st.text(alphabet=LETTERS + "0123456789 _-")),
    MOMENTS,
)


@given(WORDS)
def test_words_and_dates_are_what_the_parser_takes_them_for(word: str) -> None:
    assert read_as(word) == RESOLVER.resolve(yaml.ScalarNode, word, (True, False)).rpartition(":")[2]


@given(st.text())
def test_unsafe_characters(text: str) -> None:
    assert _is_unsafe(text) == (re.search(_UNSAFE, text) is not None)


def test_several_new_keys_are_as_if_each_came_alone() -> None:
    changes = {"title": "A plan: b", "tags": ["a", "no"], "importance": 0.7, "created": "2026-11-22T00:00:00Z"}
    for text in ("", "# only this\n"):
        one_by_one = text
        for key, value in changes.items():
            one_by_one = with_keys(one_by_one, {key: value}, dates=("created",))
        assert with_keys(text, changes, dates=("created",)) == one_by_one
    twice = {"Title": "one", "title": "two"}
    assert with_keys("", twice) == "Title: two\n", "a key is one, whatever its case"
