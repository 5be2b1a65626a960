"""Short and long texts in pairs, as models that find answers read them."""

from __future__ import annotations

import numpy as np
import pytest

from bertedge.data.questions import LONGEST_QUESTION, question_pairs
from tests.data.test_singles import corpus_of

CORPUS = corpus_of([5, 7, 30, 9, 4, 60], [6, 2], [8], [11] * 20)


@pytest.mark.parametrize("max_length", [12, 64, 128])
def test_questions_are_short_and_contexts_long(max_length: int) -> None:
    pairs = list(question_pairs(CORPUS, max_length=max_length, rng=np.random.default_rng(0)))
    room = max_length - CORPUS.template.pair.count
    lines = {int(start) for start in CORPUS.sentence_starts}
    for pair in pairs:
        assert 0 < len(pair.first) <= min(LONGEST_QUESTION, room // 2)
        assert 0 < len(pair.second) <= room - len(pair.first)
        assert {pair.first[0], pair.second[0]} <= lines  # the tokens count up: both begin with a line
    contexts = [token for pair in pairs for token in pair.second]
    assert len(contexts) == len(set(contexts))
    if max_length == 128:  # nothing is cut
        assert len(contexts) == len(CORPUS.token_ids)


def test_about_half_of_the_questions_are_in_their_contexts() -> None:
    pairs = [p for seed in range(40) for p in question_pairs(CORPUS, max_length=64, rng=np.random.default_rng(seed))]
    inside = np.mean([set(pair.first) <= set(pair.second) for pair in pairs])
    assert 0.4 < inside < 0.7  # some of the other questions come from the context by chance


def test_a_seed_fixes_the_pairs() -> None:
    one, same, other = (
        list(question_pairs(CORPUS, max_length=64, rng=np.random.default_rng(seed))) for seed in (1, 1, 2)
    )
    assert one == same != other
