"""Which positions are hidden, and behind what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertedge.data.masking import mask_tokens

MASK = 3
VOCABULARY = 1000

rows = st.lists(st.tuples(st.integers(5, VOCABULARY - 1), st.booleans()), min_size=1, max_size=60)


def mask(
    row: list[tuple[int, bool]], seed: int = 0, **options: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """ids, maskable, changed ids, positions"""
    ids = np.array([token for token, _ in row], dtype=np.int64)
    maskable = np.array([flag for _, flag in row])
    rng = np.random.default_rng(seed)
    return ids, maskable, *mask_tokens(ids, maskable, mask_id=MASK, vocab_size=VOCABULARY, rng=rng, **options)


@settings(max_examples=150)
@given(rows, st.integers(0, 5), st.booleans())
def test_only_chosen_positions_change(row: list[tuple[int, bool]], seed: int, always: bool) -> None:
    ids, maskable, changed, positions = mask(row, seed, always_mask=always)
    assert maskable[positions].all()
    assert (np.diff(positions) > 0).all()
    assert positions.dtype == changed.dtype == np.int64
    others = np.setdiff1d(np.arange(len(ids)), positions)
    np.testing.assert_array_equal(changed[others], ids[others])
    assert ((changed >= 0) & (changed < VOCABULARY)).all()


@settings(max_examples=100)
@given(rows, st.floats(0, 1))
def test_the_share_is_exact_and_never_nothing(row: list[tuple[int, bool]], share: float) -> None:
    _, maskable, _, positions = mask(row, share=share)
    candidates = int(maskable.sum())
    assert len(positions) == min(candidates, max(1, round(share * candidates)))


@settings(max_examples=50)
@given(rows)
def test_evaluation_hides_every_chosen_position(row: list[tuple[int, bool]]) -> None:
    _, _, changed, positions = mask(row, always_mask=True)
    assert (changed[positions] == MASK).all()


@settings(max_examples=50)
@given(rows, st.integers(0, 9))
def test_a_seed_fixes_the_mask_and_the_ids_are_not_touched(row: list[tuple[int, bool]], seed: int) -> None:
    ids, _, changed, positions = mask(row, seed)
    again = mask(row, seed)
    assert ids.tolist() == [token for token, _ in row]
    np.testing.assert_array_equal(changed, again[2])
    np.testing.assert_array_equal(positions, again[3])


def test_nothing_to_hide() -> None:
    ids, _, changed, positions = mask([(7, False)] * 4)
    assert len(positions) == 0
    np.testing.assert_array_equal(changed, ids)


@pytest.fixture(scope="module")
def chosen() -> tuple[np.ndarray, np.ndarray]:
    """What stood at 6000 chosen positions of a long row, and what stands there now."""
    ids, _, changed, positions = mask([(500, True)] * 40_000)
    assert len(positions) == 6000
    return ids[positions], changed[positions]


def test_eighty_ten_ten(chosen: tuple[np.ndarray, np.ndarray]) -> None:
    before, after = chosen
    masked, kept = after == MASK, after == before
    assert masked.mean() == pytest.approx(0.8, abs=0.02)
    assert kept.mean() == pytest.approx(0.1, abs=0.015)
    assert (~masked & ~kept).mean() == pytest.approx(0.1, abs=0.015)


def test_random_pieces_are_spread_over_the_vocabulary(chosen: tuple[np.ndarray, np.ndarray]) -> None:
    before, after = chosen
    drawn = after[(after != MASK) & (after != before)]
    assert np.histogram(drawn, bins=4, range=(0, VOCABULARY))[0].min() > len(drawn) / 6
    assert len(set(drawn.tolist())) > 300


def test_chosen_positions_are_spread_over_the_row() -> None:
    _, _, _, positions = mask([(500, True)] * 40_000)
    assert np.histogram(positions, bins=4, range=(0, 40_000))[0] == pytest.approx(1500, abs=150)


@settings(max_examples=150)
@given(rows, st.integers(0, 5), st.floats(0.05, 0.9))
def test_whole_words_are_chosen_or_none(row: list[tuple[int, bool]], seed: int, share: float) -> None:
    continuation = np.arange(VOCABULARY) % 3 == 0
    ids, maskable, _, positions = mask(row, seed, share=share, continuation=continuation)
    chosen = set(positions.tolist())
    for index in range(1, len(ids)):
        if maskable[index - 1] and maskable[index] and continuation[ids[index]]:
            assert (index in chosen) == (index - 1 in chosen)
    assert bool(chosen) == bool(maskable.any())
    starts = [i for i in positions.tolist() if i - 1 not in chosen or not continuation[ids[i]]]
    if len(starts) > 1:  # a single word may be longer than the share, several are not
        assert len(chosen) <= max(1, round(share * int(maskable.sum())))


def test_whole_words_reach_their_share() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(5, VOCABULARY, size=400)
    continuation = np.arange(VOCABULARY) % 3 == 0
    maskable = np.ones(400, dtype=bool)
    _, positions = mask_tokens(ids, maskable, mask_id=MASK, vocab_size=VOCABULARY, rng=rng, continuation=continuation)
    assert 50 <= len(positions) <= 60
