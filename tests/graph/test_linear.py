"""Every number format computes the linear layer it stands for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bertedge.graph.builder import GraphBuilder
from bertedge.graph.formats import DynamicInt8, Float16Weights, Float32, NumberFormat, StaticInt8, TwoTermInt8
from bertedge.graph.linear import OwnWeights, linear
from bertedge.graph.rounding import quantize_rows
from bertedge.graph.tables import TableWeights, table
from bertedge.weight_range import FULL_RANGE, PAIRED_RANGE, WeightRange
from tests.test_weight_range import keeps_to

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 5, 16)).astype(np.float32)
WEIGHT = RNG.normal(size=(8, 16)).astype(np.float32)
BIAS = RNG.normal(size=8).astype(np.float32)
X_WIDE = X.copy()
X_WIDE[..., 3] *= 40
SPAN = float(np.abs(X).max())
STATIC = StaticInt8(scale=2 * SPAN / 255, zero_point=128)


def compute(form: NumberFormat, x: np.ndarray, folder: Path) -> np.ndarray:
    g = GraphBuilder()
    weights = OwnWeights(shape=WEIGHT.shape, load=lambda: WEIGHT, load_bias=lambda: BIAS)
    y = linear(form, g, "layer", g.input("x", np.float32, ("batch", "rows", 16)), weights)
    g.output(y, "y", np.float32, ("batch", "rows", 8))
    g.write(folder / "model.onnx")
    return ort.InferenceSession(str(folder / "model.onnx")).run(None, {"x": x})[0]


@pytest.mark.parametrize(
    ("form", "tolerance"),
    [
        (Float32(), 1e-5),
        (Float16Weights(), 5e-3),
        (DynamicInt8(), 0.1),
        (DynamicInt8(weight_range=PAIRED_RANGE), 0.2),
        (STATIC, 0.1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_format_is_close_to_float(form: NumberFormat, tolerance: float, tmp_path: Path) -> None:
    assert np.abs(compute(form, X, tmp_path) - (X @ WEIGHT.T + BIAS)).max() < tolerance


def test_two_terms_leave_the_error_of_the_weights_alone(tmp_path: Path) -> None:
    without = WEIGHT.copy()
    without[:, 3] = 0
    outlier = X[..., 3:4] * WEIGHT[:, 3].astype(np.float16)
    for extra, matrix, float_part in (
        ({}, WEIGHT, 0),
        ({"input_divisors": (2.0,) * 16}, WEIGHT, 0),
        ({"outliers": (3,)}, without, outlier),
    ):
        rows = quantize_rows(matrix, FULL_RANGE)
        expected = X @ (rows.values * rows.scale[:, None]).T + float_part + BIAS
        fields = {"scale": STATIC.scale, "zero_point": STATIC.zero_point, **extra}
        once, twice = (
            np.abs(compute(form(**fields), X, tmp_path) - expected).max() for form in (StaticInt8, TwoTermInt8)
        )
        assert twice < once / 50


def test_outliers_ruin_one_range_and_not_the_two_remedies(tmp_path: Path) -> None:
    expected = X_WIDE @ WEIGHT.T + BIAS
    reach = np.abs(X_WIDE).max(axis=(0, 1))
    divisors = np.maximum(reach / SPAN, 1)
    plain = StaticInt8(scale=2 * float(reach.max()) / 255, zero_point=128)
    remedies = {
        "divisors": StaticInt8(scale=STATIC.scale, zero_point=128, input_divisors=tuple(map(float, divisors))),
        "outliers": StaticInt8(scale=STATIC.scale, zero_point=128, outliers=(3,)),
    }
    error = {name: np.abs(compute(form, X_WIDE, tmp_path) - expected).mean() for name, form in remedies.items()}
    ruined = np.abs(compute(plain, X_WIDE, tmp_path) - expected).mean()
    assert error["divisors"] < ruined / 2
    assert error["outliers"] < ruined / 10


@given(
    arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from([PAIRED_RANGE, FULL_RANGE]),
)
def test_quantized_rows_are_within_half_a_step(matrix: np.ndarray, weight_range: WeightRange) -> None:
    rows = quantize_rows(matrix, weight_range)
    assert keeps_to(weight_range, rows.values)
    assert np.isfinite(rows.scale).all()
    assert (rows.scale > 0).all()
    error = np.abs(rows.values * rows.scale[:, None].astype(np.float64) - matrix)
    assert (error <= rows.scale[:, None] * 0.5001 + 1e-30).all()


def test_one_huge_weight_and_rows_of_zeros() -> None:
    matrix = np.zeros((3, 4), dtype=np.float32)
    matrix[0, 0] = 3e38
    matrix[1] = 1e-45
    rows = quantize_rows(matrix, FULL_RANGE)
    assert rows.values[0, 0] == 127
    assert not rows.values[2].any()
    assert np.isfinite(rows.values * rows.scale[:, None]).all()


def test_shared_tables_cannot_be_changed() -> None:
    g = GraphBuilder()
    shared = table(g, "words", DynamicInt8(), (8, 16), lambda: WEIGHT)
    weights = TableWeights(table=shared, load_bias=lambda: BIAS)
    with pytest.raises(TypeError, match="embeddings share"):
        linear(StaticInt8(scale=1.0, zero_point=0, outliers=(1,)), g, "decoder", "x", weights)
