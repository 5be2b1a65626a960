"""Sums of two products in 16 bits, against the instructions done one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bertedge.emulate.saturate import PairwiseMatrix, Saturation


def one_by_one(x: NDArray[np.uint8], weight: NDArray[np.int8], zero_point: int) -> tuple[NDArray[np.int32], int]:
    """``vpmaddubsw``, ``vpmaddwd`` and ``vpaddd``, a number at a time."""
    rows, inputs = x.shape
    sums = np.zeros((rows, weight.shape[1]), dtype=np.int32)
    cut = 0
    for m in range(rows):
        for n in range(weight.shape[1]):
            for k in range(0, inputs, 2):
                exact = sum(int(x[m, i]) * int(weight[i, n]) for i in range(k, min(k + 2, inputs)))
                lane = max(-32768, min(32767, exact))
                cut += lane != exact
                sums[m, n] += lane
            sums[m, n] -= zero_point * int(weight[:, n].sum(dtype=int))
    return sums, cut


@settings(max_examples=60)
@given(
    rows=st.integers(1, 4),
    inputs=st.integers(1, 9),
    columns=st.integers(1, 5),
    largest=st.sampled_from([63, 64, 65, 127]),
    zero_point=st.integers(0, 255),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_is_what_the_instructions_do(
    rows: int, inputs: int, columns: int, largest: int, zero_point: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.choice(np.array([0, 1, 128, 254, 255], dtype=np.uint8), (rows, inputs))
    weight = rng.choice(np.array([-largest, -1, 0, 60, largest], dtype=np.int8), (inputs, columns))
    expected, cut = one_by_one(x, weight, zero_point)
    sums, seen = PairwiseMatrix(weight).multiply(x, zero_point)
    np.testing.assert_array_equal(sums, expected)
    assert seen.cut_pairs == cut
    assert seen.pairs == rows * columns * ((inputs + 1) // 2)
    assert (seen.wrong_sums > 0) == (cut > 0)
    if largest <= 64:
        assert cut == 0


def test_long_sums_are_exact() -> None:
    x = np.full((1, 3000), 255, dtype=np.uint8)
    weight = np.tile(np.array([[127], [1]], dtype=np.int8), (1500, 1))
    sums, _ = PairwiseMatrix(weight).multiply(x, 0)
    assert sums[0, 0] == 1500 * 255 * 128


def test_counts_add_up() -> None:
    one = Saturation(pairs=4, cut_pairs=1, sums=2, wrong_sums=1)
    assert one + one == Saturation(pairs=8, cut_pairs=2, sums=4, wrong_sums=2)


@pytest.mark.parametrize(("weights", "result"), [((127, 127), 32767), ((-127, -127), -32768), ((127, -127), 0)])
def test_both_ends(weights: tuple[int, int], result: int) -> None:
    sums, _ = PairwiseMatrix(np.array([[weights[0]], [weights[1]]], dtype=np.int8)).multiply(
        np.full((1, 2), 255, dtype=np.uint8), 0
    )
    assert sums[0, 0] == result
