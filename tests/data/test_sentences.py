"""Cuts between sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.data.sentences import line_or_sentences, split_sentences
from bertedge.data.text_files import BLOCK

ENGLISH = "The ship left the port at dawn. Nobody came to the door! Was it far from the land? “It was,” he said."


def test_english() -> None:
    assert split_sentences(ENGLISH) == [
        "The ship left the port at dawn. ",
        "Nobody came to the door! ",
        "Was it far from the land? ",
        "“It was,” he said.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "In the long run Dr. J. R. Smith and U.S. Marshal Jones pay 3.14 dollars, e.g. at noon",
        "“Where is the cat this morning?” she asked",
        "It is over... and so it goes on",
        "Read www.example.com/a.b.c?x=1!y before you go",
    ],
)
def test_no_sentence_ends_inside(text: str) -> None:
    cut = split_sentences(text)
    assert all(part.endswith("Dr. ") for part in cut[:-1])  # an abbreviation of more than a letter is not known


@pytest.mark.parametrize(
    "parts",
    [
        [
            "猫がマットの上に座っていたのを、私は朝の光の中で見た。",
            "「とても暖かい日だった。」",
            "その後、猫は眠りについた",
        ],
        ["Корабль вышел из порта на рассвете. ", "Море было спокойным."],
        ["जहाज भोर में बंदरगाह से निकल गया। ", "समुद्र शांत था और हवा धीमी थी।"],
        ["غادرت السفينة الميناء عند الفجر؟ ", "كان البحر هادئا."],
        ["¿Quién llamó a la puerta anoche? ", "¡Nadie vino a la casa!"],
    ],
)
def test_other_scripts(parts: list[str]) -> None:
    text = "".join(parts)
    assert "".join(split_sentences(text)) == text
    assert split_sentences(text)[0].startswith(parts[0][:-1])
    assert len(split_sentences(text)) > 1


texts = st.text(st.sampled_from('abcDE .!?。…”" \u0301é'), max_size=300)


@given(texts)
def test_nothing_is_lost(text: str) -> None:
    assert "".join(split_sentences(text)) == text


def in_blocks(text: str) -> list[tuple[str, bool]]:
    starts = range(0, max(len(text), 1), BLOCK)
    return [(text[start : start + BLOCK], start + BLOCK >= len(text)) for start in starts]


@given(st.lists(texts, max_size=30).map(lambda found: " ".join(found * 8)))
def test_long_lines_do_not_depend_on_blocks(line: str) -> None:
    found = list(line_or_sentences(in_blocks(line)))
    assert "".join("".join(found).split()) == "".join(line.split())
    if len(line) <= BLOCK:
        assert found == [line.strip()]
    else:
        assert all(0 < len(part) <= 2 * BLOCK for part in found)


def test_sentences_over_the_edge_of_a_block_are_whole() -> None:
    line = ENGLISH + (" " + ENGLISH) * 1000
    assert list(line_or_sentences(in_blocks(line))) == [part.strip() for part in split_sentences(line)]


@pytest.mark.parametrize("word", ["word ", "x", "好"])
def test_without_any_end_of_a_sentence(word: str) -> None:
    line = (word * 20_000).strip()
    found = list(line_or_sentences(in_blocks(line)))
    assert max(map(len, found)) <= BLOCK
    assert "".join(found).replace(" ", "") == line.replace(" ", "")
    if word == "word ":
        assert set(" ".join(found).split()) == {"word"}
