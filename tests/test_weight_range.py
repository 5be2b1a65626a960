"""Limits of weights are what the CPUs' instructions can add."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bertedge.weight_range import FULL_RANGE, PAIRED_RANGE, WeightRange

INPUTS = (0, 255)


def keeps_to(weight_range: WeightRange, values: np.ndarray) -> bool:
    """Whether int8 weights, (outputs, inputs), are as allowed, by what a CPU would add up."""
    single = np.abs(values.astype(int)).max(initial=0) <= weight_range.largest
    even, odd = (
        np.pad(values, ((0, 0), (0, values.shape[1] % 2))).astype(int).T.reshape(-1, 2, len(values)).swapaxes(0, 1)
    )
    farthest = max(np.abs(x * even + y * odd).max(initial=0) for x in INPUTS for y in INPUTS)
    return bool(single and farthest <= 255 * weight_range.pair)


def test_a_pair_fits_into_16_bits_and_one_more_would_not() -> None:
    fits = {
        pair: all(
            -(2**15) <= x * first + y * second < 2**15
            for first, second in itertools.product(range(-127, 128), repeat=2)
            if abs(first + second) <= pair
            for x, y in itertools.product(INPUTS, repeat=2)
        )
        for pair in (PAIRED_RANGE.pair, PAIRED_RANGE.pair + 1)
    }
    assert fits == {128: True, 129: False}


@pytest.mark.parametrize("weight_range", [FULL_RANGE, PAIRED_RANGE, WeightRange(largest=63)], ids=str)
def test_room_beside_a_weight_is_all_that_there_is(weight_range: WeightRange) -> None:
    for first in range(-weight_range.largest, weight_range.largest + 1):
        allowed = [
            second
            for second in range(-weight_range.largest, weight_range.largest + 1)
            if keeps_to(weight_range, np.array([[first, second]], dtype=np.int8))
        ]
        low, high = weight_range.partner_limits(np.array([first], dtype=np.int8))
        assert [low[0], high[0]] == [allowed[0], allowed[-1]]
        assert len(allowed) == high[0] - low[0] + 1


def test_what_lies_within_what() -> None:
    small = WeightRange(largest=63)
    assert PAIRED_RANGE.within(FULL_RANGE)
    assert not FULL_RANGE.within(PAIRED_RANGE)
    assert small.within(PAIRED_RANGE)
    assert not PAIRED_RANGE.within(small)
    assert FULL_RANGE.within(FULL_RANGE)
    assert [str(FULL_RANGE), str(PAIRED_RANGE), str(small)] == ["+-127", "+-127, pairs +-128", "+-63"]
    assert [FULL_RANGE.limits_pairs, PAIRED_RANGE.limits_pairs, small.limits_pairs] == [False, True, False]
