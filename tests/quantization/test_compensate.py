"""Compensated rounding keeps what a layer computes, not every single weight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bertedge.encoders import BERT, EncoderConfig
from bertedge.graph.rounding import NEAREST, QuantizedRows, quantize_rows
from bertedge.quantization.compensate import Compensated, Products, is_cheap
from bertedge.weight_range import FULL_RANGE, PAIRED_RANGE, WeightRange
from tests.test_weight_range import keeps_to

RNG = np.random.default_rng(0)
#: inputs of which all but a few go together, as in a trained model; more than a block of columns
INPUTS = (RNG.normal(size=(2000, 40)) @ RNG.normal(size=(40, 200)) + RNG.normal(size=(2000, 200))).astype(np.float32)
MATRIX = RNG.normal(size=(24, 200)).astype(np.float32)


def compensated(inputs: np.ndarray) -> Compensated:
    products = Products(inputs.shape[-1])
    products.observe(inputs)
    return products.rounding()


def loss(rows: QuantizedRows, matrix: np.ndarray = MATRIX, inputs: np.ndarray = INPUTS) -> float:
    return float(np.square(inputs @ (rows.values * rows.scale[:, None] - matrix).T).mean())


@pytest.mark.parametrize("weight_range", [FULL_RANGE, PAIRED_RANGE], ids=str)
def test_outputs_are_truer_than_with_the_nearest_steps(weight_range: WeightRange) -> None:
    rows = compensated(INPUTS)(MATRIX, weight_range)
    assert rows.values.dtype == np.int8
    assert keeps_to(weight_range, rows.values)
    assert loss(rows) < 0.5 * loss(quantize_rows(MATRIX, weight_range))


def test_inputs_that_are_independent_leave_the_nearest_steps() -> None:
    rows = Compensated(products=np.eye(200, dtype=np.float32), sums=np.zeros(200, dtype=np.float32), rows=200)(
        MATRIX, FULL_RANGE
    )
    assert np.array_equal(rows.values, quantize_rows(MATRIX, FULL_RANGE).values)


def test_divided_inputs_and_those_that_are_left_out() -> None:
    factors = RNG.uniform(0.5, 4, size=200).astype(np.float32)
    factors[:7] = 0
    rounding = compensated(INPUTS).scaled(factors)
    kept = np.divide(1, factors, out=np.zeros_like(factors), where=factors != 0)
    rows = rounding(MATRIX * factors, FULL_RANGE)
    assert not rows.values[:, :7].any()
    args = (MATRIX * factors, INPUTS * kept)
    assert loss(rows, *args) < 0.6 * loss(quantize_rows(MATRIX * factors, FULL_RANGE), *args)


@pytest.mark.parametrize(
    "inputs",
    [np.zeros((5, 200)), np.ones((1, 200)), np.where(np.arange(200) < 3, INPUTS, 0), np.full((2, 200), np.nan)],
    ids=["nothing seen", "one text", "dead channels", "not finite"],
)
def test_whatever_was_seen_no_weight_moves_far(inputs: np.ndarray) -> None:
    rows = compensated(inputs.astype(np.float32))(MATRIX, FULL_RANGE)
    moved = np.abs(rows.values * rows.scale[:, None] - MATRIX) / rows.scale[:, None]
    assert moved.max() < 20


@given(arrays(np.float32, (3, 5), elements=st.floats(-1e3, 1e3, width=32)), st.sampled_from([FULL_RANGE, PAIRED_RANGE]))
def test_any_matrix(matrix: np.ndarray, weight_range: WeightRange) -> None:
    rows = compensated(INPUTS[:, :5])(matrix, weight_range)
    assert keeps_to(weight_range, rows.values)
    assert np.isfinite(rows.scale).all()
    assert (rows.values[np.abs(matrix).max(axis=1) == 0] == 0).all()


def test_only_small_models_by_default(config: EncoderConfig) -> None:
    assert is_cheap(config)
    base = BERT.config(
        vocab_size=30522,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
    )
    assert not is_cheap(base)
    assert NEAREST.scaled(np.ones(3, dtype=np.float32)) is NEAREST
