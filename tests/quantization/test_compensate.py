"""Compensated rounding keeps what a layer computes, not every single weight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bertedge.config import BertConfig
from bertedge.graph.rounding import NEAREST, QuantizedRows, quantize_rows
from bertedge.quantization.compensate import Compensated, Products, is_cheap

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


@pytest.mark.parametrize("weight_range", [127, 63])
def test_outputs_are_truer_than_with_the_nearest_steps(weight_range: int) -> None:
    rows = compensated(INPUTS)(MATRIX, weight_range)
    assert rows.values.dtype == np.int8
    assert np.abs(rows.values.astype(int)).max() <= weight_range
    assert loss(rows) < 0.5 * loss(quantize_rows(MATRIX, weight_range))


def test_inputs_that_are_independent_leave_the_nearest_steps() -> None:
    rows = Compensated(products=np.eye(200, dtype=np.float32), sums=np.zeros(200, dtype=np.float32), rows=200)(
        MATRIX, 127
    )
    assert np.array_equal(rows.values, quantize_rows(MATRIX, 127).values)


def test_divided_inputs_and_those_that_are_left_out() -> None:
    factors = RNG.uniform(0.5, 4, size=200).astype(np.float32)
    factors[:7] = 0
    rounding = compensated(INPUTS).scaled(factors)
    kept = np.divide(1, factors, out=np.zeros_like(factors), where=factors != 0)
    rows = rounding(MATRIX * factors, 127)
    assert not rows.values[:, :7].any()
    args = (MATRIX * factors, INPUTS * kept)
    assert loss(rows, *args) < 0.6 * loss(quantize_rows(MATRIX * factors, 127), *args)


@pytest.mark.parametrize(
    "inputs",
    [np.zeros((5, 200)), np.ones((1, 200)), np.where(np.arange(200) < 3, INPUTS, 0), np.full((2, 200), np.nan)],
    ids=["nothing seen", "one text", "dead channels", "not finite"],
)
def test_whatever_was_seen_no_weight_moves_far(inputs: np.ndarray) -> None:
    rows = compensated(inputs.astype(np.float32))(MATRIX, 127)
    moved = np.abs(rows.values * rows.scale[:, None] - MATRIX) / rows.scale[:, None]
    assert moved.max() < 20


@given(arrays(np.float32, (3, 4), elements=st.floats(-1e3, 1e3, width=32)))
def test_any_matrix(matrix: np.ndarray) -> None:
    rows = compensated(INPUTS[:, :4])(matrix, 127)
    assert np.isfinite(rows.scale).all()
    assert (rows.values[np.abs(matrix).max(axis=1) == 0] == 0).all()


def test_only_small_models_by_default(config: BertConfig) -> None:
    assert is_cheap(config)
    base = BertConfig(
        vocab_size=30522,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
    )
    assert not is_cheap(base)
    assert NEAREST.scaled(np.ones(3, dtype=np.float32)) is NEAREST
