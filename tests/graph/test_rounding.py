"""Rounding matrices: what each way keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bertedge.graph.rounding import (
    NEAREST,
    Nearest,
    QuantizedRows,
    WithMeanError,
    least_squares_scales,
    quantize_rows,
    row_scales,
)
from bertedge.quantization.compensate import Products
from bertedge.weight_range import FULL_RANGE, PAIRED_RANGE, WeightRange
from tests.test_weight_range import keeps_to

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(12, 40)).astype(np.float32)
INPUTS = (RNG.normal(size=(500, 40)) + RNG.normal(size=40) * 3).astype(np.float32)


def value(rows: QuantizedRows) -> np.ndarray:
    return rows.values * rows.scale[:, None]


@given(
    arrays(np.float32, (3, 5), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from([FULL_RANGE, PAIRED_RANGE]),
    st.sampled_from([row_scales, least_squares_scales]),
)
def test_every_scale_keeps_to_the_range(matrix: np.ndarray, weight_range: WeightRange, scales: object) -> None:
    rows = Nearest(scales)(matrix, weight_range)  # type: ignore[arg-type]
    assert keeps_to(weight_range, rows.values)
    assert np.isfinite(value(rows)).all()
    assert (rows.scale > 0).all()


@pytest.mark.parametrize("scales", [row_scales, least_squares_scales])
def test_pairs_cost_less_than_smaller_weights_would(scales: object) -> None:
    """Where products are added in 16 bits, weights of half the range are the simple way out."""
    matrix = RNG.normal(size=(50, 256)).astype(np.float32)
    errors = [
        np.square(value(Nearest(scales)(matrix, weight_range)) - matrix).sum()  # type: ignore[arg-type]
        for weight_range in (WeightRange(largest=63), PAIRED_RANGE, FULL_RANGE)
    ]
    assert errors[2] < errors[1] < 0.6 * errors[0]


def test_a_pair_that_is_too_large_becomes_the_nearest_that_is_not() -> None:
    matrix = np.array([[100, 60, -3], [-90.2, -60, 1], [127, 90, 0], [127, -127, 0], [127, 1, 0]], dtype=np.float32)
    rows = quantize_rows(matrix, PAIRED_RANGE, np.ones(5, dtype=np.float32))
    assert rows.values.tolist() == [[84, 44, -3], [-79, -49, 1], [82, 46, 0], [127, -127, 0], [127, 1, 0]]


def test_searched_scales_have_less_error_where_there_is_an_outlier_and_never_more() -> None:
    matrix = MATRIX.copy()
    matrix[0, 0] = 6.0
    errors = [
        np.square(value(Nearest(scales)(matrix, WeightRange(largest=7))) - matrix).sum(axis=1)
        for scales in (row_scales, least_squares_scales)
    ]
    assert (errors[1] <= errors[0] * 1.001).all()
    assert errors[1].sum() < 0.9 * errors[0].sum()


@pytest.mark.parametrize("compensated", [False, True])
def test_what_is_lost_on_average_is_told(compensated: bool) -> None:
    products = Products(40)
    products.observe(INPUTS)
    inner = products.rounding() if compensated else NEAREST
    rows = WithMeanError(inner, INPUTS.mean(axis=0))(MATRIX, WeightRange(largest=15))
    assert rows.lost is not None
    error = INPUTS @ (MATRIX - value(rows)).T
    assert np.abs(error.mean(axis=0)).max() > 1e-3 or compensated
    assert np.abs(error.mean(axis=0) - rows.lost).max() < 1e-3
    assert NEAREST(MATRIX, WeightRange(largest=15)).lost is None


@pytest.mark.parametrize("compensated", [False, True])
def test_a_layer_that_is_shifted_and_divided_is_rounded_as_if_it_had_always_read_that(compensated: bool) -> None:
    shifts, factors = RNG.normal(size=40).astype(np.float32), RNG.uniform(0.5, 2, size=40).astype(np.float32)
    changed = (INPUTS - shifts) / factors
    before, after = Products(40), Products(40)
    before.observe(INPUTS)
    after.observe(changed)
    kept = WithMeanError(before.rounding() if compensated else NEAREST, INPUTS.mean(axis=0))
    direct = WithMeanError(after.rounding() if compensated else NEAREST, changed.mean(axis=0))
    ours, theirs = (r(MATRIX * factors, FULL_RANGE) for r in (kept.shifted(shifts).scaled(factors), direct))
    assert (ours.values != theirs.values).mean() < 0.02
    assert ours.lost is not None
    assert theirs.lost is not None
    assert np.allclose(ours.lost, theirs.lost, atol=0.02)
