"""Words of texts and of queries become the same terms, in every script, whatever stands between them."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentfs.memory.words import QUERY_CHARACTERS_MAX, STOP_WORDS, TERMS_MAX, query, terms


def finds(asked: str, text: str) -> bool:
    return bool(set(query(asked).terms) & set(terms(text)))


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("risk", "The risks of it"),
        ("running", "she runs"),
        ("CAFE", "café"),
        ("café", "cafe\u0301"),
        ("STRASSE", "Straße"),
        ("Caroline", "Caroline's plan"),
        ("caroline’s", "Caroline"),
        ("nvda", "ＮＶＤＡ"),
        ("dont", "don't"),
        ("snake_case", "snakeCase"),
        ("snakecase", "snake-case"),
        ("case", "snake_case"),
        ("html", "parseHTMLFile"),
        ("v1.2.3", "released as v1.2.3."),
        ("ann@example.com", "write to <ann@example.com>"),
        ("example.com", "https://example.com/a/b?x=1"),
        ("index.py", "see src/agentfs/memory/index.py:12"),
        ("memory/index.py", "memory/index.py"),
        ("GPT-4", "GPT4"),
        ("1000", "1,000 files"),
        ("C++", "written in C++, not C"),
        ("C#", "C# code"),
        ("2023-05-08", "on 2023/5/8"),
        ("May 2023", "2023-05-08"),
        ("книга", "КНИГИ"),
        ("елка", "ёлка"),
        ("αλφα", "ΆΛΦΑ"),
        ("محمد", "مُحَمَّد"),
        ("שלום", "שָׁלוֹם"),
        ("किताब", "किताबें"),
    ],
)
def test_the_same_word(asked: str, text: str) -> None:
    assert finds(asked, text)


@pytest.mark.parametrize(
    ("asked", "text", "found"),
    [
        ("风险", "英伟达的风险管理很重要", True),
        ("天気", "東京の天気は晴れです", True),
        ("검색", "한국어 검색을 지원한다", True),
        ("がっこう", "わたしのがっこうです", True),
        ("เสี่ยง", "ความเสี่ยง", True),
        ("ｶﾞｸ", "ガク", True),
        ("猫", "我家的猫很可爱", True),
        ("𠮷野", "𠮷野家で食べた", True),
        ("险风", "风险", False),
        ("天京", "東京の天気", False),
        ("犬", "我家的猫很可爱", False),
    ],
)
def test_scripts_without_spaces(asked: str, text: str, found: bool) -> None:
    assert finds(asked, text) is found


@pytest.mark.parametrize(
    ("asked", "text"), [("v1.2", "v12"), ("1.5", "15"), ("cat", "concatenate"), ("naïve", "native")]
)
def test_other_words(asked: str, text: str) -> None:
    assert not set(query(asked).terms) & set(terms(text))


def test_stop_words_are_not_asked_for_but_who_speaks_is() -> None:
    assert query("What did I tell me about the cats?").terms == ("i", "tell", "me", "cat")
    assert not {"i", "my", "me", "we"} & STOP_WORDS


def test_a_query_of_stop_words_only_is_still_one() -> None:
    assert query("who is it").terms == ("who", "is", "it")


@pytest.mark.parametrize("asked", ["", " ", "\0", "🎉❤️", '"', "*", "' OR ''", "-", "…", "\ufe0f", "\ud800"])
def test_nothing_or_little_is_asked_for(asked: str) -> None:
    assert len(query(asked).terms) <= 1


@pytest.mark.parametrize("piece", ["a ", "\0", "風", "🎉", "a", "'", "a.b-", "שלום ", '"NEAR( *', "\u202e", "A1b_"])
def test_of_a_hundred_kilobytes_a_bounded_number_of_terms_is_asked_for(piece: str) -> None:
    long = piece * (100_000 // len(piece.encode("utf-8", "surrogatepass")))
    assert query(long) == query(long[:QUERY_CHARACTERS_MAX])
    assert len(query(long).terms) <= TERMS_MAX


def test_the_first_of_too_many_words_are_asked_for() -> None:
    assert query(" ".join(f"word{it}" for it in range(1000))).terms == tuple(f"word{it}" for it in range(TERMS_MAX))


_SAFE = re.compile(r"[a-z0-9.]+")


@example("0#0#")
@given(st.text())
def test_terms_are_safe_and_a_text_finds_itself(text: str) -> None:
    """Whatever a text holds, its terms have no ASCII but letters, digits and dots; and a query has terms of it."""
    of = terms(text)
    for term in of:
        plain = "".join(it for it in term if it.isascii())
        assert not plain or _SAFE.fullmatch(plain)
        assert term == term.casefold() or not term.isascii()
        assert not any(it.isspace() for it in term)
    assert set(query(text).terms) <= set(of)
    assert bool(query(text).terms) == bool(of)


@given(st.text(st.characters(categories=["L"]), min_size=1, max_size=20))
def test_case_and_composition_do_not_matter(text: str) -> None:
    """A text and its decomposed form have the same terms."""
    assert terms(unicodedata.normalize("NFD", text)) == terms(unicodedata.normalize("NFC", text))
